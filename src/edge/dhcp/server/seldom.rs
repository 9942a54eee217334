use std::time::{Duration, Instant};

/// Keeps trouble that comes with every answer from filling the log.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    last: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// Calls `tell`, at most once a second, with how often it was not called since.
    pub(super) fn tell(&mut self, tell: impl FnOnce(u64)) {
        let now = Instant::now();
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < Duration::from_secs(1)) {
            self.untold = self.untold.saturating_add(1);
            return;
        }
        self.last = Some(now);
        tell(std::mem::take(&mut self.untold));
    }
}
