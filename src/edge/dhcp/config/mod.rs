//! The part of `edge.toml` that is about DHCP: `[[interface]]`, `[[subnet]]` and `[boot]`.
//!
//! The sections are what the file says; [`build`] checks what they mean together and makes a [`DhcpConfig`], which is right by
//! construction.

mod build;
mod difference;
mod network;
pub mod option_table;
mod option_value;
pub mod options;
pub mod policy;
mod section;
mod value;
mod warnings;

use std::collections::HashMap;
use std::fmt;
use std::net::Ipv4Addr;

pub use build::build;
pub(in crate::edge) use build::parse_arch;
pub use difference::Change;
pub use network::{Ipv4Network, NetworkError};
pub use option_value::in_words;
pub use section::{BootSection, ClassSection, DhcpSection, InterfaceSection, Sections, SubnetSection};
pub(in crate::edge) use value::parse_hex;

use self::policy::{Class, General, GeneralBootFiles, Policy, Reservation, ReservationKey, Sourced};
use crate::edge::lease::AddressRange;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct DhcpConfig {
    interfaces: Vec<Interface>,
    /// The line of each interface, for what is said about it later.
    interface_lines: Vec<u32>,
    general: General,
    /// The line of `conflict_probe` in `[dhcp]`.
    conflict_probe_line: Option<u32>,
    classes: Vec<Class>,
    subnets: Vec<Subnet>,
    /// For each subnet the places of those on its link, itself among them.
    links: Vec<Vec<usize>>,
    boot_files: GeneralBootFiles,
    warnings: Vec<Warning>,
}

/// Something that is legal and unwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// `file:line` of it.
    pub place: String,
    /// What is unwise, and why.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "warning: {}: {}\nhint: {}", self.place, self.what, self.hint)
    }
}

/// What is done on an interface that is not off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// DHCP server: gives addresses and boot files.
    Server,
    /// proxyDHCP: gives boot files beside another server.
    Proxy,
    /// Answers nothing and tells what a server would have said.
    Observe,
}

/// An interface to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The system's name of it.
    pub name: String,
    /// What is done there.
    pub mode: Mode,
    /// The box's address there.
    pub address: Ipv4Addr,
    /// Whether it serves although another DHCP server was heard there.
    pub authoritative: bool,
}

/// A subnet whose addresses are given out.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// The network, and where it stands.
    pub network: Sourced<Ipv4Network>,
    /// What is given out; inside the network, without overlap.
    pub pools: Vec<AddressRange>,
    /// What is not given out although a pool holds it.
    pub excluded: Vec<AddressRange>,
    /// Relays that ask for clients of this subnet although their address is not in it.
    pub relays: Vec<Ipv4Network>,
    /// The name by which it shares its link with other subnets.
    pub shared_network: Option<Sourced<String>>,
    /// The classes for which the pools are; for all machines when there are none.
    pub classes: Vec<Sourced<String>>,
    /// Whether an address is probed before a new client is given it.
    pub conflict_probe: bool,
    /// What is said of its machines.
    pub policy: Policy,
    /// Addresses that are kept for one machine each.
    reservations: Vec<Reservation>,
    by_key: HashMap<ReservationKey, usize>,
}

impl Subnet {
    /// The addresses that are kept for one machine each.
    #[must_use]
    pub fn reservations(&self) -> &[Reservation] {
        &self.reservations
    }

    /// Whether clients of the two are on one link: they are one subnet, or share a network.
    #[must_use]
    pub fn is_on_link_of(&self, other: &Self) -> bool {
        let shares = self.shared_network.as_ref().zip(other.shared_network.as_ref()).is_some_and(|(own, other)| own.value == other.value);
        shares || self.network.value == other.network.value
    }

    /// The reservation of the machine that is known by this.
    #[must_use]
    pub fn reservation(&self, key: &ReservationKey) -> Option<&Reservation> {
        self.by_key.get(key).and_then(|place| self.reservations.get(*place))
    }
}

impl DhcpConfig {
    /// The interfaces that are not off.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The line of `edge.toml` that names an interface, by its place in [`DhcpConfig::interfaces`].
    #[must_use]
    pub fn interface_line(&self, place: usize) -> Option<u32> {
        self.interface_lines.get(place).copied()
    }

    /// The subnets.
    #[must_use]
    pub fn subnets(&self) -> &[Subnet] {
        &self.subnets
    }

    /// The subnets on the link of the one in this place, itself among them, by their places: more than one when it has a
    /// `shared_network`.
    #[must_use]
    pub fn link(&self, place: usize) -> &[usize] {
        self.links.get(place).map(Vec::as_slice).unwrap_or_default()
    }

    /// What is the same for the whole box.
    #[must_use]
    pub const fn general(&self) -> &General {
        &self.general
    }

    /// The classes, in the order in which they are asked.
    #[must_use]
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The boot file of each architecture.
    #[must_use]
    pub const fn boot_files(&self) -> &GeneralBootFiles {
        &self.boot_files
    }

    /// What is legal in the configuration and unwise.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

#[cfg(test)]
mod tests;
