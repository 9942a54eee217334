//! A process that writes leases and is killed, or has no room left: every lease that was said to be on the disk is there.
//!
//! The process is this test program, started again. Its records of what the journal confirmed come through a pipe, which outlives
//! it. `FAIRLEAD_KILLS=200 cargo test --test crash` kills it so many times.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is how a test reports")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use fairlead::clock::{self, Timestamp};
use fairlead::edge::lease::{ClientId, HardwareAddress, Journal, LeaseRecord, LeaseState, RecordBatch};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Tells the process which folder to write to.
const FOLDER: &str = "FAIRLEAD_CRASH_FOLDER";
/// Addresses that are leased in turn, so that each is renewed again and again.
const ADDRESSES: u32 = 500;

fn record(number: u32) -> LeaseRecord {
    let client = number % ADDRESSES;
    LeaseRecord {
        address: Ipv4Addr::from(0x0a00_0000 + client),
        client: ClientId::from_option(&client.to_be_bytes()).unwrap(),
        hardware: HardwareAddress::new(1, &[2, 0, 0, 0, 0, 1]).unwrap(),
        state: LeaseState::Bound,
        starts_at: Timestamp::from_secs(1_800_000_000 + u64::from(number)),
        expires_at: Timestamp::from_secs(1_800_003_600 + u64::from(number)),
        host_name: None,
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("fairlead-crash-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The process; does nothing when it is run as a test among others.
#[test]
fn a_process_that_writes_leases() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let (journal, found) = Journal::open(Path::new(&folder)).unwrap();
    let first =
        found.iter().map(|record| record.starts_at.as_secs() - 1_800_000_000).max().map_or(0, |last| u32::try_from(last).unwrap() + 1);
    let waiting = Arc::new(AtomicU32::new(0));
    for number in first.. {
        waiting.fetch_add(1, Ordering::SeqCst);
        let done = Arc::clone(&waiting);
        journal.submit(RecordBatch::of(&record(number)), move |outcome| {
            done.fetch_sub(1, Ordering::SeqCst);
            let mut out = std::io::stdout().lock();
            let line = if outcome.is_ok() { format!("\ndurable {number}\n") } else { format!("\nrefused {number}\n") };
            // Whoever does not read any more has killed us.
            drop(out.write_all(line.as_bytes()).and_then(|()| out.flush()));
        });
        while waiting.load(Ordering::SeqCst) > 64 {
            thread::yield_now();
        }
    }
}

fn start(folder: &Path, limit: &str) -> Child {
    let script = format!("trap '' XFSZ; {limit} exec \"$0\" --exact a_process_that_writes_leases --nocapture --test-threads 1");
    Command::new("sh")
        .args(["-c", &script])
        .arg(env::current_exe().unwrap())
        .env(FOLDER, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The newest number of each address that the process said to be durable, and how many were refused. Half a line was not said.
fn said(child: &mut Child, newest: &mut BTreeMap<u32, u32>, enough: impl Fn(u32, u32) -> bool) -> (u32, u32) {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut durable, mut refused, mut line) = (0, 0, String::new());
    while out.read_line(&mut line).is_ok_and(|length| length > 0) {
        if let Some(number) = line.strip_prefix("durable ").and_then(|rest| rest.strip_suffix('\n')) {
            let number: u32 = number.parse().unwrap();
            let known = newest.entry(number % ADDRESSES).or_default();
            *known = number.max(*known);
            durable += 1;
        }
        refused += u32::from(line.starts_with("refused "));
        if enough(durable, refused) {
            drop(child.kill());
        }
        line.clear();
    }
    drop(child.wait());
    (durable, refused)
}

/// Every confirmed lease is there, with its time or a later one, and no address stands there twice.
fn check(folder: &Path, newest: &BTreeMap<u32, u32>) {
    let (_, found) = Journal::open(folder).expect("the lease files are read after a crash");
    let by_address: BTreeMap<Ipv4Addr, &LeaseRecord> = found.iter().map(|record| (record.address, record)).collect();
    assert_eq!(by_address.len(), found.len(), "an address is there twice");
    for number in newest.values() {
        let promised = record(*number);
        let kept = by_address.get(&promised.address).unwrap_or_else(|| panic!("the lease of {} is gone", promised.address));
        assert_eq!(kept.client, promised.client);
        assert!(
            kept.expires_at >= promised.expires_at,
            "{}: {} was promised, {} is there",
            promised.address,
            promised.expires_at,
            kept.expires_at
        );
    }
}

#[test]
fn kill_at_any_moment_loses_no_confirmed_lease() {
    let kills: u32 = env::var("FAIRLEAD_KILLS").map_or(10, |text| text.parse().expect("FAIRLEAD_KILLS is a number"));
    let folder = Folder::new("kill");
    let (mut newest, mut confirmed) = (BTreeMap::new(), 0);
    for _ in 0..kills {
        // The process takes another time to start each time, which is as good as chance.
        let moment = clock::now().0 * 7 % 100;
        let mut child = start(&folder.0, "");
        let killer = thread::spawn({
            let id = i32::try_from(child.id()).unwrap();
            move || {
                thread::sleep(Duration::from_millis(20 + moment));
                kill(Pid::from_raw(id), Signal::SIGKILL).ok();
            }
        });
        let (durable, refused) = said(&mut child, &mut newest, |_, _| false);
        killer.join().unwrap();
        assert_eq!(refused, 0);
        confirmed += durable;
        check(&folder.0, &newest);
    }
    println!("crash: kills={kills} confirmed={confirmed} addresses={} lost=0", newest.len());
    assert!(confirmed > kills, "nothing was written: {confirmed}");
}

#[test]
fn a_disk_that_is_full_refuses_and_keeps_what_it_took() {
    let folder = Folder::new("full");
    let mut newest = BTreeMap::new();
    for blocks in [200, 500, 900, 2100, 4096] {
        // In units of 512 octets.
        let (_, refused) = said(&mut start(&folder.0, &format!("ulimit -f {blocks};")), &mut newest, |_, refused| refused > 50);
        check(&folder.0, &newest);
        println!("crash: limit={blocks} refused={refused}");
    }
    let (durable, refused) = said(&mut start(&folder.0, ""), &mut newest, |durable, _| durable > 2000);
    check(&folder.0, &newest);
    assert!(durable > 2000 && refused == 0, "there is room again: {durable} {refused}");
}
