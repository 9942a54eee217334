//! The DHCPv4 server and proxyDHCP engine.
//!
//! [`Engine`] is a state machine without sockets, clock or randomness: a datagram goes in, [`Action`]s come out. [`server`] is
//! the thin shell that gives it sockets, the time and the [lease journal](crate::edge::lease::Journal).
//!
//! - `message` reads a request, `reply` writes an answer: nobody else knows octets.
//! - `server_mode` is RFC 2131, `proxy_mode` the PXE specification's proxyDHCP, `observe_mode` a server that only says what it would do.
//! - `relay` finds the subnet that a client is on, `link` the address that it is offered there or in a subnet of the same link, `levels` who in the configuration decides, `answer` puts an answer together.
//! - [`explain`] tells why an answer is what it is.
//! - `conflict` keeps addresses that somebody uses from being given out, `rival` looks for other servers.
//! - `boot_file` decides what a machine is told to boot, [`BootSettings`] holds what that takes.
//! - [`config`] is the part of `edge.toml` that is about all this.

mod action;
mod administration;
mod answer;
mod boot_attempt;
mod boot_file;
mod boot_settings;
mod client;
mod client_rate;
pub mod config;
mod conflict;
mod engine;
pub mod explain;
mod host_name;
mod lease_time;
mod levels;
mod link;
mod message;
mod observe_mode;
mod option;
mod proxy_mode;
mod relay;
mod reply;
mod rival;
pub mod server;
mod server_mode;

#[cfg(test)]
mod tests;

pub use action::{Action, Commit, Destination, DropReason, Fresh, Ingress, InterfaceId, Notice, Outcome, Outgoing, Probe, ProbeKind, Turn};
pub use boot_file::BootFiles;
pub use boot_settings::{BootSettings, TicketMinter};
pub use engine::Engine;
pub use message::Malformed;
pub use observe_mode::{Observation, Would};
pub use server_mode::UNDURABLE_RENEWAL;

/// Where servers and relays listen (RFC 2131, section 4.1).
pub const SERVER_PORT: u16 = 67;
/// Where clients listen.
pub const CLIENT_PORT: u16 = 68;
/// Where a PXE boot server listens (PXE 2.1, section 2.2.3).
pub const PXE_PORT: u16 = 4011;
