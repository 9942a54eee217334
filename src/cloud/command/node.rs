use clap::Subcommand;
use serde_json::{Value, json};

use super::{Output, table};
use crate::clock::{self, Timestamp};
use crate::cloud::actor::Actor;
use crate::cloud::admission::{NodeState, Trigger};
use crate::cloud::state::CloudState;
use crate::cloud::store::{EventKind, LocalBoot, NewEvent, Node, Purpose, StoreError, Tx};
use crate::command_line::say;
use crate::failure::{Failure, Result};
use crate::wire::Name;

#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// List nodes
    List {
        /// Only nodes in this state: pending, approved, booting, configured, rejected, rearmed
        #[arg(long)]
        state: Option<NodeState>,
        /// How to answer
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Let a node boot; one that waits goes on by itself within seconds
    Approve {
        /// Number, code, hardware address, UUID or host name
        node: String,
        /// Host name that its machine config gives it
        #[arg(long, value_name = "NAME")]
        hostname: Option<Name>,
    },
    /// Refuse a node
    Reject {
        /// Number, code, hardware address, UUID or host name
        node: String,
        /// Why, for those who ask later
        #[arg(long, value_name = "TEXT", default_value = "rejected by the operator")]
        reason: String,
    },
    /// Let a node that has its machine config be set up anew at its next network boot
    Rearm {
        /// Number, code, hardware address, UUID or host name
        node: String,
    },
    /// Say how a configured node is sent to its disk
    LocalBoot {
        /// Number, code, hardware address, UUID or host name
        node: String,
        /// The way
        way: LocalBoot,
    },
}

impl NodeCommand {
    pub(super) fn run(self, state: &CloudState) -> Result<()> {
        match self {
            Self::List { state: wanted, output } => list(state, wanted, output),
            Self::Approve { node, hostname } => change(state, &node, move |tx, node, now| {
                if let Some(hostname) = &hostname {
                    tx.set_hostname(node, hostname)?;
                }
                step(tx, node, Trigger::Approve, EventKind::Approved, "approved by the operator", now)
            }),
            Self::Reject { node, reason } => change(state, &node, move |tx, node, now| {
                tx.revoke_tokens(node.id, Purpose::Config)?;
                step(tx, node, Trigger::Reject, EventKind::Rejected, &reason, now)
            }),
            Self::Rearm { node } => change(state, &node, move |tx, node, now| {
                tx.revoke_tokens(node.id, Purpose::Config)?;
                step(tx, node, Trigger::Rearm, EventKind::Rearmed, "rearmed by the operator", now)
            }),
            Self::LocalBoot { node, way } => change(state, &node, move |tx, node, now| {
                tx.set_local_boot(node.id, way)?;
                tx.audit(now, &Actor::Operator, "node.local_boot", &node.id.to_string(), way.as_str());
                Ok(Ok(format!("is sent to its disk by `{way}` from now on")))
            }),
        }
    }
}

/// Moves the node, records it, and says what it is now.
fn step(tx: &Tx<'_>, node: &Node, trigger: Trigger, kind: EventKind, reason: &str, now: Timestamp) -> Result<Result<String>, StoreError> {
    let state = match node.state.after(trigger) {
        Ok(state) => state,
        Err(error) => {
            return Ok(Err(Failure::new(format!("cannot change node {}", node.id)).cause(&error).hint(way_out(node))));
        }
    };
    tx.set_node_state(node.id, state, reason, now)?;
    tx.audit(now, &Actor::Operator, &format!("node.{}", kind.as_str()), &node.id.to_string(), reason);
    if let Some(session) = tx.sessions(Some(node.id), 1)?.first() {
        let event = NewEvent { kind, summary: reason.to_owned(), detail: Value::Null };
        tx.add_event(session.site, session.boot, Some(node.id), now, &event)?;
    }
    Ok(Ok(format!("is {state}")))
}

fn way_out(node: &Node) -> String {
    match node.state {
        NodeState::Configured => format!("it has its machine config; to set it up anew: fairlead-cloud node rearm {}", node.id),
        NodeState::Pending | NodeState::Approved => format!("it was never set up; to let it boot: fairlead-cloud node approve {}", node.id),
        NodeState::Rejected => format!("to let it boot after all: fairlead-cloud node approve {}", node.id),
        NodeState::Booting | NodeState::Rearmed => "it may boot already".to_owned(),
    }
}

fn change(
    state: &CloudState,
    text: &str,
    work: impl Fn(&Tx<'_>, &Node, Timestamp) -> Result<Result<String>, StoreError> + Send + 'static,
) -> Result<()> {
    let now = clock::now();
    let text = text.to_owned();
    let outcome = state.store.transaction(move |tx| {
        let nodes = tx.nodes_called(&text)?;
        let [node] = nodes.as_slice() else { return Err(not_one(&text, &nodes)) };
        let said = work(tx, node, now)??;
        Ok(format!("node {} ({}) {said}", node.id, node.key.mac))
    });
    say(&outcome?)
}

fn not_one(text: &str, nodes: &[Node]) -> Failure {
    if nodes.is_empty() {
        return Failure::new(format!("there is no node `{text}`"))
            .hint("`fairlead-cloud node list` shows them; a node is known once it has asked to boot");
    }
    let numbers: Vec<String> = nodes.iter().map(|node| node.id.to_string()).collect();
    Failure::new(format!("`{text}` means more than one node")).hint(format!("name one by its number: {}", numbers.join(", ")))
}

pub(super) fn to_json(node: &Node, site: &str) -> Value {
    json!({
        "id": node.id, "site": site, "state": node.state, "reason": node.reason, "code": node.code, "macs": [node.key.mac],
        "uuid": node.key.uuid, "serial": node.facts.serial, "product": node.facts.product, "hostname": node.hostname,
        "local_boot": node.local_boot, "first_seen": node.first_seen.to_string(), "changed_at": node.changed_at.to_string(),
    })
}

fn list(state: &CloudState, wanted: Option<NodeState>, output: Output) -> Result<()> {
    let (mut nodes, sites) = state.store.read(|tx| Ok::<_, StoreError>((tx.nodes()?, tx.sites()?)))?;
    nodes.retain(|node| wanted.is_none_or(|wanted| node.state == wanted));
    let site = |id: u32| sites.iter().find(|site| site.id == id).map(|site| site.name.to_string()).unwrap_or_default();
    match output {
        Output::Json => table::write_json(&nodes.iter().map(|node| to_json(node, &site(node.key.site))).collect::<Vec<_>>()),
        Output::Table => {
            let rows: Vec<Vec<String>> = nodes
                .iter()
                .map(|node| {
                    vec![
                        node.id.to_string(),
                        site(node.key.site),
                        node.state.to_string(),
                        node.code.clone(),
                        node.key.mac.to_string(),
                        node.hostname.to_string(),
                        node.facts.product.clone(),
                        node.reason.clone(),
                    ]
                })
                .collect();
            table::write(&["ID", "SITE", "STATE", "CODE", "MAC", "HOSTNAME", "PRODUCT", "WHY"], &rows)
        }
    }
}
