//! RFC 2131, sections 4.1 to 4.3.1: who gets which address, and how the answer reaches a client that has none yet.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use fairlead::failure::Result;

use super::Case;
use crate::message::{ACK, Message, code};
use crate::server::Product::{Dnsmasq, Edge};
use crate::site::Profile::{Plain, RapidCommit};
use crate::site::{OTHER_RELAY, SERVER, SMALL, Site, expect, expect_eq, selecting};
use crate::wire::Path;

const RELAYED: Path = Path::Relay(Ipv4Addr::new(192, 0, 2, 50));

pub(super) const CASES: &[Case] = &[
    Case::new("rfc2131_4_1_client_that_wants_broadcast_is_answered_by_broadcast", Plain, |site| {
        let answer = site.wire.ask(&Message::discover(site.new_mac()).wants_broadcast(), Path::Broadcast)?;
        expect_eq("where it went", (answer.to, answer.to_port), (Ipv4Addr::BROADCAST, 68))
    }),
    Case::new("rfc2131_4_1_client_without_an_address_is_answered_by_a_frame_to_its_hardware_address", Plain, |site| {
        let mac = site.new_mac();
        let answer = site.wire.ask(&Message::discover(mac), Path::Broadcast)?;
        expect_eq("where it went", (answer.to_mac, answer.to, answer.to_port), (mac, answer.message.yiaddr, 68))
    }),
    Case::new("rfc2131_4_1_answers_come_from_the_servers_address_and_port_67", Plain, |site| {
        let answer = site.wire.ask(&Message::discover(site.new_mac()), Path::Broadcast)?;
        expect_eq("where it came from", (answer.from, answer.from_port), (SERVER, 67))
    }),
    Case::new("rfc1542_2_1_answer_has_at_least_300_octets", Plain, |site| {
        let offer = site.offer(&Message::discover(site.new_mac()).asks_for(&[1]), Path::Broadcast)?;
        expect(offer.length >= 300, || format!("the answer has {} octets", offer.length))
    }),
    Case::new("rfc2131_4_3_1_client_that_has_a_lease_is_offered_its_address", Plain, |site| {
        let (mac, address) = site.new_client()?;
        expect_eq("the address", site.offer(&Message::discover(mac), Path::Broadcast)?.yiaddr, address)
    }),
    Case::new("rfc2131_4_3_1_address_that_the_client_wants_is_offered_when_it_is_free", Plain, |site| {
        let wanted = Ipv4Addr::new(192, 0, 2, 233);
        let discover = Message::discover(site.new_mac()).with_address(code::REQUESTED_ADDRESS, wanted);
        expect_eq("the address", site.offer(&discover, Path::Broadcast)?.yiaddr, wanted)
    }),
    Case::new("rfc2131_4_3_1_address_outside_of_the_pools_is_not_offered", Plain, |site| {
        for wanted in [Ipv4Addr::new(192, 0, 2, 254), SERVER, Ipv4Addr::new(192, 0, 2, 255), Ipv4Addr::new(203, 0, 113, 1)] {
            let discover = Message::discover(site.new_mac()).with_address(code::REQUESTED_ADDRESS, wanted);
            let offered = site.offer(&discover, Path::Broadcast)?.yiaddr;
            let [a, b, c, last] = offered.octets();
            expect([a, b, c] == [192, 0, 2] && (60..=249).contains(&last), || format!("{offered} is offered, and {wanted} was asked for"))?;
        }
        Ok(())
    }),
    Case::new("rfc2131_4_3_1_address_of_another_client_is_not_offered", Plain, |site| {
        let (_, taken) = site.new_client()?;
        let discover = Message::discover(site.new_mac()).with_address(code::REQUESTED_ADDRESS, taken);
        let offered = site.offer(&discover, Path::Broadcast)?.yiaddr;
        expect(offered != taken, || format!("{taken} is offered to two clients"))
    }),
    Case::new("rfc2131_4_3_1_address_offered_to_one_client_is_not_offered_to_another", Plain, |site| {
        let first = site.offer(&Message::discover(site.new_mac()), Path::Broadcast)?.yiaddr;
        let discover = Message::discover(site.new_mac()).with_address(code::REQUESTED_ADDRESS, first);
        let second = site.offer(&discover, Path::Broadcast)?.yiaddr;
        expect(second != first, || format!("{first} is offered to two clients at a time"))
    }),
    Case::new("rfc2131_4_2_client_identifiers_tell_clients_of_one_hardware_address_apart", Plain, |site| {
        let mac = site.new_mac();
        let first = site.lease(&Message::discover(mac).with(code::CLIENT_IDENTIFIER, b"\0one"), Path::Broadcast)?.yiaddr;
        let second = site.lease(&Message::discover(mac).with(code::CLIENT_IDENTIFIER, b"\0two"), Path::Broadcast)?.yiaddr;
        expect(first != second, || format!("both have {first}"))
    }),
    Case::new("rfc4361_6_1_client_keeps_its_address_when_its_hardware_changes", Plain, |site| {
        // RFC 4361, section 6.1: type 255, an identity association, a DUID.
        let identifier = [&[255, 0, 0, 0, 1, 0, 3, 0, 1][..], &site.new_mac().0].concat();
        let first = site.lease(&Message::discover(site.new_mac()).with(code::CLIENT_IDENTIFIER, &identifier), Path::Broadcast)?.yiaddr;
        let second = site.lease(&Message::discover(site.new_mac()).with(code::CLIENT_IDENTIFIER, &identifier), Path::Broadcast)?.yiaddr;
        expect_eq("the address with the other hardware", second, first)
    }),
    Case::new("rfc6842_3_client_identifier_is_repeated_in_offer_acknowledgement_and_refusal", Plain, |site| {
        let identifier = [&[255, 9, 9, 9, 9, 0, 3, 0, 1][..], &site.new_mac().0].concat();
        let discover = Message::discover(site.new_mac()).with(code::CLIENT_IDENTIFIER, &identifier);
        let offer = site.offer(&discover, Path::Broadcast)?;
        let acknowledgement = site.wire.ask(&selecting(&discover, &offer), Path::Broadcast)?.message;
        let wrong = Message::request(discover.mac())
            .with(code::CLIENT_IDENTIFIER, &identifier)
            .with_address(code::REQUESTED_ADDRESS, Ipv4Addr::new(198, 51, 100, 7));
        let refusal = site.wire.ask(&wrong, Path::Broadcast)?.message;
        for (what, message) in [("the offer", offer), ("the acknowledgement", acknowledgement), ("the refusal", refusal)] {
            expect_eq(&format!("option 61 of {what}"), message.option(code::CLIENT_IDENTIFIER), Some(identifier.clone()))?;
        }
        Ok(())
    }),
    Case::new("rfc6842_3_no_client_identifier_is_made_up", Plain, |site| {
        let offer = site.offer(&Message::discover(site.new_mac()), Path::Broadcast)?;
        expect_eq("option 61", offer.option(code::CLIENT_IDENTIFIER), None)
    }),
    Case::new("rfc2131_2_2_no_address_is_given_twice_to_interleaved_clients", Plain, |site| {
        let clients: Vec<Message> = (0..40).map(|_| Message::discover(site.new_mac()).relayed_by(OTHER_RELAY)).collect();
        let mut offers = HashMap::new();
        // Forwards, then backwards with every message twice, as a relay with two uplinks would send them.
        for discover in &clients {
            offers.insert(discover.mac(), site.offer(discover, RELAYED)?);
        }
        let mut given = HashSet::new();
        for discover in clients.iter().rev() {
            let Some(offer) = offers.get(&discover.mac()) else { continue };
            site.wire.send(discover, RELAYED)?;
            let request = selecting(discover, offer);
            site.wire.send(&request, RELAYED)?;
            let answer = site.wire.ask(&request, RELAYED)?.message;
            expect_eq("type and address", (answer.kind(), answer.yiaddr), (Some(ACK), offer.yiaddr))?;
            expect(given.insert(answer.yiaddr), || format!("{} is given twice", answer.yiaddr))?;
        }
        Ok(())
    }),
    Case::new("rfc2131_4_3_1_exhausted_pool_answers_nobody_and_serves_those_it_has", Plain, |site| {
        let [relay, ..] = SMALL;
        let clients = fill(site, relay)?;
        site.wire.expect_silence(&Message::discover(site.new_mac()).relayed_by(relay), RELAYED)?;
        for (discover, address) in &clients {
            expect_eq("the address of a client that has one", site.offer(discover, RELAYED)?.yiaddr, *address)?;
        }
        Ok(())
    }),
    Case::new("rfc2131_4_3_1_released_address_of_an_exhausted_pool_is_given_to_the_next_client", Plain, |site| {
        let [_, relay, ..] = SMALL;
        let clients = fill(site, relay)?;
        let Some((discover, address)) = clients.first() else { return Ok(()) };
        site.release(discover, *address)?;
        let offer = site.offer(&Message::discover(site.new_mac()).relayed_by(relay), RELAYED)?;
        expect_eq("the address", offer.yiaddr, *address)
    }),
    Case::new("rfc2131_2_2_address_that_has_been_free_for_longest_is_given_first", Plain, |site| {
        let [_, _, relay, ..] = SMALL;
        let clients = fill(site, relay)?;
        for (discover, address) in clients.iter().rev() {
            site.release(discover, *address)?;
            // Some servers count in seconds.
            std::thread::sleep(std::time::Duration::from_millis(1100));
        }
        let offer = site.offer(&Message::discover(site.new_mac()).relayed_by(relay), RELAYED)?;
        expect_eq("the address", Some(offer.yiaddr), clients.last().map(|(_, address)| *address))
    }),
    Case::new("rfc4039_3_1_discover_with_rapid_commit_is_acknowledged_at_once", RapidCommit, |site| {
        let mac = site.new_mac();
        let answer = site.wire.ask(&Message::discover(mac).with(code::RAPID_COMMIT, &[]), Path::Broadcast)?.message;
        expect_eq("the message type", answer.kind(), Some(ACK))?;
        expect_eq("option 80", answer.option(code::RAPID_COMMIT), Some(Vec::new()))?;
        site.wire.takes(answer.yiaddr, mac);
        let renewed = site.wire.ask(&Message::request(mac).at_address(answer.yiaddr), Path::Unicast(answer.yiaddr))?.message;
        expect_eq("the renewal", (renewed.kind(), renewed.yiaddr), (Some(ACK), answer.yiaddr))
    })
    .only(&[Edge, Dnsmasq]),
    Case::new("rfc4039_3_1_discover_without_rapid_commit_is_offered_as_ever", RapidCommit, |site| {
        let offer = site.offer(&Message::discover(site.new_mac()), Path::Broadcast)?;
        expect_eq("option 80", offer.option(code::RAPID_COMMIT), None)
    })
    .only(&[Edge, Dnsmasq]),
    Case::new("rfc4039_3_1_server_without_rapid_commit_makes_an_offer", Plain, |site| {
        let offer = site.offer(&Message::discover(site.new_mac()).with(code::RAPID_COMMIT, &[]), Path::Broadcast)?;
        expect_eq("option 80", offer.option(code::RAPID_COMMIT), None)
    }),
];

/// Leases both addresses of the relay's network.
fn fill(site: &Site, relay: Ipv4Addr) -> Result<Vec<(Message, Ipv4Addr)>> {
    let mut clients = Vec::new();
    for _ in 0..2 {
        let discover = Message::discover(site.new_mac()).relayed_by(relay);
        let address = site.lease(&discover, RELAYED)?.yiaddr;
        clients.push((discover, address));
    }
    Ok(clients)
}
