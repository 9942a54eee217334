use std::net::{Ipv4Addr, SocketAddrV4};

use super::packet::Packet;
use super::site::Site;
use crate::edge::dhcp::{Destination, DropReason};
use crate::wire::ClientArch;
use crate::wire::uplink::SiteEventKind;

const PROXY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn firmware(packet: Packet) -> Packet {
    packet.option(60, b"PXEClient:Arch:00007:UNDI:003000").option(93, &[0, 7])
}

fn ipxe(packet: Packet) -> Packet {
    firmware(packet).option(77, b"iPXE").option(175, &[0xeb, 3, 2, 0, 0, 0x14, 1, 1]).option(57, &1472_u16.to_be_bytes())
}

#[test]
fn pxe_2_1_a_discover_is_answered_in_one_step_without_an_address() {
    let mut site = Site::proxy();
    let heard = site.hear(&firmware(Packet::discover()));
    let offer = heard.answer();
    assert_eq!((offer.kind(), offer.yiaddr(), heard.destination()), ("OFFER", Ipv4Addr::UNSPECIFIED, Destination::Broadcast));
    assert_eq!((offer.text(60).as_deref(), offer.option(43)), (Some("PXEClient"), Some(vec![6, 1, 8, 255])));
    assert_eq!((offer.file().as_str(), offer.siaddr(), offer.addresses(54)), ("snponly.efi", PROXY, vec![PROXY]));
    assert_eq!((offer.option(51), offer.option(1), offer.option(3)), (None, None, None));
    let arch = Some(ClientArch::X64_UEFI);
    let named = SiteEventKind::BootFileNamed { file: "snponly.efi".to_owned(), arch };
    assert_eq!(heard.reported(), [SiteEventKind::ProxyAnswered { arch }, named]);
    assert!(site.disk.is_empty());
}

#[test]
fn pxe_2_1_a_request_on_port_4011_is_acknowledged_to_whoever_sent_it() {
    let mut site = Site::proxy();
    let request = firmware(Packet::request()).ciaddr(Ipv4Addr::new(192, 0, 2, 111)).build();
    let heard = site.hear_octets(&request, "192.0.2.111:4011", PROXY, 4011);
    let client = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 111), 4011);
    assert_eq!((heard.answers[0].0, heard.answers[0].1), (Destination::Udp(client), 4011));
    assert_eq!((heard.answer().kind(), heard.answer().file().as_str(), heard.answer().ciaddr()), ("ACK", "snponly.efi", *client.ip()));
}

#[test]
fn ipxe_gets_a_fresh_ticket_with_every_offer() {
    let mut site = Site::proxy();
    let (first, second) = (site.hear(&ipxe(Packet::discover())), site.hear(&ipxe(Packet::discover())));
    assert_eq!(first.answer().file(), "http://192.0.2.2/autoexec.ipxe");
    assert_eq!(first.answer().text(225).as_deref(), Some("https://198.51.100.10:8443"));
    assert!(first.answer().text(224).is_some() && first.answer().text(224) != second.answer().text(224));
    assert_eq!(first.reports[0].boot, second.reports[0].boot);
}

#[test]
fn http_boot_gets_its_own_class() {
    let mut site = Site::proxy();
    let heard = site.hear(&Packet::discover().option(60, b"HTTPClient:Arch:00016:UNDI:003000").option(93, &[0, 16]));
    let offer = heard.answer();
    assert_eq!(
        (offer.text(60).as_deref(), offer.option(43), offer.file().as_str()),
        (Some("HTTPClient"), None, "http://192.0.2.2/snponly.efi")
    );
}

#[test]
fn everyone_else_is_left_to_the_server() {
    let mut site = Site::proxy();
    assert_eq!(site.hear(&Packet::discover()).silence(), DropReason::NotABootClient);
    assert_eq!(site.hear(&firmware(Packet::request())).silence(), DropReason::NotServed);
    assert_eq!(site.hear(&Packet::discover().option(60, b"PXEClient").option(93, &[0, 6])).silence(), DropReason::NoBootFile);
    site.engine.set_boot_settings(None);
    assert_eq!(site.hear(&firmware(Packet::discover())).silence(), DropReason::NoBootFile);
}

#[test]
fn pxe_2_1_the_item_of_the_boot_menu_is_repeated_on_port_4011() {
    let mut site = Site::proxy();
    let request = firmware(Packet::request()).ciaddr(Ipv4Addr::new(192, 0, 2, 111)).option(43, &[9, 1, 0, 71, 4, 0, 2, 0, 1, 255]).build();
    // Some stacks send before they have bound their address: the answer goes where the message says.
    let heard = site.hear_octets(&request, "0.0.0.0:68", PROXY, 4011);
    assert_eq!(heard.destination(), Destination::Udp(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 111), 68)));
    assert_eq!(heard.answer().option(43), Some(vec![6, 1, 8, 71, 4, 0, 2, 0, 1, 255]));
    let nowhere = site.hear_octets(&firmware(Packet::request()).build(), "0.0.0.0:68", PROXY, 4011);
    assert_eq!(nowhere.silence(), DropReason::NoAddress);
}

#[test]
fn a_machine_that_may_not_boot_is_left_alone_on_both_ports() {
    let mut site = Site::with_config(
        "[[interface]]\nname = \"eth1\"\nmode = \"proxy\"\naddress = \"192.0.2.2\"\n\
         [[class]]\nname = \"never\"\nmac_prefix = [\"52:54:00:12:34:0e\"]\nboot = false\n",
    );
    for packet in [firmware(Packet::discover().mac(14)), ipxe(Packet::discover().mac(14))] {
        assert_eq!(site.hear(&packet).silence(), DropReason::MayNotBoot);
    }
    let request = firmware(Packet::request().mac(14)).ciaddr(Ipv4Addr::new(192, 0, 2, 111)).build();
    assert_eq!(site.hear_octets(&request, "192.0.2.111:68", PROXY, 4011).silence(), DropReason::MayNotBoot);
    assert_eq!(site.hear(&firmware(Packet::discover())).answer().file(), "snponly.efi");
}
