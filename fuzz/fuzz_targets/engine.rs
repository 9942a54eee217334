//! A whole site: datagrams, time, disk failures, crashes, clock steps, other configurations, probes and what is heard of others, in
//! any order.
//!
//! Every acknowledgement is held against the same oracle as in `tests/simulation`, and nobody may wait without an end.
#![no_main]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use fairlead::clock::Timestamp;
use fairlead::edge::dhcp::{Action, Commit, Engine, Fresh, Ingress, InterfaceId, Notice, Outcome, Outgoing, PXE_PORT, SERVER_PORT};
use fairlead::edge::lease::{LeaseRecord, LeaseState};
use fairlead::wire::{BootId, MacAddr, Nonce};
use fairlead_fuzz::message::{ACK, Answer, DECLINE, DISCOVER, Message, NAK, OFFER, RELEASE, REQUEST};
use fairlead_fuzz::oracle::{ClientNumber, Millis, Oracle, Promise, Term};
use fairlead_fuzz::plan::{Mac, Plan, Subnet};
use fairlead_fuzz::{Input, SERVER, boot_settings};
use libfuzzer_sys::fuzz_target;

const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The box's clock when a run begins.
const BEGIN: Millis = 1_800_000_000_000;
const CLIENTS: u8 = 12;
const SERVED: InterfaceId = InterfaceId(0);
const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
/// What is due at one moment is done in a few turns.
const MOST_TURNS: u32 = 50;
/// Longer than a client waits for a probe.
const LONG_ENOUGH: Millis = 2000;
const RESERVED: Mac = mac_of(3);

const fn mac_of(client: u8) -> Mac {
    [0x52, 0x54, 0, 0, 0, client % CLIENTS]
}

/// The configurations between which the operator changes.
fn plan(choice: u8) -> Plan {
    let pool = |network: [u8; 3], first: u8, last: u8| {
        let address = |last| Ipv4Addr::new(network[0], network[1], network[2], last);
        address(first)..=address(last)
    };
    let local = Subnet {
        network: Ipv4Addr::new(192, 0, 2, 0),
        prefix: 24,
        router: Ipv4Addr::new(192, 0, 2, 254),
        pools: vec![pool([192, 0, 2], 100, if choice & 1 == 0 { 105 } else { 102 })],
        reservations: if choice & 4 == 0 {
            BTreeMap::from([(RESERVED, Ipv4Addr::new(192, 0, 2, if choice & 8 == 0 { 101 } else { 20 }))])
        } else {
            BTreeMap::new()
        },
        lease_time: if choice & 16 == 0 { 3600 } else { 120 },
        conflict_probe: choice & 32 == 0,
    };
    let far = Subnet {
        network: Ipv4Addr::new(198, 51, 100, 0),
        prefix: 24,
        router: RELAY,
        pools: vec![pool([198, 51, 100], 50, 53)],
        reservations: BTreeMap::new(),
        lease_time: 600,
        conflict_probe: choice & 64 == 0,
    };
    let one_link = choice & 18 == 16;
    Plan { server: SERVER, authoritative: choice & 128 == 0, one_link, subnets: if choice & 2 == 0 { vec![local, far] } else { vec![local] } }
}

/// A request that waits for the disk, or a record that nobody asked for.
struct Waiting {
    commit: Commit,
    asked: Option<Asked>,
    made: Millis,
}

/// A request that the site knows the meaning of.
#[derive(Clone)]
struct Asked {
    client: ClientNumber,
    mac: Mac,
    kind: u8,
    octets: Vec<u8>,
    /// The address that it names, if its kind has one.
    address: Ipv4Addr,
}

struct Site {
    plan: Plan,
    engine: Engine,
    oracle: Oracle,
    now: Millis,
    disk: BTreeMap<Ipv4Addr, LeaseRecord>,
    waiting: VecDeque<Waiting>,
    /// The last DISCOVER with this hardware address and transaction id: answers may come later.
    discovers: HashMap<(Mac, u32), Asked>,
    /// REQUESTs, the last one last, and datagrams of any kind: a lease may come later.
    requests: Vec<Asked>,
    /// By which identifier an address was taken last.
    taken_by: HashMap<Ipv4Addr, ClientNumber>,
    /// The last DISCOVER of the box's own.
    last_look: Option<Vec<u8>>,
    fresh: u64,
}

impl Site {
    fn new() -> Self {
        let plan = plan(0);
        let engine = Engine::new(Arc::new(plan.config()), Vec::new());
        Self {
            plan,
            engine,
            oracle: Oracle::new(),
            now: BEGIN,
            disk: BTreeMap::new(),
            waiting: VecDeque::new(),
            discovers: HashMap::new(),
            requests: Vec::new(),
            taken_by: HashMap::new(),
            last_look: None,
            fresh: 0,
        }
    }

    fn server_time(&self) -> Timestamp {
        Timestamp(self.oracle.clock.reading(self.now))
    }

    /// What is left is what the disk has; of what was on its way any part.
    fn crash(&mut self, choice: u8, plan: Option<Plan>) {
        for _ in 0..usize::from(choice).min(self.waiting.len()) {
            let Some(waiting) = self.waiting.pop_front() else { break };
            self.take_to_disk(&waiting.commit.record);
        }
        self.waiting.clear();
        self.oracle.crashed();
        self.plan = plan.unwrap_or_else(|| self.plan.clone());
        self.engine = Engine::new(Arc::new(self.plan.config()), self.disk.values().cloned().collect());
        self.engine.set_boot_settings(Some(boot_settings()));
    }

    fn take_to_disk(&mut self, record: &LeaseRecord) {
        self.disk.insert(record.address, record.clone());
        if record.state == LeaseState::Declined {
            self.oracle.declined_durably(record.address);
        }
    }

    fn hear(&mut self, asked: Asked, ingress: Ingress) {
        self.fresh += 1;
        let [a, b, c, d, e, f, g, h] = self.fresh.to_be_bytes();
        let fresh = Fresh { boot: BootId([a, b, c, d, e, f, g, h]), nonce: Nonce([h; 12]) };
        let actions = self.engine.handle(self.server_time(), &ingress, &asked.octets, fresh);
        if asked.octets.get(242) == Some(&DISCOVER) && asked.kind != 0 {
            self.discovers.insert((asked.mac, xid_of(&asked.octets)), asked.clone());
        } else if asked.kind == REQUEST || asked.kind == 0 {
            self.requests.push(asked.clone());
        }
        self.perform(actions, Some(&asked));
        self.turn();
    }

    fn perform(&mut self, actions: Vec<Action>, asked: Option<&Asked>) {
        for action in actions {
            match action {
                Action::Send(sent) => match asked {
                    Some(asked) => self.send(&sent, asked, None),
                    None => self.send_late(&sent),
                },
                Action::Commit(commit) => {
                    let address = commit.record.address;
                    let late = asked.is_none().then(|| self.who_waits_for(&commit.record)).flatten();
                    let asked = asked.or(late.as_ref());
                    match (commit.record.state, asked) {
                        (LeaseState::Bound, None) => panic!("{address} is leased and nobody asked"),
                        (LeaseState::Bound, Some(_)) => {}
                        (state, asked) => {
                            if let Some(asked) = asked {
                                self.oracle.given_back(asked.client, address);
                            }
                            if state == LeaseState::Declined {
                                self.oracle.declined(address, self.now);
                            }
                        }
                    }
                    self.waiting.push_back(Waiting { commit, asked: asked.cloned(), made: self.now });
                }
                Action::LookForServers { payload, .. } => self.last_look = Some(payload),
                _ => {}
            }
        }
    }

    /// Whose REQUEST has waited for a probe of this lease's address.
    fn who_waits_for(&self, leased: &LeaseRecord) -> Option<Asked> {
        if leased.state != LeaseState::Bound {
            return None;
        }
        let with_identifier = leased.client.octets().first() == Some(&255);
        let is_of = |asked: &&Asked| {
            let has_hardware = asked.octets.get(28..).is_some_and(|octets| octets.starts_with(leased.hardware.octets()));
            has_hardware && (asked.kind == 0 || (asked.address == leased.address && (asked.client >= 100) == with_identifier))
        };
        // Whoever is known is held to what it was told; the others are nobody's clients.
        let known = self.requests.iter().rev().filter(|asked| asked.kind != 0).find(is_of);
        known.or_else(|| self.requests.iter().rev().find(is_of)).cloned()
    }

    /// An offer, or a refusal, to a client that has waited.
    fn send_late(&mut self, sent: &Outgoing) {
        let answer = Answer::parse(&sent.payload).unwrap_or_else(|error| panic!("{error}"));
        if answer.kind == NAK {
            let is_of = |asked: &&Asked| asked.kind == REQUEST && asked.mac == answer.mac && xid_of(&asked.octets) == answer.xid;
            if let Some(asked) = self.requests.iter().rev().find(is_of).cloned() {
                self.send(sent, &asked, None);
            }
            return;
        }
        assert_eq!(answer.kind, OFFER, "an answer that nobody waits for");
        if let Some(asked) = self.discovers.get(&(answer.mac, answer.xid)).cloned() {
            self.send(sent, &asked, None);
        }
    }

    /// Does what is due now.
    fn turn(&mut self) {
        for _ in 0..MOST_TURNS {
            if !self.engine.is_tick_due(self.server_time()) {
                return;
            }
            let actions = self.engine.tick(self.server_time());
            self.perform(actions, None);
        }
        panic!("what is due at {} never ends", self.server_time());
    }

    /// Lets time pass, with what is due in it as long as that is worth it.
    fn pass(&mut self, time: Millis) {
        let end = self.now + time;
        for _ in 0..MOST_TURNS {
            let Some(next) = self.engine.next_tick() else { break };
            let wait = u64::try_from(next.since(self.server_time()).as_millis()).expect("a time");
            if self.now + wait > end {
                break;
            }
            self.now += wait;
            self.turn();
        }
        self.now = end;
        self.turn();
    }

    /// Ethernet and ICMP are there, as the shell finds them.
    fn listen(&mut self, choice: u8) {
        if choice & 1 == 0 {
            self.engine.watch(self.server_time(), SERVED, OUR_MAC, u64::from(choice));
        }
        if choice & 2 == 0 {
            self.engine.can_echo();
        }
    }

    /// Another configuration once all promises are kept, as the shell does.
    fn reconfigure(&mut self, plan: Plan) {
        while !self.waiting.is_empty() {
            self.settle(Outcome::Durable);
        }
        self.plan = plan;
        self.engine.reconfigure(Arc::new(self.plan.config()));
        // What waited for a probe is forgotten.
        self.discovers.clear();
        self.requests.clear();
        self.turn();
    }

    /// Something is heard that is no request.
    fn notice(&mut self, input: &mut Input<'_>) {
        let (kind, who, last) = (input.octet(), input.octet(), input.octet());
        let network = if kind & 0x80 == 0 { [192, 0, 2] } else { [198, 51, 100] };
        let address = Ipv4Addr::new(network[0], network[1], network[2], last);
        let mac = if who & 0x80 == 0 { MacAddr(mac_of(who)) } else { MacAddr([6, 0, 0, 0, 0, who]) };
        let mut octets = Vec::new();
        let notice = match kind & 3 {
            0 => Notice::Arp { mac, address },
            1 => Notice::EchoReply(address),
            2 => {
                octets = Message::new(kind >> 2 & 7, mac.0, 1).address(54, address).build();
                // A reply that gives an address.
                octets.splice(..1, [2]);
                octets.splice(16..20, address.octets());
                // To a look of ours, as a server on the segment answers.
                if let Some(look) = self.last_look.as_ref().filter(|_| who & 0x40 == 0) {
                    octets.splice(4..8, look[4..8].iter().copied());
                    octets.splice(28..34, look[28..34].iter().copied());
                }
                Notice::FromServer { mac, source: SocketAddrV4::new(address, 67), datagram: &octets }
            }
            _ => {
                octets.extend(input.take(usize::from(who) * 2));
                Notice::FromServer { mac, source: SocketAddrV4::new(address, 67), datagram: &octets }
            }
        };
        let actions = self.engine.noticed(self.server_time(), SERVED, &notice);
        self.perform(actions, None);
        self.turn();
    }

    /// A machine that was never heard is offered an address or refused one, at once or when it has been found out whether one is
    /// free.
    fn serves_on(&mut self) {
        self.pass(LONG_ENOUGH);
        let ingress = Ingress {
            interface: SERVED,
            source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
            destination: Ipv4Addr::BROADCAST,
            port: SERVER_PORT,
        };
        let datagram = Message::new(DISCOVER, [0x52, 0x54, 0, 0, 1, 1], u32::MAX).build();
        // A clock that was set back a little makes it forget who waits; clients ask again.
        for turn in 1..=3 {
            let fresh = Fresh { boot: BootId([turn; 8]), nonce: Nonce([turn; 12]) };
            let mut actions = self.engine.handle(self.server_time(), &ingress, &datagram, fresh);
            let end = self.now + LONG_ENOUGH;
            while self.now <= end {
                if actions.iter().any(|action| matches!(action, Action::Send(_) | Action::Drop(_))) {
                    return;
                }
                self.now += 10;
                if self.engine.is_tick_due(self.server_time()) {
                    actions = self.engine.tick(self.server_time());
                }
            }
        }
        panic!("a DISCOVER waits for ever");
    }

    fn settle(&mut self, outcome: Outcome) {
        let Some(Waiting { commit, asked, made }) = self.waiting.pop_front() else { return };
        let durable = outcome == Outcome::Durable;
        if durable {
            self.take_to_disk(&commit.record);
        }
        for action in self.engine.settle(self.server_time(), commit, outcome) {
            if let Action::Send(sent) = action {
                let asked = asked.as_ref().expect("an answer that nobody waits for");
                self.send(&sent, asked, Some((made, durable)));
            }
        }
        self.turn();
    }

    /// What the network carries to the client, which believes it at once.
    fn send(&mut self, sent: &Outgoing, asked: &Asked, promise: Option<(Millis, bool)>) {
        let answer = Answer::parse(&sent.payload).unwrap_or_else(|error| panic!("{error}"));
        assert!(sent.payload.len() <= 1472);
        // Datagrams of any octets have clients of their own, whom nobody knows.
        if asked.kind == 0 {
            return;
        }
        let address = answer.yiaddr;
        match answer.kind {
            NAK => self.nak(asked),
            ACK if address.is_unspecified() => {}
            kind => {
                let allowed = self.plan.subnet_of(address).is_some_and(|subnet| subnet.allows(asked.mac, address));
                // What was decided before a change of configuration may be said after it.
                assert!(allowed || promise.is_some(), "{address} is not for {:?}", asked.mac);
                let client = self.client_at(asked, address);
                self.oracle.gives(client, address, self.now).unwrap_or_else(|error| panic!("{error}"));
                let (lease, _, _) = answer.times().expect("a lease has its three times");
                if kind == ACK {
                    let (made, durable) = promise.expect("an address was acknowledged that was not committed");
                    let length = u64::from(lease) * 1000;
                    let promise = Promise { client, address, term: Term { made, length }, durable };
                    self.oracle.takes(promise, made + length, self.now).unwrap_or_else(|error| panic!("{error}"));
                    self.taken_by.insert(address, asked.client);
                }
            }
        }
    }

    /// A reserved address is its machine's, by whatever identifier the machine asks.
    fn client_at(&self, asked: &Asked, address: Ipv4Addr) -> ClientNumber {
        let reserved = self.plan.subnet_of(address).and_then(|subnet| subnet.reservation(asked.mac));
        // What it had by this identifier before it was reserved is that one's.
        let is_its_own = self.oracle.is_owed(asked.client, address, self.now);
        // What it took by this identifier while it was reserved is its machine's for as long as that lease lasts.
        let was_reserved = self.taken_by.get(&address) == Some(&asked.client);
        if (reserved == Some(address) || was_reserved) && !is_its_own { asked.mac[5].into() } else { asked.client }
    }

    fn nak(&mut self, asked: &Asked) {
        let wanted = Ipv4Addr::from(<[u8; 4]>::try_from(&asked.octets[12..16]).expect("four octets"));
        let keeps = self.plan.lets_keep(asked.mac, wanted);
        let at_home = asked.octets[24..28] == [0; 4] || asked.octets[24..27] == asked.octets[12..15];
        if keeps && at_home && !wanted.is_unspecified() {
            assert!(!self.oracle.is_owed(self.client_at(asked, wanted), wanted, self.now), "the lease of {wanted} was forgotten");
        }
        self.oracle.leaves(asked.client, wanted);
    }

    fn client_message(&mut self, input: &mut Input<'_>) {
        let (who, what, where_) = (input.octet(), input.octet(), input.octet());
        let mac = mac_of(who);
        let with_identifier = who & 0x80 != 0;
        let client = ClientNumber::from(mac[5]) + if with_identifier { 100 } else { 0 };
        let kind = [DISCOVER, REQUEST, REQUEST, REQUEST, RELEASE, DECLINE, 8, DISCOVER][usize::from(what % 8)];
        let relayed = where_ & 0x80 != 0;
        let network = if relayed { [198, 51, 100] } else { [192, 0, 2] };
        let first = if relayed { 50 } else { 100 };
        let address = if where_ & 0x40 == 0 {
            Ipv4Addr::new(network[0], network[1], network[2], first + (where_ & 7))
        } else {
            Ipv4Addr::new(192, 0, 2, where_ & 0x3f)
        };
        let mut xid = u32::from(input.octet());
        if with_identifier {
            xid |= 0x100;
        }
        if what & 0x80 != 0 {
            xid |= 0x200;
        }
        let mut message = Message::new(kind, mac, xid);
        if with_identifier {
            message = message.option(61, &[255, 0, 0, 0, mac[5], 9, 9]);
        }
        let mut unicast = false;
        message = match (kind, what >> 3 & 3) {
            (DISCOVER, 0) => message,
            (DISCOVER, _) => message.address(50, address),
            (REQUEST, 0) => message.address(54, SERVER).address(50, address),
            (REQUEST, 1) => message.address(50, address),
            (REQUEST, 2) => message.ciaddr(address),
            (REQUEST, _) => {
                unicast = true;
                message.ciaddr(address)
            }
            (RELEASE, _) => message.ciaddr(address).address(54, SERVER),
            (DECLINE, _) => message.address(50, address).address(54, SERVER),
            _ => message.ciaddr(address),
        };
        if what & 0x20 != 0 {
            message = message.option(93, &[0, 7]).option(60, b"PXEClient:Arch:00007:UNDI:003016").option(97, &[0; 17]);
        }
        if what & 0x40 != 0 {
            message = message.option(77, b"iPXE").option(175, &[0x14, 1, 1, 0xeb, 3, 2, 0, 0]).option(93, &[0, 7]).broadcast();
        }
        if relayed && !unicast {
            message = message.relayed(RELAY);
        }
        if what & 0x80 != 0 {
            message = message.option(input.octet(), input.take(usize::from(where_)));
        }
        let source = if relayed && !unicast { SocketAddrV4::new(RELAY, 67) } else { SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68) };
        let destination = if unicast || relayed { SERVER } else { Ipv4Addr::BROADCAST };
        // With options of the fuzzer's choice the client may be somebody else.
        let kind = if what & 0x80 == 0 { kind } else { 0 };
        let ingress = Ingress { interface: InterfaceId(0), source, destination, port: SERVER_PORT };
        self.hear(Asked { client, mac, kind, octets: message.build(), address }, ingress);
    }

    fn any_datagram(&mut self, input: &mut Input<'_>) {
        let (choice, length) = (input.octet(), input.octet());
        let mut octets = input.take(usize::from(length) * 4).to_vec();
        // A transaction id that no client of the site has.
        if let Some(first) = octets.get_mut(4) {
            *first |= 0x80;
        }
        let source = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, choice), 68);
        let port = if choice & 1 == 0 { SERVER_PORT } else { PXE_PORT };
        let ingress = Ingress { interface: InterfaceId(0), source, destination: SERVER, port };
        self.hear(Asked { client: ClientNumber::MAX, mac: [0; 6], kind: 0, octets, address: Ipv4Addr::UNSPECIFIED }, ingress);
    }
}

/// A message's transaction id.
fn xid_of(octets: &[u8]) -> u32 {
    octets.get(4..8).and_then(|octets| octets.try_into().ok()).map(u32::from_be_bytes).unwrap_or_default()
}

fuzz_target!(|input: &[u8]| {
    let mut input = Input(input);
    let mut site = Site::new();
    let mut steps = 0;
    while !input.is_empty() && steps < 2000 {
        steps += 1;
        match input.octet() % 20 {
            0..=6 => site.client_message(&mut input),
            7 => site.any_datagram(&mut input),
            8 | 9 => site.settle(Outcome::Durable),
            10 => site.settle(Outcome::Failed),
            11 => site.pass(u64::from(input.short()) * 50),
            12 => site.pass(u64::from(input.octet()) * 3_600_000),
            13 => {
                let by = i64::from(i16::from_be_bytes(input.short().to_be_bytes())) * 60_000;
                site.oracle.clock.step(site.now, by);
            }
            14 => {
                let choice = input.octet();
                site.crash(choice, None);
            }
            15 => {
                let choice = input.octet();
                site.crash(u8::MAX, Some(plan(choice)));
            }
            16 => {
                let choice = input.octet();
                site.reconfigure(plan(choice));
            }
            17 => {
                let choice = input.octet();
                site.listen(choice);
            }
            18 => site.notice(&mut input),
            _ => site.pass(u64::from(input.octet()) * 2),
        }
    }
    site.serves_on();
});
