//! Who may boot: the states of a node, and what each state means for a node that asks. Plain functions without I/O.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It has asked, and waits for a person.
    Pending,
    /// It may boot, once.
    Approved,
    /// It was handed a boot script and has not fetched its machine config yet.
    Booting,
    /// Its machine config was handed out. It boots its own disk from here on.
    Configured,
    /// A person said no.
    Rejected,
    /// A person said that it may be set up anew.
    Rearmed,
}

/// What can happen to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A person, or the site's policy, lets it boot.
    Approve,
    /// A person refuses it.
    Reject,
    /// A person lets a configured node be set up anew.
    Rearm,
    /// It is handed a boot script.
    Boot,
    /// Its machine config is handed out.
    Configure,
}

/// A step that the node's state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node that is {from} can't be {wanted}")]
pub struct IllegalTransition {
    from: NodeState,
    wanted: &'static str,
}

impl NodeState {
    /// All states.
    pub const ALL: [Self; 6] = [Self::Pending, Self::Approved, Self::Booting, Self::Configured, Self::Rejected, Self::Rearmed];

    /// The state after `trigger`.
    ///
    /// # Errors
    /// When the step is not legal.
    pub const fn after(self, trigger: Trigger) -> Result<Self, IllegalTransition> {
        match (self, trigger) {
            // Approval of a node that may already boot changes nothing, so that a repeated command is no error.
            (Self::Pending | Self::Rejected | Self::Approved, Trigger::Approve) => Ok(Self::Approved),
            (Self::Pending | Self::Approved | Self::Booting | Self::Rearmed | Self::Rejected, Trigger::Reject) => Ok(Self::Rejected),
            // A node that is booting may have lost its machine config on the way: arming it again is how a person helps it.
            (Self::Configured | Self::Booting | Self::Rearmed, Trigger::Rearm) => Ok(Self::Rearmed),
            // A boot that broke off begins anew.
            (Self::Approved | Self::Rearmed | Self::Booting, Trigger::Boot) => Ok(Self::Booting),
            (Self::Booting, Trigger::Configure) => Ok(Self::Configured),
            (from, trigger) => Err(IllegalTransition { from, wanted: trigger.participle() }),
        }
    }

    /// What a node in this state is told when it asks to boot.
    #[must_use]
    pub const fn answer(self) -> Answer {
        match self {
            Self::Pending => Answer::Wait,
            Self::Approved | Self::Rearmed | Self::Booting => Answer::Boot,
            Self::Configured => Answer::LocalBoot,
            Self::Rejected => Answer::Refuse,
        }
    }

    /// The state's name, as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Booting => "booting",
            Self::Configured => "configured",
            Self::Rejected => "rejected",
            Self::Rearmed => "rearmed",
        }
    }
}

impl Trigger {
    const fn participle(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Reject => "rejected",
            Self::Rearm => "rearmed",
            Self::Boot => "booted",
            Self::Configure => "configured",
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that names no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a node state")]
pub struct UnknownState(String);

impl FromStr for NodeState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// What a node is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Show a code and ask again.
    Wait,
    /// Kernel, initramfs and a token for the machine config.
    Boot,
    /// Boot the disk.
    LocalBoot,
    /// A person said no.
    Refuse,
}

/// How a site lets new nodes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// A person says yes to each new node.
    #[default]
    Approve,
    /// Every new node that the site vouches for may boot.
    Auto,
}

impl Policy {
    /// The policy's name, as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Auto => "auto",
        }
    }

    /// The state of a node that was never seen before. One that collides with a known node is for a person to judge, always.
    #[must_use]
    pub const fn first_state(self, collides: bool) -> NodeState {
        match (self, collides) {
            (Self::Auto, false) => NodeState::Approved,
            _ => NodeState::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIGGERS: [Trigger; 5] = [Trigger::Approve, Trigger::Reject, Trigger::Rearm, Trigger::Boot, Trigger::Configure];

    #[test]
    fn a_config_is_handed_out_only_between_boot_and_configured() {
        for state in NodeState::ALL {
            assert_eq!(state.after(Trigger::Configure).is_ok(), state == NodeState::Booting, "{state}");
        }
    }

    #[test]
    fn nothing_leads_to_a_boot_without_a_person_or_policy() {
        // From pending, rejected or configured, every path to `Booting` passes through an approval or a re-arming.
        for start in [NodeState::Pending, NodeState::Rejected, NodeState::Configured] {
            let mut reached = vec![start];
            let mut next = 0;
            while let Some(state) = reached.get(next).copied() {
                next += 1;
                for trigger in TRIGGERS {
                    if matches!(trigger, Trigger::Approve | Trigger::Rearm) {
                        continue;
                    }
                    if let Ok(after) = state.after(trigger)
                        && !reached.contains(&after)
                    {
                        reached.push(after);
                    }
                }
            }
            assert!(!reached.contains(&NodeState::Booting), "{start} reaches {reached:?}");
        }
    }

    #[test]
    fn a_configured_node_boots_its_disk_until_it_is_rearmed() {
        assert_eq!(NodeState::Configured.answer(), Answer::LocalBoot);
        assert!(NodeState::Configured.after(Trigger::Approve).is_err());
        assert_eq!(NodeState::Configured.after(Trigger::Rearm).map(NodeState::answer), Ok(Answer::Boot));
    }

    #[test]
    fn names_come_back() {
        for state in NodeState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("".parse::<NodeState>().is_err());
    }

    #[test]
    fn a_collision_is_for_a_person_even_at_an_automatic_site() {
        assert_eq!(Policy::Auto.first_state(false), NodeState::Approved);
        assert_eq!(Policy::Auto.first_state(true), NodeState::Pending);
        assert_eq!(Policy::Approve.first_state(false), NodeState::Pending);
    }
}
