//! Addresses that somebody uses without a lease: found by a probe before they are given out (RFC 5227, section 2.1.1).
//!
//! A probe takes longer than a client's exchange, so probes run ahead: each subnet keeps a stock of addresses at which nobody
//! answered a short while ago, as large as what was taken lately lets expect. Only who finds the stock empty, or needs one
//! certain address that was not probed, waits for a probe.

mod answerers;
mod deferred;
mod demand;
mod probes;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER;

use self::answerers::{Answerers, Belief};
pub(super) use self::deferred::WaitsFor;
use self::deferred::{Deferred, Line};
use self::demand::Demand;
use self::probes::{Probes, Step};
use super::action::{Action, Commit, DropReason, InterfaceId, Probe, ProbeKind};
use super::config::policy::ReservationKey;
use super::config::{DhcpConfig, Mode, Subnet};
use super::engine::{Engine, Exchange};
use crate::clock::Timestamp;
use crate::edge::lease::{ClientId, HardwareAddress, LeaseRecord, LeaseState, LeaseTable};
use crate::wire::MacAddr;
use crate::wire::uplink::{SiteEvent, SiteEventKind};

/// How long an address at which nobody answered counts as free: long enough that a quiet site's stock is a packet every few
/// seconds, short enough that a machine that somebody sets an address on by hand is found before the address is given out.
const CLEAR_FOR: Duration = Duration::from_secs(300);
/// What is clear for less than this is probed again ahead of its end.
const PROBED_AGAIN_AT: Duration = Duration::from_secs(60);
/// How often the stock is looked at on a quiet site, and at most while addresses are taken.
const REFILL_SLOWLY: Duration = Duration::from_secs(30);
const REFILL_AT_MOST: Duration = Duration::from_millis(20);
/// How many probes may begin at a time: a round of them fits the send queue of an interface.
const BEGUN_AT_ONCE: usize = 8192;
/// How many that waited are dealt with before others have their turn.
const RESUMED_AT_ONCE: usize = 256;
/// While so many have yet to be dealt with, nobody else begins to wait: what a storm's round of probes sets free at once.
const MOST_READY: usize = 16_384;
/// While so many probes run, none begins for a client that has a wish: whoever invents clients must not have the box shout for each.
const MOST_PROBES: usize = 16_384;
/// A clock that goes back by more than this was set.
const CLOCK_WAS_SET: Duration = Duration::from_secs(2);

/// What is known of who uses which address.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    /// Interfaces on which ARP can be sent and heard, and our hardware address there.
    links: BTreeMap<usize, MacAddr>,
    echo: bool,
    /// One for each of the configuration's subnets, in its order.
    stocks: Vec<Stock>,
    probes: Probes,
    line: Line,
    ready: VecDeque<Deferred>,
    answerers: Answerers,
    refill_at: Option<Timestamp>,
    refilled_at: Timestamp,
    latest: Timestamp,
}

#[derive(Debug, Default)]
struct Stock {
    /// How its addresses are probed, if they are.
    by: Option<ProbeKind>,
    demand: Demand,
}

impl Engine {
    /// The interface is Ethernet, and ARP can be sent and heard there.
    pub(super) fn can_arp(&mut self, interface: InterfaceId, mac: MacAddr) {
        self.conflicts.links.insert(interface.0, mac);
        self.prepare_probes();
    }

    /// ICMP echoes can be sent and their answers heard, so addresses behind relays are probed from now on where the configuration
    /// wants it.
    pub fn can_echo(&mut self) {
        self.conflicts.echo = true;
        self.prepare_probes();
    }

    /// The configuration has changed: what is under way for the old one is forgotten, and clients ask again.
    pub(super) fn probe_anew(&mut self, moved: &BTreeMap<usize, usize>) {
        let Conflicts { links, echo, answerers, .. } = std::mem::take(&mut self.conflicts);
        let links = links.into_iter().filter_map(|(place, mac)| Some((*moved.get(&place)?, mac))).collect();
        self.conflicts = Conflicts { links, echo, answerers, ..Conflicts::default() };
        self.prepare_probes();
    }

    fn prepare_probes(&mut self) {
        let config = Arc::clone(&self.config);
        let kind_of = |subnet: &Subnet| {
            let by = on_link(&config, subnet).map_or(ProbeKind::Echo, ProbeKind::Arp);
            let can = match by {
                ProbeKind::Arp(interface) => self.conflicts.links.contains_key(&interface.0),
                ProbeKind::Echo => self.conflicts.echo,
            };
            (subnet.conflict_probe && can).then_some(by)
        };
        let kinds: Vec<Option<ProbeKind>> = config.subnets().iter().map(kind_of).collect();
        self.conflicts.stocks.resize_with(kinds.len(), Stock::default);
        for ((stock, kind), table) in self.conflicts.stocks.iter_mut().zip(&kinds).zip(&mut self.tables) {
            stock.by = *kind;
            table.set_require_clear(kind.is_some());
        }
        self.conflicts.refill_at = kinds.iter().any(Option::is_some).then_some(Timestamp::default());
    }

    /// Keeps a request until a probe has ended; what is returned is to be done at once.
    pub(super) fn defer(&mut self, exchange: &Exchange<'_>, place: usize, waits_for: WaitsFor) -> Result<Vec<Action>, DropReason> {
        let now = exchange.now;
        let deferred = Deferred {
            client: exchange.request.client.clone(),
            mac: exchange.client.mac,
            place,
            waits_for,
            ingress: *exchange.ingress,
            datagram: exchange.datagram.into(),
            fresh: exchange.fresh,
            since: now,
        };
        if self.conflicts.ready.len() >= MOST_READY || !self.conflicts.line.push(deferred) {
            return Err(DropReason::NotProbed);
        }
        match waits_for {
            WaitsFor::Address(address) | WaitsFor::Reservation(address) => Ok(self.begin_probe(now, place, address).into_iter().collect()),
            WaitsFor::Any => {
                if let Some(stock) = self.conflicts.stocks.get_mut(place) {
                    stock.demand.ran_dry(now);
                }
                self.conflicts.refill_soon(now);
                Ok(Vec::new())
            }
        }
    }

    /// A client was offered an address of the subnet for the first time.
    pub(super) fn took_from_stock(&mut self, now: Timestamp, place: usize) {
        if let Some(stock) = self.conflicts.stocks.get_mut(place).filter(|stock| stock.by.is_some()) {
            stock.demand.took(now);
            self.conflicts.refill_soon(now);
        }
    }

    /// What is due about probes.
    pub(super) fn tick_probes(&mut self, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        if now.after(CLOCK_WAS_SET) < self.conflicts.latest {
            // Nothing that is under way can be told to be over by this clock; clients ask again.
            self.conflicts.probes = Probes::default();
            self.conflicts.line = Line::default();
            self.conflicts.refill_at = self.conflicts.refill_at.map(|_| now);
            self.conflicts.refilled_at = Timestamp::default();
            self.tables.iter_mut().for_each(LeaseTable::forget_clear);
        }
        self.conflicts.latest = now;
        while let Some(step) = self.conflicts.probes.step(now) {
            match step {
                Step::Send(probe) => actions.push(Action::Probe(probe)),
                Step::Clear { place, address } => self.is_clear(now, place, address),
            }
        }
        while let Some(overdue) = self.conflicts.line.pop_overdue(now) {
            tracing::debug!(client = %overdue.client, "a request has waited too long for a probe");
            actions.push(Action::Drop(DropReason::NotProbed));
        }
        if self.conflicts.refill_at.is_some_and(|at| at <= now) {
            actions.append(&mut self.refill(now));
        }
        for _ in 0..RESUMED_AT_ONCE {
            let Some(deferred) = self.conflicts.ready.pop_front() else { break };
            actions.append(&mut self.resume(now, &deferred));
        }
        actions
    }

    pub(super) fn next_probe_tick(&self) -> Option<Timestamp> {
        let conflicts = &self.conflicts;
        let resumes = (!conflicts.ready.is_empty()).then_some(Timestamp::default());
        [resumes, conflicts.probes.next(), conflicts.line.next(), conflicts.refill_at].into_iter().flatten().min()
    }

    /// Somebody was heard to use the address: by ARP, which tells who, or by an echo's answer, which does not.
    pub(super) fn somebody_is_at(&mut self, now: Timestamp, address: Ipv4Addr, by: Option<(InterfaceId, MacAddr)>) -> Vec<Action> {
        let Some(place) = self.subnet_of(address) else { return Vec::new() };
        // Elsewhere the address is another machine's business: an answer counts on the segment where its subnet is.
        let heard_on = by.map_or(ProbeKind::Echo, |(interface, _)| ProbeKind::Arp(interface));
        if self.conflicts.stocks.get(place).is_none_or(|stock| stock.by != Some(heard_on)) {
            return Vec::new();
        }
        let mac = by.map(|(_, mac)| mac);
        let was_probed = self.conflicts.probes.answered(address).is_some();
        let Some(table) = self.tables.get_mut(place) else { return Vec::new() };
        // What is heard by chance counts when the address is about to be given out. Whoever has a lease may well use it.
        if !was_probed && !table.is_clear(now, address) {
            return Vec::new();
        }
        let is_client = self.conflicts.line.for_address(address).any(|waiting| waiting.mac.is_some() && waiting.mac == mac);
        let last_holder = table.record(address).filter(|record| record.state != LeaseState::Declined);
        let is_leased = table.record(address).is_some_and(|record| record.state == LeaseState::Bound && record.expires_at > now);
        let mut actions = Vec::new();
        if is_leased {
            // Acknowledged while the probe ran, to a client that knew it already: the probe has nothing left to keep anybody from, and
            // a client that finds another machine there declines the address itself.
        } else if is_client {
            // The machine uses already what it asks for.
            table.mark_clear(address, now.after(CLEAR_FOR));
        } else if mac.is_some() && last_holder.and_then(|record| record.hardware.mac()) == mac {
            tracing::info!(%address, "its last client still answers there although its lease is over; nobody else is given it for now");
            table.mark_in_use(address, now.after(CLEAR_FOR));
        } else {
            match mac.map_or(Belief::Believed, |mac| self.conflicts.answerers.count(mac)) {
                Belief::Believed => actions = self.quarantine(now, place, address, mac),
                belief => {
                    if belief == Belief::NoLonger {
                        tracing::error!(
                            mac = %mac.unwrap_or(MacAddr([0; 6])),
                            hint = "turn off proxy ARP on it, or set `conflict_probe = false` in the subnet if it must be on",
                            "one machine answers ARP for many addresses of the pools; it is a router with proxy ARP, or someone who wants the pools to run empty: its answers do not count any more"
                        );
                    }
                    table.mark_clear(address, now.after(CLEAR_FOR));
                }
            }
        }
        let mut waiting = self.conflicts.line.take_for(address);
        // One that uses the address goes first, since others may ask for the same.
        waiting.sort_by_key(|deferred| deferred.mac != mac);
        for deferred in waiting {
            actions.append(&mut self.resume(now, &deferred));
        }
        self.conflicts.refill_soon(now);
        actions
    }

    fn quarantine(&mut self, now: Timestamp, place: usize, address: Ipv4Addr, mac: Option<MacAddr>) -> Vec<Action> {
        let config = Arc::clone(&self.config);
        let reserved = config
            .subnets()
            .get(place)
            .and_then(|subnet| subnet.reservations().iter().find(|reservation| reservation.address.value == address));
        let until = now.after(config.general().decline_quarantine);
        let Some(record) = in_use(address, mac, now, until) else { return Vec::new() };
        let by = mac.map_or_else(|| "a machine behind a relay".to_owned(), |mac| mac.to_string());
        match reserved {
            Some(reservation) => tracing::warn!(
                %address, by, %until,
                hint = "find the machine by its MAC and take the address from it, or reserve another address",
                "an address that is reserved for {} is used by another machine; its client is given an address of the pools until then",
                owner(&reservation.key)
            ),
            None => tracing::warn!(
                %address, by, %until,
                hint = "find the machine by its MAC and give it an address outside of the pools, or exclude the address from them",
                "an address of the pools is used by a machine that has no lease of it; nobody is given it until then"
            ),
        }
        if let Some(table) = self.tables.get_mut(place) {
            table.put(record.clone());
        }
        let what = SiteEventKind::AddressInUse { address, reserved: reserved.is_some() };
        vec![Action::Commit(Commit { record, promise: None }), Action::Report(SiteEvent { at: now, boot: None, mac, what })]
    }

    fn is_clear(&mut self, now: Timestamp, place: usize, address: Ipv4Addr) {
        if let Some(table) = self.tables.get_mut(place) {
            table.mark_clear(address, now.after(CLEAR_FOR));
        }
        let waiting = self.conflicts.line.take_for(address);
        if waiting.is_empty() {
            self.conflicts.ready.extend(self.conflicts.line.pop_for_any(place));
        }
        self.conflicts.ready.extend(waiting);
    }

    fn resume(&mut self, now: Timestamp, deferred: &Deferred) -> Vec<Action> {
        // It was counted when it came.
        self.decide(now, &deferred.ingress, &deferred.datagram, deferred.fresh, None)
    }

    fn begin_probe(&mut self, now: Timestamp, place: usize, address: Ipv4Addr) -> Option<Action> {
        let kind = self.conflicts.stocks.get(place).filter(|_| self.conflicts.probes.running() < MOST_PROBES)?.by?;
        self.conflicts.probes.begin(now, place, Probe { address, kind }).map(Action::Probe)
    }

    /// Begins to probe what is missing in the stocks.
    fn refill(&mut self, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        for place in 0..self.tables.len() {
            let waiting = self.conflicts.line.waiting_for_any(place);
            let Some(stock) = self.conflicts.stocks.get_mut(place).filter(|stock| stock.by.is_some()) else { continue };
            let wanted = stock.demand.stock(now).saturating_add(waiting);
            let Some(table) = self.tables.get_mut(place) else { continue };
            let ahead = now.after(PROBED_AGAIN_AT);
            let missing: Vec<Ipv4Addr> =
                table.candidates(now, wanted).into_iter().filter(|address| !table.is_clear(ahead, *address)).collect();
            let begun = missing.into_iter().take(BEGUN_AT_ONCE).filter_map(|address| self.begin_probe(now, place, address));
            actions.extend(begun);
        }
        self.conflicts.refilled_at = now;
        self.conflicts.refill_at = Some(now.after(REFILL_SLOWLY));
        actions
    }
}

impl Conflicts {
    fn refill_soon(&mut self, now: Timestamp) {
        // In the future only by a clock that was set back.
        let soon = if self.refilled_at > now { now } else { now.max(self.refilled_at.after(REFILL_AT_MOST)) };
        self.refill_at = self.refill_at.map(|at| at.min(soon));
    }
}

/// Whom a reservation is for, in words.
fn owner(key: &ReservationKey) -> String {
    match key {
        ReservationKey::Mac(mac) => mac.to_string(),
        ReservationKey::Uuid(uuid) => format!("UUID {uuid}"),
        ReservationKey::ClientId(octets) => format!("client {}", HEXLOWER.encode(octets)),
        ReservationKey::CircuitId(octets) => format!("circuit {}", HEXLOWER.encode(octets)),
    }
}

/// The interface in server mode that the subnet is on, or another one of its link.
fn on_link(config: &DhcpConfig, subnet: &Subnet) -> Option<InterfaceId> {
    let holds = |address: Ipv4Addr| {
        let mut link = config.subnets().iter().filter(|other| other.is_on_link_of(subnet));
        link.any(|other| other.network.value.contains(address))
    };
    let is_on = |interface: &super::config::Interface| interface.mode == Mode::Server && holds(interface.address);
    config.interfaces().iter().position(is_on).map(InterfaceId)
}

/// What is written down of an address that somebody uses.
fn in_use(address: Ipv4Addr, mac: Option<MacAddr>, now: Timestamp, until: Timestamp) -> Option<LeaseRecord> {
    const ETHERNET: u8 = 1;
    const UNKNOWN: u8 = 0;
    let hardware = match mac {
        Some(mac) => HardwareAddress::new(ETHERNET, &mac.0),
        // Who answered an echo is not known by a hardware address.
        None => HardwareAddress::new(UNKNOWN, &[]),
    }?;
    // Nobody's identity: the machine may be a client of ours with an address of its own, which it must not lose for this one.
    let client = ClientId::from_option(&[b"\0in use ".as_slice(), &address.octets()].concat())?;
    Some(LeaseRecord { address, client, hardware, state: LeaseState::Declined, starts_at: now, expires_at: until, host_name: None })
}
