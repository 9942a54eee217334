use std::fmt;
use std::net::Ipv4Addr;

use data_encoding::HEXLOWER;

use super::ClientId;
use crate::clock::Timestamp;
use crate::wire::MacAddr;

/// A client's hardware type and address as DHCP carries them (RFC 2131, `htype` and `chaddr`): 0 to 16 octets.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HardwareAddress {
    kind: u8,
    length: u8,
    /// Zero behind `length`.
    octets: [u8; 16],
}

/// Ethernet in IANA's list of hardware types.
const ETHERNET: u8 = 1;

impl HardwareAddress {
    /// Takes a type and an address of up to 16 octets; what is longer is no hardware address.
    #[must_use]
    pub fn new(kind: u8, octets: &[u8]) -> Option<Self> {
        let mut address = Self { kind, length: u8::try_from(octets.len()).ok()?, octets: [0; 16] };
        address.octets.get_mut(..octets.len())?.copy_from_slice(octets);
        Some(address)
    }

    /// The hardware type (IANA's list): 1 is Ethernet.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.kind
    }

    /// The address itself.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The Ethernet address, when it is one that a single interface can have.
    #[must_use]
    pub fn mac(&self) -> Option<MacAddr> {
        let octets = <[u8; 6]>::try_from(self.octets()).ok()?;
        let mac = MacAddr(octets);
        (self.kind == ETHERNET && mac.is_unicast()).then_some(mac)
    }
}

impl fmt::Debug for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HardwareAddress({self})")
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mac() {
            Some(mac) => mac.fmt(f),
            None => write!(f, "hardware {}/{}", self.kind, HEXLOWER.encode(self.octets())),
        }
    }
}

/// What became of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Promised to the client until the lease expires.
    Bound,
    /// Given back by the client (DHCPRELEASE). It is free, and remembered so that the client can have it again.
    Released,
    /// Found in use by someone else (DHCPDECLINE). Nobody gets it until the record expires.
    Declined,
}

/// What is written down about one address; the newest record of an address counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The address.
    pub address: Ipv4Addr,
    /// Who has it, or had it last.
    pub client: ClientId,
    /// The client's hardware address when the record was made.
    pub hardware: HardwareAddress,
    /// What became of it.
    pub state: LeaseState,
    /// When the record was made.
    pub starts_at: Timestamp,
    /// When the promise, or the quarantine, is over; for a released address the moment of its release.
    pub expires_at: Timestamp,
    /// What the client calls itself, when it does and [`host_name`] could make something of it.
    pub host_name: Option<Box<str>>,
}

/// What a client calls itself (RFC 2132, section 3.14), held to what a name is made of, or `None` when there is nothing left of it.
///
/// It is shown on consoles and written to tables, so it must not bring quotes, commas, control or other strange characters along.
/// Zeros at the end are taken off, as section 2 of the RFC demands.
#[must_use]
pub fn host_name(octets: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(octets).ok()?.trim_end_matches('\0').trim_end_matches('.');
    let is_a_name = |text: &str| text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.'));
    (!text.is_empty() && text.len() <= 253 && is_a_name(text)).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::host_name;

    #[test]
    fn rfc2132_3_14_a_host_name_is_taken_when_it_is_one() {
        assert_eq!(host_name(b"node-1.site.example.\0").as_deref(), Some("node-1.site.example"));
        for octets in [b"".as_slice(), b"\0", b"a b", b"a,b", b"\x1b[31mred", b"\xff", &[b'a'; 254]] {
            assert_eq!(host_name(octets), None, "{octets:?}");
        }
    }
}
