//! Addresses that are probed before they are given out (RFC 5227, section 2.1.1).

use std::net::Ipv4Addr;
use std::time::Duration;

use super::packet::Packet;
use super::site::{Heard, SERVER, SERVER_CONFIG, Site};
use crate::clock::Timestamp;
use crate::edge::dhcp::{DropReason, InterfaceId, Notice, Probe, ProbeKind};
use crate::edge::lease::LeaseState;
use crate::wire::MacAddr;
use crate::wire::uplink::SiteEventKind;

const ETH1: InterfaceId = InterfaceId(0);
const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const SQUATTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 66]);
/// Of the first pool, which begins there and has 20 addresses, 192.0.2.110 reserved.
const FIRST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const RESERVED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 110);
const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// A site that probes and has found that it is alone.
fn site() -> Site {
    let mut site = Site::server();
    site.engine.watch(site.now, ETH1, OURS, 1);
    site.engine.can_echo();
    site.pass(4000);
    site
}

/// A site whose stock was never filled, as when it has run dry.
fn dry_site() -> Site {
    let mut site = Site::with_config(
        r#"
        [[interface]]
        name = "eth1"
        mode = "server"
        address = "192.0.2.1"
        authoritative = true
        [[subnet]]
        network = "192.0.2.0/24"
        pools = ["192.0.2.100-192.0.2.119"]
        [[subnet.reservation]]
        mac = "52:54:00:12:34:99"
        address = "192.0.2.110"
    "#,
    );
    site.engine.watch(site.now, ETH1, OURS, 1);
    site
}

impl Site {
    /// Lets time go by, with all that is due in it.
    fn pass(&mut self, milliseconds: u64) -> Heard {
        let end = self.now.after(Duration::from_millis(milliseconds));
        let mut heard = Heard::default();
        while let Some(next) = self.engine.next_tick().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            let due = self.engine.tick(self.now);
            heard.add(self.act(due));
        }
        self.now = end;
        heard
    }

    fn arp(&mut self, address: Ipv4Addr, mac: MacAddr) -> Heard {
        let due = self.engine.noticed(self.now, ETH1, &Notice::Arp { mac, address });
        self.act(due)
    }

    fn quarantined(&self) -> Vec<Ipv4Addr> {
        self.disk.iter().filter(|record| record.state == LeaseState::Declined).map(|record| record.address).collect()
    }
}

impl Heard {
    fn add(&mut self, mut other: Self) {
        self.answers.append(&mut other.answers);
        self.reports.append(&mut other.reports);
        self.dropped.append(&mut other.dropped);
        self.probes.append(&mut other.probes);
        self.looks.append(&mut other.looks);
    }

    fn probed(&self) -> Vec<Ipv4Addr> {
        let mut probed: Vec<Ipv4Addr> = self.probes.iter().map(|probe| probe.address).collect();
        probed.sort_unstable();
        probed.dedup();
        probed
    }
}

#[test]
fn a_client_is_offered_a_probed_address_without_waiting() {
    let mut site = site();
    let heard = site.hear(&Packet::discover());
    assert_eq!((heard.answer().kind(), heard.answer().yiaddr(), heard.probes.len()), ("OFFER", FIRST, 0));
}

#[test]
fn the_stock_is_probed_ahead_and_again_before_it_is_stale_and_no_more_than_that() {
    let mut site = Site::server();
    site.engine.watch(site.now, ETH1, OURS, 1);
    let first = site.pass(1000);
    let pool: Vec<Ipv4Addr> = (100..120).map(|last| Ipv4Addr::new(192, 0, 2, last)).filter(|address| *address != RESERVED).collect();
    assert_eq!(first.probed(), pool);
    assert!(first.probes.iter().all(|probe| probe.kind == ProbeKind::Arp(ETH1)), "no echo without leave");
    assert_eq!(site.pass(200_000).probed(), [] as [Ipv4Addr; 0]);
    let hour = site.pass(3_600_000);
    // 19 addresses, two requests each, every four minutes.
    assert_eq!(hour.probed(), pool);
    assert!((400..700).contains(&hour.probes.len()), "{}", hour.probes.len());
}

#[test]
fn rfc5227_2_1_1_an_address_that_somebody_uses_is_never_offered_and_is_reported() {
    let mut site = Site::server();
    site.engine.watch(site.now, ETH1, OURS, 1);
    site.pass(50);
    let heard = site.arp(FIRST, SQUATTER);
    let used = SiteEventKind::AddressInUse { address: FIRST, reserved: false };
    assert_eq!((heard.reported(), heard.reports[0].mac, heard.reports[0].boot), (vec![used], Some(SQUATTER), None));
    assert_eq!(site.quarantined(), [FIRST]);
    assert_eq!(site.disk[0].hardware.mac(), Some(SQUATTER));
    site.pass(5000);
    let given: Vec<Ipv4Addr> = (0..18).map(|mac| site.lease(mac)).collect();
    assert!(!given.contains(&FIRST) && !given.contains(&RESERVED), "{given:?}");
    assert_eq!(site.hear(&Packet::discover().mac(77)).silence(), DropReason::NoFreeAddress);
    // The quarantine survives a crash, and ends.
    site.crash();
    assert_eq!(site.hear(&Packet::discover().mac(77)).silence(), DropReason::NoFreeAddress);
    site.wait(86_400);
    assert_eq!(site.hear(&Packet::discover().mac(77)).answer().kind(), "OFFER");
}

#[test]
fn a_discover_that_finds_the_stock_dry_is_answered_when_the_probe_has_ended() {
    let mut site = dry_site();
    let waiting = site.hear(&Packet::discover());
    assert_eq!((waiting.answers.len(), waiting.dropped.len()), (0, 0));
    let start = site.now;
    assert_eq!(site.pass(190).answers.len(), 0);
    let heard = site.pass(30);
    assert_eq!((heard.answer().kind(), heard.answer().yiaddr()), ("OFFER", FIRST));
    assert!(site.now.since(start) <= Duration::from_millis(220));
}

#[test]
fn when_all_come_on_at_once_each_is_answered_once() {
    let mut site = Site::with_config(
        r#"
        [[interface]]
        name = "eth1"
        mode = "server"
        address = "10.0.0.1"
        authoritative = true
        [[subnet]]
        network = "10.0.0.0/16"
        pools = ["10.0.1.0-10.0.250.0"]
    "#,
    );
    site.engine.watch(site.now, ETH1, OURS, 1);
    site.pass(1000);
    let mut offered = Vec::new();
    for client in 0..10_000_u16 {
        let [high, low] = client.to_be_bytes();
        let mut datagram = Packet::discover().build();
        datagram[32..34].copy_from_slice(&[high, low]);
        let heard = site.hear_octets(&datagram, "0.0.0.0:68", Ipv4Addr::BROADCAST, 67);
        offered.extend(heard.answers.into_iter().map(|(_, _, answer)| answer.yiaddr()));
    }
    let heard = site.pass(450);
    assert!(heard.dropped.is_empty(), "{:?}", heard.dropped.first());
    offered.extend(heard.answers.into_iter().map(|(_, _, answer)| answer.yiaddr()));
    assert_eq!(offered.len(), 10_000);
    offered.sort_unstable();
    offered.dedup();
    assert_eq!(offered.len(), 10_000, "nobody was offered another one's address");
}

#[test]
fn nobody_waits_for_ever_when_everything_answers() {
    let mut site = dry_site();
    site.hear(&Packet::discover());
    let mut dropped = Vec::new();
    for _ in 0..40 {
        let heard = site.pass(50);
        // Each from a machine of its own, so that all are believed.
        for probe in heard.probes {
            let [.., last] = probe.address.octets();
            site.arp(probe.address, MacAddr([2, 0, 0, 0, 1, last]));
        }
        assert_eq!(heard.answers.len(), 0);
        dropped.extend(heard.dropped);
    }
    assert_eq!(dropped, [DropReason::NotProbed]);
    assert_eq!(site.quarantined().len(), 19);
}

#[test]
fn a_reservation_that_somebody_else_uses_is_reported_and_its_client_gets_another_address() {
    let mut site = site();
    let waiting = site.hear(&Packet::discover().mac(0x99));
    assert_eq!(waiting.probes, [Probe { address: RESERVED, kind: ProbeKind::Arp(ETH1) }]);
    site.pass(10);
    let heard = site.arp(RESERVED, SQUATTER);
    assert_eq!(heard.reported(), [SiteEventKind::AddressInUse { address: RESERVED, reserved: true }]);
    let offered = heard.answer().yiaddr();
    assert!(offered != RESERVED && offered >= FIRST, "{offered}");
    let request = Packet::request().mac(0x99).address(54, SERVER).address(50, offered);
    assert_eq!(site.hear(&request).answer().kind(), "ACK");
}

#[test]
fn a_reservation_is_given_after_its_first_probe_and_not_probed_again() {
    let mut site = site();
    site.hear(&Packet::discover().mac(0x99));
    assert_eq!(site.pass(250).answer().yiaddr(), RESERVED);
    assert_eq!(site.lease(0x99), RESERVED);
    site.wait(100_000);
    let heard = site.hear(&Packet::discover().mac(0x99));
    assert_eq!((heard.answer().yiaddr(), heard.probes.len()), (RESERVED, 0));
}

#[test]
fn rfc5227_2_1_1_init_reboot_into_a_reservation_that_was_never_leased_waits_for_a_probe() {
    let mut site = site();
    let reboot = Packet::request().mac(0x99).address(50, RESERVED);
    let waiting = site.hear(&reboot);
    assert_eq!((waiting.answers.len(), waiting.dropped.len(), waiting.probed()), (0, 0, vec![RESERVED]));
    assert!(site.disk.is_empty());
    let start = site.now;
    let heard = site.pass(210);
    assert_eq!((heard.answer().kind(), heard.answer().yiaddr(), site.disk.len()), ("ACK", RESERVED, 1));
    assert!(site.now.since(start) < Duration::from_millis(1500), "within the client's patience");
    // From then on it is its own.
    assert_eq!(site.hear(&reboot).answer().kind(), "ACK");
    site.wait(100_000);
    assert_eq!(site.hear(&reboot).answer().kind(), "ACK");
}

#[test]
fn rfc5227_2_1_1_init_reboot_into_a_reservation_that_a_stranger_uses_is_refused() {
    let mut site = site();
    site.hear(&Packet::request().mac(0x99).address(50, RESERVED));
    let heard = site.arp(RESERVED, SQUATTER);
    assert_eq!((heard.answer().kind(), heard.reported()), ("NAK", vec![SiteEventKind::AddressInUse { address: RESERVED, reserved: true }]));
    assert_eq!(site.quarantined(), [RESERVED]);
}

#[test]
fn rfc5227_2_1_1_a_request_whose_offer_was_probed_long_ago_or_never_made_waits_for_a_probe() {
    let mut site = site();
    let offered = site.hear(&Packet::discover().mac(1)).answer().yiaddr();
    let select = |mac, address| Packet::request().mac(mac).address(54, SERVER).address(50, address);
    site.pass(400_000);
    // By now the stock has probed the address again, as one that may be given to anybody.
    assert_eq!(site.hear(&select(1, offered)).answer().kind(), "ACK");

    let mut site = dry_site();
    let waiting = site.hear(&select(1, FIRST));
    assert_eq!((waiting.answers.len(), waiting.probed()), (0, vec![FIRST]));
    let other = Ipv4Addr::new(192, 0, 2, 101);
    site.hear(&select(2, other));
    let heard = site.arp(other, SQUATTER);
    assert_eq!((heard.answer().kind(), site.quarantined()), ("NAK", vec![other]));
    assert_eq!((site.pass(210).answer().kind(), site.disk.last().map(|record| record.address)), ("ACK", Some(FIRST)));
}

#[test]
fn rfc2131_4_3_2_renewals_never_wait_for_a_probe() {
    let mut site = site();
    let own = site.lease(1);
    for request in [Packet::request().mac(1).ciaddr(own), Packet::request().mac(1).address(50, own)] {
        let heard = site.hear(&request);
        assert_eq!((heard.answer().kind(), heard.probes.len()), ("ACK", 0));
    }
    site.wait(100_000);
    let heard = site.hear_unicast(&Packet::request().mac(1).ciaddr(own), own);
    assert_eq!((heard.answer().kind(), heard.probes.len()), ("ACK", 0));
}

#[test]
fn rfc4039_3_1_a_rapid_commit_waits_for_the_probe_as_an_offer_does() {
    let mut site = Site::with_config(&SERVER_CONFIG.replacen("domain =", "rapid_commit = true\n    domain =", 1));
    site.engine.watch(site.now, ETH1, OURS, 1);
    site.now = site.now.after(Duration::from_secs(4));
    site.pass(4000);
    let rapid = |mac| Packet::discover().mac(mac).option(80, &[]);
    let heard = site.hear(&rapid(1));
    assert_eq!((heard.answer().kind(), heard.answer().yiaddr(), heard.probes.len()), ("ACK", FIRST, 0));
    // A reservation is not in the stock.
    let waiting = site.hear(&rapid(0x99));
    assert_eq!((waiting.answers.len(), waiting.probed(), site.disk.len()), (0, vec![RESERVED], 1));
    let heard = site.arp(RESERVED, SQUATTER);
    assert_eq!(heard.answer().kind(), "ACK");
    assert_ne!(heard.answer().yiaddr(), RESERVED);
}

#[test]
fn a_flood_with_a_wish_each_keeps_no_reservation_waiting_and_sends_no_probe_for_each() {
    let mut site = Site::with_config(
        r#"
        [[interface]]
        name = "eth1"
        mode = "server"
        address = "10.0.0.1"
        authoritative = true
        [[subnet]]
        network = "10.0.0.0/8"
        pools = ["10.16.0.0-10.31.255.255"]
        [[subnet.reservation]]
        mac = "52:54:00:12:34:99"
        address = "10.0.0.9"
    "#,
    );
    site.engine.watch(site.now, ETH1, OURS, 1);
    let mut probes = 0;
    for number in 0..20_000_u32 {
        let [_, _, high, low] = number.to_be_bytes();
        let mut octets = Packet::discover().address(50, Ipv4Addr::from(0x0a10_0000 + number)).build();
        octets[32..34].copy_from_slice(&[high, low]);
        octets[31] = 0xee;
        probes += site.hear_octets(&octets, "0.0.0.0:68", Ipv4Addr::BROADCAST, 67).probes.len();
    }
    assert_eq!(probes, 2048);
    let waiting = site.hear(&Packet::discover().mac(0x99));
    assert_eq!(waiting.probed(), [Ipv4Addr::new(10, 0, 0, 9)]);
    let answers = site.pass(210).answers;
    assert!(answers.iter().any(|(_, _, answer)| answer.yiaddr() == Ipv4Addr::new(10, 0, 0, 9)));
}

#[test]
fn a_machine_that_uses_the_address_that_it_asks_for_is_no_conflict() {
    let mut site = site();
    let own = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x99]);
    site.hear(&Packet::discover().mac(0x99));
    let heard = site.arp(RESERVED, own);
    assert_eq!((heard.answer().yiaddr(), heard.reports.len(), site.quarantined().len()), (RESERVED, 0, 0));
}

#[test]
fn rfc2131_4_3_1_an_address_that_an_unknown_client_asks_for_is_probed_first() {
    let mut site = Site::with_config(
        r#"
        [[interface]]
        name = "eth1"
        mode = "server"
        address = "10.0.0.1"
        authoritative = true
        [[subnet]]
        network = "10.0.0.0/16"
        pools = ["10.0.1.0-10.0.2.0"]
    "#,
    );
    site.engine.watch(site.now, ETH1, OURS, 1);
    site.pass(1000);
    let wanted = Ipv4Addr::new(10, 0, 1, 200);
    let waiting = site.hear(&Packet::discover().address(50, wanted));
    assert_eq!((waiting.answers.len(), waiting.probed()), (0, vec![wanted]));
    assert_eq!(site.pass(250).answer().yiaddr(), wanted);
    let other = site.hear(&Packet::discover().mac(1).address(50, Ipv4Addr::new(10, 0, 1, 201)));
    assert_eq!(other.answers.len(), 0);
    let heard = site.arp(Ipv4Addr::new(10, 0, 1, 201), SQUATTER);
    assert_eq!(heard.answer().yiaddr(), Ipv4Addr::new(10, 0, 1, 0), "what somebody uses is not given to who asks for it");
}

#[test]
fn the_last_client_of_an_address_has_it_without_a_probe() {
    let mut site = site();
    let own = site.lease(1);
    site.wait(10_000);
    let heard = site.hear(&Packet::discover().mac(1));
    assert_eq!((heard.answer().yiaddr(), heard.probes.len()), (own, 0));
}

#[test]
fn an_announcement_heard_by_chance_takes_the_address_out_of_the_stock() {
    let mut site = site();
    let heard = site.arp(FIRST, SQUATTER);
    assert_eq!(heard.reports.len(), 1);
    assert_ne!(site.lease(1), FIRST);
    // Whoever has a lease may announce it, and so may anyone with addresses that are not ours to give.
    let own = site.lease(2);
    for address in [own, Ipv4Addr::new(192, 0, 2, 50), Ipv4Addr::new(203, 0, 113, 9)] {
        assert_eq!(site.arp(address, SQUATTER).reports.len(), 0);
    }
}

#[test]
fn a_router_that_answers_for_every_address_does_not_empty_the_pool() {
    let mut site = Site::with_config(
        r#"
        [[interface]]
        name = "eth1"
        mode = "server"
        address = "10.0.0.1"
        authoritative = true
        [[subnet]]
        network = "10.0.0.0/16"
        pools = ["10.0.1.0-10.0.2.0"]
    "#,
    );
    site.engine.watch(site.now, ETH1, OURS, 1);
    for _ in 0..40 {
        for probe in site.pass(100).probes {
            site.arp(probe.address, SQUATTER);
        }
    }
    assert_eq!(site.quarantined().len(), 16);
    assert_eq!(site.hear(&Packet::discover()).answer().kind(), "OFFER");
}

#[test]
fn rfc2131_3_1_an_address_behind_a_relay_is_asked_by_icmp() {
    let mut site = site();
    let first = Ipv4Addr::new(198, 51, 100, 50);
    let relayed = |mac| Packet::discover().mac(mac).relayed(RELAY).build();
    let offer = site.hear_octets(&relayed(1), "198.51.100.1:67", SERVER, 67);
    assert_eq!(offer.answer().yiaddr(), first);
    // Of the next ones, one is in use. ARP on our segment tells nothing of them.
    let next = Ipv4Addr::new(198, 51, 100, 51);
    assert_eq!(site.arp(next, SQUATTER).reports.len(), 0);
    let due = site.engine.noticed(site.now, ETH1, &Notice::EchoReply(next));
    let heard = site.act(due);
    assert_eq!((heard.reported(), heard.reports[0].mac), (vec![SiteEventKind::AddressInUse { address: next, reserved: false }], None));
    let offer = site.hear_octets(&relayed(2), "198.51.100.1:67", SERVER, 67);
    assert_eq!(offer.answer().yiaddr(), Ipv4Addr::new(198, 51, 100, 52));
}

#[test]
fn a_subnet_that_is_not_to_be_probed_is_not() {
    let mut site = Site::with_config(
        r#"
        [[interface]]
        name = "eth1"
        mode = "server"
        address = "192.0.2.1"
        authoritative = true
        [[subnet]]
        network = "192.0.2.0/24"
        pools = ["192.0.2.100-192.0.2.119"]
        conflict_probe = false
    "#,
    );
    site.engine.watch(site.now, ETH1, OURS, 1);
    assert_eq!(site.pass(5000).probes, []);
    assert_eq!(site.lease(1), FIRST);
}

#[test]
fn a_clock_that_is_set_back_keeps_nobody_waiting() {
    let mut site = dry_site();
    site.hear(&Packet::discover().mac(1));
    site.pass(100);
    site.now = Timestamp::from_secs(1_700_000_000);
    assert!(site.engine.next_tick().is_some());
    let due = site.engine.tick(site.now);
    site.act(due);
    assert_eq!(site.pass(2000).answers.len(), 0, "what waited is forgotten, and its client asks again");
    assert_eq!(site.hear(&Packet::discover().mac(1)).answer().kind(), "OFFER");
}
