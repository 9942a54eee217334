//! What is different between two configurations, in words, for a reload.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use humantime_serde::re::humantime::format_duration;

use super::option_value::{hex, in_words, octets_in_words};
use super::policy::{Class, LeaseTimes, Origin, Policy, Sourced};
use super::{DhcpConfig, Interface, Ipv4Network, Mode, Subnet, option_table};

/// One thing that is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The line of the new configuration that says so; none for what it does not say any more.
    pub line: Option<u32>,
    /// What is different, with what it was before.
    pub what: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl DhcpConfig {
    /// What is different in the new configuration: what is new or other in the new one's order, then what is gone.
    #[must_use]
    pub fn difference(&self, new: &Self) -> Vec<Change> {
        changes(&statements(self), &statements(new))
    }
}

impl Mode {
    /// As the configuration names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Proxy => "proxy",
            Self::Observe => "observe",
        }
    }
}

/// One thing that a configuration says.
#[derive(Debug)]
struct Statement {
    /// Of whom.
    subject: Subject,
    /// What of it; the empty key stands for the subject itself.
    key: String,
    value: String,
    line: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Subject {
    name: String,
    /// When it goes with this one, it is not told by itself.
    parent: Option<String>,
}

fn changes(old: &[Statement], new: &[Statement]) -> Vec<Change> {
    let said = |statements| -> HashMap<(&Subject, &str), &Statement> {
        let statements: &[Statement] = statements;
        statements.iter().map(|statement| ((&statement.subject, statement.key.as_str()), statement)).collect()
    };
    let names = |statements| -> HashSet<&str> {
        let statements: &[Statement] = statements;
        statements.iter().map(|statement| statement.subject.name.as_str()).collect()
    };
    let (old_said, new_said) = (said(old), said(new));
    let (old_names, new_names) = (names(old), names(new));
    let has_parent = |names: &HashSet<&str>, subject: &Subject| subject.parent.as_deref().is_none_or(|parent| names.contains(parent));
    let mut changes = Vec::new();
    for Statement { subject, key, value, line } in new {
        let what = match old_said.get(&(subject, key.as_str())) {
            _ if !old_names.contains(subject.name.as_str()) => {
                if key.is_empty() && has_parent(&old_names, subject) {
                    format!("{} is new", subject.name)
                } else {
                    continue;
                }
            }
            Some(old) if old.value == *value => continue,
            Some(old) => format!("{}: {key} is {value}, was {}{}", subject.name, old.value, was_on(old.line)),
            None => format!("{}: {key} is {value}, was not set", subject.name),
        };
        changes.push(Change { line: *line, what });
    }
    for Statement { subject, key, value, line } in old {
        let what = if new_names.contains(subject.name.as_str()) {
            if new_said.contains_key(&(subject, key.as_str())) {
                continue;
            }
            format!("{}: {key} is not set any more, was {value}{}", subject.name, was_on(*line))
        } else if key.is_empty() && has_parent(&new_names, subject) {
            format!("{} is gone{}", subject.name, was_on(*line))
        } else {
            continue;
        };
        changes.push(Change { line: None, what });
    }
    changes
}

fn was_on(line: Option<u32>) -> String {
    line.map(|line| format!(" (old line {line})")).unwrap_or_default()
}

fn statements(config: &DhcpConfig) -> Vec<Statement> {
    let mut all = Statements::default();
    for (place, interface) in config.interfaces.iter().enumerate() {
        all.interface(interface, config.interface_line(place));
    }
    all.begin("[dhcp]".to_owned(), None, None);
    let general = &config.general;
    all.say("conflict_probe", general.conflict_probe.to_string(), config.conflict_probe_line);
    all.say("decline_quarantine", format_duration(general.decline_quarantine).to_string(), None);
    all.say("offer_hold", format_duration(general.offer_hold).to_string(), None);
    all.say_list("relays", &general.relays, None);
    all.say("limits.offers", general.limits.offers.to_string(), None);
    all.say("limits.client_rate", general.limits.client_rate.to_string(), None);
    all.policy(&general.policy);
    for subnet in &config.subnets {
        all.subnet(subnet);
    }
    all.begin("classes".to_owned(), None, None);
    let order: Vec<&str> = config.classes.iter().map(|class| class.name.value.as_str()).collect();
    all.say("order", order.join(", "), config.classes.first().and_then(|class| class.name.origin.line()));
    for class in &config.classes {
        all.class(class);
    }
    all.begin("[boot.files]".to_owned(), None, None);
    for (arch, line) in &config.boot_files.lines {
        let file = config.boot_files.files.file(*arch).unwrap_or("none");
        all.say(&arch.to_string(), file.to_owned(), Some(*line));
    }
    all.0
}

#[derive(Default)]
struct Statements(Vec<Statement>);

impl Statements {
    fn begin(&mut self, name: String, parent: Option<String>, line: Option<u32>) {
        self.0.push(Statement { subject: Subject { name, parent }, key: String::new(), value: String::new(), line });
    }

    /// Says something of the subject that was begun last.
    fn say(&mut self, key: &str, value: String, line: Option<u32>) {
        let Some(subject) = self.0.last().map(|last| last.subject.clone()) else { return };
        self.0.push(Statement { subject, key: key.to_owned(), value, line });
    }

    fn say_list<T: fmt::Display>(&mut self, key: &str, list: &[T], line: Option<u32>) {
        if !list.is_empty() {
            let shown: Vec<String> = list.iter().map(ToString::to_string).collect();
            self.say(key, shown.join(", "), line);
        }
    }

    fn interface(&mut self, interface: &Interface, line: Option<u32>) {
        self.begin(format!("interface `{}`", interface.name), None, line);
        self.say("mode", interface.mode.name().to_owned(), line);
        self.say("address", interface.address.to_string(), line);
        self.say("authoritative", interface.authoritative.to_string(), line);
    }

    fn subnet(&mut self, subnet: &Subnet) {
        let (network, line) = (subnet.network.value, subnet.network.origin.line());
        let name = format!("subnet {network}");
        self.begin(name.clone(), None, line);
        self.say_list("pools", &subnet.pools, line);
        self.say_list("exclude", &subnet.excluded, line);
        self.say_list("relays", &subnet.relays, line);
        if let Some(name) = &subnet.shared_network {
            self.say("shared_network", name.value.clone(), name.origin.line());
        }
        let classes: Vec<&str> = subnet.classes.iter().map(|class| class.value.as_str()).collect();
        self.say_list("classes", &classes, subnet.classes.first().and_then(|class| class.origin.line()));
        self.say("conflict_probe", subnet.conflict_probe.to_string(), line);
        self.policy(&subnet.policy);
        for reservation in subnet.reservations() {
            let line = reservation.address.origin.line();
            self.begin(format!("reservation for {} in {name}", reservation.key), Some(name.clone()), line);
            self.say("address", reservation.address.value.to_string(), line);
            if let Some(host_name) = &reservation.host_name {
                self.say("host_name", host_name.value.clone(), host_name.origin.line());
            }
            self.policy(&reservation.policy);
        }
    }

    fn class(&mut self, class: &Class) {
        let line = class.name.origin.line();
        self.begin(format!("class `{}`", class.name.value), None, line);
        let matcher = &class.matcher;
        self.say_list("arch", &matcher.arch, line);
        let patterns = |list: &[super::policy::Pattern]| -> Vec<String> {
            list.iter().map(|one| format!("{}{}", octets_in_words(&one.text), if one.is_prefix { "*" } else { "" })).collect()
        };
        self.say_list("vendor_class", &patterns(&matcher.vendor_class), line);
        self.say_list("user_class", &patterns(&matcher.user_class), line);
        let prefixes: Vec<String> = matcher.mac_prefix.iter().map(|octets| hex(octets)).collect();
        self.say_list("mac_prefix", &prefixes, line);
        self.say_list::<Ipv4Network>("relay", &matcher.relay, line);
        self.policy(&class.policy);
    }

    fn policy(&mut self, policy: &Policy) {
        let Policy { times, options, always_send, rapid_commit, boot, boot_files } = policy;
        let LeaseTimes { default, min, max, renewal, rebinding } = times;
        for (key, time) in [
            ("lease_time", default),
            ("min_lease_time", min),
            ("max_lease_time", max),
            ("renewal_time", renewal),
            ("rebinding_time", rebinding),
        ] {
            if let Some(Sourced { value, origin }) = time {
                self.say(key, format_duration(Duration::from_secs(u64::from(*value))).to_string(), origin.line());
            }
        }
        for (key, flag) in [("rapid_commit", rapid_commit), ("boot", boot)] {
            if let Some(Sourced { value, origin }) = flag {
                self.say(key, value.to_string(), origin.line());
            }
        }
        for option in options.iter() {
            self.say(&format!("option {}", option_table::name(option.code)), in_words(option.code, &option.octets), option.origin.line());
        }
        let names: Vec<String> = always_send.iter().map(|option| option_table::name(option.value)).collect();
        self.say_list("always_send", &names, always_send.first().and_then(|option| Origin::line(option.origin)));
        for (arch, file) in boot_files {
            let shown = file.value.clone().unwrap_or_else(|| "none".to_owned());
            self.say(&format!("boot file for {arch}"), shown, file.origin.line());
        }
    }
}
