//! How the commands speak with the running box: a Unix socket in the state folder, one line of JSON for a request and one for its
//! answer. Nothing of it is on the network.
//!
//! - [`Request`] and [`Answer`] are what is said.
//! - [`ControlSocket`] is the box's side: it hands each request to a [`Handler`].
//! - [`Desk`] is that handler.
//! - [`Client`] is the commands' side.

mod client;
mod desk;
mod server;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

pub use self::client::{Client, ControlError};
pub use self::desk::Desk;
pub(crate) use self::desk::no_lease;
pub use self::server::ControlSocket;
use crate::clock::Timestamp;
use crate::edge::lease::{LeaseEntry, Refused};
use crate::failure::Failure;

/// The socket's name in the state folder.
pub const SOCKET: &str = "control.sock";

/// No request and no answer is longer, in octets, its end of line among them.
pub const LONGEST_LINE: usize = 4 << 20;

/// How many leases [`Request::ImportLeases`] holds at most: well under [`LONGEST_LINE`], and short enough that no client notices.
pub const LEASES_IN_A_REQUEST: usize = 1000;

/// What a command asks of the running box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Request {
    /// How it is.
    Status,
    /// To read its configuration again and apply it, whole or not at all.
    Reload,
    /// To free an address, whoever has it.
    ReleaseLease {
        /// The address.
        address: Ipv4Addr,
    },
    /// To take over leases.
    ImportLeases {
        /// At most [`LEASES_IN_A_REQUEST`].
        leases: Vec<LeaseEntry>,
    },
}

/// What the box says to a [`Request`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::Reload`].
    Reloaded(Reloaded),
    /// To [`Request::ReleaseLease`]: what the lease was. The change is on the disk.
    Released {
        /// As it was before.
        lease: LeaseEntry,
    },
    /// To [`Request::ImportLeases`]: what was taken is on the disk.
    Imported(Imported),
    /// To any request: it was not done, and why.
    Failed(Failure),
}

impl Answer {
    /// What to tell when this is not the answer to what was asked.
    #[must_use]
    pub fn unexpected(self) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            _ => Failure::new("the running fairlead-edge answered something else than it was asked")
                .hint("it may be of another version: restart it"),
        }
    }
}

/// How the box is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// When it was started.
    pub started_at: Timestamp,
    /// Its subnets, in the configuration's order.
    pub subnets: Vec<SubnetStatus>,
    /// How many datagrams were not answered, by reason in words.
    pub drops: BTreeMap<String, u64>,
}

/// How many addresses of a subnet are in which state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetStatus {
    /// The network, as `192.0.2.0/24`.
    pub network: String,
    /// Addresses that its pools give out.
    pub dynamic: usize,
    /// Leases in force, those of reserved addresses among them.
    pub active: usize,
    /// Leases that have ended.
    pub expired: usize,
    /// Addresses that were given back.
    pub released: usize,
    /// Addresses in quarantine.
    pub declined: usize,
    /// Addresses on offer.
    pub offered: usize,
    /// Addresses at which a probe found someone without a lease.
    pub in_use: usize,
}

/// What a reload came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// What is different now, a line each; none when nothing is.
    pub changes: Vec<String>,
    /// What is legal and unwise, a line each.
    pub warnings: Vec<String>,
}

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// How many leases were taken.
    pub taken: usize,
    /// Which were not.
    pub refused: Vec<Refused>,
}

/// The one who does what is asked. Each method's failure goes to whoever asked, as it is.
pub trait Handler: Send + Sync + 'static {
    /// How the box is.
    fn status(&self) -> impl Future<Output = Result<Status, Failure>> + Send;
    /// Reads the configuration again and applies it, whole or not at all.
    fn reload(&self) -> impl Future<Output = Result<Reloaded, Failure>> + Send;
    /// Frees an address; returns what the lease was.
    fn release_lease(&self, address: Ipv4Addr) -> impl Future<Output = Result<LeaseEntry, Failure>> + Send;
    /// Takes over leases.
    fn import_leases(&self, leases: Vec<LeaseEntry>) -> impl Future<Output = Result<Imported, Failure>> + Send;
}

#[cfg(test)]
mod tests;
