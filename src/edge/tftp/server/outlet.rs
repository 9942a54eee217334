use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, getsockopt, recv, sendmsg, sockopt};
use socket2::Socket;

use super::super::Transfer;
use crate::clock::Timestamp;

/// A transfer's socket, connected to its reader.
///
/// A window leaves with one system call: the kernel cuts it into datagrams (`UDP_SEGMENT`), or the network card does.
pub(super) struct Outlet {
    socket: Socket,
    /// Datagrams one behind the other, all of one length but the last, which may be shorter.
    run: Vec<u8>,
    /// The length of the first.
    length: usize,
    /// How much of the run has left.
    sent: usize,
    /// Whether the kernel takes several datagrams at once on this path.
    segments: bool,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It left, or there was none.
    All,
    /// The socket's buffer is full: call [`Outlet::flush`] when there is room.
    Waits,
}

/// The kernel cuts no more than this at once (`UDP_MAX_SEGMENTS`, before Linux 6.9).
const SEGMENTS: usize = 64;
/// A run is at first one packet of the kernel's, whose length has 16 bits.
const RUN_LIMIT: usize = 60_000;

impl Outlet {
    pub(super) const fn new(socket: Socket) -> Self {
        Self { socket, run: Vec::new(), length: 0, sent: 0, segments: true }
    }

    /// What the kernel knows of the path; without it, what every Ethernet carries.
    pub(super) fn path_mtu(&self) -> u32 {
        getsockopt(&self.socket, sockopt::IpMtu).ok().and_then(|mtu| u32::try_from(mtu).ok()).unwrap_or(1500)
    }

    /// The next datagram from the reader. It does not wait.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty())?)
    }

    /// Sends all that the transfer has to send.
    ///
    /// # Errors
    /// Why a datagram can't leave; those of its run are lost with it.
    pub(super) fn send(&mut self, now: Timestamp, transfer: &mut Transfer) -> io::Result<Sent> {
        while self.flush()? == Sent::All {
            self.run.clear();
            self.sent = 0;
            let mut count = 0;
            while count < SEGMENTS
                && self.run.len().saturating_add(transfer.largest_datagram()) <= RUN_LIMIT.max(transfer.largest_datagram())
            {
                if !transfer.poll_transmit(now, &mut self.run) {
                    break;
                }
                if count == 0 {
                    self.length = self.run.len();
                }
                count = count.saturating_add(1);
            }
            if count == 0 {
                return Ok(Sent::All);
            }
        }
        Ok(Sent::Waits)
    }

    /// Sends what is left of the run.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) fn flush(&mut self) -> io::Result<Sent> {
        while let Some(rest) = self.run.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let several = self.segments && rest.len() > self.length;
            let part = if several { rest } else { rest.get(..self.length).unwrap_or(rest) };
            match self.send_part(part, several) {
                Ok(()) => self.sent = self.sent.saturating_add(part.len()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Sent::Waits),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It may be that the path can't: one by one then, which tells if it is something else.
                Err(error) if several && error.kind() != ErrorKind::ConnectionRefused => {
                    tracing::debug!(%error, "datagrams leave one by one on this path");
                    self.segments = false;
                }
                Err(error) => {
                    self.run.clear();
                    self.sent = 0;
                    return Err(error);
                }
            }
        }
        Ok(Sent::All)
    }

    fn send_part(&self, part: &[u8], several: bool) -> io::Result<()> {
        let length = u16::try_from(self.length).ok().filter(|_| several);
        let segments = length.as_ref().map(ControlMessage::UdpGsoSegments);
        sendmsg::<SockaddrIn>(self.socket.as_raw_fd(), &[IoSlice::new(part)], segments.as_slice(), MsgFlags::empty(), None)?;
        Ok(())
    }

    /// Sends a last datagram if it can leave at once.
    pub(super) fn send_last(&self, datagram: &[u8]) {
        let _best_effort = self.socket.send(datagram);
    }
}

impl AsFd for Outlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
