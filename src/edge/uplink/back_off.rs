//! How long to wait before something is tried again.

use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};

/// Doubles the wait with each failure, up to a limit, and spreads it so that the sites of a cloud that comes back don't all ask at once.
#[derive(Clone, Debug)]
pub struct BackOff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl BackOff {
    /// Waits `first` after the first failure and never longer than `limit`.
    #[must_use]
    pub const fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, next: first }
    }

    /// The wait after one more failure: between three quarters and all of the step that is due, as `random` says.
    pub fn failed(&mut self, random: u8) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.limit);
        step.saturating_sub(step.saturating_mul(u32::from(random)) / 1024)
    }

    /// Begins anew after a success.
    pub const fn succeeded(&mut self) {
        self.next = self.first;
    }
}

/// An octet of the system's randomness; a fixed one when there is none, which only costs the spreading.
pub(super) fn random_octet() -> u8 {
    let mut octet = [0];
    match SystemRandom::new().fill(&mut octet) {
        Ok(()) => u8::from_be_bytes(octet),
        Err(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_its_limit_and_begins_anew_after_a_success() {
        let mut back_off = BackOff::new(Duration::from_secs(2), Duration::from_secs(60));
        let waits: Vec<u64> = (0..7).map(|_| back_off.failed(0).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60]);
        back_off.succeeded();
        let wait = back_off.failed(255);
        assert!(wait > Duration::from_millis(1500) && wait < Duration::from_secs(2), "{wait:?}");
    }
}
