use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use etherparse::PacketBuilder;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, bind, socket};

use super::SystemInterface;
use crate::wire::MacAddr;

/// Sends Ethernet frames on one interface, through [`SendBatch`](super::SendBatch): the way to a client that has no address yet
/// and so answers no ARP.
#[derive(Debug)]
pub struct FrameSocket {
    socket: OwnedFd,
    mac: MacAddr,
}

/// What RFC 1700 recommended and everyone uses.
const TIME_TO_LIVE: u8 = 64;

impl FrameSocket {
    /// Opens a socket on an Ethernet interface.
    ///
    /// It is made for no protocol, so the kernel queues nothing on it that came in.
    ///
    /// # Errors
    /// `Unsupported` when the interface is not an Ethernet one, `PermissionDenied` without `CAP_NET_RAW`, and what else the
    /// system says.
    pub fn open(interface: &SystemInterface) -> io::Result<Self> {
        let (Some(link), Some(mac)) = (interface.link, interface.mac()) else { return Err(io::ErrorKind::Unsupported.into()) };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        bind(socket.as_raw_fd(), &link)?;
        Ok(Self { socket, mac })
    }

    /// A frame to `mac` that carries a UDP datagram.
    ///
    /// # Errors
    /// When the payload does not fit a datagram.
    pub fn udp_frame(&self, from: SocketAddrV4, to: SocketAddrV4, mac: MacAddr, payload: &[u8]) -> io::Result<Vec<u8>> {
        udp_frame(self.mac, from, to, mac, payload)
    }
}

impl AsFd for FrameSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn udp_frame(from_mac: MacAddr, from: SocketAddrV4, to: SocketAddrV4, to_mac: MacAddr, payload: &[u8]) -> io::Result<Vec<u8>> {
    let octets = |address: &Ipv4Addr| address.octets();
    let builder =
        PacketBuilder::ethernet2(from_mac.0, to_mac.0).ipv4(octets(from.ip()), octets(to.ip()), TIME_TO_LIVE).udp(from.port(), to.port());
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).map_err(io::Error::other)?;
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    #[test]
    fn a_frame_has_right_addresses_and_checksums() {
        let (ours, theirs) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        let from = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 67);
        let to = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 100), 68);
        let frame = udp_frame(ours, from, to, theirs, b"payload").unwrap();
        assert_eq!((&frame[..6], &frame[6..12]), (theirs.0.as_slice(), ours.0.as_slice()));
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (packet.net, packet.transport) else { panic!("{frame:?}") };
        assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
        let expected = udp.to_header().calc_checksum_ipv4(&ip.header().to_header(), b"payload").unwrap();
        assert_eq!((udp.checksum(), udp.payload()), (expected, b"payload".as_slice()));
        assert_eq!((udp.source_port(), udp.destination_port(), ip.header().destination_addr()), (67, 68, *to.ip()));
    }
}
