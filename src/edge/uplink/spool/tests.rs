use super::*;
use crate::clock::Timestamp;
use crate::edge::test_folder::TestFolder;
use crate::wire::uplink::SiteEventKind;
use crate::wire::{BootId, MacAddr};

const LIMITS: SpoolLimits = SpoolLimits { unconfirmed: 1 << 20, confirmed: 1 << 20 };

fn owner(site_number: u32) -> SpoolOwner {
    SpoolOwner { cloud_root: Digest([1; 32]), site_number }
}

fn event(seconds: u64) -> SiteEvent {
    SiteEvent {
        at: Timestamp::from_secs(seconds),
        boot: Some(BootId([1; 8])),
        mac: Some(MacAddr([0x52, 0x54, 0, 0, 0, 1])),
        what: SiteEventKind::FileServed { protocol: "tftp".to_owned(), file: "snponly.efi".to_owned(), size: 1, sha256: Digest([2; 32]) },
    }
}

fn open(folder: &TestFolder) -> Spool {
    Spool::open(folder.path(), owner(7), LIMITS, "first").unwrap()
}

fn numbers(spool: &Spool) -> Vec<u64> {
    spool.batch(usize::MAX).iter().map(|event| event.number).collect()
}

#[test]
fn reports_are_numbered_from_one_and_survive_a_restart() {
    let folder = TestFolder::new("spool-restart");
    let mut spool = open(&folder);
    spool.append([event(1), event(2)]).unwrap();
    spool.append([event(3)]).unwrap();
    // No close, no flush: what a killed process leaves is what is there now.
    let again = open(&folder);
    assert_eq!((again.name(), numbers(&again)), ("first", vec![1, 2, 3]));
    assert_eq!(again.batch(2), spool.batch(2));
}

#[test]
fn torn_write_at_every_octet_loses_only_the_line_it_tore() {
    let folder = TestFolder::new("spool-torn");
    let mut spool = open(&folder);
    spool.append([event(1), event(2)]).unwrap();
    let path = events_path(folder.path(), "first");
    let whole = fs::read(&path).unwrap();
    let first_line = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let mut spool = open(&folder);
        let expected: Vec<u64> = (1..=2).take(usize::from(length >= first_line) + usize::from(length == whole.len())).collect();
        assert_eq!(numbers(&spool), expected, "cut at {length}");
        spool.append([event(9)]).unwrap();
        let next = u64::try_from(expected.len()).unwrap() + 1;
        assert_eq!(numbers(&open(&folder)).last(), Some(&next), "cut at {length}");
    }
}

#[test]
fn zeros_that_a_power_loss_left_behind_the_last_line_are_cut_off() {
    let folder = TestFolder::new("spool-zeros");
    open(&folder).append([event(1)]).unwrap();
    let path = events_path(folder.path(), "first");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend([0; 4096]);
    fs::write(&path, bytes).unwrap();
    assert_eq!(numbers(&open(&folder)), [1]);
}

#[test]
fn damage_before_the_last_line_is_named_and_not_started_over() {
    let folder = TestFolder::new("spool-damaged");
    open(&folder).append([event(1), event(2)]).unwrap();
    let path = events_path(folder.path(), "first");
    let mut bytes = fs::read(&path).unwrap();
    bytes[3] = b'!';
    fs::write(&path, &bytes).unwrap();
    let error = Spool::open(folder.path(), owner(7), LIMITS, "second").unwrap_err().to_string();
    assert!(error.contains("events-first.jsonl` is damaged: line 1: "), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    fs::write(folder.path().join("spool.json"), "{").unwrap();
    let error = Spool::open(folder.path(), owner(7), LIMITS, "second").unwrap_err().to_string();
    assert!(error.contains("spool.json` is damaged: "), "{error}");
}

#[test]
fn gap_in_the_numbers_is_damage() {
    let folder = TestFolder::new("spool-gap");
    open(&folder).append([event(1), event(2), event(3)]).unwrap();
    let path = events_path(folder.path(), "first");
    let text = fs::read_to_string(&path).unwrap();
    let without_second: String = text.split_inclusive('\n').enumerate().filter(|(index, _)| *index != 1).map(|(_, line)| line).collect();
    fs::write(&path, without_second).unwrap();
    let error = Spool::open(folder.path(), owner(7), LIMITS, "second").unwrap_err().to_string();
    assert!(error.ends_with("line 2: number 3 does not follow the one before"), "{error}");
}

#[test]
fn confirmed_reports_are_not_sent_again_and_numbers_go_on() {
    let folder = TestFolder::new("spool-confirmed");
    let mut spool = open(&folder);
    spool.append([event(1), event(2), event(3)]).unwrap();
    spool.confirm(2, "x").unwrap();
    spool.confirm(1, "x").unwrap();
    assert_eq!(numbers(&open(&folder)), [3]);
    spool.confirm(3, "x").unwrap();
    // Even when the confirmed reports are gone from the disk.
    fs::remove_file(events_path(folder.path(), "first")).unwrap();
    let mut again = open(&folder);
    again.append([event(4)]).unwrap();
    assert_eq!(numbers(&again), [4]);
}

#[test]
fn confirmed_reports_make_room_on_the_disk() {
    let folder = TestFolder::new("spool-compact");
    let limits = SpoolLimits { confirmed: 1000, ..LIMITS };
    let mut spool = Spool::open(folder.path(), owner(7), limits, "first").unwrap();
    for round in 1..=100_u64 {
        spool.append([event(round)]).unwrap();
        spool.confirm(round, "x").unwrap();
        assert!(fs::metadata(events_path(folder.path(), "first")).unwrap().len() < 1600, "round {round}");
    }
    spool.append([event(1000)]).unwrap();
    assert_eq!(numbers(&open(&folder)), [101]);
}

#[test]
fn full_spool_drops_the_newest_counts_them_and_leaves_no_gap() {
    let folder = TestFolder::new("spool-full");
    let limits = SpoolLimits { unconfirmed: 1000, ..LIMITS };
    let mut spool = Spool::open(folder.path(), owner(7), limits, "first").unwrap();
    for seconds in 0..10 {
        spool.append([event(seconds)]).unwrap();
    }
    let kept = u64::try_from(spool.waiting()).unwrap();
    assert!((1..10).contains(&kept));
    assert_eq!((spool.dropped(), numbers(&spool)), (10 - kept, (1..=kept).collect()));
    spool.confirm(kept, "x").unwrap();
    spool.append([event(11)]).unwrap();
    assert_eq!(numbers(&open(&folder)), [kept + 1]);
}

#[test]
fn spool_of_another_site_is_not_sent_to_this_one() {
    let folder = TestFolder::new("spool-owner");
    open(&folder).append([event(1)]).unwrap();
    let spool = Spool::open(folder.path(), owner(8), LIMITS, "second").unwrap();
    assert_eq!((spool.name(), spool.waiting()), ("second", 0));
    assert!(!events_path(folder.path(), "first").exists());
}

#[test]
fn folder_restored_from_an_older_copy_begins_a_new_spool() {
    let folder = TestFolder::new("spool-restored");
    let mut spool = open(&folder);
    spool.append([event(1), event(2)]).unwrap();
    spool.confirm(1, "x").unwrap();
    spool.confirm(40, "second").unwrap();
    assert_eq!((spool.name(), numbers(&spool)), ("second", vec![1]));
    assert_eq!(spool.batch(1)[0].event, event(2));
    let again = open(&folder);
    assert_eq!((again.name(), numbers(&again)), ("second", vec![1]));
}
