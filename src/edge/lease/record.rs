use std::fmt;
use std::net::Ipv4Addr;

use data_encoding::HEXLOWER;

use crate::clock::Timestamp;
use crate::wire::MacAddr;

/// A client's hardware type and address as DHCP carries them (RFC 2131, `htype` and `chaddr`): 0 to 16 octets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HardwareAddress {
    kind: u8,
    octets: Box<[u8]>,
}

/// Ethernet in IANA's list of hardware types.
const ETHERNET: u8 = 1;

impl HardwareAddress {
    /// Takes a type and an address of up to 16 octets; what is longer is no hardware address.
    #[must_use]
    pub fn new(kind: u8, octets: &[u8]) -> Option<Self> {
        (octets.len() <= 16).then(|| Self { kind, octets: octets.into() })
    }

    /// The hardware type (IANA's list): 1 is Ethernet.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        self.kind
    }

    /// The address itself.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The Ethernet address, when it is one that a single interface can have.
    #[must_use]
    pub fn mac(&self) -> Option<MacAddr> {
        let octets = <[u8; 6]>::try_from(self.octets()).ok()?;
        let mac = MacAddr(octets);
        (self.kind == ETHERNET && mac.is_unicast()).then_some(mac)
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mac() {
            Some(mac) => mac.fmt(f),
            None => write!(f, "hardware {}/{}", self.kind, HEXLOWER.encode(&self.octets)),
        }
    }
}

/// What a client is known by (RFC 2131, section 2): its client identifier (option 61), or else hardware type and address.
///
/// Both are kept as the same octets, so that a machine keeps its address from its firmware, which sends no identifier, to
/// iPXE, which sends the identifier of type 1 that spells out its hardware address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Box<[u8]>);

impl ClientId {
    /// The identity of a client that sent `identifier` as option 61 (2 to 255 octets, RFC 2132, section 9.14).
    #[must_use]
    pub fn from_option(identifier: &[u8]) -> Option<Self> {
        (2..=255).contains(&identifier.len()).then(|| Self(identifier.into()))
    }

    /// The identity of a client that sent no identifier, or `None` when it has no hardware address either.
    #[must_use]
    pub fn from_hardware(hardware: &HardwareAddress) -> Option<Self> {
        let octets = [&[hardware.kind()], hardware.octets()].concat();
        (!hardware.octets().is_empty()).then(|| Self(octets.into()))
    }

    /// The octets, as they stand in option 61.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
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
}
