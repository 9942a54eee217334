//! RFC 2131, section 4.3: the messages of a client in each of its states.

use std::net::Ipv4Addr;

use fairlead::failure::Result;

use super::Case;
use crate::message::{ACK, DECLINE, INFORM, Message, NAK, code};
use crate::site::Profile::Plain;
use crate::site::{LEASE, SERVER, SMALL, Site, expect, expect_eq, selecting};
use crate::wire::Path;

pub(super) const CASES: &[Case] = &[
    Case::new("rfc2131_3_1_discover_is_offered_an_address_with_server_mask_and_lease_time", Plain, |site| {
        let offer = site.offer(&Message::discover(site.new_mac()), Path::Broadcast)?;
        expect_eq("the server identifier", offer.option_address(code::SERVER_IDENTIFIER), Some(SERVER))?;
        expect_eq("the mask", offer.option_address(code::SUBNET_MASK), Some(Ipv4Addr::new(255, 255, 255, 0)))?;
        expect_eq("the lease time", offer.option_number(code::LEASE_TIME), Some(LEASE))?;
        expect_eq("ciaddr", offer.ciaddr, Ipv4Addr::UNSPECIFIED)
    }),
    Case::new("rfc2131_2_answer_repeats_transaction_hardware_address_and_flags", Plain, |site| {
        let discover = Message::discover(site.new_mac()).wants_broadcast();
        let offer = site.offer(&discover, Path::Broadcast)?;
        expect_eq("op", offer.op, 2)?;
        expect_eq("hlen and chaddr", (offer.hlen, offer.chaddr), (6, discover.chaddr))?;
        expect_eq("the broadcast flag", offer.broadcast, true)?;
        expect_eq("hops and secs", (offer.hops, offer.secs), (0, 0))
    }),
    Case::new("rfc2131_3_1_discover_repeated_is_offered_the_same_address", Plain, |site| {
        let mac = site.new_mac();
        let first = site.offer(&Message::discover(mac), Path::Broadcast)?;
        let second = site.offer(&Message::discover(mac), Path::Broadcast)?;
        expect_eq("the second offer", second.yiaddr, first.yiaddr)
    }),
    Case::new("rfc2131_4_3_2_selecting_is_acknowledged_with_the_offered_address_and_options", Plain, |site| {
        let discover = Message::discover(site.new_mac());
        let offer = site.offer(&discover, Path::Broadcast)?;
        let answer = site.wire.ask(&selecting(&discover, &offer), Path::Broadcast)?.message;
        expect_eq("the message type", answer.kind(), Some(ACK))?;
        expect_eq("the address", answer.yiaddr, offer.yiaddr)?;
        for option in [code::SUBNET_MASK, code::ROUTERS, code::NAME_SERVERS, code::DOMAIN_NAME, code::LEASE_TIME, code::RENEWAL_TIME] {
            expect_eq(&format!("option {option}"), answer.option(option), offer.option(option))?;
        }
        Ok(())
    }),
    Case::new("rfc2131_4_3_2_selecting_repeated_is_acknowledged_again", Plain, |site| {
        let discover = Message::discover(site.new_mac());
        let request = selecting(&discover, &site.offer(&discover, Path::Broadcast)?);
        let first = site.wire.ask(&request, Path::Broadcast)?.message;
        let second = site.wire.ask(&request, Path::Broadcast)?.message;
        expect_eq("both answers", (first.kind(), second.kind()), (Some(ACK), Some(ACK)))?;
        expect_eq("the second address", second.yiaddr, first.yiaddr)
    }),
    Case::new("rfc2131_4_3_2_selecting_of_another_server_is_not_answered", Plain, |site| {
        let discover = Message::discover(site.new_mac());
        let offer = site.offer(&discover, Path::Broadcast)?;
        let request = selecting(&discover, &offer).with_address(code::SERVER_IDENTIFIER, Ipv4Addr::new(192, 0, 2, 9));
        site.wire.expect_silence(&request, Path::Broadcast)
    }),
    Case::new("rfc2131_3_1_offer_is_free_again_when_the_client_selects_another_server", Plain, |site| {
        let [.., relay] = SMALL;
        let path = Path::Relay(Ipv4Addr::new(192, 0, 2, 50));
        let clients = [site.new_mac(), site.new_mac()].map(|mac| Message::discover(mac).relayed_by(relay));
        for discover in &clients {
            let offer = site.offer(discover, path)?;
            let request = selecting(discover, &offer).with_address(code::SERVER_IDENTIFIER, Ipv4Addr::new(192, 0, 2, 9));
            site.wire.expect_silence(&request, path)?;
        }
        // Both addresses of that network were offered, and both were turned down.
        site.offer(&Message::discover(site.new_mac()).relayed_by(relay), path).map(drop)
    }),
    Case::new("rfc2131_4_3_2_init_reboot_of_a_known_client_is_acknowledged", Plain, |site| {
        let (mac, address) = site.new_client()?;
        let answer = site.wire.ask(&Message::request(mac).with_address(code::REQUESTED_ADDRESS, address), Path::Broadcast)?.message;
        expect_eq("type and address", (answer.kind(), answer.yiaddr), (Some(ACK), address))?;
        expect_eq("the lease time", answer.option_number(code::LEASE_TIME), Some(LEASE))
    }),
    Case::new("rfc2131_4_3_2_init_reboot_of_an_unknown_client_stays_silent", Plain, |site| {
        let request = Message::request(site.new_mac()).with_address(code::REQUESTED_ADDRESS, Ipv4Addr::new(192, 0, 2, 240));
        site.wire.expect_silence(&request, Path::Broadcast)
    }),
    Case::new("rfc2131_4_3_2_init_reboot_with_an_address_of_another_network_is_refused", Plain, |site| {
        let (mac, _) = site.new_client()?;
        let request = Message::request(mac).with_address(code::REQUESTED_ADDRESS, Ipv4Addr::new(198, 51, 100, 7));
        refused(site, &request, Path::Broadcast)
    }),
    Case::new("rfc2131_4_3_2_init_reboot_with_an_address_other_than_its_own_is_refused", Plain, |site| {
        let (mac, address) = site.new_client()?;
        let (_, other) = site.new_client()?;
        expect(other != address, || format!("two clients have {address}"))?;
        refused(site, &Message::request(mac).with_address(code::REQUESTED_ADDRESS, other), Path::Broadcast)
    }),
    Case::new("rfc2131_4_3_2_refusal_is_broadcast_and_carries_neither_address_nor_lease_time", Plain, |site| {
        let (mac, _) = site.new_client()?;
        let request = Message::request(mac).with_address(code::REQUESTED_ADDRESS, Ipv4Addr::new(198, 51, 100, 7));
        let answer = site.wire.ask(&request, Path::Broadcast)?;
        expect_eq("the message type", answer.message.kind(), Some(NAK))?;
        expect_eq("where it went", answer.to, Ipv4Addr::BROADCAST)?;
        expect_eq("yiaddr", answer.message.yiaddr, Ipv4Addr::UNSPECIFIED)?;
        expect_eq("the server identifier", answer.message.option_address(code::SERVER_IDENTIFIER), Some(SERVER))?;
        expect_eq("the lease time", answer.message.option(code::LEASE_TIME), None)
    }),
    Case::new("rfc2131_4_3_2_request_without_any_address_is_not_answered", Plain, |site| {
        site.wire.expect_silence(&Message::request(site.new_mac()), Path::Broadcast)
    }),
    Case::new("rfc2131_4_3_2_renewing_is_acknowledged_by_unicast_to_the_clients_address", Plain, |site| {
        let (mac, address) = site.new_client()?;
        let answer = site.wire.ask(&Message::request(mac).at_address(address), Path::Unicast(address))?;
        expect_eq("the message type", answer.message.kind(), Some(ACK))?;
        expect_eq("the address", answer.message.yiaddr, address)?;
        expect_eq("where it went", (answer.to_mac, answer.to, answer.to_port), (mac, address, 68))?;
        expect_eq("the lease time", answer.message.option_number(code::LEASE_TIME), Some(LEASE))
    }),
    Case::new("rfc2131_4_3_2_rebinding_by_broadcast_is_acknowledged_by_unicast", Plain, |site| {
        let (mac, address) = site.new_client()?;
        let answer = site.wire.ask(&Message::request(mac).at_address(address), Path::BroadcastFrom(address))?;
        expect_eq("type and address", (answer.message.kind(), answer.message.yiaddr), (Some(ACK), address))?;
        expect_eq("where it went", (answer.to_mac, answer.to), (mac, address))
    }),
    Case::new("rfc2131_4_3_2_renewing_an_address_that_another_client_has_is_refused", Plain, |site| {
        let (mac, _) = site.new_client()?;
        let (_, other) = site.new_client()?;
        let answer = site.wire.ask(&Message::request(mac).at_address(other), Path::BroadcastFrom(other))?.message;
        expect_eq("the message type", answer.kind(), Some(NAK))
    }),
    Case::new("rfc2131_4_3_3_decline_is_not_answered_and_the_address_is_not_given_again", Plain, |site| {
        let (mac, address) = site.new_client()?;
        let decline =
            Message::new(DECLINE, mac).with_address(code::REQUESTED_ADDRESS, address).with_address(code::SERVER_IDENTIFIER, SERVER);
        site.wire.expect_silence(&decline, Path::Broadcast)?;
        let offer = site.offer(&Message::discover(mac), Path::Broadcast)?;
        expect(offer.yiaddr != address, || format!("{address} is offered to the client that declined it"))?;
        let other = site.offer(&Message::discover(site.new_mac()).with_address(code::REQUESTED_ADDRESS, address), Path::Broadcast)?;
        expect(other.yiaddr != address, || format!("{address} is offered to another client"))
    }),
    Case::new("rfc2131_4_3_3_decline_of_a_client_that_does_not_have_the_address_changes_nothing", Plain, |site| {
        let (mac, address) = site.new_client()?;
        let decline = Message::new(DECLINE, site.new_mac())
            .with_address(code::REQUESTED_ADDRESS, address)
            .with_address(code::SERVER_IDENTIFIER, SERVER);
        site.wire.expect_silence(&decline, Path::Broadcast)?;
        let answer = site.wire.ask(&Message::request(mac).at_address(address), Path::Unicast(address))?.message;
        expect_eq("type and address", (answer.kind(), answer.yiaddr), (Some(ACK), address))
    }),
    Case::new("rfc2131_4_3_4_release_is_not_answered_and_the_client_gets_the_address_again", Plain, |site| {
        let (mac, address) = site.new_client()?;
        let release = Message::new(crate::message::RELEASE, mac).at_address(address).with_address(code::SERVER_IDENTIFIER, SERVER);
        site.wire.expect_silence(&release, Path::Unicast(address))?;
        let again = site.lease(&Message::discover(mac), Path::Broadcast)?;
        expect_eq("the address", again.yiaddr, address)
    }),
    Case::new("rfc2131_4_3_4_release_of_a_client_that_does_not_have_the_address_changes_nothing", Plain, |site| {
        let (mac, address) = site.new_client()?;
        site.release(&Message::discover(site.new_mac()), address)?;
        let answer = site.wire.ask(&Message::request(mac).with_address(code::REQUESTED_ADDRESS, address), Path::Broadcast)?.message;
        expect_eq("type and address", (answer.kind(), answer.yiaddr), (Some(ACK), address))
    }),
    Case::new("rfc2131_4_3_5_inform_is_answered_without_address_and_lease_times", Plain, |site| {
        let answer = inform(site)?;
        expect_eq("yiaddr", answer.yiaddr, Ipv4Addr::UNSPECIFIED)?;
        for option in [code::LEASE_TIME, code::RENEWAL_TIME, code::REBINDING_TIME] {
            expect_eq(&format!("option {option}"), answer.option(option), None)?;
        }
        Ok(())
    }),
    Case::new("rfc2131_4_3_5_inform_is_answered_with_the_options_of_the_network", Plain, |site| {
        let answer = inform(site)?;
        expect_eq("the server identifier", answer.option_address(code::SERVER_IDENTIFIER), Some(SERVER))?;
        expect_eq("the name servers", answer.option_address(code::NAME_SERVERS), Some(Ipv4Addr::new(192, 0, 2, 53)))?;
        expect_eq("the domain", answer.option(code::DOMAIN_NAME), Some(b"site.example".to_vec()))
    }),
    Case::new("rfc2131_4_3_5_inform_is_answered_by_unicast_to_ciaddr", Plain, |site| {
        let (mac, address) = (site.new_mac(), Ipv4Addr::new(192, 0, 2, 31));
        site.wire.takes(address, mac);
        let answer = site.wire.ask(&Message::new(INFORM, mac).at_address(address), Path::BroadcastFrom(address))?;
        expect_eq("where it went", (answer.to_mac, answer.to, answer.to_port), (mac, address, 68))
    }),
    Case::new("rfc2131_2_answers_of_other_servers_are_not_answered", Plain, |site| {
        let mut reply = Message::discover(site.new_mac());
        reply.op = 2;
        site.wire.expect_silence(&reply, Path::Broadcast)
    }),
];

fn refused(site: &Site, request: &Message, path: Path) -> Result<()> {
    let answer = site.wire.ask(request, path)?.message;
    expect_eq("the message type", answer.kind(), Some(NAK))
}

fn inform(site: &Site) -> Result<Message> {
    let (mac, address) = (site.new_mac(), Ipv4Addr::new(192, 0, 2, 30));
    site.wire.takes(address, mac);
    let message = Message::new(INFORM, mac).at_address(address).asks_for(&[
        code::SUBNET_MASK,
        code::ROUTERS,
        code::NAME_SERVERS,
        code::DOMAIN_NAME,
        code::LEASE_TIME,
        code::RENEWAL_TIME,
    ]);
    let answer = site.wire.ask(&message, Path::BroadcastFrom(address))?.message;
    expect_eq("the message type", answer.kind(), Some(ACK))?;
    Ok(answer)
}
