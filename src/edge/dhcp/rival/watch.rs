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

/// Between the looks; while another server was heard more often, since nobody is served while both are silent.
const PAUSE: Duration = Duration::from_secs(50);
const SHORT_PAUSE: Duration = Duration::from_secs(10);
/// Up to so much is added, so that boxes that were switched on together do not look together: neither would hear the other.
const JITTER_MILLISECONDS: u64 = 20_000;
const SHORT_JITTER_MILLISECONDS: u64 = 5000;

/// A server that was not heard for so many looks is gone.
const GONE_AFTER: u32 = 3;

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
    first_look: bool,
    rivals: Vec<Rival>,
}

/// Another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rival {
    /// Its identifier.
    pub(super) server: Ipv4Addr,
    /// Its hardware address, or its relay's, when it was heard itself.
    pub(super) mac: Option<MacAddr>,
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
    },
}

impl Watch {
    /// Begins with a look at once; `seed` is the shell's randomness.
    pub(super) const fn new(now: Timestamp, mac: MacAddr, seed: u64) -> Self {
        Self { mac, random: seed, asks_left: ASKS, due: now, first_look: true, rivals: Vec::new() }
    }

    /// The next thing that is due.
    pub(super) fn step(&mut self, now: Timestamp) -> Option<Step> {
        // A clock that was set back must not end the looks.
        let longest = PAUSE.saturating_add(Duration::from_millis(JITTER_MILLISECONDS));
        if self.due > now && self.due <= now.after(longest) {
            return None;
        }
        if self.asks_left > 0 {
            self.asks_left = self.asks_left.saturating_sub(1);
            self.due = now.after(if self.asks_left > 0 { BETWEEN_ASKS } else { AFTER_THE_LAST });
            let [high, _] = halves(self.random());
            return Some(Step::Ask { xid: high });
        }
        let first = std::mem::replace(&mut self.first_look, false);
        for rival in &mut self.rivals {
            let was_heard = std::mem::take(&mut rival.heard);
            rival.quiet_looks = if was_heard { 0 } else { rival.quiet_looks.saturating_add(1) };
        }
        let gone = self.rivals.extract_if(.., |rival| rival.quiet_looks >= GONE_AFTER).collect();
        let (pause, jitter) = if self.rivals.is_empty() { (PAUSE, JITTER_MILLISECONDS) } else { (SHORT_PAUSE, SHORT_JITTER_MILLISECONDS) };
        let jitter = self.random().checked_rem(jitter).unwrap_or_default();
        self.due = now.after(pause.saturating_add(Duration::from_millis(jitter)));
        self.asks_left = ASKS;
        Some(Step::Ended { first, gone })
    }

    /// A server was heard. Returns it when it is new, or when its hardware address is.
    pub(super) fn heard(&mut self, server: Ipv4Addr, mac: Option<MacAddr>) -> Option<Rival> {
        if let Some(rival) = self.rivals.iter_mut().find(|rival| rival.server == server) {
            rival.heard = true;
            let was_unknown = rival.mac.is_none() && mac.is_some();
            rival.mac = mac.or(rival.mac);
            return was_unknown.then_some(*rival);
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

    /// SplitMix64: what is needed is a spread, not a secret.
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
        assert_eq!((first, ended.since(start)), (Step::Ended { first: true, gone: Vec::new() }, Duration::from_millis(3800)));
        let mut pauses = Vec::new();
        for _ in 0..20 {
            assert_eq!(watch.step(ended), None);
            pauses.push(watch.next().since(ended).as_millis());
            let (later, end) = look(&mut watch);
            assert_eq!(later, Step::Ended { first: false, gone: Vec::new() });
            ended = end;
        }
        assert!(pauses.iter().all(|pause| (50_000..70_000).contains(pause)), "{pauses:?}");
        pauses.dedup();
        assert!(pauses.len() > 15, "{pauses:?}");
    }

    #[test]
    fn a_server_is_gone_when_three_looks_were_quiet() {
        let mut watch = Watch::new(Timestamp::from_secs(1_800_000_000), MAC, 7);
        let rival = Rival { server: OTHER, mac: None, heard: true, quiet_looks: 0 };
        assert_eq!(watch.heard(OTHER, None), Some(rival));
        assert_eq!(watch.heard(OTHER, None), None);
        for _ in 0..3 {
            look(&mut watch);
        }
        assert_eq!(watch.heard(OTHER, Some(MAC)).and_then(|rival| rival.mac), Some(MAC), "now its hardware address is known");
        // The one in which it was heard, and two quiet ones.
        for _ in 0..3 {
            assert_eq!(look(&mut watch).0, Step::Ended { first: false, gone: Vec::new() });
        }
        let gone = Rival { mac: Some(MAC), heard: false, quiet_looks: 3, ..rival };
        assert_eq!(look(&mut watch).0, Step::Ended { first: false, gone: vec![gone] });
        assert!(watch.rivals().is_empty());
    }

    #[test]
    fn many_made_up_servers_take_no_more_memory_than_a_bound() {
        let mut watch = Watch::new(Timestamp::from_secs(1_800_000_000), MAC, 7);
        for number in 0..1000_u32 {
            watch.heard(Ipv4Addr::from(number), None);
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
