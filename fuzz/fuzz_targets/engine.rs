//! A whole site: datagrams, time, disk failures, crashes, clock steps and other configurations, in any order.
//!
//! Every acknowledgement is held against the same oracle as in `tests/simulation`.
#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use fairlead::clock::Timestamp;
use fairlead::edge::dhcp::{Action, Commit, Engine, Fresh, Ingress, InterfaceId, Outcome, Outgoing, PXE_PORT, SERVER_PORT};
use fairlead::edge::lease::{LeaseRecord, LeaseState};
use fairlead::wire::{BootId, Nonce};
use fairlead_fuzz::message::{ACK, Answer, DECLINE, DISCOVER, Message, NAK, RELEASE, REQUEST};
use fairlead_fuzz::oracle::{ClientNumber, Millis, Oracle, Promise, Term};
use fairlead_fuzz::plan::{Mac, Plan, Subnet};
use fairlead_fuzz::{Input, SERVER, boot_settings};
use libfuzzer_sys::fuzz_target;

const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The box's clock when a run begins.
const BEGIN: Millis = 1_800_000_000_000;
const CLIENTS: u8 = 12;
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
    };
    let far = Subnet {
        network: Ipv4Addr::new(198, 51, 100, 0),
        prefix: 24,
        router: RELAY,
        pools: vec![pool([198, 51, 100], 50, 53)],
        reservations: BTreeMap::new(),
        lease_time: 600,
    };
    Plan { server: SERVER, subnets: if choice & 2 == 0 { vec![local, far] } else { vec![local] } }
}

/// A request that the site knows the meaning of.
struct Asked {
    client: ClientNumber,
    mac: Mac,
    kind: u8,
    octets: Vec<u8>,
}

struct Site {
    plan: Plan,
    engine: Engine,
    oracle: Oracle,
    now: Millis,
    disk: BTreeMap<Ipv4Addr, LeaseRecord>,
    waiting: VecDeque<(Commit, Asked, Millis)>,
    fresh: u64,
}

impl Site {
    fn new() -> Self {
        let plan = plan(0);
        let engine = Engine::new(Arc::new(plan.config()), Vec::new());
        Self { plan, engine, oracle: Oracle::new(), now: BEGIN, disk: BTreeMap::new(), waiting: VecDeque::new(), fresh: 0 }
    }

    fn server_time(&self) -> Timestamp {
        Timestamp(self.oracle.clock.reading(self.now))
    }

    /// What is left is what the disk has; of what was on its way any part.
    fn crash(&mut self, choice: u8, plan: Option<Plan>) {
        for _ in 0..usize::from(choice).min(self.waiting.len()) {
            let Some((commit, _, _)) = self.waiting.pop_front() else { break };
            self.take_to_disk(&commit.record);
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
        for action in actions {
            if let Action::Send(sent) = action {
                self.send(&sent, &asked, None);
            } else if let Action::Commit(commit) = action {
                match commit.record.state {
                    LeaseState::Bound => {}
                    LeaseState::Released => self.oracle.given_back(asked.client, commit.record.address),
                    LeaseState::Declined => {
                        self.oracle.given_back(asked.client, commit.record.address);
                        self.oracle.declined(commit.record.address, self.now);
                    }
                }
                let asked = Asked { octets: asked.octets.clone(), ..asked };
                self.waiting.push_back((commit, asked, self.now));
            }
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        let Some((commit, asked, made)) = self.waiting.pop_front() else { return };
        let durable = outcome == Outcome::Durable;
        if durable {
            self.take_to_disk(&commit.record);
        }
        for action in self.engine.settle(self.server_time(), commit, outcome) {
            if let Action::Send(sent) = action {
                self.send(&sent, &asked, Some((made, durable)));
            }
        }
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
                }
            }
        }
    }

    /// A reserved address is its machine's, by whatever identifier the machine asks.
    fn client_at(&self, asked: &Asked, address: Ipv4Addr) -> ClientNumber {
        let reserved = self.plan.subnet_of(address).and_then(|subnet| subnet.reservation(asked.mac));
        if reserved == Some(address) { asked.mac[5].into() } else { asked.client }
    }

    fn nak(&mut self, asked: &Asked) {
        let wanted = Ipv4Addr::from(<[u8; 4]>::try_from(&asked.octets[12..16]).expect("four octets"));
        let keeps = self.plan.subnet_of(wanted).is_some_and(|subnet| subnet.lets_keep(asked.mac, wanted));
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
        let mut message = Message::new(kind, mac, u32::from(input.octet()));
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
        self.hear(Asked { client, mac, kind, octets: message.build() }, ingress);
    }

    fn any_datagram(&mut self, input: &mut Input<'_>) {
        let (choice, length) = (input.octet(), input.octet());
        let octets = input.take(usize::from(length) * 4).to_vec();
        let source = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, choice), 68);
        let port = if choice & 1 == 0 { SERVER_PORT } else { PXE_PORT };
        let ingress = Ingress { interface: InterfaceId(0), source, destination: SERVER, port };
        self.hear(Asked { client: ClientNumber::MAX, mac: [0; 6], kind: 0, octets }, ingress);
    }
}

fuzz_target!(|input: &[u8]| {
    let mut input = Input(input);
    let mut site = Site::new();
    let mut steps = 0;
    while !input.is_empty() && steps < 2000 {
        steps += 1;
        match input.octet() % 16 {
            0..=6 => site.client_message(&mut input),
            7 => site.any_datagram(&mut input),
            8 | 9 => site.settle(Outcome::Durable),
            10 => site.settle(Outcome::Failed),
            11 => site.now += u64::from(input.short()) * 50,
            12 => site.now += u64::from(input.octet()) * 3_600_000,
            13 => {
                let by = i64::from(i16::from_be_bytes(input.short().to_be_bytes())) * 60_000;
                site.oracle.clock.step(site.now, by);
            }
            14 => {
                let choice = input.octet();
                site.crash(choice, None);
            }
            _ => {
                let choice = input.octet();
                site.crash(u8::MAX, Some(plan(choice)));
            }
        }
    }
});
