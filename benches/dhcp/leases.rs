//! Lease files to start with: the leases of perfdhcp's first clients, an hour from now on.

use std::io::{BufWriter, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::mpsc;

use fairlead::clock;
use fairlead::edge::lease::{ClientId, HardwareAddress, Journal, LeaseRecord, LeaseState, RecordBatch};
use fairlead::failure::{Failure, Result};

use super::site::{FIRST, FIRST_MAC};

const SECONDS: u64 = 3600;
/// The journal takes so many at once.
const BATCH: u32 = 4096;

fn all(count: u32) -> impl Iterator<Item = (Ipv4Addr, [u8; 6])> {
    (0..count).map(|number| {
        let [_, _, a, b, c, d] = FIRST_MAC;
        let [a, b, c, d] = u32::from_be_bytes([a, b, c, d]).wrapping_add(number).to_be_bytes();
        let mac = [FIRST_MAC[0], FIRST_MAC[1], a, b, c, d];
        (Ipv4Addr::from(u32::from(FIRST).wrapping_add(number)), mac)
    })
}

/// Writes them through the journal.
pub(crate) fn write_ours(folder: &Path, count: u32) -> Result<()> {
    let failed = |error: &dyn std::error::Error| Failure::new("cannot write leases").cause(error);
    let (journal, _) = Journal::open(folder).map_err(|error| failed(&error))?;
    let now = clock::now();
    let (done, outcomes) = mpsc::channel();
    let mut leases = all(count).peekable();
    while leases.peek().is_some() {
        let mut batch = RecordBatch::new();
        for (address, mac) in leases.by_ref().take(usize::try_from(BATCH).unwrap_or(1)) {
            let Some(hardware) = HardwareAddress::new(1, &mac) else { continue };
            let Some(client) = ClientId::from_hardware(&hardware) else { continue };
            let expires_at = now.after(std::time::Duration::from_secs(SECONDS));
            batch.push(&LeaseRecord { address, client, hardware, state: LeaseState::Bound, starts_at: now, expires_at, host_name: None });
        }
        let done = done.clone();
        journal.submit(batch, move |outcome| drop(done.send(outcome)));
        // One at a time: the journal refuses what would wait too long.
        outcomes.recv().map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Writes them as Kea 2.2 does.
pub(crate) fn write_kea(path: &Path, count: u32) -> Result<()> {
    let until = clock::now().as_secs() + SECONDS;
    let header = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n";
    write_lines(
        path,
        header,
        all(count).map(|(address, mac)| {
            let mac = shown(mac);
            format!("{address},{mac},01:{mac},{SECONDS},{until},1,0,0,,0,\n")
        }),
    )
}

/// Writes them as dnsmasq does.
pub(crate) fn write_dnsmasq(path: &Path, count: u32) -> Result<()> {
    let until = clock::now().as_secs() + SECONDS;
    write_lines(path, "", all(count).map(|(address, mac)| format!("{until} {} {address} * 01:{}\n", shown(mac), shown(mac))))
}

fn shown(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

fn write_lines(path: &Path, header: &str, lines: impl Iterator<Item = String>) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = BufWriter::new(std::fs::File::create(path)?);
        file.write_all(header.as_bytes())?;
        for line in lines {
            file.write_all(line.as_bytes())?;
        }
        file.flush()
    };
    write().map_err(|error| Failure::new(format!("cannot write `{}`", path.display())).cause(&error))
}
