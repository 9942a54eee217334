//! The engine against a simple reader over a simulated network that loses, copies and reorders.

#![expect(
    clippy::cast_possible_truncation,
    reason = "dice are rolled into the range of the smaller type, and block numbers are modulo 65536"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use super::packet::Options;
use super::{Ending, Limits, Transfer};
use crate::clock::Timestamp;
use crate::edge::boot_files::BootFile;

/// Numbers that look random and come from a seed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % sides
    }
}

/// A reader as RFC 1350 and RFC 7440 describe it: takes blocks in order, acknowledges a full window, the last block, and the first gap of a window.
struct Reader {
    received: Vec<u8>,
    block_size: usize,
    window: u64,
    has_oack: bool,
    expects_oack: bool,
    last: u64,
    in_window: u64,
    gap_told: bool,
    done: bool,
    last_word: Option<Vec<u8>>,
}

impl Reader {
    fn ack(&mut self) -> Vec<u8> {
        let [high, low] = (self.last as u16).to_be_bytes();
        self.in_window = 0;
        self.last_word = Some(vec![0, 4, high, low]);
        vec![0, 4, high, low]
    }

    fn take(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        if datagram[1] == 6 {
            if self.last > 0 {
                return None;
            }
            self.has_oack = true;
            return Some(self.ack());
        }
        if self.expects_oack && !self.has_oack {
            return None;
        }
        let number = u16::from_be_bytes([datagram[2], datagram[3]]);
        if number == (self.last + 1) as u16 && !self.done {
            self.gap_told = false;
            self.last += 1;
            self.in_window += 1;
            self.received.extend(&datagram[4..]);
            self.done = datagram.len() - 4 < self.block_size;
            return (self.done || self.in_window == self.window).then(|| self.ack());
        }
        // An old block or one behind a gap. In lock step the reader acknowledges again (that is what makes apprentices); with a window once per gap.
        if self.window == 1 || self.done || !std::mem::replace(&mut self.gap_told, true) {
            return Some(self.ack());
        }
        None
    }
}

struct Outcome {
    ending: Ending,
    reader_done: bool,
    received: Vec<u8>,
    datagrams: u64,
    copies_delivered: u64,
}

struct Channel {
    loss_percent: u64,
    copy_percent: u64,
    late_percent: u64,
}

fn run(seed: u64, content: &[u8], options: Options, channel: &Channel) -> Outcome {
    let start = Timestamp::from_secs(1);
    let file = BootFile::new("file", content.to_vec()).unwrap();
    let mut transfer = Transfer::new(start, file, options, 1500, &Limits::default());
    let (block_size, window) = transfer.agreed();
    let mut reader = Reader {
        received: Vec::new(),
        block_size,
        window,
        has_oack: false,
        expects_oack: options != Options::default(),
        last: 0,
        in_window: 0,
        gap_told: false,
        done: false,
        last_word: None,
    };
    let mut dice = Dice::new(seed);
    // What is on its way: by arrival, then by order of sending; to the reader or from it.
    let mut on_the_way: BTreeMap<(Timestamp, u64), (bool, Vec<u8>)> = BTreeMap::new();
    let mut order = 0;
    let mut now = start;
    let mut datagram = Vec::new();
    let (mut datagrams, mut copies_delivered) = (0, 0);
    let mut reader_retry = start.after(Duration::from_secs(2));
    loop {
        let mut leaving = Vec::new();
        while transfer.poll_transmit(now, &mut datagram) {
            datagrams += 1;
            assert!(datagram.len() <= transfer.largest_datagram());
            leaving.push((true, std::mem::take(&mut datagram)));
        }
        if transfer.ending().is_some() {
            break;
        }
        let next = on_the_way.first_key_value().map(|((at, _), _)| *at);
        let next_timer = transfer.deadline().min(reader_retry);
        if leaving.is_empty() {
            if let Some(at) = next.filter(|at| *at <= next_timer) {
                now = now.max(at);
                let (_, (to_reader, bytes)) = on_the_way.pop_first().unwrap();
                if to_reader {
                    reader_retry = now.after(Duration::from_secs(2));
                    leaving.extend(reader.take(&bytes).map(|answer| (false, answer)));
                } else {
                    transfer.handle(now, &bytes);
                }
            } else if transfer.deadline() <= reader_retry {
                now = transfer.deadline();
                transfer.on_timeout(now);
            } else {
                now = reader_retry;
                reader_retry = now.after(Duration::from_secs(2));
                // The reader's own timer: it says its last word again, as readers do. One that has all does not.
                leaving.extend(reader.last_word.clone().filter(|_| !reader.done).map(|word| (false, word)));
            }
        }
        for (to_reader, bytes) in leaving {
            if dice.roll(100) < channel.loss_percent {
                continue;
            }
            let copies = 1 + u64::from(dice.roll(100) < channel.copy_percent);
            copies_delivered += copies - 1;
            for _ in 0..copies {
                let delay = if dice.roll(100) < channel.late_percent { 1 + dice.roll(40) } else { 1 };
                order += 1;
                on_the_way.insert((now.after(Duration::from_millis(delay)), order), (to_reader, bytes.clone()));
            }
        }
        assert!(now.since(start) < Duration::from_secs(7 * 24 * 3600), "seed {seed}: hangs");
    }
    let ending = transfer.ending().unwrap().clone();
    Outcome { ending, reader_done: reader.done, received: reader.received, datagrams, copies_delivered }
}

fn content(size: usize) -> Vec<u8> {
    let mut dice = Dice::new(7);
    let mut bytes: Vec<u8> = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend(dice.roll(u64::MAX).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

#[test]
fn every_transfer_over_a_bad_line_ends_byte_exact_or_with_an_error() {
    let content = content(60_001);
    let mut whole = 0;
    for seed in 0..400 {
        let mut dice = Dice::new(seed + 1000);
        let channel =
            Channel { loss_percent: [0, 1, 5, 20, 50][dice.roll(5) as usize], copy_percent: dice.roll(20), late_percent: dice.roll(30) };
        let options = Options {
            block_size: [None, Some(8 + dice.roll(1500) as u16)][dice.roll(2) as usize],
            window_size: [None, Some(1 + dice.roll(64) as u16)][dice.roll(2) as usize],
            transfer_size: dice.roll(2) == 0,
            timeout: None,
        };
        let outcome = run(seed, &content, options, &channel);
        assert!(content.starts_with(&outcome.received), "seed {seed}: wrong bytes");
        match outcome.ending {
            Ending::Whole => {
                whole += 1;
                assert!(outcome.reader_done && outcome.received == content, "seed {seed}: said to be whole");
            }
            // The reader may have it all while its last ACKs were lost; the server only must not claim more than it knows.
            Ending::Silent => assert!(channel.loss_percent > 0, "seed {seed}: given up without loss"),
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(whole > 300, "only {whole} of 400 came through");
}

#[test]
fn copies_of_packets_do_not_make_copies_to_the_end_of_the_file() {
    let content = content(400_000);
    for (seed, window_size) in [(1, None), (2, Some(1)), (3, Some(4)), (4, Some(16)), (5, Some(64))] {
        let channel = Channel { loss_percent: 0, copy_percent: 2, late_percent: 0 };
        let options = Options { window_size, ..Options::default() };
        let outcome = run(seed, &content, options, &channel);
        assert_eq!(outcome.received, content);
        let needed = 400_000 / 512 + 2;
        // A copy may cause one window to be sent again; nothing follows from that.
        let bound = needed + outcome.copies_delivered * u64::from(window_size.unwrap_or(0));
        assert!(outcome.datagrams <= bound, "window {window_size:?}: {} datagrams, bound {bound}", outcome.datagrams);
    }
}

#[test]
fn seventy_megabytes_in_blocks_of_512_roll_over_twice() {
    let content = content(70_000_000);
    let perfect = Channel { loss_percent: 0, copy_percent: 0, late_percent: 0 };
    let outcome = run(1, &content, Options::default(), &perfect);
    assert!(outcome.ending == Ending::Whole && outcome.received == content);
    assert_eq!(outcome.datagrams, 70_000_000 / 512 + 1);
    let windowed = Channel { loss_percent: 1, copy_percent: 1, late_percent: 1 };
    let outcome = run(2, &content, Options { window_size: Some(16), ..Options::default() }, &windowed);
    assert!(outcome.ending == Ending::Whole && outcome.received == content);
}

#[test]
fn nothing_that_a_reader_can_send_makes_the_engines_panic_or_grow() {
    use super::{Answer, Reception};
    use crate::edge::boot_files::BootFiles;
    use std::net::{Ipv4Addr, SocketAddrV4};

    let files = BootFiles::new([BootFile::new("snponly.efi", content(3000)).unwrap()]);
    let limits = Limits { transfers: 16, ..Limits::default() };
    let mut reception = Reception::new(files, limits);
    let mut transfers = BTreeMap::new();
    let seeds: [&[u8]; 6] = [
        b"\0\x01snponly.efi\0octet\0tsize\x000\0blksize\x001468\0windowsize\x004\0timeout\x005\0",
        b"\0\x01snponly.efi\0netascii\0",
        b"\0\x02snponly.efi\0octet\0",
        b"\0\x04\0\x01",
        b"\0\x05\0\x08gone\0",
        b"\0\x06blksize\x00512\0",
    ];
    let mut dice = Dice::new(42);
    let mut out = Vec::new();
    for round in 0..300_000u64 {
        let mut datagram = seeds[dice.roll(6) as usize].to_vec();
        for _ in 0..dice.roll(4) {
            let at = dice.roll(datagram.len() as u64 + 1) as usize;
            match dice.roll(4) {
                0 => datagram.insert(at, dice.roll(256) as u8),
                1 => datagram.truncate(at),
                2 if at < datagram.len() => datagram[at] = dice.roll(256) as u8,
                _ => datagram.extend(std::iter::repeat_n(dice.roll(256) as u8, dice.roll(600) as usize)),
            }
            if datagram.is_empty() {
                break;
            }
        }
        let now = Timestamp(round * 3);
        let local = Ipv4Addr::new(192, 0, 2, 1);
        let peer = SocketAddrV4::new(Ipv4Addr::from(0xc000_0200 + dice.roll(32) as u32), dice.roll(40) as u16);
        match reception.handle(local, peer, &datagram) {
            Answer::Begin { id, file, options } => {
                transfers.insert(id, Transfer::new(now, file, options, dice.roll(3000) as u32, &limits));
            }
            Answer::Again(id) => transfers.get_mut(&id).unwrap().on_repeated_request(),
            Answer::Refuse(refusal) => assert!(refusal.packet().len() < 64),
            Answer::Silence(_) => {}
        }
        let mut over = Vec::new();
        for (id, transfer) in &mut transfers {
            // Mostly what a reader would say, else anything: so that transfers get somewhere.
            if dice.roll(40) == 0 {
                transfer.handle(now, &datagram);
            } else {
                transfer.handle(now, &[0, 4, 0, dice.roll(8) as u8]);
            }
            transfer.on_timeout(now);
            let mut count = 0;
            while transfer.poll_transmit(now, &mut out) {
                count += 1;
                assert!(out.len() <= transfer.largest_datagram());
                out.clear();
            }
            assert!(count <= 64);
            if transfer.is_acknowledged() {
                over.extend(reception.acknowledged(*id).into_iter().map(|old| (old, Ending::Superseded)));
            }
            over.extend(transfer.ending().map(|ending| (*id, ending.clone())));
        }
        for (id, ending) in over {
            transfers.remove(&id);
            reception.ended(id, Some(&ending));
        }
        assert_eq!(reception.running(), transfers.len());
        assert!(transfers.len() <= 16);
    }
    assert!(reception.counters().begun > 1000 && reception.counters().whole > 10, "{:?}", reception.counters());
}
