//! Several subnets on one link.

use std::net::Ipv4Addr;

use super::packet::Packet;
use super::site::{SERVER, Site};
use crate::edge::dhcp::DropReason;
use crate::edge::dhcp::config::policy::Origin;
use crate::edge::dhcp::explain::{PassedOver, Step};

const CONFIG: &str = r#"[[interface]]
name = "eth1"
mode = "server"
address = "192.0.2.1"
[[subnet]]
network = "192.0.2.0/24"
shared_network = "floor"
pools = ["192.0.2.100-192.0.2.101"]
routers = ["192.0.2.254"]
[[subnet]]
network = "10.2.0.0/24"
shared_network = "floor"
pools = ["10.2.0.100-10.2.0.101"]
routers = ["10.2.0.254"]
relays = ["172.16.0.9"]
lease_time = "2h"
[[subnet.reservation]]
mac = "52:54:00:12:34:99"
address = "10.2.0.9"
[[subnet]]
network = "10.3.0.0/24"
shared_network = "floor"
pools = ["10.3.0.100-10.3.0.101"]
classes = ["phones"]
routers = ["10.3.0.254"]
[[subnet]]
network = "10.9.0.0/24"
pools = ["10.9.0.100-10.9.0.109"]
[[class]]
name = "phones"
vendor_class = ["phone*"]
"#;

const FIRST: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 100), Ipv4Addr::new(192, 0, 2, 101)];
const SECOND: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 2, 0, 100), Ipv4Addr::new(10, 2, 0, 101)];
const THIRD: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 3, 0, 100), Ipv4Addr::new(10, 3, 0, 101)];
const RESERVED: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 9);
const RELAY: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 9);

fn phone(mac: u8) -> Packet {
    Packet::discover().mac(mac).option(60, b"phone 7")
}

#[test]
fn a_client_is_given_an_address_of_the_first_subnet_that_has_room_with_that_subnets_settings() {
    let mut site = Site::with_config(CONFIG);
    assert_eq!([site.lease(1), site.lease(2)], FIRST);
    let offer = site.hear(&Packet::discover().mac(3));
    let answer = offer.answer();
    assert_eq!((answer.yiaddr(), answer.addresses(3), answer.seconds(51)), (SECOND[0], vec![Ipv4Addr::new(10, 2, 0, 254)], Some(7200)));
    assert_eq!(answer.addresses(1), [Ipv4Addr::new(255, 255, 255, 0)]);
    assert_eq!([site.lease(3), site.lease(4)], SECOND);
    assert_eq!(site.hear(&Packet::discover().mac(5)).silence(), DropReason::NoFreeAddress);
    // Whoever has an address keeps it, though the first subnet has room again.
    site.hear_unicast(&Packet::release().mac(1).address(54, SERVER).ciaddr(FIRST[0]), FIRST[0]);
    assert_eq!(site.hear(&Packet::discover().mac(3)).answer().yiaddr(), SECOND[0]);
    assert_eq!(site.lease(5), FIRST[0]);
}

#[test]
fn a_subnet_for_a_class_is_for_nobody_else_and_its_machines_may_use_the_others() {
    let mut site =
        Site::with_config(&CONFIG.replace("192.0.2.100-192.0.2.101", "192.0.2.100-192.0.2.100").replace("10.2.0.101", "10.2.0.100"));
    assert_eq!([site.lease(1), site.lease(2)], [FIRST[0], SECOND[0]]);
    assert_eq!(site.hear(&Packet::discover().mac(3)).silence(), DropReason::NoFreeAddress);
    assert_eq!(site.hear(&phone(4)).answer().yiaddr(), THIRD[0]);
    let select = Packet::request().mac(4).address(54, SERVER).address(50, THIRD[0]);
    assert_eq!(site.hear(&select).answer().kind(), "NAK", "it does not say any more that it is a phone");
    assert_eq!(site.hear(&select.option(60, b"phone 7")).answer().kind(), "ACK");
    // Alone on its link.
    let alone = CONFIG
        .replace("shared_network = \"floor\"\n", "")
        .replace("[\"10.2.0.100-10.2.0.101\"]", "[\"10.2.0.100-10.2.0.101\"]\nclasses = [\"phones\"]");
    let mut site = Site::with_config(&alone);
    let relay = Ipv4Addr::new(10, 2, 0, 1);
    assert_eq!(site.hear(&Packet::discover().relayed(relay)).silence(), DropReason::NotPermitted);
    assert_eq!(site.hear(&phone(4).relayed(relay)).answer().yiaddr(), SECOND[0]);
    assert_eq!(site.hear(&Packet::discover().mac(0x99).relayed(relay)).answer().yiaddr(), RESERVED, "a reservation is its machine's");
}

#[test]
fn a_reservation_in_any_of_them_comes_first() {
    let mut site = Site::with_config(CONFIG);
    let offer = site.hear(&Packet::discover().mac(0x99).address(50, FIRST[0]));
    assert_eq!((offer.answer().yiaddr(), offer.answer().addresses(3)), (RESERVED, vec![Ipv4Addr::new(10, 2, 0, 254)]));
    assert_eq!(site.lease(0x99), RESERVED);
    // It had another address before it was reserved one: that is no longer its own.
    let before = CONFIG.replace("52:54:00:12:34:99", "52:54:00:12:34:98");
    let mut site = Site::with_config(&before);
    assert_eq!(site.lease(0x99), FIRST[0]);
    let now = super::site::config(CONFIG);
    site.engine.reconfigure(std::sync::Arc::new(now));
    let renewal = Packet::request().mac(0x99).ciaddr(FIRST[0]);
    assert_eq!(site.hear_unicast(&renewal, FIRST[0]).answer().kind(), "NAK");
    assert_eq!(site.lease(0x99), RESERVED);
    // When somebody else has it, the machine is given one of that subnet's pools.
    let mut site = Site::with_config(CONFIG);
    site.lease(0x99);
    site.hear(&Packet::decline().mac(0x99).address(54, SERVER).address(50, RESERVED));
    assert_eq!(site.hear(&Packet::discover().mac(0x99)).answer().yiaddr(), SECOND[0]);
}

#[test]
fn rfc2131_4_3_2_an_address_of_any_of_them_is_right_on_the_link_and_others_are_refused() {
    let mut site = Site::with_config(CONFIG);
    let leases = [site.lease(1), site.lease(2), site.lease(3)];
    assert_eq!(leases[2], SECOND[0]);
    let kind = |heard: super::site::Heard| heard.answer().kind().to_owned();
    assert_eq!(kind(site.hear(&Packet::request().mac(3).address(50, SECOND[0]))), "ACK", "init-reboot");
    assert_eq!(kind(site.hear(&Packet::request().mac(3).ciaddr(SECOND[0]))), "ACK", "rebinding");
    let renewed = site.hear_unicast(&Packet::request().mac(3).ciaddr(SECOND[0]), SECOND[0]);
    assert_eq!((renewed.answer().kind(), renewed.answer().seconds(51)), ("ACK", Some(7200)));
    let informed = site.hear_unicast(&Packet::inform().mac(3).ciaddr(SECOND[0]), SECOND[0]);
    assert_eq!(informed.answer().addresses(3), [Ipv4Addr::new(10, 2, 0, 254)]);
    // One that the client does not have; one of a link elsewhere; one that nobody knows whose it is.
    assert_eq!(kind(site.hear(&Packet::request().mac(3).address(50, FIRST[0]))), "NAK");
    assert_eq!(kind(site.hear(&Packet::request().mac(3).address(50, Ipv4Addr::new(10, 9, 0, 100)))), "NAK");
    assert_eq!(site.hear(&Packet::request().mac(7).address(50, SECOND[1])).silence(), DropReason::UnknownLease);
    // Chosen elsewhere: what is on offer on the link is free again.
    assert_eq!(site.hear(&Packet::discover().mac(8)).answer().yiaddr(), SECOND[1]);
    site.hear(&Packet::request().mac(8).address(54, Ipv4Addr::new(192, 0, 2, 9)).address(50, FIRST[0]));
    assert_eq!(site.hear(&Packet::discover().mac(9)).answer().yiaddr(), SECOND[1]);
}

#[test]
fn rfc2131_4_3_1_a_relay_of_one_of_them_is_a_relay_of_all() {
    let mut site = Site::with_config(CONFIG);
    for relay in [RELAY, Ipv4Addr::new(10, 2, 0, 254), Ipv4Addr::new(10, 3, 0, 254)] {
        assert_eq!(site.hear(&Packet::discover().mac(1).relayed(relay)).answer().yiaddr(), FIRST[0], "{relay}");
    }
    // What it asks for decides which of them, when that is free.
    assert_eq!(site.hear(&Packet::discover().mac(2).relayed(RELAY).address(50, SECOND[1])).answer().yiaddr(), SECOND[1]);
    assert_eq!(site.hear(&Packet::discover().mac(3).relayed(Ipv4Addr::new(10, 9, 0, 254))).answer().yiaddr().octets()[1], 9);
}

#[test]
fn an_explanation_tells_which_subnets_were_passed_over() {
    let mut site = Site::with_config(CONFIG);
    (1..=4).for_each(|mac| assert!(!site.lease(mac).is_unspecified()));
    let explanation = site.explain(&phone(7));
    let network = |text: &str| text.parse().unwrap();
    let steps: Vec<&Step> =
        explanation.steps.iter().filter(|step| matches!(step, Step::SharedNetwork { .. } | Step::PassedOver { .. })).collect();
    let shared = |text, line| Step::SharedNetwork { name: "floor".to_owned(), network: network(text), origin: Origin::Line(line) };
    let full = |text| Step::PassedOver { network: network(text), reason: PassedOver::Full };
    assert_eq!(
        steps,
        [&full("192.0.2.0/24"), &shared("10.2.0.0/24", 11), &full("10.2.0.0/24"), &shared("10.3.0.0/24", 21)],
        "{:#?}",
        explanation.steps
    );
    let explanation = site.explain(&Packet::discover().mac(8));
    let not_permitted = Step::PassedOver { network: network("10.3.0.0/24"), reason: PassedOver::NotPermitted };
    assert!(explanation.steps.contains(&not_permitted) && explanation.dropped == [DropReason::NoFreeAddress], "{explanation:#?}");
}
