use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Trigger;
use crate::clock::Timestamp;

/// How a site lets new nodes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// A person says yes to each new node.
    #[default]
    Approve,
    /// Those on the site's list may boot; a person decides about the others.
    Allow,
    /// Every new node that the site vouches for may boot.
    Auto,
}

impl Policy {
    /// The policy's name, as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Allow => "allow",
            Self::Auto => "auto",
        }
    }
}

impl FromStr for Policy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Approve, Self::Allow, Self::Auto].into_iter().find(|policy| policy.as_str() == text).ok_or(())
    }
}

/// The hours of a day, in UTC, from one minute to another. It may go over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// The first minute of the day.
    pub from: u16,
    /// The minute after the last one.
    pub until: u16,
}

impl Hours {
    const fn contain(self, at: Timestamp) -> bool {
        let minute = (at.as_secs() / 60 % 1440) as u16;
        if self.from <= self.until { self.from <= minute && minute < self.until } else { minute >= self.from || minute < self.until }
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}-{:02}:{:02}", self.from / 60, self.from % 60, self.until / 60, self.until % 60)
    }
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let minute = |text: &str| {
            let (hour, minute) = text.split_once(':')?;
            let (hour, minute) = (hour.parse::<u16>().ok()?, minute.parse::<u16>().ok()?);
            (minute < 60 && (hour < 24 || (hour == 24 && minute == 0))).then(|| hour.saturating_mul(60).saturating_add(minute))
        };
        let hours = text.split_once('-').and_then(|(from, until)| Some(Self { from: minute(from)?, until: minute(until)? }));
        hours.filter(|hours| hours.from != hours.until).ok_or_else(|| "write hours in UTC, such as 08:00-18:00".to_owned())
    }
}

/// How many a policy lets in by itself, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// At most this many in 24 hours.
    pub per_day: Option<u32>,
    /// Only then.
    pub hours: Option<Hours>,
}

/// What a policy says of a new machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What happens to it now; nothing while it waits for the site's limits.
    pub trigger: Option<Trigger>,
    /// Why.
    pub reason: String,
}

impl Policy {
    /// Judges a machine that is discovered. `conflict` says why it may be taken for another one; `let_in` is how many nodes the
    /// site's policy let in within the last 24 hours.
    #[must_use]
    pub fn judge(self, listed: bool, conflict: Option<&str>, limits: Limits, let_in: u32, now: Timestamp) -> Judgement {
        let queue = |reason: String| Judgement { trigger: Some(Trigger::Queue), reason };
        if let Some(conflict) = conflict {
            return queue(format!("held: {conflict}; a person must decide"));
        }
        match self {
            Self::Approve => return queue("new; waits for a person's approval".to_owned()),
            Self::Allow if !listed => return queue("new, and not on the site's list; waits for a person's approval".to_owned()),
            Self::Allow | Self::Auto => {}
        }
        let wait = |reason: String| Judgement { trigger: None, reason };
        if let Some(hours) = limits.hours.filter(|hours| !hours.contain(now)) {
            return wait(format!("the site's policy `{}` lets nodes in during {hours} UTC", self.as_str()));
        }
        if let Some(per_day) = limits.per_day.filter(|per_day| let_in >= *per_day) {
            return wait(format!("the site's policy `{}` lets {per_day} nodes in within 24 hours, and has", self.as_str()));
        }
        Judgement { trigger: Some(Trigger::Approve), reason: format!("approved by the site's policy `{}`", self.as_str()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_secs(12 * 3600);

    #[test]
    fn a_conflict_is_for_a_person_whatever_the_policy() {
        for policy in [Policy::Approve, Policy::Allow, Policy::Auto] {
            let judgement = policy.judge(true, Some("node 7 has its UUID"), Limits::default(), 0, NOON);
            assert_eq!(judgement.trigger, Some(Trigger::Queue));
            assert_eq!(judgement.reason, "held: node 7 has its UUID; a person must decide");
        }
    }

    #[test]
    fn each_policy_lets_in_whom_it_should() {
        let trigger = |policy: Policy, listed| policy.judge(listed, None, Limits::default(), 0, NOON).trigger;
        assert_eq!(trigger(Policy::Approve, true), Some(Trigger::Queue));
        assert_eq!(trigger(Policy::Allow, true), Some(Trigger::Approve));
        assert_eq!(trigger(Policy::Allow, false), Some(Trigger::Queue));
        assert_eq!(trigger(Policy::Auto, false), Some(Trigger::Approve));
    }

    #[test]
    fn beyond_the_limits_a_node_waits_for_them() {
        let limits = |per_day, hours: &str| Limits { per_day, hours: hours.parse().ok() };
        let trigger = |limits, let_in, at| Policy::Auto.judge(false, None, limits, let_in, at).trigger;
        assert_eq!(trigger(limits(Some(3), ""), 2, NOON), Some(Trigger::Approve));
        assert_eq!(trigger(limits(Some(3), ""), 3, NOON), None);
        assert_eq!(trigger(limits(None, "08:00-12:00"), 0, NOON), None);
        assert_eq!(trigger(limits(None, "12:00-18:00"), 0, NOON), Some(Trigger::Approve));
        assert_eq!(trigger(limits(None, "22:00-06:00"), 0, NOON), None);
        assert_eq!(trigger(limits(None, "22:00-06:00"), 0, Timestamp::from_secs(23 * 3600)), Some(Trigger::Approve));
        for text in ["", "8-12", "08:00-08:00", "25:00-26:00", "08:60-09:00"] {
            assert!(text.parse::<Hours>().is_err(), "{text}");
        }
        assert_eq!("08:05-24:00".parse::<Hours>().unwrap().to_string(), "08:05-24:00");
    }
}
