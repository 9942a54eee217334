//! What a machine that shows a ticket or a continuation is told. One transaction, without sockets or clock.

use std::time::Duration;

use serde_json::json;

use super::shown::Shown;
use super::{Channel, Refusal};
use crate::clock::Timestamp;
use crate::cloud::actor::Actor;
use crate::cloud::admission::{Answer, NodeState, Trigger};
use crate::cloud::config::BootPlane;
use crate::cloud::inventory;
use crate::cloud::store::{
    Cluster, EventKind, NewEvent, Node, NodeKey, Outcome, Purpose, Session, Site, StoreError, TokenError, TokenUse, Tx,
};
use crate::secret::Secret;
use crate::wire::{BootId, Ticket, TicketError};

/// A continuation begins with this, which no ticket does: base64url has no dot.
const CONTINUATION_PREFIX: &str = "c.";

/// What the shell around the decision brings: randomness, made before the transaction began.
pub(super) struct Fresh {
    /// The node's code, should it be new.
    pub(super) code: String,
    /// Becomes a continuation or the machine config's token.
    pub(super) token: Secret,
}

/// What the machine is told.
pub(super) struct Decision {
    pub(super) site: Site,
    pub(super) node: Node,
    pub(super) session: Session,
    pub(super) verdict: Verdict,
    /// Whether this is the first answer to a ticket, and not the answer to a continuation.
    pub(super) first: bool,
}

pub(super) enum Verdict {
    Wait { continuation: Secret },
    Refuse,
    LocalBoot,
    Boot { cluster: Box<Cluster>, config_token: Secret },
}

/// Judges the request and records what follows from it.
pub(super) fn decide(
    tx: &Tx<'_>,
    now: Timestamp,
    settings: &BootPlane,
    shown: &Shown,
    channel: &Channel,
    fresh: &Fresh,
) -> Result<Result<Decision, Refusal>, StoreError> {
    let text = shown.credential.expose_str().unwrap_or_default();
    let (site, boot, node, first) = if text.starts_with(CONTINUATION_PREFIX) {
        match continued(tx, now, shown)? {
            Ok((site, boot, node)) => (site, boot, node, false),
            Err(refusal) => return Ok(Err(refusal)),
        }
    } else {
        match ticketed(tx, now, settings, shown, &fresh.code)? {
            Ok((site, boot, node)) => (site, boot, node, true),
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
    let session = tx.session_for(site.id, boot, node.id, now)?;
    let record = |event: &NewEvent| tx.add_event(site.id, boot, Some(node.id), now, event);
    if first {
        record(&NewEvent {
            kind: EventKind::TicketAccepted,
            summary: format!("boot ticket of site {} accepted over {}", site.name, channel.tls),
            detail: json!({"tls": channel.tls, "mac": node.key.mac, "uuid": node.key.uuid}),
        })?;
    }
    let owner = TokenUse { session: session.id, node: node.id };
    let verdict = match node.state.answer() {
        Answer::Wait => {
            if first {
                record(&NewEvent {
                    kind: EventKind::Waiting,
                    summary: format!("waits for approval, code {}: {}", node.code, node.reason),
                    detail: json!({"code": node.code}),
                })?;
            }
            tx.set_outcome(session.id, Outcome::Waiting)?;
            // A node that misses a poll or two, or whose TLS handshake is slow, must not fall out.
            let expires_at = now.after(settings.poll_interval.saturating_mul(6).saturating_add(Duration::from_secs(60)));
            let continuation = Secret::from(format!("{CONTINUATION_PREFIX}{}", fresh.token.expose_str().unwrap_or_default()));
            tx.add_token(&continuation, Purpose::Continuation, owner, expires_at)?;
            Verdict::Wait { continuation }
        }
        Answer::Refuse => {
            if first {
                record(&NewEvent {
                    kind: EventKind::Rejected,
                    summary: format!("refused: {}", node.reason),
                    detail: json!({"reason": node.reason}),
                })?;
            }
            tx.set_outcome(session.id, Outcome::Refused)?;
            Verdict::Refuse
        }
        Answer::LocalBoot => {
            record(&NewEvent {
                kind: EventKind::LocalBoot,
                summary: format!("sent to its disk ({}): its machine config was handed out before", node.local_boot),
                detail: json!({"method": node.local_boot}),
            })?;
            tx.set_outcome(session.id, Outcome::LocalBoot)?;
            if node.state == NodeState::Configured {
                let actor = Actor::Site(site.name.clone());
                inventory::step(tx, &actor, &node, Trigger::Install, "was sent to its disk", now)?
                    .map_err(|error| illegal(&node, &error.to_string()))?;
            }
            Verdict::LocalBoot
        }
        Answer::Boot => {
            let cluster = tx
                .cluster(site.cluster)?
                .ok_or_else(|| StoreError::Unreadable { what: "cluster of a site", value: site.name.to_string() })?;
            let actor = Actor::Site(site.name.clone());
            inventory::step(tx, &actor, &node, Trigger::Boot, "was handed a boot script", now)?
                .map_err(|error| illegal(&node, &error.to_string()))?;
            // One machine config, one way to it: what an earlier attempt was handed is good no longer.
            tx.revoke_tokens(node.id, Purpose::Config)?;
            tx.add_token(&fresh.token, Purpose::Config, owner, now.after(settings.config_token_lifetime))?;
            tx.set_outcome(session.id, Outcome::Booting)?;
            record(&NewEvent {
                kind: EventKind::ScriptServed,
                summary: format!("boot script of cluster {} handed to {}", cluster.name, node.hostname),
                detail: json!({"cluster": cluster.name, "kernel": cluster.kernel.digest, "initramfs": cluster.initramfs.digest}),
            })?;
            Verdict::Boot { cluster: Box::new(cluster), config_token: fresh.token.clone() }
        }
    };
    Ok(Ok(Decision { site, node, session, verdict, first }))
}

type Admitted = Result<(Site, BootId, Node), Refusal>;

/// A machine that shows its site's ticket.
fn ticketed(tx: &Tx<'_>, now: Timestamp, settings: &BootPlane, shown: &Shown, code: &str) -> Result<Admitted, StoreError> {
    let text = shown.credential.expose_str().unwrap_or_default();
    let mut store_error = None;
    let verified = Ticket::verify(text, |site| {
        tx.ticket_keys(site).unwrap_or_else(|error| {
            store_error = Some(error);
            Vec::new()
        })
    });
    if let Some(error) = store_error {
        return Err(error);
    }
    let ticket = match verified {
        Ok(ticket) => ticket,
        Err(TicketError::BadSignature) => return Ok(Err(Refusal::forbidden("ticket not signed by known site"))),
        Err(_) => return Ok(Err(Refusal::forbidden("not a boot ticket"))),
    };
    let Some(site) = tx.site(ticket.site)?.filter(|site| site.revoked_at.is_none()) else {
        return Ok(Err(Refusal::forbidden("ticket not signed by known site")));
    };
    // From here on the site has vouched for the boot, so that what is wrong belongs into its timeline.
    let refuse = |kind, summary: String, line| {
        tx.add_event(
            site.id,
            ticket.boot,
            None,
            now,
            &NewEvent { kind, summary, detail: json!({"mac": shown.mac, "ticket_mac": ticket.mac}) },
        )?;
        tx.audit(now, &Actor::Site(site.name.clone()), "ticket.refuse", &shown.mac.to_string(), line);
        Ok(Err(Refusal::forbidden(line)))
    };
    if ticket.mac != shown.mac || (ticket.uuid.is_some() && ticket.uuid != shown.uuid) {
        let summary = format!("ticket for {} was shown by a machine that says it is {}", ticket.mac, shown.mac);
        return refuse(EventKind::TicketForOtherMachine, summary, "ticket is for another machine");
    }
    match ticket.check_age(now, settings.ticket_lifetime, settings.clock_skew) {
        Ok(()) => {}
        Err(error @ TicketError::NotYetValid(_)) => {
            return refuse(
                EventKind::TicketOutOfTime,
                format!("{error}: is the clock of the site's box right?"),
                "ticket is from the future",
            );
        }
        Err(error) => {
            return refuse(EventKind::TicketOutOfTime, format!("{error}: is the clock of the site's box right?"), "ticket expired");
        }
    }
    // The nonce must be remembered for as long as the ticket could pass the check above.
    let expires_at = ticket.issued_at.after(settings.ticket_lifetime);
    if !tx.use_nonce(site.id, ticket.nonce, expires_at)? {
        return refuse(EventKind::TicketReplayed, format!("ticket of {} was shown a second time", ticket.mac), "ticket already used");
    }
    let key = NodeKey { site: site.id, mac: ticket.mac, uuid: ticket.uuid.or(shown.uuid).filter(|uuid| uuid.is_identity()) };
    let node = inventory::arrive(tx, &site, &key, &shown.facts, ticket.boot, code, now)?;
    Ok(Ok((site, ticket.boot, node)))
}

/// A machine that waited, and shows what it was given to ask again with.
fn continued(tx: &Tx<'_>, now: Timestamp, shown: &Shown) -> Result<Admitted, StoreError> {
    let owner = match tx.use_token(&shown.credential, Purpose::Continuation, now)? {
        Ok(owner) => owner,
        Err(TokenError::Expired(_)) => return Ok(Err(Refusal::forbidden("waited too long: begin anew"))),
        Err(_) => return Ok(Err(Refusal::forbidden("continuation already used"))),
    };
    let (Some(session), Some(node)) = (tx.session(owner.session)?, tx.node_to_change(owner.node)?) else {
        return Ok(Err(Refusal::forbidden("continuation already used")));
    };
    if !tx.macs(node.id)?.contains(&shown.mac) {
        let summary = format!("what {} was given to wait with was shown by {}", node.key.mac, shown.mac);
        let event = NewEvent { kind: EventKind::TicketForOtherMachine, summary, detail: json!({"mac": shown.mac}) };
        tx.add_event(session.site, session.boot, Some(node.id), now, &event)?;
        return Ok(Err(Refusal::forbidden("ticket is for another machine")));
    }
    match tx.site(session.site)?.filter(|site| site.revoked_at.is_none()) {
        Some(site) => {
            let node = inventory::ask_again(tx, &site, node, now)?;
            Ok(Ok((site, session.boot, node)))
        }
        None => Ok(Err(Refusal::forbidden("ticket not signed by known site"))),
    }
}

fn illegal(node: &Node, error: &str) -> StoreError {
    StoreError::Unreadable { what: "node state", value: format!("node {}: {error}", node.id) }
}
