use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Output, table};
use crate::clock::{self, Timestamp};
use crate::cloud::actor::Actor;
use crate::cloud::admission::{NodeState, Trigger};
use crate::cloud::inventory::{self, ReplaceError};
use crate::cloud::state::CloudState;
use crate::cloud::store::{Class, LocalBoot, Node, NodeFilter, Selector, StoreError, Tx};
use crate::command_line::say;
use crate::failure::{Failure, Result};
use crate::wire::{MacAddr, Name};

#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// List nodes
    List(List),
    /// Let nodes boot; one that waits goes on by itself within seconds
    Approve(Approve),
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
        /// Why, for those who ask later
        #[arg(long, value_name = "TEXT", default_value = "rearmed by the operator")]
        reason: String,
    },
    /// Take a node out of service: it is refused from now on, its record stays
    Retire {
        /// Number, code, hardware address, UUID or host name
        node: String,
        /// Why, for those who ask later
        #[arg(long, value_name = "TEXT", default_value = "retired by the operator")]
        reason: String,
    },
    /// Let a new machine take the place of another: it gets its host name and may boot, the old one is retired
    Replace {
        /// The old one: number, code, hardware address, UUID or host name
        old: String,
        /// The new one
        new: String,
    },
    /// Say that a node that is held is another one, seen by another of its network cards
    Merge {
        /// The one that is held: number, code, hardware address, UUID or host name
        held: String,
        /// The one that it is
        into: String,
    },
    /// Say how a configured node is sent to its disk
    LocalBoot {
        /// Number, code, hardware address, UUID or host name
        node: String,
        /// The way
        way: LocalBoot,
    },
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only nodes in this state: discovered, pending, approved, booting, configured, installing, joined, rejected, rearmed, retired
    #[arg(long)]
    state: Option<NodeState>,
    /// Only nodes of this site
    #[arg(long)]
    site: Option<Name>,
    /// Only nodes that match, as in "product=PowerEdge*,class=storage,label.rack=4"
    #[arg(long, value_name = "FIELD=VALUE,...", default_value = "")]
    select: Selector,
    /// Only nodes with a higher number: the next page
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: i64,
    /// At most this many
    #[arg(long, default_value_t = 1000)]
    limit: u32,
    /// How to answer
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Approve {
    /// Number, code, hardware address, UUID or host name; may be several
    #[arg(required_unless_present = "select")]
    nodes: Vec<String>,
    /// All nodes that wait and match, as in "site=plant-1,product=PowerEdge*"; those that are held are left out
    #[arg(long, value_name = "FIELD=VALUE,...", conflicts_with = "nodes")]
    select: Option<Selector>,
    /// Host name that the machine config gives it; of one node
    #[arg(long, value_name = "NAME", conflicts_with = "select")]
    hostname: Option<Name>,
    /// Why, for those who ask later
    #[arg(long, value_name = "TEXT", default_value = "approved by the operator")]
    reason: String,
    /// Only say which nodes it would be
    #[arg(long)]
    dry_run: bool,
}

impl NodeCommand {
    pub(super) fn run(self, state: &CloudState) -> Result<()> {
        match self {
            Self::List(list) => list.run(state),
            Self::Approve(approve) => approve.run(state),
            Self::Reject { node, reason } => change(state, &node, move |tx, node, now| step(tx, node, Trigger::Reject, &reason, now)),
            Self::Rearm { node, reason } => change(state, &node, move |tx, node, now| step(tx, node, Trigger::Rearm, &reason, now)),
            Self::Retire { node, reason } => change(state, &node, move |tx, node, now| step(tx, node, Trigger::Retire, &reason, now)),
            Self::Replace { old, new } => change(state, &old, move |tx, old, now| {
                let new = one(tx, &new)?;
                inventory::replace(tx, &Actor::Operator, old, &new, now)?.map_err(|error| cannot_replace(old, &new, &error))?;
                Ok(format!("is retired; node {} ({}) is {} and may boot", new.id, new.key.mac, old.hostname))
            }),
            Self::Merge { held, into } => change(state, &held, move |tx, held, now| {
                let into = one(tx, &into)?;
                inventory::merge(tx, &Actor::Operator, held, &into, now)?.map_err(|error| cannot_replace(held, &into, &error))?;
                Ok(format!("is node {} ({}) from now on", into.id, into.hostname))
            }),
            Self::LocalBoot { node, way } => change(state, &node, move |tx, node, now| {
                tx.set_local_boot(node.id, way)?;
                tx.audit(now, &Actor::Operator, "node.local_boot", &node.id.to_string(), way.as_str());
                Ok(format!("is sent to its disk by `{way}` from now on"))
            }),
        }
    }
}

impl Approve {
    fn run(self, state: &CloudState) -> Result<()> {
        let Self { nodes, select, hostname, reason, dry_run } = self;
        if hostname.is_some() && nodes.len() != 1 {
            return Err(Failure::new("several nodes can't have one host name").hint("approve them one by one, or leave `--hostname` out"));
        }
        let said = state.store.transaction(move |tx| {
            let now = clock::now();
            let wanted = match &select {
                Some(selector) => waiting(tx, selector)?,
                None => nodes.iter().map(|text| one(tx, text)).collect::<Result<_>>()?,
            };
            let mut said = Vec::new();
            for node in wanted {
                if dry_run {
                    said.push(format!("node {} ({}) would be approved: {}", node.id, node.key.mac, node.reason));
                    continue;
                }
                if let Some(hostname) = &hostname {
                    tx.set_hostname(&node, hostname)?;
                }
                let is = step(tx, &node, Trigger::Approve, &reason, now)?;
                said.push(format!("node {} ({}) {is}", node.id, node.key.mac));
            }
            Ok::<_, Failure>(said)
        })?;
        if said.is_empty() {
            return say("no node that waits matches");
        }
        said.iter().try_for_each(|line| say(line))
    }
}

/// Those that wait and match. What is held is for a person to look at, one by one.
fn waiting(tx: &Tx<'_>, selector: &Selector) -> Result<Vec<Node>> {
    let mut found = Vec::new();
    for state in ["discovered", "pending"] {
        let selector = selector.clone().and("state", state).map_err(Failure::new)?;
        let mut filter = NodeFilter { selector, after: 0 };
        loop {
            let page = tx.nodes(&filter, 1000)?;
            let Some(last) = page.last() else { break };
            filter.after = last.id;
            for node in page.iter().filter(|node| node.held_for.is_none() && !node.reason.starts_with("held:")) {
                found.extend(tx.node_to_change(node.id)?);
            }
        }
    }
    Ok(found)
}

/// Moves the node, and says what it is now.
fn step(tx: &Tx<'_>, node: &Node, trigger: Trigger, reason: &str, now: Timestamp) -> Result<String> {
    let moved = inventory::step(tx, &Actor::Operator, node, trigger, reason, now)?;
    let state = moved.map_err(|error| Failure::new(format!("cannot change node {}", node.id)).cause(&error).hint(way_out(node)))?;
    Ok(format!("is {state}"))
}

fn cannot_replace(one: &Node, other: &Node, error: &ReplaceError) -> Failure {
    Failure::new(format!("node {} and node {} can't be exchanged", one.id, other.id))
        .cause(error)
        .hint("`fairlead-cloud node list` shows both")
}

fn way_out(node: &Node) -> String {
    let id = node.id;
    match node.state {
        NodeState::Configured | NodeState::Installing | NodeState::Joined => {
            format!(
                "it has its machine config; to set it up anew: fairlead-cloud node rearm {id}; to shut it out: fairlead-cloud node retire {id}"
            )
        }
        NodeState::Discovered | NodeState::Pending | NodeState::Approved => {
            format!("it was never set up; to let it boot: fairlead-cloud node approve {id}")
        }
        NodeState::Rejected | NodeState::Retired => format!("to let it boot after all: fairlead-cloud node approve {id}"),
        NodeState::Booting | NodeState::Rearmed => "it may boot already".to_owned(),
    }
}

fn change(state: &CloudState, text: &str, work: impl Fn(&Tx<'_>, &Node, Timestamp) -> Result<String> + Send + 'static) -> Result<()> {
    let text = text.to_owned();
    let said = state.store.transaction(move |tx| {
        let node = one(tx, &text)?;
        let said = work(tx, &node, clock::now())?;
        Ok::<_, Failure>(format!("node {} ({}) {said}", node.id, node.key.mac))
    })?;
    say(&said)
}

/// The one node that `text` means.
pub(super) fn one(tx: &Tx<'_>, text: &str) -> Result<Node> {
    let nodes = tx.nodes_called(text)?;
    // Of several that share an address, the one in service is meant.
    let in_service: Vec<&Node> = nodes.iter().filter(|node| node.state != NodeState::Retired).collect();
    let id = match (in_service.as_slice(), nodes.as_slice()) {
        ([node], _) => node.id,
        ([], [node]) => node.id,
        _ => return Err(not_one(text, &nodes)),
    };
    tx.node_to_change(id)?.ok_or_else(|| not_one(text, &[]))
}

fn not_one(text: &str, nodes: &[Node]) -> Failure {
    if nodes.is_empty() {
        return Failure::new(format!("there is no node `{text}`"))
            .hint("`fairlead-cloud node list` shows them; a node is known once it has asked to boot");
    }
    let numbers: Vec<String> = nodes.iter().map(|node| node.id.to_string()).collect();
    Failure::new(format!("`{text}` means more than one node")).hint(format!("name one by its number: {}", numbers.join(", ")))
}

pub(super) fn to_json(node: &Node, site: &str, macs: &[MacAddr], classes: &[&Class]) -> Value {
    let labels: serde_json::Map<String, Value> =
        classes.iter().flat_map(|class| &class.labels).map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    json!({
        "id": node.id, "site": site, "state": node.state, "reason": node.reason, "held_for": node.held_for, "code": node.code, "macs": macs,
        "uuid": node.key.uuid, "serial": node.facts.serial, "vendor": node.facts.vendor, "product": node.facts.product,
        "arch": node.facts.arch, "hostname": node.hostname, "local_boot": node.local_boot,
        "classes": classes.iter().map(|class| &class.name).collect::<Vec<_>>(), "labels": labels,
        "first_seen": node.first_seen.to_string(), "changed_at": node.changed_at.to_string(), "last_seen": node.last_seen.to_string(),
    })
}

/// A node with what else is shown of it.
pub(super) struct Listed {
    pub(super) node: Node,
    pub(super) site: Option<Name>,
    pub(super) macs: Vec<MacAddr>,
    pub(super) classes: Vec<Class>,
}

impl Listed {
    pub(super) fn of(tx: &Tx<'_>, node: Node, classes: &[Class]) -> std::result::Result<Self, StoreError> {
        let site = tx.site(node.key.site)?.map(|site| site.name);
        let macs = tx.macs(node.id)?;
        let has = |class: &&Class| site.as_ref().is_some_and(|site| class.has(&node, site));
        let classes = classes.iter().filter(has).cloned().collect();
        Ok(Self { node, site, macs, classes })
    }

    pub(super) fn site(&self) -> &str {
        self.site.as_ref().map_or("", Name::as_str)
    }

    pub(super) fn to_json(&self) -> Value {
        to_json(&self.node, self.site(), &self.macs, &self.classes.iter().collect::<Vec<_>>())
    }
}

impl List {
    fn run(self, state: &CloudState) -> Result<()> {
        let Self { state: wanted, site, mut select, after, limit, output } = self;
        if let Some(wanted) = wanted {
            select = select.and("state", wanted.as_str()).map_err(Failure::new)?;
        }
        if let Some(site) = site {
            select = select.and("site", site.as_str()).map_err(Failure::new)?;
        }
        let filter = NodeFilter { selector: select, after };
        let nodes = state.store.read(move |tx| {
            let classes = tx.classes()?;
            tx.nodes(&filter, limit)?
                .into_iter()
                .map(|node| Listed::of(tx, node, &classes))
                .collect::<std::result::Result<Vec<_>, StoreError>>()
        })?;
        match output {
            Output::Json => table::write_json(&nodes.iter().map(Listed::to_json).collect::<Vec<_>>()),
            Output::Table => {
                let rows: Vec<Vec<String>> = nodes
                    .iter()
                    .map(|listed| {
                        let node = &listed.node;
                        vec![
                            node.id.to_string(),
                            listed.site().to_owned(),
                            node.state.to_string(),
                            node.code.clone(),
                            node.key.mac.to_string(),
                            node.hostname.to_string(),
                            format!("{} {}", node.facts.vendor, node.facts.product).trim().to_owned(),
                            node.reason.clone(),
                        ]
                    })
                    .collect();
                table::write(&["ID", "SITE", "STATE", "CODE", "MAC", "HOSTNAME", "PRODUCT", "WHY"], &rows)?;
                match nodes.last() {
                    Some(last) if nodes.len() >= usize::try_from(limit).unwrap_or(usize::MAX) => {
                        say(&format!("there may be more: --after {}", last.node.id))
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}
