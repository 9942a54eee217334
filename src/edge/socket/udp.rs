use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, RcvBufForce};
use socket2::{Domain, Protocol, Socket, Type};

/// A UDP socket on one network interface, for all of its addresses and broadcasts. It never waits; datagrams go through
/// [`ReceiveBatch`](super::ReceiveBatch) and [`SendBatch`](super::SendBatch).
#[derive(Debug)]
pub struct DeviceSocket {
    socket: Socket,
}

/// A datagram that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its length; no more of it than the buffer holds was kept.
    pub length: usize,
    /// It was longer than the buffer.
    pub truncated: bool,
    /// Who sent it.
    pub source: SocketAddrV4,
    /// The address that it was sent to.
    pub destination: Ipv4Addr,
}

/// How much the kernel keeps for us while we are busy, in octets, of which it counts some 700 to 1,300 for a DHCP message: a
/// site's machines that all come on at the same moment, some ten thousand of them.
const RECEIVE_BUFFER: usize = 8 << 20;

impl DeviceSocket {
    /// Opens a socket on the interface.
    ///
    /// The address is not made reusable: a second server on the port and the interface is an error here, not a silent sharing
    /// of clients.
    ///
    /// # Errors
    /// `AddrInUse`, `PermissionDenied`, and what else the system says.
    pub fn bind(interface: &str, port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        // Before the port is bound, or sockets of several interfaces could not have the same one.
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_broadcast(true)?;
        setsockopt(&socket, Ipv4PacketInfo, &true)?;
        // Without CAP_NET_ADMIN there is as much as net.core.rmem_max allows: slower in a storm, but no reason not to serve.
        if setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER).is_err() {
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        }
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
        Ok(Self { socket })
    }

    /// The port that it is bound to.
    ///
    /// # Errors
    /// What the system says.
    pub fn port(&self) -> io::Result<u16> {
        let address = self.socket.local_addr()?.as_socket_ipv4();
        address.map(|address| address.port()).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl AsFd for DeviceSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_on_the_interface_is_refused() {
        // Port 0 lets the system choose; a second socket then asks for that very port.
        let first = DeviceSocket::bind("lo", 0).unwrap();
        assert_eq!(DeviceSocket::bind("lo", first.port().unwrap()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn an_interface_that_does_not_exist_is_an_error() {
        assert!(DeviceSocket::bind("no-such-if", 0).is_err());
    }
}
