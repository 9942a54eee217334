use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd as _;

use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::sockopt::Ipv4PacketInfo;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A UDP socket on one network interface, for all of its addresses and broadcasts.
#[derive(Debug)]
pub struct DeviceSocket {
    socket: UdpSocket,
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

impl DeviceSocket {
    /// Opens a socket on the interface; must be called within a tokio runtime.
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
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
        Ok(Self { socket: UdpSocket::from_std(socket.into())? })
    }

    /// Waits for a datagram.
    ///
    /// # Errors
    /// What the system says, as when the interface goes down.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.socket.async_io(Interest::READABLE, || receive(&self.socket, buffer)).await
    }

    /// Sends a datagram from one of the interface's addresses.
    ///
    /// # Errors
    /// What the system says, as when there is no route.
    pub async fn send(&self, payload: &[u8], from: Ipv4Addr, to: SocketAddrV4) -> io::Result<()> {
        self.socket.async_io(Interest::WRITABLE, || send(&self.socket, payload, from, to)).await
    }
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = cmsg_space!(libc::in_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let destination = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr))),
        _ => None,
    });
    let source = message.address.map(|source| SocketAddrV4::new(source.ip(), source.port()));
    Ok(Received {
        length: message.bytes,
        truncated: message.flags.contains(MsgFlags::MSG_TRUNC),
        source: source.ok_or(io::ErrorKind::InvalidData)?,
        destination: destination.ok_or(io::ErrorKind::InvalidData)?,
    })
}

fn send(socket: &UdpSocket, payload: &[u8], from: Ipv4Addr, to: SocketAddrV4) -> io::Result<()> {
    // An interface may have several addresses; the client must see the one that it was told of.
    let info = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: u32::from(from).to_be() },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let parts = [IoSlice::new(payload)];
    sendmsg(socket.as_raw_fd(), &parts, &[ControlMessage::Ipv4PacketInfo(&info)], MsgFlags::empty(), Some(&SockaddrIn::from(to)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tells_who_sent_to_which_address_and_refuses_a_port_in_use() {
        // Port 0 lets the system choose; a second socket then asks for that very port.
        let first = DeviceSocket::bind("lo", 0).unwrap();
        let port = first.socket.local_addr().unwrap().port();
        assert_eq!(DeviceSocket::bind("lo", port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let second = DeviceSocket::bind("lo", 0).unwrap();
        let (from, to) = (Ipv4Addr::new(127, 0, 0, 7), Ipv4Addr::new(127, 0, 0, 9));
        second.send(b"hello", from, SocketAddrV4::new(to, port)).await.unwrap();
        let mut buffer = [0; 3];
        let received = first.receive(&mut buffer).await.unwrap();
        assert_eq!((&buffer, received.truncated), (b"hel", true));
        assert_eq!((*received.source.ip(), received.destination), (from, to));
    }

    #[tokio::test]
    async fn an_interface_that_does_not_exist_is_an_error() {
        assert!(DeviceSocket::bind("no-such-if", 0).is_err());
    }
}
