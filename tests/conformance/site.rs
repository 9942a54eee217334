//! A server under test, a cable, and the raw socket at its other end.

use std::cell::Cell;
use std::fmt::Debug;
use std::net::Ipv4Addr;

use fairlead::failure::{Failure, Result};
use fairlead::wire::MacAddr;
use fairlead_lab::files::RunDirectory;
use fairlead_lab::namespace::{self, Namespace};
use fairlead_lab::process::Daemon;

use crate::message::{Message, OFFER, code};
use crate::server::{self, Product};
use crate::wire::{Path, Wire};

/// The server's address on the clients' network.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// A relay whose network has a pool of a hundred addresses.
pub(crate) const RELAY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// A second network of that kind; option 82 or 118 selects it, or the relay that is there.
pub(crate) const OTHER_RELAY: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
/// A relay that no server knows.
pub(crate) const UNKNOWN_RELAY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// Relays whose networks have two addresses to give.
pub(crate) const SMALL: [Ipv4Addr; 4] =
    [Ipv4Addr::new(10, 11, 0, 1), Ipv4Addr::new(10, 12, 0, 1), Ipv4Addr::new(10, 13, 0, 1), Ipv4Addr::new(10, 14, 0, 1)];
/// Its reservation lies outside of the pool.
pub(crate) const RESERVED_OUTSIDE: (MacAddr, Ipv4Addr) = (MacAddr([2, 0, 0x5e, 0, 0, 0x10]), Ipv4Addr::new(192, 0, 2, 10));
/// Its reservation lies in the pool.
pub(crate) const RESERVED_INSIDE: (MacAddr, Ipv4Addr) = (MacAddr([2, 0, 0x5e, 0, 0, 0x50]), Ipv4Addr::new(192, 0, 2, 150));
/// It has this address, whatever its hardware address.
pub(crate) const RESERVED_BY_IDENTIFIER: (&[u8], Ipv4Addr) = (&[0, b'c', b'a', b'm', b'-', b'7'], Ipv4Addr::new(192, 0, 2, 11));
/// Whoever is behind this circuit of the relay has this address.
pub(crate) const RESERVED_BY_CIRCUIT: (&[u8], Ipv4Addr) = (b"port-7", Ipv4Addr::new(10, 1, 0, 17));
/// An address that somebody uses whom no server has given one.
pub(crate) const SQUATTED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);
/// Networks that share a link, with two addresses to give in each. The relay is the first host of the first one.
pub(crate) const SHARED: [(&str, [(Ipv4Addr, u8); 2]); 2] = [
    ("floor", [(Ipv4Addr::new(10, 21, 0, 0), 24), (Ipv4Addr::new(10, 22, 0, 0), 25)]),
    ("attic", [(Ipv4Addr::new(10, 23, 0, 0), 24), (Ipv4Addr::new(10, 24, 0, 0), 25)]),
];
/// How long leases are, and what a client may ask for, in seconds.
pub(crate) const LEASE: u32 = 3600;
pub(crate) const LEAST_LEASE: u32 = 600;
pub(crate) const LONGEST_LEASE: u32 = 7200;
/// The value of the long option.
pub(crate) const LONG_VALUE: [u8; 300] = [b'a'; 300];

/// What the server is set up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Profile {
    /// Addresses, networks behind relays, boot files.
    Plain,
    /// Options, times, reservations by other names, classes.
    Policy,
    /// RFC 4039.
    RapidCommit,
    /// Addresses are probed before they are given.
    Probe,
    /// Beside another server.
    Proxy,
}

/// A running server and everything around it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) wire: Wire,
    daemon: Daemon,
    clients: Cell<u16>,
    // After the programs in them.
    _namespaces: [Namespace; 2],
    directory: RunDirectory,
}

impl Site {
    /// Makes the network and starts the server.
    pub(crate) fn build(product: Product, profile: Profile) -> Result<Self> {
        let run_name = namespace::run_name();
        let directory = RunDirectory::create(&run_name)?;
        let (server, clients) = (Namespace::create(&run_name, "server")?, Namespace::create(&run_name, "clients")?);
        for namespace in [&server, &clients] {
            namespace.set("net.ipv6.conf.default.disable_ipv6=1")?;
        }
        server.connect("lan0", &clients, "eth0")?;
        let server_mac = MacAddr([2, 0, 0, 0, 0, 1]);
        server.configure(&format!("link set lan0 address {server_mac}"))?;
        server.configure(&format!("addr add {SERVER}/24 dev lan0"))?;
        // A relay stands on the clients' network; what it relays for is behind it.
        server.configure("route add 10.0.0.0/8 via 192.0.2.50")?;
        let wire = Wire::open(&clients, "eth0", (server_mac, SERVER))?;
        wire.is_relay(Ipv4Addr::new(192, 0, 2, 50));
        let daemon = server::start(product, profile, &server, directory.path())?;
        Ok(Self { wire, daemon, clients: Cell::new(1), _namespaces: [server, clients], directory })
    }

    /// A hardware address that no case has used.
    pub(crate) fn new_mac(&self) -> MacAddr {
        let number = self.clients.get();
        self.clients.set(number.wrapping_add(1));
        let [high, low] = number.to_be_bytes();
        MacAddr([2, 0xfc, 0, 0, high, low])
    }

    /// The first two messages: what is offered.
    pub(crate) fn offer(&self, discover: &Message, path: Path) -> Result<Message> {
        let answer = self.wire.ask(discover, path)?.message;
        expect_eq("the message type", answer.kind(), Some(OFFER))?;
        Ok(answer)
    }

    /// All four messages; the client then answers ARP for its address.
    pub(crate) fn lease(&self, discover: &Message, path: Path) -> Result<Message> {
        let offer = self.offer(discover, path)?;
        let answer = self.wire.ask(&selecting(discover, &offer), path)?.message;
        expect_eq("the message type", answer.kind(), Some(crate::message::ACK))?;
        expect_eq("the acknowledged address", answer.yiaddr, offer.yiaddr)?;
        self.wire.takes(answer.yiaddr, discover.mac());
        Ok(answer)
    }

    /// A new client with a lease on the server's own network.
    pub(crate) fn new_client(&self) -> Result<(MacAddr, Ipv4Addr)> {
        let mac = self.new_mac();
        Ok((mac, self.lease(&Message::discover(mac), Path::Broadcast)?.yiaddr))
    }

    /// Sends a RELEASE.
    pub(crate) fn release(&self, discover: &Message, address: Ipv4Addr) -> Result<()> {
        let mut message =
            Message::new(crate::message::RELEASE, discover.mac()).at_address(address).with_address(code::SERVER_IDENTIFIER, SERVER);
        if let Some(identifier) = discover.option(code::CLIENT_IDENTIFIER) {
            message = message.with(code::CLIENT_IDENTIFIER, &identifier);
        }
        self.wire.send(&message, Path::Unicast(address))
    }

    /// Whether the server still runs, or how it ended.
    pub(crate) fn is_alive(&mut self) -> Result<()> {
        self.daemon
            .has_ended()
            .map_or(Ok(()), |ended| Err(Failure::new(ended).hint(format!("read {}", self.daemon.log().path().display()))))
    }

    /// From now on its files are of no use.
    pub(crate) fn discard(&mut self) {
        self.directory.discard();
    }
}

/// The REQUEST with which a client takes an offer (RFC 2131, section 4.3.2: SELECTING).
pub(crate) fn selecting(discover: &Message, offer: &Message) -> Message {
    let mut request = discover.clone();
    request.xid = Message::new(crate::message::REQUEST, discover.mac()).xid;
    let server = offer.option_address(code::SERVER_IDENTIFIER).unwrap_or(SERVER);
    request
        .with(code::MESSAGE_TYPE, &[crate::message::REQUEST])
        .with_address(code::REQUESTED_ADDRESS, offer.yiaddr)
        .with_address(code::SERVER_IDENTIFIER, server)
}

/// What a case expects; `what` says it in words.
pub(crate) fn expect(is_so: bool, what: impl FnOnce() -> String) -> Result<()> {
    if is_so { Ok(()) } else { Err(Failure::new(what())) }
}

/// The same for two values.
#[expect(clippy::needless_pass_by_value, reason = "what is compared is made for the comparison")]
pub(crate) fn expect_eq<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Result<()> {
    expect(found == expected, || format!("{what} is {found:?} and should be {expected:?}"))
}
