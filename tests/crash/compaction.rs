//! The server is killed while it makes a new snapshot of a journal that has become long.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fairlead::clock::{self, Timestamp};
use fairlead::edge::lease::{ClientId, HardwareAddress, Journal, LeaseRecord, LeaseState, RecordBatch};

use crate::PATIENCE;
use crate::site::Site;

/// A journal of more than this is compacted (docs/leases.md).
const COMPACTED_FROM: u64 = 32 << 20;
/// What the load writes within seconds.
const LEFT_FOR_THE_LOAD: u64 = 16 << 10;
/// Addresses outside of the pools whose leases fill the journal, and the snapshot as well.
const FILLERS: u32 = 60_000;
const IN_A_BATCH: u32 = 500;
/// So many kills must come while there are two journals, of so many at most.
const KILLS: u32 = 5;
const MOST_KILLS: u32 = 40;

/// Writes renewals of leases that nobody has, until the load's next few make the journal long enough.
fn fill(site: &Site) -> Vec<LeaseRecord> {
    let (folder, mut begin) = (site.state.join("leases"), 0);
    let length = || fs::metadata(folder.join("leases.journal")).map_or(0, |found| found.len());
    let now = clock::now();
    let filler = |number: u32| {
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 17, 0, 0)) + number % FILLERS);
        let hardware = HardwareAddress::new(1, &[&[2, 0xfd], address.octets().as_slice()].concat()).unwrap();
        let client = ClientId::from_hardware(&hardware).unwrap();
        // The last one written counts.
        let expires_at = Timestamp(now.0 + 86_400_000 + u64::from(number));
        LeaseRecord { address, client, hardware, state: LeaseState::Bound, starts_at: now, expires_at, host_name: None }
    };
    let write = |begin: u32, batches: u32| {
        let (journal, _) = Journal::open(&folder).unwrap();
        let (done, written) = mpsc::channel();
        for batch in 0..batches {
            let mut records = RecordBatch::new();
            let first = begin + batch * IN_A_BATCH;
            (first..first + IN_A_BATCH).for_each(|number| records.push(&filler(number)));
            let done = done.clone();
            journal.submit(records, move |outcome| done.send(outcome).unwrap());
            written.recv().unwrap().unwrap();
        }
    };
    // The length is that of what was written once the journal is closed.
    write(begin, 1);
    let before = length();
    write(begin, 1);
    let batch = length() - before;
    let batches = u32::try_from((COMPACTED_FROM - LEFT_FOR_THE_LOAD - length()) / batch).unwrap();
    write(begin, batches);
    begin += batches * IN_A_BATCH;
    assert!((COMPACTED_FROM - LEFT_FOR_THE_LOAD - batch..COMPACTED_FROM).contains(&length()), "{}", length());
    (begin - FILLERS..begin).map(filler).collect()
}

#[test]
fn kill_during_compaction_loses_no_lease() {
    let mut site = Site::build();
    let old_journal = site.state.join("leases/leases.journal.old");
    let load = site.load();
    let (mut within, mut kills, mut fillers) = (0, 0, Vec::new());
    while within < KILLS {
        assert!(kills < MOST_KILLS, "{within} of {kills} kills came while there were two journals");
        if !old_journal.exists() {
            fillers = fill(&site);
        }
        let mut edge = site.start("edge.log");
        let started = Instant::now();
        while !old_journal.exists() {
            assert_eq!(edge.has_ended(), None);
            assert!(started.elapsed() < PATIENCE, "the journal is not compacted");
            sleep(Duration::from_millis(1));
        }
        // From the first moment to the last ones: what a start takes to read the old journal, and the new snapshot's time.
        sleep(Duration::from_millis(clock::now().0 * 7 % 1500));
        edge.kill();
        kills += 1;
        within += u32::from(old_journal.exists());
        holds(&site, &fillers);
    }
    // What was broken off again and again is done at last.
    let before = site.witness.acknowledged();
    let mut edge = site.start("edge.log");
    let started = Instant::now();
    while old_journal.exists() || site.witness.acknowledged() == before {
        assert_eq!(edge.has_ended(), None);
        assert!(started.elapsed() < PATIENCE, "the journal is never compacted");
        sleep(Duration::from_millis(5));
    }
    edge.kill();
    holds(&site, &fillers);
    drop(load);
    let acknowledged = site.witness.acknowledged();
    println!("crash: kills={kills} within_compaction={within} acknowledged={acknowledged} lost=0");
    assert!(acknowledged > 100, "hardly any load: {acknowledged}");
    site.discard();
}

fn holds(site: &Site, fillers: &[LeaseRecord]) {
    let leases = site.leases();
    site.witness.hold_against(&leases);
    let kept = leases.iter().filter(|lease| lease.address.octets()[1] == 17);
    let mut kept: Vec<&LeaseRecord> = kept.collect();
    kept.sort_unstable_by_key(|lease| lease.address);
    let mut written: Vec<&LeaseRecord> = fillers.iter().collect();
    written.sort_unstable_by_key(|lease| lease.address);
    assert!(kept == written, "{} leases of {} are what was written", kept.len(), written.len());
}
