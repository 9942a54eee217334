//! The one place that writes DHCP octets.
//!
//! Options stand in the client's order (RFC 2132, section 9.8), what does not fit moves into the fields that are free (section 9.3),
//! long ones are split (RFC 3396), and old ROMs get the 300 octets that they want.

use std::net::Ipv4Addr;

use super::explain::Source;
use super::message::Request;
use super::option::{self, MessageType};

/// What a server answers, before it is octets.
#[derive(Debug)]
pub(super) struct Reply<'a> {
    request: &'a Request<'a>,
    kind: MessageType,
    pub(super) flags: u16,
    pub(super) ciaddr: Ipv4Addr,
    pub(super) yiaddr: Ipv4Addr,
    pub(super) siaddr: Ipv4Addr,
    /// The server's name in words: its address.
    pub(super) sname: Option<Ipv4Addr>,
    pub(super) file: &'a str,
    /// Whether the client looks for options in `file` and `sname` too, and for the boot file among the options.
    pub(super) reads_overload: bool,
    options: Vec<Item<'a>>,
}

/// An option in an answer.
#[derive(Debug)]
pub(super) struct Item<'a> {
    pub(super) code: u8,
    value: Value<'a>,
    pub(super) source: Source,
}

/// An option's octets.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Borrowed(&'a [u8]),
    Word([u8; 4]),
    Owned(Vec<u8>),
}

/// BOOTP's 300 octets: some ROMs and relays drop what is shorter (RFC 1542, section 2.1).
const LEAST_LENGTH: usize = 300;
/// What option 82 leaves to all others: the server identifier, three times, the mask, a router, a DNS server and option 52. One of
/// 255 octets, the longest that a relay may add, leaves that in the shortest message that a client takes.
const LEAST_ROOM: usize = 45;
const BOOTREPLY: u8 = 2;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const OPTIONS: usize = 240;
const FILE_FIELD: usize = 128;
const SNAME_FIELD: usize = 64;
const END: u8 = 255;

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(octets: &'a [u8]) -> Self {
        Self::Borrowed(octets)
    }
}

impl From<Ipv4Addr> for Value<'_> {
    fn from(address: Ipv4Addr) -> Self {
        Self::Word(address.octets())
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Word(number.to_be_bytes())
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(octets: Vec<u8>) -> Self {
        Self::Owned(octets)
    }
}

impl Item<'_> {
    pub(super) fn octets(&self) -> &[u8] {
        match &self.value {
            Value::Borrowed(octets) => octets,
            Value::Word(octets) => octets,
            Value::Owned(octets) => octets,
        }
    }

    /// Its octets in the message.
    fn length(&self) -> usize {
        written_length(self.octets())
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_option(out, self.code, self.octets());
    }
}

impl<'a> Reply<'a> {
    /// An answer of this kind to the request by the server with this identifier, with what every answer has.
    pub(super) fn new(kind: MessageType, request: &'a Request<'a>, server: Ipv4Addr) -> Self {
        let mut reply = Self {
            request,
            kind,
            flags: request.flags,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            sname: None,
            file: "",
            reads_overload: false,
            options: Vec::with_capacity(16),
        };
        reply.put(option::SERVER_IDENTIFIER, server, Source::Protocol);
        if let Some(identifier) = request.option(option::CLIENT_IDENTIFIER) {
            // RFC 6842: a client behind a NATing bridge tells its answers by it.
            reply.put(option::CLIENT_IDENTIFIER, identifier, Source::Echoed);
        }
        // A NAK carries nothing else (RFC 2131, table 3).
        if kind == MessageType::Nak {
            return reply;
        }
        if let Some(identifier) = request.option(option::MACHINE_UUID) {
            // PXE 2.1, section 2.2.3: a ROM drops an answer that does not repeat it.
            reply.put(option::MACHINE_UUID, identifier, Source::Echoed);
        }
        if let Some(subnet) = request.option(option::SUBNET_SELECTION) {
            // RFC 3011, section 2: by it the client sees that its choice was heeded.
            reply.put(option::SUBNET_SELECTION, subnet, Source::Echoed);
        }
        reply
    }

    /// Adds an option, unless it is there already: who speaks first decides. Options stand in the order in which they were put;
    /// those that do not fit the client's message size are left out, so what matters most comes first.
    pub(super) fn put(&mut self, code: u8, value: impl Into<Value<'a>>, source: Source) {
        if !self.has(code) {
            self.options.push(Item { code, value: value.into(), source });
        }
    }

    /// Whether the option was put.
    pub(super) fn has(&self, code: u8) -> bool {
        self.options.iter().any(|item| item.code == code)
    }

    pub(super) const fn kind(&self) -> MessageType {
        self.kind
    }

    pub(super) fn options(&self) -> &[Item<'a>] {
        &self.options
    }

    /// The message's octets. `left_out` hears of each option for which there is no room.
    pub(super) fn encode(&self, mut left_out: impl FnMut(u8)) -> Vec<u8> {
        let request = self.request;
        // The type and the end octet are sure of their room.
        let room = request.max_reply_length().saturating_sub(OPTIONS).saturating_sub(4);
        // RFC 3046, section 2.2: octet for octet, and only when a relay put it there. Section 2.1: behind all others, and not at all
        // when it is too large.
        let mut agent = request.option(option::RELAY_AGENT).filter(|_| request.is_relayed());
        let mut agent_length = agent.map_or(0, written_length);
        if room < agent_length.saturating_add(LEAST_ROOM) && agent.take().is_some() {
            agent_length = 0;
            left_out(option::RELAY_AGENT);
        }
        let room = room.saturating_sub(agent_length);
        let needed = self.options.iter().map(Item::length).fold(0, usize::saturating_add);
        let overloads = needed > room && self.reads_overload;
        let mut out =
            Vec::with_capacity(LEAST_LENGTH.max(OPTIONS.saturating_add(needed.min(room)).saturating_add(agent_length).saturating_add(4)));
        self.write_fixed(&mut out, overloads);
        out.extend_from_slice(&[option::MESSAGE_TYPE, 1, self.kind.octet()]);
        if overloads {
            self.write_overloaded(&mut out, room.saturating_sub(3), &mut left_out);
        } else {
            let mut room = room;
            for item in &self.options {
                match room.checked_sub(item.length()) {
                    Some(rest) => {
                        item.write(&mut out);
                        room = rest;
                    }
                    None => left_out(item.code),
                }
            }
        }
        if let Some(octets) = agent {
            write_option(&mut out, option::RELAY_AGENT, octets);
        }
        out.push(END);
        if out.len() < LEAST_LENGTH {
            out.resize(LEAST_LENGTH, 0);
        }
        out
    }

    fn write_fixed(&self, out: &mut Vec<u8>, overloads: bool) {
        let request = self.request;
        let hlen = u8::try_from(request.hardware.octets().len()).unwrap_or(16);
        out.extend_from_slice(&[BOOTREPLY, request.hardware.kind(), hlen, 0]);
        out.extend_from_slice(&request.xid.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.flags.to_be_bytes());
        for address in [self.ciaddr, self.yiaddr, self.siaddr, request.giaddr] {
            out.extend_from_slice(&address.octets());
        }
        out.extend_from_slice(&request.chaddr);
        match self.sname {
            Some(host) if !overloads => push_text(out, &host.to_string(), SNAME_FIELD),
            _ => push_text(out, "", SNAME_FIELD),
        }
        push_text(out, if overloads { "" } else { self.file }, FILE_FIELD);
        out.extend_from_slice(&COOKIE);
    }

    /// Writes the options into the options field and, what does not fit there, into `file` and `sname` (RFC 2132, section 9.3): each
    /// whole, since half of an option in another field is more than many clients put together.
    fn write_overloaded(&self, out: &mut Vec<u8>, mut room: usize, left_out: &mut impl FnMut(u8)) {
        let (mut file, mut sname) = (Vec::with_capacity(FILE_FIELD), Vec::with_capacity(SNAME_FIELD));
        let code_place = out.len();
        out.extend_from_slice(&[option::OVERLOAD, 1, 0]);
        for item in &self.options {
            let length = item.length();
            if let Some(rest) = room.checked_sub(length) {
                item.write(out);
                room = rest;
            } else if file.len().saturating_add(length) < FILE_FIELD {
                item.write(&mut file);
            } else if sname.len().saturating_add(length) < SNAME_FIELD {
                item.write(&mut sname);
            } else {
                left_out(item.code);
            }
        }
        let used = u8::from(!file.is_empty()) | (u8::from(!sname.is_empty()) << 1);
        if let Some(value) = out.get_mut(code_place.saturating_add(2)) {
            *value = used;
        }
        for (place, options) in [(108, file), (44, sname)] {
            let field = options.iter().chain(&[END]).take(if options.is_empty() { 0 } else { usize::MAX });
            for (octet, value) in out.iter_mut().skip(place).zip(field) {
                *octet = *value;
            }
        }
    }
}

/// How many octets an option takes: it is written in parts when it is longer than 255 (RFC 3396).
fn written_length(octets: &[u8]) -> usize {
    octets.len().saturating_add(octets.len().div_ceil(255).max(1).saturating_mul(2))
}

/// Sets lease time, T1 and T2 of an encoded answer to shorter ones. They are among the first options of every answer that has them, so
/// they stand in the options field.
pub(super) fn set_times(message: &mut [u8], lease: u32, renewal: u32, rebinding: u32) {
    let mut rest = message.get_mut(OPTIONS..).unwrap_or_default();
    loop {
        match rest {
            [0, after @ ..] => rest = after,
            [code, length, after @ ..] if *code != END => {
                let Some((value, after)) = after.split_at_mut_checked(usize::from(*length)) else { return };
                let seconds = match *code {
                    option::LEASE_TIME => Some(lease),
                    option::RENEWAL_TIME => Some(renewal),
                    option::REBINDING_TIME => Some(rebinding),
                    _ => None,
                };
                if let (Some(seconds), Ok(value)) = (seconds, <&mut [u8; 4]>::try_from(value)) {
                    *value = seconds.to_be_bytes();
                }
                rest = after;
            }
            _ => return,
        }
    }
}

/// Whether a boot file's name fits the `file` field with its NUL, which many ROMs count on.
pub(super) const fn fits_file_field(name: &str) -> bool {
    name.len() < FILE_FIELD
}

fn write_option(out: &mut Vec<u8>, code: u8, octets: &[u8]) {
    if octets.is_empty() {
        out.extend_from_slice(&[code, 0]);
    }
    for part in octets.chunks(255) {
        out.push(code);
        out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(part);
    }
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

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    /// The octets of an answer to which `fill` adds, and what was left out of it.
    fn encoded(packet: &Packet, fill: impl FnOnce(&mut Reply<'_>)) -> (Vec<u8>, Vec<u8>) {
        let datagram = packet.build();
        let request = Request::parse(&datagram).unwrap();
        let mut reply = Reply::new(MessageType::Offer, &request, SERVER);
        fill(&mut reply);
        let mut left_out = Vec::new();
        (reply.encode(|code| left_out.push(code)), left_out)
    }

    #[test]
    fn rfc1542_2_1_is_padded_to_300_octets() {
        assert_eq!(encoded(&Packet::discover(), |_| ()).0.len(), 300);
    }

    #[test]
    fn rfc3396_long_options_are_split() {
        let packet = Packet::discover().option(57, &1500_u16.to_be_bytes());
        let (octets, _) = encoded(&packet, |reply| reply.put(224, vec![7; 300], Source::Protocol));
        assert_eq!(Answer::parse(&octets).option(224), Some(vec![7; 300]));
    }

    #[test]
    fn rfc3046_option_82_is_echoed_octet_for_octet_and_last() {
        let agent = [1, 4, 0, 1, 2, 3, 9, 0, 200, 5];
        let (octets, _) = encoded(&Packet::discover().relayed(Ipv4Addr::new(198, 51, 100, 1)).option(82, &agent), |_| ());
        let answer = Answer::parse(&octets);
        assert_eq!(answer.option(82), Some(agent.to_vec()));
        assert_eq!(answer.codes().last(), Some(&82));
        let (octets, _) = encoded(&Packet::discover().option(82, &agent), |_| ());
        assert_eq!(Answer::parse(&octets).option(82), None);
    }

    #[test]
    fn rfc2132_9_10_what_does_not_fit_is_left_out_and_the_rest_stays_whole() {
        let (octets, left_out) = encoded(&Packet::discover(), |reply| {
            reply.put(1, Ipv4Addr::new(255, 255, 255, 0), Source::Protocol);
            reply.put(224, vec![7; 400], Source::Protocol);
            reply.put(225, b"https://cloud.example".as_slice(), Source::Protocol);
        });
        let answer = Answer::parse(&octets);
        assert!(octets.len() <= 548);
        assert_eq!((answer.option(224), answer.option(225)), (None, Some(b"https://cloud.example".to_vec())));
        assert_eq!(left_out, [224]);
    }

    #[test]
    fn rfc2132_9_3_options_move_into_file_and_sname_for_clients_that_look_there() {
        let fill = |reply: &mut Reply<'_>| {
            reply.reads_overload = true;
            reply.file = "snponly.efi";
            reply.sname = Some(SERVER);
            for (code, length) in [(119, 200), (67, 11), (120, 100), (121, 60), (122, 50)] {
                reply.put(code, vec![code; length], Source::Protocol);
            }
        };
        let (octets, left_out) = encoded(&Packet::discover(), fill);
        let answer = Answer::parse(&octets);
        assert!(octets.len() <= 548);
        // 308 octets of options take 119, 67 and 121; `file` takes 120, `sname` 122.
        assert_eq!((left_out.as_slice(), answer.option(52)), ([].as_slice(), Some(vec![3])));
        for (code, length) in [(119, 200), (67, 11), (120, 100), (121, 60), (122, 50)] {
            assert_eq!(answer.option(code), Some(vec![code; length]), "option {code}");
        }
        assert_eq!((octets[108], octets[44]), (120, 122));
        // With room enough nothing moves.
        let (octets, _) = encoded(&Packet::discover().option(57, &1500_u16.to_be_bytes()), fill);
        let answer = Answer::parse(&octets);
        assert_eq!((answer.option(52), answer.file(), answer.sname()), (None, "snponly.efi".to_owned(), "192.0.2.1".to_owned()));
    }

    #[test]
    fn a_name_too_long_for_its_field_is_left_out_whole() {
        let name = "x".repeat(128);
        let datagram = Packet::discover().build();
        let request = Request::parse(&datagram).unwrap();
        let mut reply = Reply::new(MessageType::Offer, &request, SERVER);
        reply.file = &name;
        reply.sname = Some(SERVER);
        let octets = reply.encode(|_| ());
        let answer = Answer::parse(&octets);
        assert_eq!((answer.file(), answer.sname()), (String::new(), "192.0.2.1".to_owned()));
    }
}
