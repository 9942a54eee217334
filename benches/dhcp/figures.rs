//! The figures, and how each is found.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use fairlead::command_line::say;
use fairlead::failure::{Failure, Result};
use fairlead_lab::Programs;
use fairlead_lab::joined_box::JoinedBox;

use super::perfdhcp::{self, Load, Outcome};
use super::server::{Kind, Running, Yard};
use super::site::Site;

/// So many clients take turns, as many as a large site has.
const CLIENTS: u32 = 50_000;
/// Beyond these drops a rate does not count.
const DROPS: f64 = 0.01;
const KEAS: [Kind; 2] = [Kind::KeaSingle, Kind::KeaMulti];

pub(crate) struct Bench {
    site: Site,
    programs: Programs,
    joined: JoinedBox,
    folder: PathBuf,
    quick: bool,
    starts: u32,
}

/// What is compared: a figure of ours and those of the peers.
struct Figure<'a> {
    name: &'a str,
    ours: f64,
    peers: Vec<(Kind, f64)>,
    /// Whether more is better.
    rises: bool,
}

impl Bench {
    pub(crate) const fn new(site: Site, programs: Programs, joined: JoinedBox, folder: PathBuf, quick: bool) -> Self {
        Self { site, programs, joined, folder, quick, starts: 0 }
    }

    /// Finds the figures whose names begin as one of `wanted`, or all.
    pub(crate) fn run(&mut self, wanted: &[String]) -> Result<()> {
        let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.starts_with(word.as_str()));
        let mut half_of_kea = None;
        if is_wanted("exchanges") {
            half_of_kea = Some(self.best_rates("exchanges_per_s", false)? / 2.0);
        }
        if is_wanted("renewals") {
            self.best_rates("renewals_per_s", true)?;
        }
        if is_wanted("p99") {
            let rate = match half_of_kea {
                Some(rate) => rate,
                None => self.best_of_kea()? / 2.0,
            };
            self.answer_times(rate)?;
        }
        if is_wanted("avalanche") {
            self.avalanche("avalanche_1000_s", 1000)?;
            self.avalanche("avalanche_10000_s", 10_000)?;
        }
        if is_wanted("memory") {
            self.memory()?;
        }
        if is_wanted("load") || is_wanted("cost") {
            self.a_million()?;
        }
        Ok(())
    }

    fn start(&mut self, kind: Kind, leases: u32) -> Result<Running> {
        self.starts += 1;
        let folder = self.folder.join(format!("{}-{kind}", self.starts));
        Yard { site: &self.site, programs: &self.programs, joined: &self.joined, folder }.start(kind, leases)
    }

    const fn duration(&self) -> Duration {
        Duration::from_secs(if self.quick { 2 } else { 5 })
    }

    /// The best rate of each server. Returns the better Kea's.
    fn best_rates(&mut self, name: &str, renewals: bool) -> Result<f64> {
        let mut best = Vec::new();
        for kind in [Kind::KeaSingle, Kind::KeaMulti, Kind::Dnsmasq, Kind::Ours] {
            let rate = self.best_rate(kind, renewals)?;
            say(&format!("{name}: {kind} {rate:.0}"))?;
            best.push((kind, rate));
        }
        let ours = best.pop().map_or(0.0, |(_, rate)| rate);
        let kea = best.iter().filter(|(kind, _)| KEAS.contains(kind)).map(|(_, rate)| *rate).fold(0.0, f64::max);
        tell(&Figure { name, ours, peers: best, rises: true })?;
        Ok(kea)
    }

    fn best_of_kea(&mut self) -> Result<f64> {
        let mut best = 0.0;
        for kind in KEAS {
            best = self.best_rate(kind, false)?.max(best);
        }
        Ok(best)
    }

    /// Raises the offered rate by halves until the drops pass one in a hundred, then halves the step towards the last good rate.
    /// A rate gets a second chance: one hiccup of a machine that others use too is not the server's.
    fn best_rate(&mut self, kind: Kind, renewals: bool) -> Result<f64> {
        let server = self.start(kind, 0)?;
        let try_at = |rate: f64| -> Result<Option<(f64, bool)>> {
            for _ in 0..2 {
                let outcome = self.load(rate, if renewals { rate } else { 0.0 }, CLIENTS, false)?;
                let seconds = self.duration().as_secs_f64();
                let kind_of_answer = if renewals { &outcome.renewals } else { &outcome.acks };
                let answered = f64::from(kind_of_answer.received) / seconds;
                let offered = f64::from(outcome.offers.sent) / seconds;
                say(&format!("  {kind}: offered {offered:.0}/s, answered {answered:.0}/s, drops {:.2} %", outcome.drops() * 100.0))?;
                if outcome.drops() <= DROPS && answered > 0.0 {
                    return Ok(Some((answered, offered < 0.95 * rate)));
                }
            }
            Ok(None)
        };
        let (mut good, mut bad, mut best) = (0.0, f64::INFINITY, 0.0);
        let mut rate = 2000.0;
        let mut steps_left = if self.quick { 2 } else { 4 };
        while steps_left > 0 && rate > 50.0 {
            match try_at(rate)? {
                Some((answered, is_perfdhcps_limit)) => {
                    good = rate;
                    best = f64::max(best, answered);
                    if is_perfdhcps_limit {
                        say(&format!("  {kind}: perfdhcp can offer no more than this"))?;
                        break;
                    }
                }
                None => bad = rate,
            }
            rate = match (good > 0.0, bad.is_finite()) {
                (_, false) => rate * 1.5,
                (false, true) => rate / 2.0,
                (true, true) => {
                    steps_left -= 1;
                    f64::midpoint(good, bad)
                }
            };
        }
        drop(server);
        Ok(best)
    }

    fn load(&self, rate: f64, renewals: f64, clients: u32, times: bool) -> Result<Outcome> {
        let whole = |rate: f64| format!("{rate:.0}").parse::<u32>().unwrap_or(1);
        perfdhcp::run(&self.site, Load { rate: whole(rate), renewals: whole(renewals), clients, duration: self.duration() }, times)
    }

    /// The 99th percentile of the answer times at a rate, of all answers and of each kind. Rounds are interleaved, and the median
    /// of them counts.
    fn answer_times(&mut self, rate: f64) -> Result<()> {
        let rounds = if self.quick { 1 } else { 3 };
        let kinds = [Kind::KeaSingle, Kind::KeaMulti, Kind::Ours];
        let mut found: Vec<(Kind, Vec<[f64; 3]>)> = kinds.map(|kind| (kind, Vec::new())).into();
        for _ in 0..rounds {
            for (kind, times) in &mut found {
                let server = self.start(*kind, 0)?;
                let Outcome { offers, acks, .. } = self.load(rate, 0.0, CLIENTS, true)?;
                drop(server);
                let both: Vec<f64> = offers.times.iter().chain(&acks.times).copied().collect();
                let [both, offer, ack] = [both, offers.times, acks.times].map(|times| percentile(times, 0.99));
                say(&format!("  {kind}: at {rate:.0}/s p99 {both:.2} ms, of offers {offer:.2} ms, of acks {ack:.2} ms"))?;
                times.push([both, offer, ack]);
            }
        }
        for (place, name) in ["p99_ms_at_half_of_kea", "p99_ms_of_offers", "p99_ms_of_acks"].into_iter().enumerate() {
            let mut medians: Vec<(Kind, f64)> = found
                .iter()
                .map(|(kind, times)| (*kind, percentile(times.iter().filter_map(|times| times.get(place).copied()).collect(), 0.5)))
                .collect();
            let ours = medians.pop().map_or(f64::NAN, |(_, time)| time);
            tell(&Figure { name, ours, peers: medians, rises: false })?;
        }
        Ok(())
    }

    /// Seconds until all of so many clients hold an address. The best of some rounds counts.
    fn avalanche(&mut self, name: &str, clients: u32) -> Result<()> {
        let mut found = Vec::new();
        for kind in [Kind::KeaSingle, Kind::KeaMulti, Kind::Ours] {
            let mut best = f64::INFINITY;
            for _ in 0..if self.quick { 1 } else { 3 } {
                let server = self.start(kind, 0)?;
                let taken = perfdhcp::avalanche(&self.site, clients)?.as_secs_f64();
                drop(server);
                say(&format!("  {kind}: {clients} clients in {taken:.2} s"))?;
                best = best.min(taken);
            }
            found.push((kind, best));
        }
        let ours = found.pop().map_or(f64::NAN, |(_, time)| time);
        tell(&Figure { name, ours, peers: found, rises: false })
    }

    fn memory(&mut self) -> Result<()> {
        let mut found = Vec::new();
        for kind in [Kind::KeaSingle, Kind::KeaMulti, Kind::Dnsmasq, Kind::Ours] {
            let server = self.start(kind, 100_000)?;
            sleep(Duration::from_secs(1));
            #[expect(clippy::cast_precision_loss, reason = "octets of memory, shown in mebibytes")]
            found.push((kind, server.memory()? as f64 / 1_048_576.0));
        }
        let ours = found.pop().map_or(f64::NAN, |(_, memory)| memory);
        tell(&Figure { name: "memory_mib_100000_leases", ours, peers: found, rises: false })
    }

    /// The start with a million leases, and the processor time of an exchange there and with a thousand.
    fn a_million(&mut self) -> Result<()> {
        let (mut loads, mut growths) = (Vec::new(), Vec::new());
        for kind in [Kind::KeaSingle, Kind::Ours] {
            let mut costs = Vec::new();
            for leases in [1000, 1_000_000] {
                let server = self.start(kind, leases)?;
                if leases == 1_000_000 {
                    loads.push((kind, server.start_took.as_secs_f64()));
                }
                let mut rounds = Vec::new();
                for _ in 0..if self.quick { 1 } else { 3 } {
                    let before = server.processor_time()?;
                    let outcome = self.load(3000.0, 0.0, leases, false)?;
                    let used = server.processor_time()?.saturating_sub(before);
                    rounds.push(used.as_secs_f64() * 1e6 / f64::from(outcome.acks.received.max(1)));
                }
                let cost = percentile(rounds, 0.0);
                say(&format!("  {kind}: an exchange with {leases} leases takes {cost:.1} us of processor time"))?;
                costs.push(cost);
            }
            if let [few, many] = costs[..] {
                growths.push((kind, many / few));
            }
        }
        for (name, mut found) in [("load_s_1000000_leases", loads), ("cost_growth_1000_to_1000000_leases", growths)] {
            let ours = found.pop().map_or(f64::NAN, |(_, figure)| figure);
            tell(&Figure { name, ours, peers: found, rises: false })?;
        }
        Ok(())
    }
}

/// The line of a figure: the peer is the better of the Keas, or whichever there is; all of them are told before it.
fn tell(figure: &Figure<'_>) -> Result<()> {
    let Figure { name, ours, peers, rises } = figure;
    let is_better = |a: f64, b: f64| if *rises { a > b } else { a < b };
    let keas = peers.iter().filter(|(kind, _)| KEAS.contains(kind)).copied();
    let (peer, theirs) = keas
        .reduce(|best, next| if is_better(next.1, best.1) { next } else { best })
        .ok_or_else(|| Failure::new(format!("there is nothing to compare {name} with")))?;
    let ratio = |theirs: f64| if *rises { ours / theirs } else { theirs / ours };
    for (kind, theirs) in peers.iter().filter(|(kind, _)| *kind != peer) {
        say(&format!("also: {name} ours={ours:.2} peer={kind}:{theirs:.2} ratio={:.2}", ratio(*theirs)))?;
    }
    say(&format!("bench: {name} ours={ours:.2} peer={peer}:{theirs:.2} ratio={:.2}", ratio(theirs)))
}

/// The value below which this part of them lies; 0 is the least.
fn percentile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
    let place = (values.len().saturating_sub(1) as f64 * part).round() as usize;
    values.get(place).copied().unwrap_or(f64::NAN)
}
