//! The messages of the site plane: JSON over HTTPS, server checked against the pinned root, TLS 1.3.
//!
//! | request | client certificate | body | answer |
//! |---|---|---|---|
//! | `POST /site/v1/join` | none | [`JoinRequest`] | [`JoinAnswer`] |
//! | `POST /site/v1/renew` | the site's | [`RenewRequest`] | [`RenewAnswer`] |
//! | `GET /site/v1/settings` | the site's | | [`SiteSettings`] |
//! | `GET /site/v1/firmware/{sha256}` | the site's | | the file |
//! | `POST /site/v1/events` | the site's | [`EventBatch`] | [`EventReceipt`] |
//!
//! Errors are [`Refusal`] with a status of 4xx or 5xx.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{BootId, ClientArch, Digest, MacAddr, Name, SystemUuid};
use crate::clock::Timestamp;

/// A box asks to become its site's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The join token's secret, base64url.
    pub secret: String,
    /// The box's TLS key and its proof: a PKCS#10 request in PEM.
    pub csr: String,
    /// The box's Ed25519 public key for boot tickets, base64url.
    pub ticket_key: String,
    /// Signature by that key over [`ticket_key_proof`] of the request, base64url.
    pub ticket_key_proof: String,
}

/// What the ticket key signs to prove that the box has it: bound to the request's CSR so that it can't be moved to another.
#[must_use]
pub fn ticket_key_proof(csr_pem: &str) -> Vec<u8> {
    [b"fairlead ticket key\0".as_slice(), csr_pem.as_bytes()].concat()
}

/// The box is the site's now.
#[derive(Debug, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// The site's name.
    pub site: Name,
    /// The site's number, which its tickets carry.
    pub site_number: u32,
    /// The site's certificate and the issuing CA's, in PEM.
    pub certificate_chain: String,
    /// The root certificate in PEM; its fingerprint is the join token's.
    pub root: String,
}

/// A box renews its certificate, with a new key or the old one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// A PKCS#10 request in PEM.
    pub csr: String,
}

/// The new certificate.
#[derive(Debug, Serialize, Deserialize)]
pub struct RenewAnswer {
    /// The site's certificate and the issuing CA's, in PEM.
    pub certificate_chain: String,
}

/// What the cloud tells a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteSettings {
    /// URL of the boot plane as nodes reach it, without a trailing slash.
    pub boot_url: String,
    /// SHA-256 of the root certificate's DER: what is sealed into the firmware and goes out as option 175.90 to BIOS.
    pub root: Digest,
    /// The Ed25519 public key that signs capabilities, base64url.
    pub capability_key: String,
    /// The firmware files to serve.
    pub firmware: Vec<FirmwareFile>,
    /// The cloud's clock, by which a box can tell that its own is wrong.
    pub now: Timestamp,
}

/// A firmware file that a site serves to its nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareFile {
    /// The file's name on TFTP and HTTP, such as `snponly.efi`.
    pub name: String,
    /// Digest of the sealed file.
    pub sha256: Digest,
    /// Length in octets.
    pub size: u64,
}

/// Reports from a site's spool, in order.
///
/// A box may be of a later version than its cloud, and what the cloud refuses stays in the spool in front of all that comes behind it. So
/// the cloud passes over fields that it does not know, here and in each report, and keeps what happened as it came
/// ([`SiteEventKind::Unknown`]).
#[derive(Debug, Serialize, Deserialize)]
pub struct EventBatch {
    /// Names the spool: a box that lost its disk starts a new one, and numbers begin anew.
    pub spool: String,
    /// The reports.
    pub events: Vec<NumberedEvent>,
}

/// A report and its place in the spool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumberedEvent {
    /// Place in the spool, from 1, without gaps.
    pub number: u64,
    /// The report.
    pub event: SiteEvent,
}

/// The cloud has these for good.
#[derive(Debug, Serialize, Deserialize)]
pub struct EventReceipt {
    /// The highest number that is stored; the box may forget all up to it.
    pub stored_up_to: u64,
}

/// Something that happened at the site: to one boot, or to the site itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteEvent {
    /// When, by the box's clock.
    pub at: Timestamp,
    /// The boot it belongs to, if it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootId>,
    /// The machine, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// What happened.
    pub what: SiteEventKind,
}

/// What happened at the site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SiteEventKind {
    /// The box, as the site's DHCP server, promised an address to the machine, and the lease is on disk.
    Leased {
        /// The address.
        address: Ipv4Addr,
        /// Lease time in seconds.
        seconds: u32,
        /// Architecture, when the client gave one.
        arch: Option<ClientArch>,
    },
    /// The box answered as proxyDHCP, beside the server that gives addresses.
    ProxyAnswered {
        /// Architecture, when the client gave one.
        arch: Option<ClientArch>,
    },
    /// The firmware was named a boot file.
    BootFileNamed {
        /// File name or URL.
        file: String,
        /// Architecture, when the client gave one.
        arch: Option<ClientArch>,
    },
    /// A file went to the machine, whole.
    FileServed {
        /// `tftp` or `http`.
        protocol: String,
        /// The file's name.
        file: String,
        /// Octets.
        size: u64,
        /// Digest of what was sent.
        sha256: Digest,
    },
    /// A ticket was minted and handed to iPXE.
    TicketMinted {
        /// Machine's UUID, when it sent one.
        uuid: Option<SystemUuid>,
    },
    /// The machine uses an address that the box was about to give to another one.
    AddressInUse {
        /// The address.
        address: Ipv4Addr,
        /// Whether it is reserved for a machine, which is given another one meanwhile.
        reserved: bool,
    },
    /// Another DHCP server was heard on the segment of an interface in server mode.
    OtherServer {
        /// The box's interface.
        interface: String,
        /// The server's identifier.
        server: Ipv4Addr,
        /// Whether the box gives out no address there until the server is gone.
        silent: bool,
    },
    /// A DHCP server that was heard on the segment is heard no more.
    OtherServerGone {
        /// The box's interface.
        interface: String,
        /// The server's identifier.
        server: Ipv4Addr,
    },
    /// What a box of a later version reports, as it came.
    #[serde(untagged)]
    Unknown(serde_json::Value),
}

impl fmt::Display for SiteEventKind {
    /// In words, for logs and timelines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = |arch: &Option<ClientArch>| arch.map_or_else(String::new, |arch| format!(" ({arch})"));
        match self {
            Self::Leased { address, seconds, arch } => write!(f, "leased {address} for {seconds} s{}", machine(arch)),
            Self::ProxyAnswered { arch } => write!(f, "answered beside the site's DHCP server{}", machine(arch)),
            Self::BootFileNamed { file, arch } => write!(f, "told to boot {file}{}", machine(arch)),
            Self::FileServed { protocol, file, size, .. } => write!(f, "took {file} over {protocol}, {size} octets"),
            Self::TicketMinted { uuid: Some(uuid) } => write!(f, "given a boot ticket (UUID {uuid})"),
            Self::TicketMinted { uuid: None } => f.write_str("given a boot ticket (no UUID)"),
            Self::AddressInUse { address, reserved: true } => write!(f, "uses {address}, which is reserved for another machine"),
            Self::AddressInUse { address, reserved: false } => write!(f, "uses {address} of the pools without a lease"),
            Self::OtherServer { interface, server, silent } => {
                let then = if *silent { "no address is given out there until it is gone" } else { "addresses are given out all the same" };
                write!(f, "another DHCP server, {server}, answers on {interface}: {then}")
            }
            Self::OtherServerGone { interface, server } => write!(f, "the other DHCP server, {server}, is gone from {interface}"),
            Self::Unknown(what) => write!(f, "something that this version does not know: {what}"),
        }
    }
}

/// Why a request was refused.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// What was wrong.
    pub error: String,
    /// What to do about it.
    pub hint: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_told_in_words() {
        let leased = SiteEventKind::Leased { address: Ipv4Addr::new(192, 0, 2, 100), seconds: 3600, arch: Some(ClientArch::X64_UEFI) };
        assert_eq!(leased.to_string(), "leased 192.0.2.100 for 3600 s (x64-uefi)");
        let named = SiteEventKind::BootFileNamed { file: "snponly.efi".to_owned(), arch: None };
        assert_eq!(named.to_string(), "told to boot snponly.efi");
        let served = SiteEventKind::FileServed { protocol: "tftp".to_owned(), file: "a".to_owned(), size: 3, sha256: Digest([0; 32]) };
        assert_eq!(served.to_string(), "took a over tftp, 3 octets");
        assert_eq!(SiteEventKind::TicketMinted { uuid: None }.to_string(), "given a boot ticket (no UUID)");
    }

    #[test]
    fn a_report_of_a_later_version_is_kept_as_it_came() {
        let text = r#"{"at":1,"what":{"fan_stopped":{"fan":2}}}"#;
        let event: SiteEvent = serde_json::from_str(text).unwrap();
        assert_eq!(event.what, SiteEventKind::Unknown(serde_json::json!({ "fan_stopped": { "fan": 2 } })));
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
        let known = SiteEvent { what: SiteEventKind::TicketMinted { uuid: None }, ..event };
        assert_eq!(serde_json::from_str::<SiteEvent>(&serde_json::to_string(&known).unwrap()).unwrap(), known);
    }

    #[test]
    fn a_batch_of_a_later_version_is_read_with_all_that_it_adds() {
        let event = r#"{"at":1,"ip":"192.0.2.7","mac":"02:00:00:00:00:01","what":{"ticket_minted":{"uuid":null,"reason":"renewed"}}}"#;
        let text = format!(r#"{{"spool":"a","box":"b","events":[{{"number":1,"urgent":true,"event":{event}}}]}}"#);
        let batch: EventBatch = serde_json::from_str(&text).unwrap();
        let what = SiteEventKind::Unknown(serde_json::json!({ "ticket_minted": { "uuid": null, "reason": "renewed" } }));
        assert_eq!((batch.events[0].number, &batch.events[0].event.what), (1, &what), "a known kind with more to it is kept whole");
        // A kind without anything to it, and one whose value is of another type.
        for text in [r#""rebooted""#, r#"{"leased":"all"}"#] {
            let what: SiteEventKind = serde_json::from_str(text).unwrap();
            assert_eq!((serde_json::to_string(&what).unwrap().as_str(), matches!(what, SiteEventKind::Unknown(_))), (text, true));
        }
    }

    #[test]
    fn what_a_site_finds_on_its_network_is_told_in_words() {
        let (server, interface) = (Ipv4Addr::new(192, 0, 2, 9), "eth1".to_owned());
        let heard = SiteEventKind::OtherServer { interface: interface.clone(), server, silent: true };
        assert_eq!(heard.to_string(), "another DHCP server, 192.0.2.9, answers on eth1: no address is given out there until it is gone");
        assert_eq!(SiteEventKind::OtherServerGone { interface, server }.to_string(), "the other DHCP server, 192.0.2.9, is gone from eth1");
        let used = SiteEventKind::AddressInUse { address: server, reserved: false };
        assert_eq!(used.to_string(), "uses 192.0.2.9 of the pools without a lease");
    }
}
