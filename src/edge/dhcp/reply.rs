//! The one place that writes DHCP octets.
//!
//! dhcproto writes options in the order of their numbers, heeds no length and does not pad; RFC 2132 (section 9.8) wants the
//! client's order, and old ROMs want 300 octets. Hence our own.

use std::net::Ipv4Addr;

use super::message::Request;
use super::option::{self, MessageType};

/// What a server answers, before it is octets.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    kind: MessageType,
    xid: u32,
    pub(super) flags: u16,
    pub(super) ciaddr: Ipv4Addr,
    pub(super) yiaddr: Ipv4Addr,
    pub(super) siaddr: Ipv4Addr,
    giaddr: Ipv4Addr,
    htype: u8,
    hlen: u8,
    chaddr: [u8; 16],
    pub(super) sname: String,
    pub(super) file: String,
    options: Vec<(u8, Vec<u8>)>,
    relay_agent: Option<Vec<u8>>,
    max_length: usize,
}

/// BOOTP's 300 octets: some ROMs and relays drop what is shorter (RFC 1542, section 2.1).
const LEAST_LENGTH: usize = 300;
const BOOTREPLY: u8 = 2;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const FILE_FIELD: usize = 128;
const SNAME_FIELD: usize = 64;

impl Reply {
    /// An answer of this kind to the request by the server with this identifier, with what every answer has.
    pub(super) fn new(kind: MessageType, request: &Request, server: Ipv4Addr) -> Self {
        let mut reply = Self {
            kind,
            xid: request.xid,
            flags: request.flags,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: request.giaddr,
            htype: request.hardware.kind(),
            hlen: u8::try_from(request.hardware.octets().len()).unwrap_or(16),
            chaddr: request.chaddr,
            sname: String::new(),
            file: String::new(),
            options: Vec::with_capacity(16),
            relay_agent: None,
            max_length: request.max_reply_length(),
        };
        reply.put(option::SERVER_IDENTIFIER, &server.octets());
        if let Some(identifier) = request.option(option::CLIENT_IDENTIFIER) {
            // RFC 6842: a client behind a NATing bridge tells its answers by it.
            reply.put(option::CLIENT_IDENTIFIER, identifier);
        }
        // A NAK carries nothing else (RFC 2131, table 3).
        if kind != MessageType::Nak
            && let Some(identifier) = request.option(option::MACHINE_UUID)
        {
            // PXE 2.1, section 2.2.3: a ROM drops an answer that does not repeat it.
            reply.put(option::MACHINE_UUID, identifier);
        }
        // RFC 3046, section 2.2: octet for octet, and only when a relay put it there.
        reply.relay_agent = request.option(option::RELAY_AGENT).filter(|_| request.is_relayed()).map(<[u8]>::to_vec);
        reply
    }

    /// Adds an option, or replaces its value. Options stand in the order in which they were first put; those that do not fit
    /// the client's message size are left out, so what matters most comes first.
    pub(super) fn put(&mut self, code: u8, octets: &[u8]) {
        match self.options.iter_mut().find(|(known, _)| *known == code) {
            Some((_, value)) => *value = octets.to_vec(),
            None => self.options.push((code, octets.to_vec())),
        }
    }

    /// The message's octets.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LEAST_LENGTH);
        out.extend_from_slice(&[BOOTREPLY, self.htype, self.hlen, 0]);
        out.extend_from_slice(&self.xid.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.flags.to_be_bytes());
        for address in [self.ciaddr, self.yiaddr, self.siaddr, self.giaddr] {
            out.extend_from_slice(&address.octets());
        }
        out.extend_from_slice(&self.chaddr);
        push_text(&mut out, &self.sname, SNAME_FIELD);
        push_text(&mut out, &self.file, FILE_FIELD);
        out.extend_from_slice(&COOKIE);
        out.extend_from_slice(&[option::MESSAGE_TYPE, 1, self.kind.octet()]);
        let relay_agent = self.relay_agent.as_deref().map(|octets| encoded(option::RELAY_AGENT, octets)).unwrap_or_default();
        // The end octet, and option 82 behind all others (RFC 3046, section 2.1), are sure of their room.
        let room = self.max_length.saturating_sub(relay_agent.len()).saturating_sub(1);
        for (code, octets) in &self.options {
            let octets = encoded(*code, octets);
            if out.len().saturating_add(octets.len()) <= room {
                out.extend_from_slice(&octets);
            } else {
                tracing::debug!(option = code, "an option does not fit the client's message size and is left out");
            }
        }
        out.extend_from_slice(&relay_agent);
        out.push(255);
        if out.len() < LEAST_LENGTH {
            out.resize(LEAST_LENGTH, 0);
        }
        out
    }
}

/// Whether a boot file's name fits the `file` field with its NUL, which many ROMs count on.
pub(super) const fn fits_file_field(name: &str) -> bool {
    name.len() < FILE_FIELD
}

/// An option's octets, in parts when it is longer than 255 (RFC 3396).
fn encoded(code: u8, octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len().saturating_add(2));
    if octets.is_empty() {
        out.extend_from_slice(&[code, 0]);
    }
    for part in octets.chunks(255) {
        out.push(code);
        out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(part);
    }
    out
}

/// Writes text into a field of this length, with at least one NUL; text that is too long is left out whole, since half a name
/// is another name.
fn push_text(out: &mut Vec<u8>, text: &str, field: usize) {
    let end = out.len().saturating_add(field);
    if text.len() < field {
        out.extend_from_slice(text.as_bytes());
    }
    out.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::dhcp::tests::packet::{Answer, Packet};

    fn reply(packet: &Packet) -> Reply {
        let request = Request::parse(&packet.build()).unwrap();
        Reply::new(MessageType::Offer, &request, Ipv4Addr::new(192, 0, 2, 1))
    }

    #[test]
    fn rfc1542_2_1_is_padded_to_300_octets() {
        assert_eq!(reply(&Packet::discover()).encode().len(), 300);
    }

    #[test]
    fn rfc3396_long_options_are_split() {
        let mut reply = reply(&Packet::discover().option(57, &1500_u16.to_be_bytes()));
        reply.put(224, &[7; 300]);
        let octets = reply.encode();
        assert_eq!(Answer::parse(&octets).option(224), Some(vec![7; 300]));
    }

    #[test]
    fn rfc3046_option_82_is_echoed_octet_for_octet_and_last() {
        let agent = [1, 4, 0, 1, 2, 3, 9, 0, 200, 5];
        let octets = reply(&Packet::discover().relayed(Ipv4Addr::new(198, 51, 100, 1)).option(82, &agent)).encode();
        let answer = Answer::parse(&octets);
        assert_eq!(answer.option(82), Some(agent.to_vec()));
        assert_eq!(answer.codes().last(), Some(&82));
        assert_eq!(Answer::parse(&reply(&Packet::discover().option(82, &agent)).encode()).option(82), None);
    }

    #[test]
    fn rfc2132_9_10_what_does_not_fit_is_left_out_and_the_rest_stays_whole() {
        let mut reply = reply(&Packet::discover());
        reply.put(1, &[255, 255, 255, 0]);
        reply.put(224, &[7; 400]);
        reply.put(225, b"https://cloud.example");
        let octets = reply.encode();
        let answer = Answer::parse(&octets);
        assert!(octets.len() <= 548);
        assert_eq!((answer.option(224), answer.option(225)), (None, Some(b"https://cloud.example".to_vec())));
    }

    #[test]
    fn a_name_too_long_for_its_field_is_left_out_whole() {
        let mut reply = reply(&Packet::discover());
        reply.file = "x".repeat(128);
        reply.sname = "y".repeat(63);
        let octets = reply.encode();
        let answer = Answer::parse(&octets);
        assert_eq!((answer.file(), answer.sname()), (String::new(), "y".repeat(63)));
    }
}
