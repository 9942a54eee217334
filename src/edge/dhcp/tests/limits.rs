use super::packet::Packet;
use super::site::{SERVER, Site};
use crate::edge::dhcp::{DropReason, Malformed};

#[test]
fn a_client_that_asks_without_end_is_held_to_its_rate() {
    let mut site = Site::server();
    for _ in 0..20 {
        assert_eq!(site.hear(&Packet::discover().mac(1)).answer().kind(), "OFFER");
    }
    assert_eq!(site.hear(&Packet::discover().mac(1)).silence(), DropReason::TooManyRequests);
    assert_eq!(site.hear(&Packet::discover().mac(2)).answer().kind(), "OFFER");
    site.wait(10);
    assert_eq!(site.hear(&Packet::discover().mac(1)).answer().kind(), "OFFER");
}

#[test]
fn a_flood_of_invented_clients_does_not_keep_known_ones_from_their_addresses() {
    let mut site = Site::server();
    let own = site.lease(1);
    site.hear_unicast(&Packet::release().mac(1).address(54, SERVER).ciaddr(own), own);
    for number in 0..10_000_u32 {
        site.hear(&Packet::discover().mac(200).option(61, &[&[255], number.to_be_bytes().as_slice()].concat()));
        site.wait(u64::from(number % 20 == 19) * 10);
    }
    assert_eq!(site.hear(&Packet::discover().mac(1)).answer().yiaddr(), own);
    assert_eq!(site.lease(0x99), std::net::Ipv4Addr::new(192, 0, 2, 110));
}

#[test]
fn half_open_offers_are_bounded_in_all_subnets_together_and_a_flood_takes_only_from_its_own() {
    let subnets: String = (1..=40)
        .map(|number| format!("[[subnet]]\nnetwork = \"10.{number}.0.0/16\"\npools = [\"10.{number}.1.0-10.{number}.3.255\"]\n"))
        .collect();
    let mut site = Site::with_config(&format!(
        "[[interface]]\nname = \"eth1\"\nmode = \"server\"\naddress = \"10.1.0.1\"\n[dhcp.limits]\noffers = 100\n{subnets}"
    ));
    let discover = |number: u16, link: u8| {
        let relay = std::net::Ipv4Addr::new(10, link, 0, 2);
        Packet::discover().mac(200).option(61, &[&[255], number.to_be_bytes().as_slice()].concat()).relayed(relay)
    };
    let half_open = |site: &Site| site.engine.lease_summaries(site.now).iter().map(|(_, summary)| summary.offered).collect::<Vec<_>>();
    let mut number = 0;
    let mut ask = |site: &mut Site, link| {
        number += 1;
        if number % 20 == 0 {
            site.engine.reconfigure(std::sync::Arc::clone(&site.engine.config));
        }
        site.hear(&discover(number, link).mac(u8::try_from(number % 251).unwrap()));
    };
    for link in 2..=20 {
        ask(&mut site, link);
    }
    for _ in 0..2000 {
        ask(&mut site, 40);
        assert!(half_open(&site).iter().sum::<usize>() <= 100);
    }
    let held = half_open(&site);
    assert_eq!(held[1..20], [1; 19], "who asked on other links keeps what it was offered");
    assert!((70..=81).contains(&held[39]), "{held:?}");
}

#[test]
fn rfc951_plain_bootp_is_told_from_malformed_dhcp() {
    let mut site = Site::server();
    let mut bootp = Packet::discover().build();
    bootp.truncate(240);
    bootp.push(255);
    assert_eq!(site.hear_octets(&bootp, "0.0.0.0:68", SERVER, 67).silence(), DropReason::Malformed(Malformed::NoMessageType));
}
