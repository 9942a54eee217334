//! Other DHCP servers on the segment.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::packet::Packet;
use super::site::{Heard, SERVER, Site};
use crate::clock::Timestamp;
use crate::edge::dhcp::{DropReason, InterfaceId, Notice};
use crate::wire::MacAddr;
use crate::wire::uplink::SiteEventKind;

const ETH1: InterfaceId = InterfaceId(0);
const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

/// What a server answers to a message: with an address, or as a proxyDHCP without.
fn offer(asked: &[u8], server: Ipv4Addr, given: Ipv4Addr) -> Vec<u8> {
    let mut octets = asked[..240].to_vec();
    octets[0] = 2;
    octets[16..20].copy_from_slice(&given.octets());
    octets[236..].copy_from_slice(&[99, 130, 83, 99]);
    octets.extend([53, 1, 2, 54, 4]);
    octets.extend(server.octets());
    octets.extend([60, 9]);
    octets.extend(b"PXEClient");
    octets.push(255);
    octets
}

fn config(mode: &str, more: &str) -> String {
    format!(
        r#"
        [[interface]]
        name = "eth1"
        mode = "{mode}"
        address = "192.0.2.1"
        {more}
        [[interface]]
        name = "eth2"
        mode = "{mode}"
        address = "198.51.100.1"
    "#
    )
}

const SUBNET: &str = r#"
    [[subnet]]
    network = "192.0.2.0/24"
    pools = ["192.0.2.100-192.0.2.119"]
    conflict_probe = false
    [[subnet]]
    network = "198.51.100.0/24"
    pools = ["198.51.100.50-198.51.100.60"]
    conflict_probe = false
"#;

fn watching(mode: &str, more: &str) -> Site {
    let subnets = if mode == "server" { SUBNET } else { "" };
    let mut site = Site::with_config(&(config(mode, more) + subnets));
    site.engine.watch(site.now, ETH1, OURS, 7);
    site
}

impl Site {
    /// Lets seconds go by; `answer` is what a server on the segment says to each look.
    fn seconds(&mut self, seconds: u64, answer: Option<(Ipv4Addr, Ipv4Addr)>) -> Heard {
        let end = self.now.after(Duration::from_secs(seconds));
        let mut all = Heard::default();
        while let Some(next) = self.engine.next_tick().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            let due = self.engine.tick(self.now);
            let mut heard = self.act(due);
            if let Some((server, given)) = answer.filter(|_| !heard.looks.is_empty()) {
                self.server_says(&offer(&heard.looks[0], server, given));
            }
            all.looks.append(&mut heard.looks);
            all.reports.append(&mut heard.reports);
        }
        self.now = end;
        all
    }

    fn server_says(&mut self, datagram: &[u8]) {
        let notice = Notice::FromServer { mac: THEIRS, source: "192.0.2.9:67".parse().unwrap(), datagram };
        let due = self.engine.noticed(self.now, ETH1, &notice);
        assert!(due.is_empty());
    }
}

const OFFERED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);

#[test]
fn nothing_is_promised_while_the_first_look_runs_and_all_is_when_nobody_answers() {
    let mut site = watching("server", "");
    assert_eq!(site.seconds(2, None).looks.len(), 3);
    assert_eq!(site.hear(&Packet::discover()).silence(), DropReason::FirstLook);
    site.seconds(2, None);
    assert_eq!(site.hear(&Packet::discover()).answer().kind(), "OFFER");
}

#[test]
fn a_server_that_answers_silences_ours_until_it_is_gone_and_both_are_reported() {
    let mut site = watching("server", "");
    let heard = site.seconds(5, Some((OTHER, OFFERED)));
    let told = SiteEventKind::OtherServer { interface: "eth1".to_owned(), server: OTHER, silent: true };
    assert_eq!((heard.reported(), heard.reports[0].mac), (vec![told], Some(THEIRS)));
    assert_eq!(site.hear(&Packet::discover()).silence(), DropReason::OtherServerThere);
    assert_eq!(site.seconds(600, Some((OTHER, OFFERED))).reports.len(), 0, "said once");
    assert_eq!(site.hear(&Packet::discover()).silence(), DropReason::OtherServerThere);
    let heard = site.seconds(70, None);
    assert_eq!(heard.reported(), [SiteEventKind::OtherServerGone { interface: "eth1".to_owned(), server: OTHER }]);
    assert_eq!(site.hear(&Packet::discover()).answer().kind(), "OFFER");
}

#[test]
fn what_was_promised_is_kept_while_another_server_is_there() {
    let mut site = watching("server", "");
    site.seconds(4, None);
    let own = site.lease(1);
    let offered = site.hear(&Packet::discover().mac(2)).answer().yiaddr();
    // Within its next look.
    site.seconds(75, Some((OTHER, OFFERED)));
    let kind = |heard: Heard| heard.answer().kind().to_owned();
    assert_eq!(kind(site.hear_unicast(&Packet::request().mac(1).ciaddr(own), own)), "ACK", "renewing");
    assert_eq!(kind(site.hear(&Packet::request().mac(1).ciaddr(own))), "ACK", "rebinding");
    assert_eq!(kind(site.hear(&Packet::request().mac(1).address(50, own))), "ACK", "init-reboot");
    assert_eq!(kind(site.hear(&Packet::request().mac(2).address(54, SERVER).address(50, offered))), "ACK", "it names us");
    // What the other server may have given is not refused.
    let elsewhere = Ipv4Addr::new(203, 0, 113, 9);
    assert_eq!(site.hear(&Packet::request().mac(3).address(50, elsewhere)).silence(), DropReason::OtherServerThere);
    assert_eq!(site.hear(&Packet::request().mac(3).ciaddr(OFFERED)).silence(), DropReason::OtherServerThere);
    // A relay asks whom it was told to ask.
    let relayed = Packet::discover().mac(4).relayed(Ipv4Addr::new(198, 51, 100, 1)).build();
    assert_eq!(kind(site.hear_octets(&relayed, "198.51.100.1:67", SERVER, 67)), "OFFER");
}

#[test]
fn an_authoritative_interface_is_never_silent_and_says_what_it_heard() {
    let mut site = watching("server", "authoritative = true");
    assert_eq!(site.hear(&Packet::discover()).answer().kind(), "OFFER");
    let heard = site.seconds(5, Some((OTHER, OFFERED)));
    assert_eq!(heard.reported(), [SiteEventKind::OtherServer { interface: "eth1".to_owned(), server: OTHER, silent: false }]);
    assert_eq!(site.hear(&Packet::discover().mac(1)).answer().kind(), "OFFER");
}

#[test]
fn a_client_that_names_another_server_has_it_looked_for_at_once() {
    let mut site = watching("server", "");
    site.seconds(10, None);
    let request = Packet::request().mac(1).address(54, OTHER).address(50, OFFERED);
    assert_eq!(site.hear_octets(&request.clone().relayed(SERVER).build(), "192.0.2.1:67", SERVER, 67).silence(), DropReason::OtherServer);
    assert_eq!(site.seconds(2, Some((OTHER, OFFERED))).looks.len(), 0, "a relayed one comes from elsewhere");
    site.hear(&request);
    assert_eq!(site.hear(&Packet::discover().mac(3)).answer().kind(), "OFFER", "anybody could have made it up");
    assert_eq!(site.seconds(1, Some((OTHER, OFFERED))).reports.len(), 1);
    assert_eq!(site.hear(&Packet::discover().mac(4)).silence(), DropReason::OtherServerThere);
}

#[test]
fn made_up_messages_silence_nobody() {
    let mut site = watching("server", "");
    site.seconds(10, None);
    let mut looks = 0;
    for number in 0..120_u8 {
        let server = Ipv4Addr::new(192, 0, 2, number);
        site.hear(&Packet::request().mac(number).address(54, server).address(50, OFFERED));
        // An answer to nobody, to another machine, and to a transaction that we have not begun.
        for (at, octet) in [(4, 0), (28, 6), (4, number)] {
            let mut forged = offer(&Packet::discover().mac(9).build(), server, OFFERED);
            forged[28..34].copy_from_slice(&OURS.0);
            forged[at] = octet;
            site.server_says(&forged);
        }
        assert_eq!(site.hear(&Packet::discover().mac(200)).answer().kind(), "OFFER");
        let heard = site.seconds(1, None);
        assert_eq!(heard.reports.len(), 0);
        looks += heard.looks.len();
        site.wait(1);
    }
    assert!((60..=90).contains(&looks), "three in nine seconds at most: {looks}");
}

#[test]
fn a_server_that_is_gone_silences_ours_for_half_a_minute_at_most() {
    let mut site = watching("server", "");
    site.seconds(300, Some((OTHER, OFFERED)));
    assert_eq!(site.hear(&Packet::discover()).silence(), DropReason::OtherServerThere);
    let heard = site.seconds(30, None);
    assert_eq!(heard.reported(), [SiteEventKind::OtherServerGone { interface: "eth1".to_owned(), server: OTHER }]);
    assert_eq!(site.hear(&Packet::discover()).answer().kind(), "OFFER");
}

#[test]
fn of_two_boxes_that_begin_together_one_serves_in_the_end() {
    let macs = [OURS, THEIRS];
    for seed in 0..20 {
        let mut boxes = [SERVER, OTHER].map(|address| {
            let text = (config("server", "") + SUBNET).replace(&format!("address = \"{SERVER}\""), &format!("address = \"{address}\""));
            Site::with_config(&text)
        });
        for (site, mac) in boxes.iter_mut().zip(macs) {
            site.engine.watch(site.now, ETH1, mac, seed * 1000 + u64::from(mac.0[5]));
        }
        let mut serving = Vec::new();
        for tenth in 0..3000_u32 {
            for place in [0, 1] {
                boxes[place].now = boxes[place].now.after(Duration::from_millis(100));
                let now = boxes[place].now;
                let due = if boxes[place].engine.is_tick_due(now) { boxes[place].engine.tick(now) } else { Vec::new() };
                for look in boxes[place].act(due).looks {
                    let answers = boxes[1 - place].hear_octets(&look, "0.0.0.0:68", Ipv4Addr::BROADCAST, 67).answers;
                    for (_, _, answer) in answers {
                        let (mac, source) = (macs[1 - place], "192.0.2.9:67".parse().unwrap());
                        let notice = Notice::FromServer { mac, source, datagram: answer.octets() };
                        assert!(boxes[place].engine.noticed(now, ETH1, &notice).is_empty());
                    }
                }
            }
            if tenth % 10 == 0 {
                let asks = Packet::discover().mac(u8::try_from(tenth / 10 % 5).unwrap());
                serving.push(boxes.each_mut().map(|site| !site.hear(&asks).answers.is_empty()));
            }
        }
        let both = serving.iter().filter(|serving| **serving == [true, true]).count();
        let late = &serving[200..];
        assert!(both < 80 && late.iter().all(|serving| serving[0] != serving[1]), "{both} seconds, then {late:?}");
    }
}

#[test]
fn a_proxy_is_no_rival_and_neither_are_we() {
    let mut site = watching("server", "");
    for (server, given) in [(OTHER, Ipv4Addr::UNSPECIFIED), (SERVER, OFFERED), (Ipv4Addr::new(198, 51, 100, 1), OFFERED)] {
        assert_eq!(site.seconds(70, Some((server, given))).reports.len(), 0);
        assert_eq!(site.hear(&Packet::discover().mac(1)).answer().kind(), "OFFER");
    }
}

#[test]
fn our_own_look_is_not_answered_whoever_brings_it_back() {
    let mut site = watching("server", "authoritative = true");
    let look = site.seconds(0, None).looks.remove(0);
    assert_eq!(site.hear_octets(&look, "0.0.0.0:68", Ipv4Addr::BROADCAST, 67).silence(), DropReason::OwnLook);
    let mut relayed = look.clone();
    relayed[24..28].copy_from_slice(&[198, 51, 100, 1]);
    assert_eq!(site.hear_octets(&relayed, "198.51.100.1:67", SERVER, 67).silence(), DropReason::OwnLook);
    // Another box's is: it wants to know that we are there.
    let mut others = look;
    others[28..34].copy_from_slice(&THEIRS.0);
    let identifier = others.windows(8).position(|octets| octets == b"fairlead").unwrap() + 8;
    others[identifier..identifier + 6].copy_from_slice(&THEIRS.0);
    assert_eq!(site.hear_octets(&others, "0.0.0.0:68", Ipv4Addr::BROADCAST, 67).answer().kind(), "OFFER");
}

#[test]
fn a_proxy_keeps_answering_whoever_is_there() {
    let mut site = watching("proxy", "");
    let boots = Packet::discover().option(60, b"PXEClient:Arch:00007:UNDI:003000").option(93, &[0, 7]);
    assert_eq!(site.hear(&boots).answer().kind(), "OFFER");
    assert_eq!(site.seconds(5, Some((OTHER, OFFERED))).reports.len(), 0);
    assert_eq!(site.hear(&boots).answer().kind(), "OFFER");
}

#[test]
fn a_proxy_looks_at_once_too_when_a_client_names_a_server() {
    let mut site = watching("proxy", "");
    site.seconds(10, None);
    let request = Packet::request().mac(1).address(54, OTHER).address(50, OFFERED);
    site.hear(&request);
    let heard = site.seconds(2, None);
    assert_eq!((heard.looks.len(), heard.reports.len()), (2, 0));
}

#[test]
fn a_clock_that_is_set_back_silences_nobody() {
    let mut site = watching("server", "");
    site.seconds(2, None);
    assert_eq!(site.hear(&Packet::discover()).silence(), DropReason::FirstLook);
    // As a box does whose hardware clock runs by local time, when the network tells it the time.
    site.now = Timestamp(site.now.0 - 7_200_000);
    for _ in 0..70 {
        site.now = site.now.after(Duration::from_secs(1));
        if site.engine.is_tick_due(site.now) {
            let due = site.engine.tick(site.now);
            site.act(due);
        }
    }
    assert_eq!(site.hear(&Packet::discover()).answer().kind(), "OFFER");
}
