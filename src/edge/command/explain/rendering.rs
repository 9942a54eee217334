//! A decision in words and in JSON.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use humantime_serde::re::humantime::format_duration;
use serde::Serialize;

use crate::edge::dhcp::config::policy::Origin;
use crate::edge::dhcp::config::{Interface, in_words, option_table};
use crate::edge::dhcp::explain::{AddressReason, Explanation, Level, NoBootReason, Source, Step, SubnetReason, TimeReason};
use crate::edge::dhcp::{Destination, Outgoing};

/// A decision, and about what it is.
pub(super) struct Explained<'a> {
    pub(super) explanation: &'a Explanation,
    pub(super) interface: &'a Interface,
    /// The request's number in its capture.
    pub(super) packet: Option<usize>,
    /// The configuration file.
    pub(super) path: &'a Path,
}

/// One line of the text, one object of the JSON.
#[derive(Debug, Serialize)]
struct Line {
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
    /// The line of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

/// What would be sent.
#[derive(Debug, Serialize)]
struct Answer {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Ipv4Addr>,
    to: String,
    octets: usize,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    packet: Option<usize>,
    interface: &'a str,
    mode: &'static str,
    steps: Vec<Line>,
    answers: Vec<Answer>,
    silent: Vec<String>,
    written: usize,
}

impl Explained<'_> {
    fn document(&self) -> Document<'_> {
        Document {
            packet: self.packet,
            interface: &self.interface.name,
            mode: self.interface.mode.name(),
            steps: self.explanation.steps.iter().map(line).collect(),
            answers: self.explanation.answers.iter().map(answer).collect(),
            silent: self.explanation.dropped.iter().map(ToString::to_string).collect(),
            written: self.explanation.records.len(),
        }
    }

    pub(super) fn json(&self) -> String {
        // Text, numbers and lists of them are always JSON.
        serde_json::to_string(&self.document()).unwrap_or_default()
    }

    pub(super) fn text(&self) -> String {
        let document = self.document();
        let packet = document.packet.map(|packet| format!("packet {packet}, ")).unwrap_or_default();
        let mut text = format!("{packet}interface `{}` ({})", document.interface, document.mode);
        for Line { what, code, name, value, why, line } in &document.steps {
            let code = code.map(|code| format!(" {code}")).unwrap_or_default();
            let name = if name.is_empty() || name.starts_with("option ") { String::new() } else { format!("{name} ") };
            let value = if code.is_empty() || value.is_empty() { value.clone() } else { format!("= {value}") };
            let place = line.map(|line| format!("{}:{line}", self.path.display()));
            let reason = match (why.as_str(), place) {
                ("", None) => String::new(),
                ("", Some(place)) => format!("  [{place}]"),
                (why, None) => format!("  ({why})"),
                (why, Some(place)) => format!("  ({why}) [{place}]"),
            };
            // Writing to a String does not fail.
            let _ = write!(text, "\n  {:<12} {name}{value}{reason}", format!("{what}{code}"));
        }
        for Answer { message, address, to, octets } in &document.answers {
            let address = address.map(|address| format!(" of {address}")).unwrap_or_default();
            let would = if document.mode == "observe" { "would be" } else { "is" };
            let _ = write!(text, "\n  {:<12} {message}{address} {would} sent to {to}, {octets} octets", "answer");
        }
        for reason in &document.silent {
            let _ = write!(text, "\n  {:<12} {reason}", if document.answers.is_empty() { "no answer" } else { "note" });
        }
        text
    }
}

fn answer(outgoing: &Outgoing) -> Answer {
    let payload = &outgoing.payload;
    let address = payload.get(16..20).and_then(<[u8]>::first_chunk::<4>).map(|octets| Ipv4Addr::from(*octets));
    // The message type stands first behind the cookie.
    let message = match payload.get(240..243) {
        Some([53, 1, 2]) => "OFFER",
        Some([53, 1, 5]) => "ACK",
        Some([53, 1, 6]) => "NAK",
        _ => "message",
    };
    let to = match outgoing.destination {
        Destination::Broadcast => "everyone on the segment".to_owned(),
        Destination::Frame { address, mac } => format!("{address} at {mac}"),
        Destination::Udp(to) => to.to_string(),
    };
    let address = address.filter(|address| !address.is_unspecified());
    Answer { message: message.to_owned(), address, to, octets: payload.len() }
}

fn line(step: &Step) -> Line {
    let plain = |what: &'static str, value: String, why: String, line: Option<u32>| Line {
        what,
        code: None,
        name: String::new(),
        value,
        why,
        line,
    };
    match step {
        Step::Client { message, identifier, mac, uuid, stage, archs } => {
            let mut value = (*message).to_owned();
            if let Some(mac) = mac {
                let _ = write!(value, " of {mac}");
            }
            let mut about = vec![(*stage).to_owned()];
            about.extend(archs.iter().map(ToString::to_string));
            about.push(format!("identifier {identifier}"));
            about.extend(uuid.map(|uuid| format!("UUID {uuid}")));
            plain("request", value, about.join(", "), None)
        }
        Step::Subnet { network, origin, reason } => plain("subnet", network.to_string(), subnet_reason(*reason), origin.line()),
        Step::SharedNetwork { name, network, origin } => {
            plain("subnet", network.to_string(), format!("shared network `{name}`"), origin.line())
        }
        Step::PassedOver { network, reason } => plain("passed over", network.to_string(), reason.to_string(), None),
        Step::Reservation { key, address, origin } => plain("reservation", address.to_string(), format!("for {key}"), origin.line()),
        Step::Class { name, origin } => plain("class", name.clone(), String::new(), origin.line()),
        Step::Address { address, reason } => plain("address", address.to_string(), address_reason(*reason).to_owned(), None),
        Step::ReservationTaken { address, holder } => {
            let who = holder.map_or_else(|| "somebody else has it, or it is in quarantine".to_owned(), |mac| format!("{mac} has it"));
            plain("taken", format!("the reserved {address} can't be given"), who, None)
        }
        Step::LeaseTime { seconds, asked, reason } => {
            let asked = asked.map(|seconds| format!("asked for {}", duration(seconds))).unwrap_or_else(|| "asked for none".to_owned());
            let (why, line) = time_reason(*reason);
            plain("lease time", duration(*seconds), format!("{asked}; {why}"), line)
        }
        Step::Timer { code, seconds, source } => {
            let (why, line) = source_in_words(*source);
            let why = if matches!(source, Source::BuiltIn) { "by the lease time".to_owned() } else { why };
            plain(if *code == 58 { "T1" } else { "T2" }, duration(*seconds), why, line)
        }
        Step::BootFile { file, arch, source } => {
            let (why, line) = source_in_words(*source);
            let why = arch.map(|arch| format!("for {arch}, {why}")).unwrap_or(why);
            plain("boot file", file.clone(), why, line)
        }
        Step::NoBootFile { reason } => {
            let line = match reason {
                NoBootReason::NotAllowed(source) => source_in_words(*source).1,
                _ => None,
            };
            plain("boot file", "none".to_owned(), reason.to_string(), line)
        }
        Step::Option { code, octets, source } => {
            let (why, line) = source_in_words(*source);
            Line { what: "option", code: Some(*code), name: option_table::name(*code), value: in_words(*code, octets), why, line }
        }
        Step::LeftOut { code } => {
            let why = "the client's message size leaves no room".to_owned();
            Line { what: "left out", code: Some(*code), name: option_table::name(*code), value: String::new(), why, line: None }
        }
        Step::Refused { reason } => plain("refused", (*reason).to_owned(), String::new(), None),
    }
}

fn duration(seconds: u32) -> String {
    format_duration(Duration::from_secs(u64::from(seconds))).to_string()
}

fn subnet_reason(reason: SubnetReason) -> String {
    match reason {
        SubnetReason::LinkSelection(address) => format!("the relay's link selection says {address}"),
        SubnetReason::SubnetSelection(address) => format!("subnet selection says {address}"),
        SubnetReason::Relay(address) => format!("by the relay {address}"),
        SubnetReason::ClientAddress(address) => format!("the client uses {address}"),
        SubnetReason::Interface(address) => format!("the interface's address is {address}"),
    }
}

const fn address_reason(reason: AddressReason) -> &'static str {
    match reason {
        AddressReason::Reserved => "kept for it",
        AddressReason::Held => "it has it, or had it last",
        AddressReason::Requested => "it asked for it, and it is free",
        AddressReason::Unused => "on offer to it, or nobody had it",
        AddressReason::Reclaimed => "its last lease ended longer ago than any other",
        AddressReason::Extended => "it uses it",
    }
}

fn time_reason(reason: TimeReason) -> (String, Option<u32>) {
    let told = |key: &str, source| {
        let (why, line) = source_in_words(source);
        (format!("{key}, {why}"), line)
    };
    match reason {
        TimeReason::Default(source) => told("lease_time", source),
        TimeReason::Asked => ("it gets that".to_owned(), None),
        TimeReason::Least(source) => told("min_lease_time", source),
        TimeReason::Most(source) => told("max_lease_time", source),
    }
}

fn source_in_words(source: Source) -> (String, Option<u32>) {
    let (words, line) = match source {
        Source::Protocol => ("every such answer has it", None),
        Source::Echoed => ("as the request has it", None),
        Source::Network => ("of the subnet's network", None),
        Source::Boot => ("part of the boot", None),
        Source::BuiltIn | Source::Configured(_, Origin::BuiltIn) => ("built in", None),
        Source::Configured(level, Origin::Line(line)) => (level_in_words(level), Some(line)),
    };
    (words.to_owned(), line)
}

const fn level_in_words(level: Level) -> &'static str {
    match level {
        Level::Reservation => "reservation",
        Level::Class => "class",
        Level::Subnet => "subnet",
        Level::General => "for all",
    }
}
