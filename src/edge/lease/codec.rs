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

use super::{ClientId, HardwareAddress, LeaseRecord, LeaseState, host_name};
use crate::clock::Timestamp;

/// The header of every lease file; the last digit is the version of the format.
pub(super) const FILE_HEADER: &[u8; 16] = b"fairlead lease 1";

const FRAME_MARK: &[u8; 4] = b"\xf1LSE";
const FRAME_HEADER_LENGTH: usize = 12;

/// No frame is longer: a length beyond it is damage, not a reason to look for gigabytes.
pub(super) const MAX_FRAME_LENGTH: usize = 8 << 20;

/// The longest a record can be: fixed fields, 16 octets of hardware address, 255 of client identifier, 255 of host name.
pub(super) const MAX_RECORD_LENGTH: usize = 2 + 1 + 4 + 8 + 8 + 2 + 16 + 1 + 255 + 1 + 255;

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

/// The octets of the records of the frame at the beginning of `bytes`, or `None` when there is no whole one.
pub(super) fn read_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let (header, rest) = bytes.split_first_chunk::<FRAME_HEADER_LENGTH>()?;
    let &[a, b, c, d, l0, l1, l2, l3, c0, c1, c2, c3] = header;
    if [a, b, c, d] != *FRAME_MARK {
        return None;
    }
    let length_octets = [l0, l1, l2, l3];
    let length = usize::try_from(u32::from_be_bytes(length_octets)).ok().filter(|length| *length <= MAX_FRAME_LENGTH)?;
    let body = rest.get(..length)?;
    (checksum(length_octets, body) == u32::from_be_bytes([c0, c1, c2, c3])).then_some(Frame { body })
}

/// A frame whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    body: &'a [u8],
}

impl Frame<'_> {
    /// How many octets it takes in the file.
    pub(super) const fn length(&self) -> usize {
        FRAME_HEADER_LENGTH.saturating_add(self.body.len())
    }

    /// Its records in their order. `None` stands for one that this version does not understand, and is the last then.
    pub(super) fn records(&self) -> impl Iterator<Item = Option<LeaseRecord>> {
        let mut rest = Some(self.body).filter(|body| !body.is_empty());
        std::iter::from_fn(move || {
            let body = rest.take()?;
            let split =
                body.split_first_chunk::<2>().and_then(|(length, rest)| rest.split_at_checked(usize::from(u16::from_be_bytes(*length))));
            let (record, behind) = split.unwrap_or_default();
            let record = read_record(record);
            rest = Some(behind).filter(|behind| record.is_some() && !behind.is_empty());
            Some(record)
        })
    }
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
    // The first two lengths are held by their types; nobody makes a longer name than 255 octets out of an option.
    let name = record.host_name.as_deref().map(str::as_bytes).filter(|name| name.len() <= 255);
    let name_length = name.map_or(0, |name| name.len().saturating_add(1));
    let length =
        record.hardware.octets().len().saturating_add(record.client.octets().len()).saturating_add(fixed).saturating_add(name_length);
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
    // A later field makes an absent name an empty one.
    if let Some(name) = name {
        write_short(out, name);
    }
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
    let (client, bytes) = read_short(bytes)?;
    // The first version wrote no name. What follows it was added by a later version and is not ours to judge.
    let (name, _later) = if bytes.is_empty() { (bytes, bytes) } else { read_short(bytes)? };
    let hardware = HardwareAddress::new(kind, hardware)?;
    Some(LeaseRecord {
        address: Ipv4Addr::from(*address),
        client: ClientId::from_option(client)?,
        hardware,
        state,
        starts_at: Timestamp(u64::from_be_bytes(*starts_at)),
        expires_at: Timestamp(u64::from_be_bytes(*expires_at)),
        host_name: host_name(name),
    })
}

fn read_short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(host_name: Option<&str>) -> LeaseRecord {
        LeaseRecord {
            address: Ipv4Addr::new(192, 0, 2, 1),
            client: ClientId::from_option(&[1, 2, 0, 0, 0, 0, 1]).unwrap(),
            hardware: HardwareAddress::new(1, &[2, 0, 0, 0, 0, 1]).unwrap(),
            state: LeaseState::Bound,
            starts_at: Timestamp::from_secs(1),
            expires_at: Timestamp::from_secs(2),
            host_name: host_name.map(Into::into),
        }
    }

    fn read(bytes: &[u8]) -> Vec<Option<LeaseRecord>> {
        let mut frame = Vec::new();
        write_encoded_frame(&mut frame, &[bytes]);
        read_frame(&frame).unwrap().records().collect()
    }

    #[test]
    fn records_of_the_first_version_and_of_later_ones_are_read() {
        let mut octets = Vec::new();
        write_record(&mut octets, &record(None));
        // The first version's record ends with the client identifier.
        assert_eq!(octets.len(), 2 + 1 + 4 + 8 + 8 + 2 + 6 + 1 + 7);
        write_record(&mut octets, &record(Some("node-1")));
        assert_eq!(read(&octets), [Some(record(None)), Some(record(Some("node-1")))]);
        let mut later = octets[..39].to_vec();
        later.extend_from_slice(&[0, 9, 9, 9]);
        later[1] = 41;
        assert_eq!(read(&later), [Some(record(None))]);
    }

    #[test]
    fn what_is_no_record_is_told_and_ends_the_frame() {
        let mut octets = Vec::new();
        write_record(&mut octets, &record(Some("node-1")));
        let good = octets.len();
        write_record(&mut octets, &record(Some("node-2")));
        octets[good + 2] = 77;
        assert_eq!(read(&octets), [Some(record(Some("node-1"))), None]);
        for length in 1..good {
            let read = read(&octets[..length]);
            assert_eq!(read, [None], "{length}");
        }
    }
}
