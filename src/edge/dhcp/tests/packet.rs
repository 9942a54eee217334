//! Requests to make and answers to read, independent of the code under test.

use std::net::Ipv4Addr;

use dhcproto::v4::borrowed::DhcpOptionIterator;

/// A request in the making.
#[derive(Clone)]
pub(in crate::edge::dhcp) struct Packet {
    fixed: [u8; 240],
    options: Vec<u8>,
}

pub(in crate::edge::dhcp) const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

impl Packet {
    fn of_kind(kind: u8) -> Self {
        let mut fixed = [0; 240];
        fixed[..3].copy_from_slice(&[1, 1, 6]);
        fixed[4..8].copy_from_slice(&[1, 2, 3, 4]);
        fixed[28..34].copy_from_slice(&MAC);
        fixed[236..].copy_from_slice(&[99, 130, 83, 99]);
        Self { fixed, options: vec![53, 1, kind] }
    }

    pub(in crate::edge::dhcp) fn discover() -> Self {
        Self::of_kind(1)
    }

    pub(in crate::edge::dhcp) fn request() -> Self {
        Self::of_kind(3)
    }

    pub(in crate::edge::dhcp) fn decline() -> Self {
        Self::of_kind(4)
    }

    pub(in crate::edge::dhcp) fn release() -> Self {
        Self::of_kind(7)
    }

    pub(in crate::edge::dhcp) fn inform() -> Self {
        Self::of_kind(8)
    }

    pub(in crate::edge::dhcp) fn option(mut self, code: u8, octets: &[u8]) -> Self {
        self.options.extend([code, u8::try_from(octets.len()).unwrap()]);
        self.options.extend(octets);
        self
    }

    pub(in crate::edge::dhcp) fn address(self, code: u8, address: Ipv4Addr) -> Self {
        self.option(code, &address.octets())
    }

    pub(in crate::edge::dhcp) fn mac(mut self, last: u8) -> Self {
        self.fixed[33] = last;
        self
    }

    pub(in crate::edge::dhcp) fn xid(mut self, xid: u32) -> Self {
        self.fixed[4..8].copy_from_slice(&xid.to_be_bytes());
        self
    }

    pub(in crate::edge::dhcp) fn broadcast(mut self) -> Self {
        self.fixed[10] = 0x80;
        self
    }

    pub(in crate::edge::dhcp) fn ciaddr(mut self, address: Ipv4Addr) -> Self {
        self.fixed[12..16].copy_from_slice(&address.octets());
        self
    }

    pub(in crate::edge::dhcp) fn relayed(mut self, giaddr: Ipv4Addr) -> Self {
        self.fixed[24..28].copy_from_slice(&giaddr.octets());
        self
    }

    /// Without an Ethernet address, as over InfiniBand (RFC 4390).
    pub(in crate::edge::dhcp) fn without_hardware(mut self) -> Self {
        self.fixed[1..3].copy_from_slice(&[32, 0]);
        self.fixed[28..34].fill(0);
        self
    }

    pub(in crate::edge::dhcp) fn build(&self) -> Vec<u8> {
        [self.fixed.as_slice(), &self.options, &[255]].concat()
    }
}

/// An answer, read.
#[derive(Clone, Debug)]
pub(in crate::edge::dhcp) struct Answer {
    octets: Vec<u8>,
    options: Vec<(u8, Vec<u8>)>,
}

impl Answer {
    pub(in crate::edge::dhcp) fn octets(&self) -> &[u8] {
        &self.octets
    }

    pub(in crate::edge::dhcp) fn parse(octets: &[u8]) -> Self {
        assert!(octets.len() >= 300, "shorter than BOOTP");
        assert_eq!((octets[0], &octets[236..240]), (2, [99, 130, 83, 99].as_slice()));
        let mut options: Vec<(u8, Vec<u8>)> = Vec::new();
        let mut rest = &octets[240..];
        while rest[0] != 255 {
            let (code, length) = (rest[0], usize::from(rest[1]));
            let value = &rest[2..2 + length];
            match options.last_mut() {
                Some((last, joined)) if *last == code => joined.extend(value),
                _ => options.push((code, value.to_vec())),
            }
            rest = &rest[2 + length..];
        }
        assert!(rest[1..].iter().all(|octet| *octet == 0), "padding");
        assert_eq!(options, as_dhcproto_reads_it(octets), "a decoder that nobody here wrote reads something else");
        let overload = options.iter().find(|(code, _)| *code == 52).map_or(0, |(_, value)| value[0]);
        for (bit, field) in [(1, &octets[108..236]), (2, &octets[44..108])] {
            let mut rest = if overload & bit == 0 { &[255][..] } else { field };
            while rest[0] != 255 {
                let (value, after) = rest[2..].split_at(usize::from(rest[1]));
                options.push((rest[0], value.to_vec()));
                rest = after;
            }
        }
        assert_eq!(options[0].0, 53, "the message type stands first");
        Self { octets: octets.to_vec(), options }
    }

    pub(in crate::edge::dhcp) fn option(&self, code: u8) -> Option<Vec<u8>> {
        self.options.iter().find(|(found, _)| *found == code).map(|(_, value)| value.clone())
    }

    pub(in crate::edge::dhcp) fn text(&self, code: u8) -> Option<String> {
        self.option(code).map(|value| String::from_utf8(value).unwrap())
    }

    pub(in crate::edge::dhcp) fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        self.option(code).unwrap_or_default().chunks(4).map(|octets| Ipv4Addr::from(<[u8; 4]>::try_from(octets).unwrap())).collect()
    }

    pub(in crate::edge::dhcp) fn seconds(&self, code: u8) -> Option<u32> {
        self.option(code).map(|value| u32::from_be_bytes(value.try_into().unwrap()))
    }

    pub(in crate::edge::dhcp) fn codes(&self) -> Vec<u8> {
        self.options.iter().map(|(code, _)| *code).collect()
    }

    pub(in crate::edge::dhcp) fn kind(&self) -> &'static str {
        match self.options[0].1[..] {
            [2] => "OFFER",
            [5] => "ACK",
            [6] => "NAK",
            _ => "something that no server sends",
        }
    }

    fn field_address(&self, place: usize) -> Ipv4Addr {
        Ipv4Addr::from(<[u8; 4]>::try_from(&self.octets[place..place + 4]).unwrap())
    }

    pub(in crate::edge::dhcp) fn xid(&self) -> &[u8] {
        &self.octets[4..8]
    }

    pub(in crate::edge::dhcp) fn broadcast_flag(&self) -> bool {
        self.octets[10] & 0x80 != 0
    }

    pub(in crate::edge::dhcp) fn ciaddr(&self) -> Ipv4Addr {
        self.field_address(12)
    }

    pub(in crate::edge::dhcp) fn yiaddr(&self) -> Ipv4Addr {
        self.field_address(16)
    }

    pub(in crate::edge::dhcp) fn siaddr(&self) -> Ipv4Addr {
        self.field_address(20)
    }

    pub(in crate::edge::dhcp) fn giaddr(&self) -> Ipv4Addr {
        self.field_address(24)
    }

    pub(in crate::edge::dhcp) fn chaddr(&self) -> &[u8] {
        &self.octets[28..44]
    }

    pub(in crate::edge::dhcp) fn sname(&self) -> String {
        field_text(&self.octets[44..108])
    }

    pub(in crate::edge::dhcp) fn file(&self) -> String {
        field_text(&self.octets[108..236])
    }
}

/// The options of the options field, by dhcproto. Its owned form would judge values too, and give up where relays and clients had
/// theirs echoed that it can't decode.
fn as_dhcproto_reads_it(octets: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut options: Vec<(u8, Vec<u8>)> = Vec::new();
    for found in DhcpOptionIterator::new(&octets[240..]) {
        let code = u8::from(found.code());
        match options.last_mut() {
            Some((last, joined)) if *last == code => joined.extend(found.data()),
            _ => options.push((code, found.data().to_vec())),
        }
    }
    options
}

fn field_text(field: &[u8]) -> String {
    let end = field.iter().position(|octet| *octet == 0).expect("a NUL ends the field");
    String::from_utf8(field[..end].to_vec()).unwrap()
}
