//! What subnets, classes and reservations say about the same things, and who of them decides.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::Ipv4Network;
use super::option_value::octets_in_words;
use super::options::OptionSet;
use crate::edge::dhcp::BootFiles;
use crate::wire::ClientArch;

/// Where in the configuration a value stands, for `explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is what the program does when nobody says otherwise.
    BuiltIn,
    /// On this line of `edge.toml`, from 1.
    Line(u32),
}

impl Origin {
    /// The line, when it stands on one.
    #[must_use]
    pub const fn line(self) -> Option<u32> {
        match self {
            Self::BuiltIn => None,
            Self::Line(line) => Some(line),
        }
    }
}

/// A value, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub origin: Origin,
}

/// Times of a lease, as far as a level of the configuration names them. What it leaves out, the next level decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseTimes {
    /// Seconds for a client that asks for no particular time.
    pub default: Option<Sourced<u32>>,
    /// The least that a client gets by asking (option 51), in seconds.
    pub min: Option<Sourced<u32>>,
    /// The most that a client gets by asking, in seconds.
    pub max: Option<Sourced<u32>>,
    /// T1 in seconds (option 58).
    pub renewal: Option<Sourced<u32>>,
    /// T2 in seconds (option 59).
    pub rebinding: Option<Sourced<u32>>,
}

/// Boot files by architecture; `None` for no boot file.
pub type ArchFiles = Vec<(ClientArch, Sourced<Option<String>>)>;

/// What one level of the configuration (`[dhcp]`, a subnet, a class, a reservation) says. The first of reservation, class,
/// subnet and `[dhcp]` that says something about a thing decides it.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Lease times. `default` is always there at the outermost level (`[dhcp]`).
    pub times: LeaseTimes,
    /// Options and their values, the subnet's short forms (`routers` and the like) among them.
    pub options: OptionSet,
    /// Options (their numbers) that are sent to clients that did not list them, too. What any level that holds for the client
    /// names here is sent, wherever its value stands.
    pub always_send: Vec<Sourced<u8>>,
    /// RFC 4039.
    pub rapid_commit: Option<Sourced<bool>>,
    /// Whether machines may boot from the network.
    pub boot: Option<Sourced<bool>>,
    /// Boot files that differ from the general ones.
    pub boot_files: ArchFiles,
}

/// `[dhcp.limits]`: what a box does at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Offers to machines without a lease that wait for their REQUEST, in all subnets; beyond them the oldest one of the subnet with the
    /// most is given up.
    pub offers: usize,
    /// Datagrams of one client (by hardware address) in ten seconds; those beyond are dropped.
    pub client_rate: u32,
}

/// What is the same for the whole box.
#[derive(Clone, Debug)]
pub struct General {
    /// What holds unless a subnet, class or reservation says otherwise.
    pub policy: Policy,
    /// Whether an address is probed before a new client is given it (RFC 5227, section 2.1.1), unless its subnet says otherwise.
    pub conflict_probe: bool,
    /// How long nobody gets an address that a client declined or a probe found in use.
    pub decline_quarantine: Duration,
    /// How long an offered address is kept for its client.
    pub offer_hold: Duration,
    /// The relays that may ask; with none, any whose address lies in a subnet, or that a subnet names.
    pub relays: Vec<Ipv4Network>,
    /// Bounds.
    pub limits: Limits,
}

/// `[[class]]`: machines that have something in common.
#[derive(Clone, Debug)]
pub struct Class {
    /// Its name, and where it stands.
    pub name: Sourced<String>,
    /// Who is in it.
    pub matcher: Matcher,
    /// What is said of them.
    pub policy: Policy,
}

/// Who is in a class: what fits one value of every list that is not empty. At least one is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    /// Architectures (option 93, or named in option 60).
    pub arch: Vec<ClientArch>,
    /// Vendor class identifiers (option 60).
    pub vendor_class: Vec<Pattern>,
    /// User classes (option 77), bare or in RFC 3004's form.
    pub user_class: Vec<Pattern>,
    /// First octets of the hardware address.
    pub mac_prefix: Vec<Vec<u8>>,
    /// Relays (`giaddr`).
    pub relay: Vec<Ipv4Network>,
}

/// Text to compare with; a `*` at its end stands for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What is compared, without the `*`.
    pub text: Vec<u8>,
    /// Whether the text is only the beginning.
    pub is_prefix: bool,
}

impl Pattern {
    /// Whether the octets are the text, or begin with it.
    #[must_use]
    pub fn matches(&self, octets: &[u8]) -> bool {
        if self.is_prefix { octets.starts_with(&self.text) } else { octets == self.text }
    }
}

/// By what a reservation knows its machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReservationKey {
    /// The hardware address.
    Mac(crate::wire::MacAddr),
    /// The octets of option 61.
    ClientId(Vec<u8>),
    /// The machine's UUID (option 97).
    Uuid(crate::wire::SystemUuid),
    /// The relay agent's circuit ID (option 82, sub-option 1).
    CircuitId(Vec<u8>),
}

impl fmt::Display for ReservationKey {
    /// As the configuration names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => write!(f, "{mac}"),
            Self::ClientId(octets) => write!(f, "client identifier {}", octets_in_words(octets)),
            Self::Uuid(uuid) => write!(f, "UUID {uuid}"),
            Self::CircuitId(octets) => write!(f, "circuit ID {}", octets_in_words(octets)),
        }
    }
}

/// `[[subnet.reservation]]`: an address that is kept for one machine.
#[derive(Clone, Debug)]
pub struct Reservation {
    /// The machine.
    pub key: ReservationKey,
    /// Its address, and where the reservation stands.
    pub address: Sourced<Ipv4Addr>,
    /// The host name that the machine is told (option 12).
    pub host_name: Option<Sourced<String>>,
    /// What is said of the machine.
    pub policy: Policy,
}

/// The general boot files with where each stands: built in unless `[boot.files]` names it.
#[derive(Clone, Debug, Default)]
pub struct GeneralBootFiles {
    /// The files.
    pub files: BootFiles,
    /// The lines of those that `[boot.files]` names.
    pub lines: Vec<(ClientArch, u32)>,
}
