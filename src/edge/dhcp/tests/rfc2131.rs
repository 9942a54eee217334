use std::net::{Ipv4Addr, SocketAddrV4};

use super::packet::{MAC, Packet};
use super::site::{SERVER, Site};
use crate::edge::dhcp::{Destination, DropReason};
use crate::wire::MacAddr;

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

fn udp(address: Ipv4Addr, port: u16) -> Destination {
    Destination::Udp(SocketAddrV4::new(address, port))
}

#[test]
fn rfc2131_4_3_1_discover_is_answered_with_all_that_a_client_needs() {
    let mut site = Site::server();
    let heard = site.hear(&Packet::discover());
    let offer = heard.answer();
    assert_eq!((offer.kind(), offer.yiaddr(), offer.ciaddr()), ("OFFER", address(100), Ipv4Addr::UNSPECIFIED));
    assert_eq!((offer.xid(), &offer.chaddr()[..6]), ([1, 2, 3, 4].as_slice(), MAC.as_slice()));
    assert_eq!((offer.seconds(51), offer.seconds(58), offer.seconds(59)), (Some(3600), Some(1800), Some(3150)));
    assert_eq!((offer.addresses(54), offer.addresses(1)), (vec![SERVER], vec![Ipv4Addr::new(255, 255, 255, 0)]));
    assert_eq!((offer.addresses(3), offer.addresses(6)), (vec![address(254)], vec![address(53), address(54)]));
    assert_eq!((offer.addresses(42), offer.addresses(28)), (vec![SERVER], vec![address(255)]));
    assert_eq!(offer.text(15).as_deref(), Some("site.example"));
    assert!(site.disk.is_empty(), "an offer is no promise");
}

#[test]
fn rfc2131_4_3_1_the_wanted_address_is_offered_when_it_is_free() {
    let mut site = Site::server();
    assert_eq!(site.hear(&Packet::discover().address(50, address(117))).answer().yiaddr(), address(117));
    assert_eq!(site.hear(&Packet::discover().mac(2).address(50, address(117))).answer().yiaddr(), address(100));
    assert_eq!(site.hear(&Packet::discover().mac(3).address(50, address(20))).answer().yiaddr(), address(101));
}

#[test]
fn rfc2131_4_3_1_without_a_free_address_the_server_is_silent() {
    let mut site = Site::server();
    for mac in 0..19 {
        site.lease(mac);
    }
    assert_eq!(site.hear(&Packet::discover().mac(50)).silence(), DropReason::NoFreeAddress);
    assert_eq!(site.lease(0x99), address(110));
}

#[test]
fn rfc2131_4_1_answers_go_where_the_client_can_hear_them() {
    let mut site = Site::server();
    let mac = MacAddr(MAC);
    assert_eq!(site.hear(&Packet::discover()).destination(), Destination::Frame { address: address(100), mac });
    assert_eq!(site.hear(&Packet::discover().broadcast()).destination(), Destination::Broadcast);
    let relay = Ipv4Addr::new(198, 51, 100, 9);
    let relayed = site.hear(&Packet::discover().relayed(relay));
    assert_eq!(relayed.destination(), udp(relay, 67));
    assert_eq!((relayed.answer().giaddr(), relayed.answer().yiaddr()), (relay, Ipv4Addr::new(198, 51, 100, 50)));
    let own = site.lease(7);
    let renewed = site.hear_unicast(&Packet::request().mac(7).ciaddr(own), own);
    assert_eq!(renewed.destination(), udp(own, 68));
    assert_eq!(renewed.answers[0].1, 67);
}

#[test]
fn rfc2131_4_3_2_selecting_commits_before_it_acknowledges() {
    let mut site = Site::server();
    let own = site.lease(1);
    assert_eq!(site.disk.len(), 1);
    assert_eq!((site.disk[0].address, site.disk[0].expires_at.as_secs()), (own, 1_800_003_600));
}

#[test]
fn rfc2131_4_3_2_selecting_another_server_frees_our_offer() {
    let mut site = Site::server();
    site.hear(&Packet::discover());
    let other = Packet::request().address(54, address(9)).address(50, address(77));
    assert_eq!(site.hear(&other).silence(), DropReason::OtherServer);
    assert_eq!(site.hear(&Packet::discover().mac(2)).answer().yiaddr(), address(100));
}

#[test]
fn rfc2131_4_3_2_selecting_an_address_of_someone_else_is_refused() {
    let mut site = Site::server();
    let taken = site.lease(1);
    let heard = site.hear(&Packet::request().mac(2).address(54, SERVER).address(50, taken));
    let nak = heard.answer();
    assert_eq!((nak.kind(), nak.yiaddr(), heard.destination()), ("NAK", Ipv4Addr::UNSPECIFIED, Destination::Broadcast));
    assert_eq!((nak.addresses(54), nak.option(51), nak.option(1)), (vec![SERVER], None, None));
    assert_eq!(site.hear(&Packet::request().mac(2).address(54, SERVER)).silence(), DropReason::NoAddress);
}

#[test]
fn rfc2131_4_3_2_init_reboot_known_client_is_acknowledged() {
    let mut site = Site::server();
    let own = site.lease(1);
    site.wait(1000);
    let heard = site.hear(&Packet::request().mac(1).address(50, own));
    assert_eq!((heard.answer().kind(), heard.answer().yiaddr()), ("ACK", own));
    assert_eq!(site.disk.last().unwrap().expires_at.as_secs(), 1_800_004_600);
}

#[test]
fn rfc2131_4_3_2_init_reboot_unknown_client_stays_silent() {
    let mut site = Site::server();
    assert_eq!(site.hear(&Packet::request().address(50, address(105))).silence(), DropReason::UnknownLease);
}

#[test]
fn rfc2131_4_3_2_init_reboot_on_another_network_is_refused() {
    let mut site = Site::server();
    let heard = site.hear(&Packet::request().address(50, Ipv4Addr::new(10, 1, 2, 3)));
    assert_eq!((heard.answer().kind(), heard.destination()), ("NAK", Destination::Broadcast));
    let relay = Ipv4Addr::new(198, 51, 100, 9);
    let relayed = site.hear(&Packet::request().relayed(relay).address(50, address(100)));
    assert_eq!((relayed.answer().kind(), relayed.destination()), ("NAK", udp(relay, 67)));
    assert!(relayed.answer().broadcast_flag());
}

#[test]
fn rfc2131_4_3_2_init_reboot_with_the_wrong_address_is_refused() {
    let mut site = Site::server();
    let own = site.lease(1);
    assert_eq!(site.hear(&Packet::request().mac(1).address(50, address(115))).answer().kind(), "NAK");
    site.wait(4000);
    for mac in 2..21 {
        site.lease(mac);
    }
    assert_eq!(site.hear(&Packet::request().mac(1).address(50, own)).silence(), DropReason::UnknownLease);
}

#[test]
fn rfc2131_4_3_2_renewing_and_rebinding_extend_the_lease() {
    let mut site = Site::server();
    let own = site.lease(1);
    site.wait(1800);
    let renewed = site.hear_unicast(&Packet::request().mac(1).ciaddr(own), own);
    assert_eq!((renewed.answer().kind(), renewed.answer().ciaddr(), renewed.answer().yiaddr()), ("ACK", own, own));
    site.wait(3150);
    let rebound = site.hear(&Packet::request().mac(1).ciaddr(own));
    assert_eq!((rebound.answer().kind(), rebound.destination()), ("ACK", udp(own, 68)));
    assert_eq!(site.disk.last().unwrap().expires_at.as_secs(), 1_800_000_000 + 1800 + 3150 + 3600);
}

#[test]
fn rfc2131_4_3_2_renewing_a_lease_that_is_not_there() {
    let mut site = Site::server();
    let own = site.lease(1);
    assert_eq!(site.hear(&Packet::request().mac(2).ciaddr(own)).answer().kind(), "NAK");
    assert_eq!(site.hear(&Packet::request().mac(2).ciaddr(address(109))).silence(), DropReason::UnknownLease);
    let foreign = Ipv4Addr::new(10, 0, 0, 5);
    assert_eq!(site.hear(&Packet::request().mac(2).ciaddr(foreign)).answer().kind(), "NAK");
    assert_eq!(site.hear_unicast(&Packet::request().mac(2).ciaddr(foreign), foreign).silence(), DropReason::UnknownLease);
}

#[test]
fn rfc2131_4_3_2_a_client_behind_a_relay_renews_by_unicast_without_it() {
    let mut site = Site::server();
    let relay = Ipv4Addr::new(198, 51, 100, 9);
    let own = site.hear(&Packet::discover().relayed(relay)).answer().yiaddr();
    site.hear(&Packet::request().relayed(relay).address(54, SERVER).address(50, own));
    let renewed = site.hear_unicast(&Packet::request().ciaddr(own), own);
    assert_eq!((renewed.answer().kind(), renewed.destination()), ("ACK", udp(own, 68)));
}

#[test]
fn rfc2131_4_3_3_a_declined_address_rests_for_a_day() {
    let mut site = Site::server();
    let own = site.lease(1);
    let declined = site.hear(&Packet::decline().mac(1).address(54, SERVER).address(50, own));
    assert_eq!(declined.silence(), DropReason::NoAnswerDue);
    assert_ne!(site.lease(1), own);
    site.crash();
    assert_eq!(site.hear(&Packet::discover().mac(2).address(50, own)).answer().yiaddr(), address(102));
    site.wait(86_400);
    assert_eq!(site.hear(&Packet::discover().mac(3).address(50, own)).answer().yiaddr(), own);
}

#[test]
fn rfc2131_4_3_3_only_the_holder_can_decline() {
    let mut site = Site::server();
    let own = site.lease(1);
    let foreign = Packet::decline().mac(2).address(54, SERVER).address(50, own);
    assert_eq!(site.hear(&foreign).silence(), DropReason::UnknownLease);
    assert_eq!(site.hear(&Packet::decline().mac(1).address(54, address(9)).address(50, own)).silence(), DropReason::OtherServer);
    assert_eq!(site.disk.len(), 1);
}

#[test]
fn rfc2131_4_3_4_a_released_address_is_free_and_kept_for_the_client_while_others_are() {
    let mut site = Site::server();
    let own = site.lease(1);
    let released = site.hear_unicast(&Packet::release().mac(1).address(54, SERVER).ciaddr(own), own);
    assert_eq!(released.silence(), DropReason::NoAnswerDue);
    assert_ne!(site.lease(2), own);
    assert_eq!(site.lease(1), own);
}

#[test]
fn rfc2131_4_3_5_inform_is_answered_without_an_address_and_its_times() {
    let mut site = Site::server();
    let client = address(20);
    let heard = site.hear_unicast(&Packet::inform().ciaddr(client), client);
    let ack = heard.answer();
    assert_eq!((ack.kind(), ack.yiaddr(), ack.ciaddr(), heard.destination()), ("ACK", Ipv4Addr::UNSPECIFIED, client, udp(client, 68)));
    assert_eq!((ack.option(51), ack.option(58), ack.option(59)), (None, None, None));
    assert_eq!(ack.addresses(6), [address(53), address(54)]);
    assert!(site.disk.is_empty());
    assert_eq!(site.hear(&Packet::inform()).silence(), DropReason::NoAddress);
}

#[test]
fn rfc2132_9_8_options_come_in_the_clients_order_and_only_those_it_asks_for() {
    let mut site = Site::server();
    let codes = site.hear(&Packet::discover().option(55, &[15, 6, 3, 1])).answer().codes();
    assert_eq!(codes, [53, 54, 51, 58, 59, 1, 15, 6, 3]);
}

#[test]
fn rfc6842_the_client_identifier_is_repeated() {
    let mut site = Site::server();
    let identifier = [255, 1, 2, 3, 4, 5];
    assert_eq!(site.hear(&Packet::discover().option(61, &identifier)).answer().option(61), Some(identifier.to_vec()));
}

#[test]
fn a_reserved_address_goes_to_its_machine_only() {
    let mut site = Site::server();
    assert_eq!(site.hear(&Packet::discover().mac(1).address(50, address(110))).answer().yiaddr(), address(100));
    assert_eq!(site.lease(0x99), address(110));
    assert_eq!(site.hear(&Packet::request().mac(0x99).address(50, address(105))).answer().kind(), "NAK");
    assert_eq!(site.hear(&Packet::request().mac(0x99).address(50, address(110))).answer().kind(), "ACK");
    assert_eq!(site.hear(&Packet::request().mac(2).address(54, SERVER).address(50, address(110))).answer().kind(), "NAK");
}

#[test]
fn an_unknown_relay_is_not_answered() {
    let mut site = Site::server();
    assert_eq!(site.hear(&Packet::discover().relayed(Ipv4Addr::new(10, 0, 0, 1))).silence(), DropReason::UnknownRelay);
}

#[test]
fn servers_and_other_ports_are_not_answered() {
    let mut site = Site::server();
    let mut offer = Packet::discover().build();
    offer[242] = 2;
    assert_eq!(site.hear_octets(&offer, "192.0.2.7:67", Ipv4Addr::BROADCAST, 67).silence(), DropReason::FromServer);
    let discover = Packet::discover().build();
    assert_eq!(site.hear_octets(&discover, "192.0.2.7:4011", SERVER, 4011).silence(), DropReason::NotServed);
}
