//! DHCP messages as a client writes and reads them, by RFC 2131 and 2132 and by nothing of the code under test.

use std::net::Ipv4Addr;

/// DHCP message types (RFC 2132, section 9.6).
pub const DISCOVER: u8 = 1;
pub const OFFER: u8 = 2;
pub const REQUEST: u8 = 3;
pub const DECLINE: u8 = 4;
pub const ACK: u8 = 5;
pub const NAK: u8 = 6;
pub const RELEASE: u8 = 7;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// A message before its options: the BOOTP fields and the cookie.
const FIXED: usize = 240;
/// Who says nothing else takes 576 octets of IP datagram: 548 without the headers of IP and UDP (RFC 2131, section 2).
const LEAST_SIZE: usize = 548;
const HEADERS: usize = 28;

/// A request in the making.
#[derive(Clone, Debug)]
pub struct Message {
    fixed: [u8; FIXED],
    options: Vec<u8>,
}

impl Message {
    /// A client's message of this kind.
    pub fn new(kind: u8, mac: [u8; 6], xid: u32) -> Self {
        let mut fixed = [0; FIXED];
        fixed[..3].copy_from_slice(&[1, 1, 6]);
        fixed[4..8].copy_from_slice(&xid.to_be_bytes());
        fixed[28..34].copy_from_slice(&mac);
        fixed[236..].copy_from_slice(&COOKIE);
        Self { fixed, options: vec![53, 1, kind] }
    }

    /// With this option.
    pub fn option(mut self, code: u8, octets: &[u8]) -> Self {
        self.options.push(code);
        self.options.push(u8::try_from(octets.len()).unwrap_or(255));
        self.options.extend(&octets[..octets.len().min(255)]);
        self
    }

    /// With an option that holds an address.
    pub fn address(self, code: u8, address: Ipv4Addr) -> Self {
        self.option(code, &address.octets())
    }

    /// From a client that has this address.
    pub fn ciaddr(mut self, address: Ipv4Addr) -> Self {
        self.fixed[12..16].copy_from_slice(&address.octets());
        self
    }

    /// Passed on by the relay at this address.
    pub fn relayed(mut self, giaddr: Ipv4Addr) -> Self {
        self.fixed[24..28].copy_from_slice(&giaddr.octets());
        self.fixed[3] = 1;
        self
    }

    /// From a client that takes no unicast yet.
    pub fn broadcast(mut self) -> Self {
        self.fixed[10] = 0x80;
        self
    }

    /// The octets.
    pub fn build(&self) -> Vec<u8> {
        [self.fixed.as_slice(), &self.options, &[255]].concat()
    }
}

/// A server's message.
#[derive(Clone, Debug)]
pub struct Answer {
    pub kind: u8,
    pub xid: u32,
    pub yiaddr: Ipv4Addr,
    pub mac: [u8; 6],
    options: Vec<(u8, Vec<u8>)>,
}

impl Answer {
    /// Reads an answer as a strict client does.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(octets: &[u8]) -> Result<Self, String> {
        // 300 octets are BOOTP's least, and what old ROMs drop an answer for.
        if octets.len() < 300 {
            return Err(format!("an answer of {} octets, shorter than BOOTP", octets.len()));
        }
        if octets[0] != 2 || octets[236..FIXED] != COOKIE {
            return Err("not a reply, or without the cookie".to_owned());
        }
        let mut options: Vec<(u8, Vec<u8>)> = Vec::new();
        let mut rest = &octets[FIXED..];
        loop {
            match rest {
                [255, padding @ ..] if padding.iter().all(|octet| *octet == 0) => break,
                [255, ..] => return Err("octets behind the end of the options".to_owned()),
                [0, after @ ..] => rest = after,
                [code, length, after @ ..] if after.len() >= usize::from(*length) => {
                    let (value, after) = after.split_at(usize::from(*length));
                    match options.iter_mut().find(|(known, _)| known == code) {
                        // RFC 3396: the parts of a long option.
                        Some((_, joined)) => joined.extend(value),
                        None => options.push((*code, value.to_vec())),
                    }
                    rest = after;
                }
                _ => return Err("the options do not end".to_owned()),
            }
        }
        let kind = match options.iter().find(|(code, _)| *code == 53).map(|(_, value)| value.as_slice()) {
            Some(&[kind @ (OFFER | ACK | NAK)]) => kind,
            other => return Err(format!("message type {other:?} in an answer")),
        };
        let address = |at: usize| Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]);
        Ok(Self {
            kind,
            xid: u32::from_be_bytes([octets[4], octets[5], octets[6], octets[7]]),
            yiaddr: address(16),
            mac: std::array::from_fn(|at| octets[28 + at]),
            options,
        })
    }

    /// An option's octets.
    pub fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.iter().find(|(found, _)| *found == code).map(|(_, value)| value.as_slice())
    }

    /// An option that is a number of seconds.
    pub fn seconds(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.option(code)?.try_into().ok()?))
    }

    /// The server identifier (option 54).
    pub fn server(&self) -> Option<Ipv4Addr> {
        Some(Ipv4Addr::from(<[u8; 4]>::try_from(self.option(54)?).ok()?))
    }

    /// The lease time with T1 and T2, in seconds, when they are all there and in their order (RFC 2131, section 4.4.5).
    pub fn times(&self) -> Option<(u32, u32, u32)> {
        let (lease, renewal, rebinding) = (self.seconds(51)?, self.seconds(58)?, self.seconds(59)?);
        (renewal <= rebinding && rebinding <= lease).then_some((lease, renewal, rebinding))
    }
}

/// How many octets an answer to this request may have, by the request's option 57 (RFC 2132, section 9.10).
pub fn room_for_answer(max_message_size: Option<u16>) -> usize {
    max_message_size.map_or(LEAST_SIZE, |size| usize::from(size).saturating_sub(HEADERS).max(LEAST_SIZE))
}
