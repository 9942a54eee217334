use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use nix::sys::socket::bind;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::{SystemInterface, filter};
use crate::wire::MacAddr;

/// Hears frames of one kind on an Ethernet interface, and sends any, through [`SendBatch`](super::SendBatch). It never waits.
#[derive(Debug)]
pub struct LinkSocket {
    socket: Socket,
    mac: MacAddr,
}

/// What a server sent to a client, from a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentToClient<'a> {
    /// The hardware address that sent the frame: the server's, or its relay's.
    pub mac: MacAddr,
    /// Who sent the datagram.
    pub source: SocketAddrV4,
    /// The DHCP message.
    pub payload: &'a [u8],
}

// Linux' linux/if_ether.h.
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;

const DHCP_CLIENT: u16 = 68;

impl LinkSocket {
    /// Hears ARP by which machines tell what address they have.
    ///
    /// # Errors
    /// `Unsupported` when the interface is not an Ethernet one, `PermissionDenied` without `CAP_NET_RAW`, and what else the
    /// system says.
    pub fn arp(interface: &SystemInterface) -> io::Result<Self> {
        Self::open(interface, ETHERTYPE_ARP, &filter::arp_of_owners())
    }

    /// Hears what DHCP servers send to clients. It takes no port, so a DHCP client may run on this machine.
    ///
    /// # Errors
    /// As [`LinkSocket::arp`].
    pub fn dhcp_answers(interface: &SystemInterface) -> io::Result<Self> {
        Self::open(interface, ETHERTYPE_IPV4, &filter::udp_to(DHCP_CLIENT))
    }

    fn open(interface: &SystemInterface, ethertype: u16, filter: &[SockFilter]) -> io::Result<Self> {
        let (Some(link), Some(mac)) = (interface.link, interface.mac()) else { return Err(io::ErrorKind::Unsupported.into()) };
        let protocol = Protocol::from(i32::from(ethertype.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
        socket.attach_filter(filter)?;
        // It keeps the protocol that it was made for.
        bind(socket.as_raw_fd(), &link)?;
        // Before it was bound it heard all interfaces.
        let mut rest = [0; 64];
        while (&socket).read(&mut rest).is_ok() {}
        Ok(Self { socket, mac })
    }

    /// Our hardware address on the interface.
    #[must_use]
    pub const fn mac(&self) -> MacAddr {
        self.mac
    }

    /// Takes one frame, or the beginning of one that is longer than the buffer.
    ///
    /// # Errors
    /// `WouldBlock` when there is none, and what else the system says.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let length = (&self.socket).read(buffer)?;
        buffer.get(..length).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl AsFd for LinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What a frame that [`LinkSocket::dhcp_answers`] heard carries.
#[must_use]
pub fn sent_to_client(frame: &[u8]) -> Option<SentToClient<'_>> {
    let mac = MacAddr(*frame.get(6..)?.first_chunk()?);
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (packet.net, packet.transport) else { return None };
    let source = SocketAddrV4::new(ip.header().source_addr(), udp.source_port());
    // The slice belongs to the frame and not to the parsed packet.
    let payload = udp.payload();
    let start = (payload.as_ptr() as usize).checked_sub(frame.as_ptr() as usize)?;
    let payload = frame.get(start..start.checked_add(payload.len())?)?;
    Some(SentToClient { mac, source, payload })
}

/// An ARP probe for an address (RFC 5227, section 2.1.1): its sender has no address, so nobody learns a wrong one from it.
#[must_use]
pub fn arp_probe(from: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(60);
    frame.extend([0xff; 6]);
    frame.extend(from.0);
    frame.extend(ETHERTYPE_ARP.to_be_bytes());
    // Ethernet and IPv4, addresses of 6 and 4 octets, a request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(from.0);
    frame.extend([0; 4]);
    frame.extend([0; 6]);
    frame.extend(address.octets());
    // The shortest Ethernet frame; not every driver fills it up.
    frame.resize(60, 0);
    frame
}

/// Which machine a frame that [`LinkSocket::arp`] heard says has which address.
#[must_use]
pub fn arp_owner(frame: &[u8]) -> Option<(MacAddr, Ipv4Addr)> {
    let arp = frame.get(14..42)?;
    let (Some([0, 1, 8, 0, 6, 4]), Some(mac), Some(address)) = (arp.first_chunk::<6>(), arp.get(8..14), arp.get(14..18)) else {
        return None;
    };
    let (mac, address) = (MacAddr(mac.try_into().ok()?), Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?));
    (mac.is_unicast() && !address.is_unspecified()).then_some((mac, address))
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

    #[test]
    fn rfc5227_1_1_a_probe_has_a_sender_of_zero() {
        let frame = arp_probe(MAC, ADDRESS);
        assert_eq!((frame.len(), &frame[..14]), (60, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6].as_slice()));
        let (head, tail) = ([0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 192, 0, 2, 7]);
        assert_eq!((&frame[14..32], &frame[32..42]), (head.as_slice(), tail.as_slice()));
        // Somebody else's probe tells nobody's address.
        assert_eq!(arp_owner(&frame), None);
    }

    #[test]
    fn an_answer_tells_who_has_the_address() {
        let mut frame = arp_probe(MAC, Ipv4Addr::UNSPECIFIED);
        frame[21] = 2;
        frame[28..32].copy_from_slice(&ADDRESS.octets());
        assert_eq!(arp_owner(&frame), Some((MAC, ADDRESS)));
        for length in 0..42 {
            assert_eq!(arp_owner(&frame[..length]), None);
        }
        frame[18] = 8;
        assert_eq!(arp_owner(&frame), None, "not Ethernet's addresses");
    }

    #[test]
    fn what_a_server_sends_is_found_in_its_frame() {
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2(MAC.0, [0xff; 6]).ipv4(ADDRESS.octets(), [255; 4], 64).udp(67, 68);
        builder.write(&mut frame, b"offer").unwrap();
        frame.extend([0; 10]);
        let found = sent_to_client(&frame).unwrap();
        assert_eq!((found.mac, found.source, found.payload), (MAC, SocketAddrV4::new(ADDRESS, 67), b"offer".as_slice()));
        for length in 0..42 {
            assert_eq!(sent_to_client(&frame[..length]), None);
        }
    }

    #[test]
    fn loopback_has_no_frames_to_hear() {
        let loopback = SystemInterface::find("lo").unwrap().unwrap();
        assert_eq!(LinkSocket::arp(&loopback).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
