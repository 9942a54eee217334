//! `fairlead-edge lease release` and `lease import`: through the running server, or else straight into the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::mpsc;

use super::lease::{FOLDER, ImportArguments, read, unreadable};
use crate::clock::{self, Timestamp};
use crate::command_line::say;
use crate::edge::config::EdgeConfig;
use crate::edge::control::{Answer, Client, Imported, LEASES_IN_A_REQUEST, Request, no_lease};
use crate::edge::lease::migration::{self, Located, Why, judge};
use crate::edge::lease::{Journal, JournalError, LeaseEntry, LeaseRecord, LeaseState, RecordBatch, Refused};
use crate::edge::state::StateDir;
use crate::failure::{Failure, Result};

pub(super) fn release(address: Ipv4Addr, config: &EdgeConfig) -> Result<()> {
    let now = clock::now();
    let lease = match Client::connect(&config.state_dir)? {
        Some(mut client) => match client.ask(&Request::ReleaseLease { address })? {
            Answer::Released { lease } => lease,
            other => return Err(other.unexpected()),
        },
        None => {
            let before = read(config)?.into_iter().find(|record| record.address == address).ok_or_else(|| no_lease(address))?;
            let released = LeaseRecord { state: LeaseState::Released, starts_at: now, expires_at: now, ..before.clone() };
            write(config, &[released])?;
            LeaseEntry::of(&before, now)
        }
    };
    let LeaseEntry { state, hardware, expires_at, .. } = lease;
    say(&format!("{address} is free now; it was {}, of {hardware}, until {expires_at}", state.word()))
}

/// A lease that could be taken over, and where it stands.
struct Candidate<'a> {
    file: &'a Path,
    line: usize,
    record: LeaseRecord,
}

pub(super) fn import(arguments: &ImportArguments, config: &EdgeConfig) -> Result<()> {
    let now = clock::now();
    let mut client = Client::connect(&config.state_dir)?;
    let (candidates, mut left_out) = candidates(arguments, now)?;
    let inside = |address: Ipv4Addr| config.dhcp.subnets().iter().any(|subnet| subnet.network.value.is_host(address));
    let present: BTreeMap<Ipv4Addr, LeaseRecord> = read(config)?.into_iter().map(|record| (record.address, record)).collect();
    let mut taken = Vec::new();
    let mut refused = Vec::new();
    for candidate in &candidates {
        let address = candidate.record.address;
        let verdict = match inside(address) {
            false => Err("the address is outside of every `[[subnet]]` of edge.toml".to_owned()),
            true => judge(present.get(&address), &candidate.record, now),
        };
        match verdict {
            Ok(()) => taken.push(candidate.record.clone()),
            Err(why) => refused.push(Refused { address, why }),
        }
    }
    if !arguments.dry_run {
        let imported = match &mut client {
            Some(client) => hand_over(client, &taken, now)?,
            None => {
                write(config, &taken)?;
                Imported { taken: taken.len(), refused: Vec::new() }
            }
        };
        let not_taken: BTreeSet<Ipv4Addr> = imported.refused.iter().map(|refused| refused.address).collect();
        taken.retain(|record| !not_taken.contains(&record.address));
        refused.extend(imported.refused);
    }
    for Refused { address, why } in refused {
        let place = candidates.binary_search_by_key(&address, |candidate| candidate.record.address).ok();
        left_out.extend(
            place
                .and_then(|place| candidates.get(place))
                .map(|Candidate { file, line, .. }| format!("{}:{line}: {address}: {why}", file.display())),
        );
    }
    for line in &left_out {
        say(&format!("left out: {line}"))?;
    }
    let verb = if arguments.dry_run { "would be taken over; nothing was written" } else { "are taken over" };
    say(&format!("{} leases {verb}; {} entries left out", taken.len(), left_out.len()))
}

/// Reads all files, or none. Returns the leases in force and what is left out, in words.
fn candidates(arguments: &ImportArguments, now: Timestamp) -> Result<(Vec<Candidate<'_>>, Vec<String>)> {
    let mut newest: BTreeMap<Ipv4Addr, Candidate<'_>> = BTreeMap::new();
    let mut left_out = Vec::new();
    for file in &arguments.files {
        let contents = fs::read(file).map_err(|error| {
            Failure::new(format!("cannot read `{}`", file.display()))
                .cause(&error)
                .hint("nothing was taken over; name a file that can be read")
        })?;
        let found = migration::read(arguments.from, &contents, now).map_err(|error| {
            Failure::new(format!("cannot understand `{}`", file.display()))
                .cause(&error)
                .hint("nothing was taken over; put the line right or take it out, and see that `--from` names the right kind of file")
        })?;
        for Located { line, value } in found.left_out {
            let address = value.address.parse().ok().filter(|_| value.why == Why::Over);
            // What a later file says is over is over.
            let replaced = address.and_then(|address| newest.remove(&address));
            left_out.extend(replaced.map(|candidate| in_words(&candidate, Why::Replaced)));
            left_out.push(format!("{}:{line}: {}: {}", file.display(), value.address, value.why));
        }
        for Located { line, value: record } in found.leases {
            let replaced = newest.insert(record.address, Candidate { file, line, record });
            left_out.extend(replaced.map(|candidate| in_words(&candidate, Why::Replaced)));
        }
    }
    Ok((newest.into_values().collect(), left_out))
}

fn in_words(candidate: &Candidate<'_>, why: Why) -> String {
    format!("{}:{}: {}: {why}", candidate.file.display(), candidate.line, candidate.record.address)
}

/// Gives leases to the running server, a part at a time.
fn hand_over(client: &mut Client, records: &[LeaseRecord], now: Timestamp) -> Result<Imported> {
    let mut all = Imported::default();
    for part in records.chunks(LEASES_IN_A_REQUEST) {
        let leases = part.iter().map(|record| LeaseEntry::of(record, now)).collect();
        match client.ask(&Request::ImportLeases { leases }).map_err(Failure::from).map_err(|failure| after(all.taken, failure))? {
            Answer::Imported(imported) => {
                all.taken = all.taken.saturating_add(imported.taken);
                all.refused.extend(imported.refused);
            }
            other => return Err(after(all.taken, other.unexpected())),
        }
    }
    Ok(all)
}

fn after(taken: usize, failure: Failure) -> Failure {
    match taken {
        0 => failure,
        taken => failure.because(format!("{taken} leases were taken over before")),
    }
}

/// Writes records into the files of a box that does not run.
fn write(config: &EdgeConfig, records: &[LeaseRecord]) -> Result<()> {
    let state = StateDir::open(&config.state_dir)?;
    // Held to the end: a server that starts meanwhile waits for nobody and says so.
    let _lock = state.lock()?;
    let folder = state.folder(FOLDER)?;
    let failed = |error: &JournalError| unreadable(error, &folder);
    let (journal, _) = Journal::open(&folder).map_err(|error| failed(&error))?;
    for part in records.chunks(LEASES_IN_A_REQUEST) {
        let mut batch = RecordBatch::new();
        part.iter().for_each(|record| batch.push(record));
        let (done, outcome) = mpsc::channel();
        // Who waits is there until it has heard.
        journal.submit(batch, move |outcome| drop(done.send(outcome)));
        outcome.recv().unwrap_or(Err(JournalError::Closed)).map_err(|error| failed(&error))?;
    }
    Ok(())
}
