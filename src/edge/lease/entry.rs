use std::net::Ipv4Addr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{ClientId, HardwareAddress, LeaseRecord, LeaseState, host_name};
use crate::clock::Timestamp;

/// A lease as it is shown, exported and imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseEntry {
    /// The address.
    pub address: Ipv4Addr,
    /// What became of it.
    pub state: EntryState,
    /// The client's hardware address: octets in hexadecimal with colons between them, or nothing.
    #[serde(default)]
    pub hardware: String,
    /// Its type in IANA's list: 1 is Ethernet.
    #[serde(default = "ethernet")]
    pub hardware_type: u8,
    /// The client identifier (option 61) in hexadecimal; for a client that sent none, hardware type and address.
    #[serde(default)]
    pub client_id: String,
    /// What the client calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// When the record was made, in RFC 3339's form.
    pub starts_at: String,
    /// When the lease or the quarantine is over, or when the address was given back.
    pub expires_at: String,
}

/// What became of an address, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum EntryState {
    /// Leased.
    Active,
    /// The lease has ended; the client gets the address again while nobody else needs it.
    Expired,
    /// Given back by the client.
    Released,
    /// Found in use by someone else; given to nobody for now.
    Declined,
}

impl EntryState {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Released => "released",
            Self::Declined => "declined",
        }
    }
}

/// A lease that was not taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its address.
    pub address: Ipv4Addr,
    /// Why.
    pub why: String,
}

/// Why an entry is no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// The hardware address.
    #[error("`{0}` is no hardware address: up to 16 octets such as 52:54:00:12:34:56")]
    Hardware(String),
    /// The client identifier.
    #[error("`{0}` is no client identifier: 2 to 255 octets in hexadecimal")]
    Client(String),
    /// There is nothing to know the client by.
    #[error("there is neither a client identifier nor a hardware address")]
    Nobody,
    /// A time.
    #[error("`{0}` is no time such as 2026-11-23T04:05:06Z")]
    Time(String),
}

const fn ethernet() -> u8 {
    1
}

impl LeaseEntry {
    /// How a record is shown at `now`.
    #[must_use]
    pub fn of(record: &LeaseRecord, now: Timestamp) -> Self {
        let state = match record.state {
            LeaseState::Released => EntryState::Released,
            LeaseState::Bound if record.expires_at > now => EntryState::Active,
            LeaseState::Declined if record.expires_at > now => EntryState::Declined,
            LeaseState::Bound | LeaseState::Declined => EntryState::Expired,
        };
        Self {
            address: record.address,
            state,
            hardware: with_colons(record.hardware.octets()),
            hardware_type: record.hardware.kind(),
            client_id: record.client.to_string(),
            host_name: record.host_name.as_deref().map(str::to_owned),
            starts_at: record.starts_at.to_string(),
            expires_at: record.expires_at.to_string(),
        }
    }

    /// The record that it shows.
    ///
    /// # Errors
    /// When a field holds something else than it should.
    pub fn record(&self) -> Result<LeaseRecord, EntryError> {
        let hardware = hardware(self.hardware_type, &self.hardware)?;
        let client = match self.client_id.as_str() {
            "" => ClientId::from_hardware(&hardware).ok_or(EntryError::Nobody)?,
            text => client_id(text)?,
        };
        Ok(LeaseRecord {
            address: self.address,
            client,
            hardware,
            state: match self.state {
                EntryState::Active | EntryState::Expired => LeaseState::Bound,
                EntryState::Released => LeaseState::Released,
                EntryState::Declined => LeaseState::Declined,
            },
            starts_at: timestamp(&self.starts_at)?,
            expires_at: timestamp(&self.expires_at)?,
            host_name: self.host_name.as_deref().and_then(|name| host_name(name.as_bytes())),
        })
    }
}

fn with_colons(octets: &[u8]) -> String {
    octets.iter().map(|octet| HEXLOWER.encode(&[*octet])).collect::<Vec<_>>().join(":")
}

/// Reads octets in hexadecimal, with colons between them or without.
#[must_use]
pub fn octets_of_text(text: &str) -> Option<Vec<u8>> {
    if text.contains(':') {
        // Some write an octet below 16 with one digit.
        return text.split(':').map(|octet| is_hexadecimal(octet).then(|| u8::from_str_radix(octet, 16).ok())?).collect();
    }
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
}

fn is_hexadecimal(octet: &str) -> bool {
    (1..=2).contains(&octet.len()) && octet.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Reads a hardware address; nothing is one of no octets.
pub(super) fn hardware(kind: u8, text: &str) -> Result<HardwareAddress, EntryError> {
    octets_of_text(text).and_then(|octets| HardwareAddress::new(kind, &octets)).ok_or_else(|| EntryError::Hardware(shortened(text)))
}

/// Reads a client identifier.
pub(super) fn client_id(text: &str) -> Result<ClientId, EntryError> {
    octets_of_text(text).and_then(|octets| ClientId::from_option(&octets)).ok_or_else(|| EntryError::Client(shortened(text)))
}

fn timestamp(text: &str) -> Result<Timestamp, EntryError> {
    let error = || EntryError::Time(shortened(text));
    let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| error())?;
    let milliseconds = moment.unix_timestamp_nanos().checked_div(1_000_000).ok_or_else(error)?;
    u64::try_from(milliseconds).map(Timestamp).map_err(|_| error())
}

/// What can be put into a message of what came from a file.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> LeaseEntry {
        LeaseEntry {
            address: Ipv4Addr::new(192, 0, 2, 7),
            state: EntryState::Active,
            hardware: "52:54:00:12:34:56".to_owned(),
            hardware_type: 1,
            client_id: "0152540012 3456".replace(' ', ""),
            host_name: Some("node-7".to_owned()),
            starts_at: "2026-11-23T04:05:06Z".to_owned(),
            expires_at: "2026-11-23T05:05:06.789Z".to_owned(),
        }
    }

    #[test]
    fn an_entry_and_its_record_say_the_same() {
        let record = entry().record().unwrap();
        assert_eq!(record.expires_at.since(record.starts_at).as_millis(), 3_600_789);
        assert_eq!(LeaseEntry::of(&record, record.starts_at), entry());
        assert_eq!(LeaseEntry::of(&record, record.expires_at).state, EntryState::Expired);
        let json = serde_json::to_string(&entry()).unwrap();
        assert_eq!(serde_json::from_str::<LeaseEntry>(&json).unwrap(), entry());
        // Without an identifier the client is known by its hardware address.
        assert_eq!(LeaseEntry { client_id: String::new(), ..entry() }.record().unwrap().client, record.client);
    }

    #[test]
    fn what_is_no_lease_is_refused() {
        let error = |entry: LeaseEntry| entry.record().unwrap_err().to_string();
        assert!(error(LeaseEntry { hardware: "5g".to_owned(), ..entry() }).contains("`5g` is no hardware address"));
        assert!(error(LeaseEntry { hardware: "00:".repeat(20), ..entry() }).contains("is no hardware address"));
        assert!(error(LeaseEntry { client_id: "01".to_owned(), ..entry() }).contains("is no client identifier"));
        assert!(error(LeaseEntry { client_id: "ab".repeat(256), ..entry() }).contains("is no client identifier"));
        assert!(error(LeaseEntry { client_id: String::new(), hardware: String::new(), ..entry() }).contains("neither"));
        for time in ["", "tomorrow", "1960-01-01T00:00:00Z", "2026-11-23"] {
            assert!(error(LeaseEntry { expires_at: time.to_owned(), ..entry() }).contains("is no time"), "{time}");
        }
    }
}
