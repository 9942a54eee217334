//! What leases cost: `cargo bench --bench leases` prints, for 1,000 to 1,000,000 of them, how long reading them from the disk takes,
//! how much memory they need, and what an exchange costs in the table.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made fails by ending")]
#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::collections::HashSet;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fairlead::clock::Timestamp;
use fairlead::edge::lease::{AddressRange, ClientId, HardwareAddress, Journal, LeaseRecord, LeaseState, LeaseTable, RecordBatch};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const FIRST: u32 = 0x0a00_0000;
const EXCHANGES: u32 = 200_000;

fn main() {
    for leases in [1_000, 100_000, 1_000_000] {
        measure(leases);
    }
}

fn measure(leases: u32) {
    let folder = std::env::temp_dir().join(format!("fairlead-leases-{}", std::process::id()));
    drop(fs::remove_dir_all(&folder));
    write(&folder, leases);
    let before = resident();
    let begun = Instant::now();
    let (journal, records) = Journal::open(&folder).unwrap();
    let read = begun.elapsed();
    // A sixteenth of the pool is free, as it is on a site that is nearly full.
    let pool = AddressRange::new(FIRST.into(), (FIRST + leases + leases / 16).into()).unwrap();
    let mut table = LeaseTable::new(&[pool], &[], HashSet::new());
    records.into_iter().for_each(|record| table.restore(record));
    let loaded = begun.elapsed();
    let memory = resident().saturating_sub(before);
    let renewal = per_exchange(leases, |number, now| {
        let record = record(number, now);
        assert!(table.is_free_for(now, &record.client, record.address));
        table.put(record);
    });
    let four_way = per_exchange(leases, |number, now| {
        let client = client(number);
        let address = table.offer(now, &client, None, None).address().unwrap();
        table.put(LeaseRecord { address, ..record(number, now) });
    });
    println!(
        "{leases} leases: read in {read:.1?}, in the table after {loaded:.1?}; {} octets each; renewal {renewal:.0?}, four-way exchange {four_way:.0?}",
        memory / u64::from(leases)
    );
    drop(journal);
    drop(fs::remove_dir_all(&folder));
}

/// The mean over clients in no order.
fn per_exchange(leases: u32, mut exchange: impl FnMut(u32, Timestamp)) -> Duration {
    let begun = Instant::now();
    let mut number = 12_345_u32;
    for round in 0..EXCHANGES {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        exchange((number >> 8) % leases, NOW.after(Duration::from_millis(round.into())));
    }
    begun.elapsed() / EXCHANGES
}

fn write(folder: &std::path::Path, leases: u32) {
    let (journal, _) = Journal::open(folder).unwrap();
    let numbers: Vec<u32> = (0..leases).collect();
    for part in numbers.chunks(8000) {
        let mut batch = RecordBatch::new();
        part.iter().for_each(|number| batch.push(&record(*number, NOW)));
        let (done, outcome) = mpsc::channel();
        journal.submit(batch, move |outcome| done.send(outcome).unwrap());
        outcome.recv().unwrap().unwrap();
    }
}

fn client(number: u32) -> ClientId {
    ClientId::from_hardware(&hardware(number)).unwrap()
}

fn hardware(number: u32) -> HardwareAddress {
    let [a, b, c, d] = number.to_be_bytes();
    HardwareAddress::new(1, &[0x52, 0x54, a, b, c, d]).unwrap()
}

fn record(number: u32, now: Timestamp) -> LeaseRecord {
    LeaseRecord {
        address: Ipv4Addr::from(FIRST + number),
        client: client(number),
        hardware: hardware(number),
        state: LeaseState::Bound,
        starts_at: now,
        expires_at: now.after(Duration::from_secs(3600)),
        host_name: None,
    }
}

/// This process's resident memory, in octets.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
