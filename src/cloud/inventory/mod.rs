//! What people, programs and machines do to nodes. The one place through which a node changes: each change is judged by
//! [`crate::cloud::admission`], and stands in the audit log with who did it and why. All of it is one transaction of the caller's.

mod list;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::cloud::actor::Actor;
use crate::cloud::admission::{Answer, IllegalTransition, Machine, NodeState, Recognition, Trigger, identifies, recognise};
use crate::cloud::store::{EventKind, NewEvent, Node, NodeFacts, NodeKey, Purpose, Site, StoreError, Tx};
use crate::wire::{BootId, Name};

pub use list::{ListError, read_list};

/// How long a policy's limit on new nodes counts.
const DAY: u64 = 86_400_000;

/// Moves a node by one step, if its state allows, and returns where it stands then.
///
/// # Errors
/// The database's own; that the step is not legal is the inner error.
pub fn step(
    tx: &Tx<'_>,
    actor: &Actor,
    node: &Node,
    trigger: Trigger,
    reason: &str,
    now: Timestamp,
) -> Result<Result<NodeState, IllegalTransition>, StoreError> {
    let state = match node.state.after(trigger) {
        Ok(state) => state,
        Err(illegal) => return Ok(Err(illegal)),
    };
    if matches!(trigger, Trigger::Reject | Trigger::Hold | Trigger::Rearm | Trigger::Retire) {
        tx.revoke_tokens(node.id, Purpose::Config)?;
    }
    if matches!(trigger, Trigger::Approve | Trigger::Reject | Trigger::Retire) {
        tx.set_held_for(node.id, None)?;
    }
    tx.set_node_state(node.id, state, reason, now)?;
    let detail = format!("{} -> {state}: {reason}", node.state);
    tx.audit(now, actor, &format!("node.{}", trigger.as_str()), &node.id.to_string(), &detail);
    let kind = match trigger {
        Trigger::Approve => EventKind::Approved,
        Trigger::Reject => EventKind::Rejected,
        Trigger::Hold => EventKind::Held,
        Trigger::Rearm => EventKind::Rearmed,
        Trigger::Retire => EventKind::Retired,
        // Whoever does these tells more of them in the timeline.
        Trigger::Queue | Trigger::Boot | Trigger::Configure | Trigger::Install | Trigger::Join => return Ok(Ok(state)),
    };
    if let Some(session) = tx.sessions(Some(node.id), 1)?.first() {
        let event = NewEvent { kind, summary: reason.to_owned(), detail: Value::Null };
        tx.add_event(session.site, session.boot, Some(node.id), now, &event)?;
    }
    Ok(Ok(state))
}

/// A machine that shows a ticket: the node that it is, as it stands once its site's policy has judged it.
///
/// # Errors
/// The database's own.
pub fn arrive(
    tx: &Tx<'_>,
    site: &Site,
    key: &NodeKey,
    facts: &NodeFacts,
    boot: BootId,
    code: &str,
    now: Timestamp,
) -> Result<Node, StoreError> {
    let machine = Machine { site: site.id, mac: key.mac, uuid: key.uuid, serial: identifies(&facts.serial) };
    let mut known = Vec::new();
    let mut found = tx.node_by_key(key)?;
    if let Some(node) = &found {
        known.push(tx.known(node)?);
    } else {
        tx.lock_admission()?;
        known = tx.nodes_like(&machine)?;
    }
    match recognise(&machine, &known, now) {
        Recognition::Known(id) | Recognition::Doubtful { node: id, .. } if found.is_none() => found = tx.node_to_change(id)?,
        _ => {}
    }
    let Some(node) = found else {
        let conflict = match recognise(&machine, &known, now) {
            Recognition::Conflict { with, why, at_once } => Some((with, why, at_once)),
            _ => None,
        };
        return discover(tx, site, &machine, key, facts, boot, code, conflict, now);
    };
    tx.set_node_facts(node.id, facts, now)?;
    if let Recognition::Doubtful { why, .. } = recognise(&machine, &known, now) {
        alarm(tx, site, boot, node.id, &format!("node {}: {why}", node.id), now)?;
        if node.state.answer() == Answer::Boot {
            hold(tx, &node, &why, now)?;
        }
    }
    judge(tx, site, reread(tx, node.id)?, now)
}

/// A machine that waits and asks again: its site's limits may let it in by now.
///
/// # Errors
/// The database's own.
pub fn ask_again(tx: &Tx<'_>, site: &Site, node: Node, now: Timestamp) -> Result<Node, StoreError> {
    judge(tx, site, node, now)
}

#[expect(clippy::too_many_arguments, reason = "all that is known of a machine when it is first seen")]
fn discover(
    tx: &Tx<'_>,
    site: &Site,
    machine: &Machine,
    key: &NodeKey,
    facts: &NodeFacts,
    boot: BootId,
    code: &str,
    conflict: Option<(i64, String, bool)>,
    now: Timestamp,
) -> Result<Node, StoreError> {
    let node = tx.add_node(key, code, &default_hostname(&site.name, key), facts, now)?;
    let listed = tx.allowed_machine(machine, &facts.serial)?;
    if let Some(hostname) = listed.and_then(|listed| listed.hostname)
        && !tx.hostname_is_taken(&node, &hostname)?
    {
        tx.set_hostname(&node, &hostname)?;
    }
    let detail = format!("{} {} {}", key.mac, key.uuid.map(|uuid| uuid.to_string()).unwrap_or_default(), facts.serial);
    tx.audit(now, &Actor::Site(site.name.clone()), "node.discover", &node.id.to_string(), detail.trim());
    if let Some((with, why, at_once)) = conflict {
        tx.set_held_for(node.id, Some(with))?;
        alarm(tx, site, boot, node.id, &why, now)?;
        let judgement = site.policy.judge(false, Some(&why), site.limits, 0, now);
        settle(tx, &node, judgement.trigger, &judgement.reason, now)?;
        if at_once && let Some(other) = tx.node_to_change(with)? {
            let why =
                format!("node {} shows the same identity at the same time ({}); nobody can say which is the right one", node.id, key.mac);
            hold(tx, &other, &why, now)?;
        }
        return reread(tx, node.id);
    }
    judge(tx, site, reread(tx, node.id)?, now)
}

/// Lets the policy judge a node that is discovered and no more.
fn judge(tx: &Tx<'_>, site: &Site, node: Node, now: Timestamp) -> Result<Node, StoreError> {
    if node.state != NodeState::Discovered {
        return Ok(node);
    }
    // What is counted must not change before this is done.
    tx.lock_admission()?;
    let machine = Machine { site: site.id, mac: node.key.mac, uuid: node.key.uuid, serial: identifies(&node.facts.serial) };
    let listed = tx.allowed_machine(&machine, &node.facts.serial)?.is_some();
    let let_in = tx.let_in_since(site.id, Timestamp(now.0.saturating_sub(DAY)))?;
    let judgement = site.policy.judge(listed, None, site.limits, let_in, now);
    if judgement.trigger == Some(Trigger::Approve) {
        tx.set_let_in(node.id, now)?;
    }
    settle(tx, &node, judgement.trigger, &judgement.reason, now)?;
    reread(tx, node.id)
}

/// Does what a policy says.
fn settle(tx: &Tx<'_>, node: &Node, trigger: Option<Trigger>, reason: &str, now: Timestamp) -> Result<(), StoreError> {
    match trigger {
        Some(trigger) => {
            if let Ok(state) = node.state.after(trigger) {
                tx.set_node_state(node.id, state, reason, now)?;
                let detail = format!("{} -> {state}: {reason}", node.state);
                tx.audit(now, &Actor::Cloud, &format!("node.{}", trigger.as_str()), &node.id.to_string(), &detail);
            }
            Ok(())
        }
        // The same reason again and again would be a change at each poll.
        None if node.reason != reason => tx.set_node_state(node.id, node.state, reason, now),
        None => Ok(()),
    }
}

fn hold(tx: &Tx<'_>, node: &Node, why: &str, now: Timestamp) -> Result<(), StoreError> {
    // A node that can't be held gets nothing anyway.
    step(tx, &Actor::Cloud, node, Trigger::Hold, &format!("held: {why}; a person must decide"), now).map(drop)
}

fn alarm(tx: &Tx<'_>, site: &Site, boot: BootId, node: i64, why: &str, now: Timestamp) -> Result<(), StoreError> {
    let event = NewEvent { kind: EventKind::IdentityConflict, summary: why.to_owned(), detail: json!({"node": node}) };
    tx.add_event(site.id, boot, Some(node), now, &event)
}

fn reread(tx: &Tx<'_>, id: i64) -> Result<Node, StoreError> {
    tx.node(id)?.ok_or_else(|| StoreError::Unreadable { what: "node", value: id.to_string() })
}

/// A host name that is the site's alone: the site's name, cut if need be, and the hardware address.
fn default_hostname(site: &Name, key: &NodeKey) -> Name {
    let address: String = key.mac.to_string().chars().filter(|letter| *letter != ':').collect();
    let cut: String = site.as_str().chars().take(50).collect();
    format!("{}-{address}", cut.trim_end_matches('-')).parse().unwrap_or_else(|_| site.clone())
}

/// Why one node can't take another one's place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// They are one and the same.
    #[error("a node can't take its own place")]
    Same,
    /// They are at different sites.
    #[error("the two nodes are at different sites")]
    OtherSite,
    /// One of them is in a state that does not allow it.
    #[error(transparent)]
    State(#[from] IllegalTransition),
}

/// A new machine takes the place of another: it gets its host name and may boot; the old one is taken out of service.
///
/// # Errors
/// The database's own; that it can't be is the inner error.
pub fn replace(tx: &Tx<'_>, actor: &Actor, old: &Node, new: &Node, now: Timestamp) -> Result<Result<(), ReplaceError>, StoreError> {
    if old.id == new.id {
        return Ok(Err(ReplaceError::Same));
    }
    if old.key.site != new.key.site {
        return Ok(Err(ReplaceError::OtherSite));
    }
    if let Err(illegal) = new.state.after(Trigger::Approve) {
        return Ok(Err(illegal.into()));
    }
    if let Err(illegal) = step(tx, actor, old, Trigger::Retire, &format!("replaced by node {}", new.id), now)? {
        return Ok(Err(illegal.into()));
    }
    tx.set_hostname(new, &old.hostname)?;
    tx.set_local_boot(new.id, old.local_boot)?;
    Ok(step(tx, actor, new, Trigger::Approve, &format!("takes the place of node {}", old.id), now)?.map(drop).map_err(ReplaceError::from))
}

/// A node that was held turns out to be another one with one more network card: its addresses become that one's.
///
/// # Errors
/// The database's own; that it can't be is the inner error.
pub fn merge(tx: &Tx<'_>, actor: &Actor, held: &Node, into: &Node, now: Timestamp) -> Result<Result<(), ReplaceError>, StoreError> {
    if held.id == into.id {
        return Ok(Err(ReplaceError::Same));
    }
    if held.key.site != into.key.site {
        return Ok(Err(ReplaceError::OtherSite));
    }
    if let Err(illegal) = step(tx, actor, held, Trigger::Retire, &format!("is node {}, seen by another of its addresses", into.id), now)? {
        return Ok(Err(illegal.into()));
    }
    tx.move_macs(held.id, into.id)?;
    tx.audit(now, actor, "node.merge", &into.id.to_string(), &format!("has the hardware addresses of node {} now", held.id));
    Ok(Ok(()))
}
