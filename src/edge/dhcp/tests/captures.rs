//! What real firmware sent, replayed: every request gets the answer that takes the machine on.

use std::net::Ipv4Addr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use super::site::{Heard, SERVER, Site};

/// A request of a capture.
struct Captured {
    source: String,
    destination: Ipv4Addr,
    port: u16,
    octets: Vec<u8>,
}

/// The requests of a capture (pcap, little-endian, Ethernet), in order.
fn requests(pcap: &[u8]) -> Vec<Captured> {
    assert_eq!(pcap[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
    let mut rest = &pcap[24..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let length = usize::try_from(u32::from_le_bytes(rest[8..12].try_into().unwrap())).unwrap();
        let (frame, after) = rest[16..].split_at(length);
        rest = after;
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (packet.net, packet.transport) else { continue };
        if udp.payload()[0] == 1 {
            found.push(Captured {
                source: format!("{}:{}", ip.header().source_addr(), udp.source_port()),
                destination: ip.header().destination_addr(),
                port: udp.destination_port(),
                octets: udp.payload().to_vec(),
            });
        }
    }
    found
}

macro_rules! capture {
    ($name:literal) => {
        requests(include_bytes!(concat!("../../../../tests/fixtures/dhcp/", $name, ".pcap")))
    };
}

/// What the box says to each request, in a line: kind, file, and the options that matter to a boot.
fn replay(site: &mut Site, captured: &[Captured]) -> Vec<String> {
    captured
        .iter()
        .map(|request| {
            site.wait(1);
            let octets = in_our_pool(&request.octets);
            let destination = if request.port == 4011 { Ipv4Addr::new(192, 0, 2, 2) } else { request.destination };
            line(&site.hear_octets(&octets, &request.source, destination, request.port))
        })
        .collect()
}

/// The captures' server gave 192.0.2.111, the 11th of our pool; a fresh client of ours gets the first one.
fn in_our_pool(octets: &[u8]) -> Vec<u8> {
    let mut octets = octets.to_vec();
    for place in 0..octets.len() - 6 {
        if octets[place..place + 6] == [50, 4, 192, 0, 2, 111] {
            octets[place + 5] = 100;
        }
    }
    octets
}

fn line(heard: &Heard) -> String {
    let [(_, _, answer)] = &heard.answers[..] else { return format!("nothing: {}", heard.silence()) };
    let mut line = format!("{} {}", answer.kind(), answer.file());
    for code in [43, 60, 97, 175, 224, 225] {
        if answer.option(code).is_some() {
            line += &format!(" {code}");
        }
    }
    line
}

const SCRIPT: &str = "http://192.0.2.1/autoexec.ipxe";
const PROXY_SCRIPT_HOST: &str = "192.0.2.2";

#[test]
fn ovmf_then_ipxe() {
    let mut site = Site::server();
    let (offer, ack) = ("OFFER snponly.efi 97".to_owned(), "ACK snponly.efi 97".to_owned());
    let (ipxe_offer, ipxe_ack) = (format!("OFFER {SCRIPT} 97 225"), format!("ACK {SCRIPT} 97 224 225"));
    let ipxe = [ipxe_offer.clone(), ipxe_offer, ipxe_ack];
    assert_eq!(replay(&mut site, &capture!("uefi-ovmf-then-ipxe2")), [[offer, ack].as_slice(), &ipxe, &ipxe].concat());
    // One machine, one address, and a lease each time it asked for it.
    assert!(site.disk.iter().all(|record| record.address == Ipv4Addr::new(192, 0, 2, 100)));
    assert_eq!(site.disk.len(), 3);
}

#[test]
fn bios_rom_then_undionly() {
    let mut site = Site::server();
    let rom = ["OFFER undionly.kpxe 97 175", "OFFER undionly.kpxe 97 175", "ACK undionly.kpxe 97 175"].map(str::to_owned);
    let offer = format!("OFFER {SCRIPT} 97 175 225");
    let ipxe = [offer.clone(), offer, format!("ACK {SCRIPT} 97 175 224 225")];
    let expected = [rom, ipxe.clone(), ipxe.clone(), ipxe].concat();
    assert_eq!(replay(&mut site, &capture!("bios-ipxe1-rom-then-undionly-ipxe2")), expected);
}

#[test]
fn uefi_http_boot() {
    let mut site = Site::server();
    let expected = ["OFFER http://192.0.2.1/snponly.efi 60 97", "ACK http://192.0.2.1/snponly.efi 60 97"];
    assert_eq!(replay(&mut site, &capture!("uefi-http-boot")), expected);
}

#[test]
fn ovmf_beside_another_server() {
    let (offer, ack) = ("OFFER snponly.efi 43 60 97", "ACK snponly.efi 43 60 97");
    // The broadcast REQUEST is to the other server.
    let left = "nothing: nothing is answered on this interface and port";
    assert_eq!(replay(&mut Site::proxy(), &capture!("proxy-one-step-opt60-opt43")), [offer, left]);
    assert_eq!(replay(&mut Site::proxy(), &capture!("proxy-dnsmasq-answers-on-4011")), [offer, left, ack]);
    assert_eq!(replay(&mut Site::proxy(), &capture!("proxy-opt60-goes-to-4011-unanswered")), [offer, left, ack, ack, ack, ack]);
    assert_eq!(replay(&mut Site::proxy(), &capture!("proxy-without-opt60-ignored")), [offer; 3]);
}

#[test]
fn ipxe_beside_another_server() {
    let mut site = Site::proxy();
    let (left, script) = ("nothing: nothing is answered on this interface and port", format!("http://{PROXY_SCRIPT_HOST}/autoexec.ipxe"));
    let offer = format!("OFFER {script} 43 60 97 224 225");
    let expected = ["OFFER snponly.efi 43 60 97", left, &offer, &offer, left, &offer, &offer, left];
    assert_eq!(replay(&mut site, &capture!("uefi-ovmf-then-ipxe2")), expected);
}

#[test]
fn every_answer_is_by_this_server_and_to_this_transaction() {
    for captured in [capture!("uefi-ovmf-then-ipxe2"), capture!("bios-ipxe1-rom-then-undionly-ipxe2"), capture!("uefi-http-boot")] {
        let mut site = Site::server();
        for request in captured {
            let heard = site.hear_octets(&in_our_pool(&request.octets), &request.source, request.destination, request.port);
            assert_eq!((heard.answer().xid(), heard.answer().chaddr()), (&request.octets[4..8], &request.octets[28..44]));
            assert_eq!(heard.answer().addresses(54), [SERVER]);
        }
    }
}
