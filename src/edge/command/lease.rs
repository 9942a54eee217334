//! `fairlead-edge lease`: looks at leases, beside a running server too, and changes them.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::lease_change;
use crate::clock::{self, Timestamp};
use crate::command_line::say;
use crate::edge::config::EdgeConfig;
use crate::edge::dhcp::config::Ipv4Network;
use crate::edge::lease::migration::{self, export_csv, export_json};
use crate::edge::lease::{EntryState, Journal, JournalError, LeaseEntry, LeaseRecord, octets_of_text};
use crate::failure::{Failure, Result};
use crate::wire::MacAddr;

/// The leases' folder in the state folder.
pub(super) const FOLDER: &str = "leases";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LeaseArguments {
    #[command(subcommand)]
    command: LeaseCommand,
}

const EXAMPLES: &str = "Examples:\n  fairlead-edge lease list --state active --subnet 192.0.2.0/24\n  \
    fairlead-edge lease show 52:54:00:12:34:56\n  fairlead-edge lease release 192.0.2.117\n  \
    fairlead-edge lease export --format csv > leases.csv\n  \
    fairlead-edge lease import --from kea-csv --dry-run /var/lib/kea/kea-leases4.csv\n\n\
    list, show and export read the files, whether the server runs or not. release and import go through the running server, or else change the files.";

#[derive(Debug, Subcommand)]
enum LeaseCommand {
    /// List leases, by address
    #[command(
        after_help = "Examples:\n  fairlead-edge lease list\n  fairlead-edge lease list --state declined --json\n  fairlead-edge lease list --mac 52:54:00:12:34:56"
    )]
    List(ListArguments),
    /// Show all that is known of an address or a client
    #[command(
        after_help = "Examples:\n  fairlead-edge lease show 192.0.2.117\n  fairlead-edge lease show 52:54:00:12:34:56\n  fairlead-edge lease show 01525400123456"
    )]
    Show {
        /// An address, a hardware address, or a client identifier in hexadecimal
        what: String,
        /// As JSON, one entry a line
        #[arg(long)]
        json: bool,
    },
    /// Free an address whoever has it, and end its quarantine
    #[command(
        after_help = "Example:\n  fairlead-edge lease release 192.0.2.117\n\nThe client is not told. If it is still there it uses the address until it renews, and gets it again then unless someone else has it."
    )]
    Release {
        /// The address
        address: Ipv4Addr,
    },
    /// Write all leases to standard output
    #[command(after_help = "Example:\n  fairlead-edge lease export --format json > leases.json")]
    Export {
        /// How
        #[arg(long, value_enum)]
        format: ExportFormat,
    },
    /// Take over the leases of another server
    #[command(after_help = IMPORT_HELP)]
    Import(ImportArguments),
}

const IMPORT_HELP: &str = "Examples:\n  fairlead-edge lease import --from kea-csv --dry-run /var/lib/kea/kea-leases4.csv\n  \
    fairlead-edge lease import --from isc /var/lib/dhcp/dhcpd.leases\n  fairlead-edge lease import --from dnsmasq /var/lib/misc/dnsmasq.leases\n\n\
    Stop the other server first, so that its file is complete. Nothing is written unless every file can be read whole. A lease that is in force here is \
    never replaced by another client's.";

#[derive(Debug, Args)]
struct ListArguments {
    /// Only leases in this state; may be given more than once
    #[arg(long, value_enum)]
    state: Vec<EntryState>,
    /// Only addresses of this network, such as 192.0.2.0/24
    #[arg(long, value_name = "NETWORK")]
    subnet: Option<Ipv4Network>,
    /// Only leases of this hardware address
    #[arg(long)]
    mac: Option<MacAddr>,
    /// As JSON, one entry a line
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// As comma-separated values, with a header
    #[arg(long)]
    csv: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExportFormat {
    /// An array of objects, one a line
    Json,
    /// Comma-separated values, with a header
    Csv,
}

#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// What kind of file it is
    #[arg(long, value_enum, value_name = "KIND")]
    pub(super) from: migration::Format,
    /// Only say what would be taken and what not
    #[arg(long)]
    pub(super) dry_run: bool,
    /// The files; where several have an entry for an address, the last one counts
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
}

pub(super) fn run(arguments: LeaseArguments, config: &EdgeConfig) -> Result<()> {
    match arguments.command {
        LeaseCommand::List(arguments) => list(&arguments, config),
        LeaseCommand::Show { what, json } => show(&what, json, config),
        LeaseCommand::Release { address } => lease_change::release(address, config),
        LeaseCommand::Export { format } => {
            let (records, now) = (read(config)?, clock::now());
            print(&match format {
                ExportFormat::Json => export_json(&records, now),
                ExportFormat::Csv => export_csv(&records, now),
            })
        }
        LeaseCommand::Import(arguments) => lease_change::import(&arguments, config),
    }
}

/// All records, by address.
pub(super) fn read(config: &EdgeConfig) -> Result<Vec<LeaseRecord>> {
    let folder = config.state_dir.join(FOLDER);
    let mut records = Journal::read(&folder).map_err(|error| unreadable(&error, &folder))?;
    records.sort_unstable_by_key(|record| record.address);
    Ok(records)
}

/// What to tell when the lease files can't be read.
pub(super) fn unreadable(error: &JournalError, folder: &Path) -> Failure {
    let hint = match error {
        JournalError::Damaged { .. } => {
            "nothing was changed; bring the folder back from a backup, or move the file away to go on without its leases"
        }
        JournalError::Foreign(_) => "it may be of a later version of fairlead-edge; nothing was changed",
        JournalError::InUse(_) => {
            "another command is at work there, or a server that does not listen on its control socket; try again, or stop it"
        }
        _ => "run as the user that fairlead-edge runs as, or as root; `state_dir` in edge.toml names the folder",
    };
    Failure::new(format!("cannot use the leases in `{}`", folder.display())).cause(error).hint(hint)
}

fn list(arguments: &ListArguments, config: &EdgeConfig) -> Result<()> {
    let (mut records, now) = (read(config)?, clock::now());
    records.retain(|record| {
        let by_state = arguments.state.is_empty() || arguments.state.contains(&LeaseEntry::of(record, now).state);
        let by_subnet = arguments.subnet.is_none_or(|subnet| subnet.contains(record.address));
        by_state && by_subnet && arguments.mac.is_none_or(|mac| record.hardware.mac() == Some(mac))
    });
    if arguments.json {
        return print(&export_json(&records, now));
    }
    if arguments.csv {
        return print(&export_csv(&records, now));
    }
    if records.is_empty() {
        return say("no leases");
    }
    print(&table(&records, now))
}

fn table(records: &[LeaseRecord], now: Timestamp) -> String {
    let rows = records.iter().map(|record| {
        let entry = LeaseEntry::of(record, now);
        let client = if entry.client_id == plain_identifier(&entry) { String::new() } else { entry.client_id };
        let ends = Timestamp::from_secs(record.expires_at.as_secs()).to_string();
        [entry.address.to_string(), entry.state.word().to_owned(), ends, entry.hardware, entry.host_name.unwrap_or_default(), client]
    });
    let header = ["ADDRESS", "STATE", "UNTIL", "HARDWARE", "HOST NAME", "CLIENT"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(header).chain(rows).collect();
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let line = |row: &[String; 6]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// The identifier of a client that sends none, or one that spells out its hardware address: not worth a column.
fn plain_identifier(entry: &LeaseEntry) -> String {
    format!("{:02x}{}", entry.hardware_type, entry.hardware.replace(':', ""))
}

fn show(what: &str, json: bool, config: &EdgeConfig) -> Result<()> {
    let mut records = read(config)?;
    match (what.parse::<Ipv4Addr>(), octets_of_text(&what.replace('-', ":"))) {
        (Ok(address), _) => records.retain(|record| record.address == address),
        (Err(_), Some(octets)) => records.retain(|record| record.hardware.octets() == octets || record.client.octets() == octets),
        (Err(_), None) => {
            return Err(Failure::new(format!("`{what}` is no address, hardware address or client identifier"))
                .hint("for example 192.0.2.117, 52:54:00:12:34:56 or 01525400123456"));
        }
    }
    if records.is_empty() {
        return Err(Failure::new(format!("nothing is known of `{what}`")).hint("`fairlead-edge lease list` shows all leases"));
    }
    let now = clock::now();
    if json {
        return print(&export_json(&records, now));
    }
    let entries: Vec<String> = records.iter().map(|record| in_words(&LeaseEntry::of(record, now))).collect();
    print(&entries.join("\n"))
}

fn in_words(entry: &LeaseEntry) -> String {
    let (since, until) = match entry.state {
        EntryState::Active => ("leased or renewed", "until"),
        EntryState::Expired => ("leased or renewed", "ended"),
        EntryState::Released => ("released", "ended"),
        EntryState::Declined => ("declined", "rests until"),
    };
    let LeaseEntry { address, hardware, hardware_type, client_id, starts_at, expires_at, .. } = entry;
    let hardware = if *hardware_type == 1 { hardware.clone() } else { format!("{hardware} (type {hardware_type})") };
    let host_name = entry.host_name.as_deref().unwrap_or("not told");
    let rows = [
        ("address", address.to_string()),
        ("state", entry.state.word().to_owned()),
        ("hardware", hardware),
        ("client id", client_id.clone()),
        ("host name", host_name.to_owned()),
        (since, starts_at.clone()),
        (until, expires_at.clone()),
    ];
    rows.map(|(name, value)| format!("{name:18}{value}\n")).concat()
}

fn print(text: &str) -> Result<()> {
    say(text.strip_suffix('\n').unwrap_or(text))
}
