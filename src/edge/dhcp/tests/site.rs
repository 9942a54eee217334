//! A site to test against: an engine with a clock of its own and a disk that works or does not.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use super::packet::{Answer, Packet};
use crate::clock::Timestamp;
use crate::config_file::Source;
use crate::edge::config::EdgeConfig;
use crate::edge::dhcp::config::DhcpConfig;
use crate::edge::dhcp::explain::Explanation;
use crate::edge::dhcp::{
    Action, BootSettings, Destination, DropReason, Engine, Fresh, Ingress, InterfaceId, Observation, Outcome, Probe, TicketMinter,
};
use crate::edge::lease::LeaseRecord;
use crate::wire::uplink::{SiteEvent, SiteEventKind};
use crate::wire::{BootId, Digest, MacAddr, Nonce, SystemUuid};

pub(in crate::edge::dhcp) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Tells in its text what it was asked to vouch for.
struct PlainMinter;

impl TicketMinter for PlainMinter {
    fn mint(&self, _: Timestamp, boot: BootId, mac: MacAddr, uuid: Option<SystemUuid>, nonce: Nonce) -> Option<String> {
        Some(format!("ticket {boot} {mac} {} {}", uuid.map_or_else(|| "none".to_owned(), |uuid| uuid.to_string()), nonce.0[0]))
    }
}

struct ClockIsWrong;

impl TicketMinter for ClockIsWrong {
    fn mint(&self, _: Timestamp, _: BootId, _: MacAddr, _: Option<SystemUuid>, _: Nonce) -> Option<String> {
        None
    }
}

pub(super) struct Site {
    pub(super) engine: Engine,
    pub(super) now: Timestamp,
    /// Whether records reach the disk.
    pub(super) disk_works: bool,
    /// What is on the disk.
    pub(super) disk: Vec<LeaseRecord>,
    fresh: u8,
}

/// All that came of one datagram.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) answers: Vec<(Destination, u16, Answer)>,
    pub(super) reports: Vec<SiteEvent>,
    pub(super) dropped: Vec<DropReason>,
    pub(super) observed: Vec<Observation>,
    pub(super) probes: Vec<Probe>,
    pub(super) looks: Vec<Vec<u8>>,
}

impl Heard {
    /// The one answer.
    pub(super) fn answer(&self) -> &Answer {
        assert_eq!(self.answers.len(), 1, "{self:?}");
        &self.answers[0].2
    }

    pub(super) fn destination(&self) -> Destination {
        assert_eq!(self.answers.len(), 1, "{self:?}");
        self.answers[0].0
    }

    /// Why nothing was answered.
    pub(super) fn silence(&self) -> DropReason {
        assert!(self.answers.is_empty(), "{self:?}");
        assert_eq!(self.dropped.len(), 1, "{self:?}");
        self.dropped[0]
    }

    pub(super) fn reported(&self) -> Vec<SiteEventKind> {
        self.reports.iter().map(|event| event.what.clone()).collect()
    }
}

pub(in crate::edge::dhcp) fn config(text: &str) -> DhcpConfig {
    EdgeConfig::from_source(&Source::from_text("edge.toml", text)).unwrap().dhcp
}

pub(in crate::edge::dhcp) fn settings() -> BootSettings {
    BootSettings {
        root: Digest([0xab; 32]),
        boot_url: "https://198.51.100.10:8443".to_owned(),
        http_port: 80,
        minter: Arc::new(PlainMinter),
    }
}

pub(in crate::edge::dhcp) const SERVER_CONFIG: &str = r#"
    [[interface]]
    name = "eth1"
    mode = "server"
    address = "192.0.2.1"
    [[subnet]]
    network = "192.0.2.0/24"
    pools = ["192.0.2.100-192.0.2.119"]
    routers = ["192.0.2.254"]
    dns = ["192.0.2.53", "192.0.2.54"]
    ntp = ["192.0.2.1"]
    domain = "site.example"
    lease_time = "1h"
    [[subnet.reservation]]
    mac = "52:54:00:12:34:99"
    address = "192.0.2.110"
    [[subnet]]
    network = "198.51.100.0/24"
    pools = ["198.51.100.50-198.51.100.60"]
"#;

impl Site {
    pub(super) fn with_config(text: &str) -> Self {
        let mut engine = Engine::new(Arc::new(config(text)), Vec::new());
        engine.set_boot_settings(Some(Arc::new(settings())));
        Self { engine, now: Timestamp::from_secs(1_800_000_000), disk_works: true, disk: Vec::new(), fresh: 0 }
    }

    pub(super) fn server() -> Self {
        Self::with_config(SERVER_CONFIG)
    }

    pub(super) fn proxy() -> Self {
        Self::with_config("[[interface]]\nname = \"eth1\"\nmode = \"proxy\"\naddress = \"192.0.2.2\"\n")
    }

    /// The clock is one that no ticket can be signed by.
    pub(super) fn distrust_clock(&mut self) {
        self.engine.set_boot_settings(Some(Arc::new(BootSettings { minter: Arc::new(ClockIsWrong), ..settings() })));
    }

    /// What is on the disk, and nothing else, is what a new engine knows.
    pub(super) fn crash(&mut self) {
        self.engine = Engine::new(Arc::new(config(SERVER_CONFIG)), self.disk.clone());
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    /// A datagram that a client without an address broadcasts.
    pub(super) fn hear(&mut self, packet: &Packet) -> Heard {
        self.hear_octets(&packet.build(), "0.0.0.0:68", Ipv4Addr::BROADCAST, 67)
    }

    /// A datagram that a client sends to the server from its address.
    pub(super) fn hear_unicast(&mut self, packet: &Packet, source: Ipv4Addr) -> Heard {
        self.hear_octets(&packet.build(), &format!("{source}:68"), SERVER, 67)
    }

    pub(super) fn hear_octets(&mut self, octets: &[u8], source: &str, destination: Ipv4Addr, port: u16) -> Heard {
        self.fresh = self.fresh.wrapping_add(1);
        let fresh = Fresh { boot: BootId([self.fresh; 8]), nonce: Nonce([self.fresh; 12]) };
        let source: SocketAddrV4 = source.parse().unwrap();
        let ingress = Ingress { interface: InterfaceId(0), source, destination, port };
        let due = self.engine.handle(self.now, &ingress, octets, fresh);
        self.act(due)
    }

    /// Does what the engine says.
    pub(super) fn act(&mut self, mut due: Vec<Action>) -> Heard {
        let mut heard = Heard::default();
        while !due.is_empty() {
            for action in std::mem::take(&mut due) {
                match action {
                    Action::Send(sent) => heard.answers.push((sent.destination, sent.from_port, Answer::parse(&sent.payload))),
                    Action::Report(event) => heard.reports.push(event),
                    Action::Drop(reason) => heard.dropped.push(reason),
                    Action::Observed(observation) => heard.observed.push(observation),
                    Action::Probe(probe) => heard.probes.push(probe),
                    Action::LookForServers { payload, .. } => heard.looks.push(payload),
                    Action::Commit(commit) => {
                        let outcome = if self.disk_works { Outcome::Durable } else { Outcome::Failed };
                        if self.disk_works {
                            self.disk.push(commit.record.clone());
                        }
                        due.extend(self.engine.settle(self.now, commit, outcome));
                    }
                }
            }
        }
        heard
    }

    /// What the engine decides about a broadcast, and why.
    pub(super) fn explain(&mut self, packet: &Packet) -> Explanation {
        self.fresh = self.fresh.wrapping_add(1);
        let fresh = Fresh { boot: BootId([self.fresh; 8]), nonce: Nonce([self.fresh; 12]) };
        let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
        let ingress = Ingress { interface: InterfaceId(0), source, destination: Ipv4Addr::BROADCAST, port: 67 };
        self.engine.explain(self.now, &ingress, &packet.build(), fresh)
    }

    /// Takes a client through DISCOVER and REQUEST; returns its address.
    pub(super) fn lease(&mut self, mac: u8) -> Ipv4Addr {
        let offered = self.hear(&Packet::discover().mac(mac)).answer().yiaddr();
        let acknowledged = self.hear(&Packet::request().mac(mac).address(54, SERVER).address(50, offered));
        assert_eq!((acknowledged.answer().kind(), acknowledged.answer().yiaddr()), ("ACK", offered));
        offered
    }
}
