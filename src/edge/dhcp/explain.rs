//! Why an answer is what it is.

use std::cell::RefCell;
use std::net::Ipv4Addr;

use super::action::{DropReason, Outgoing};
use super::config::Ipv4Network;
use super::config::policy::{Origin, ReservationKey};
use crate::edge::lease::LeaseRecord;
use crate::wire::uplink::SiteEvent;
use crate::wire::{ClientArch, MacAddr, SystemUuid};

/// What the engine decided about one datagram, and why; see [`Engine::explain`](super::Engine::explain).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation {
    /// The decisions on the way, in their order.
    pub steps: Vec<Step>,
    /// What would be sent.
    pub answers: Vec<Outgoing>,
    /// What would be on the disk before.
    pub records: Vec<LeaseRecord>,
    /// What the cloud would be told.
    pub reports: Vec<SiteEvent>,
    /// Why nothing, or nothing more, is answered.
    pub dropped: Vec<DropReason>,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Who asks for what.
    Client {
        /// The message: `DISCOVER` and the like.
        message: &'static str,
        /// What the client is known by, in hex.
        identifier: String,
        /// Its hardware address, when it is an Ethernet one.
        mac: Option<MacAddr>,
        /// Its machine's UUID.
        uuid: Option<SystemUuid>,
        /// How far its boot has come.
        stage: &'static str,
        /// The architectures that it can boot.
        archs: Vec<ClientArch>,
    },
    /// The subnet that it is on.
    Subnet {
        /// The subnet.
        network: Ipv4Network,
        /// Where it is configured.
        origin: Origin,
        /// What tells that the client is there.
        reason: SubnetReason,
    },
    /// Another subnet on its link, in which the request is decided.
    SharedNetwork {
        /// The name by which the subnets share their link.
        name: String,
        /// The subnet.
        network: Ipv4Network,
        /// Where it is configured.
        origin: Origin,
    },
    /// A subnet on its link gives it no address.
    PassedOver {
        /// The subnet.
        network: Ipv4Network,
        /// Why not.
        reason: PassedOver,
    },
    /// It has a reservation.
    Reservation {
        /// By what it is known there.
        key: ReservationKey,
        /// The address that is kept for it.
        address: Ipv4Addr,
        /// Where it is configured.
        origin: Origin,
    },
    /// It is in a class.
    Class {
        /// The class's name.
        name: String,
        /// Where it is configured.
        origin: Origin,
    },
    /// The address that it is given, or that it asked for.
    Address {
        /// The address.
        address: Ipv4Addr,
        /// Why this one.
        reason: AddressReason,
    },
    /// The reservation can't be had now: someone else holds the address, or it is in quarantine.
    ReservationTaken {
        /// The address.
        address: Ipv4Addr,
        /// Who has it, as far as it is known.
        holder: Option<MacAddr>,
    },
    /// Lease time.
    LeaseTime {
        /// Seconds.
        seconds: u32,
        /// What the client asked for (option 51).
        asked: Option<u32>,
        /// Why it is this time.
        reason: TimeReason,
    },
    /// T1 or T2.
    Timer {
        /// Option 58 or 59.
        code: u8,
        /// Seconds.
        seconds: u32,
        /// Where it is configured; built in when it is a half or seven eighths of the lease.
        source: Source,
    },
    /// The boot file.
    BootFile {
        /// Its name or URL.
        file: String,
        /// For which architecture.
        arch: Option<ClientArch>,
        /// Where it is configured.
        source: Source,
    },
    /// There is no boot file in the answer.
    NoBootFile {
        /// Why not.
        reason: NoBootReason,
    },
    /// An option of the answer.
    Option {
        /// Its number.
        code: u8,
        /// Its value.
        octets: Vec<u8>,
        /// Where the value comes from.
        source: Source,
    },
    /// An option for which the client's message size leaves no room.
    LeftOut {
        /// Its number.
        code: u8,
    },
    /// The request is refused (DHCPNAK).
    Refused {
        /// Why, in the words that the client is told.
        reason: &'static str,
    },
}

/// What tells that a client is on a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubnetReason {
    /// Sub-option 5 of option 82 (RFC 3527).
    LinkSelection(Ipv4Addr),
    /// Option 118 (RFC 3011).
    SubnetSelection(Ipv4Addr),
    /// The relay's address (`giaddr`).
    Relay(Ipv4Addr),
    /// The address that the client uses.
    ClientAddress(Ipv4Addr),
    /// The box's own address on the interface that the datagram came in on.
    Interface(Ipv4Addr),
}

/// Why a subnet of a shared network is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassedOver {
    /// It has no free address.
    #[error("it has no free address")]
    Full,
    /// `classes` names others.
    #[error("its pools are for classes that the client is not in")]
    NotPermitted,
}

/// Why a client is given an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressReason {
    /// It is kept for it.
    Reserved,
    /// It has it, or had it last.
    Held,
    /// It asked for it (option 50).
    Requested,
    /// It was on offer to it, or nobody had it.
    Unused,
    /// Its former holder's lease ended, longer ago than that of any other.
    Reclaimed,
    /// The client uses it and extends its lease.
    Extended,
}

/// Why a lease is as long as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeReason {
    /// The time for clients that ask for none.
    Default(Source),
    /// The client asked for it.
    Asked,
    /// The client asked for less.
    Least(Source),
    /// The client asked for more.
    Most(Source),
}

/// Why an answer names no boot file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBootReason {
    /// The client does not boot from the network.
    #[error("not a network boot client")]
    NotABootClient,
    /// `boot = false`.
    #[error("it may not boot from the network: `boot = false`")]
    NotAllowed(Source),
    /// The box has no settings from the cloud.
    #[error("the box has no settings from the cloud yet")]
    NoSettings,
    /// None of its architectures has a boot file.
    #[error("no boot file for its architecture")]
    NoFile,
    /// No ticket can be signed.
    #[error("no boot ticket can be signed: the box's clock can't be believed")]
    NoTicket,
    /// It is an iPXE that can't go on to the cloud, and was named the file again and again: it would load itself for ever.
    #[error("an iPXE that can't go on to the cloud took the same boot file again and again")]
    Loop,
}

/// A level of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `[[subnet.reservation]]`.
    Reservation,
    /// `[[class]]`.
    Class,
    /// `[[subnet]]`.
    Subnet,
    /// `[dhcp]`, or `[boot.files]` for boot files.
    General,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The protocol: every such answer has it.
    Protocol,
    /// The request, which is repeated.
    Echoed,
    /// The subnet's network.
    Network,
    /// What the client is told to boot.
    Boot,
    /// Built in.
    BuiltIn,
    /// The configuration.
    Configured(Level, Origin),
}

/// The steps of a decision that someone wants to know about.
#[derive(Debug, Default)]
pub(super) struct Trace(RefCell<Vec<Step>>);

impl Trace {
    pub(super) fn tell(&self, step: Step) {
        self.0.borrow_mut().push(step);
    }

    pub(super) fn into_steps(self) -> Vec<Step> {
        self.0.into_inner()
    }
}
