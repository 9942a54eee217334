//! Probes that are under way.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::edge::dhcp::action::{Probe, ProbeKind};

/// How long an ARP answer is waited for, and when the second request is sent. A machine on the segment answers within
/// milliseconds, one that saves power behind an access point within a beacon or two of some 100 ms. RFC 5227 (section 2.1.1)
/// waits seconds, as a host without a server can afford; a client that boots would ask again meanwhile, and does its own probe.
const ARP: Pace = Pace { again: Duration::from_millis(100), wait: Duration::from_millis(200) };

/// An echo goes through routers, and the last of them asks by ARP first.
const ECHO: Pace = Pace { again: Duration::from_millis(250), wait: Duration::from_millis(500) };

/// While more than this are under way, each is sent once: the second request is for one that got lost, which is seldom, and
/// thousands of broadcasts are a burden to all on the segment.
const SENT_TWICE: usize = 256;

/// A step that comes so much later than it was due tells nothing: the clock was set, or the machine slept, and answers may have
/// been missed.
const LATE: Duration = Duration::from_secs(2);

struct Pace {
    again: Duration,
    wait: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Probes {
    running: HashMap<Ipv4Addr, Running>,
    due: BTreeSet<(Timestamp, Ipv4Addr)>,
}

#[derive(Debug)]
struct Running {
    /// The subnet, by its place in the configuration.
    place: usize,
    probe: Probe,
    due: Timestamp,
    /// Whether the next step is another request; else it is the end.
    sends_again: bool,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send it.
    Send(Probe),
    /// Nobody answered for this address.
    Clear {
        /// Its subnet.
        place: usize,
        /// The address.
        address: Ipv4Addr,
    },
}

impl Probes {
    /// Begins one, unless the address is being probed already. What is returned is to be sent now.
    pub(super) fn begin(&mut self, now: Timestamp, place: usize, probe: Probe) -> Option<Probe> {
        if self.running.contains_key(&probe.address) {
            return None;
        }
        let sends_again = self.running.len() < SENT_TWICE;
        let pace = pace(probe.kind);
        let due = now.after(if sends_again { pace.again } else { pace.wait });
        self.running.insert(probe.address, Running { place, probe, due, sends_again });
        self.due.insert((due, probe.address));
        Some(probe)
    }

    /// The next thing that is due at `now`.
    pub(super) fn step(&mut self, now: Timestamp) -> Option<Step> {
        let (due, address) = self.due.first().copied().filter(|(due, _)| *due <= now)?;
        self.due.remove(&(due, address));
        let running = self.running.get_mut(&address)?;
        let pace = pace(running.probe.kind);
        let is_late = now.since(due) > LATE;
        if !running.sends_again && !is_late {
            let place = running.place;
            self.running.remove(&address);
            return Some(Step::Clear { place, address });
        }
        running.sends_again = is_late;
        running.due = now.after(if is_late { pace.again } else { pace.wait.saturating_sub(pace.again) });
        self.due.insert((running.due, address));
        Some(Step::Send(running.probe))
    }

    /// Ends the probe of an address, since somebody answered. Returns its subnet, or `None` when none was under way.
    pub(super) fn answered(&mut self, address: Ipv4Addr) -> Option<usize> {
        let running = self.running.remove(&address)?;
        self.due.remove(&(running.due, address));
        Some(running.place)
    }

    /// How many are under way.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }
}

const fn pace(kind: ProbeKind) -> Pace {
    match kind {
        ProbeKind::Arp(_) => ARP,
        ProbeKind::Echo => ECHO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::dhcp::InterfaceId;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
    const PROBE: Probe = Probe { address: ADDRESS, kind: ProbeKind::Arp(InterfaceId(0)) };

    fn after(milliseconds: u64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000).after(Duration::from_millis(milliseconds))
    }

    #[test]
    fn rfc5227_2_1_1_two_requests_then_the_address_is_clear() {
        let mut probes = Probes::default();
        assert_eq!(probes.begin(after(0), 3, PROBE), Some(PROBE));
        assert_eq!(probes.begin(after(1), 3, PROBE), None, "one at a time");
        assert_eq!((probes.next(), probes.step(after(99))), (Some(after(100)), None));
        assert_eq!(probes.step(after(100)), Some(Step::Send(PROBE)));
        assert_eq!(probes.step(after(199)), None);
        assert_eq!(probes.step(after(200)), Some(Step::Clear { place: 3, address: ADDRESS }));
        assert_eq!((probes.next(), probes.step(after(300))), (None, None));
    }

    #[test]
    fn an_answer_ends_it() {
        let mut probes = Probes::default();
        probes.begin(after(0), 0, PROBE);
        assert_eq!((probes.answered(ADDRESS), probes.answered(ADDRESS)), (Some(0), None));
        assert_eq!((probes.next(), probes.step(after(1000))), (None, None));
    }

    #[test]
    fn a_clock_that_was_set_clears_nothing() {
        let mut probes = Probes::default();
        probes.begin(after(0), 0, PROBE);
        probes.step(after(100));
        assert_eq!(probes.step(after(3_600_000)), Some(Step::Send(PROBE)));
        assert_eq!(probes.step(after(3_600_100)), Some(Step::Send(PROBE)));
        assert_eq!(probes.step(after(3_600_200)), Some(Step::Clear { place: 0, address: ADDRESS }));
    }

    #[test]
    fn in_a_storm_each_is_sent_once() {
        let mut probes = Probes::default();
        for number in 0..600_u32 {
            let address = Ipv4Addr::from(0x0a00_0000 + number);
            assert!(probes.begin(after(0), 0, Probe { address, ..PROBE }).is_some());
        }
        let mut sent = 0;
        while let Some(step) = probes.step(after(100)) {
            assert!(matches!(step, Step::Send(_)));
            sent += 1;
        }
        assert_eq!(sent, SENT_TWICE);
        let cleared = std::iter::from_fn(|| probes.step(after(200))).count();
        assert_eq!(cleared, 600);
    }
}
