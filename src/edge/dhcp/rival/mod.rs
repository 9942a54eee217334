//! Other DHCP servers on a segment: two that know nothing of each other give the same address to two machines.
//!
//! The engine asks for offers as a client would. In server mode it promises nothing new where another server answers that, unless the
//! interface is `authoritative`; what it has promised it keeps. What clients and servers say to each other is no more than a cause to
//! ask at once: anybody could have made it up.

mod look;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use self::watch::{Rival, Step, Watch};
use super::action::{Action, DropReason, InterfaceId};
use super::config::{DhcpConfig, Interface, Mode};
use super::engine::{Engine, Exchange};
use super::message::Request;
use super::option::{self, MessageType};
use super::relay::is_us;
use crate::clock::Timestamp;
use crate::edge::lease::LeaseState;
use crate::wire::MacAddr;
use crate::wire::uplink::{SiteEvent, SiteEventKind};

/// What is known of other servers.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    /// By interface.
    watches: BTreeMap<usize, Watch>,
    /// Reports that wait for the next tick.
    reports: Vec<SiteEvent>,
    /// What is said once: that a proxy has no server beside it, and which interfaces share a segment.
    told_alone: BTreeSet<usize>,
    told_shared: BTreeSet<(usize, usize)>,
    /// By interface, the servers that others spoke of and that do not answer.
    told_unheard: BTreeSet<(usize, Ipv4Addr)>,
}

/// So many servers that do not answer are told of; more of them are made up.
const MOST_TOLD: usize = 16;

impl Engine {
    /// The interface is Ethernet with this address of ours, and what servers send to clients can be heard there: other servers are
    /// looked for from now on, and addresses are probed by ARP. Without this nothing of both is done, as on links that have no
    /// Ethernet frames. `seed` spreads the looks of boxes that are switched on together.
    pub fn watch(&mut self, now: Timestamp, interface: InterfaceId, mac: MacAddr, seed: u64) {
        let config = Arc::clone(&self.config);
        let Some(mode) = config.interfaces().get(interface.0).map(|found| found.mode).filter(|mode| *mode != Mode::Observe) else { return };
        if self.rivals.watches.get(&interface.0).is_none_or(|watch| watch.mac != mac) {
            self.rivals.watches.insert(interface.0, Watch::new(now, mac, seed));
        }
        if mode == Mode::Server {
            self.can_arp(interface, mac);
        }
    }

    /// To be called when the configuration has taken the place of `old`. Interfaces that stay what they were are watched on, without
    /// another first look; the shell names those that are new with [`Engine::watch`].
    pub fn watch_on(&mut self, old: &DhcpConfig) {
        let same = |here: &Interface| self.config.interfaces().iter().position(|now| now.name == here.name && now.mode == here.mode);
        let moved: BTreeMap<usize, usize> =
            old.interfaces().iter().enumerate().filter_map(|(place, here)| Some((place, same(here)?))).collect();
        let Rivals { watches, reports, .. } = std::mem::take(&mut self.rivals);
        let watches = watches.into_iter().filter_map(|(place, watch)| Some((*moved.get(&place)?, watch))).collect();
        self.rivals = Rivals { watches, reports, ..Rivals::default() };
        self.probe_anew(&moved);
    }

    /// What is due about other servers.
    pub(super) fn tick_rivals(&mut self, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        let places: Vec<usize> = self.rivals.watches.keys().copied().collect();
        for place in places {
            let Some(watch) = self.rivals.watches.get_mut(&place) else { continue };
            match watch.step(now) {
                Some(Step::Ask { xid }) => {
                    let payload = look::discover(watch.mac, xid);
                    actions.push(Action::LookForServers { interface: InterfaceId(place), payload });
                }
                Some(Step::Ended { first, gone, unheard }) => {
                    self.look_ended(now, place, first, &gone, &unheard);
                    self.tell_unheard(place, unheard);
                }
                None => {}
            }
        }
        actions.extend(self.rivals.reports.drain(..).map(Action::Report));
        actions
    }

    pub(super) fn next_rival_tick(&self) -> Option<Timestamp> {
        if !self.rivals.reports.is_empty() {
            return Some(Timestamp::default());
        }
        self.rivals.watches.values().map(Watch::next).min()
    }

    /// A server's message to a client, or to us, was heard.
    pub(super) fn server_spoke(&mut self, now: Timestamp, interface: InterfaceId, octets: &[u8], source: SocketAddrV4, mac: MacAddr) {
        let Some(said) = look::said(octets, source) else { return };
        let answers_us = self.rivals.watches.get(&interface.0).is_some_and(|watch| watch.asked(said.xid, said.to));
        if answers_us {
            self.server_is_there(now, interface, said.server, mac);
        } else {
            self.hear_of_server(now, interface, said.server);
        }
    }

    /// A client's message on a segment that is watched: is it a look of our own that came back, or does it name another server, which is
    /// looked for then?
    /// Relayed ones come from elsewhere.
    pub(super) fn client_spoke(&mut self, now: Timestamp, interface: InterfaceId, request: &Request<'_>) -> Result<(), DropReason> {
        let looker = request.option(option::CLIENT_IDENTIFIER).and_then(look::looker);
        if let Some(mac) = looker
            && let Some(sender) = self.rivals.watches.iter().find(|(_, watch)| watch.mac == mac).map(|(place, _)| *place)
        {
            // By a relay, or over a cable between two of our interfaces.
            if sender != interface.0 && !request.is_relayed() {
                self.share_a_segment(sender, interface.0);
            }
            return Err(DropReason::OwnLook);
        }
        if request.kind == MessageType::Request
            && !request.is_relayed()
            && let Some(server) = request.address_option(option::SERVER_IDENTIFIER)
        {
            self.hear_of_server(now, interface, server);
        }
        Ok(())
    }

    /// A server is looked for at once that others spoke of.
    fn hear_of_server(&mut self, now: Timestamp, interface: InterfaceId, server: Ipv4Addr) {
        match self.config.interfaces().iter().position(|interface| interface.address == server) {
            Some(ours) if ours != interface.0 && self.rivals.watches.contains_key(&interface.0) => self.share_a_segment(ours, interface.0),
            Some(_) => {}
            None => {
                if let Some(watch) = self.rivals.watches.get_mut(&interface.0) {
                    watch.hear_of(now, server);
                }
            }
        }
    }

    /// Says once of each server that it does not answer: it serves machines that it knows and no others, or somebody made it up.
    fn tell_unheard(&mut self, place: usize, unheard: Vec<Ipv4Addr>) {
        let config = Arc::clone(&self.config);
        let Some(here) = config.interfaces().get(place).filter(|here| here.mode == Mode::Server) else { return };
        for server in unheard {
            if self.rivals.told_unheard.len() < MOST_TOLD && self.rivals.told_unheard.insert((place, server)) {
                tracing::warn!(
                    interface = here.name, %server,
                    hint = "if there is such a server, see to it that it and this box serve different machines; if there is none, somebody on the segment forges messages",
                    "a machine's message names another DHCP server, which does not answer this box; addresses are given out all the same"
                );
            }
        }
    }

    /// Whether the exchange may be answered by the server of its interface: not while it does not know yet whether it is alone, nor
    /// while it is not, unless the answer keeps what was promised. A relay asks the servers that it was told to ask.
    pub(super) fn may_answer(&self, exchange: &Exchange<'_>, place: usize) -> Result<(), DropReason> {
        let request = exchange.request;
        let Some(watch) = self.rivals.watches.get(&exchange.ingress.interface.0) else { return Ok(()) };
        let reason = if exchange.interface.authoritative || request.is_relayed() {
            return Ok(());
        } else if !watch.rivals().is_empty() {
            DropReason::OtherServerThere
        } else if watch.is_first_look() {
            DropReason::FirstLook
        } else {
            return Ok(());
        };
        let names_us = request.address_option(option::SERVER_IDENTIFIER).is_some_and(|server| is_us(exchange, server));
        let own = if request.ciaddr.is_unspecified() { request.address_option(option::REQUESTED_ADDRESS) } else { Some(request.ciaddr) };
        let holds = || {
            let record = self.tables.get(place)?.record(own?)?;
            Some(record.client == request.client && record.state == LeaseState::Bound && record.expires_at > exchange.now)
        };
        match request.kind {
            MessageType::Release | MessageType::Decline => Ok(()),
            MessageType::Request if names_us || holds() == Some(true) => Ok(()),
            MessageType::Inform if holds() == Some(true) => Ok(()),
            _ => Err(reason),
        }
    }

    fn server_is_there(&mut self, now: Timestamp, interface: InterfaceId, server: Ipv4Addr, mac: MacAddr) {
        let config = Arc::clone(&self.config);
        if config.interfaces().iter().any(|interface| interface.address == server) {
            self.hear_of_server(now, interface, server);
            return;
        }
        let Some(here) = config.interfaces().get(interface.0) else { return };
        let Some(watch) = self.rivals.watches.get_mut(&interface.0) else { return };
        let was_alone = watch.rivals().is_empty();
        let Some(rival) = watch.heard(server, mac) else { return };
        self.rivals.told_alone.remove(&interface.0);
        match here.mode {
            Mode::Server => {
                warn_of(here, &rival);
                let what = SiteEventKind::OtherServer { interface: here.name.clone(), server, silent: !here.authoritative };
                self.rivals.reports.push(SiteEvent { at: now, boot: None, mac: Some(rival.mac), what });
            }
            Mode::Proxy if was_alone => tracing::info!(interface = here.name, %server, "the DHCP server beside this proxy is there"),
            Mode::Proxy | Mode::Observe => {}
        }
    }

    fn look_ended(&mut self, now: Timestamp, place: usize, first: bool, gone: &[Rival], unheard: &[Ipv4Addr]) {
        let config = Arc::clone(&self.config);
        let Some(here) = config.interfaces().get(place) else { return };
        let alone = self.rivals.watches.get(&place).is_some_and(|watch| watch.rivals().is_empty());
        match here.mode {
            Mode::Server => {
                if first && alone {
                    tracing::info!(interface = here.name, "no other DHCP server answers; addresses are given out from now on");
                }
                for rival in gone {
                    if alone && !here.authoritative {
                        tracing::warn!(interface = here.name, server = %rival.server, "the other DHCP server is gone; addresses are given out again");
                    } else {
                        tracing::info!(interface = here.name, server = %rival.server, "another DHCP server is gone");
                    }
                    let what = SiteEventKind::OtherServerGone { interface: here.name.clone(), server: rival.server };
                    self.rivals.reports.push(SiteEvent { at: now, boot: None, mac: Some(rival.mac), what });
                }
            }
            // A server that answers known machines only does not answer us, and is there for them.
            Mode::Proxy if alone && unheard.is_empty() && self.rivals.told_alone.insert(place) => tracing::warn!(
                interface = here.name,
                hint = "a proxy only adds the boot file; start the site's DHCP server, or set `mode = \"server\"` in `[[interface]]`",
                "no DHCP server answers here, so machines get no address"
            ),
            Mode::Proxy | Mode::Observe => {}
        }
    }

    fn share_a_segment(&mut self, one: usize, other: usize) {
        let pair = (one.min(other), one.max(other));
        let name = |place: usize| self.config.interfaces().get(place).map_or_else(String::new, |interface| interface.name.clone());
        let names = (name(pair.0), name(pair.1));
        if self.rivals.told_shared.insert(pair) {
            tracing::warn!(
                one = names.0,
                other = names.1,
                hint = "serve the segment from one of them, and set the other one's mode to \"off\"",
                "two interfaces of this box are on the same segment: machines there hear both"
            );
        }
    }
}

fn warn_of(here: &Interface, rival: &Rival) {
    let mac = rival.mac;
    if here.authoritative {
        tracing::warn!(
            interface = here.name, server = %rival.server, %mac,
            hint = "turn one of the two off, or see to it that their pools have no address in common",
            "another DHCP server answers on this segment; the interface is authoritative, so addresses are given out all the same"
        );
        return;
    }
    tracing::error!(
        interface = here.name, server = %rival.server, %mac,
        hint = "turn one of the two off, or set `mode = \"proxy\"` in `[[interface]]` to give boot files beside the other one, or `authoritative = true` to give out addresses all the same",
        "another DHCP server answers on this segment: no address is given out here until it is gone; leases that were given are kept"
    );
}
