//! The part of `edge.toml` that is about DHCP: `[[interface]]`, `[[subnet]]` and `[boot]`.
//!
//! The sections are what the file says; [`build`] checks what they mean together and makes a [`DhcpConfig`], which is right by
//! construction.

mod build;
mod network;
mod section;

use std::collections::HashMap;
use std::net::Ipv4Addr;

pub use build::build;
pub use network::{Ipv4Network, NetworkError};
pub use section::{BootSection, InterfaceMode, InterfaceSection, ReservationSection, SubnetSection};

use super::boot_file::BootFiles;
use crate::edge::lease::AddressRange;
use crate::wire::MacAddr;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct DhcpConfig {
    interfaces: Vec<Interface>,
    subnets: Vec<Subnet>,
    boot_files: BootFiles,
}

/// What is done on an interface that is not off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// DHCP server: gives addresses and boot files.
    Server,
    /// proxyDHCP: gives boot files beside another server.
    Proxy,
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
}

/// A subnet whose addresses are given out.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// The network.
    pub network: Ipv4Network,
    /// What is given out; inside the network, without overlap.
    pub pools: Vec<AddressRange>,
    /// Option 3.
    pub routers: Vec<Ipv4Addr>,
    /// Option 6.
    pub dns: Vec<Ipv4Addr>,
    /// Option 42.
    pub ntp: Vec<Ipv4Addr>,
    /// Option 15.
    pub domain: Option<String>,
    /// Lease time in seconds.
    pub lease_time: u32,
    /// Addresses that are kept for one machine each.
    pub reservations: HashMap<MacAddr, Ipv4Addr>,
}

impl DhcpConfig {
    /// The interfaces that are not off.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The subnets.
    #[must_use]
    pub fn subnets(&self) -> &[Subnet] {
        &self.subnets
    }

    /// The boot file of each architecture.
    #[must_use]
    pub const fn boot_files(&self) -> &BootFiles {
        &self.boot_files
    }
}

#[cfg(test)]
mod tests;
