use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Instant;

use super::in_flight::InFlight;
use super::seldom::Seldom;
use crate::edge::socket::{DeviceSocket, FrameSocket, Message, SendBatch};

/// So many answers may wait before no more requests are taken.
const ANSWERS: usize = 1024;

/// So many offers to new clients may wait; those beyond are dropped, and their clients ask again. It is more than come on together at any site.
const FIRST_OFFERS: usize = 16_384;

/// What is to leave a port, in which order and how fast.
///
/// First offers, to clients that have no lease here, come after all else: whoever invents clients keeps nobody waiting who is known. What
/// leaves is held to what those who receive it have room for.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    answers: VecDeque<Parcel>,
    first_offers: VecDeque<Parcel>,
    in_flight: InFlight,
    hold: Hold,
    trouble: Seldom,
}

/// A message and how it leaves.
#[derive(Debug)]
pub(super) enum Parcel {
    /// By the port's own socket, to this address.
    Datagram(SocketAddrV4, Vec<u8>),
    /// As an Ethernet frame.
    Frame(Vec<u8>),
}

/// Why the rest waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hold {
    #[default]
    Nothing,
    /// The system takes no more datagrams.
    Datagrams,
    /// The system takes no more frames.
    Frames,
    /// What is in flight.
    Until(Instant),
}

/// The sockets that parcels leave by, and the address that they come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exits<'a> {
    pub(super) socket: &'a DeviceSocket,
    pub(super) frames: Option<&'a FrameSocket>,
    pub(super) address: Ipv4Addr,
    /// The interface's name, for messages.
    pub(super) interface: &'a str,
}

impl Outbox {
    /// Puts an answer into the line.
    pub(super) fn answer(&mut self, parcel: Parcel) {
        self.answers.push_back(parcel);
    }

    /// Puts an offer to a new client into the line.
    pub(super) fn first_offer(&mut self, parcel: Parcel) {
        if self.first_offers.len() < FIRST_OFFERS {
            self.first_offers.push_back(parcel);
        } else {
            self.trouble.tell(|more| tracing::warn!(more, "too many machines ask for an address at once: an offer is dropped"));
        }
    }

    /// A client took an offer.
    pub(super) fn taken(&mut self) {
        self.in_flight.taken();
    }

    /// Whether there is room for the answers to more requests. Offers to new clients don't count: there is a bound on them.
    pub(super) fn has_room(&self) -> bool {
        self.answers.len() < ANSWERS
    }

    /// Whether all was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.first_offers.is_empty()
    }

    /// When what is held back goes on without anybody's doing.
    pub(super) const fn resumes_at(&self) -> Option<Instant> {
        match self.hold {
            Hold::Until(moment) => Some(moment),
            Hold::Nothing | Hold::Datagrams | Hold::Frames => None,
        }
    }

    /// The socket for whose room something waits.
    pub(super) fn stuck<'a>(&self, exits: Exits<'a>) -> Option<BorrowedFd<'a>> {
        match self.hold {
            Hold::Datagrams => Some(exits.socket.as_fd()),
            Hold::Frames => exits.frames.map(FrameSocket::as_fd),
            Hold::Nothing | Hold::Until(_) => None,
        }
    }

    /// Sends what may leave at `now`.
    pub(super) fn flush(&mut self, now: Instant, exits: Exits<'_>, batch: &mut SendBatch) {
        self.hold = Hold::Nothing;
        while !self.is_empty() && self.hold == Hold::Nothing {
            self.send_some(now, exits, batch);
        }
    }

    /// Sends as many of the next parcels as leave the same way, or notes why none can leave.
    fn send_some(&mut self, now: Instant, exits: Exits<'_>, batch: &mut SendBatch) {
        let Self { answers, first_offers, in_flight, hold, trouble } = self;
        let are_offers = answers.is_empty();
        let room = if are_offers { in_flight.room_for_offers(now) } else { in_flight.room(now) };
        if room == 0 {
            let room_at = if are_offers { in_flight.room_for_offers_at() } else { in_flight.room_at() };
            *hold = Hold::Until(room_at.unwrap_or(now));
            return;
        }
        let line = if are_offers { first_offers } else { answers };
        let are_frames = matches!(line.front(), Some(Parcel::Frame(_)));
        let run = line.iter().take_while(|parcel| matches!(parcel, Parcel::Frame(_)) == are_frames).take(room);
        let messages = run.map(|parcel| match parcel {
            Parcel::Datagram(to, payload) => Message { payload, route: Some((exits.address, *to)) },
            Parcel::Frame(frame) => Message { payload: frame, route: None },
        });
        let socket = match exits.frames {
            Some(frames) if are_frames => frames.as_fd(),
            _ => exits.socket.as_fd(),
        };
        match batch.send(socket, messages) {
            Ok(sent) => {
                if are_offers {
                    in_flight.offered(now, sent);
                } else {
                    in_flight.answered(now, sent);
                }
                drop(line.drain(..sent.min(line.len())));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => *hold = if are_frames { Hold::Frames } else { Hold::Datagrams },
            Err(error) => {
                // The others may have better luck; this client asks again.
                let to = match line.pop_front() {
                    Some(Parcel::Datagram(to, _)) => Some(to),
                    Some(Parcel::Frame(_)) | None => None,
                };
                trouble.tell(|more| tracing::warn!(interface = exits.interface, ?to, more, "cannot send a DHCP answer: {error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    struct Bench {
        outbox: Outbox,
        socket: DeviceSocket,
        client: UdpSocket,
        to: SocketAddrV4,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_nonblocking(true).unwrap();
            let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, client.local_addr().unwrap().port());
            Self { outbox: Outbox::default(), socket: DeviceSocket::bind("lo", 0).unwrap(), client, to, now: Instant::now() }
        }

        fn parcel(&self, octet: u8) -> Parcel {
            Parcel::Datagram(self.to, vec![octet])
        }

        /// What has left `later` than the last time.
        fn leaves(&mut self, later: Duration) -> Vec<u8> {
            self.now += later;
            let exits = Exits { socket: &self.socket, frames: None, address: Ipv4Addr::LOCALHOST, interface: "lo" };
            self.outbox.flush(self.now, exits, &mut SendBatch::default());
            let (mut heard, mut octets) = (Vec::new(), [0; 8]);
            while self.client.recv(&mut octets).is_ok() {
                heard.push(octets[0]);
            }
            heard
        }
    }

    const BEAT: Duration = Duration::from_millis(1);

    #[test]
    fn first_offers_come_after_all_else() {
        let mut bench = Bench::new();
        for octet in [1, 2] {
            let (offer, answer) = (bench.parcel(octet), bench.parcel(octet + 10));
            bench.outbox.first_offer(offer);
            bench.outbox.answer(answer);
        }
        assert_eq!(bench.leaves(Duration::ZERO), [11, 12, 1, 2]);
        assert!(bench.outbox.is_empty());
        assert_eq!(bench.outbox.resumes_at(), None);
    }

    #[test]
    fn offers_that_nobody_takes_hold_back_offers_and_nothing_else() {
        let mut bench = Bench::new();
        for _ in 0..200 {
            let offer = bench.parcel(1);
            bench.outbox.first_offer(offer);
        }
        let left: usize = (0..5).map(|_| bench.leaves(BEAT).len()).sum();
        assert_eq!(left, 80);
        let answer = bench.parcel(2);
        bench.outbox.answer(answer);
        assert_eq!(bench.leaves(BEAT), [2]);
        assert!(bench.outbox.has_room());
        for _ in 0..3 {
            bench.outbox.taken();
        }
        assert_eq!(bench.leaves(BEAT), [1, 1, 1]);
        // Clients that never answer are not waited for.
        let later = bench.outbox.resumes_at().unwrap() - bench.now;
        assert!(!bench.leaves(later).is_empty());
    }

    #[test]
    fn more_than_can_be_in_flight_waits_and_a_long_line_takes_no_more_requests() {
        let mut bench = Bench::new();
        for _ in 0..ANSWERS {
            let answer = bench.parcel(3);
            bench.outbox.answer(answer);
        }
        assert!(!bench.outbox.has_room());
        assert_eq!(bench.leaves(Duration::ZERO).len(), 128);
        assert!(bench.outbox.has_room());
        assert_eq!(bench.leaves(BEAT).len(), 0);
        assert_eq!(bench.outbox.resumes_at(), Some(bench.now + BEAT * 3));
        let exits = Exits { socket: &bench.socket, frames: None, address: Ipv4Addr::LOCALHOST, interface: "lo" };
        assert!(bench.outbox.stuck(exits).is_none(), "it waits for the time, not for room");
        assert_eq!(bench.leaves(BEAT * 3).len(), 128);
    }

    #[test]
    fn first_offers_are_bounded() {
        let mut bench = Bench::new();
        for _ in 0..=FIRST_OFFERS {
            let offer = bench.parcel(1);
            bench.outbox.first_offer(offer);
        }
        assert_eq!(bench.outbox.first_offers.len(), FIRST_OFFERS);
        assert!(bench.outbox.has_room());
    }
}
