use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::desk::Question;
use super::seldom::Seldom;
use crate::edge::dhcp::{CLIENT_PORT, InterfaceId, Notice, Probe, ProbeKind, SERVER_PORT};
use crate::edge::socket::{EchoSocket, FrameSocket, LinkSocket, Message, SendBatch, SystemInterface, arp_owner, arp_probe, sent_to_client};
use crate::wire::MacAddr;

/// What is asked and heard on an interface's segment other than requests: who has which address, and who else serves.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) interface: InterfaceId,
    name: String,
    arp: LinkSocket,
    answers: LinkSocket,
    frames: FrameSocket,
    outgoing: VecDeque<Vec<u8>>,
    resting_until: Option<Instant>,
    trouble: Seldom,
}

/// What is asked of addresses behind relays.
#[derive(Debug)]
pub(super) struct Echoes {
    socket: EchoSocket,
    outgoing: VecDeque<Ipv4Addr>,
    trouble: Seldom,
}

/// All that is heard beside requests.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub(super) segments: Vec<Segment>,
    pub(super) echoes: Option<Echoes>,
}

/// So many frames are taken at a time. Nearly none come; who sends more than that must not keep requests waiting.
const AT_A_TIME: usize = 64;
/// As long as a frame can be that a socket takes.
const LONGEST_FRAME: usize = 9216;
/// So many questions may wait for the interface; what is beyond is as good as lost on the way.
const OUTGOING: usize = 16_384;
/// An interface that is down, as a rule: it may come back.
const REST: Duration = Duration::from_secs(1);

impl Segment {
    /// # Errors
    /// `Unsupported` on links without Ethernet frames, `PermissionDenied` without `CAP_NET_RAW`, and what else the system says.
    pub(super) fn open(interface: InterfaceId, system: &SystemInterface) -> io::Result<Self> {
        Ok(Self {
            interface,
            name: system.name.clone(),
            arp: LinkSocket::arp(system)?,
            answers: LinkSocket::dhcp_answers(system)?,
            frames: FrameSocket::open(system)?,
            outgoing: VecDeque::new(),
            resting_until: None,
            trouble: Seldom::default(),
        })
    }

    pub(super) const fn mac(&self) -> MacAddr {
        self.arp.mac()
    }

    pub(super) fn ask_who_has(&mut self, address: Ipv4Addr) {
        self.queue(arp_probe(self.mac(), address));
    }

    /// Broadcasts a DHCP message as a client would that has no address.
    pub(super) fn ask_for_servers(&mut self, payload: &[u8]) {
        let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT);
        let everyone = SocketAddrV4::new(Ipv4Addr::BROADCAST, SERVER_PORT);
        match self.frames.udp_frame(from, everyone, MacAddr([0xff; 6]), payload) {
            Ok(frame) => self.queue(frame),
            Err(error) => tracing::warn!(interface = self.name, "cannot make a frame that looks for other DHCP servers: {error}"),
        }
    }

    fn queue(&mut self, frame: Vec<u8>) {
        if self.outgoing.len() < OUTGOING {
            self.outgoing.push_back(frame);
        }
    }

    /// Sends what the system takes now.
    pub(super) fn flush(&mut self, batch: &mut SendBatch) {
        let Self { name, frames, outgoing, trouble, .. } = self;
        while !outgoing.is_empty() {
            let messages = outgoing.iter().map(|payload| Message { payload, route: None });
            match batch.send(frames.as_fd(), messages) {
                Ok(sent) => drop(outgoing.drain(..sent.min(outgoing.len()))),
                Err(error) if is_full(&error) => break,
                Err(error) => {
                    // All of them would fare the same; the interface is down, as a rule, and nobody is served there either.
                    outgoing.clear();
                    trouble.tell(|more| tracing::warn!(interface = name, more, "cannot ask who uses an address: {error}"));
                }
            }
        }
    }

    /// Takes what came in. `notice` hears of it.
    pub(super) fn receive(&mut self, now: Instant, mut notice: impl FnMut(Notice<'_>)) {
        let mut buffer = [0; LONGEST_FRAME];
        for _ in 0..AT_A_TIME {
            match self.arp.receive(&mut buffer) {
                Ok(frame) => {
                    if let Some((mac, address)) = arp_owner(frame) {
                        notice(Notice::Arp { mac, address });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return self.rest(now, &error),
            }
        }
        for _ in 0..AT_A_TIME {
            match self.answers.receive(&mut buffer) {
                Ok(frame) => {
                    if let Some(sent) = sent_to_client(frame) {
                        notice(Notice::FromServer { mac: sent.mac, source: sent.source, datagram: sent.payload });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return self.rest(now, &error),
            }
        }
    }

    fn rest(&mut self, now: Instant, error: &io::Error) {
        self.resting_until = now.checked_add(REST);
        let name = &self.name;
        self.trouble.tell(|more| tracing::debug!(interface = name, more, "cannot hear who uses an address: {error}"));
    }

    /// The sockets to wait for at `now`.
    pub(super) fn listens(&mut self, now: Instant) -> bool {
        if self.resting_until.is_some_and(|until| until <= now) {
            self.resting_until = None;
        }
        self.resting_until.is_none()
    }

    pub(super) const fn resting_until(&self) -> Option<Instant> {
        self.resting_until
    }

    pub(super) fn sockets(&self) -> [BorrowedFd<'_>; 2] {
        [self.arp.as_fd(), self.answers.as_fd()]
    }

    /// The socket for whose room something waits.
    pub(super) fn stuck(&self) -> Option<BorrowedFd<'_>> {
        (!self.outgoing.is_empty()).then(|| self.frames.as_fd())
    }
}

impl Echoes {
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_RAW`, and what else the system says.
    pub(super) fn open(identifier: u16) -> io::Result<Self> {
        Ok(Self { socket: EchoSocket::open(identifier)?, outgoing: VecDeque::new(), trouble: Seldom::default() })
    }

    pub(super) fn ask(&mut self, address: Ipv4Addr) {
        if self.outgoing.len() < OUTGOING {
            self.outgoing.push_back(address);
        }
    }

    /// Sends what the system takes now.
    pub(super) fn flush(&mut self, batch: &mut SendBatch) {
        if self.outgoing.is_empty() {
            return;
        }
        let echo = self.socket.echo();
        while !self.outgoing.is_empty() {
            let route = |address: &Ipv4Addr| Some((Ipv4Addr::UNSPECIFIED, SocketAddrV4::new(*address, 0)));
            let messages = self.outgoing.iter().map(|address| Message { payload: &echo, route: route(address) });
            match batch.send(self.socket.as_fd(), messages) {
                Ok(sent) => drop(self.outgoing.drain(..sent.min(self.outgoing.len()))),
                Err(error) if is_full(&error) => break,
                Err(error) => {
                    let address = self.outgoing.pop_front();
                    self.trouble.tell(|more| tracing::warn!(?address, more, "cannot ask by ICMP who uses an address: {error}"));
                }
            }
        }
    }

    /// Takes what came in. `notice` hears who answered.
    pub(super) fn receive(&self, mut notice: impl FnMut(Notice<'_>)) {
        for _ in 0..AT_A_TIME {
            match self.socket.receive() {
                Ok(Some(address)) => notice(Notice::EchoReply(address)),
                Ok(None) => {}
                // An error of one echo, such as an unreachable host, is told here once; it says nothing of who answers.
                Err(_) => break,
            }
        }
    }

    /// The socket for whose room something waits.
    pub(super) fn stuck(&self) -> Option<BorrowedFd<'_>> {
        (!self.outgoing.is_empty()).then(|| self.socket.as_fd())
    }
}

impl Listeners {
    /// Asks what the engine wants to know, as far as the system takes it now.
    pub(super) fn ask(&mut self, questions: Vec<Question>, batch: &mut SendBatch) {
        for question in questions {
            match question {
                Question::Address(Probe { address, kind: ProbeKind::Echo }) => {
                    if let Some(echoes) = &mut self.echoes {
                        echoes.ask(address);
                    }
                }
                Question::Address(Probe { address, kind: ProbeKind::Arp(interface) }) => {
                    if let Some(segment) = self.segment(interface) {
                        segment.ask_who_has(address);
                    }
                }
                Question::Servers(interface, payload) => {
                    if let Some(segment) = self.segment(interface) {
                        segment.ask_for_servers(&payload);
                    }
                }
            }
        }
        for segment in &mut self.segments {
            segment.flush(batch);
        }
        if let Some(echoes) = &mut self.echoes {
            echoes.flush(batch);
        }
    }

    /// The sockets for whose room something waits.
    pub(super) fn stuck(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.segments.iter().filter_map(Segment::stuck).chain(self.echoes.as_ref().and_then(Echoes::stuck))
    }

    fn segment(&mut self, interface: InterfaceId) -> Option<&mut Segment> {
        self.segments.iter_mut().find(|segment| segment.interface == interface)
    }
}

impl AsFd for Echoes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether the system has no room for the moment: in the socket, or in the interface's queue.
fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(Errno::ENOBUFS as i32)
}
