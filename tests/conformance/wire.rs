//! The other end of the cable: a raw socket that is any number of clients and relays at once.
//!
//! The kernel's own stack has no address there, so nothing is answered but by this code: ARP for the addresses that were taken, pings
//! of the hosts behind the relay, and nothing else.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use etherparse::{Icmpv4Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use fairlead::failure::{Failure, Result};
use fairlead::wire::MacAddr;
use fairlead_lab::namespace::Namespace;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, socket};

use crate::message::Message;

/// How long an answer is waited for: dnsmasq sends its pings for three seconds before it answers.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long a server that must not answer is watched.
const SILENCE: Duration = Duration::from_millis(500);
const BROADCAST: MacAddr = MacAddr([0xff; 6]);

/// A message that came in, and how it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) to_mac: MacAddr,
    pub(crate) from: Ipv4Addr,
    pub(crate) to: Ipv4Addr,
    pub(crate) from_port: u16,
    pub(crate) to_port: u16,
    pub(crate) message: Message,
}

/// How a message is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Path {
    /// From 0.0.0.0 to everybody.
    Broadcast,
    /// From the client's address to everybody: REBINDING.
    BroadcastFrom(Ipv4Addr),
    /// From the client's address to the server's: RENEWING, RELEASE.
    Unicast(Ipv4Addr),
    /// From the client's address to the server's PXE port.
    Pxe(Ipv4Addr),
    /// From a relay's port 67.
    Relay(Ipv4Addr),
}

/// The socket, the addresses that it answers for, and what came in.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Arc<OwnedFd>,
    server: (MacAddr, Ipv4Addr),
    relay_mac: MacAddr,
    neighbours: Arc<Mutex<HashMap<Ipv4Addr, MacAddr>>>,
    incoming: Receiver<Received>,
    asked_for: Arc<Mutex<Vec<Ipv4Addr>>>,
    behind_relay: Arc<Mutex<HashSet<Ipv4Addr>>>,
}

impl Wire {
    /// Takes the interface. The thread that reads ends with the namespace's interface.
    pub(crate) fn open(namespace: &Namespace, interface: &str, server: (MacAddr, Ipv4Addr)) -> Result<Self> {
        let failed = |error: &dyn std::error::Error| Failure::new(format!("cannot open a raw socket on `{interface}`")).cause(error);
        let (socket, link) = namespace.within(|| {
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
                .map_err(|error| failed(&error))?;
            let mut entries = getifaddrs().map_err(|error| failed(&error))?;
            let link =
                entries.find_map(|entry| (entry.interface_name == interface).then(|| entry.address?.as_link_addr().copied()).flatten());
            let link: LinkAddr = link.ok_or_else(|| Failure::new(format!("there is no `{interface}`")))?;
            bind(socket.as_raw_fd(), &link).map_err(|error| failed(&error))?;
            Ok((socket, link))
        })?;
        let socket = Arc::new(socket);
        let neighbours: Arc<Mutex<HashMap<Ipv4Addr, MacAddr>>> = Arc::default();
        let asked_for: Arc<Mutex<Vec<Ipv4Addr>>> = Arc::default();
        let behind_relay: Arc<Mutex<HashSet<Ipv4Addr>>> = Arc::default();
        let (found, incoming) = channel();
        let reader = (Arc::clone(&socket), Arc::clone(&neighbours), Arc::clone(&asked_for), Arc::clone(&behind_relay));
        thread::spawn(move || {
            let (socket, neighbours, asked_for, behind_relay) = reader;
            let mut buffer = [0; 9216];
            while let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                let frame = buffer.get(..length).unwrap_or_default();
                if let Some(target) = asked_address(frame) {
                    lock(&asked_for).push(target);
                    let holder = lock(&neighbours).get(&target).copied();
                    if let Some(answer) = holder.and_then(|holder| arp_answer(frame, holder, target)) {
                        send(socket.as_raw_fd(), &answer, MsgFlags::empty()).ok();
                    }
                } else if let Some(answer) = echo_answer(frame, &lock(&behind_relay)) {
                    send(socket.as_raw_fd(), &answer, MsgFlags::empty()).ok();
                } else if let Some(received) = read_frame(frame)
                    && found.send(received).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { socket, server, relay_mac: MacAddr(link.addr().unwrap_or_default()), neighbours, incoming, asked_for, behind_relay })
    }

    /// From now on ARP for the address is answered with that hardware address.
    pub(crate) fn takes(&self, address: Ipv4Addr, mac: MacAddr) {
        lock(&self.neighbours).insert(address, mac);
    }

    /// The same for an address that a relay has.
    pub(crate) fn is_relay(&self, address: Ipv4Addr) {
        self.takes(address, self.relay_mac);
    }

    /// From now on a host with this address answers pings that a relay's network is asked for.
    pub(crate) fn is_behind_relay(&self, address: Ipv4Addr) {
        lock(&self.behind_relay).insert(address);
    }

    /// Whether somebody asked by ARP who has the address.
    pub(crate) fn was_asked_for(&self, address: Ipv4Addr) -> bool {
        lock(&self.asked_for).contains(&address)
    }

    /// Sends octets as a client with that hardware address, or a relay, sends them.
    pub(crate) fn send_octets(&self, octets: &[u8], mac: MacAddr, path: Path) -> Result<()> {
        let (server_mac, server) = self.server;
        let (mac, to_mac, from, to, ports) = match path {
            Path::Broadcast => (mac, BROADCAST, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, (68, 67)),
            Path::BroadcastFrom(address) => (mac, BROADCAST, address, Ipv4Addr::BROADCAST, (68, 67)),
            Path::Unicast(address) => (mac, server_mac, address, server, (68, 67)),
            Path::Pxe(address) => (mac, server_mac, address, server, (68, 4011)),
            Path::Relay(address) => (self.relay_mac, server_mac, address, server, (67, 67)),
        };
        let failed = |error: &dyn std::error::Error| Failure::new("cannot send a frame").cause(error);
        let builder = PacketBuilder::ethernet2(mac.0, to_mac.0).ipv4(from.octets(), to.octets(), 64).udp(ports.0, ports.1);
        let mut frame = Vec::with_capacity(builder.size(octets.len()));
        builder.write(&mut frame, octets).map_err(|error| failed(&error))?;
        match send(self.socket.as_raw_fd(), &frame, MsgFlags::empty()) {
            Ok(_) => Ok(()),
            Err(error) => Err(failed(&io::Error::from(error))),
        }
    }

    /// Sends a message.
    pub(crate) fn send(&self, message: &Message, path: Path) -> Result<()> {
        self.send_octets(&message.octets(), message.mac(), path)
    }

    /// Sends a message and waits for the answer.
    pub(crate) fn ask(&self, message: &Message, path: Path) -> Result<Received> {
        self.send(message, path)?;
        self.answer(message, PATIENCE)
            .ok_or_else(|| Failure::new(format!("no answer to message type {}", message.kind().unwrap_or_default())))
    }

    /// The answer to a message that was sent before.
    pub(crate) fn answer(&self, message: &Message, patience: Duration) -> Option<Received> {
        let deadline = Instant::now().checked_add(patience)?;
        loop {
            let received = self.incoming.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
            if received.message.op == 2 && received.message.xid == message.xid {
                return Some(received);
            }
        }
    }

    /// Sends a message that nobody may answer.
    pub(crate) fn expect_silence(&self, message: &Message, path: Path) -> Result<()> {
        self.send(message, path)?;
        match self.answer(message, SILENCE) {
            None => Ok(()),
            Some(answer) => Err(Failure::new(format!("answered with message type {}", answer.message.kind().unwrap_or_default()))),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The address that an ARP request (RFC 826) is about.
fn asked_address(frame: &[u8]) -> Option<Ipv4Addr> {
    if frame.get(12..14)? != [8, 6] || frame.get(20..22)? != [0, 1] {
        return None;
    }
    let octets: [u8; 4] = frame.get(38..42)?.try_into().ok()?;
    Some(Ipv4Addr::from(octets))
}

fn arp_answer(request: &[u8], mac: MacAddr, address: Ipv4Addr) -> Option<Vec<u8>> {
    let (asker_mac, asker) = (request.get(22..28)?, request.get(28..32)?);
    let answer = [asker_mac, &mac.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &mac.0, &address.octets(), asker_mac, asker];
    Some(answer.concat())
}

/// The answer to an ICMP echo request (RFC 792) to one of the hosts.
fn echo_answer(request: &[u8], hosts: &HashSet<Ipv4Addr>) -> Option<Vec<u8>> {
    let packet = SlicedPacket::from_ethernet(request).ok()?;
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Icmpv4(icmp))) = (packet.net, packet.transport) else { return None };
    let (asker, host) = (ip.header().source_addr(), ip.header().destination_addr());
    let Icmpv4Type::EchoRequest(echo) = icmp.icmp_type() else { return None };
    if !hosts.contains(&host) {
        return None;
    }
    let (to_mac, from_mac) = (request.get(6..12)?.try_into().ok()?, request.get(..6)?.try_into().ok()?);
    let builder = PacketBuilder::ethernet2(from_mac, to_mac).ipv4(host.octets(), asker.octets(), 64).icmpv4_echo_reply(echo.id, echo.seq);
    let mut answer = Vec::with_capacity(builder.size(icmp.payload().len()));
    builder.write(&mut answer, icmp.payload()).ok()?;
    Some(answer)
}

fn read_frame(frame: &[u8]) -> Option<Received> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (packet.net, packet.transport) else { return None };
    Some(Received {
        to_mac: MacAddr(frame.get(..6)?.try_into().ok()?),
        from: ip.header().source_addr(),
        to: ip.header().destination_addr(),
        from_port: udp.source_port(),
        to_port: udp.destination_port(),
        message: Message::read(udp.payload())?,
    })
}
