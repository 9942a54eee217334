//! The one place that reads DHCP octets.
//!
//! Options stay octets here, borrowed from the datagram, and each is judged by who needs it: a server that decodes them all has to
//! decide what a wrong one means for the others, and most of what a client sends is of no use to it.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use super::option::{self, MessageType};
use crate::edge::lease::{ClientId, HardwareAddress};

/// Why a datagram is no DHCP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Malformed {
    /// Shorter than the fixed fields and the cookie: 240 octets.
    #[error("shorter than a DHCP message can be")]
    Short,
    /// A server's message, which another server or a loop sent.
    #[error("not a request (op is not 1)")]
    NotARequest,
    /// `hlen` beyond the 16 octets of `chaddr`.
    #[error("hardware address longer than its field")]
    HardwareLength,
    /// No magic cookie: BOOTP of before RFC 1048, or something else.
    #[error("no DHCP magic cookie")]
    Cookie,
    /// No option 53: plain BOOTP, which has no leases.
    #[error("no DHCP message type (plain BOOTP is not served)")]
    NoMessageType,
    /// Option 53 of a wrong length or with an unknown number.
    #[error("unknown DHCP message type")]
    MessageType,
    /// No client identifier and no hardware address, or one of a length that it can't have.
    #[error("the client can't be told from others: no usable client identifier or hardware address")]
    Identity,
}

/// A client's message.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) kind: MessageType,
    pub(super) hardware: HardwareAddress,
    pub(super) client: ClientId,
    pub(super) xid: u32,
    pub(super) flags: u16,
    pub(super) ciaddr: Ipv4Addr,
    pub(super) giaddr: Ipv4Addr,
    /// The whole `chaddr` field, which an answer repeats.
    pub(super) chaddr: [u8; 16],
    options: Options<'a>,
}

/// Each option once; parts are joined (RFC 3396).
type Options<'a> = Vec<(u8, Cow<'a, [u8]>)>;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
const BOOTREQUEST: u8 = 1;
const BROADCAST_FLAG: u16 = 0x8000;

impl<'a> Request<'a> {
    /// Reads a datagram.
    pub(super) fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let (fixed, options) = datagram.split_first_chunk::<240>().ok_or(Malformed::Short)?;
        let &[op, htype, hlen, ..] = fixed;
        if hlen > 16 {
            return Err(Malformed::HardwareLength);
        }
        if op != BOOTREQUEST {
            return Err(Malformed::NotARequest);
        }
        if field::<4>(fixed, 236) != COOKIE {
            return Err(Malformed::Cookie);
        }
        let options = collect_options(options, fixed);
        let kind = match find(&options, option::MESSAGE_TYPE) {
            Some(&[octet]) => MessageType::from_octet(octet).ok_or(Malformed::MessageType)?,
            Some(_) => return Err(Malformed::MessageType),
            None => return Err(Malformed::NoMessageType),
        };
        let chaddr = field::<16>(fixed, 28);
        let hardware = chaddr.get(..usize::from(hlen)).and_then(|octets| HardwareAddress::new(htype, octets));
        let hardware = hardware.ok_or(Malformed::HardwareLength)?;
        // An identifier of a wrong length is as good as none (RFC 2132, section 9.14: at least 2 octets).
        let client = find(&options, option::CLIENT_IDENTIFIER)
            .and_then(ClientId::from_option)
            .or_else(|| ClientId::from_hardware(&hardware))
            .ok_or(Malformed::Identity)?;
        Ok(Self {
            kind,
            hardware,
            client,
            xid: u32::from_be_bytes(field(fixed, 4)),
            flags: u16::from_be_bytes(field(fixed, 10)),
            ciaddr: Ipv4Addr::from(field::<4>(fixed, 12)),
            giaddr: Ipv4Addr::from(field::<4>(fixed, 24)),
            chaddr,
            options,
        })
    }

    /// The octets of an option, joined if it came in parts.
    pub(super) fn option(&self, code: u8) -> Option<&[u8]> {
        find(&self.options, code)
    }

    /// An option that holds one address.
    pub(super) fn address_option(&self, code: u8) -> Option<Ipv4Addr> {
        self.option(code).and_then(|octets| <[u8; 4]>::try_from(octets).ok()).map(Ipv4Addr::from)
    }

    /// Whether the client can't take unicast before it has an address (RFC 2131, section 4.1).
    pub(super) const fn wants_broadcast(&self) -> bool {
        self.flags & BROADCAST_FLAG != 0
    }

    /// Whether a relay stands between.
    pub(super) fn is_relayed(&self) -> bool {
        !self.giaddr.is_unspecified()
    }

    /// Whether the client asks for an option by name; a client without a list takes what there is.
    pub(super) fn asks_for(&self, code: u8) -> bool {
        self.option(option::PARAMETER_REQUEST_LIST).is_none_or(|list| list.contains(&code))
    }

    /// The longest message that the client takes, without IP and UDP headers.
    ///
    /// Option 57 counts the headers, or so most clients understand it (RFC 2132, section 9.10, leaves it open); the smaller
    /// reading is safe. Everyone takes 576 octets, and what is over an Ethernet frame would be fragmented, which ROMs do not
    /// put together again. OVMF says 65280.
    pub(super) fn max_reply_length(&self) -> usize {
        const HEADERS: u16 = 28;
        let size = self.option(option::MAX_MESSAGE_SIZE).and_then(|octets| <[u8; 2]>::try_from(octets).ok()).map(u16::from_be_bytes);
        usize::from(size.unwrap_or(576).clamp(576, 1500).saturating_sub(HEADERS))
    }
}

/// The hardware address of a datagram, the octets behind its length too, for whoever must tell clients apart before reading all
/// of it.
pub(super) fn peek_hardware(datagram: &[u8]) -> Option<[u8; 16]> {
    datagram.first_chunk::<240>().map(|fixed| field(fixed, 28))
}

/// A fixed field; it lies inside of the message for every use in this file.
fn field<const LENGTH: usize>(fixed: &[u8; 240], place: usize) -> [u8; LENGTH] {
    fixed.get(place..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; LENGTH])
}

fn find<'o>(options: &'o Options<'_>, code: u8) -> Option<&'o [u8]> {
    options.iter().find(|(found, _)| *found == code).map(|(_, octets)| octets.as_ref())
}

/// Reads the options, then those in `file` and `sname` when option 52 says so (RFC 2132, section 9.3): that order, since
/// parts of one option are joined in it (RFC 3396, section 5).
fn collect_options<'a>(octets: &'a [u8], fixed: &'a [u8; 240]) -> Options<'a> {
    let mut options = Vec::with_capacity(20);
    collect_into(&mut options, octets);
    let overload = match find(&options, option::OVERLOAD) {
        Some(&[overload]) => overload,
        _ => 0,
    };
    if matches!(overload, 1 | 3) {
        collect_into(&mut options, fixed.get(108..236).unwrap_or_default());
    }
    if matches!(overload, 2 | 3) {
        collect_into(&mut options, fixed.get(44..108).unwrap_or_default());
    }
    options
}

fn collect_into<'a>(options: &mut Options<'a>, mut octets: &'a [u8]) {
    while let Some((code, value, rest)) = next_option(octets) {
        match options.iter_mut().find(|(known, _)| *known == code) {
            Some((_, joined)) => joined.to_mut().extend_from_slice(value),
            None => options.push((code, Cow::Borrowed(value))),
        }
        octets = rest;
    }
}

/// The first option of a field, or sub-option of an option: its number, its value, and what follows. What is cut off is no option.
pub(super) fn next_option(mut octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    loop {
        match *octets {
            [0, ref rest @ ..] => octets = rest,
            [] | [255, ..] | [_] => return None,
            [code, length, ref rest @ ..] => {
                let (value, rest) = rest.split_at_checked(usize::from(length))?;
                return Some((code, value, rest));
            }
        }
    }
}

/// A sub-option of an option that is laid out like the options field, as 43 and 175 are.
pub(super) fn sub_option(mut octets: &[u8], wanted: u8) -> Option<&[u8]> {
    while let Some((code, value, rest)) = next_option(octets) {
        if code == wanted {
            return Some(value);
        }
        octets = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::dhcp::tests::packet::Packet;

    #[test]
    fn rfc3396_parts_of_an_option_are_joined_even_apart() {
        let datagram = Packet::discover().option(77, b"iP").option(12, b"name").option(77, b"XE").build();
        assert_eq!(Request::parse(&datagram).unwrap().option(77), Some(b"iPXE".as_slice()));
    }

    #[test]
    fn rfc2132_9_3_options_stand_in_file_and_sname_when_option_52_says_so() {
        let mut datagram = Packet::discover().option(52, &[3]).option(12, b"a").build();
        datagram[108..112].copy_from_slice(&[12, 1, b'b', 255]);
        datagram[44..48].copy_from_slice(&[12, 1, b'c', 255]);
        assert_eq!(Request::parse(&datagram).unwrap().option(12), Some(b"abc".as_slice()));
    }

    #[test]
    fn rfc2131_4_2_identity_is_the_client_identifier_or_the_hardware_address() {
        let client = |packet: Packet| Request::parse(&packet.build()).unwrap().client;
        let plain = client(Packet::discover());
        let spelled = client(Packet::discover().option(61, &[1, 0x52, 0x54, 0, 0x12, 0x34, 0x56]));
        let other = client(Packet::discover().option(61, &[255, 1, 2, 3, 4]));
        assert_eq!(plain, spelled);
        assert_ne!(plain, other);
    }

    #[test]
    fn what_is_no_request_is_told_apart() {
        let good = Packet::discover().build();
        let changed = |place: usize, value: u8| {
            let mut datagram = good.clone();
            datagram[place] = value;
            Request::parse(&datagram).unwrap_err()
        };
        assert_eq!(Request::parse(&good[..239]).unwrap_err(), Malformed::Short);
        assert_eq!(changed(0, 2), Malformed::NotARequest);
        assert_eq!(changed(2, 17), Malformed::HardwareLength);
        assert_eq!(changed(2, 0), Malformed::Identity);
        assert_eq!(changed(236, 0), Malformed::Cookie);
        assert_eq!(changed(240, 0), Malformed::NoMessageType);
        assert_eq!(changed(242, 77), Malformed::MessageType);
    }

    #[test]
    fn rfc2132_9_10_the_message_size_is_held_to_what_any_client_takes_and_any_ethernet_carries() {
        let size = |octets: &[u8]| Request::parse(&Packet::discover().option(57, octets).build()).unwrap().max_reply_length();
        assert_eq!(size(&1472_u16.to_be_bytes()), 1444);
        assert_eq!(size(&65280_u16.to_be_bytes()), 1472);
        assert_eq!(size(&[0, 1]), 548);
        assert_eq!(size(&[1]), 548);
        assert_eq!(Request::parse(&Packet::discover().build()).unwrap().max_reply_length(), 548);
    }
}
