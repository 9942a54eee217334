//! RFC 2131, section 1: manual allocation, addresses kept for one client each.

use std::net::Ipv4Addr;

use super::Case;
use crate::message::{ACK, Message, NAK, code, encoded};
use crate::server::Product::{Edge, Kea};
use crate::site::Profile::{Plain, Policy};
use crate::site::{RELAY, RESERVED_BY_CIRCUIT, RESERVED_BY_IDENTIFIER, RESERVED_INSIDE, RESERVED_OUTSIDE, expect, expect_eq};
use crate::wire::Path;

pub(super) const CASES: &[Case] = &[
    Case::new("rfc2131_1_reserved_address_outside_of_the_pools_is_given_to_its_client", Plain, |site| {
        let (mac, address) = RESERVED_OUTSIDE;
        expect_eq("the address", site.lease(&Message::discover(mac), Path::Broadcast)?.yiaddr, address)
    }),
    Case::new("rfc2131_1_reserved_address_inside_of_the_pools_is_given_to_its_client", Plain, |site| {
        let (mac, address) = RESERVED_INSIDE;
        expect_eq("the address", site.lease(&Message::discover(mac), Path::Broadcast)?.yiaddr, address)
    }),
    Case::new("rfc2131_1_reserved_address_is_offered_to_nobody_else", Plain, |site| {
        for (_, address) in [RESERVED_OUTSIDE, RESERVED_INSIDE] {
            let discover = Message::discover(site.new_mac()).with_address(code::REQUESTED_ADDRESS, address);
            let offered = site.offer(&discover, Path::Broadcast)?.yiaddr;
            expect(offered != address, || format!("{address} is offered to a stranger"))?;
        }
        Ok(())
    }),
    Case::new("rfc2131_1_client_with_a_reservation_that_asks_for_another_address_is_offered_its_own", Plain, |site| {
        let (mac, address) = RESERVED_OUTSIDE;
        let discover = Message::discover(mac).with_address(code::REQUESTED_ADDRESS, Ipv4Addr::new(192, 0, 2, 235));
        expect_eq("the address", site.offer(&discover, Path::Broadcast)?.yiaddr, address)
    }),
    Case::new("rfc2131_4_3_2_client_with_a_reservation_may_not_go_on_with_another_address", Plain, |site| {
        let (mac, address) = RESERVED_OUTSIDE;
        site.lease(&Message::discover(mac), Path::Broadcast)?;
        let request = Message::request(mac).with_address(code::REQUESTED_ADDRESS, Ipv4Addr::new(192, 0, 2, 235));
        expect_eq("the message type", site.wire.ask(&request, Path::Broadcast)?.message.kind(), Some(NAK))?;
        let request = Message::request(mac).with_address(code::REQUESTED_ADDRESS, address);
        expect_eq("the message type", site.wire.ask(&request, Path::Broadcast)?.message.kind(), Some(ACK))
    }),
    Case::new("rfc2132_9_14_reservation_by_client_identifier_holds_for_any_hardware", Policy, |site| {
        let (identifier, address) = RESERVED_BY_IDENTIFIER;
        let discover = Message::discover(site.new_mac()).with(code::CLIENT_IDENTIFIER, identifier);
        expect_eq("the address", site.lease(&discover, Path::Broadcast)?.yiaddr, address)
    }),
    Case::new("rfc2132_3_14_host_name_of_a_reservation_is_told_to_its_client", Policy, |site| {
        let (identifier, _) = RESERVED_BY_IDENTIFIER;
        let discover = Message::discover(site.new_mac()).with(code::CLIENT_IDENTIFIER, identifier).asks_for(&[code::HOST_NAME]);
        let offer = site.offer(&discover, Path::Broadcast)?;
        let name = offer.option(code::HOST_NAME).map(|name| String::from_utf8_lossy(&name).into_owned());
        expect(name.as_deref().is_some_and(|name| name.split('.').next() == Some("cam-7")), || format!("option 12 is {name:?}"))
    }),
    Case::new("rfc3046_3_1_reservation_by_circuit_holds_for_whoever_is_there", Policy, |site| {
        let (circuit, address) = RESERVED_BY_CIRCUIT;
        let agent = encoded(&[(1, circuit.to_vec())]);
        let discover = Message::discover(site.new_mac()).relayed_by(RELAY).with(code::RELAY_INFORMATION, &agent);
        expect_eq("the address", site.lease(&discover, Path::Relay(RELAY))?.yiaddr, address)
    })
    .only(&[Edge, Kea]),
];
