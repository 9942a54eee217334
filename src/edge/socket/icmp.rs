use std::io::{self, Read as _};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::filter;

/// Sends ICMP echoes, through [`SendBatch`](super::SendBatch), and hears their answers. It never waits.
#[derive(Debug)]
pub struct EchoSocket {
    socket: Socket,
    identifier: u16,
}

impl EchoSocket {
    /// Opens a socket whose echoes carry this identifier (RFC 792).
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_RAW`, and what else the system says.
    pub fn open(identifier: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW.nonblocking().cloexec(), Some(Protocol::ICMPV4))?;
        socket.attach_filter(&filter::echo_replies(identifier))?;
        Ok(Self { socket, identifier })
    }

    /// An echo to send.
    #[must_use]
    pub fn echo(&self) -> Vec<u8> {
        let [high, low] = self.identifier.to_be_bytes();
        // Type 8, its checksum, identifier and sequence number 0.
        let mut message = vec![8, 0, 0, 0, high, low, 0, 0];
        let sum = 0x0800_u16.checked_add(self.identifier).unwrap_or_else(|| 0x0800_u16.wrapping_add(self.identifier).wrapping_add(1));
        for (place, octet) in message.iter_mut().skip(2).zip((!sum).to_be_bytes()) {
            *place = octet;
        }
        message
    }

    /// Takes one answer; returns who answered, or `None` for a packet that can't be read.
    ///
    /// # Errors
    /// `WouldBlock` when there is none, and what else the system says.
    pub fn receive(&self) -> io::Result<Option<Ipv4Addr>> {
        let mut packet = [0; 64];
        let length = (&self.socket).read(&mut packet)?;
        let source = packet.get(..length).and_then(|packet| packet.get(12..16)).and_then(|source| <[u8; 4]>::try_from(source).ok());
        Ok(source.map(Ipv4Addr::from))
    }
}

impl AsFd for EchoSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use etherparse::Icmpv4Slice;

    use super::*;

    #[test]
    fn rfc792_an_echo_has_a_right_checksum() {
        for identifier in [0, 1, 0x1234, 0xf7ff, 0xf800, 0xffff] {
            // Without a privilege there is no socket to make one with.
            let Ok(socket) = EchoSocket::open(identifier) else { return };
            let echo = socket.echo();
            let slice = Icmpv4Slice::from_slice(&echo).unwrap();
            assert_eq!(slice.header().icmp_type.calc_checksum(&[]), slice.checksum(), "{identifier:#x}");
            assert_eq!(echo[..2], [8, 0]);
        }
    }
}
