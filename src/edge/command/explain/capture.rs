//! Requests out of a capture file: classic pcap and pcapng, Ethernet, Linux "any" and raw IP.
//!
//! The two formats are a page each, and the crates for them read more than is needed or have had no release for years; so this is
//! our own reader, held against dumpcap's and tcpdump's files by tests.

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use crate::edge::dhcp::{PXE_PORT, SERVER_PORT};

/// A request in a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Captured {
    /// Its place among the capture's packets, from 1, as Wireshark counts.
    pub(super) number: usize,
    /// Microseconds since 1970.
    pub(super) at: u64,
    pub(super) source: SocketAddrV4,
    pub(super) destination: Ipv4Addr,
    pub(super) port: u16,
    pub(super) payload: Vec<u8>,
}

/// Why a file is no capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CaptureError {
    #[error("it is neither pcap nor pcapng")]
    NotACapture,
    #[error("its packets are of link type {0}; Ethernet, Linux cooked and raw IP can be read")]
    LinkType(u32),
    #[error("it is damaged behind packet {0}")]
    Damaged(usize),
}

const ETHERNET: u32 = 1;
const RAW_IP: u32 = 101;
const LINUX_COOKED: u32 = 113;
const IPV4: u32 = 228;
const LINUX_COOKED_2: u32 = 276;
const ETHERTYPE_IPV4: [u8; 2] = [8, 0];
const BOOTREQUEST: u8 = 1;

/// All DHCP requests in a capture file. A last packet that is cut off is left out.
pub(super) fn read(file: &[u8]) -> Result<Vec<Captured>, CaptureError> {
    match file.first_chunk() {
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => read_pcapng(file),
        Some(magic) => {
            let (order, nanoseconds) = match magic {
                [0xd4, 0xc3, 0xb2, 0xa1] => (Order::Little, false),
                [0x4d, 0x3c, 0xb2, 0xa1] => (Order::Little, true),
                [0xa1, 0xb2, 0xc3, 0xd4] => (Order::Big, false),
                [0xa1, 0xb2, 0x3c, 0x4d] => (Order::Big, true),
                _ => return Err(CaptureError::NotACapture),
            };
            read_pcap(file, order, nanoseconds)
        }
        None => Err(CaptureError::NotACapture),
    }
}

#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn long(self, bytes: &[u8], at: usize) -> Option<u32> {
        let octets = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(octets),
            Self::Big => u32::from_be_bytes(octets),
        })
    }

    fn short(self, bytes: &[u8], at: usize) -> Option<u16> {
        let octets = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(octets),
            Self::Big => u16::from_be_bytes(octets),
        })
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn read_pcap(file: &[u8], order: Order, nanoseconds: bool) -> Result<Vec<Captured>, CaptureError> {
    // The upper bits of the word say whether frames end with a checksum.
    let link = order.long(file, 20).ok_or(CaptureError::NotACapture)? & 0xffff;
    let mut found = Vec::new();
    let mut number = 0_usize;
    let mut rest = file.get(24..).unwrap_or_default();
    while let (Some(seconds), Some(fraction), Some(length)) = (order.long(rest, 0), order.long(rest, 4), order.long(rest, 8)) {
        let Some((frame, after)) = rest.get(16..).and_then(|rest| rest.split_at_checked(size(length))) else { break };
        number = number.saturating_add(1);
        let micros = if nanoseconds { fraction / 1000 } else { fraction };
        let at = u64::from(seconds).saturating_mul(1_000_000).saturating_add(u64::from(micros));
        found.extend(request(link, frame, number, at)?);
        rest = after;
    }
    Ok(found)
}

/// An interface of a pcapng section: its link type, and how many of its ticks are a second.
struct Interface {
    link: u32,
    ticks: u64,
}

fn read_pcapng(file: &[u8]) -> Result<Vec<Captured>, CaptureError> {
    let mut order = Order::Little;
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut found = Vec::new();
    let mut number = 0_usize;
    let mut rest = file;
    while rest.len() >= 12 {
        if rest.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
            order = match rest.get(8..12) {
                Some([0x4d, 0x3c, 0x2b, 0x1a]) => Order::Little,
                Some([0x1a, 0x2b, 0x3c, 0x4d]) => Order::Big,
                _ => return Err(CaptureError::Damaged(number)),
            };
            interfaces.clear();
        }
        let (Some(kind), Some(length)) = (order.long(rest, 0), order.long(rest, 4)) else { break };
        if length < 12 || length % 4 != 0 {
            return Err(CaptureError::Damaged(number));
        }
        let Some((block, after)) = rest.split_at_checked(size(length)) else { break };
        let body = block.get(8..block.len().saturating_sub(4)).unwrap_or_default();
        match kind {
            1 => interfaces.push(interface(order, body).ok_or(CaptureError::Damaged(number))?),
            // Enhanced packet block.
            6 => {
                number = number.saturating_add(1);
                let packet = enhanced_packet(order, body, &interfaces).ok_or(CaptureError::Damaged(number))?;
                let (link, at, frame) = packet;
                found.extend(request(link, frame, number, at)?);
            }
            // Simple packet block: the first interface, without a time.
            3 => {
                number = number.saturating_add(1);
                let link = interfaces.first().ok_or(CaptureError::Damaged(number))?.link;
                let length = order.long(body, 0).map_or(0, size);
                let frame = body.get(4..).unwrap_or_default();
                found.extend(request(link, frame.get(..length).unwrap_or(frame), number, 0)?);
            }
            _ => {}
        }
        rest = after;
    }
    Ok(found)
}

fn enhanced_packet<'a>(order: Order, body: &'a [u8], interfaces: &[Interface]) -> Option<(u32, u64, &'a [u8])> {
    let interface = interfaces.get(size(order.long(body, 0)?))?;
    let ticks = u64::from(order.long(body, 4)?) << 32 | u64::from(order.long(body, 8)?);
    let micros = u128::from(ticks).saturating_mul(1_000_000).checked_div(u128::from(interface.ticks))?;
    let frame = body.get(20..)?.get(..size(order.long(body, 12)?))?;
    Some((interface.link, u64::try_from(micros).unwrap_or(u64::MAX), frame))
}

fn interface(order: Order, body: &[u8]) -> Option<Interface> {
    const IF_TSRESOL: u16 = 9;
    let mut interface = Interface { link: u32::from(order.short(body, 0)?), ticks: 1_000_000 };
    let mut options = body.get(8..).unwrap_or_default();
    while let (Some(code), Some(length)) = (order.short(options, 0), order.short(options, 2)) {
        let length = usize::from(length);
        if code == 0 {
            break;
        }
        if code == IF_TSRESOL
            && let Some(resolution) = options.get(4)
        {
            // A power of two when the highest bit is set, else of ten.
            let exponent = u32::from(resolution & 0x7f);
            let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
            interface.ticks = base.checked_pow(exponent)?;
        }
        options = options.get(length.next_multiple_of(4).saturating_add(4)..).unwrap_or_default();
    }
    Some(interface)
}

/// The DHCP request in a frame, when it has one.
fn request(link: u32, frame: &[u8], number: usize, at: u64) -> Result<Option<Captured>, CaptureError> {
    let packet = match link {
        ETHERNET => SlicedPacket::from_ethernet(frame).ok(),
        RAW_IP | IPV4 => SlicedPacket::from_ip(frame).ok(),
        LINUX_COOKED => cooked(frame, 14, 16),
        LINUX_COOKED_2 => cooked(frame, 0, 20),
        other => return Err(CaptureError::LinkType(other)),
    };
    let Some(SlicedPacket { net: Some(NetSlice::Ipv4(ip)), transport: Some(TransportSlice::Udp(udp)), .. }) = packet else {
        return Ok(None);
    };
    let (header, port) = (ip.header(), udp.destination_port());
    let payload = udp.payload();
    if !matches!(port, SERVER_PORT | PXE_PORT) || payload.first() != Some(&BOOTREQUEST) {
        return Ok(None);
    }
    let source = SocketAddrV4::new(header.source_addr(), udp.source_port());
    Ok(Some(Captured { number, at, source, destination: header.destination_addr(), port, payload: payload.to_vec() }))
}

fn cooked(frame: &[u8], protocol: usize, header: usize) -> Option<SlicedPacket<'_>> {
    let is_ip = frame.get(protocol..)?.starts_with(&ETHERTYPE_IPV4);
    if is_ip { SlicedPacket::from_ip(frame.get(header..)?).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn frame(port: u16, payload: &[u8]) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [0xff; 6]).ipv4([0; 4], [255; 4], 64).udp(68, port);
        let mut frame = Vec::new();
        builder.write(&mut frame, payload).unwrap();
        frame
    }

    fn pcap(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
        let mut file = [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0].to_vec();
        file.extend(link.to_le_bytes());
        for frame in frames {
            let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
            file.extend([1_700_000_000_u32.to_le_bytes(), 250_000_u32.to_le_bytes(), length, length].concat());
            file.extend(frame);
        }
        file
    }

    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let length = u32::try_from(body.len() + 12).unwrap().to_be_bytes();
        [&kind.to_be_bytes(), &length, body.as_slice(), &length].concat()
    }

    #[test]
    fn requests_of_a_classic_capture_are_found_among_other_packets() {
        let frames = [frame(53, &[1]), frame(67, &[1, 2, 3]), frame(67, &[2]), frame(4011, &[1, 9])];
        let found = read(&pcap(1, &frames)).unwrap();
        assert_eq!(
            found.iter().map(|one| (one.number, one.port, one.payload.as_slice())).collect::<Vec<_>>(),
            [(2, 67, [1, 2, 3].as_slice()), (4, 4011, [1, 9].as_slice()),]
        );
        assert_eq!(found[0].at, 1_700_000_000_250_000);
        assert_eq!(found[0].source, "0.0.0.0:68".parse().unwrap());
    }

    #[test]
    fn cooked_and_raw_captures_are_read() {
        let ip = frame(67, &[1])[14..].to_vec();
        let cooked = [&[0; 14], [8, 0].as_slice(), &ip].concat();
        let cooked_2 = [[8, 0].as_slice(), &[0; 18], &ip].concat();
        for (link, frame) in [(101, ip), (113, cooked), (276, cooked_2)] {
            assert_eq!(read(&pcap(link, &[frame])).unwrap().len(), 1, "{link}");
        }
        assert_eq!(read(&pcap(127, &[vec![0; 60]])), Err(CaptureError::LinkType(127)));
    }

    #[test]
    fn pcapng_is_read_in_its_own_byte_order_and_resolution() {
        let section = block(0x0a0d_0d0a, &[0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
        let interface = block(1, &[0, 1, 0, 0, 0, 4, 0, 0, 0, 9, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0]);
        let frame = frame(67, &[1, 2]);
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        let ticks = 1_700_000_000_250_000_000_u64.to_be_bytes();
        let packet = block(6, &[&[0; 4], ticks.as_slice(), &length, &length, &frame].concat());
        let file = [section.clone(), interface, block(5, &[0; 12]), packet].concat();
        let found = read(&file).unwrap();
        assert_eq!((found.len(), found[0].at, found[0].payload.as_slice()), (1, 1_700_000_000_250_000, [1, 2].as_slice()));
        for cut in 0..file.len() {
            // Never a panic, whatever is missing.
            drop(read(&file[..cut]));
        }
        assert_eq!(read(&[section, block(6, &[0; 20])].concat()), Err(CaptureError::Damaged(1)));
        assert_eq!(read(b"\x7fELF...."), Err(CaptureError::NotACapture));
    }
}
