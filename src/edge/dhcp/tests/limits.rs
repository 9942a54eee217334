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
fn rfc951_plain_bootp_is_told_from_malformed_dhcp() {
    let mut site = Site::server();
    let mut bootp = Packet::discover().build();
    bootp.truncate(240);
    bootp.push(255);
    assert_eq!(site.hear_octets(&bootp, "0.0.0.0:68", SERVER, 67).silence(), DropReason::Malformed(Malformed::NoMessageType));
}
