//! How long a client has its address (RFC 2131, sections 3.3, 4.3.1 and 4.4.5).

use super::config::policy::Sourced;
use super::explain::{Level, Source, TimeReason};
use super::levels::Levels;

/// The times of one lease, in seconds: T1 before T2 before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaseTimes {
    pub(super) lease: u32,
    pub(super) lease_reason: TimeReason,
    pub(super) renewal: (u32, Source),
    pub(super) rebinding: (u32, Source),
}

/// What is given when nothing is configured.
const DEFAULT_LEASE_TIME: u32 = 3600;

impl LeaseTimes {
    /// The times for a client that asks for `asked` seconds, if it does. Its wish is held to `min_lease_time` and `max_lease_time`; each
    /// of them is `lease_time` when it is not configured, so that a wish is not heeded unless someone says so.
    pub(super) fn decide(levels: &Levels<'_>, asked: Option<u32>) -> Self {
        let (default, default_source) =
            levels.first(|policy| policy.times.default.as_ref()).map_or((DEFAULT_LEASE_TIME, Source::BuiltIn), sourced);
        let bound = |said: Option<(Level, &Sourced<u32>)>| said.map_or((default, default_source), sourced);
        let (least, least_source) = bound(levels.first(|policy| policy.times.min.as_ref()));
        let (most, most_source) = bound(levels.first(|policy| policy.times.max.as_ref()));
        let (lease, lease_reason) = match asked {
            None => (default, TimeReason::Default(default_source)),
            // Bounds of different levels may cross; then the upper one counts, since a short lease ends by itself.
            Some(asked) if asked > most || least > most => (most, TimeReason::Most(most_source)),
            Some(asked) if asked < least => (least, TimeReason::Least(least_source)),
            Some(asked) => (asked, TimeReason::Asked),
        };
        let rebinding = levels.first(|policy| policy.times.rebinding.as_ref()).map(sourced).filter(|(seconds, _)| *seconds < lease);
        let rebinding = rebinding.unwrap_or((seven_eighths(lease), Source::BuiltIn));
        let renewal = levels.first(|policy| policy.times.renewal.as_ref()).map(sourced).filter(|(seconds, _)| *seconds < rebinding.0);
        let renewal = renewal.unwrap_or(((lease / 2).min(rebinding.0), Source::BuiltIn));
        Self { lease, lease_reason, renewal, rebinding }
    }
}

/// T1 and T2 of a lease of this many seconds (RFC 2131, section 4.4.5).
pub(super) const fn default_timers(lease: u32) -> (u32, u32) {
    (lease / 2, seven_eighths(lease))
}

const fn seven_eighths(seconds: u32) -> u32 {
    seconds.saturating_sub(seconds / 8)
}

fn sourced((level, said): (Level, &Sourced<u32>)) -> (u32, Source) {
    (said.value, Source::Configured(level, said.origin))
}
