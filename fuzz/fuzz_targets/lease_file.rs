//! A lease file of any content: it is read or refused, never half of it, and what is committed behind it is there again.
//!
//! Input: an octet that says which of the files it is, and the file; or, with bit 2 set, the bodies of its frames, each behind
//! two octets of length. Marks and checksums are then put in, which no fuzzer guesses.
#![no_main]

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::{env, fs, process};

use fairlead::clock::Timestamp;
use fairlead::edge::lease::{ClientId, HardwareAddress, Journal, LeaseRecord, LeaseState};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() { memory } else { env::temp_dir() };
    parent.join(format!("fairlead-fuzz-{}", process::id()))
});
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));

fn sorted(mut records: Vec<LeaseRecord>) -> Vec<LeaseRecord> {
    records.sort_by_key(|record| record.address);
    records
}

fn framed(mut bodies: &[u8]) -> Vec<u8> {
    let mut file = b"fairlead lease 1".to_vec();
    while let Some((length, rest)) = bodies.split_first_chunk::<2>() {
        let (body, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        let length = u32::try_from(body.len()).expect("at most 65535").to_be_bytes();
        let checksum = crc32fast::hash(&[&length, body].concat());
        file.extend([b"\xf1LSE".as_slice(), &length, &checksum.to_be_bytes(), body].concat());
        bodies = rest;
    }
    file
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, content)) = input.split_first() else { return };
    let content = &if choice & 4 == 0 { content.to_vec() } else { framed(content) };
    let name = ["leases.journal", "leases.snapshot", "leases.journal.old", "leases.journal"][usize::from(choice % 4)];
    drop(fs::remove_dir_all(&*FOLDER));
    fs::create_dir(&*FOLDER).expect("the folder can be made");
    let path = FOLDER.join(name);
    fs::write(&path, content).expect("the file can be written");
    let Ok((journal, found)) = Journal::open(&FOLDER) else {
        assert_eq!(fs::read(&path).expect("the file is there"), *content, "a file that was refused was changed");
        return;
    };
    let record = LeaseRecord {
        address: Ipv4Addr::new(192, 0, 2, 100),
        client: ClientId::from_option(b"\x01fuzz").expect("an identifier"),
        hardware: HardwareAddress::new(1, &[2, 0, 0, 0, 0, 1]).expect("a hardware address"),
        state: LeaseState::Bound,
        starts_at: Timestamp::from_secs(1_800_000_000),
        expires_at: Timestamp::from_secs(1_800_003_600),
        host_name: Some("node-1".into()),
    };
    RUNTIME.block_on(journal.commit(record.clone())).expect("the disk takes a record");
    drop(journal);
    let mut expected: Vec<LeaseRecord> = found.into_iter().filter(|found| found.address != record.address).collect();
    expected.push(record);
    let (_, again) = Journal::open(&FOLDER).expect("what was written is read");
    assert_eq!(sorted(again), sorted(expected));
});
