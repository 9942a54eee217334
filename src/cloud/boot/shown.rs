//! What a machine shows of itself when it asks for a script.

use axum::http::{HeaderMap, header};
use serde::Deserialize;

use super::Refusal;
use crate::cloud::store::NodeFacts;
use crate::secret::Secret;
use crate::wire::{MacAddr, SystemUuid};

/// The query of a script request, as it came.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Query {
    mac: String,
    uuid: String,
    serial: String,
    manufacturer: String,
    product: String,
    arch: String,
    platform: String,
    ticket: String,
}

/// The firmware that iPXE runs on: BIOS builds can't send headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Platform {
    Efi,
    Bios,
}

/// What a machine shows of itself, checked.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) mac: MacAddr,
    pub(super) uuid: Option<SystemUuid>,
    pub(super) facts: NodeFacts,
    pub(super) platform: Platform,
    pub(super) credential: Secret,
}

impl Shown {
    pub(super) fn read(query: Query, headers: &HeaderMap) -> Result<Self, Refusal> {
        let mac: MacAddr = query.mac.parse().map_err(|_| Refusal::bad_request("mac is not a hardware address"))?;
        if !mac.is_unicast() {
            return Err(Refusal::bad_request("mac is not a machine's address"));
        }
        let uuid = match query.uuid.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| Refusal::bad_request("uuid is not a UUID"))?),
        };
        let platform = match query.platform.as_str() {
            "efi" => Platform::Efi,
            "pcbios" => Platform::Bios,
            _ => return Err(Refusal::bad_request("platform is not efi or pcbios")),
        };
        let bearer =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Bearer "));
        let credential = bearer.map_or(query.ticket, str::to_owned);
        if credential.is_empty() {
            return Err(Refusal::forbidden("no boot ticket"));
        }
        Ok(Self {
            mac,
            uuid,
            facts: NodeFacts {
                serial: printable(&query.serial),
                vendor: printable(&query.manufacturer),
                product: printable(&query.product),
                arch: printable(&query.arch),
            },
            platform,
            credential: Secret::from(credential),
        })
    }
}

/// What firmware vendors write into SMBIOS reaches terminals and logs: printable ASCII, at most 64 of it.
fn printable(text: &str) -> String {
    text.trim().chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_says_of_itself_is_made_harmless() {
        assert_eq!(printable(" Dell\u{1b}[31m Inc.\n"), "Dell[31m Inc.");
        assert_eq!(printable(&"x".repeat(1000)).len(), 64);
    }

    #[test]
    fn the_ticket_is_taken_from_header_or_query() {
        let query = |ticket: &str| Query {
            mac: "52-54-00-00-00-01".to_owned(),
            platform: "pcbios".to_owned(),
            ticket: ticket.to_owned(),
            ..Query::default()
        };
        let mut headers = HeaderMap::new();
        assert_eq!(Shown::read(query("abc"), &headers).unwrap().credential.expose(), b"abc");
        assert_eq!(Shown::read(query(""), &headers).unwrap_err(), Refusal::forbidden("no boot ticket"));
        headers.insert(header::AUTHORIZATION, "Bearer def".parse().unwrap());
        assert_eq!(Shown::read(query("abc"), &headers).unwrap().credential.expose(), b"def");
    }

    #[test]
    fn a_machine_without_identity_is_refused() {
        for mac in ["", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "x"] {
            let query = Query { mac: mac.to_owned(), platform: "efi".to_owned(), ticket: "t".to_owned(), ..Query::default() };
            assert!(Shown::read(query, &HeaderMap::new()).is_err(), "{mac}");
        }
    }
}
