//! Who may boot. Plain functions without I/O: what comes of it is recorded by [`crate::cloud::inventory`].
//!
//! - `state`: the states of a node, and what each means for a node that asks.
//! - `identity`: whether a machine is one that is known.
//! - `policy`: how a site lets new machines in.

mod identity;
mod policy;
mod state;

pub use identity::{AT_ONCE, KnownNode, Machine, Recognition, identifies, recognise};
pub use policy::{Hours, Judgement, Limits, Policy};
pub use state::{Answer, IllegalTransition, NodeState, Trigger, UnknownState};
