use std::net::{Ipv4Addr, SocketAddrV4};

use super::message::Malformed;
use super::observe_mode::Observation;
use crate::edge::lease::LeaseRecord;
use crate::wire::uplink::SiteEvent;
use crate::wire::{BootId, MacAddr, Nonce};

/// An interface by its place in [`DhcpConfig::interfaces`](super::config::DhcpConfig::interfaces).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceId(pub usize);

/// How a datagram came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// The interface.
    pub interface: InterfaceId,
    /// Who sent it.
    pub source: SocketAddrV4,
    /// To which of our addresses, or to a broadcast address.
    pub destination: Ipv4Addr,
    /// To which of our ports: [`SERVER_PORT`](super::SERVER_PORT) or [`PXE_PORT`](super::PXE_PORT).
    pub port: u16,
}

/// Randomness for one datagram, made by the shell; each value is used at most once.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    /// Names the boot, should this datagram begin one.
    pub boot: BootId,
    /// Goes into the ticket, should one be minted.
    pub nonce: Nonce,
}

/// What is to be done about a datagram, in this order.
#[derive(Debug)]
pub enum Action {
    /// Send this now.
    Send(Outgoing),
    /// Make the record durable, then ask [`Engine::settle`](super::Engine::settle) what follows.
    Commit(Commit),
    /// Tell the cloud, when it can be reached.
    Report(SiteEvent),
    /// Nothing is answered, for this reason. To be counted.
    Drop(DropReason),
    /// Nothing is sent on this interface: tell what a server would have done. Only in [`Mode::Observe`](super::config::Mode::Observe).
    Observed(Observation),
    /// Ask whether somebody uses an address. Answers come back as [`Notice`]s.
    Probe(Probe),
    /// Broadcast a DHCPDISCOVER of our own, to see who else answers. Answers come back as [`Notice`]s.
    LookForServers {
        /// On which interface, as a frame from its hardware address, from 0.0.0.0, port 68.
        interface: InterfaceId,
        /// The DHCP message.
        payload: Vec<u8>,
    },
}

/// A question whether somebody uses an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The address.
    pub address: Ipv4Addr,
    /// How to ask.
    pub kind: ProbeKind,
}

/// How it is asked whether somebody uses an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// By an ARP probe (RFC 5227, section 2.1.1) on the interface: the address would be on its segment.
    Arp(InterfaceId),
    /// By an ICMP echo (RFC 2131, section 3.1): the address would be behind a relay.
    Echo,
}

/// Something that was heard other than a request.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// ARP told that a machine has an address: an answer to a probe, or an announcement.
    Arp {
        /// The machine.
        mac: MacAddr,
        /// The address.
        address: Ipv4Addr,
    },
    /// Somebody answered an ICMP echo from this address.
    EchoReply(Ipv4Addr),
    /// Somebody sent a datagram from a DHCP server's to a client's port.
    FromServer {
        /// The hardware address that it came from: the server's, or its relay's.
        mac: MacAddr,
        /// Who sent it.
        source: SocketAddrV4,
        /// The datagram.
        datagram: &'a [u8],
    },
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// On which interface.
    pub interface: InterfaceId,
    /// From which port.
    pub from_port: u16,
    /// To whom.
    pub destination: Destination,
    /// The DHCP message.
    pub payload: Vec<u8>,
    /// What it is to whoever decides when it leaves.
    pub turn: Turn,
}

/// When a datagram's turn to leave is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// An offer to a client that has neither lease nor reservation here: after all others, and not before earlier ones were taken.
    FirstOffer,
    /// An acknowledgement: its client has taken an offer, or has its address already.
    Acknowledgement,
    /// Anything else.
    Answer,
}

/// Where a datagram goes (RFC 2131, section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// 255.255.255.255, the client's port: everyone on the segment, for a client that can't take unicast yet.
    Broadcast,
    /// A frame to this hardware address: the client has no address yet, so ARP would find nobody.
    Frame {
        /// The address that the client is about to have.
        address: Ipv4Addr,
        /// The client's hardware address.
        mac: MacAddr,
    },
    /// A client that has its address, or a relay.
    Udp(SocketAddrV4),
}

/// A record that must be durable before anybody is told of it.
#[derive(Debug)]
pub struct Commit {
    /// The record.
    pub record: LeaseRecord,
    pub(super) promise: Option<Promise>,
}

/// The acknowledgement that waits for a record.
#[derive(Debug)]
pub(super) struct Promise {
    pub(super) outgoing: Outgoing,
    pub(super) reports: Vec<SiteEvent>,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The record is on the disk.
    Durable,
    /// It is not, and will not be.
    Failed,
}

/// Why a datagram is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DropReason {
    /// It is no DHCP request.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It came in on an interface or a port that answers nothing.
    #[error("nothing is answered on this interface and port")]
    NotServed,
    /// A message that only servers send.
    #[error("a server's message")]
    FromServer,
    /// A relay stands on a subnet that is not configured.
    #[error("relayed from a subnet that is not configured")]
    UnknownRelay,
    /// No subnet is configured where the client is, or where it or its relay says that it is.
    #[error("no subnet is configured where the client is")]
    UnknownSubnet,
    /// The client sent more than `limits.client_rate` allows.
    #[error("more datagrams from this client than the limit allows")]
    TooManyRequests,
    /// No address of the subnet is free for the client.
    #[error("no free address: all addresses of the pools are leased, on offer or in quarantine")]
    NoFreeAddress,
    /// The pools of the client's subnet are for classes that it is not in.
    #[error("the pools of this subnet are for classes that the client is not in")]
    NotPermitted,
    /// The client chose another server's offer.
    #[error("the client chose another server")]
    OtherServer,
    /// We know of no lease of this client and must leave the answer to who does (RFC 2131, section 4.3.2).
    #[error("no lease of this client is known here")]
    UnknownLease,
    /// The message lacks an address that its kind must carry, or carries one that it must not.
    #[error("the request names no address where it must")]
    NoAddress,
    /// The message was dealt with and has no answer: RELEASE, DECLINE.
    #[error("this kind of message has no answer")]
    NoAnswerDue,
    /// The client does not boot from the network, so the proxy has nothing to tell it.
    #[error("not a network boot client")]
    NotABootClient,
    /// The lease could not be written to the disk, so it is not promised.
    #[error("the lease could not be written to the disk")]
    NotDurable,
    /// This program broke down over it.
    #[error("a fault of this program")]
    Fault,
    /// The machine may not boot from the network: `boot = false`.
    #[error("the machine may not boot from the network")]
    MayNotBoot,
    /// No address was known in time to be used by nobody, or too many clients wait for that.
    #[error("no address was probed in time, or too many clients wait for one")]
    NotProbed,
    /// The server does not know yet whether it is alone on its segment.
    #[error("it is not known yet whether another DHCP server is on the segment")]
    FirstLook,
    /// Another server is on the segment, and the interface is not `authoritative`.
    #[error("another DHCP server is on the segment")]
    OtherServerThere,
    /// Our own look for other servers, which a relay or a cable brought back.
    #[error("our own look for other servers")]
    OwnLook,
    /// There is no boot file for this client: unknown architecture, or the cloud was never reached.
    #[error("no boot file for this client")]
    NoBootFile,
}
