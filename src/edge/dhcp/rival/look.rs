//! The DHCPDISCOVER that looks for other servers, and what servers say.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::edge::dhcp::message::next_option;
use crate::edge::dhcp::option::{self, MessageType};
use crate::wire::MacAddr;

/// The client identifier of a look begins so; the hardware address follows. Type 0 means no hardware address (RFC 2132, section
/// 9.14). It is the same each time, so that a server that holds offers holds one.
const MARKER: &[u8] = b"\0fairlead";

const BOOTREQUEST: u8 = 1;
const BOOTREPLY: u8 = 2;
const BROADCAST_FLAG: [u8; 2] = [0x80, 0];
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// A DISCOVER of our own.
pub(super) fn discover(mac: MacAddr, xid: u32) -> Vec<u8> {
    let mut out = vec![BOOTREQUEST, 1, 6, 0];
    out.extend(xid.to_be_bytes());
    out.extend([0, 0]);
    out.extend(BROADCAST_FLAG);
    out.extend([0; 16]);
    out.extend(mac.0);
    out.resize(236, 0);
    out.extend(COOKIE);
    out.extend([option::MESSAGE_TYPE, 1, MessageType::Discover.octet()]);
    let identifier = [MARKER, &mac.0].concat();
    out.extend([option::CLIENT_IDENTIFIER, u8::try_from(identifier.len()).unwrap_or_default()]);
    out.extend(identifier);
    out.extend([option::PARAMETER_REQUEST_LIST, 2, option::SUBNET_MASK, option::ROUTERS, 255]);
    // As a client's, or it may be dropped on the way (RFC 1542, section 2.1).
    out.resize(300, 0);
    out
}

/// Whose look this is, if its client identifier says that it is one.
pub(super) fn looker(client_identifier: &[u8]) -> Option<MacAddr> {
    client_identifier.strip_prefix(MARKER).and_then(|mac| mac.try_into().ok()).map(MacAddr)
}

/// What a DHCP server said by which it gives or refuses an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// The server's identifier.
    pub(super) server: Ipv4Addr,
    /// The transaction that it answers.
    pub(super) xid: u32,
    /// The hardware address that it answers to, when it is an Ethernet one.
    pub(super) to: Option<MacAddr>,
}

/// What a server says by these octets, when they give or refuse an address. What a proxyDHCP says is nothing: it gives no address.
pub(super) fn said(octets: &[u8], source: SocketAddrV4) -> Option<Said> {
    let (fixed, mut options) = octets.split_first_chunk::<240>()?;
    if fixed.first() != Some(&BOOTREPLY) || fixed.get(236..) != Some(COOKIE.as_slice()) {
        return None;
    }
    let (mut kind, mut server) = (None, None);
    while let Some((code, value, rest)) = next_option(options) {
        options = rest;
        match (code, value) {
            (option::MESSAGE_TYPE, [octet]) => kind = MessageType::from_octet(*octet),
            (option::SERVER_IDENTIFIER, value) => server = <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from),
            _ => {}
        }
    }
    let gives_address = fixed.get(16..20) != Some([0; 4].as_slice());
    let is_server = match kind? {
        MessageType::Offer | MessageType::Ack => gives_address,
        MessageType::Nak => true,
        _ => false,
    };
    let server = server.filter(|server| !server.is_unspecified()).unwrap_or(*source.ip());
    let xid = u32::from_be_bytes(*fixed.get(4..)?.first_chunk()?);
    let to = (fixed.get(2) == Some(&6)).then(|| fixed.get(28..)?.first_chunk().copied().map(MacAddr)).flatten();
    (is_server && !server.is_unspecified()).then_some(Said { server, xid, to })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::dhcp::client::Client;
    use crate::edge::dhcp::message::Request;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn reply(kind: u8, yiaddr: [u8; 4], server: Option<[u8; 4]>) -> Vec<u8> {
        let mut octets = vec![0; 240];
        octets[0] = 2;
        octets[16..20].copy_from_slice(&yiaddr);
        octets[236..].copy_from_slice(&COOKIE);
        octets.extend([53, 1, kind]);
        if let Some(server) = server {
            octets.extend([54, 4]);
            octets.extend(server);
        }
        octets.push(255);
        octets
    }

    #[test]
    fn a_look_is_a_discover_that_is_known_again() {
        let octets = discover(MAC, 7);
        let request = Request::parse(&octets).unwrap();
        assert_eq!((request.kind, request.xid, request.wants_broadcast()), (MessageType::Discover, 7, true));
        assert_eq!(Client::of(&request).mac, Some(MAC));
        assert_eq!(request.option(61).and_then(looker), Some(MAC));
        assert_eq!(looker(&[1, 2, 0, 0, 0, 0, 1]), None);
    }

    #[test]
    fn a_server_is_known_by_what_it_gives_and_a_proxy_is_none() {
        let source = "192.0.2.9:67".parse().unwrap();
        let (given, id) = ([192, 0, 2, 50], [192, 0, 2, 8]);
        let server_of = |octets: &[u8], source| said(octets, source).map(|said| said.server);
        let answer =
            [&[2, 1, 6, 0, 0, 0, 0, 7], &reply(2, given, Some(id))[8..28], MAC.0.as_slice(), &reply(2, given, Some(id))[34..]].concat();
        assert_eq!(said(&answer, source), Some(Said { server: Ipv4Addr::from(id), xid: 7, to: Some(MAC) }));
        assert_eq!(server_of(&reply(2, given, Some(id)), source), Some(Ipv4Addr::from(id)));
        assert_eq!(server_of(&reply(5, given, None), source), Some(*source.ip()));
        assert_eq!(server_of(&reply(6, [0; 4], Some(id)), source), Some(Ipv4Addr::from(id)));
        assert_eq!(server_of(&reply(2, [0; 4], Some(id)), source), None, "proxyDHCP");
        assert_eq!(server_of(&reply(1, given, Some(id)), source), None);
        assert_eq!(server_of(&discover(MAC, 1), source), None);
        for length in 0..240 {
            assert_eq!(server_of(&reply(2, given, Some(id))[..length], source), None);
        }
    }
}
