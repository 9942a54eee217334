//! How many addresses should be known to be free before somebody asks.

use std::time::Duration;

use crate::clock::Timestamp;

/// On a quiet site: as many machines as may be switched on at the same moment by hand.
const LEAST: usize = 32;

/// On the busiest one, beside those that wait: what the fastest storm takes while one round of probes runs.
const MOST: usize = 4096;

/// How long what ran dry keeps its larger stock: a storm has pauses while machines load what they boot.
const REMEMBERED: Duration = Duration::from_secs(30);

/// How fast a subnet's addresses are taken.
#[derive(Debug, Default)]
pub(super) struct Demand {
    second: u64,
    taken: usize,
    taken_before: usize,
    /// What the stock should have been, and until when that counts.
    raised: usize,
    raised_at: Timestamp,
}

impl Demand {
    /// An address of the stock was given out.
    pub(super) fn took(&mut self, now: Timestamp) {
        self.turn(now);
        self.taken = self.taken.saturating_add(1);
    }

    /// Somebody asked and there was none.
    pub(super) fn ran_dry(&mut self, now: Timestamp) {
        // Each time that all of a stock was taken, not for each client that finds it so.
        let is_new = now.since(self.raised_at) >= Duration::from_millis(200) || now < self.raised_at;
        if is_new {
            self.raised = self.stock(now).saturating_mul(2).min(MOST);
            self.raised_at = now;
        }
    }

    /// How many addresses should be known to be free.
    pub(super) fn stock(&mut self, now: Timestamp) -> usize {
        self.turn(now);
        let raised = if now.since(self.raised_at) < REMEMBERED && now >= self.raised_at { self.raised } else { 0 };
        self.taken.max(self.taken_before).saturating_mul(2).max(raised).clamp(LEAST, MOST)
    }

    fn turn(&mut self, now: Timestamp) {
        let second = now.as_secs();
        if second != self.second {
            self.taken_before = if second == self.second.saturating_add(1) { self.taken } else { 0 };
            self.taken = 0;
            self.second = second;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_is_taken_and_forgets_it() {
        let at = |seconds: u64| Timestamp::from_secs(1_800_000_000 + seconds);
        let mut demand = Demand::default();
        assert_eq!(demand.stock(at(0)), 32);
        for _ in 0..100 {
            demand.took(at(0));
        }
        assert_eq!((demand.stock(at(0)), demand.stock(at(1)), demand.stock(at(2))), (200, 200, 32));
    }

    #[test]
    fn it_doubles_each_time_that_it_ran_dry_up_to_a_bound() {
        let at = |seconds: u64| Timestamp::from_secs(1_800_000_000 + seconds);
        let mut demand = Demand::default();
        for _ in 0..100 {
            demand.ran_dry(at(0));
        }
        assert_eq!(demand.stock(at(0)), 64);
        for second in 1..30 {
            demand.ran_dry(at(second));
        }
        assert_eq!((demand.stock(at(30)), demand.stock(at(100))), (4096, 32));
        // A clock that was set back leaves no stock that nobody needs.
        assert_eq!(demand.stock(at(0)), 32);
    }
}
