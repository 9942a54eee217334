//! The octets of the lease files.
//!
//! A file is an 16-octet header and then frames. A frame is what was written and synced at once:
//!
//! | octets | field |
//! |---|---|
//! | 4 | `0xf1 'L' 'S' 'E'`, by which a frame is found again behind damage |
//! | 4 | length of the records, big-endian |
//! | 4 | CRC-32 of the length's octets and the records, big-endian |
//! | length | records, one or more |
//!
//! A record begins with its own length (two octets, big-endian), so that later versions can add fields at its end.

use std::net::Ipv4Addr;

use super::{ClientId, HardwareAddress, LeaseRecord, LeaseState};
use crate::clock::Timestamp;

/// The header of every lease file; the last digit is the version of the format.
pub(super) const FILE_HEADER: &[u8; 16] = b"fairlead lease 1";

const FRAME_MARK: &[u8; 4] = b"\xf1LSE";
const FRAME_HEADER_LENGTH: usize = 12;

/// No frame is longer: a length beyond it is damage, not a reason to look for gigabytes.
pub(super) const MAX_FRAME_LENGTH: usize = 8 << 20;

/// The longest a record can be: fixed fields, 16 octets of hardware address, 255 of client identifier.
pub(super) const MAX_RECORD_LENGTH: usize = 2 + 1 + 4 + 8 + 8 + 2 + 16 + 1 + 255;

/// Appends a frame with these records to `out`. The caller holds them to [`MAX_FRAME_LENGTH`].
pub(super) fn write_frame<'a>(out: &mut Vec<u8>, records: impl IntoIterator<Item = &'a LeaseRecord>) {
    let mut body = Vec::new();
    for record in records {
        write_record(&mut body, record);
    }
    write_encoded_frame(out, &[&body]);
}

/// Appends a frame whose records are the `parts`, encoded already, one after the other.
pub(super) fn write_encoded_frame(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).fold(0, usize::saturating_add);
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    for part in parts {
        hasher.update(part);
    }
    out.extend_from_slice(FRAME_MARK);
    out.extend_from_slice(&length);
    out.extend_from_slice(&hasher.finalize().to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// The records of the frame at the beginning of `bytes` and the frame's length, or `None` when there is no whole one.
pub(super) fn read_frame(bytes: &[u8]) -> Option<(Vec<LeaseRecord>, usize)> {
    let (header, rest) = bytes.split_first_chunk::<FRAME_HEADER_LENGTH>()?;
    let &[a, b, c, d, l0, l1, l2, l3, c0, c1, c2, c3] = header;
    if [a, b, c, d] != *FRAME_MARK {
        return None;
    }
    let length_octets = [l0, l1, l2, l3];
    let length = usize::try_from(u32::from_be_bytes(length_octets)).ok().filter(|length| *length <= MAX_FRAME_LENGTH)?;
    let mut body = rest.get(..length)?;
    if checksum(length_octets, body) != u32::from_be_bytes([c0, c1, c2, c3]) {
        return None;
    }
    let mut records = Vec::new();
    while !body.is_empty() {
        let (length, rest) = body.split_first_chunk::<2>()?;
        let (record, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        records.push(read_record(record)?);
        body = rest;
    }
    Some((records, FRAME_HEADER_LENGTH.saturating_add(length)))
}

/// Whether a whole frame begins anywhere in `bytes`.
pub(super) fn holds_a_frame(bytes: &[u8]) -> bool {
    bytes
        .windows(FRAME_MARK.len())
        .enumerate()
        .filter(|(_, window)| window == FRAME_MARK)
        .any(|(place, _)| bytes.get(place..).is_some_and(|rest| read_frame(rest).is_some()))
}

fn checksum(length: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize()
}

/// Appends a record, its length first.
pub(super) fn write_record(out: &mut Vec<u8>, record: &LeaseRecord) {
    let fixed = 1 + 4 + 8 + 8 + 1 + 1 + 1;
    // Both lengths are held by their types: a record has at most MAX_RECORD_LENGTH octets.
    let length = record.hardware.octets().len().saturating_add(record.client.octets().len()).saturating_add(fixed);
    out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    out.push(match record.state {
        LeaseState::Bound => 1,
        LeaseState::Released => 2,
        LeaseState::Declined => 3,
    });
    out.extend_from_slice(&record.address.octets());
    out.extend_from_slice(&record.starts_at.0.to_be_bytes());
    out.extend_from_slice(&record.expires_at.0.to_be_bytes());
    out.push(record.hardware.kind());
    write_short(out, record.hardware.octets());
    write_short(out, record.client.octets());
}

fn write_short(out: &mut Vec<u8>, octets: &[u8]) {
    out.push(u8::try_from(octets.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(octets);
}

fn read_record(bytes: &[u8]) -> Option<LeaseRecord> {
    let (&state, bytes) = bytes.split_first()?;
    let state = match state {
        1 => LeaseState::Bound,
        2 => LeaseState::Released,
        3 => LeaseState::Declined,
        _ => return None,
    };
    let (address, bytes) = bytes.split_first_chunk::<4>()?;
    let (starts_at, bytes) = bytes.split_first_chunk::<8>()?;
    let (expires_at, bytes) = bytes.split_first_chunk::<8>()?;
    let (&kind, bytes) = bytes.split_first()?;
    let (hardware, bytes) = read_short(bytes)?;
    // What follows the identifier was added by a later version and is not ours to judge.
    let (client, _later) = read_short(bytes)?;
    let hardware = HardwareAddress::new(kind, hardware)?;
    Some(LeaseRecord {
        address: Ipv4Addr::from(*address),
        client: ClientId::from_option(client)?,
        hardware,
        state,
        starts_at: Timestamp(u64::from_be_bytes(*starts_at)),
        expires_at: Timestamp(u64::from_be_bytes(*expires_at)),
    })
}

fn read_short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}
