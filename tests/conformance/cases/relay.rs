//! Clients behind relays: RFC 2131, section 4.1, RFC 3046 and its sub-options, RFC 3011.

use std::net::Ipv4Addr;

use fairlead::failure::Result;

use super::Case;
use crate::message::{ACK, Message, NAK, code, encoded};
use crate::site::Profile::Plain;
use crate::site::{OTHER_RELAY, RELAY, SERVER, Site, UNKNOWN_RELAY, expect, expect_eq, selecting};
use crate::wire::Path;

/// Circuit, remote id, and a sub-option that no standard knows.
const AGENT: &[u8] = &[1, 4, 0, 1, 2, 3, 2, 6, 2, 0, 0, 0, 0, 9, 200, 2, 0xab, 0xcd];

pub(super) const CASES: &[Case] = &[
    Case::new("rfc2131_4_3_1_client_behind_a_relay_gets_an_address_of_the_relays_network", Plain, |site| {
        let lease = site.lease(&relayed(site, RELAY), via(RELAY))?;
        in_network_of(RELAY, lease.yiaddr)
    }),
    Case::new("rfc2131_4_1_answer_to_a_relay_goes_to_its_port_67", Plain, |site| {
        let answer = site.wire.ask(&relayed(site, RELAY), via(RELAY))?;
        expect_eq("where it went", (answer.to, answer.to_port), (RELAY, 67))?;
        expect_eq("giaddr", answer.message.giaddr, RELAY)
    }),
    Case::new("rfc2131_4_3_2_refusal_to_a_relay_has_the_broadcast_bit", Plain, |site| {
        let request = Message::request(site.new_mac())
            .relayed_by(RELAY)
            .with_address(code::REQUESTED_ADDRESS, Ipv4Addr::new(198, 51, 100, 7))
            .with_address(code::SERVER_IDENTIFIER, SERVER);
        let answer = site.wire.ask(&request, via(RELAY))?;
        expect_eq("the message type", answer.message.kind(), Some(NAK))?;
        expect_eq("where it went", (answer.to, answer.to_port), (RELAY, 67))?;
        expect_eq("the broadcast bit", answer.message.broadcast, true)
    }),
    Case::new("rfc2131_4_3_1_relay_of_an_unknown_network_is_not_answered", Plain, |site| {
        site.wire.expect_silence(&relayed(site, UNKNOWN_RELAY), via(UNKNOWN_RELAY))
    }),
    Case::new("rfc2131_4_3_2_client_behind_a_relay_renews_by_unicast_through_routers", Plain, |site| {
        let discover = relayed(site, RELAY);
        let address = site.lease(&discover, via(RELAY))?.yiaddr;
        let answer = site.wire.ask(&Message::request(discover.mac()).at_address(address), Path::Unicast(address))?;
        expect_eq("type and address", (answer.message.kind(), answer.message.yiaddr), (Some(ACK), address))?;
        expect_eq("where it went", (answer.to, answer.to_port), (address, 68))
    }),
    Case::new("rfc3046_2_2_relay_information_is_repeated_octet_for_octet", Plain, |site| {
        let discover = relayed(site, RELAY).with(code::RELAY_INFORMATION, AGENT);
        let offer = site.offer(&discover, via(RELAY))?;
        expect_eq("option 82 of the offer", offer.option(code::RELAY_INFORMATION), Some(AGENT.to_vec()))?;
        let answer = site.wire.ask(&selecting(&discover, &offer), via(RELAY))?.message;
        expect_eq("option 82 of the acknowledgement", answer.option(code::RELAY_INFORMATION), Some(AGENT.to_vec()))
    }),
    Case::new("rfc3046_2_2_relay_information_is_the_last_option", Plain, |site| {
        let offer = site.offer(&relayed(site, RELAY).with(code::RELAY_INFORMATION, AGENT), via(RELAY))?;
        expect_eq("the last option", offer.codes().last().copied(), Some(code::RELAY_INFORMATION))
    }),
    Case::new("rfc3046_2_2_refusal_repeats_relay_information", Plain, |site| {
        let request = Message::request(site.new_mac())
            .relayed_by(RELAY)
            .with_address(code::REQUESTED_ADDRESS, Ipv4Addr::new(198, 51, 100, 7))
            .with_address(code::SERVER_IDENTIFIER, SERVER)
            .with(code::RELAY_INFORMATION, AGENT);
        let answer = site.wire.ask(&request, via(RELAY))?.message;
        expect_eq("the message type", answer.kind(), Some(NAK))?;
        expect_eq("option 82", answer.option(code::RELAY_INFORMATION), Some(AGENT.to_vec()))
    }),
    Case::new("rfc3527_2_link_selection_names_the_network_and_the_relay_gets_the_answer", Plain, |site| {
        let agent = encoded(&[(1, b"port-1".to_vec()), (5, network_of(OTHER_RELAY).octets().to_vec())]);
        let answer = site.wire.ask(&relayed(site, RELAY).with(code::RELAY_INFORMATION, &agent), via(RELAY))?;
        in_network_of(OTHER_RELAY, answer.message.yiaddr)?;
        expect_eq("where it went", answer.to, RELAY)?;
        expect_eq("option 82", answer.message.option(code::RELAY_INFORMATION), Some(agent))
    }),
    Case::new("rfc3011_2_subnet_selection_names_the_network_and_is_repeated", Plain, |site| {
        let network = network_of(OTHER_RELAY);
        let answer = site.wire.ask(&relayed(site, RELAY).with_address(code::SUBNET_SELECTION, network), via(RELAY))?.message;
        in_network_of(OTHER_RELAY, answer.yiaddr)?;
        expect_eq("option 118", answer.option_address(code::SUBNET_SELECTION), Some(network))
    }),
    Case::new("rfc5107_4_server_identifier_is_the_one_that_the_relay_asks_for", Plain, |site| {
        let discover = relayed(site, RELAY).with(code::RELAY_INFORMATION, &overriding());
        let offer = site.offer(&discover, via(RELAY))?;
        expect_eq("the server identifier", offer.option_address(code::SERVER_IDENTIFIER), Some(RELAY))?;
        let answer = site.wire.ask(&selecting(&discover, &offer), via(RELAY))?.message;
        expect_eq("type and address", (answer.kind(), answer.yiaddr), (Some(ACK), offer.yiaddr))?;
        expect_eq("the server identifier", answer.option_address(code::SERVER_IDENTIFIER), Some(RELAY))
    }),
    Case::new("rfc5107_4_renewal_through_the_relay_is_acknowledged", Plain, |site| {
        let discover = relayed(site, RELAY).with(code::RELAY_INFORMATION, &overriding());
        let offer = site.offer(&discover, via(RELAY))?;
        let leased = site.wire.ask(&selecting(&discover, &offer), via(RELAY))?.message;
        // The client unicasts to what it believes to be its server, and the relay hands that on.
        let renewal =
            Message::request(discover.mac()).at_address(leased.yiaddr).relayed_by(RELAY).with(code::RELAY_INFORMATION, &overriding());
        let answer = site.wire.ask(&renewal, via(RELAY))?.message;
        expect_eq("type and address", (answer.kind(), answer.yiaddr), (Some(ACK), leased.yiaddr))
    }),
];

fn relayed(site: &Site, relay: Ipv4Addr) -> Message {
    Message::discover(site.new_mac()).relayed_by(relay)
}

fn via(relay: Ipv4Addr) -> Path {
    Path::Relay(relay)
}

fn overriding() -> Vec<u8> {
    encoded(&[(1, b"port-1".to_vec()), (11, RELAY.octets().to_vec())])
}

fn network_of(relay: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = relay.octets();
    Ipv4Addr::new(a, b, c, 0)
}

fn in_network_of(relay: Ipv4Addr, address: Ipv4Addr) -> Result<()> {
    expect(network_of(address) == network_of(relay), || format!("{address} is not of the network of {relay}"))
}
