//! Relays: RFC 3046 and what came after it.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::packet::Packet;
use super::site::{SERVER, Site};
use crate::edge::dhcp::{Destination, DropReason};

const CONFIG: &str = r#"
    [[interface]]
    name = "eth1"
    mode = "server"
    address = "192.0.2.1"
    [[subnet]]
    network = "192.0.2.0/24"
    pools = ["192.0.2.100-192.0.2.119"]
    [[subnet]]
    network = "10.1.0.0/16"
    pools = ["10.1.1.0-10.1.1.255"]
    relays = ["172.16.0.9"]
    [[subnet]]
    network = "10.2.0.0/16"
    pools = ["10.2.1.0-10.2.1.255"]
"#;

const RELAY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

fn subnet_of(site: &mut Site, packet: &Packet) -> Result<[u8; 2], DropReason> {
    let heard = site.hear(packet);
    if heard.answers.is_empty() {
        return Err(heard.silence());
    }
    let [a, b, ..] = heard.answer().yiaddr().octets();
    Ok([a, b])
}

#[test]
fn rfc2131_4_3_1_the_relays_address_tells_the_subnet() {
    let mut site = Site::with_config(CONFIG);
    let discover = Packet::discover();
    assert_eq!(subnet_of(&mut site, &discover.clone().relayed(RELAY)), Ok([10, 1]));
    assert_eq!(subnet_of(&mut site, &discover.clone().relayed(Ipv4Addr::new(10, 2, 0, 1))), Ok([10, 2]));
    // A relay that stands elsewhere, and that a subnet names.
    assert_eq!(subnet_of(&mut site, &discover.clone().relayed(Ipv4Addr::new(172, 16, 0, 9))), Ok([10, 1]));
    assert_eq!(subnet_of(&mut site, &discover.clone().relayed(Ipv4Addr::new(172, 16, 0, 8))), Err(DropReason::UnknownRelay));
    assert_eq!(subnet_of(&mut site, &discover), Ok([192, 0]));
}

#[test]
fn a_list_of_relays_refuses_all_others() {
    let mut site = Site::with_config(&CONFIG.replacen("[[subnet]]", "[dhcp]\nrelays = [\"10.1.0.0/24\", \"10.2.0.1\"]\n[[subnet]]", 1));
    let discover = Packet::discover();
    assert_eq!(subnet_of(&mut site, &discover.clone().relayed(RELAY)), Ok([10, 1]));
    assert_eq!(subnet_of(&mut site, &discover.clone().relayed(Ipv4Addr::new(172, 16, 0, 9))), Ok([10, 1]));
    assert_eq!(subnet_of(&mut site, &discover.relayed(Ipv4Addr::new(10, 2, 0, 2))), Err(DropReason::UnknownRelay));
}

#[test]
fn rfc3527_the_link_selection_comes_before_the_relays_address() {
    let mut site = Site::with_config(CONFIG);
    let agent = [1, 2, 0, 7, 5, 4, 10, 2, 0, 0];
    let heard = site.hear(&Packet::discover().relayed(RELAY).option(82, &agent));
    assert_eq!(heard.answer().yiaddr().octets()[..2], [10, 2]);
    assert_eq!((heard.destination(), heard.answer().option(82)), (Destination::Udp(SocketAddrV4::new(RELAY, 67)), Some(agent.to_vec())));
    let unknown = Packet::discover().relayed(RELAY).option(82, &[5, 4, 10, 9, 0, 0]);
    assert_eq!(subnet_of(&mut site, &unknown), Err(DropReason::UnknownSubnet));
    // Without a relay the sub-option is nobody's word.
    assert_eq!(subnet_of(&mut site, &Packet::discover().option(82, &agent)), Ok([192, 0]));
}

#[test]
fn rfc3011_the_subnet_selection_is_heeded_and_echoed() {
    let mut site = Site::with_config(CONFIG);
    let chosen = Ipv4Addr::new(10, 2, 0, 0);
    let heard = site.hear(&Packet::discover().relayed(RELAY).address(118, chosen));
    assert_eq!((heard.answer().yiaddr().octets()[..2].to_vec(), heard.answer().addresses(118)), (vec![10, 2], vec![chosen]));
    assert_eq!(subnet_of(&mut site, &Packet::discover().address(118, Ipv4Addr::new(10, 9, 0, 0))), Err(DropReason::UnknownSubnet));
    // RFC 3527, section 3: the relay's word comes first.
    let both = Packet::discover().relayed(RELAY).address(118, chosen).option(82, &[5, 4, 10, 1, 0, 0]);
    assert_eq!(subnet_of(&mut site, &both), Ok([10, 1]));
}

#[test]
fn rfc5107_the_relay_goes_for_the_server() {
    let mut site = Site::with_config(CONFIG);
    let agent = [&[11, 4], RELAY.octets().as_slice()].concat();
    let offered = site.hear(&Packet::discover().relayed(RELAY).option(82, &agent));
    assert_eq!(offered.answer().addresses(54), [RELAY]);
    let own = offered.answer().yiaddr();
    let request = Packet::request().relayed(RELAY).option(82, &agent).address(50, own);
    let acknowledged = site.hear(&request.clone().address(54, RELAY));
    assert_eq!((acknowledged.answer().kind(), acknowledged.answer().addresses(54)), ("ACK", vec![RELAY]));
    // By its own address too, and by no other.
    assert_eq!(site.hear(&request.clone().address(54, SERVER)).answer().kind(), "ACK");
    assert_eq!(site.hear(&request.address(54, Ipv4Addr::new(10, 1, 0, 2))).silence(), DropReason::OtherServer);
    // The renewal passes through the relay, which says again who it goes for.
    let renewed = site.hear(&Packet::request().relayed(RELAY).option(82, &agent).ciaddr(own));
    assert_eq!((renewed.answer().kind(), renewed.answer().addresses(54)), ("ACK", vec![RELAY]));
    let released = site.hear(&Packet::release().relayed(RELAY).option(82, &agent).ciaddr(own).address(54, RELAY));
    assert_eq!((released.silence(), site.disk.last().unwrap().address), (DropReason::NoAnswerDue, own));
}

#[test]
fn rfc3046_2_2_a_refusal_carries_option_82_too() {
    let mut site = Site::with_config(CONFIG);
    let agent = [1, 1, 9, 151, 0, 255, 1, 255];
    let refused = site.hear(&Packet::request().relayed(RELAY).option(82, &agent).address(50, Ipv4Addr::new(10, 9, 9, 9)));
    assert_eq!((refused.answer().kind(), refused.answer().codes()), ("NAK", vec![53, 54, 56, 82]));
    assert_eq!(refused.answer().option(82), Some(agent.to_vec()));
}

#[test]
fn rfc3046_2_1_relay_agent_information_that_leaves_no_room_is_not_repeated() {
    let mut site = Site::with_config(CONFIG);
    let longest = Packet::discover().relayed(RELAY).option(82, &[1; 255]);
    let answer = site.hear(&longest);
    assert_eq!(answer.answer().option(82).map(|octets| octets.len()), Some(255));
    assert_eq!((answer.answer().addresses(54), answer.answer().seconds(51).is_some()), (vec![SERVER], true));
    // Two of them are one (RFC 3396), longer than a client that says nothing else takes an answer.
    let too_long = longest.mac(2).option(82, &[1; 255]);
    let heard = site.hear(&too_long);
    assert_eq!((heard.answer().option(82), heard.answer().addresses(54)), (None, vec![SERVER]));
    let roomy = too_long.option(57, &1500_u16.to_be_bytes());
    assert_eq!(site.hear(&roomy).answer().option(82).map(|octets| octets.len()), Some(510));
}
