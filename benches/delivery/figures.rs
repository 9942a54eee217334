//! The figures, and how each is found.

use std::thread;
use std::time::{Duration, Instant};

use fairlead::command_line::say;
use fairlead::failure::{Failure, Result};

use super::reader::{self, Taken, Wish};
use super::server::{Kind, Yard};
use super::site::reader;

const FILE: &str = "initramfs";
const KINDS: [Kind; 4] = [Kind::TftpdHpa, Kind::Dnsmasq, Kind::Tftpd, Kind::Ours];
/// Debian 12's dnsmasq has no windows.
const KINDS_WITH_WINDOWS: [Kind; 2] = [Kind::Tftpd, Kind::Ours];
const READERS: u8 = 100;

pub(crate) struct Bench {
    yard: Yard,
    quick: bool,
    starts: u32,
}

/// What is compared: a figure of ours and those of the peers.
struct Figure<'a> {
    name: &'a str,
    values: Vec<(Kind, f64)>,
    /// Whether more is better.
    rises: bool,
}

impl Bench {
    pub(crate) const fn new(yard: Yard, quick: bool) -> Self {
        Self { yard, quick, starts: 0 }
    }

    /// Finds the figures whose names begin as one of `wanted`, or all.
    pub(crate) fn run(&mut self, wanted: &[String]) -> Result<()> {
        let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.starts_with(word.as_str()));
        for (name, block_size, window) in [
            ("tftp_mib_per_s_512", 512, 1),
            ("tftp_mib_per_s_1428", 1428, 1),
            ("tftp_mib_per_s_8192", 8192, 1),
            ("tftp_mib_per_s_1428_window_16", 1428, 16),
        ] {
            if is_wanted(name) {
                self.stream(name, Wish { block_size, window })?;
            }
        }
        if is_wanted("tftp_s_100_readers") || is_wanted("tftp_memory_mib_100_readers") {
            self.storm()?;
        }
        Ok(())
    }

    fn folder(&mut self, kind: Kind) -> String {
        self.starts += 1;
        format!("{}-{kind}", self.starts)
    }

    const fn rounds(&self) -> usize {
        if self.quick { 2 } else { 3 }
    }

    /// One reader. Rounds are interleaved, and the best of each server counts: what disturbs a round is the machine.
    fn stream(&mut self, name: &str, wish: Wish) -> Result<()> {
        let size = if self.quick { 10_000_000 } else { 50_000_000 };
        let content = content(size);
        let kinds: &[Kind] = if wish.window > 1 { &KINDS_WITH_WINDOWS } else { &KINDS };
        let mut best: Vec<(Kind, f64)> = kinds.iter().map(|kind| (*kind, 0.0)).collect();
        for _ in 0..self.rounds() {
            for (kind, best) in &mut best {
                let folder = self.folder(*kind);
                let server = self.yard.start(*kind, &folder, FILE, &content)?;
                let Taken { size: taken, time, stalls } = self.yard.site.as_reader(|| reader::read(reader(1), FILE, wish))?;
                drop(server);
                if usize::try_from(taken) != Ok(size) {
                    return Err(Failure::new(format!("{kind} sent {taken} octets of {size}")));
                }
                #[expect(clippy::cast_precision_loss, reason = "octets, shown in mebibytes")]
                let rate = taken as f64 / 1_048_576.0 / time.as_secs_f64();
                say(&format!("  {name}: {kind} {rate:.1} MiB/s, {stalls} stalls"))?;
                *best = f64::max(*best, rate);
            }
        }
        tell(&Figure { name, values: best, rises: true })
    }

    /// A hundred readers at once, of a megabyte each: seconds until the last one has it, and the server's memory meanwhile.
    fn storm(&mut self) -> Result<()> {
        let content = content(1_000_000);
        let (mut times, mut memories): (Vec<_>, Vec<_>) = KINDS.iter().map(|kind| ((*kind, f64::INFINITY), (*kind, 0.0))).unzip();
        for _ in 0..self.rounds() {
            for ((kind, best), (_, memory)) in times.iter_mut().zip(&mut memories) {
                let folder = self.folder(*kind);
                let server = self.yard.start(*kind, &folder, FILE, &content)?;
                let (took, most, stalls) = self.yard.site.as_reader(|| {
                    let begun = Instant::now();
                    thread::scope(|scope| {
                        let wish = Wish { block_size: 1428, window: 1 };
                        let readers: Vec<_> =
                            (1..=READERS).map(|number| scope.spawn(move || reader::read(reader(number), FILE, wish))).collect();
                        thread::sleep(Duration::from_millis(100));
                        let memory = server.memory();
                        let mut stalls = 0;
                        for reader in readers {
                            stalls += reader.join().map_err(|_| Failure::new("a reader broke down"))??.stalls;
                        }
                        memory.map(|memory| (begun.elapsed(), memory, stalls))
                    })
                })?;
                drop(server);
                #[expect(clippy::cast_precision_loss, reason = "octets, shown in mebibytes")]
                let mebibytes = most as f64 / 1_048_576.0;
                say(&format!("  {READERS} readers: {kind} {:.2} s, {stalls} stalls, {mebibytes:.1} MiB", took.as_secs_f64()))?;
                *best = best.min(took.as_secs_f64());
                *memory = f64::max(*memory, mebibytes);
            }
        }
        tell(&Figure { name: "tftp_s_100_readers", values: times, rises: false })?;
        tell(&Figure { name: "tftp_memory_mib_100_readers", values: memories, rises: false })
    }
}

/// The line of a figure: the peer is the best of the others; all of them are told before it.
fn tell(figure: &Figure<'_>) -> Result<()> {
    let Figure { name, values, rises } = figure;
    let is_better = |a: f64, b: f64| if *rises { a > b } else { a < b };
    let nothing = || Failure::new(format!("there is nothing to compare {name} with"));
    let (peers, ours): (Vec<_>, Vec<_>) = values.iter().copied().partition(|(kind, _)| *kind != Kind::Ours);
    let (_, ours) = ours.first().copied().ok_or_else(nothing)?;
    let (peer, theirs) =
        peers.iter().copied().reduce(|best, next| if is_better(next.1, best.1) { next } else { best }).ok_or_else(nothing)?;
    let ratio = |theirs: f64| if *rises { ours / theirs } else { theirs / ours };
    for (kind, theirs) in peers.iter().filter(|(kind, _)| *kind != peer) {
        say(&format!("also: {name} ours={ours:.2} peer={kind}:{theirs:.2} ratio={:.2}", ratio(*theirs)))?;
    }
    say(&format!("bench: {name} ours={ours:.2} peer={peer}:{theirs:.2} ratio={:.2}", ratio(theirs)))
}

fn content(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let octet = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(octet).take(size).collect()
}
