use std::net::Ipv4Addr;
use std::sync::Arc;

use super::packet::Packet;
use super::site::{SERVER, SERVER_CONFIG, Site, config};

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

fn reconfigure(site: &mut Site, from: &str, to: &str) {
    // The router must be in the smaller subnet, too.
    let changed = SERVER_CONFIG.replace(from, to).replace("192.0.2.254", "192.0.2.126");
    assert_ne!(changed, SERVER_CONFIG);
    site.engine.reconfigure(Arc::new(config(&changed)));
}

#[test]
fn leases_and_offers_are_kept() {
    let mut site = Site::server();
    let (held, offered) = (site.lease(1), site.hear(&Packet::discover().mac(2)).answer().yiaddr());
    reconfigure(&mut site, "\"192.0.2.100-192.0.2.119\"", "\"192.0.2.90-192.0.2.125\"");
    assert_eq!(site.hear(&Packet::request().mac(2).address(54, SERVER).address(50, offered)).answer().kind(), "ACK");
    assert_eq!(site.hear(&Packet::request().mac(1).ciaddr(held)).answer().kind(), "ACK");
    assert_eq!(site.hear(&Packet::discover().mac(3)).answer().yiaddr(), address(90));
}

#[test]
fn a_lease_that_the_pools_no_longer_hold_is_not_extended_and_comes_back_with_them() {
    let mut site = Site::server();
    let held = site.lease(1);
    reconfigure(&mut site, "\"192.0.2.100-192.0.2.119\"", "\"192.0.2.105-192.0.2.119\"");
    assert_eq!(site.hear(&Packet::request().mac(1).ciaddr(held)).answer().kind(), "NAK");
    site.engine.reconfigure(Arc::new(config(SERVER_CONFIG)));
    assert_eq!(site.hear(&Packet::request().mac(1).ciaddr(held)).answer().kind(), "ACK");
}

#[test]
fn leases_follow_their_addresses_when_subnets_change() {
    let mut site = Site::server();
    let held = site.lease(1);
    reconfigure(&mut site, "network = \"192.0.2.0/24\"", "network = \"192.0.2.0/25\"\n");
    assert_eq!(site.hear(&Packet::request().mac(1).ciaddr(held)).answer().kind(), "ACK");
    assert_ne!(site.hear(&Packet::discover().mac(2)).answer().yiaddr(), held);
}

#[test]
fn leases_of_a_subnet_that_is_gone_come_back_with_it() {
    let mut site = Site::server();
    let relay = Ipv4Addr::new(198, 51, 100, 9);
    let held = site.hear(&Packet::discover().relayed(relay)).answer().yiaddr();
    site.hear(&Packet::request().relayed(relay).address(54, SERVER).address(50, held));
    let from = SERVER_CONFIG.rfind("[[subnet]]").unwrap();
    site.engine.reconfigure(Arc::new(config(&SERVER_CONFIG[..from])));
    assert!(site.hear(&Packet::discover().mac(2).relayed(relay)).answers.is_empty());
    site.engine.reconfigure(Arc::new(config(SERVER_CONFIG)));
    assert_ne!(site.hear(&Packet::discover().mac(2).relayed(relay)).answer().yiaddr(), held);
    assert_eq!(site.hear(&Packet::request().relayed(relay).ciaddr(held)).answer().kind(), "ACK");
}

#[test]
fn a_disk_that_fails_after_a_reload_takes_back_what_it_did_not_take_and_nothing_else() {
    let mut site = Site::server();
    let held = site.lease(1);
    reconfigure(&mut site, "network = \"192.0.2.0/24\"", "network = \"192.0.2.0/25\"\n");
    site.disk_works = false;
    site.wait(1800);
    // What the disk promised before is still known to be promised.
    assert_eq!(site.hear(&Packet::request().mac(1).ciaddr(held)).answer().seconds(51), Some(1800));
}
