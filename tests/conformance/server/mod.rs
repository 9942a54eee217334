//! The servers that the battery runs against, each set up for the same site.

mod dnsmasq;
pub(crate) mod edge;
mod kea;

use std::path::Path;

use fairlead::failure::Result;
use fairlead_lab::namespace::Namespace;
use fairlead_lab::process::Daemon;

use crate::site::Profile;

/// A DHCP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Product {
    /// Ours.
    Edge,
    /// ISC's.
    Kea,
    /// Simon Kelley's.
    Dnsmasq,
}

impl Product {
    /// In the order of the table's columns.
    pub(crate) const ALL: [Self; 3] = [Self::Edge, Self::Kea, Self::Dnsmasq];

    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Edge => "fairlead-edge",
            Self::Kea => "Kea",
            Self::Dnsmasq => "dnsmasq",
        }
    }

    /// Its version, as it says it; ours is that of this tree.
    pub(crate) fn version(self) -> Result<String> {
        match self {
            Self::Edge => Ok(env!("CARGO_PKG_VERSION").to_owned()),
            Self::Kea => kea::version(),
            Self::Dnsmasq => dnsmasq::version(),
        }
    }
}

/// Starts the server and waits until it answers.
pub(crate) fn start(product: Product, profile: Profile, namespace: &Namespace, directory: &Path) -> Result<Daemon> {
    match product {
        Product::Edge => edge::start(profile, namespace, directory),
        Product::Kea => kea::start(profile, namespace, directory),
        Product::Dnsmasq => dnsmasq::start(profile, namespace, directory),
    }
}
