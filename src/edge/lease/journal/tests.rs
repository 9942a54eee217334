use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use super::writer::{Medium, Tail};
use super::*;
use crate::clock::Timestamp;
use crate::edge::lease::codec::{FILE_HEADER, read_frame, write_frame};
use crate::edge::lease::{ClientId, HardwareAddress, LeaseState};

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("fairlead-journal-{}-{number}", std::process::id())))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn record(number: u32, expires_at: u64) -> LeaseRecord {
    let hardware = HardwareAddress::new(1, &[2, 0, 0, 0, 0, 1]).unwrap();
    LeaseRecord {
        address: Ipv4Addr::from(0x0a00_0000 + number),
        client: ClientId::from_option(&number.to_be_bytes()).unwrap(),
        hardware,
        state: LeaseState::Bound,
        starts_at: Timestamp::from_secs(1),
        expires_at: Timestamp::from_secs(expires_at),
        host_name: None,
    }
}

fn sorted(mut records: Vec<LeaseRecord>) -> Vec<LeaseRecord> {
    records.sort_by_key(|record| record.address);
    records
}

fn commit_all(folder: &Folder, records: &[LeaseRecord]) {
    let (journal, _) = Journal::open(&folder.0).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for record in records {
        runtime.block_on(journal.commit(record.clone())).unwrap();
    }
}

/// Submits a batch and waits; the error in words.
fn outcome_of(journal: &Journal, batch: RecordBatch) -> Result<(), String> {
    let (done, outcome) = mpsc::channel();
    journal.submit(batch, move |outcome| done.send(outcome.map_err(|error| error.to_string())).unwrap());
    outcome.recv().unwrap()
}

fn reopen(folder: &Folder) -> Vec<LeaseRecord> {
    sorted(Journal::open(&folder.0).unwrap().1)
}

#[test]
fn what_was_committed_is_there_again_and_the_newest_counts() {
    let folder = Folder::new();
    commit_all(&folder, &[record(1, 10), record(2, 20), record(1, 30)]);
    assert_eq!(reopen(&folder), [record(1, 30), record(2, 20)]);
}

#[test]
fn records_that_wait_together_share_a_frame() {
    let folder = Folder::new();
    let (journal, _) = Journal::open(&folder.0).unwrap();
    let (done, outcomes) = mpsc::channel();
    for number in 0..2000 {
        let done = done.clone();
        journal.submit(RecordBatch::of(&record(number, 5)), move |outcome| done.send((number, outcome.is_ok())).unwrap());
    }
    let heard: Vec<(u32, bool)> = outcomes.iter().take(2000).collect();
    assert!(heard.iter().zip(0..).all(|(heard, number)| *heard == (number, true)), "in order");
    drop(journal);
    let bytes = fs::read(folder.file(JOURNAL)).unwrap();
    let mut rest = bytes.strip_prefix(FILE_HEADER).unwrap();
    let mut frames = 0;
    while let Some(frame) = read_frame(rest) {
        rest = &rest[frame.length()..];
        frames += 1;
    }
    assert!(rest.is_empty());
    assert!(frames < 1000, "{frames} frames for 2000 records");
    assert_eq!(reopen(&folder).len(), 2000);
}

#[test]
fn what_finds_no_room_is_refused_at_once_and_the_rest_goes_on() {
    let folder = Folder::new();
    let (journal, _) = Journal::open(&folder.0).unwrap();
    let batch = |records: usize| {
        let mut batch = RecordBatch::new();
        (0..records).for_each(|number| batch.push(&record(u32::try_from(number).unwrap(), 5)));
        batch
    };
    // The writer is held in a callback, so that nothing is taken from the queue.
    let (held, writer_is_held) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    journal.submit(batch(1), move |_| {
        held.send(()).unwrap();
        released.recv().unwrap();
    });
    writer_is_held.recv().unwrap();
    let (done, outcomes) = mpsc::channel();
    let submit = |name: &'static str, records| {
        let done = done.clone();
        journal.submit(batch(records), move |outcome| done.send((name, outcome.is_ok(), thread::current().id())).unwrap());
    };
    submit("first", LONGEST_QUEUE - 10);
    submit("too many", 11);
    submit("fits", 10);
    submit("empty", 0);
    let (name, ok, thread) = outcomes.recv().unwrap();
    assert_eq!((name, ok, thread), ("too many", false, thread::current().id()));
    release.send(()).unwrap();
    for expected in ["first", "fits", "empty"] {
        let (name, ok, _) = outcomes.recv().unwrap();
        assert_eq!((name, ok), (expected, true));
    }
    assert!(outcome_of(&journal, batch(LONGEST_QUEUE + 1)).unwrap_err().contains("too slow"));
    drop(journal);
    assert_eq!(reopen(&folder).len(), LONGEST_QUEUE - 10);
}

#[test]
fn room_behind_the_last_frame_is_an_end_and_a_closed_journal_has_none() {
    let folder = Folder::new();
    let (journal, _) = Journal::open(&folder.0).unwrap();
    assert_eq!(outcome_of(&journal, RecordBatch::of(&record(1, 10))), Ok(()));
    let while_open = fs::read(folder.file(JOURNAL)).unwrap();
    drop(journal);
    let closed = fs::read(folder.file(JOURNAL)).unwrap();
    // As a crash leaves it.
    fs::write(folder.file(JOURNAL), [closed.as_slice(), &[0; 5000]].concat()).unwrap();
    assert_eq!(reopen(&folder), [record(1, 10)]);
    assert_eq!(fs::read(folder.file(JOURNAL)).unwrap(), closed);
    assert!(while_open.starts_with(&closed) && while_open[closed.len()..].iter().all(|octet| *octet == 0));
    // A frame behind zeros proves that they are not the end.
    let frame = &closed[FILE_HEADER.len()..];
    fs::write(folder.file(JOURNAL), [closed.as_slice(), &[0; 5000], frame].concat()).unwrap();
    assert!(matches!(Journal::open(&folder.0), Err(JournalError::Damaged { .. })));
}

#[test]
fn a_write_torn_at_any_octet_loses_nothing_before_it() {
    let folder = Folder::new();
    commit_all(&folder, &[record(1, 10), record(2, 20)]);
    let before = fs::read(folder.file(JOURNAL)).unwrap();
    commit_all(&folder, &[record(3, 30)]);
    let whole = fs::read(folder.file(JOURNAL)).unwrap();
    for length in before.len()..whole.len() {
        for fill in [0, 7] {
            // Cut off, or prolonged with zeros as a file system does whose data came after its length.
            let mut torn = whole[..length].to_vec();
            torn.resize(length + fill, 0);
            fs::write(folder.file(JOURNAL), &torn).unwrap();
            assert_eq!(reopen(&folder), [record(1, 10), record(2, 20)], "cut at {length}");
            assert_eq!(fs::read(folder.file(JOURNAL)).unwrap(), before, "cut at {length}");
        }
    }
    commit_all(&folder, &[record(3, 30)]);
    assert_eq!(reopen(&folder).len(), 3);
}

#[test]
fn damage_in_the_middle_is_refused_with_the_files_name_and_nothing_is_changed() {
    let folder = Folder::new();
    commit_all(&folder, &[record(1, 10), record(2, 20), record(3, 30)]);
    let whole = fs::read(folder.file(JOURNAL)).unwrap();
    let last_frame = (whole.len() - FILE_HEADER.len()) / 3;
    for place in FILE_HEADER.len()..whole.len() - last_frame {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x40;
        fs::write(folder.file(JOURNAL), &damaged).unwrap();
        let error = Journal::open(&folder.0).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "octet {place}: {error}");
        assert!(error.to_string().contains(JOURNAL));
        assert_eq!(fs::read(folder.file(JOURNAL)).unwrap(), damaged);
    }
}

#[test]
fn a_file_of_something_else_is_refused() {
    let folder = Folder::new();
    fs::create_dir_all(&folder.0).unwrap();
    for contents in [b"".as_slice(), b"fairlead lease 2", b"lease 192.0.2.1 {}"] {
        fs::write(folder.file(JOURNAL), contents).unwrap();
        assert!(matches!(Journal::open(&folder.0), Err(JournalError::Foreign(_))));
        assert_eq!(fs::read(folder.file(JOURNAL)).unwrap(), contents);
    }
}

#[test]
fn a_second_program_is_kept_out() {
    let folder = Folder::new();
    let (journal, _) = Journal::open(&folder.0).unwrap();
    assert!(matches!(Journal::open(&folder.0), Err(JournalError::InUse(_))));
    drop(journal);
    assert!(Journal::open(&folder.0).is_ok());
}

#[test]
fn a_snapshot_keeps_every_lease_and_a_crash_at_any_step_of_it_loses_none() {
    let folder = Folder::new();
    let expected = [record(1, 30), record(2, 20), record(3, 40)];
    commit_all(&folder, &[record(1, 10), record(2, 20)]);
    compaction::change_journals(&folder.0).unwrap();
    fs::remove_file(folder.file(JOURNAL)).unwrap();
    // Crashed between the two renames: only the old journal is there.
    assert_eq!(sorted(recovery::recover(&folder.0).unwrap().into_records()), [record(1, 10), record(2, 20)]);
    commit_all(&folder, &[record(1, 30)]);
    assert!(!folder.file(OLD_JOURNAL).exists());
    compaction::change_journals(&folder.0).unwrap();
    let old = fs::read(folder.file(OLD_JOURNAL)).unwrap();
    compaction::compact(&folder.0).unwrap();
    // Crashed after the snapshot was renamed, before the old journal was removed.
    fs::write(folder.file(OLD_JOURNAL), &old).unwrap();
    commit_all(&folder, &[record(3, 40)]);
    assert_eq!(reopen(&folder), expected);
    assert_eq!(reopen(&folder), expected);
}

#[test]
fn a_grown_journal_becomes_a_snapshot_while_leases_are_taken() {
    let folder = Folder::new();
    let (journal, _) = Journal::open(&folder.0).unwrap();
    for round in 0..30 {
        let mut batch = RecordBatch::new();
        (0..5000).for_each(|number| batch.push(&record(number, round)));
        assert_eq!(outcome_of(&journal, batch), Ok(()));
    }
    drop(journal);
    assert!(fs::metadata(folder.file(SNAPSHOT)).unwrap().len() > 100_000);
    assert!(fs::metadata(folder.file(JOURNAL)).unwrap().len() < 6 << 20);
    let records = reopen(&folder);
    assert_eq!(records.len(), 5000);
    assert!(records.iter().all(|record| record.expires_at == Timestamp::from_secs(29)));
}

/// A disk with room for `room` more octets, whose sync fails when it is told to.
struct SmallDisk {
    file: File,
    room: u64,
    sync_fails: bool,
}

impl Medium for SmallDisk {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let fits = bytes.len().min(usize::try_from(self.room).unwrap());
        Medium::write_at(&mut self.file, &bytes[..fits], offset)?;
        self.room -= u64::try_from(fits).unwrap();
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.sync_fails { Err(io::Error::other("sync")) } else { Ok(()) }
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn make_room(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn a_disk_that_fills_up_at_any_octet_keeps_what_it_took_and_goes_on_when_there_is_room() {
    let folder = Folder::new();
    let frame = |number| {
        let mut frame = Vec::new();
        write_frame(&mut frame, [&record(number, 10)]);
        frame
    };
    let length = u64::try_from(frame(1).len()).unwrap();
    for room in 0..length * 2 {
        for sync_fails in [false, true] {
            drop(fs::remove_dir_all(&folder.0));
            drop(Journal::open(&folder.0).unwrap());
            let file = OpenOptions::new().write(true).open(folder.file(JOURNAL)).unwrap();
            let mut tail = Tail::new(SmallDisk { file, room, sync_fails: false }, 16);
            let mut taken = Vec::new();
            for number in 0..4 {
                tail.medium_mut().sync_fails = sync_fails && number == 1;
                if tail.append(&frame(number)).is_ok() {
                    taken.push(record(number, 10));
                }
            }
            tail.medium_mut().room = 1000;
            tail.append(&frame(9)).unwrap();
            taken.push(record(9, 10));
            assert_eq!(reopen(&folder), taken, "room for {room}, sync fails: {sync_fails}");
        }
    }
}

#[test]
fn a_full_device_is_an_error_and_not_a_promise() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut tail = Tail::new(full, 0);
    assert_eq!(tail.append(b"frame").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert!(tail.append(b"frame").is_err());
}

#[test]
fn the_files_are_read_while_they_are_written_and_compacted() {
    let folder = Folder::new();
    let (journal, _) = Journal::open(&folder.0).unwrap();
    assert_eq!(Journal::read(&folder.0).unwrap(), []);
    let (stop, stopped) = mpsc::channel::<()>();
    let path = folder.0.clone();
    let reader = thread::spawn(move || {
        let mut reads = 0_usize;
        let mut last = 0;
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            let records = Journal::read(&path).unwrap();
            // Each batch is a frame: it is there whole or not at all, and time does not go backwards.
            let times: std::collections::HashSet<u64> = records.iter().map(|record| record.expires_at.as_secs()).collect();
            assert!(times.len() <= 1, "{times:?}");
            let time = times.into_iter().next().unwrap_or(0);
            assert!(time >= last && (records.is_empty() || records.len() == 3000), "{} records, {time} after {last}", records.len());
            last = time;
            reads += 1;
        }
        reads
    });
    for round in 1..120 {
        let mut batch = RecordBatch::new();
        (0..3000).for_each(|number| batch.push(&record(number, round)));
        assert_eq!(outcome_of(&journal, batch), Ok(()));
    }
    drop(stop);
    assert!(reader.join().unwrap() > 0);
    drop(journal);
    assert!(folder.file(SNAPSHOT).exists());
    assert_eq!(Journal::read(&folder.0).unwrap().len(), 3000);
}
