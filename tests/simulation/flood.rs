//! A flood of DISCOVERs from hardware addresses that nobody has.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use fairlead::clock::Timestamp;
use fairlead::edge::dhcp::{Action, Engine, Fresh, Ingress, InterfaceId, Outcome, SERVER_PORT};
use fairlead::wire::{BootId, Nonce};

use crate::dice::Dice;
use crate::message::{ACK, Answer, DISCOVER, Message, NAK, OFFER, REQUEST};
use crate::plan::{Mac, Plan, Subnet};
use crate::site::SERVER;
use crate::year::mac_of;

struct Flooded {
    engine: Engine,
    dice: Dice,
    now: u64,
}

impl Flooded {
    fn ask(&mut self, message: &Message) -> Option<Answer> {
        let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
        let ingress = Ingress { interface: InterfaceId(0), source, destination: Ipv4Addr::BROADCAST, port: SERVER_PORT };
        let fresh = Fresh { boot: BootId(self.dice.octets()), nonce: Nonce(self.dice.octets()) };
        let now = Timestamp(self.now);
        let mut actions = self.engine.handle(now, &ingress, &message.build(), fresh);
        if let Some(place) = actions.iter().position(|action| matches!(action, Action::Commit(_)))
            && let Action::Commit(commit) = actions.remove(place)
        {
            actions.extend(self.engine.settle(now, commit, Outcome::Durable));
        }
        actions.iter().find_map(|action| match action {
            Action::Send(sent) => Some(Answer::parse(&sent.payload).unwrap()),
            _ => None,
        })
    }

    fn lease(&mut self, mac: Mac) -> Option<Ipv4Addr> {
        let offered = self.ask(&Message::new(DISCOVER, mac, 1)).filter(|answer| answer.kind == OFFER)?.yiaddr;
        let taken = self.ask(&Message::new(REQUEST, mac, 1).address(54, SERVER).address(50, offered))?;
        (taken.kind == ACK).then_some(taken.yiaddr)
    }
}

/// Octets of memory that this process has now.
fn resident() -> u64 {
    let pages: u64 = fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn a_flood_of_discovers_from_random_hardware_addresses_starves_no_known_client_and_takes_no_memory() {
    let address = |third, fourth| Ipv4Addr::new(10, 0, third, fourth);
    let subnet = Subnet {
        network: address(0, 0),
        prefix: 20,
        router: address(0, 254),
        pools: vec![address(1, 0)..=address(1, 255)],
        reservations: std::iter::once((mac_of(900), address(2, 1))).collect(),
        lease_time: 3600,
        conflict_probe: false,
    };
    let plan = Plan { server: SERVER, authoritative: true, one_link: false, subnets: vec![subnet] };
    let engine = Engine::new(Arc::new(plan.config()), Vec::new());
    let mut site = Flooded { engine, dice: Dice::new(1), now: 1_800_000_000_000 };
    let known: Vec<(Mac, Ipv4Addr)> = (0..100).map(|number| (mac_of(number), site.lease(mac_of(number)).unwrap())).collect();
    let mut before = 0;
    for number in 0..300_000_u32 {
        site.now += 1;
        let mac = [0x02, site.dice.octets::<1>()[0], 1, 2, 3, 4].map(|octet: u8| octet ^ site.dice.octets::<1>()[0]);
        let unknown = Message::new(DISCOVER, [mac[0] & 0xfc | 2, mac[1], mac[2], mac[3], mac[4], mac[5]], number);
        let answer = site.ask(&unknown);
        assert!(answer.is_none_or(|answer| answer.kind == OFFER && known.iter().all(|(_, address)| *address != answer.yiaddr)));
        if number == 50_000 {
            before = resident();
        }
        if number % 3000 == 0 {
            let (mac, own) = known[usize::try_from(number / 3000).unwrap()];
            // Each way to come back: renewing, starting with what is remembered, starting without.
            let renewed = site.ask(&Message::new(REQUEST, mac, number).ciaddr(own)).unwrap();
            let rebooted = site.ask(&Message::new(REQUEST, mac, number + 1).address(50, own)).unwrap();
            assert_eq!((renewed.kind, renewed.yiaddr, rebooted.kind, rebooted.yiaddr), (ACK, own, ACK, own));
            assert_eq!(site.lease(mac), Some(own));
            assert_eq!(site.lease(mac_of(900)), Some(address(2, 1)), "the reserved address");
        }
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} octets more after the flood");
    // Half a minute later nobody remembers it.
    site.now += 31_000;
    let newcomer = site.lease(mac_of(901)).unwrap();
    assert!(known.iter().all(|(_, address)| *address != newcomer));
    assert_eq!(site.ask(&Message::new(REQUEST, mac_of(902), 1).ciaddr(newcomer)).unwrap().kind, NAK);
}
