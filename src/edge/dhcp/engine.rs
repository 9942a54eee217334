use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::action::{Action, Commit, DropReason, Fresh, Ingress, InterfaceId, Notice, Outcome};
use super::boot_attempt::BootAttempts;
use super::boot_file::BootAnswer;
use super::boot_settings::BootSettings;
use super::client::{Client, Stage};
use super::client_rate::ClientRates;
use super::config::{DhcpConfig, Interface, Mode, Subnet};
use super::conflict::Conflicts;
use super::explain::{Explanation, NoBootReason, Step, Trace};
use super::levels::Levels;
use super::message::{Request, peek_hardware};
use super::option::MessageType;
use super::rival::Rivals;
use super::{PXE_PORT, SERVER_PORT};
use crate::clock::Timestamp;
use crate::edge::lease::{LeaseRecord, LeaseState, LeaseTable};
use crate::wire::uplink::{SiteEvent, SiteEventKind};
use crate::wire::{BootId, MacAddr};

/// The DHCP server and proxyDHCP of a box: datagrams in, actions out.
///
/// It has no sockets, no clock and no randomness, so a test can drive a year of leases in a second. What it promises is held
/// back in a [`Commit`] until the shell says that it is on the disk.
#[derive(Debug)]
pub struct Engine {
    pub(super) config: Arc<DhcpConfig>,
    /// One for each of the configuration's subnets, in its order.
    pub(super) tables: Vec<LeaseTable>,
    /// Leases outside of every subnet: theirs may come back with the next configuration.
    strays: Vec<LeaseRecord>,
    /// So many offers may be made before those that are held are counted again.
    pub(super) offers_left: usize,
    attempts: BootAttempts,
    rates: ClientRates,
    pub(super) boot: Option<Arc<BootSettings>>,
    /// Decides on interfaces where nothing is sent; made when the first datagram comes in on one.
    pub(super) shadow: Option<Box<Engine>>,
    /// Whether this is one.
    pub(super) is_shadow: bool,
    pub(super) conflicts: Conflicts,
    pub(super) rivals: Rivals,
}

/// Longer than anything waits for its [`Engine::tick`]: other servers are looked for every 70 seconds or sooner.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// One request and what is known about it.
pub(super) struct Exchange<'a> {
    pub(super) now: Timestamp,
    pub(super) ingress: &'a Ingress,
    pub(super) config: &'a DhcpConfig,
    pub(super) interface: &'a Interface,
    pub(super) request: &'a Request<'a>,
    /// The datagram that the request was read from.
    pub(super) datagram: &'a [u8],
    pub(super) client: Client,
    /// The boot that the machine is in.
    pub(super) boot: Option<BootId>,
    pub(super) fresh: Fresh,
    /// Where to tell what is decided, when someone wants to know.
    trace: Option<&'a Trace>,
}

impl Engine {
    /// An engine that knows the leases that were read from the disk. Those outside of every subnet are left alone: their
    /// subnet may come back with the next configuration.
    #[must_use]
    pub fn new(config: Arc<DhcpConfig>, mut records: Vec<LeaseRecord>) -> Self {
        // A client's newest lease is the one it is known by; the disk has records of its earlier addresses, too.
        records.sort_unstable_by_key(|record| record.starts_at);
        let mut engine = Self {
            tables: config.subnets().iter().map(|subnet| new_table(&config, subnet)).collect(),
            config,
            strays: Vec::new(),
            offers_left: 0,
            attempts: BootAttempts::default(),
            rates: ClientRates::default(),
            boot: None,
            shadow: None,
            is_shadow: false,
            conflicts: Conflicts::default(),
            rivals: Rivals::default(),
        };
        for record in records {
            engine.restore(record, None);
        }
        engine
    }

    /// Takes another configuration. Leases, offers and boots that it has a place for are kept; leases that it has none for are kept
    /// aside for the next one.
    ///
    /// An [`InterfaceId`](super::InterfaceId) means an interface of the new configuration from here on: the shell opens and closes its
    /// ports in the same breath.
    pub fn reconfigure(&mut self, config: Arc<DhcpConfig>) {
        let former = std::mem::replace(&mut self.config, Arc::clone(&config));
        let tables = std::mem::take(&mut self.tables);
        let mut tables: Vec<_> = former.subnets().iter().map(|subnet| subnet.network.value).zip(tables).collect();
        self.tables = config
            .subnets()
            .iter()
            .map(|subnet| {
                let Some(place) = tables.iter().position(|(network, _)| *network == subnet.network.value) else {
                    return new_table(&config, subnet);
                };
                let (_, mut table) = tables.swap_remove(place);
                table.reshape(&subnet.pools, &subnet.excluded, reserved(subnet));
                set_bounds(&mut table, &config);
                table
            })
            .collect();
        for record in std::mem::take(&mut self.strays) {
            self.restore(record, None);
        }
        for (_, table) in tables {
            for record in table.records() {
                self.restore(record.clone(), Some(table.durable_until(record.address)));
            }
        }
        self.offers_left = 0;
        if let Some(shadow) = &mut self.shadow {
            shadow.reconfigure(config);
        }
        self.watch_on(&former);
    }

    /// Takes a lease that the disk has until then, as a rule to its end.
    fn restore(&mut self, record: LeaseRecord, durable_until: Option<Timestamp>) {
        let Some(table) = self.table_of(record.address) else {
            self.strays.push(record);
            return;
        };
        match durable_until {
            // On its way to the disk.
            Some(until) if until != record.expires_at => {
                table.restore(LeaseRecord { expires_at: until, ..record.clone() });
                table.put(record);
            }
            _ => table.restore(record),
        }
    }

    /// Sets what machines need to go on to the cloud; without it they get an address and no boot file.
    pub fn set_boot_settings(&mut self, settings: Option<Arc<BootSettings>>) {
        if let Some(shadow) = &mut self.shadow {
            shadow.set_boot_settings(settings.clone());
        }
        self.boot = settings;
    }

    /// Decides about one datagram.
    pub fn handle(&mut self, now: Timestamp, ingress: &Ingress, datagram: &[u8], fresh: Fresh) -> Vec<Action> {
        // Before all else, so that whoever floods costs little.
        let limit = self.config.general().limits.client_rate;
        if let Some(hardware) = peek_hardware(datagram)
            && !self.rates.admit(now, hardware, limit)
        {
            return vec![Action::Drop(DropReason::TooManyRequests)];
        }
        self.decide(now, ingress, datagram, fresh, None)
    }

    /// Decides about one datagram as [`handle`](Self::handle) does, and tells why.
    ///
    /// Nothing has to be written or sent. The decision counts in memory, as if the disk had taken it: the REQUEST of a capture finds
    /// the offer that its DISCOVER was made. How often a client may ask is not looked at.
    pub fn explain(&mut self, now: Timestamp, ingress: &Ingress, datagram: &[u8], fresh: Fresh) -> Explanation {
        let is_observed = self.config.interfaces().get(ingress.interface.0).is_some_and(|interface| interface.mode == Mode::Observe);
        if is_observed && !self.is_shadow {
            return self.shadow().explain(now, ingress, datagram, fresh);
        }
        let trace = Trace::default();
        let mut explanation = Explanation::default();
        let mut actions = self.decide(now, ingress, datagram, fresh, Some(&trace));
        while !actions.is_empty() {
            for action in std::mem::take(&mut actions) {
                match action {
                    Action::Send(outgoing) => explanation.answers.push(outgoing),
                    Action::Report(event) => explanation.reports.push(event),
                    Action::Drop(reason) => explanation.dropped.push(reason),
                    Action::Commit(commit) => {
                        explanation.records.push(commit.record.clone());
                        actions.extend(self.settle(now, commit, Outcome::Durable));
                    }
                    Action::Observed(_) | Action::Probe(_) | Action::LookForServers { .. } => {}
                }
            }
        }
        explanation.steps = trace.into_steps();
        explanation
    }

    pub(super) fn decide(
        &mut self,
        now: Timestamp,
        ingress: &Ingress,
        datagram: &[u8],
        fresh: Fresh,
        trace: Option<&Trace>,
    ) -> Vec<Action> {
        let request = match Request::parse(datagram) {
            Ok(request) => request,
            Err(malformed) => return vec![Action::Drop(malformed.into())],
        };
        if matches!(request.kind, MessageType::Offer | MessageType::Ack | MessageType::Nak) {
            return vec![Action::Drop(DropReason::FromServer)];
        }
        let config = Arc::clone(&self.config);
        let Some(interface) = config.interfaces().get(ingress.interface.0) else { return vec![Action::Drop(DropReason::NotServed)] };
        if let Err(reason) = self.client_spoke(now, ingress.interface, &request) {
            return vec![Action::Drop(reason)];
        }
        if interface.mode == Mode::Observe && !self.is_shadow {
            return self.observe(now, ingress, &request, datagram, fresh);
        }
        let client = Client::of(&request);
        let boot = self.boot_of(now, &request, &client, fresh.boot);
        let exchange = Exchange { now, ingress, config: &config, interface, request: &request, datagram, client, boot, fresh, trace };
        exchange.tell(|| exchange.introduce());
        let outcome = match (interface.mode, ingress.port) {
            (Mode::Server | Mode::Observe, SERVER_PORT) => self.serve(&exchange),
            (Mode::Proxy, SERVER_PORT | PXE_PORT) => self.answer_as_proxy(&exchange),
            _ => Err(DropReason::NotServed),
        };
        outcome.unwrap_or_else(|reason| vec![Action::Drop(reason)])
    }

    /// What is due at `now` without anybody's doing. To be asked when [`Engine::is_tick_due`] says so, after what was heard by then.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Action> {
        let mut actions = self.tick_rivals(now);
        actions.append(&mut self.tick_probes(now));
        actions
    }

    /// When [`Engine::tick`] has something to do; it may be in the past. Any call may change it.
    #[must_use]
    pub fn next_tick(&self) -> Option<Timestamp> {
        [self.next_probe_tick(), self.next_rival_tick()].into_iter().flatten().min()
    }

    /// Whether [`Engine::tick`] has something to do at `now`: something is due, or it is due so late that the clock must have been set
    /// back, and what waits for it would wait for as long as that.
    #[must_use]
    pub fn is_tick_due(&self, now: Timestamp) -> bool {
        self.next_tick().is_some_and(|next| next <= now || next > now.after(LONGEST_PAUSE))
    }

    /// Takes in what was heard other than a request, on an interface of the configuration.
    pub fn noticed(&mut self, now: Timestamp, interface: InterfaceId, notice: &Notice<'_>) -> Vec<Action> {
        match *notice {
            Notice::Arp { mac, address } => self.somebody_is_at(now, address, Some((interface, mac))),
            Notice::EchoReply(address) => self.somebody_is_at(now, address, None),
            Notice::FromServer { mac, source, datagram } => {
                self.server_spoke(now, interface, datagram, source, mac);
                Vec::new()
            }
        }
    }

    /// Says what follows once it is known whether a commit is on the disk.
    pub fn settle(&mut self, now: Timestamp, commit: Commit, outcome: Outcome) -> Vec<Action> {
        match outcome {
            Outcome::Durable => self.settle_durable(commit),
            Outcome::Failed => self.settle_failed(now, commit),
        }
    }

    /// The boot that a machine is in at `now`, for reports of what else it does: files that it fetches.
    #[must_use]
    pub fn boot_of_machine(&self, now: Timestamp, mac: MacAddr) -> Option<BootId> {
        self.attempts.find(now, mac)
    }

    /// The machine that holds an address at `now`, by our own leases.
    #[must_use]
    pub fn machine_at(&self, now: Timestamp, address: Ipv4Addr) -> Option<MacAddr> {
        let record = self.table_at(address)?.record(address)?;
        (record.state == LeaseState::Bound && record.expires_at > now).then(|| record.hardware.mac()).flatten()
    }

    pub(super) fn subnet_of(&self, address: Ipv4Addr) -> Option<usize> {
        self.config.subnets().iter().position(|subnet| subnet.network.value.contains(address))
    }

    pub(super) fn table_of(&mut self, address: Ipv4Addr) -> Option<&mut LeaseTable> {
        let place = self.subnet_of(address)?;
        self.tables.get_mut(place)
    }

    pub(super) fn table_at(&self, address: Ipv4Addr) -> Option<&LeaseTable> {
        self.tables.get(self.subnet_of(address)?)
    }

    fn boot_of(&mut self, now: Timestamp, request: &Request<'_>, client: &Client, fresh: BootId) -> Option<BootId> {
        let mac = client.mac?;
        match (request.kind, client.stage) {
            (MessageType::Discover, stage) if stage.is_firmware() => Some(self.attempts.begin(now, mac, request.xid, fresh)),
            (MessageType::Discover | MessageType::Request | MessageType::Inform, Stage::Pxe | Stage::Http | Stage::Ipxe) => {
                Some(self.attempts.continue_or_begin(now, mac, request.xid, fresh))
            }
            // The operating system that was booted asks for an address too: part of the boot, but no sign of a new one.
            _ => self.attempts.find(now, mac),
        }
    }

    /// What the client is told to boot, or why nothing. With `last`, the client acts on this answer: an iPXE is given a ticket.
    pub(super) fn boot_answer(&mut self, exchange: &Exchange<'_>, levels: &Levels<'_>, last: bool) -> Result<BootAnswer, NoBootReason> {
        let decided = self.decide_boot(exchange, levels, last);
        if let Err(reason) = &decided {
            exchange.tell(|| Step::NoBootFile { reason: *reason });
        }
        decided
    }

    fn decide_boot(&mut self, exchange: &Exchange<'_>, levels: &Levels<'_>, last: bool) -> Result<BootAnswer, NoBootReason> {
        let client = &exchange.client;
        let mut answer = BootAnswer::decide(exchange, levels, self.boot.as_ref())?;
        let (Some(mac), Some(boot)) = (client.mac, exchange.boot) else {
            // Hardware that is not Ethernet has no boot that a ticket could be for.
            return if client.stage == Stage::Ipxe { Err(NoBootReason::NoTicket) } else { Ok(answer) };
        };
        if client.stage == Stage::Ipxe {
            self.attempts.is_through(mac);
            if last {
                let minted = answer.mint(exchange.now, boot, mac, client.uuid, exchange.fresh.nonce);
                answer.ticket = Some(minted.ok_or(NoBootReason::NoTicket)?);
            }
        } else if last && client.is_stuck_ipxe() && self.attempts.is_looping(exchange.now, mac) {
            return Err(NoBootReason::Loop);
        }
        Ok(answer)
    }
}

fn new_table(config: &DhcpConfig, subnet: &Subnet) -> LeaseTable {
    let mut table = LeaseTable::new(&subnet.pools, &subnet.excluded, reserved(subnet));
    set_bounds(&mut table, config);
    table
}

fn set_bounds(table: &mut LeaseTable, config: &DhcpConfig) {
    table.set_offer_hold(config.general().offer_hold);
}

fn reserved(subnet: &Subnet) -> HashSet<Ipv4Addr> {
    subnet.reservations().iter().map(|reservation| reservation.address.value).collect()
}

impl Exchange<'_> {
    /// Tells what was decided, when someone wants to know; else it costs nothing.
    pub(super) fn tell(&self, step: impl FnOnce() -> Step) {
        if let Some(trace) = self.trace {
            trace.tell(step());
        }
    }

    /// Whether someone wants to know.
    pub(super) const fn is_traced(&self) -> bool {
        self.trace.is_some()
    }

    fn introduce(&self) -> Step {
        Step::Client {
            message: self.request.kind.name(),
            identifier: self.request.client.to_string(),
            mac: self.client.mac,
            uuid: self.client.uuid,
            stage: self.client.stage.name(),
            archs: self.client.archs.clone(),
        }
    }

    /// A report about this machine's boot, when it is in one.
    pub(super) fn report(&self, what: SiteEventKind) -> Option<SiteEvent> {
        Some(SiteEvent { at: self.now, boot: Some(self.boot?), mac: Some(self.client.mac?), what })
    }

    /// The reports about what an answer says to boot.
    pub(super) fn boot_reports(&self, answer: Option<&BootAnswer>) -> Vec<SiteEvent> {
        let Some(answer) = answer else { return Vec::new() };
        let named = self.report(SiteEventKind::BootFileNamed { file: answer.file.clone(), arch: self.client.arch() });
        let minted = answer.ticket.as_ref().and_then(|_| self.report(SiteEventKind::TicketMinted { uuid: self.client.uuid }));
        named.into_iter().chain(minted).collect()
    }
}

/// Seconds as DHCP carries them.
pub(super) fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
