//! The battery: what each case is called, what it needs, and which servers can be asked at all.

mod addresses;
mod boot;
mod lease_time;
mod malformed;
mod names;
mod options;
mod probe;
mod proxy;
mod relay;
mod reservation;
mod shared_network;
mod states;

use fairlead::failure::Result;

use crate::server::Product;
use crate::site::{Profile, Site};

/// One thing that a standard says about a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// The standard's section, and what it says.
    pub(crate) name: &'static str,
    /// The set-up that it needs.
    pub(crate) profile: Profile,
    /// The servers that have what it is about.
    pub(crate) applies_to: &'static [Product],
    /// What is sent, and what must come back.
    pub(crate) run: fn(&Site) -> Result<()>,
}

impl Case {
    const fn new(name: &'static str, profile: Profile, run: fn(&Site) -> Result<()>) -> Self {
        Self { name, profile, applies_to: &Product::ALL, run }
    }

    const fn only(mut self, products: &'static [Product]) -> Self {
        self.applies_to = products;
        self
    }
}

/// All of them, in the order of the table.
pub(crate) fn all() -> Vec<Case> {
    [
        states::CASES,
        addresses::CASES,
        lease_time::CASES,
        options::CASES,
        names::CASES,
        relay::CASES,
        shared_network::CASES,
        reservation::CASES,
        boot::CASES,
        proxy::CASES,
        probe::CASES,
        malformed::CASES,
    ]
    .concat()
}
