//! The timeline of a boot, as the cloud tells it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use fairlead::clock::Timestamp;
use fairlead::failure::{Failure, Result};
use fairlead::wire::MacAddr;
use serde_json::Value;

use super::cloud::Cloud;

/// One event of a timeline.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// When it happened.
    pub(crate) at: Timestamp,
    /// What it is, such as `config_served`.
    pub(crate) kind: String,
    /// Whether a person should look at once.
    pub(crate) alarm: bool,
    /// For people.
    pub(crate) summary: String,
    detail: Value,
}

impl Event {
    /// A field of what is known of it, as text.
    pub(crate) fn detail(&self, field: &str) -> String {
        match self.detail.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        }
    }
}

/// A boot of one node.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// How far it came.
    pub(crate) outcome: String,
    node: Value,
    /// What happened, in order.
    pub(crate) events: Vec<Event>,
}

impl Session {
    /// The boots of the node with that address, the newest first.
    pub(crate) fn all_of(cloud: &Cloud, mac: MacAddr) -> Result<Vec<Self>> {
        let listing = cloud.ask(&["session", "list", "--node", &mac.to_string()])?;
        let ids = listing.as_array().into_iter().flatten().filter_map(|session| session.get("id")?.as_u64());
        ids.map(|id| Self::read(&cloud.ask(&["session", "show", &id.to_string()])?)).collect()
    }

    /// The newest boot of the node with that address.
    pub(crate) fn newest_of(cloud: &Cloud, mac: MacAddr) -> Result<Option<Self>> {
        Ok(Self::all_of(cloud, mac)?.into_iter().next())
    }

    /// Waits until the newest boot of the node has an event of that kind.
    pub(crate) fn wait_for(cloud: &Cloud, mac: MacAddr, kind: &str, patience: Duration) -> Result<Event> {
        let deadline = Instant::now() + patience;
        loop {
            let session = Self::newest_of(cloud, mac)?;
            if let Some(event) = session.as_ref().and_then(|session| session.first(kind)) {
                return Ok(event.clone());
            }
            if Instant::now() > deadline {
                let kinds = session.map(|session| session.events.iter().map(|event| event.kind.clone()).collect::<Vec<_>>().join(", "));
                return Err(Failure::new(format!("did not happen: {kind}, in the newest boot of {mac}"))
                    .because(format!("not within {} s", patience.as_secs()))
                    .because(format!("what did happen: {}", kinds.unwrap_or_else(|| "nothing; the cloud has no boot of it".to_owned())))
                    .hint(format!("read {}", cloud.log().path().display())));
            }
            sleep(Duration::from_millis(300));
        }
    }

    /// The first event of that kind.
    pub(crate) fn first<'a>(&'a self, kind: &'a str) -> Option<&'a Event> {
        self.all(kind).next()
    }

    /// What the cloud knows of the node, such as its `code`.
    pub(crate) fn node_field(&self, field: &str) -> String {
        self.node.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// All events of that kind.
    pub(crate) fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Event> {
        self.events.iter().filter(move |event| event.kind == kind)
    }

    fn read(value: &Value) -> Result<Self> {
        let unreadable = || Failure::new(format!("`fairlead-cloud session show` answered with something else: {value}"));
        let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
        let mut events = Vec::new();
        for event in value.get("events").and_then(Value::as_array).ok_or_else(unreadable)? {
            events.push(Event {
                at: Timestamp(event.get("at_ms").and_then(Value::as_u64).ok_or_else(unreadable)?),
                kind: text(event, "kind").ok_or_else(unreadable)?,
                alarm: event.get("alarm").and_then(Value::as_bool).unwrap_or(false),
                summary: text(event, "summary").unwrap_or_default(),
                detail: event.get("detail").cloned().unwrap_or_default(),
            });
        }
        Ok(Self { outcome: text(value, "outcome").ok_or_else(unreadable)?, node: value.get("node").cloned().unwrap_or_default(), events })
    }
}
