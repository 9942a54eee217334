use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It has asked, and its site's policy lets it in as soon as the site's limits do.
    Discovered,
    /// It has asked, and waits for a person.
    Pending,
    /// It may boot, once.
    Approved,
    /// It was handed a boot script and has not fetched its machine config yet.
    Booting,
    /// Its machine config was handed out. It boots its own disk from here on.
    Configured,
    /// It was sent to its disk, and was not seen in its cluster yet.
    Installing,
    /// It was seen in its cluster.
    Joined,
    /// A person said no.
    Rejected,
    /// A person said that it may be set up anew.
    Rearmed,
    /// It is out of service. Its record stays.
    Retired,
}

/// What can happen to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Its site's policy leaves it to a person.
    Queue,
    /// A person, or the site's policy, lets it boot.
    Approve,
    /// A person refuses it.
    Reject,
    /// Something about it is for a person to judge before it gets anything.
    Hold,
    /// A person lets a configured node be set up anew.
    Rearm,
    /// It is handed a boot script.
    Boot,
    /// Its machine config is handed out.
    Configure,
    /// It is sent to its disk.
    Install,
    /// It is seen in its cluster.
    Join,
    /// A person takes it out of service.
    Retire,
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
    pub const ALL: [Self; 10] = [
        Self::Discovered,
        Self::Pending,
        Self::Approved,
        Self::Booting,
        Self::Configured,
        Self::Installing,
        Self::Joined,
        Self::Rejected,
        Self::Rearmed,
        Self::Retired,
    ];

    /// The state after `trigger`.
    ///
    /// # Errors
    /// When the step is not legal.
    pub const fn after(self, trigger: Trigger) -> Result<Self, IllegalTransition> {
        match (self, trigger) {
            (Self::Discovered, Trigger::Queue) => Ok(Self::Pending),
            // Approval of a node that may already boot changes nothing, so that a repeated command is no error.
            (Self::Discovered | Self::Pending | Self::Rejected | Self::Approved | Self::Retired, Trigger::Approve) => Ok(Self::Approved),
            // What has its machine config is not refused but taken out of service.
            (Self::Discovered | Self::Pending | Self::Approved | Self::Booting | Self::Rearmed | Self::Rejected, Trigger::Reject) => {
                Ok(Self::Rejected)
            }
            (Self::Discovered | Self::Pending | Self::Approved | Self::Booting | Self::Rearmed, Trigger::Hold) => Ok(Self::Pending),
            // A node that is booting may have lost its machine config on the way: arming it again is how a person helps it.
            (Self::Configured | Self::Installing | Self::Joined | Self::Booting | Self::Rearmed, Trigger::Rearm) => Ok(Self::Rearmed),
            // A boot that broke off begins anew.
            (Self::Approved | Self::Rearmed | Self::Booting, Trigger::Boot) => Ok(Self::Booting),
            (Self::Booting, Trigger::Configure) => Ok(Self::Configured),
            (Self::Configured | Self::Installing, Trigger::Install) => Ok(Self::Installing),
            (Self::Configured | Self::Installing | Self::Joined, Trigger::Join) => Ok(Self::Joined),
            (_, Trigger::Retire) => Ok(Self::Retired),
            (from, trigger) => Err(IllegalTransition { from, wanted: trigger.participle() }),
        }
    }

    /// What a node in this state is told when it asks to boot.
    #[must_use]
    pub const fn answer(self) -> Answer {
        match self {
            Self::Discovered | Self::Pending => Answer::Wait,
            Self::Approved | Self::Rearmed | Self::Booting => Answer::Boot,
            Self::Configured | Self::Installing | Self::Joined => Answer::LocalBoot,
            Self::Rejected | Self::Retired => Answer::Refuse,
        }
    }

    /// The state's name, as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discovered => "discovered",
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Booting => "booting",
            Self::Configured => "configured",
            Self::Installing => "installing",
            Self::Joined => "joined",
            Self::Rejected => "rejected",
            Self::Rearmed => "rearmed",
            Self::Retired => "retired",
        }
    }
}

impl Trigger {
    /// All triggers.
    pub const ALL: [Self; 10] = [
        Self::Queue,
        Self::Approve,
        Self::Reject,
        Self::Hold,
        Self::Rearm,
        Self::Boot,
        Self::Configure,
        Self::Install,
        Self::Join,
        Self::Retire,
    ];

    /// What it is called in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Hold => "hold",
            Self::Rearm => "rearm",
            Self::Boot => "boot",
            Self::Configure => "configure",
            Self::Install => "install",
            Self::Join => "join",
            Self::Retire => "retire",
        }
    }

    const fn participle(self) -> &'static str {
        match self {
            Self::Queue => "left to a person",
            Self::Approve => "approved",
            Self::Reject => "rejected",
            Self::Hold => "held",
            Self::Rearm => "rearmed",
            Self::Boot => "booted",
            Self::Configure => "configured",
            Self::Install => "installed",
            Self::Join => "joined",
            Self::Retire => "retired",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_handed_out_only_between_boot_and_configured() {
        for state in NodeState::ALL {
            assert_eq!(state.after(Trigger::Configure).is_ok(), state == NodeState::Booting, "{state}");
        }
    }

    #[test]
    fn a_configured_node_boots_its_disk_until_it_is_rearmed() {
        for state in [NodeState::Configured, NodeState::Installing, NodeState::Joined] {
            assert_eq!(state.answer(), Answer::LocalBoot);
            assert!(state.after(Trigger::Approve).is_err());
            assert_eq!(state.after(Trigger::Rearm).map(NodeState::answer), Ok(Answer::Boot));
        }
    }

    #[test]
    fn names_come_back() {
        for state in NodeState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("".parse::<NodeState>().is_err());
    }

    /// Sequences of triggers from a seed (xorshift), against what must hold whatever happens to a node.
    #[test]
    fn in_any_sequence_each_config_needs_a_yes_of_its_own() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            let mut state = NodeState::Discovered;
            // Whether someone said yes since the last machine config.
            let mut yes = false;
            let mut held = false;
            for _ in 0..24 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let trigger = Trigger::ALL[usize::try_from(seed % 10).unwrap()];
                let Ok(after) = state.after(trigger) else {
                    assert_ne!(trigger, Trigger::Retire, "a node can always be taken out of service");
                    continue;
                };
                match trigger {
                    Trigger::Approve | Trigger::Rearm => (yes, held) = (true, false),
                    Trigger::Reject | Trigger::Retire => yes = false,
                    Trigger::Hold => (yes, held) = (false, true),
                    Trigger::Configure => {
                        assert!(yes && !held, "{state} was configured without a yes");
                        yes = false;
                    }
                    Trigger::Queue | Trigger::Boot | Trigger::Install | Trigger::Join => {}
                }
                assert_eq!(after.answer() == Answer::Boot, yes, "{state} {trigger:?} {after}");
                if matches!(after, NodeState::Rejected | NodeState::Retired) {
                    assert_eq!(after.answer(), Answer::Refuse);
                }
                state = after;
            }
        }
    }
}
