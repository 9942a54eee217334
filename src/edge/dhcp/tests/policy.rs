//! What reservations, classes, subnets and `[dhcp]` say, and who of them decides.

use std::net::Ipv4Addr;

use super::packet::{Answer, Packet};
use super::site::{SERVER, Site};

const CONFIG: &str = r#"
    [[interface]]
    name = "eth1"
    mode = "server"
    address = "192.0.2.1"
    [dhcp]
    lease_time = "2h"
    min_lease_time = "10m"
    max_lease_time = "1d"
    [dhcp.options]
    domain-name = "general.example"
    captive-portal = "https://portal.example/"
    ipv6-only-preferred = "30m"
    [[class]]
    name = "cameras"
    vendor_class = ["Camera*"]
    lease_time = "30m"
    max_lease_time = "30m"
    always_send = ["captive-portal"]
    [class.options]
    domain-name = "cameras.example"
    interface-mtu = 1400
    [[class]]
    name = "lab"
    user_class = ["lab"]
    rapid_commit = true
    [class.options]
    domain-name = "lab.example"
    [[subnet]]
    network = "192.0.2.0/24"
    pools = ["192.0.2.100-192.0.2.119"]
    routers = ["192.0.2.254"]
    [subnet.options]
    domain-name = "subnet.example"
    domain-search = ["a.example", "b.example"]
    [[subnet.reservation]]
    mac = "52:54:00:12:34:01"
    address = "192.0.2.10"
    host_name = "cam-1"
    options = { domain-name = "own.example" }
    [[subnet.reservation]]
    client_id = "ff:00:00:00:01:00:03:00:01:52:54:00:12:34:02"
    address = "192.0.2.102"
    [[subnet.reservation]]
    client_id = "text:cam-7"
    address = "192.0.2.17"
    [[subnet.reservation]]
    uuid = "4c4c4544-0042-3510-8052-b4c04f564231"
    address = "192.0.2.20"
    [[subnet.reservation]]
    circuit_id = "text:port-4"
    address = "192.0.2.30"
"#;

const ALL: [u8; 9] = [1, 3, 12, 15, 26, 28, 108, 114, 119];

fn ask(packet: Packet) -> Packet {
    packet.option(55, &ALL)
}

fn own(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

fn hear(site: &mut Site, packet: &Packet) -> Answer {
    site.hear(packet).answer().clone()
}

#[test]
fn the_first_of_reservation_class_subnet_and_general_decides_each_thing_by_itself() {
    let mut site = Site::with_config(CONFIG);
    let plain = hear(&mut site, &ask(Packet::discover().mac(9)));
    assert_eq!((plain.text(15).as_deref(), plain.seconds(51), plain.option(26)), (Some("subnet.example"), Some(7200), None));
    let camera = ask(Packet::discover().mac(9).option(60, b"Camera 5"));
    let offer = hear(&mut site, &camera);
    assert_eq!((offer.text(15).as_deref(), offer.seconds(51)), (Some("cameras.example"), Some(1800)));
    assert_eq!((offer.option(26), offer.addresses(3)), (Some(vec![5, 120]), vec![own(254)]));
    // The first class in the file that says something.
    let both = ask(Packet::discover().mac(9).option(60, b"Camera 5").option(77, b"lab"));
    assert_eq!(hear(&mut site, &both).text(15).as_deref(), Some("cameras.example"));
    let reserved = hear(&mut site, &ask(Packet::discover().mac(1).option(60, b"Camera 5")));
    assert_eq!((reserved.text(15).as_deref(), reserved.text(12).as_deref()), (Some("own.example"), Some("cam-1")));
    assert_eq!((reserved.option(26), reserved.yiaddr()), (Some(vec![5, 120]), own(10)));
}

#[test]
fn rfc3004_user_classes_match_in_a_list_and_bare() {
    let mut site = Site::with_config(CONFIG);
    for class in [b"lab".as_slice(), b"\x03lab", b"\x04iPXE\x03lab", b"lab\0"] {
        let offer = hear(&mut site, &ask(Packet::discover().mac(9).option(77, class)));
        assert_eq!(offer.text(15).as_deref(), Some("lab.example"), "{class:?}");
    }
    for class in [b"lab2".as_slice(), b"\x03la", b"\x04lab", b""] {
        let offer = hear(&mut site, &ask(Packet::discover().mac(9).option(77, class)));
        assert_eq!(offer.text(15).as_deref(), Some("subnet.example"), "{class:?}");
    }
}

#[test]
fn reservations_are_found_by_identifier_hardware_address_uuid_and_circuit() {
    let mut site = Site::with_config(CONFIG);
    // RFC 4361: type 255, IAID, DUID. The address lies in a pool that nobody else gets it from.
    let duid = [0xff, 0, 0, 0, 1, 0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 2];
    assert_eq!(hear(&mut site, &Packet::discover().mac(7).option(61, &duid)).yiaddr(), own(102));
    assert_eq!(hear(&mut site, &Packet::discover().mac(8).option(61, b"cam-7")).yiaddr(), own(17));
    site.wait(60);
    assert_eq!(hear(&mut site, &Packet::discover().mac(9).option(61, b"\0cam-7")).yiaddr(), own(17));
    let uuid = [0, 0x44, 0x45, 0x4c, 0x4c, 0x42, 0, 0x10, 0x35, 0x80, 0x52, 0xb4, 0xc0, 0x4f, 0x56, 0x42, 0x31];
    assert_eq!(hear(&mut site, &Packet::discover().mac(10).option(97, &uuid)).yiaddr(), own(20));
    let circuit = Packet::discover().mac(11).option(82, b"\x01\x06port-4");
    assert_eq!(hear(&mut site, &circuit.clone().relayed(own(3))).yiaddr(), own(30));
    // Only a relay's word counts (RFC 3046, section 2.1).
    assert_eq!(hear(&mut site, &circuit.mac(12)).yiaddr(), own(100));
    // The identifier comes before the hardware address.
    site.wait(60);
    assert_eq!(hear(&mut site, &Packet::discover().mac(1).option(61, b"cam-7")).yiaddr(), own(17));
    assert_eq!(hear(&mut site, &Packet::discover().mac(3).address(50, own(102))).yiaddr(), own(101));
}

#[test]
fn rfc2131_3_3_the_lease_time_that_is_asked_for_is_held_to_the_bounds() {
    let mut site = Site::with_config(CONFIG);
    let mut given = |packet: Packet, asked: u32| hear(&mut site, &packet.option(51, &asked.to_be_bytes())).seconds(51);
    assert_eq!(given(Packet::discover(), 3600), Some(3600));
    assert_eq!(given(Packet::discover(), 1), Some(600));
    assert_eq!(given(Packet::discover(), u32::MAX), Some(86_400));
    // The class allows no more than its own.
    assert_eq!(given(Packet::discover().option(60, b"Camera"), 86_400), Some(1800));
    assert_eq!(given(Packet::discover().option(60, b"Camera"), 900), Some(900));
    let offer = hear(&mut site, &Packet::discover().option(51, &3600_u32.to_be_bytes()));
    assert_eq!((offer.seconds(58), offer.seconds(59)), (Some(1800), Some(3150)));
    site.wait(10);
    let lease = site.hear(&Packet::request().address(54, SERVER).address(50, offer.yiaddr()).option(51, &3600_u32.to_be_bytes()));
    assert_eq!((lease.answer().seconds(51), site.disk[0].expires_at.as_secs()), (Some(3600), 1_800_003_610));
}

#[test]
fn rfc2131_4_4_5_t1_and_t2_are_as_configured_while_they_fit_the_lease() {
    let timers = "renewal_time = \"15m\"\nrebinding_time = \"25m\"\n";
    let mut site = Site::with_config(&CONFIG.replace("    [dhcp.options]", &format!("{timers}[dhcp.options]")));
    let mut given = |asked: u32| {
        let offer = hear(&mut site, &Packet::discover().option(51, &asked.to_be_bytes()));
        (offer.seconds(58).unwrap(), offer.seconds(59).unwrap())
    };
    assert_eq!(given(7200), (900, 1500));
    assert_eq!(given(1200), (900, 1050));
    assert_eq!(given(600), (300, 525));
}

#[test]
fn rfc2132_9_8_what_is_always_sent_stands_behind_what_was_asked_for() {
    let mut site = Site::with_config(CONFIG);
    let offer = hear(&mut site, &Packet::discover().option(60, b"Camera").option(55, &[119, 3, 3]));
    assert_eq!(offer.codes(), [53, 54, 51, 58, 59, 1, 119, 3, 114]);
    assert_eq!(offer.option(119), Some(b"\x01a\x07example\0\x01b\x07example\0".to_vec()));
}

#[test]
fn rfc8925_3_3_ipv6_only_preferred_goes_only_to_those_who_ask_for_it() {
    let mut site = Site::with_config(CONFIG);
    assert_eq!(hear(&mut site, &Packet::discover()).option(108), None);
    assert_eq!(hear(&mut site, &Packet::discover()).text(114).as_deref(), Some("https://portal.example/"));
    assert_eq!(hear(&mut site, &Packet::discover().option(55, &[108])).seconds(108), Some(1800));
}

#[test]
fn rfc4702_4_the_name_option_is_answered_and_no_dns_is_updated() {
    let mut site = Site::with_config(CONFIG);
    let asked = [5, 0, 0, 4, b'h', b'o', b's', b't', 0];
    let offer = hear(&mut site, &Packet::discover().option(81, &asked));
    // N and O and E; the client's S is not heeded.
    assert_eq!(offer.option(81), Some(vec![0x0e, 255, 255, 4, b'h', b'o', b's', b't', 0]));
    let offer = hear(&mut site, &Packet::discover().option(81, b"\0\0\0host"));
    assert_eq!(offer.option(81), Some(b"\x08\xff\xffhost".to_vec()));
    // A reserved name counts, and the domain that goes with it.
    let offer = hear(&mut site, &Packet::discover().mac(1).option(81, &asked));
    assert_eq!(offer.option(81), Some(b"\x0e\xff\xff\x05cam-1\x03own\x07example\0".to_vec()));
    assert_eq!(hear(&mut site, &Packet::discover()).option(81), None);
    assert_eq!(hear(&mut site, &Packet::discover().option(81, &[1, 2])).option(81), None);
}

#[test]
fn rfc4039_rapid_commit_gives_the_lease_at_once_where_it_is_allowed() {
    let mut site = Site::with_config(CONFIG);
    let discover = Packet::discover().option(80, &[]);
    assert_eq!(hear(&mut site, &discover).kind(), "OFFER");
    let allowed = discover.option(77, b"lab");
    let ack = hear(&mut site, &allowed);
    assert_eq!((ack.kind(), ack.option(80), ack.seconds(51)), ("ACK", Some(Vec::new()), Some(7200)));
    assert_eq!((site.disk.len(), site.disk[0].address), (1, ack.yiaddr()));
    // A client that does not ask for it is offered an address as ever.
    assert_eq!(hear(&mut site, &Packet::discover().mac(2).option(77, b"lab")).kind(), "OFFER");
    // And nothing is promised that is not on the disk.
    site.disk_works = false;
    assert_eq!(site.hear(&allowed.mac(3)).silence(), crate::edge::dhcp::DropReason::NotDurable);
}

#[test]
fn rfc2131_4_3_3_the_quarantine_is_as_long_as_configured() {
    let mut site = Site::with_config(&CONFIG.replace("lease_time = \"2h\"", "lease_time = \"2h\"\ndecline_quarantine = \"10m\""));
    let declined = site.lease(40);
    site.hear(&Packet::decline().mac(40).address(54, SERVER).address(50, declined));
    assert_eq!(site.disk.last().unwrap().expires_at.since(site.now).as_secs(), 600);
}

#[test]
fn rfc4361_a_client_without_hardware_address_is_known_by_its_identifier() {
    let mut site = Site::with_config(CONFIG);
    let heard = site.hear(&Packet::discover().without_hardware().option(61, &[255, 1, 2, 3, 4, 0, 4, 9]));
    assert_eq!((heard.answer().kind(), heard.destination()), ("OFFER", crate::edge::dhcp::Destination::Broadcast));
}

#[test]
fn rfc2132_9_3_options_that_do_not_fit_move_into_the_fields_that_are_free() {
    let text = (0..3).map(|number| format!("\"{}\" = \"text:{}\"\n", 230 + number, "x".repeat(100))).collect::<String>();
    let mut site =
        Site::with_config(&CONFIG.replace("    [[class]]\n    name = \"cameras\"", &format!("{text}[[class]]\nname = \"cameras\"")));
    let offer = hear(&mut site, &Packet::discover().option(55, &[1, 3, 6, 230, 231, 232]));
    assert_eq!(offer.option(52), Some(vec![1]));
    assert!((230..=232).all(|code| offer.option(code).is_some_and(|value| value.len() == 100)));
    // PXE firmware reads `file` as a name, whatever option 52 says.
    let firmware = Packet::discover().option(60, b"PXEClient").option(93, &[0, 0]).option(55, &[1, 3, 67, 230, 231, 232]);
    let offer = hear(&mut site, &firmware);
    assert_eq!((offer.option(52), offer.file().as_str(), offer.option(232)), (None, "undionly.kpxe", None));
}
