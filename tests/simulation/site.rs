//! The site: machines, a network that loses and doubles, a server with a clock, a disk and bad days, and the oracle that watches.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use fairlead::clock::Timestamp;
use fairlead::edge::dhcp::{
    Action, BootSettings, Commit, Destination, DropReason, Engine, Fresh, Ingress, InterfaceId, Notice, Outcome, Outgoing, Probe,
    ProbeKind, SERVER_PORT, TicketMinter,
};
use fairlead::edge::lease::{LeaseRecord, LeaseState};
use fairlead::wire::{BootId, Digest, MacAddr, Nonce, SystemUuid};

use crate::dice::Dice;
use crate::machine::{DAY, Deed, HOUR, MINUTE, Machine, Purpose, SECOND, SendTo, Stage, State};
use crate::message::{ACK, Answer, Message, NAK, OFFER, room_for_answer};
use crate::oracle::{ClientNumber, Millis, Oracle, Promise, Term};
use crate::plan::{Mac, Plan, Subnet};
use crate::strangers::Strangers;

/// The box.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// True time at the beginning.
pub const BEGIN: Millis = 1_800_000_000_000;
/// The box's only interface, and its hardware address there.
const SERVED: InterfaceId = InterfaceId(0);
const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
/// What is due at one moment is done in a few turns.
const MOST_TURNS: u32 = 100;

/// What happens, sooner or later.
#[derive(Debug)]
enum Event {
    /// A machine's timer; only the newest one counts.
    Wake(usize, u64),
    /// A machine is switched on, off or started again.
    Power(usize),
    Arrives(Box<Datagram>),
    Reaches(usize, Arc<Carried>),
    /// The disk has finished with the oldest record that waits; counts only in the server's present life.
    Disk(u64),
    /// Something may be due in the server; only the earliest one counts.
    Tick(Millis),
    /// A stranger answers a probe, or announces itself, if it is still there.
    Answers(Probe),
    Trouble(Trouble),
    ServerIsBack,
    DiskWorksAgain,
    WeatherClears,
}

/// What goes wrong, or is done, in a year.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    ClockStep,
    Crash,
    DiskFails,
    NewConfiguration,
    Storm,
}

/// A request on its way.
#[derive(Clone)]
struct Datagram {
    number: ClientNumber,
    mac: Mac,
    max_message_size: Option<u16>,
    purpose: Purpose,
    /// The router of the subnet on which it was sent.
    router: Ipv4Addr,
    octets: Vec<u8>,
    source: SocketAddrV4,
    destination: Ipv4Addr,
    /// What its machine's identity had when it asked.
    had: Option<Ipv4Addr>,
    /// Its firmware and its operating system are one client.
    has_one_name: bool,
}

impl fmt::Debug for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, mac, purpose, source, had, .. } = self;
        write!(f, "{purpose:?} from client {number}, hardware address {mac:02x?}, had {had:?}, sent from {source}")
    }
}

/// An answer on its way.
#[derive(Debug)]
struct Carried {
    answer: Answer,
    promise: Option<Promise>,
    /// Only a machine that has this address takes it.
    only_at: Option<Ipv4Addr>,
}

/// A record that waits for the disk, and whose request it was.
#[derive(Debug)]
struct Waiting {
    commit: Commit,
    asked: Option<Datagram>,
    made: Millis,
}

/// What was seen, for the test to judge whether the year was one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub requests: u64,
    pub acknowledged: u64,
    pub refused: u64,
    pub kept: u64,
    pub moved: u64,
    pub lost: u64,
    pub crashes: u64,
    pub steps: u64,
    pub disk_failures: u64,
    pub undurable: u64,
    pub not_durable: u64,
    pub declined: u64,
    pub no_free_address: u64,
    pub configurations: u64,
    /// DISCOVERs and REQUESTs that waited for a probe, and how many of them were answered.
    pub deferred: u64,
    pub requests_deferred: u64,
    pub answered_late: u64,
    pub probes: u64,
    pub strangers_found: u64,
}

/// Stands in for the site's key.
struct PlainMinter;

impl TicketMinter for PlainMinter {
    fn mint(&self, _: Timestamp, boot: BootId, mac: MacAddr, _: Option<SystemUuid>, _: Nonce) -> Option<String> {
        Some(format!("ticket of {mac} for {boot}"))
    }
}

fn boot_settings() -> Arc<BootSettings> {
    let minter = Arc::new(PlainMinter);
    Arc::new(BootSettings { root: Digest([7; 32]), boot_url: "https://cloud.example".to_owned(), http_port: 80, minter })
}

pub struct Site {
    pub now: Millis,
    pub dice: Dice,
    pub oracle: Oracle,
    pub tally: Tally,
    pub machines: Vec<Machine>,
    pub engine: Engine,
    plans: Vec<Plan>,
    /// Reserved, and given to nobody else by any of the plans.
    always_kept: BTreeSet<Ipv4Addr>,
    plan: Plan,
    by_mac: HashMap<Mac, Vec<usize>>,
    events: BinaryHeap<Reverse<(Millis, u64)>>,
    due: HashMap<u64, Event>,
    next_event: u64,
    next_timer: u64,
    disk: BTreeMap<Ipv4Addr, LeaseRecord>,
    waiting: VecDeque<Waiting>,
    /// When the request was made that was answered last, for each address: one that came twice at once is answered once.
    answered: BTreeMap<Ipv4Addr, Millis>,
    disk_is_busy_until: Millis,
    disk_works: bool,
    is_up: bool,
    life: u64,
    storm: bool,
    /// No loss, no delay, and nobody is switched off.
    pub calm: bool,
    /// Hosts that nobody gave their addresses; with some the box listens to ARP and ICMP and looks for other servers.
    pub strangers: Option<Strangers>,
    /// What waits for a probe: DISCOVERs, and REQUESTs (`true`).
    deferred: HashMap<(Mac, u32, bool), Datagram>,
    tick_at: Option<Millis>,
    stepped_at: Millis,
}

impl Site {
    /// A site with these machines; the operator changes between `plans`.
    pub fn new(dice: Dice, plans: Vec<Plan>, machines: Vec<Machine>) -> Self {
        let plan = plans[0].clone();
        let mut always_kept: BTreeSet<Ipv4Addr> = plan.subnets.iter().flat_map(|subnet| subnet.reservations.values().copied()).collect();
        always_kept.retain(|address| plans.iter().all(|plan| plan.subnet_of(*address).is_none_or(|subnet| !subnet.is_dynamic(*address))));
        let mut engine = Engine::new(Arc::new(plan.config()), Vec::new());
        engine.set_boot_settings(Some(boot_settings()));
        let mut by_mac: HashMap<Mac, Vec<usize>> = HashMap::new();
        for (place, machine) in machines.iter().enumerate() {
            by_mac.entry(machine.mac).or_default().push(place);
        }
        Self {
            now: BEGIN,
            dice,
            oracle: Oracle::new(),
            tally: Tally::default(),
            machines,
            engine,
            always_kept,
            plans,
            plan,
            by_mac,
            events: BinaryHeap::new(),
            due: HashMap::new(),
            next_event: 0,
            next_timer: 0,
            disk: BTreeMap::new(),
            waiting: VecDeque::new(),
            answered: BTreeMap::new(),
            disk_is_busy_until: 0,
            disk_works: true,
            is_up: true,
            life: 0,
            storm: false,
            calm: false,
            strangers: None,
            deferred: HashMap::new(),
            tick_at: None,
            stepped_at: 0,
        }
    }

    /// Something bad, or new, at this moment.
    pub fn trouble_at(&mut self, at: Millis, trouble: Trouble) {
        self.at(at, Event::Trouble(trouble));
    }

    /// Switches a machine on at this moment, or off if it is on.
    pub fn power_at(&mut self, at: Millis, machine: usize) {
        self.at(at, Event::Power(machine));
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub fn run_until(&mut self, end: Millis) -> Result<(), String> {
        while let Some(Reverse((at, number))) = self.events.peek().copied().filter(|Reverse((at, _))| *at <= end) {
            self.events.pop();
            self.now = at;
            let event = self.due.remove(&number).expect("an event is there once");
            self.happen(event).and_then(|()| self.turn()).map_err(|broken| format!("on day {}: {broken}", (at - BEGIN) / DAY))?;
        }
        self.now = end;
        Ok(())
    }

    fn at(&mut self, at: Millis, event: Event) {
        self.next_event += 1;
        self.events.push(Reverse((at.max(self.now), self.next_event)));
        self.due.insert(self.next_event, event);
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Wake(place, timer) => {
                if self.machines[place].timer == timer {
                    let deeds = self.machines[place].wake(self.now, &mut self.dice);
                    return self.perform(place, deeds);
                }
                Ok(())
            }
            Event::Power(place) => self.power(place),
            Event::Arrives(datagram) => self.serve(&datagram),
            Event::Reaches(place, carried) => {
                let machine = &mut self.machines[place];
                let at_home = carried.only_at.is_none_or(|only| machine.lease.is_some_and(|lease| lease.address == only));
                if machine.state == State::Off || !at_home {
                    return Ok(());
                }
                let deeds = machine.hear(&carried.answer, carried.promise, self.now, &mut self.dice);
                self.perform(place, deeds)
            }
            Event::Disk(life) => {
                if life == self.life {
                    self.settle()
                } else {
                    Ok(())
                }
            }
            Event::Tick(at) => {
                self.tick_at = self.tick_at.filter(|next| *next != at);
                Ok(())
            }
            Event::Answers(probe) => self.hear_stranger(probe),
            Event::Trouble(trouble) => self.suffer(trouble),
            Event::ServerIsBack => {
                self.start_server();
                Ok(())
            }
            Event::DiskWorksAgain => {
                self.disk_works = true;
                Ok(())
            }
            Event::WeatherClears => {
                self.storm = false;
                Ok(())
            }
        }
    }

    fn power(&mut self, place: usize) -> Result<(), String> {
        if self.machines[place].state == State::Off {
            let again = self.dice.around(60 * DAY);
            self.at(self.now + again, Event::Power(place));
            let deeds = self.machines[place].power_on(&mut self.dice);
            return self.perform(place, deeds);
        }
        let deeds = self.machines[place].power_off();
        self.perform(place, deeds)?;
        self.machines[place].timer = 0;
        // Started again as a rule; sometimes away for long, and now and then put up somewhere else.
        let away = if self.dice.once_in(4) { self.dice.of_any_order(HOUR, 30 * DAY) } else { self.dice.within(SECOND, 20 * SECOND) };
        if self.dice.once_in(60) {
            let subnets = &self.plans[0].subnets;
            let place_of = usize::try_from(self.dice.below(subnets.len() as u64)).expect("a place");
            self.machines[place].router = subnets[place_of].router;
        }
        self.at(self.now + away, Event::Power(place));
        Ok(())
    }

    fn perform(&mut self, place: usize, deeds: Vec<Deed>) -> Result<(), String> {
        for deed in deeds {
            match deed {
                Deed::Wait(time) => {
                    self.next_timer += 1;
                    self.machines[place].timer = self.next_timer;
                    self.at(self.now + time, Event::Wake(place, self.next_timer));
                }
                Deed::Takes(promise, until) => self.oracle.takes(promise, until, self.now)?,
                Deed::Leaves(number, address) => self.oracle.leaves(number, address),
                Deed::Send(purpose, message, to) => self.transmit(place, purpose, *message, to),
            }
        }
        Ok(())
    }

    fn transmit(&mut self, place: usize, purpose: Purpose, message: Message, to: SendTo) {
        let machine = &self.machines[place];
        let local = self.plans[0].subnets[0].router;
        let unicast = to == SendTo::Server;
        let (message, source, destination) = if unicast {
            let own = machine.lease.map_or(Ipv4Addr::UNSPECIFIED, |lease| lease.address);
            (message, SocketAddrV4::new(own, 68), SERVER)
        } else if machine.router == local {
            (message, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68), Ipv4Addr::BROADCAST)
        } else {
            (message.relayed(machine.router), SocketAddrV4::new(machine.router, 67), SERVER)
        };
        let datagram = Datagram {
            number: machine.number(),
            mac: machine.mac,
            max_message_size: machine.habits.max_message_size,
            purpose,
            router: machine.router,
            octets: message.build(),
            source,
            destination,
            had: machine.last[machine.identity()],
            has_one_name: machine.habits.duid.is_none(),
        };
        for _ in 0..self.copies() {
            let delay = self.delay();
            self.at(self.now + delay, Event::Arrives(Box::new(datagram.clone())));
        }
    }

    fn copies(&mut self) -> u64 {
        let lost = match (self.calm, self.storm) {
            (true, _) => false,
            (false, false) => self.dice.once_in(50),
            (false, true) => self.dice.once_in(3),
        };
        let doubled = !self.calm && self.dice.once_in(80);
        self.tally.lost += u64::from(lost);
        if lost { 0 } else { 1 + u64::from(doubled) }
    }

    fn delay(&mut self) -> Millis {
        match (self.calm, self.storm) {
            (true, _) => 1,
            (false, true) => self.dice.of_any_order(1, 20 * SECOND),
            (false, false) if self.dice.once_in(100) => self.dice.within(1, 3 * SECOND),
            (false, false) => self.dice.within(1, 20),
        }
    }

    pub fn server_time(&self) -> Timestamp {
        Timestamp(self.oracle.clock.reading(self.now))
    }

    pub fn fresh(&mut self) -> Fresh {
        Fresh { boot: BootId(self.dice.octets()), nonce: Nonce(self.dice.octets()) }
    }

    /// A request has come through to the server.
    fn serve(&mut self, asked: &Datagram) -> Result<(), String> {
        if !self.is_up {
            return Ok(());
        }
        self.tally.requests += 1;
        let ingress = Ingress { interface: SERVED, source: asked.source, destination: asked.destination, port: SERVER_PORT };
        let owed = self.owed(asked);
        let fresh = self.fresh();
        let actions = self.engine.handle(self.server_time(), &ingress, &asked.octets, fresh);
        let mut is_kept = false;
        for action in &actions {
            if let Action::Probe(_) = action {
                self.tally.probes += 1;
            } else if let Action::Commit(commit) = action {
                is_kept |= commit.record.state == LeaseState::Bound && Some(commit.record.address) == owed;
            } else if let Action::Send(sent) = action {
                let answer = Answer::parse(&sent.payload)?;
                // An address of an earlier lease is as good, if it is rare: a clock that was set back makes the older one look newer.
                is_kept |= answer.kind == OFFER;
                self.tally.moved += u64::from(owed.is_some_and(|owed| answer.kind == OFFER && answer.yiaddr != owed));
            }
        }
        if actions.iter().all(|action| matches!(action, Action::Probe(_))) {
            // A reservation that it has not now must be probed first; what it has waits for it. A REQUEST of what is owed never waits.
            let is_request = asked.purpose != Purpose::Discover;
            is_kept |= !is_request;
            self.tally.deferred += 1;
            self.tally.requests_deferred += u64::from(is_request);
            let xid = asked.octets[4..8].try_into().map(u32::from_be_bytes).expect("four octets");
            self.deferred.insert((asked.mac, xid, is_request), asked.clone());
        }
        if let Some(address) = owed
            && !is_kept
        {
            return Err(format!("the lease of {address} was forgotten: {asked:?} is answered with {actions:?}"));
        }
        self.tally.kept += u64::from(is_kept);
        self.check_elsewhere(asked, &actions)?;
        for action in actions {
            match action {
                Action::Send(sent) => self.answer(asked, &sent, None)?,
                Action::Commit(commit) => self.wait_for_disk(commit, Some(asked.clone())),
                Action::Drop(DropReason::NoFreeAddress) => self.tally.no_free_address += 1,
                Action::Probe(probe) => self.probe(probe),
                _ => {}
            }
        }
        Ok(())
    }

    /// Does what is due in the server without anybody's doing.
    fn turn(&mut self) -> Result<(), String> {
        if self.strangers.is_none() || !self.is_up {
            return Ok(());
        }
        for _ in 0..MOST_TURNS {
            let server_time = self.server_time();
            if !self.engine.is_tick_due(server_time) {
                let next =
                    self.engine.next_tick().map(|next| self.now + u64::try_from(next.since(server_time).as_millis()).expect("a time"));
                if let Some(next) = next.filter(|next| self.tick_at.is_none_or(|earliest| *next < earliest)) {
                    self.tick_at = Some(next);
                    self.at(next, Event::Tick(next));
                }
                return Ok(());
            }
            let actions = self.engine.tick(server_time);
            self.unasked(actions)?;
        }
        Err("what is due never ends".to_owned())
    }

    /// What the server does that is no answer to what has just come in.
    fn unasked(&mut self, actions: Vec<Action>) -> Result<(), String> {
        for action in actions {
            match action {
                Action::Send(sent) => {
                    let answer = Answer::parse(&sent.payload)?;
                    let Some(asked) = self.deferred.remove(&(answer.mac, answer.xid, answer.kind != OFFER)) else {
                        return Err(format!("nobody waits for {answer:?}"));
                    };
                    self.tally.answered_late += 1;
                    self.answer(&asked, &sent, None)?;
                }
                Action::Commit(commit) if commit.record.state == LeaseState::Bound => {
                    let asked = self.take_deferred(&commit.record).ok_or_else(|| format!("nobody waits for {:?}", commit.record))?;
                    self.tally.answered_late += 1;
                    self.wait_for_disk(commit, Some(asked));
                }
                Action::Commit(commit) => self.wait_for_disk(commit, None),
                Action::Probe(probe) => {
                    self.tally.probes += 1;
                    self.probe(probe);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The REQUEST that waited for this lease; of two by one machine, the one whose identifier the lease has.
    fn take_deferred(&mut self, leased: &LeaseRecord) -> Option<Datagram> {
        let asks = |asked: &Datagram| {
            matches!(asked.purpose, Purpose::Select(address) | Purpose::Reboot(address) if address == leased.address)
                && leased.hardware.mac() == Some(MacAddr(asked.mac))
        };
        let identifier = leased.client.octets();
        let asking = self.deferred.iter().filter(|(_, asked)| asks(asked));
        let key = *asking.max_by_key(|(_, asked)| asked.octets.windows(identifier.len()).any(|octets| octets == identifier))?.0;
        self.deferred.remove(&key)
    }

    /// The network carries a probe; a stranger that is there answers. On a segment that is hardly ever lost.
    fn probe(&mut self, probe: Probe) {
        if self.strangers.as_ref().is_some_and(|strangers| strangers.at(probe.address, self.now).is_some()) {
            let delay = self.dice.within(1, 80);
            self.at(self.now + delay, Event::Answers(probe));
        }
    }

    /// A stranger comes to this address now, and may announce itself (RFC 5227, section 2.3).
    fn announce_at(&mut self, at: Millis, address: Ipv4Addr) {
        self.at(at, Event::Answers(Probe { address, kind: ProbeKind::Arp(SERVED) }));
    }

    fn hear_stranger(&mut self, probe: Probe) -> Result<(), String> {
        let found = self.strangers.as_ref().and_then(|strangers| strangers.at(probe.address, self.now));
        let Some(mac) = found.filter(|_| self.is_up) else { return Ok(()) };
        let notice = match probe.kind {
            ProbeKind::Arp(_) => Notice::Arp { mac: MacAddr(mac), address: probe.address },
            ProbeKind::Echo => Notice::EchoReply(probe.address),
        };
        let actions = self.engine.noticed(self.server_time(), SERVED, &notice);
        self.unasked(actions)
    }

    /// RFC 5227, section 2.1.1: who is new at an address is not given one at which somebody has been answering for a while.
    fn check_strangers(&self, asked: &Datagram, address: Ipv4Addr) -> Result<(), String> {
        let settled = self.strangers.as_ref().is_some_and(|strangers| strangers.is_settled(address, self.now));
        let clock_was_right = self.now.saturating_sub(self.stepped_at) > Strangers::SETTLED;
        let probes = self.plan.subnet_of(address).is_some_and(|subnet| subnet.conflict_probe);
        let had_it = self.disk.get(&address).is_some_and(|record| record.hardware.mac() == Some(MacAddr(asked.mac)));
        if settled && clock_was_right && probes && !had_it {
            return Err(format!("{address} is offered and a stranger sits on it: {asked:?}"));
        }
        Ok(())
    }

    /// The address that this request must be answered with: its client has a lease of it, and the configuration lets it stay.
    fn owed(&self, asked: &Datagram) -> Option<Ipv4Addr> {
        let address = match asked.purpose {
            Purpose::Reboot(address) | Purpose::Renew(address) | Purpose::Rebind(address) => address,
            Purpose::Discover => asked.had?,
            Purpose::Select(_) | Purpose::Release | Purpose::Decline => return None,
        };
        let subnet = self.plan.subnet_of(address)?;
        let at_home = subnet.router == asked.router;
        let stays = at_home && self.plan.lets_keep(asked.mac, address);
        (stays && self.oracle.is_owed(asked.number, address, self.now)).then_some(address)
    }

    /// RFC 2131, section 4.3.2: who comes from another subnet with an address is told that it is wrong here.
    fn check_elsewhere(&self, asked: &Datagram, actions: &[Action]) -> Result<(), String> {
        let (Purpose::Reboot(address) | Purpose::Rebind(address)) = asked.purpose else { return Ok(()) };
        let Some(subnet) = self.plan.subnets.iter().find(|subnet| subnet.router == asked.router) else { return Ok(()) };
        if subnet.contains(address) {
            return Ok(());
        }
        let refused = actions.iter().any(|action| match action {
            Action::Send(sent) => Answer::parse(&sent.payload).is_ok_and(|answer| answer.kind == NAK),
            _ => false,
        });
        if refused { Ok(()) } else { Err(format!("{address} is of another subnet: {asked:?} is answered with {actions:?}")) }
    }

    fn wait_for_disk(&mut self, commit: Commit, asked: Option<Datagram>) {
        let address = commit.record.address;
        match commit.record.state {
            LeaseState::Bound => {}
            LeaseState::Released => self.oracle.given_back(asked.as_ref().expect("somebody gave it back").number, address),
            LeaseState::Declined => {
                match &asked {
                    Some(asked) => {
                        self.tally.declined += 1;
                        self.oracle.given_back(asked.number, address);
                    }
                    None => self.tally.strangers_found += 1,
                }
                self.oracle.declined(address, self.now);
            }
        }
        let took = self.dice.of_any_order(1, SECOND);
        self.disk_is_busy_until = self.disk_is_busy_until.max(self.now + took);
        self.at(self.disk_is_busy_until, Event::Disk(self.life));
        self.waiting.push_back(Waiting { commit, asked, made: self.now });
    }

    /// The disk has the oldest record that waits, or has refused it.
    fn settle(&mut self) -> Result<(), String> {
        let Some(Waiting { commit, asked, made }) = self.waiting.pop_front() else { return Ok(()) };
        let (state, address) = (commit.record.state, commit.record.address);
        if self.disk_works {
            self.write(&commit.record);
        }
        // Of two requests that are answered with one record, the later one is what counts.
        let is_last = self.waiting.iter().all(|later| later.commit.record.address != address);
        let is_owed = state == LeaseState::Bound && is_last && asked.as_ref().is_some_and(|asked| self.owed(asked) == Some(address));
        let outcome = if self.disk_works { Outcome::Durable } else { Outcome::Failed };
        let actions = self.engine.settle(self.server_time(), commit, outcome);
        let is_answered = actions.iter().any(|action| matches!(action, Action::Send(_)));
        let twin_is_answered = is_answered || self.answered.get(&address) == Some(&made);
        if is_answered {
            self.answered.insert(address, made);
        }
        if is_owed && !twin_is_answered {
            let (at, disk) = (self.server_time(), self.disk.get(&address));
            return Err(format!("the lease of {address} is not renewed: {asked:?} ends with {actions:?} at {at}, the disk has {disk:?}"));
        }
        for action in actions {
            match action {
                Action::Send(sent) => {
                    self.tally.undurable += u64::from(!self.disk_works);
                    let asked = asked.as_ref().expect("an answer is to somebody who asked");
                    self.answer(asked, &sent, Some((made, self.disk_works)))?;
                }
                Action::Drop(DropReason::NotDurable) => self.tally.not_durable += 1,
                Action::Commit(again) => return Err(format!("a commit that was settled is committed again: {again:?}")),
                _ => {}
            }
        }
        Ok(())
    }

    fn write(&mut self, record: &LeaseRecord) {
        if record.state == LeaseState::Declined {
            self.oracle.declined_durably(record.address);
        }
        self.disk.insert(record.address, record.clone());
    }

    /// Holds an answer against what was promised, and gives it to the network.
    fn answer(&mut self, asked: &Datagram, sent: &Outgoing, committed: Option<(Millis, bool)>) -> Result<(), String> {
        let answer = Answer::parse(&sent.payload)?;
        let wrong = |what: &str| Err(format!("{what}: {asked:?} is answered with {answer:?} to {:?}", sent.destination));
        if sent.payload.len() > room_for_answer(asked.max_message_size) {
            return wrong(&format!("{} octets are more than the client takes", sent.payload.len()));
        }
        if answer.server() != Some(SERVER) {
            return wrong("not our server identifier");
        }
        let mut promise = None;
        match answer.kind {
            NAK => self.tally.refused += 1,
            kind => {
                let address = answer.yiaddr;
                let subnet = self.plan.subnet_of(address).filter(|subnet| subnet.allows(asked.mac, address));
                let Some(subnet) = subnet.cloned() else { return wrong("an address that is not for this client") };
                if subnet.router != asked.router && !matches!(asked.purpose, Purpose::Renew(_)) {
                    return wrong("an address of another subnet");
                }
                self.oracle.gives(asked.number, address, self.now)?;
                self.check_reservation(asked, &subnet, &answer)?;
                let Some((lease, _, _)) = answer.times() else { return wrong("times that do not follow each other") };
                // Without the disk a lease is what is left of the one before, which may have been of a longer time.
                if lease > subnet.lease_time && committed.is_none_or(|(_, durable)| durable) {
                    return wrong("longer than the configuration says");
                }
                match (kind, committed) {
                    (ACK, Some((made, durable))) => {
                        self.tally.acknowledged += 1;
                        let term = Term { made, length: u64::from(lease) * SECOND };
                        promise = Some(Promise { client: asked.number, address, term, durable });
                    }
                    (ACK, None) => return wrong("acknowledged without being committed"),
                    _ => self.check_strangers(asked, address)?,
                }
            }
        }
        let only_at = match sent.destination {
            Destination::Udp(to) if to.port() == 68 => Some(*to.ip()),
            _ => None,
        };
        let carried = Arc::new(Carried { answer, promise, only_at });
        for _ in 0..self.copies() {
            let delay = self.delay();
            for place in self.by_mac.get(&asked.mac).into_iter().flatten().copied().collect::<Vec<_>>() {
                self.at(self.now + delay, Event::Reaches(place, Arc::clone(&carried)));
            }
        }
        Ok(())
    }

    /// An address that was never anybody else's is given to whom it is reserved for.
    fn check_reservation(&self, asked: &Datagram, subnet: &Subnet, answer: &Answer) -> Result<(), String> {
        match subnet.reservation(asked.mac).filter(|reserved| self.always_kept.contains(reserved)) {
            // A machine that goes by two names may have it by the other.
            Some(reserved) if answer.yiaddr != reserved && asked.has_one_name && !self.rests(reserved) => {
                let (at, disk) = (self.server_time(), self.disk.get(&reserved));
                Err(format!("{reserved} is reserved for {asked:?} and it is given {answer:?} at {at}, the disk has {disk:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether an address is in quarantine, which a clock that was set back makes longer.
    fn rests(&self, address: Ipv4Addr) -> bool {
        let on_disk =
            self.disk.get(&address).is_some_and(|record| record.state == LeaseState::Declined && record.expires_at > self.server_time());
        on_disk || self.oracle.is_quarantined(address, self.now)
    }

    fn suffer(&mut self, trouble: Trouble) -> Result<(), String> {
        match trouble {
            Trouble::ClockStep => {
                self.tally.steps += 1;
                self.stepped_at = self.now;
                let by = i64::try_from(self.dice.of_any_order(SECOND, 2 * DAY)).expect("days are few");
                self.oracle.clock.step(self.now, if self.dice.once_in(2) { by } else { -by });
            }
            Trouble::Crash => {
                self.crash();
                let down = self.dice.of_any_order(SECOND, 3 * HOUR);
                self.at(self.now + down, Event::ServerIsBack);
            }
            Trouble::DiskFails => {
                self.tally.disk_failures += 1;
                self.disk_works = false;
                let fails = self.dice.of_any_order(10 * SECOND, 12 * HOUR);
                self.at(self.now + fails, Event::DiskWorksAgain);
            }
            Trouble::NewConfiguration => {
                self.tally.configurations += 1;
                let place = usize::try_from(self.dice.below(self.plans.len() as u64)).expect("a place");
                self.plan = self.plans[place].clone();
                if self.is_up {
                    self.reload()?;
                }
            }
            Trouble::Storm => {
                self.storm = true;
                let lasts = self.dice.within(MINUTE, 6 * HOUR);
                self.at(self.now + lasts, Event::WeatherClears);
            }
        }
        Ok(())
    }

    /// Another configuration without a restart: when the promises under way are kept, as the box does it.
    fn reload(&mut self) -> Result<(), String> {
        while !self.waiting.is_empty() {
            self.settle()?;
        }
        self.life += 1;
        self.disk_is_busy_until = self.now;
        self.engine.reconfigure(Arc::new(self.plan.config()));
        self.listen();
        Ok(())
    }

    /// What the box finds in its machine: Ethernet and ICMP.
    fn listen(&mut self) {
        self.deferred.clear();
        if self.strangers.is_some() {
            self.engine.watch(self.server_time(), SERVED, OUR_MAC, self.life);
            self.engine.can_echo();
        }
    }

    /// What was on its way to the disk is there in part, in its order; nobody heard of it.
    fn crash(&mut self) {
        self.tally.crashes += 1;
        self.is_up = false;
        self.life += 1;
        let arrived = usize::try_from(self.dice.below(self.waiting.len() as u64 + 1)).expect("a count");
        for waiting in self.waiting.drain(..).take(arrived).collect::<Vec<_>>() {
            if self.disk_works {
                self.write(&waiting.commit.record);
            }
        }
        self.oracle.crashed();
    }

    fn start_server(&mut self) {
        self.is_up = true;
        self.disk_is_busy_until = self.now;
        self.engine = Engine::new(Arc::new(self.plan.config()), self.disk.values().cloned().collect());
        self.engine.set_boot_settings(Some(boot_settings()));
        self.listen();
    }

    /// Strangers come; the box listens from now on.
    pub fn invite(&mut self, strangers: Strangers) {
        for (at, address) in strangers.announcements() {
            self.announce_at(at, address);
        }
        self.strangers = Some(strangers);
        self.listen();
    }

    /// Nothing goes wrong from here on, and the first plan is in force.
    pub fn calm_down(&mut self) {
        self.plan = self.plans[0].clone();
        self.crash();
        self.start_server();
        (self.calm, self.storm, self.disk_works) = (true, false, true);
        self.due.retain(|_, event| !matches!(event, Event::Trouble(_) | Event::Power(_)));
        let due = &self.due;
        self.events.retain(|Reverse((_, number))| due.contains_key(number));
    }

    /// The machines that are on and have no lease.
    pub fn without_lease(&self) -> Vec<&Machine> {
        self.machines
            .iter()
            .filter(|machine| machine.state != State::Off)
            .filter(|machine| machine.stage != Stage::System || machine.lease.is_none_or(|lease| lease.until <= self.now))
            .collect()
    }
}
