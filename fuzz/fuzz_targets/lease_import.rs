//! Lease files of Kea, ISC dhcpd, dnsmasq and our own exports: refused with their line, or leases that say the same again.
//!
//! Input: an octet that chooses the format, and the file.
#![no_main]

use std::collections::BTreeSet;

use fairlead::clock::Timestamp;
use fairlead::edge::lease::migration::{Format, read};
use fairlead::edge::lease::{LeaseEntry, LeaseState};
use libfuzzer_sys::fuzz_target;

const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

fuzz_target!(|input: &[u8]| {
    let Some((choice, contents)) = input.split_first() else { return };
    let formats = [Format::KeaCsv, Format::Isc, Format::Dnsmasq, Format::Json, Format::Csv];
    let lines = contents.iter().filter(|octet| **octet == b'\n').count() + 1;
    match read(formats[usize::from(*choice) % formats.len()], contents, NOW) {
        Ok(found) => {
            let mut addresses = BTreeSet::new();
            for lease in found.leases {
                let record = lease.value;
                assert!(lease.line <= lines, "line {} of {lines}", lease.line);
                assert!(addresses.insert(record.address), "{} twice", record.address);
                assert!(record.expires_at > NOW && record.state != LeaseState::Released);
                let again = LeaseEntry::of(&record, NOW).record().expect("what we write we read");
                // An entry counts in seconds.
                assert_eq!((again.address, again.client, again.hardware), (record.address, record.client, record.hardware));
            }
        }
        Err(unreadable) => assert!((1..=lines + 1).contains(&unreadable.line), "{unreadable} of {lines} lines"),
    }
});
