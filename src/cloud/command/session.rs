use clap::Subcommand;
use serde_json::{Value, json};

use super::node::Listed;
use super::{Output, table};
use crate::cloud::state::CloudState;
use crate::cloud::store::{Event, Outcome, Session, StoreError};
use crate::command_line::say;
use crate::failure::{Failure, Result};

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// List boots, the newest first
    List {
        /// Only boots of this node: number, code, hardware address, UUID or host name
        #[arg(long)]
        node: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// How to answer
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Show a boot step by step: where it stopped, and why
    Show {
        /// Its number, or `latest`
        session: String,
        /// How to answer
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
}

/// A session with all that belongs to it.
struct Shown {
    session: Session,
    listed: Listed,
    events: Vec<Event>,
}

impl SessionCommand {
    pub(super) fn run(self, state: &CloudState) -> Result<()> {
        match self {
            Self::List { node, limit, output } => list(state, node.as_deref(), limit, output),
            Self::Show { session, output } => show(state, &session, output),
        }
    }
}

fn list(state: &CloudState, node: Option<&str>, limit: u32, output: Output) -> Result<()> {
    let node = node.map(str::to_owned);
    let (sessions, nodes, sites) = state.store.read(move |tx| {
        let wanted = match node.as_deref() {
            None => None,
            Some(text) => match tx.nodes_called(text)?.as_slice() {
                [node] => Some(node.id),
                // No node has this number: nothing is listed.
                _ => Some(-1),
            },
        };
        let sessions = tx.sessions(wanted, limit)?;
        let nodes = sessions.iter().filter_map(|session| tx.node(session.node).transpose()).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok::<_, StoreError>((sessions, nodes, tx.sites()?))
    })?;
    let hostname = |id: i64| nodes.iter().find(|node| node.id == id).map(|node| node.hostname.to_string()).unwrap_or_default();
    let site = |id: u32| sites.iter().find(|site| site.id == id).map(|site| site.name.to_string()).unwrap_or_default();
    match output {
        Output::Json => {
            let values: Vec<Value> = sessions
                .iter()
                .map(|session| {
                    json!({
                        "id": session.id, "site": site(session.site), "boot": session.boot, "node": session.node,
                        "hostname": hostname(session.node), "started_at": session.started_at.to_string(), "outcome": session.outcome.as_str(),
                    })
                })
                .collect();
            table::write_json(&values)
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = sessions
                .iter()
                .map(|session| {
                    vec![
                        session.id.to_string(),
                        session.started_at.to_string(),
                        site(session.site),
                        hostname(session.node),
                        session.outcome.as_str().to_owned(),
                    ]
                })
                .collect();
            table::write(&["ID", "STARTED", "SITE", "NODE", "OUTCOME"], &rows)
        }
    }
}

fn show(state: &CloudState, text: &str, output: Output) -> Result<()> {
    let text = text.to_owned();
    let shown = state.store.read(move |tx| {
        let session = match text.as_str() {
            "latest" => tx.sessions(None, 1)?.into_iter().next(),
            number => match number.parse() {
                Ok(id) => tx.session(id)?,
                Err(_) => return Err(Failure::new(format!("`{text}` is not a session")).hint("give its number, or `latest`")),
            },
        };
        let Some(session) = session else {
            return Err(Failure::new(format!("there is no session `{text}`")).hint("`fairlead-cloud session list` shows them"));
        };
        let gone = || Failure::new(format!("session {} belongs to a node that is gone", session.id));
        let node = tx.node(session.node)?.ok_or_else(gone)?;
        let listed = Listed::of(tx, node, &tx.classes()?)?;
        let events = tx.timeline(session.site, session.boot, session.node)?;
        Ok(Shown { session, listed, events })
    })?;
    match output {
        Output::Json => table::write_json(&shown.to_json()),
        Output::Table => shown.write(),
    }
}

impl Shown {
    fn to_json(&self) -> Value {
        let events: Vec<Value> = self
            .events
            .iter()
            .map(|event| {
                json!({
                    "at": event.at.to_string(), "at_ms": event.at.0, "source": if event.from_edge { "edge" } else { "cloud" },
                    "kind": event.kind, "alarm": event.alarm, "summary": event.summary, "detail": event.detail,
                })
            })
            .collect();
        json!({
            "id": self.session.id, "site": self.listed.site(), "boot": self.session.boot, "started_at": self.session.started_at.to_string(),
            "outcome": self.session.outcome.as_str(), "node": self.listed.to_json(), "events": events,
        })
    }

    fn write(&self) -> Result<()> {
        let Self { session, listed, events } = self;
        let (node, site) = (&listed.node, listed.site());
        say(&format!("session {} of node {} ({}, {}) at site {site}", session.id, node.id, node.hostname, node.key.mac))?;
        let began = events.first().map(|event| event.at).unwrap_or_default();
        for event in events {
            let mark = if event.alarm { "ALARM " } else { "" };
            let source = if event.from_edge { "edge " } else { "cloud" };
            let elapsed = event.at.since(began).as_secs_f64();
            say(&format!("  {} {elapsed:+8.2} s  {source}  {mark}{}: {}", event.at, event.kind, event.summary))?;
        }
        say(&format!("outcome: {}. {}", session.outcome.as_str(), self.what_now()))
    }

    /// Where it stopped, and what to do about it.
    fn what_now(&self) -> String {
        let id = self.listed.node.id;
        if let Some(alarm) = self.events.iter().rev().find(|event| event.alarm) {
            return format!("Look at the alarm: {}", alarm.summary);
        }
        match self.session.outcome {
            Outcome::Waiting => format!("It waits for a person: fairlead-cloud node approve {id}"),
            Outcome::Refused => format!("Its operator said no; to let it boot: fairlead-cloud node approve {id}"),
            Outcome::LocalBoot => format!("It boots its disk; to set it up anew: fairlead-cloud node rearm {id}"),
            Outcome::Configured => "Its machine config was handed out; the rest is on the node's console.".to_owned(),
            Outcome::Booting => {
                let fetched = |name: &str| {
                    self.events
                        .iter()
                        .any(|event| event.kind == "blob_served" && event.detail.get("name").and_then(Value::as_str) == Some(name))
                };
                match (fetched("kernel"), fetched("initramfs")) {
                    (false, _) => {
                        "The kernel was not fetched to its end yet: look at the node's console and its way to the cloud.".to_owned()
                    }
                    (true, false) => {
                        "The initramfs was not fetched to its end yet: look at the node's console and its way to the cloud.".to_owned()
                    }
                    (true, true) => {
                        "It has kernel and initramfs, and has not asked for its machine config: look at the node's console.".to_owned()
                    }
                }
            }
        }
    }
}
