//! DHCP messages as octets (RFC 2131, section 2), written and read without the code under test.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use fairlead::wire::MacAddr;

pub(crate) const DISCOVER: u8 = 1;
pub(crate) const OFFER: u8 = 2;
pub(crate) const REQUEST: u8 = 3;
pub(crate) const DECLINE: u8 = 4;
pub(crate) const ACK: u8 = 5;
pub(crate) const NAK: u8 = 6;
pub(crate) const RELEASE: u8 = 7;
pub(crate) const INFORM: u8 = 8;

/// The codes of RFC 2132 and its successors that the cases name.
pub(crate) mod code {
    pub(crate) const SUBNET_MASK: u8 = 1;
    pub(crate) const ROUTERS: u8 = 3;
    pub(crate) const NAME_SERVERS: u8 = 6;
    pub(crate) const HOST_NAME: u8 = 12;
    pub(crate) const DOMAIN_NAME: u8 = 15;
    pub(crate) const TIME_SERVERS: u8 = 42;
    pub(crate) const VENDOR_ENCAPSULATED: u8 = 43;
    pub(crate) const REQUESTED_ADDRESS: u8 = 50;
    pub(crate) const LEASE_TIME: u8 = 51;
    pub(crate) const OVERLOAD: u8 = 52;
    pub(crate) const MESSAGE_TYPE: u8 = 53;
    pub(crate) const SERVER_IDENTIFIER: u8 = 54;
    pub(crate) const PARAMETER_LIST: u8 = 55;
    pub(crate) const MAXIMUM_SIZE: u8 = 57;
    pub(crate) const RENEWAL_TIME: u8 = 58;
    pub(crate) const REBINDING_TIME: u8 = 59;
    pub(crate) const VENDOR_CLASS: u8 = 60;
    pub(crate) const CLIENT_IDENTIFIER: u8 = 61;
    pub(crate) const BOOT_FILE: u8 = 67;
    pub(crate) const USER_CLASS: u8 = 77;
    pub(crate) const RAPID_COMMIT: u8 = 80;
    pub(crate) const CLIENT_FQDN: u8 = 81;
    pub(crate) const RELAY_INFORMATION: u8 = 82;
    pub(crate) const ARCHITECTURE: u8 = 93;
    pub(crate) const NETWORK_INTERFACE: u8 = 94;
    pub(crate) const UUID: u8 = 97;
    pub(crate) const IPV6_ONLY: u8 = 108;
    pub(crate) const CAPTIVE_PORTAL: u8 = 114;
    pub(crate) const SUBNET_SELECTION: u8 = 118;
    pub(crate) const DOMAIN_SEARCH: u8 = 119;
    pub(crate) const CLASSLESS_ROUTES: u8 = 121;
    pub(crate) const IPXE: u8 = 175;
    pub(crate) const TICKET: u8 = 224;
    /// Of the range for private use: the battery's own long option.
    pub(crate) const LONG: u8 = 230;
    pub(crate) const END: u8 = 255;
}

const COOKIE: [u8; 4] = [99, 130, 83, 99];
static TRANSACTIONS: AtomicU32 = AtomicU32::new(0x1000_0000);

/// A message; fields may hold what no sane client sends.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) op: u8,
    pub(crate) hlen: u8,
    pub(crate) hops: u8,
    pub(crate) xid: u32,
    pub(crate) secs: u16,
    pub(crate) broadcast: bool,
    pub(crate) ciaddr: Ipv4Addr,
    pub(crate) yiaddr: Ipv4Addr,
    pub(crate) siaddr: Ipv4Addr,
    pub(crate) giaddr: Ipv4Addr,
    pub(crate) chaddr: [u8; 16],
    pub(crate) sname: Vec<u8>,
    pub(crate) file: Vec<u8>,
    /// In order; of a message that came in, with the parts of long options still apart and those of overloaded fields behind the others.
    pub(crate) options: Vec<(u8, Vec<u8>)>,
    /// The length that it had when it came in.
    pub(crate) length: usize,
}

impl Message {
    /// A message of that type from the client with that hardware address, in a new transaction.
    pub(crate) fn new(kind: u8, mac: MacAddr) -> Self {
        let mut chaddr = [0; 16];
        for (place, octet) in chaddr.iter_mut().zip(mac.0) {
            *place = octet;
        }
        let unset = Ipv4Addr::UNSPECIFIED;
        Self {
            op: 1,
            hlen: 6,
            hops: 0,
            xid: TRANSACTIONS.fetch_add(1, Ordering::Relaxed),
            secs: 0,
            broadcast: false,
            ciaddr: unset,
            yiaddr: unset,
            siaddr: unset,
            giaddr: unset,
            chaddr,
            sname: Vec::new(),
            file: Vec::new(),
            options: vec![(code::MESSAGE_TYPE, vec![kind])],
            length: 0,
        }
    }

    /// A DISCOVER that asks for what every client wants.
    pub(crate) fn discover(mac: MacAddr) -> Self {
        Self::new(DISCOVER, mac).asks_for(&[
            code::SUBNET_MASK,
            code::ROUTERS,
            code::NAME_SERVERS,
            code::DOMAIN_NAME,
            code::LEASE_TIME,
            code::RENEWAL_TIME,
            code::REBINDING_TIME,
        ])
    }

    /// A REQUEST, otherwise like a DISCOVER.
    pub(crate) fn request(mac: MacAddr) -> Self {
        let mut message = Self::discover(mac);
        message.set(code::MESSAGE_TYPE, &[REQUEST]);
        message
    }

    pub(crate) fn with(mut self, code: u8, value: &[u8]) -> Self {
        self.set(code, value);
        self
    }

    pub(crate) fn with_address(self, code: u8, address: Ipv4Addr) -> Self {
        self.with(code, &address.octets())
    }

    /// Sets option 55.
    pub(crate) fn asks_for(self, codes: &[u8]) -> Self {
        self.with(code::PARAMETER_LIST, codes)
    }

    pub(crate) fn at_address(mut self, address: Ipv4Addr) -> Self {
        self.ciaddr = address;
        self
    }

    /// As a relay with that address hands it on.
    pub(crate) fn relayed_by(mut self, relay: Ipv4Addr) -> Self {
        self.giaddr = relay;
        self.hops = 1;
        self
    }

    pub(crate) fn wants_broadcast(mut self) -> Self {
        self.broadcast = true;
        self
    }

    fn set(&mut self, code: u8, value: &[u8]) {
        match self.options.iter_mut().find(|(each, _)| *each == code) {
            Some((_, old)) => *old = value.to_vec(),
            None => self.options.push((code, value.to_vec())),
        }
    }

    pub(crate) fn mac(&self) -> MacAddr {
        let [a, b, c, d, e, f, ..] = self.chaddr;
        MacAddr([a, b, c, d, e, f])
    }

    /// The message as a client sends it, padded to BOOTP's 300 octets.
    pub(crate) fn octets(&self) -> Vec<u8> {
        let mut octets = self.unpadded();
        octets.resize(octets.len().max(300), 0);
        octets
    }

    /// The message up to its end option.
    pub(crate) fn unpadded(&self) -> Vec<u8> {
        let mut octets = vec![self.op, 1, self.hlen, self.hops];
        octets.extend_from_slice(&self.xid.to_be_bytes());
        octets.extend_from_slice(&self.secs.to_be_bytes());
        octets.extend_from_slice(&[if self.broadcast { 0x80 } else { 0 }, 0]);
        for address in [self.ciaddr, self.yiaddr, self.siaddr, self.giaddr] {
            octets.extend_from_slice(&address.octets());
        }
        octets.extend_from_slice(&self.chaddr);
        for (field, end) in [(&self.sname, 108), (&self.file, 236)] {
            octets.extend_from_slice(field);
            octets.resize(end, 0);
        }
        octets.extend_from_slice(&COOKIE);
        octets.extend_from_slice(&encoded(&self.options));
        octets.push(code::END);
        octets
    }

    /// Reads a message; `None` when it is none.
    pub(crate) fn read(octets: &[u8]) -> Option<Self> {
        let address = |place: usize| {
            let four: Option<[u8; 4]> = octets.get(place..place.checked_add(4)?).and_then(|four| four.try_into().ok());
            four.map(Ipv4Addr::from)
        };
        let (fixed, rest) = octets.split_at_checked(240)?;
        if fixed.get(236..240)? != COOKIE {
            return None;
        }
        let mut message = Self {
            op: *fixed.first()?,
            hlen: *fixed.get(2)?,
            hops: *fixed.get(3)?,
            xid: u32::from_be_bytes(fixed.get(4..8)?.try_into().ok()?),
            secs: u16::from_be_bytes(fixed.get(8..10)?.try_into().ok()?),
            broadcast: fixed.get(10)? & 0x80 != 0,
            ciaddr: address(12)?,
            yiaddr: address(16)?,
            siaddr: address(20)?,
            giaddr: address(24)?,
            chaddr: fixed.get(28..44)?.try_into().ok()?,
            sname: fixed.get(44..108)?.to_vec(),
            file: fixed.get(108..236)?.to_vec(),
            options: decoded(rest)?,
            length: octets.len(),
        };
        // RFC 2132, section 9.3: 1 the file field, 2 the sname field, 3 both, file first (RFC 2131, section 4.1).
        let overload = message.option(code::OVERLOAD).and_then(|value| value.first().copied()).unwrap_or(0);
        for (bit, place) in [(1, 108..236), (2, 44..108)] {
            if overload & bit != 0 {
                message.options.extend(decoded(octets.get(place)?)?);
            }
        }
        Some(message)
    }

    /// An option, its parts joined (RFC 3396).
    pub(crate) fn option(&self, code: u8) -> Option<Vec<u8>> {
        let mut parts = self.options.iter().filter(|(each, _)| *each == code).map(|(_, value)| value).peekable();
        parts.peek()?;
        Some(parts.flatten().copied().collect())
    }

    pub(crate) fn option_address(&self, code: u8) -> Option<Ipv4Addr> {
        let four: [u8; 4] = self.option(code)?.try_into().ok()?;
        Some(Ipv4Addr::from(four))
    }

    /// An option of four octets, as times are.
    pub(crate) fn option_number(&self, code: u8) -> Option<u32> {
        let four: [u8; 4] = self.option(code)?.try_into().ok()?;
        Some(u32::from_be_bytes(four))
    }

    pub(crate) fn kind(&self) -> Option<u8> {
        self.option(code::MESSAGE_TYPE)?.first().copied()
    }

    /// The codes, in the order in which they came.
    pub(crate) fn codes(&self) -> Vec<u8> {
        self.options.iter().map(|(code, _)| *code).collect()
    }

    /// What the client is told to load: the `file` field, or option 67 when that was asked for and the field is not used.
    pub(crate) fn boot_file(&self) -> String {
        let option = self.option(code::BOOT_FILE);
        let octets = option.as_deref().unwrap_or(&self.file);
        let end = octets.iter().position(|octet| *octet == 0).unwrap_or(octets.len());
        String::from_utf8_lossy(octets.get(..end).unwrap_or_default()).into_owned()
    }
}

/// Options one behind the other, without an end; a value over 255 octets goes in parts.
pub(crate) fn encoded(options: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut octets = Vec::new();
    for (code, value) in options {
        let empty = [&value[..]];
        let parts: Vec<&[u8]> = if value.is_empty() { empty.to_vec() } else { value.chunks(255).collect() };
        for part in parts {
            octets.push(*code);
            octets.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
            octets.extend_from_slice(part);
        }
    }
    octets
}

fn decoded(mut rest: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut options = Vec::new();
    while let Some((&code, after)) = rest.split_first() {
        match code {
            0 => rest = after,
            code::END => break,
            _ => {
                let (&length, after) = after.split_first()?;
                let (value, after) = after.split_at_checked(usize::from(length))?;
                options.push((code, value.to_vec()));
                rest = after;
            }
        }
    }
    Some(options)
}
