use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::seldom::Seldom;
use crate::edge::dhcp::{CLIENT_PORT, Destination, InterfaceId, Outgoing};
use crate::edge::socket::{DeviceSocket, FrameSocket, Message, SendBatch};

/// An open port of an interface, and what is to go out there.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) interface: InterfaceId,
    pub(super) name: String,
    /// The system's number of the interface when the port was opened.
    pub(super) index: Option<usize>,
    /// Our address on the interface, which answers come from.
    pub(super) address: Ipv4Addr,
    pub(super) number: u16,
    pub(super) socket: Arc<DeviceSocket>,
    /// `None` where there are no Ethernet frames, and in proxy mode, which sends none.
    pub(super) frames: Option<FrameSocket>,
    pub(super) outgoing: VecDeque<(SocketAddrV4, Vec<u8>)>,
    pub(super) outgoing_frames: VecDeque<Vec<u8>>,
    /// Receiving failed: it is not tried again before.
    pub(super) resting_until: Option<Instant>,
    trouble: Seldom,
}

/// An open socket, for a new configuration to keep.
#[derive(Clone, Debug)]
pub(super) struct OpenSocket {
    name: String,
    index: Option<usize>,
    number: u16,
    pub(super) socket: Arc<DeviceSocket>,
}

impl OpenSocket {
    /// Whether it is this port of the interface. One of the same name and another number was made anew: the socket is deaf.
    pub(super) fn is(&self, name: &str, index: Option<usize>, number: u16) -> bool {
        (self.name.as_str(), self.index, self.number) == (name, index, number)
    }
}

/// So many answers may wait for the interface before no more requests are taken from it.
const OUTGOING: usize = 1024;

/// An interface that is down, as a rule: it may come back.
const REST: Duration = Duration::from_secs(1);

impl Port {
    pub(super) fn new(
        interface: InterfaceId,
        system: (&str, Option<usize>),
        address: Ipv4Addr,
        number: u16,
        socket: Arc<DeviceSocket>,
        frames: Option<FrameSocket>,
    ) -> Self {
        Self {
            interface,
            name: system.0.to_owned(),
            index: system.1,
            address,
            number,
            socket,
            frames,
            outgoing: VecDeque::new(),
            outgoing_frames: VecDeque::new(),
            resting_until: None,
            trouble: Seldom::default(),
        }
    }

    /// Its socket, for a new configuration to keep.
    pub(super) fn open_socket(&self) -> OpenSocket {
        OpenSocket { name: self.name.clone(), index: self.index, number: self.number, socket: Arc::clone(&self.socket) }
    }

    /// Puts an answer into the line of what goes out.
    pub(super) fn queue(&mut self, outgoing: Outgoing) {
        let everyone = SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT);
        let payload = outgoing.payload;
        match (outgoing.destination, &self.frames) {
            (Destination::Frame { address, mac }, Some(frames)) => {
                let (from, to) = (SocketAddrV4::new(self.address, self.number), SocketAddrV4::new(address, CLIENT_PORT));
                match frames.udp_frame(from, to, mac, &payload) {
                    Ok(frame) => self.outgoing_frames.push_back(frame),
                    Err(error) => tracing::warn!(interface = self.name, %to, "cannot make a frame of a DHCP answer: {error}"),
                }
            }
            // On links without Ethernet frames there is only broadcast for a client without an address.
            (Destination::Broadcast | Destination::Frame { .. }, _) => self.outgoing.push_back((everyone, payload)),
            (Destination::Udp(to), _) => self.outgoing.push_back((to, payload)),
        }
    }

    /// Sends what the system takes now.
    pub(super) fn flush(&mut self, batch: &mut SendBatch) {
        let Self { name, number, address, socket, frames, outgoing, outgoing_frames, trouble, .. } = self;
        let message = |(to, payload): &(SocketAddrV4, Vec<u8>)| (*to, payload.len());
        while !outgoing.is_empty() {
            let messages = outgoing.iter().map(|(to, payload)| Message { payload, route: Some((*address, *to)) });
            match batch.send(socket.as_fd(), messages) {
                Ok(sent) => drop(outgoing.drain(..sent.min(outgoing.len()))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    // The others may have better luck; this client asks again.
                    let to = outgoing.pop_front().as_ref().map(message);
                    trouble.tell(|more| tracing::warn!(interface = name, port = number, ?to, more, "cannot send a DHCP answer: {error}"));
                }
            }
        }
        let Some(frames) = frames else { return };
        while !outgoing_frames.is_empty() {
            let messages = outgoing_frames.iter().map(|payload| Message { payload, route: None });
            match batch.send(frames.as_fd(), messages) {
                Ok(sent) => drop(outgoing_frames.drain(..sent.min(outgoing_frames.len()))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    outgoing_frames.pop_front();
                    trouble.tell(|more| {
                        tracing::warn!(interface = name, port = number, more, "cannot send a DHCP answer as a frame: {error}");
                    });
                }
            }
        }
    }

    /// Notes that receiving failed.
    pub(super) fn rest(&mut self, now: Instant, error: &io::Error) {
        tracing::warn!("cannot receive on `{}`, port {}: {error}", self.name, self.number);
        self.resting_until = now.checked_add(REST);
    }

    /// Whether requests may be taken from it at `now`.
    pub(super) fn receives(&mut self, now: Instant) -> bool {
        if self.resting_until.is_some_and(|until| until <= now) {
            self.resting_until = None;
        }
        self.resting_until.is_none() && self.outgoing.len().max(self.outgoing_frames.len()) < OUTGOING
    }

    /// Whether all was sent.
    pub(super) fn is_flushed(&self) -> bool {
        self.outgoing.is_empty() && self.outgoing_frames.is_empty()
    }

    /// The sockets for whose room something waits.
    pub(super) fn stuck(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let datagrams = (!self.outgoing.is_empty()).then(|| self.socket.as_fd());
        let frames = self.frames.as_ref().filter(|_| !self.outgoing_frames.is_empty()).map(FrameSocket::as_fd);
        datagrams.into_iter().chain(frames)
    }
}
