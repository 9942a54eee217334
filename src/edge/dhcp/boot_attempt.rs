use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::wire::{BootId, MacAddr};

/// A machine that was not heard of for this long has ended its boot.
const IDLE: Duration = Duration::from_secs(600);

/// So many boots are kept apart at once; beyond them the one that was heard of longest ago is forgotten. Hardware addresses are
/// free to invent, so there must be a bound.
const LIMIT: usize = 16_384;

/// Which boot each machine is in.
#[derive(Debug, Default)]
pub(super) struct BootAttempts {
    attempts: HashMap<MacAddr, Attempt>,
    by_last_seen: BTreeSet<(Timestamp, MacAddr)>,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    boot: BootId,
    /// The transaction that began it: firmware repeats its DISCOVER under the same one.
    xid: u32,
    last_seen: Timestamp,
    /// Since when, and how often, the machine was named a boot file while it was an iPXE that can't go on to the cloud. It outlives
    /// the boot: each round of a loop looks like a new one.
    stuck: (Timestamp, u8),
}

/// An iPXE that can't go on to the cloud loads the box's own, which can. When the operator's file is another such iPXE, each loads
/// the next without end: so it is named only so often in this time. A machine that fails and starts again by itself is not kept from
/// booting by it for long.
const STUCK_LIMIT: u8 = 12;
const STUCK_WINDOW: Duration = Duration::from_secs(300);

impl BootAttempts {
    /// A firmware's DISCOVER: a new boot, unless it repeats the one that began the present boot.
    pub(super) fn begin(&mut self, now: Timestamp, mac: MacAddr, xid: u32, fresh: BootId) -> BootId {
        let repeated = self.current(now, mac).filter(|attempt| attempt.xid == xid);
        self.see(now, mac, repeated.unwrap_or(Attempt { boot: fresh, xid, last_seen: now, stuck: self.stuck(now, mac) }))
    }

    /// Any other message of a machine that boots: its present boot, or a new one when none is known.
    pub(super) fn continue_or_begin(&mut self, now: Timestamp, mac: MacAddr, xid: u32, fresh: BootId) -> BootId {
        let current = self.current(now, mac);
        self.see(now, mac, current.unwrap_or(Attempt { boot: fresh, xid, last_seen: now, stuck: self.stuck(now, mac) }))
    }

    /// Counts that the machine is named a boot file as an iPXE that can't go on, and says whether that would be a loop.
    pub(super) fn is_looping(&mut self, now: Timestamp, mac: MacAddr) -> bool {
        let (since, count) = self.stuck(now, mac);
        let count = count.saturating_add(1);
        if let Some(attempt) = self.attempts.get_mut(&mac) {
            attempt.stuck = (since, count);
        }
        count > STUCK_LIMIT
    }

    /// The machine has come to an iPXE that can go on.
    pub(super) fn is_through(&mut self, mac: MacAddr) {
        if let Some(attempt) = self.attempts.get_mut(&mac) {
            attempt.stuck = Default::default();
        }
    }

    fn stuck(&self, now: Timestamp, mac: MacAddr) -> (Timestamp, u8) {
        let known = self.attempts.get(&mac).map(|attempt| attempt.stuck);
        known.filter(|(since, _)| now.since(*since) < STUCK_WINDOW).unwrap_or((now, 0))
    }

    /// The boot that the machine is in, if it is in one.
    pub(super) fn find(&self, now: Timestamp, mac: MacAddr) -> Option<BootId> {
        self.current(now, mac).map(|attempt| attempt.boot)
    }

    fn current(&self, now: Timestamp, mac: MacAddr) -> Option<Attempt> {
        self.attempts.get(&mac).copied().filter(|attempt| now.since(attempt.last_seen) <= IDLE)
    }

    fn see(&mut self, now: Timestamp, mac: MacAddr, attempt: Attempt) -> BootId {
        if let Some(previous) = self.attempts.insert(mac, Attempt { last_seen: now, ..attempt }) {
            self.by_last_seen.remove(&(previous.last_seen, mac));
        }
        self.by_last_seen.insert((now, mac));
        while self.attempts.len() > LIMIT
            && let Some((_, oldest)) = self.by_last_seen.pop_first()
        {
            self.attempts.remove(&oldest);
        }
        attempt.boot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + seconds)
    }

    fn boot(number: u8) -> BootId {
        BootId([number; 8])
    }

    #[test]
    fn a_boot_lasts_from_the_firmwares_discover_to_its_next_one() {
        let mut attempts = BootAttempts::default();
        assert_eq!(attempts.begin(at(0), MAC, 1, boot(1)), boot(1));
        assert_eq!(attempts.begin(at(4), MAC, 1, boot(2)), boot(1));
        assert_eq!(attempts.continue_or_begin(at(9), MAC, 7, boot(3)), boot(1));
        assert_eq!(attempts.find(at(500), MAC), Some(boot(1)));
        assert_eq!(attempts.begin(at(600), MAC, 2, boot(4)), boot(4));
    }

    #[test]
    fn ten_idle_minutes_end_a_boot() {
        let mut attempts = BootAttempts::default();
        attempts.begin(at(0), MAC, 1, boot(1));
        assert_eq!(attempts.find(at(601), MAC), None);
        assert_eq!(attempts.continue_or_begin(at(601), MAC, 1, boot(2)), boot(2));
    }

    #[test]
    fn invented_hardware_addresses_do_not_grow_the_memory() {
        let mut attempts = BootAttempts::default();
        for number in 0..40_000_u32 {
            let [a, b, c, d] = number.to_be_bytes();
            attempts.begin(at(u64::from(number)), MacAddr([2, 0, a, b, c, d]), 1, boot(1));
        }
        assert_eq!((attempts.attempts.len(), attempts.by_last_seen.len()), (LIMIT, LIMIT));
    }
}
