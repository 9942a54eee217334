//! When to look for other servers, and which of them are there.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::wire::MacAddr;

/// A look is so many DISCOVERs, so far apart: one may be lost, and a switch may forward nothing in its first second.
const ASKS: u32 = 3;
const BETWEEN_ASKS: Duration = Duration::from_secs(1);
/// How long answers to the last one are waited for. dnsmasq pings an address for 3 seconds before it offers it: its answer to the
/// first one comes in this time.
const AFTER_THE_LAST: Duration = Duration::from_millis(1800);

/// Between the looks. While another server is there they follow close on each other, since nobody is served from the moment when it
/// is gone: three looks of 3.8 seconds and the one in which it was heard, with their pauses, are 30 seconds at most.
/// That is one DISCOVER in two seconds for the other server, as of a client that waits.
const PAUSE: Duration = Duration::from_secs(50);
const SHORT_PAUSE: Duration = Duration::from_secs(2);
/// Up to so much is added, so that boxes that were switched on together do not look together: neither would hear the other.
const JITTER_MILLISECONDS: u64 = 20_000;
const SHORT_JITTER_MILLISECONDS: u64 = 1500;

/// A server that did not answer so many looks is gone. In each of them three DISCOVERs were lost, or their answers.
const GONE_AFTER: u32 = 3;

/// A look that somebody gives cause for begins within this: boxes that hear the same must not look at the same moment.
const CAUSED_WITHIN_MILLISECONDS: u64 = 1000;
/// And no sooner than this after the one before, so that whoever makes causes up makes no more than one DISCOVER in three seconds.
const CAUSED_AFTER: Duration = Duration::from_secs(5);

/// So many servers are kept in mind. More of them need no other remedy.
const MOST: usize = 8;

/// One segment: who else serves there.
#[derive(Debug)]
pub(super) struct Watch {
    /// Our hardware address there.
    pub(super) mac: MacAddr,
    random: u64,
    asks_left: u32,
    due: Timestamp,
    /// When the last look ended.
    ended: Timestamp,
    first_look: bool,
    /// The transactions of the last look.
    asked: Vec<u32>,
    rivals: Vec<Rival>,
    /// Servers that others spoke of, which the next look is to find, and those that this one is to.
    spoken_of: Vec<Ipv4Addr>,
    looked_for: Vec<Ipv4Addr>,
}

/// Another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rival {
    /// Its identifier.
    pub(super) server: Ipv4Addr,
    /// Its hardware address, or its relay's.
    pub(super) mac: MacAddr,
    /// It was heard since the last look ended.
    heard: bool,
    quiet_looks: u32,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send a DISCOVER with this transaction id.
    Ask {
        /// The transaction id.
        xid: u32,
    },
    /// A look has ended.
    Ended {
        /// It was the first one.
        first: bool,
        /// Who is gone since.
        gone: Vec<Rival>,
        /// Who did not answer although others spoke of it.
        unheard: Vec<Ipv4Addr>,
    },
}

impl Watch {
    /// Begins with a look at once; `seed` is the shell's randomness.
    pub(super) const fn new(now: Timestamp, mac: MacAddr, seed: u64) -> Self {
        Self {
            mac,
            random: seed,
            asks_left: ASKS,
            due: now,
            ended: now,
            first_look: true,
            asked: Vec::new(),
            rivals: Vec::new(),
            spoken_of: Vec::new(),
            looked_for: Vec::new(),
        }
    }

    /// The next thing that is due.
    pub(super) fn step(&mut self, now: Timestamp) -> Option<Step> {
        // A clock that was set back must not end the looks.
        let longest = PAUSE.saturating_add(Duration::from_millis(JITTER_MILLISECONDS));
        if self.due > now && self.due <= now.after(longest) {
            return None;
        }
        if self.asks_left > 0 {
            if self.asks_left == ASKS {
                self.asked.clear();
                self.looked_for = std::mem::take(&mut self.spoken_of);
            }
            self.asks_left = self.asks_left.saturating_sub(1);
            self.due = now.after(if self.asks_left > 0 { BETWEEN_ASKS } else { AFTER_THE_LAST });
            let [high, _] = halves(self.random());
            self.asked.push(high);
            return Some(Step::Ask { xid: high });
        }
        let first = std::mem::replace(&mut self.first_look, false);
        for rival in &mut self.rivals {
            let was_heard = std::mem::take(&mut rival.heard);
            rival.quiet_looks = if was_heard { 0 } else { rival.quiet_looks.saturating_add(1) };
        }
        let gone = self.rivals.extract_if(.., |rival| rival.quiet_looks >= GONE_AFTER).collect();
        let (pause, jitter) = if self.rivals.is_empty() { (PAUSE, JITTER_MILLISECONDS) } else { (SHORT_PAUSE, SHORT_JITTER_MILLISECONDS) };
        // Somebody spoke of a server while the look ran.
        let pause = if self.spoken_of.is_empty() { pause } else { pause.min(CAUSED_AFTER) };
        let jitter = if self.spoken_of.is_empty() { jitter } else { jitter.min(CAUSED_WITHIN_MILLISECONDS) };
        let jitter = self.random().checked_rem(jitter).unwrap_or_default();
        self.due = now.after(pause.saturating_add(Duration::from_millis(jitter)));
        self.asks_left = ASKS;
        self.ended = now;
        let mut unheard = std::mem::take(&mut self.looked_for);
        unheard.retain(|server| self.rivals.iter().all(|rival| rival.server != *server));
        Some(Step::Ended { first, gone, unheard })
    }

    /// Whether a message answers a look of ours: only who hears the look knows its transaction, so nobody from elsewhere can make up
    /// an answer. (Our hardware address stays what it is: switches that watch over DHCP drop a DISCOVER from another one.)
    pub(super) fn asked(&self, xid: u32, to: Option<MacAddr>) -> bool {
        to == Some(self.mac) && self.asked.contains(&xid)
    }

    /// Somebody spoke of a server, or a server to somebody: nobody is believed for that, but the next look follows at once.
    pub(super) fn hear_of(&mut self, now: Timestamp, server: Ipv4Addr) {
        let is_known = self.rivals.iter().any(|rival| rival.server == server) || self.looked_for.contains(&server);
        if is_known || self.spoken_of.contains(&server) || self.spoken_of.len() >= MOST {
            return;
        }
        self.spoken_of.push(server);
        if self.asks_left == ASKS && !self.first_look {
            let spread = Duration::from_millis(self.random().checked_rem(CAUSED_WITHIN_MILLISECONDS).unwrap_or_default());
            self.due = self.due.min(now.max(self.ended.after(CAUSED_AFTER)).after(spread));
        }
    }

    /// A server answered a look. Returns it when it is new.
    pub(super) fn heard(&mut self, server: Ipv4Addr, mac: MacAddr) -> Option<Rival> {
        if let Some(rival) = self.rivals.iter_mut().find(|rival| rival.server == server) {
            (rival.heard, rival.mac) = (true, mac);
            return None;
        }
        if self.rivals.len() >= MOST {
            return None;
        }
        let rival = Rival { server, mac, heard: true, quiet_looks: 0 };
        self.rivals.push(rival);
        Some(rival)
    }

    /// The servers that are there.
    pub(super) fn rivals(&self) -> &[Rival] {
        &self.rivals
    }

    /// Whether the first look still runs.
    pub(super) const fn is_first_look(&self) -> bool {
        self.first_look
    }

    pub(super) const fn next(&self) -> Timestamp {
        self.due
    }

    /// SplitMix64, from a seed of the system's: a spread, and transactions that nobody knows who does not hear them on the segment.
    const fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn halves(number: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

    /// Takes the watch through one look; returns its end and when that was.
    fn look(watch: &mut Watch) -> (Step, Timestamp) {
        for _ in 0..3 {
            let now = watch.next();
            assert!(matches!(watch.step(now), Some(Step::Ask { .. })));
        }
        let now = watch.next();
        (watch.step(now).unwrap(), now)
    }

    #[test]
    fn the_first_look_takes_four_seconds_and_others_follow_about_each_minute() {
        let start = Timestamp::from_secs(1_800_000_000);
        let mut watch = Watch::new(start, MAC, 7);
        let (first, mut ended) = look(&mut watch);
        assert_eq!(
            (first, ended.since(start)),
            (Step::Ended { first: true, gone: Vec::new(), unheard: Vec::new() }, Duration::from_millis(3800))
        );
        let mut pauses = Vec::new();
        for _ in 0..20 {
            assert_eq!(watch.step(ended), None);
            pauses.push(watch.next().since(ended).as_millis());
            let (later, end) = look(&mut watch);
            assert_eq!(later, Step::Ended { first: false, gone: Vec::new(), unheard: Vec::new() });
            ended = end;
        }
        assert!(pauses.iter().all(|pause| (50_000..70_000).contains(pause)), "{pauses:?}");
        pauses.dedup();
        assert!(pauses.len() > 15, "{pauses:?}");
    }

    #[test]
    fn a_server_is_gone_when_three_looks_were_quiet() {
        let mut watch = Watch::new(Timestamp::from_secs(1_800_000_000), MAC, 7);
        let rival = Rival { server: OTHER, mac: MAC, heard: true, quiet_looks: 0 };
        assert_eq!(watch.heard(OTHER, MAC), Some(rival));
        for _ in 0..3 {
            look(&mut watch);
        }
        assert_eq!(watch.heard(OTHER, MAC), None, "it is known already");
        // The one in which it was heard, and two quiet ones.
        for _ in 0..3 {
            assert_eq!(look(&mut watch).0, Step::Ended { first: false, gone: Vec::new(), unheard: Vec::new() });
        }
        let gone = Rival { heard: false, quiet_looks: 3, ..rival };
        assert_eq!(look(&mut watch).0, Step::Ended { first: false, gone: vec![gone], unheard: Vec::new() });
        assert!(watch.rivals().is_empty());
    }

    #[test]
    fn who_is_gone_is_known_in_half_a_minute() {
        for seed in 0..50 {
            let mut watch = Watch::new(Timestamp::from_secs(1_800_000_000), MAC, seed);
            look(&mut watch);
            let last_heard = watch.next();
            watch.step(last_heard);
            watch.heard(OTHER, MAC);
            let gone = loop {
                let now = watch.next();
                match watch.step(now) {
                    Some(Step::Ended { gone, .. }) if !gone.is_empty() => break now,
                    _ => {}
                }
            };
            assert!(gone.since(last_heard) <= Duration::from_secs(30), "{:?}", gone.since(last_heard));
        }
    }

    #[test]
    fn only_an_answer_to_the_last_look_counts() {
        let mut watch = Watch::new(Timestamp::from_secs(1_800_000_000), MAC, 7);
        let ask = |watch: &mut Watch| match watch.step(watch.next()) {
            Some(Step::Ask { xid }) => xid,
            step => panic!("{step:?}"),
        };
        let first = ask(&mut watch);
        assert!(watch.asked(first, Some(MAC)));
        assert!(!watch.asked(first, Some(MacAddr([2; 6]))) && !watch.asked(first, None) && !watch.asked(first.wrapping_add(1), Some(MAC)));
        (0..3).for_each(|_| drop(watch.step(watch.next())));
        assert!(watch.asked(first, Some(MAC)), "a slow one, in the pause");
        let next = ask(&mut watch);
        assert!(watch.asked(next, Some(MAC)) && !watch.asked(first, Some(MAC)));
    }

    #[test]
    fn who_speaks_of_a_server_has_it_looked_for_within_a_second_and_no_more_than_once_in_nine() {
        let start = Timestamp::from_secs(1_800_000_000);
        let mut watch = Watch::new(start, MAC, 7);
        let (_, ended) = look(&mut watch);
        let heard = ended.after(Duration::from_secs(20));
        watch.hear_of(heard, OTHER);
        assert!(watch.next().since(heard) < Duration::from_secs(1));
        let (step, mut ended) = look(&mut watch);
        assert_eq!(step, Step::Ended { first: false, gone: Vec::new(), unheard: vec![OTHER] });
        for last in 0..20 {
            watch.hear_of(ended, Ipv4Addr::new(203, 0, 113, last));
            assert!((5000..6000).contains(&watch.next().since(ended).as_millis()));
            (_, ended) = look(&mut watch);
        }
        assert!(watch.rivals().is_empty());
    }

    #[test]
    fn many_made_up_servers_take_no_more_memory_than_a_bound() {
        let mut watch = Watch::new(Timestamp::from_secs(1_800_000_000), MAC, 7);
        for number in 0..1000_u32 {
            watch.heard(Ipv4Addr::from(number), MAC);
        }
        assert_eq!(watch.rivals().len(), 8);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_end_the_looks() {
        let mut watch = Watch::new(Timestamp::from_secs(1_800_000_000), MAC, 7);
        look(&mut watch);
        assert!(matches!(watch.step(Timestamp::from_secs(1_700_000_000)), Some(Step::Ask { .. })));
    }
}
