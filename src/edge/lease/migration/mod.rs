//! Leases of other servers: what their files say, as our records.
//!
//! A file is read whole or refused with the line that can't be understood. Of several entries for an address the last one counts, as
//! it does for the server that wrote them. What is not taken is told with its line.

mod dnsmasq;
mod isc;
mod kea;
mod own;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::entry::shortened;
use super::{ClientId, EntryError, HardwareAddress, LeaseEntry, LeaseRecord, LeaseState};
use crate::clock::Timestamp;

/// The files that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Kea's memfile, `kea-leases4.csv`
    KeaCsv,
    /// ISC dhcpd's `dhcpd.leases`
    Isc,
    /// dnsmasq's `dnsmasq.leases`
    Dnsmasq,
    /// What `lease export --format json` writes
    Json,
    /// What `lease export --format csv` writes
    Csv,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The leases in force, and the addresses in quarantine, in the order of their addresses.
    pub leases: Vec<Located<LeaseRecord>>,
    /// What is left out, and why, in the order of the lines.
    pub left_out: Vec<Located<LeftOut>>,
}

/// Something and the line that it begins on, the first being 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The line.
    pub line: usize,
    /// What stands there.
    pub value: T,
}

/// An entry that is no lease to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its address, or what stands there instead.
    pub address: String,
    /// Why.
    pub why: Why,
}

/// Why an entry is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Why {
    /// Its time is over.
    #[error("the lease is over")]
    Over,
    /// A later entry of the same address counts.
    #[error("a later entry of the address counts")]
    Replaced,
    /// It is not IPv4.
    #[error("it is not of IPv4")]
    NotIpv4,
    /// Nobody could be recognised by it.
    #[error("it names neither a client identifier nor a hardware address")]
    Nobody,
}

/// Why a file can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Unreadable {
    /// Where.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

impl Unreadable {
    fn new(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into() }
    }

    fn at(line: usize) -> impl Fn(EntryError) -> Self {
        move |error| Self::new(line, error.to_string())
    }
}

/// So long is a lease without an end: what DHCP's largest number of seconds would be, 136 years.
const WITHOUT_END: Duration = Duration::from_secs(0xffff_ffff);

/// How long an address rests that the other server found in use by someone else.
const QUARANTINE: Duration = Duration::from_secs(86_400);

/// One entry of a file.
struct Entry {
    address: Ipv4Addr,
    /// What it says; `Err` when it only says that there is no lease to take.
    record: Result<LeaseRecord, Why>,
}

/// Reads a lease file. `now` decides which leases are over.
///
/// # Errors
/// At the first line that can't be understood.
pub fn read(format: Format, contents: &[u8], now: Timestamp) -> Result<Found, Unreadable> {
    // Other servers write what clients call themselves as it came.
    let text = String::from_utf8_lossy(contents);
    let mut found = Found::default();
    let entries = match format {
        Format::KeaCsv => kea::read(&text, now),
        Format::Isc => isc::read(&text, now),
        Format::Dnsmasq => dnsmasq::read(&text, now, &mut found.left_out),
        Format::Json => own::read_json(&text),
        Format::Csv => own::read_csv(&text),
    }?;
    let mut newest: HashMap<Ipv4Addr, usize> = HashMap::new();
    for (place, entry) in entries.iter().enumerate() {
        newest.insert(entry.value.address, place);
    }
    for (place, Located { line, value: Entry { address, record } }) in entries.into_iter().enumerate() {
        let why = match record {
            _ if newest.get(&address) != Some(&place) => Why::Replaced,
            Err(why) => why,
            Ok(record) if record.expires_at <= now || record.state == LeaseState::Released => Why::Over,
            Ok(mut record) => {
                // A moment that no calendar has could not be written out again.
                record.expires_at = record.expires_at.min(now.after(WITHOUT_END));
                record.starts_at = record.starts_at.min(record.expires_at);
                found.leases.push(Located { line, value: record });
                continue;
            }
        };
        found.left_out.push(Located { line, value: LeftOut { address: address.to_string(), why } });
    }
    found.leases.sort_by_key(|lease| lease.value.address);
    found.left_out.sort_by_key(|left_out| left_out.line);
    Ok(found)
}

/// Whether a lease that comes from elsewhere may take its address's place at `now`, where `present` is what is known of it here.
///
/// # Errors
/// With the reason in words when it may not.
pub fn judge(present: Option<&LeaseRecord>, incoming: &LeaseRecord, now: Timestamp) -> Result<(), String> {
    let Some(present) = present.filter(|present| present.state != LeaseState::Released && present.expires_at > now) else { return Ok(()) };
    match present.state {
        LeaseState::Declined => Err(format!("the address is in quarantine here until {}", present.expires_at)),
        _ if present.client != incoming.client => {
            Err(format!("the address is leased here to {} until {}", present.hardware, present.expires_at))
        }
        _ if present.expires_at >= incoming.expires_at => Err("the client has it here already, for as long or longer".to_owned()),
        _ => Ok(()),
    }
}

/// The records as `lease export --format json` writes them: an array, an entry a line.
#[must_use]
pub fn export_json(records: &[LeaseRecord], now: Timestamp) -> String {
    let entries = records.iter().filter_map(|record| serde_json::to_string(&LeaseEntry::of(record, now)).ok());
    format!("[\n{}\n]\n", entries.collect::<Vec<_>>().join(",\n"))
}

/// The records as `lease export --format csv` writes them.
#[must_use]
pub fn export_csv(records: &[LeaseRecord], now: Timestamp) -> String {
    let lines = records.iter().map(|record| own::csv_line(&LeaseEntry::of(record, now)));
    std::iter::once(own::COLUMNS.join(",")).chain(lines).map(|line| line + "\n").collect()
}

/// Who is known by the identifier, or else by the hardware address.
fn client(identifier: Option<ClientId>, hardware: &HardwareAddress) -> Result<ClientId, Why> {
    identifier.or_else(|| ClientId::from_hardware(hardware)).ok_or(Why::Nobody)
}

/// Nobody in particular: the holder of an address in quarantine.
fn nobody() -> Result<ClientId, Why> {
    ClientId::from_option(&[0, 0]).ok_or(Why::Nobody)
}

fn address(line: usize, text: &str) -> Result<Ipv4Addr, Unreadable> {
    text.parse().map_err(|_| Unreadable::new(line, format!("`{}` is no IPv4 address", shortened(text))))
}

/// Lines that hold something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).map(|(number, line)| (number, line.trim())).filter(|(_, line)| !line.is_empty())
}

#[cfg(test)]
mod tests;
