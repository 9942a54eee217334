//! The machine config, behind a token that works once.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::{BootService, Channel, Refusal, unavailable};
use crate::clock::{self, Timestamp};
use crate::cloud::actor::Actor;
use crate::cloud::admission::Trigger;
use crate::cloud::inventory;
use crate::cloud::machine_config::{Additions, BaseConfig, Tailscale};
use crate::cloud::store::{EventKind, NewEvent, Outcome, Purpose, StoreError, TokenError, TokenUse, Tx};
use crate::secret::Secret;
use crate::wire::Digest;

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Token {
    token: String,
}

pub(super) async fn serve(
    State(service): State<Arc<BootService>>,
    Extension(channel): Extension<Channel>,
    query: Result<Query<Token>, QueryRejection>,
) -> Response {
    let token = Secret::from(query.map(|query| query.0.token).unwrap_or_default());
    let now = clock::now();
    let root_pem = service.root_pem.clone();
    match service.state.store.call(move |tx| hand_out(tx, now, &token, &root_pem)).await {
        Ok(Ok(handed)) => {
            tracing::info!(
                node = handed.node, hostname = handed.hostname, session = handed.session, sha256 = %handed.digest, peer = %channel.peer,
                "machine config handed out"
            );
            let headers = [(header::CONTENT_TYPE, "application/yaml"), (header::CACHE_CONTROL, "no-store")];
            (headers, handed.config.expose().to_vec()).into_response()
        }
        Ok(Err(refusal)) => {
            tracing::warn!(peer = %channel.peer, reason = refusal.line, "refused a machine config");
            refusal.into_response()
        }
        Err(error) => unavailable(&error),
    }
}

/// What goes out, and to whom.
struct Handed {
    config: Secret,
    digest: Digest,
    node: i64,
    hostname: String,
    session: i64,
}

/// Uses up the token and makes the config. All of it is on the disk before the first octet leaves, so that a crash between the two
/// leaves a node without config, which a person can arm again, and never a config that went out twice.
fn hand_out(tx: &Tx<'_>, now: Timestamp, token: &Secret, root_pem: &str) -> Result<Result<Handed, Refusal>, StoreError> {
    let owner = match tx.use_token(token, Purpose::Config, now)? {
        Ok(owner) => owner,
        Err(TokenError::Unknown) => return Ok(Err(Refusal::forbidden("config token unknown"))),
        Err(TokenError::Used(owner)) => return refuse(tx, now, owner, "config token already used"),
        Err(TokenError::Expired(owner)) => return refuse(tx, now, owner, "config token expired"),
    };
    let (Some(session), Some(node)) = (tx.session(owner.session)?, tx.node_to_change(owner.node)?) else {
        return Ok(Err(Refusal::forbidden("config token unknown")));
    };
    let site = tx.site(session.site)?.ok_or_else(|| gone("site", session.site.to_string()))?;
    if node.state.after(Trigger::Configure).is_err() || site.revoked_at.is_some() {
        return refuse(tx, now, owner, "node may not be configured");
    }
    let cluster = tx.cluster(site.cluster)?.ok_or_else(|| gone("cluster", site.cluster.to_string()))?;
    let (base, tailscale_key) = tx.cluster_secrets(&cluster)?;
    let tailscale = tailscale_key.as_ref().map(|key| Tailscale { auth_key: Some(key), ..Tailscale::default() });
    let additions = Additions { root_pem: Some(root_pem), tailscale, ..Additions::named(&node.hostname) };
    // Nothing is used up by a config that can't be made: the transaction is taken back, and the node asks again. The error quotes no secret.
    let config = BaseConfig::from_store(base).render(&additions).map_err(|error| gone("machine config", error.to_string()))?;
    let digest = Digest::of(config.expose());
    let actor = Actor::Node(node.id);
    if inventory::step(tx, &actor, &node, Trigger::Configure, "its machine config was handed out", now)?.is_err() {
        return refuse(tx, now, owner, "node may not be configured");
    }
    tx.set_outcome(session.id, Outcome::Configured)?;
    let with = if tailscale_key.is_some() { ", with its Tailscale key" } else { "" };
    let detail = format!("machine config of cluster {}{with} to {}, sha256 {digest}", cluster.name, node.hostname);
    tx.audit(now, &actor, "config.hand_out", &node.id.to_string(), &detail);
    let event = NewEvent {
        kind: EventKind::ConfigServed,
        summary: format!("machine config of {} fetched with its one-time token, sha256 {digest}", node.hostname),
        detail: json!({"sha256": digest, "size": config.expose().len(), "tailscale_key": tailscale_key.is_some()}),
    };
    tx.add_event(site.id, session.boot, Some(node.id), now, &event)?;
    Ok(Ok(Handed { config, digest, node: node.id, hostname: node.hostname.to_string(), session: session.id }))
}

fn refuse(tx: &Tx<'_>, now: Timestamp, owner: TokenUse, line: &'static str) -> Result<Result<Handed, Refusal>, StoreError> {
    if let Some(session) = tx.session(owner.session)? {
        let event = NewEvent {
            kind: EventKind::ConfigRefused,
            summary: format!(
                "machine config refused: {line}. If the node itself asked, arm it again: fairlead-cloud node rearm {}",
                owner.node
            ),
            detail: json!({"reason": line}),
        };
        tx.add_event(session.site, session.boot, Some(owner.node), now, &event)?;
    }
    tx.audit(now, &Actor::Node(owner.node), "config.refuse", &owner.node.to_string(), line);
    Ok(Err(Refusal { status: StatusCode::FORBIDDEN, line }))
}

fn gone(what: &'static str, value: String) -> StoreError {
    StoreError::Unreadable { what, value }
}
