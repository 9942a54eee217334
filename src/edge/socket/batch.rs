//! Many datagrams in one system call: recvmmsg and sendmmsg, which nix wraps in a way that can't tell how many were sent.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr;

use nix::errno::Errno;
use nix::libc;

use super::Received;

/// How many datagrams one system call takes or gives.
pub const BATCH: usize = 64;

/// Datagrams that came in together, and the room for them, which is used again.
#[derive(Debug)]
pub struct ReceiveBatch {
    octets: Box<[u8]>,
    longest: usize,
    names: Box<[libc::sockaddr_in]>,
    controls: Box<[Control]>,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    received: usize,
}

/// Room for the one control message that is used, IP_PKTINFO, aligned as the kernel wants it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_LENGTH]);

/// A control message's header and `in_pktinfo`, rounded up to what alignment it may need.
const CONTROL_LENGTH: usize = 32;
/// What stands in front of a control message's data: its length, level and type. All of Linux's platforms have it aligned.
const CONTROL_HEADER: usize = size_of::<libc::cmsghdr>();
const CONTROL_USED: usize = CONTROL_HEADER + size_of::<libc::in_pktinfo>();
const _: () = assert!(CONTROL_USED <= CONTROL_LENGTH && CONTROL_HEADER.is_multiple_of(align_of::<libc::cmsghdr>()));

impl ReceiveBatch {
    /// Room for [`BATCH`] datagrams of up to `longest` octets.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        Self {
            octets: vec![0; longest.saturating_mul(BATCH)].into(),
            longest,
            names: vec![no_name(); BATCH].into(),
            controls: vec![Control([0; CONTROL_LENGTH]); BATCH].into(),
            parts: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH].into(),
            headers: vec![no_message(); BATCH].into(),
            received: 0,
        }
    }

    /// Takes what the socket has, up to the room there is, without waiting; what was there before is gone. Returns how many came.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing, and what else the system says.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.received = 0;
        let rooms = self.octets.chunks_exact_mut(self.longest).zip(&mut self.names).zip(&mut self.controls).zip(&mut self.parts);
        for ((((octets, name), control), part), header) in rooms.zip(&mut self.headers) {
            *part = libc::iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: octets.len() };
            // The kernel has written the lengths of the last time over these.
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = NAME_LENGTH;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_LENGTH;
            header.msg_hdr.msg_flags = 0;
        }
        let count = libc::c_uint::try_from(self.headers.len()).unwrap_or(0);
        #[expect(unsafe_code, reason = "nix's wrapper keeps the lengths that the kernel wrote at the last call")]
        // SAFETY: `headers` has `count` elements. Each was just pointed at an address, a part and a control buffer of its own, with
        // their true lengths, and the part at a stretch of `octets` with its length. All of them belong to `self`, which is borrowed
        // exclusively, and none is touched before the call returns. The kernel writes plain octets and integers; any are valid there.
        // No time-out is given.
        let received = unsafe { libc::recvmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count, libc::MSG_DONTWAIT, ptr::null_mut()) };
        self.received = usize::try_from(Errno::result(received)?).unwrap_or(0);
        Ok(self.received)
    }

    /// The datagrams that came with the last call, in their order. One whose sender or destination the system did not tell is
    /// left out: nobody could be answered.
    pub fn datagrams(&self) -> impl Iterator<Item = (Received, &[u8])> {
        let rooms = self.octets.chunks_exact(self.longest).zip(&self.names).zip(&self.controls).zip(&self.headers);
        rooms.take(self.received).filter_map(|(((octets, name), control), header)| {
            let length = usize::try_from(header.msg_len).ok()?;
            let octets = octets.get(..length)?;
            let received = Received {
                length,
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
                source: (header.msg_hdr.msg_namelen >= NAME_LENGTH).then(|| address(name))??,
                destination: control.destination(header.msg_hdr.msg_controllen)?,
            };
            Some((received, octets))
        })
    }
}

/// Room to send with, which is used again.
#[derive(Debug)]
pub struct SendBatch {
    names: Vec<libc::sockaddr_in>,
    controls: Vec<Control>,
    parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

/// What one message of a batch is.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its octets.
    pub payload: &'a [u8],
    /// From which of the interface's addresses and to whom; `None` where the payload itself says so, as a frame does.
    pub route: Option<(Ipv4Addr, SocketAddrV4)>,
}

impl Default for SendBatch {
    fn default() -> Self {
        let (names, controls) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        Self { names, controls, parts: Vec::with_capacity(BATCH), headers: Vec::with_capacity(BATCH) }
    }
}

impl SendBatch {
    /// Sends the first [`BATCH`] messages without waiting. Returns how many the system took: fewer than were given when its
    /// buffers are full, or when the one behind them can't be sent, which the next call tells.
    ///
    /// # Errors
    /// Why the first message can't be sent; none was then. `WouldBlock` when the system's buffers are full.
    pub fn send<'a>(&mut self, socket: BorrowedFd<'_>, messages: impl Iterator<Item = Message<'a>>) -> io::Result<usize> {
        self.names.clear();
        self.controls.clear();
        self.parts.clear();
        self.headers.clear();
        for message in messages.take(BATCH) {
            let (from, to) = message.route.unwrap_or((Ipv4Addr::UNSPECIFIED, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)));
            self.names.push(name_of(to));
            self.controls.push(Control::source(from));
            // The kernel only reads through this pointer: it is the same type for both ways.
            self.parts.push(libc::iovec { iov_base: message.payload.as_ptr().cast_mut().cast(), iov_len: message.payload.len() });
            let mut header = no_message();
            if message.route.is_some() {
                header.msg_hdr.msg_namelen = NAME_LENGTH;
                header.msg_hdr.msg_controllen = CONTROL_USED_SPACE;
            }
            self.headers.push(header);
        }
        // Only now, since a vector that grows moves what it holds.
        for (((name, control), part), header) in self.names.iter_mut().zip(&mut self.controls).zip(&mut self.parts).zip(&mut self.headers) {
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            if header.msg_hdr.msg_namelen != 0 {
                header.msg_hdr.msg_name = ptr::from_mut(name).cast();
                header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            }
        }
        let count = libc::c_uint::try_from(self.headers.len()).unwrap_or(0);
        #[expect(unsafe_code, reason = "nix's wrapper does not tell how many were sent")]
        // SAFETY: `headers` has `count` elements. Each points at a part, and either at an address and a control message of its own
        // with their true lengths or at neither (null, length 0). Those belong to `self`, which is borrowed exclusively, and have not
        // moved since; the payloads are borrowed for `'a`, which outlives this call. The kernel reads them and writes only `msg_len`.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
        Ok(usize::try_from(Errno::result(sent)?).unwrap_or(0))
    }
}

const NAME_LENGTH: libc::socklen_t = {
    #[expect(clippy::cast_possible_truncation, reason = "it is 16")]
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    length
};

/// What a control message of `in_pktinfo` takes with the padding behind it.
const CONTROL_USED_SPACE: usize = CONTROL_USED.next_multiple_of(align_of::<libc::cmsghdr>());

impl Control {
    /// Asks the kernel to send from this address.
    fn source(from: Ipv4Addr) -> Self {
        let mut octets = [0; CONTROL_LENGTH];
        let head = CONTROL_USED
            .to_ne_bytes()
            .into_iter()
            .chain(libc::IPPROTO_IP.to_ne_bytes())
            .chain(libc::IP_PKTINFO.to_ne_bytes())
            // `in_pktinfo`: the interface, left to the route; the source; a destination, which does not count here.
            .chain(0_i32.to_ne_bytes())
            .chain(from.octets());
        for (place, octet) in octets.iter_mut().zip(head) {
            *place = octet;
        }
        Self(octets)
    }

    /// The address that a datagram was sent to. Nothing but IP_PKTINFO is asked for, so it is the only control message.
    fn destination(&self, length: usize) -> Option<Ipv4Addr> {
        const KIND: usize = size_of::<usize>();
        if length < CONTROL_USED {
            return None;
        }
        let (level, rest) = self.0.get(KIND..)?.split_first_chunk::<4>()?;
        let (kind, _) = rest.split_first_chunk::<4>()?;
        if (i32::from_ne_bytes(*level), i32::from_ne_bytes(*kind)) != (libc::IPPROTO_IP, libc::IP_PKTINFO) {
            return None;
        }
        // Behind the interface and our own address on it.
        let (destination, _) = self.0.get(CONTROL_HEADER.saturating_add(8)..)?.split_first_chunk::<4>()?;
        Some(Ipv4Addr::from(*destination))
    }
}

const fn no_name() -> libc::sockaddr_in {
    libc::sockaddr_in { sin_family: 0, sin_port: 0, sin_addr: libc::in_addr { s_addr: 0 }, sin_zero: [0; 8] }
}

fn name_of(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap_or_default(),
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

fn address(name: &libc::sockaddr_in) -> Option<SocketAddrV4> {
    let is_ipv4 = i32::from(name.sin_family) == libc::AF_INET;
    is_ipv4.then(|| SocketAddrV4::new(Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr)), u16::from_be(name.sin_port)))
}

const fn no_message() -> libc::mmsghdr {
    #[expect(unsafe_code, reason = "its fields differ between C libraries, which have padding of their own in it")]
    // SAFETY: it is made of integers and raw pointers; all zero, null pointers with lengths of 0, is valid for all of them.
    unsafe {
        mem::zeroed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::socket::DeviceSocket;
    use std::os::fd::AsFd as _;

    const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
    const TO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

    #[test]
    fn a_batch_keeps_order_senders_and_destinations_and_is_used_again() {
        let (first, second) = (DeviceSocket::bind("lo", 0).unwrap(), DeviceSocket::bind("lo", 0).unwrap());
        let (mut room, mut sender) = (ReceiveBatch::new(16), SendBatch::default());
        let port = first.port().unwrap();
        assert_eq!(room.receive(first.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        // More than fit one call, then fewer: nothing of the first may show in the second.
        for count in [BATCH + 6, 3] {
            let payloads: Vec<[u8; 2]> = (0..count).map(|number| u16::try_from(number).unwrap().to_be_bytes()).collect();
            let message = |payload| Message { payload, route: Some((FROM, SocketAddrV4::new(TO, port))) };
            let mut sent = 0;
            while sent < count {
                sent += sender.send(second.as_fd(), payloads[sent..].iter().map(|payload| message(payload.as_slice()))).unwrap();
            }
            let mut heard = Vec::new();
            while heard.len() < count {
                let received = room.receive(first.as_fd()).unwrap();
                assert!(received <= BATCH);
                for (received, octets) in room.datagrams() {
                    assert_eq!(received.source, SocketAddrV4::new(FROM, second.port().unwrap()));
                    assert_eq!((received.destination, received.truncated), (TO, false));
                    heard.push(<[u8; 2]>::try_from(octets).unwrap());
                }
            }
            assert_eq!(heard, payloads);
        }
        assert_eq!(room.receive(first.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(room.datagrams().count(), 0);
    }

    #[test]
    fn a_datagram_longer_than_its_room_is_cut_and_said_to_be() {
        let (first, second) = (DeviceSocket::bind("lo", 0).unwrap(), DeviceSocket::bind("lo", 0).unwrap());
        let route = Some((FROM, SocketAddrV4::new(TO, first.port().unwrap())));
        let messages = [Message { payload: b"12345", route }, Message { payload: b"678", route }];
        assert_eq!(SendBatch::default().send(second.as_fd(), messages.into_iter()).unwrap(), 2);
        let mut room = ReceiveBatch::new(4);
        assert_eq!(room.receive(first.as_fd()).unwrap(), 2);
        let heard: Vec<(bool, &[u8])> = room.datagrams().map(|(received, octets)| (received.truncated, octets)).collect();
        assert_eq!(heard, [(true, b"1234".as_slice()), (false, b"678".as_slice())]);
    }

    #[test]
    fn what_can_not_be_sent_stops_the_batch_there_and_is_told_by_the_next_call() {
        let socket = DeviceSocket::bind("lo", 0).unwrap();
        let good = Message { payload: b"x", route: Some((FROM, SocketAddrV4::new(TO, 9))) };
        // Loopback has no such address of its own to send from.
        let bad = Message { payload: b"x", route: Some((Ipv4Addr::new(192, 0, 2, 77), SocketAddrV4::new(TO, 9))) };
        let mut sender = SendBatch::default();
        assert_eq!(sender.send(socket.as_fd(), [good, bad, good].into_iter()).unwrap(), 1);
        assert!(sender.send(socket.as_fd(), [bad, good].into_iter()).is_err());
        assert_eq!(sender.send(socket.as_fd(), [good].into_iter()).unwrap(), 1);
    }
}
