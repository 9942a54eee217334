//! What the fuzz targets share: a site to feed, and what must be true of every answer.

#[path = "../../tests/simulation/message.rs"]
#[allow(dead_code, missing_docs)]
pub mod message;
#[path = "../../tests/simulation/oracle.rs"]
#[allow(dead_code, missing_docs)]
pub mod oracle;
#[path = "../../tests/simulation/plan.rs"]
#[allow(dead_code, missing_docs)]
pub mod plan;

use std::net::Ipv4Addr;
use std::sync::Arc;

use fairlead::clock::Timestamp;
use fairlead::edge::dhcp::{BootSettings, TicketMinter};
use fairlead::wire::{BootId, Digest, MacAddr, Nonce, SystemUuid};

/// The box's address.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Stands in for the site's key: a text as long as a real ticket.
struct PlainMinter;

impl TicketMinter for PlainMinter {
    fn mint(&self, _: Timestamp, _: BootId, _: MacAddr, _: Option<SystemUuid>, nonce: Nonce) -> Option<String> {
        // Signing fails now and then, as with a clock that can't be believed.
        (nonce.0[0] % 8 != 7).then(|| "t".repeat(230))
    }
}

/// What machines need to go on to the cloud.
pub fn boot_settings() -> Arc<BootSettings> {
    Arc::new(BootSettings {
        root: Digest([7; 32]),
        boot_url: "https://cloud.example:8443".to_owned(),
        http_port: 80,
        minter: Arc::new(PlainMinter),
    })
}

/// Takes what a run is made of from the fuzzer's octets; zeros when there are no more.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One octet.
    pub fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Two octets.
    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.octet(), self.octet()])
    }

    /// Up to so many octets.
    pub fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
