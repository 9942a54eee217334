use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Output, table};
use crate::clock::{self, Timestamp};
use crate::cloud::actor::Actor;
use crate::cloud::state::CloudState;
use crate::cloud::store::{AuditFilter, AuditLine, BrokenChain, StoreError};
use crate::command_line::say;
use crate::failure::{Failure, Result};
use crate::wire::Digest;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// List what was decided, changed and handed out, the newest first
    List(List),
    /// Check that no line was changed, removed or put elsewhere since it was written
    Verify {
        /// The end of the log as it was noted elsewhere before: line and hash, as an earlier `verify` printed them
        #[arg(long, value_name = "LINE:HASH", value_parser = noted)]
        noted: Option<(u64, Digest)>,
    },
    /// Write the whole log as JSON lines, each with its hash
    Export {
        /// The file; standard output without it
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only what this one did, as in "operator" or "site plant-1"
    #[arg(long)]
    actor: Option<String>,
    /// Only actions that begin so, as in "node."
    #[arg(long)]
    action: Option<String>,
    /// Only about this: a node's number, a site's or cluster's name
    #[arg(long)]
    subject: Option<String>,
    /// Only from the last while, as in 24h
    #[arg(long, value_name = "DURATION", value_parser = humantime_serde::re::humantime::parse_duration)]
    since: Option<Duration>,
    /// At most this many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// How to answer
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

impl AuditCommand {
    pub(super) fn run(self, state: &CloudState) -> Result<()> {
        match self {
            Self::List(list) => list.run(state),
            Self::Verify { noted } => verify(state, noted),
            Self::Export { file } => export(state, file.as_deref()),
        }
    }
}

impl List {
    fn run(self, state: &CloudState) -> Result<()> {
        let (now, limit) = (clock::now(), self.limit);
        let since = self.since.map(|since| Timestamp(now.0.saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))));
        let filter = AuditFilter { actor: self.actor, action: self.action, subject: self.subject, since };
        let lines = state.store.transaction(move |tx| tx.read_audit(&Actor::Operator, &filter, limit, now))?;
        match self.output {
            Output::Json => table::write_json(&lines),
            Output::Table => {
                let row = |line: &AuditLine| {
                    let AuditLine { line, at, actor, action, subject, detail, .. } = line;
                    vec![line.to_string(), at.to_string(), actor.clone(), action.clone(), subject.clone(), detail.clone()]
                };
                table::write(&["LINE", "AT", "WHO", "WHAT", "TO WHAT", "MORE"], &lines.iter().map(row).collect::<Vec<_>>())
            }
        }
    }
}

fn verify(state: &CloudState, noted: Option<(u64, Digest)>) -> Result<()> {
    let mut at_noted = None;
    let outcome = state.store.follow_audit(&Actor::Operator, "audit.verify", clock::now(), |line| {
        if noted.is_some_and(|(number, _)| number == line.line) {
            at_noted = Some(line.hash);
        }
        Ok::<_, StoreError>(())
    })?;
    let end = outcome.map_err(|broken| broken_chain(&broken))?;
    if let Some((line, noted)) = noted {
        let found = at_noted.ok_or_else(|| broken_chain(&BrokenChain::Missing(line)))?;
        if found != noted {
            return Err(broken_chain(&BrokenChain::Another { line, found, noted }));
        }
    }
    say(&format!("ok: {} lines", end.line))?;
    say(&format!("note the end elsewhere, for `audit verify --noted`: {}:{}", end.line, end.hash))
}

fn export(state: &CloudState, file: Option<&Path>) -> Result<()> {
    let cannot = |error: &std::io::Error| Failure::new("cannot write the audit log").cause(error);
    let mut out: Box<dyn Write> = match file {
        Some(path) => Box::new(BufWriter::new(File::create(path).map_err(|error| cannot(&error))?)),
        None => Box::new(BufWriter::new(std::io::stdout())),
    };
    let outcome = state.store.follow_audit(&Actor::Operator, "audit.export", clock::now(), |line| {
        let text = serde_json::to_string(line).map_err(std::io::Error::from);
        text.and_then(|text| writeln!(out, "{text}")).map_err(|error| cannot(&error))
    })?;
    out.flush().map_err(|error| cannot(&error))?;
    outcome.map(drop).map_err(|broken| broken_chain(&broken))
}

fn broken_chain(broken: &BrokenChain) -> Failure {
    Failure::new("the audit log is not what was written")
        .cause(broken)
        .hint("somebody wrote into the database past this program, or its disk is damaged: compare it with a backup")
}

fn noted(text: &str) -> std::result::Result<(u64, Digest), String> {
    let expected = || "write line and hash as `audit verify` prints them, with a colon between them".to_owned();
    let (line, hash) = text.split_once(':').ok_or_else(expected)?;
    Ok((line.parse().map_err(|_| expected())?, hash.parse().map_err(|_| expected())?))
}
