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
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventBatch {
    /// Names the spool: a box that lost its disk starts a new one, and numbers begin anew.
    pub spool: String,
    /// The reports.
    pub events: Vec<NumberedEvent>,
}

/// A report and its place in the spool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// Something that happened to one boot at the site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteEvent {
    /// When, by the box's clock.
    pub at: Timestamp,
    /// The boot it belongs to.
    pub boot: BootId,
    /// The machine.
    pub mac: MacAddr,
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
}
