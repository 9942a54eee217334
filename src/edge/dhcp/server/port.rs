use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::outbox::{Exits, Outbox, Parcel};
use crate::edge::dhcp::{CLIENT_PORT, Destination, InterfaceId, Outgoing, Turn};
use crate::edge::socket::{DeviceSocket, FrameSocket, SendBatch};

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
    outbox: Outbox,
    /// Receiving failed: it is not tried again before.
    pub(super) resting_until: Option<Instant>,
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
            outbox: Outbox::default(),
            resting_until: None,
        }
    }

    /// Its socket, for a new configuration to keep.
    pub(super) fn open_socket(&self) -> OpenSocket {
        OpenSocket { name: self.name.clone(), index: self.index, number: self.number, socket: Arc::clone(&self.socket) }
    }

    /// Puts an answer into the line of what goes out.
    pub(super) fn queue(&mut self, outgoing: Outgoing) {
        let Outgoing { destination, payload, turn, .. } = outgoing;
        let parcel = match (destination, &self.frames) {
            (Destination::Frame { address, mac }, Some(frames)) => {
                let (from, to) = (SocketAddrV4::new(self.address, self.number), SocketAddrV4::new(address, CLIENT_PORT));
                match frames.udp_frame(from, to, mac, &payload) {
                    Ok(frame) => Parcel::Frame(frame),
                    Err(error) => {
                        tracing::warn!(interface = self.name, %to, "cannot make a frame of a DHCP answer: {error}");
                        return;
                    }
                }
            }
            // On links without Ethernet frames there is only broadcast for a client without an address.
            (Destination::Broadcast | Destination::Frame { .. }, _) => {
                Parcel::Datagram(SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT), payload)
            }
            (Destination::Udp(to), _) => Parcel::Datagram(to, payload),
        };
        match turn {
            Turn::FirstOffer => self.outbox.first_offer(parcel),
            Turn::Answer => self.outbox.answer(parcel),
            Turn::Acknowledgement => {
                self.outbox.taken();
                self.outbox.answer(parcel);
            }
        }
    }

    /// Sends what may leave at `now`.
    pub(super) fn flush(&mut self, now: Instant, batch: &mut SendBatch) {
        let Self { name, address, socket, frames, outbox, .. } = self;
        outbox.flush(now, Exits { socket, frames: frames.as_ref(), address: *address, interface: name }, batch);
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
        self.resting_until.is_none() && self.outbox.has_room()
    }

    /// Whether all was sent.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// When what is held back goes on without anybody's doing.
    pub(super) const fn resumes_at(&self) -> Option<Instant> {
        self.outbox.resumes_at()
    }

    /// The socket for whose room something waits.
    pub(super) fn stuck(&self) -> Option<BorrowedFd<'_>> {
        let Self { name, address, socket, frames, outbox, .. } = self;
        outbox.stuck(Exits { socket, frames: frames.as_ref(), address: *address, interface: name })
    }
}
