//! Several networks on one link: what Kea calls shared networks.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use fairlead::failure::{Failure, Result};

use super::Case;
use crate::message::{ACK, Message, NAK, code};
use crate::site::Profile::Plain;
use crate::site::{SHARED, Site, expect_eq};
use crate::wire::Path;

pub(super) const CASES: &[Case] = &[
    Case::new("shared_network_gives_addresses_of_the_next_subnet_with_its_mask_when_the_first_is_full", Plain, |site| {
        let leases = fill(site, 0)?;
        let masks: BTreeMap<Ipv4Addr, Option<Ipv4Addr>> =
            leases.iter().map(|lease| (lease.yiaddr, lease.option_address(code::SUBNET_MASK))).collect();
        let (wide, narrow) = (Some(Ipv4Addr::new(255, 255, 255, 0)), Some(Ipv4Addr::new(255, 255, 255, 128)));
        let expected = [(21, 100, wide), (21, 101, wide), (22, 100, narrow), (22, 101, narrow)];
        let expected = expected.map(|(second, last, mask)| (Ipv4Addr::new(10, second, 0, last), mask));
        expect_eq("four addresses and their masks", masks, BTreeMap::from(expected))?;
        let relay = relay_of(0);
        site.wire.expect_silence(&Message::discover(site.new_mac()).relayed_by(relay), Path::Relay(relay))
    }),
    Case::new("rfc2131_4_3_2_address_of_another_subnet_of_the_link_is_right_and_one_of_elsewhere_is_refused", Plain, |site| {
        let (leases, relay) = (fill(site, 1)?, relay_of(1));
        let of_the_second = leases.iter().find(|lease| lease.yiaddr.octets()[1] == 24);
        let lease = of_the_second.ok_or_else(|| Failure::new("no address of the second subnet was given"))?;
        let reboot = |address| Message::request(lease.mac()).relayed_by(relay).with_address(code::REQUESTED_ADDRESS, address);
        let answer = site.wire.ask(&reboot(lease.yiaddr), Path::Relay(relay))?.message;
        expect_eq("type and address", (answer.kind(), answer.yiaddr), (Some(ACK), lease.yiaddr))?;
        let answer = site.wire.ask(&reboot(Ipv4Addr::new(10, 21, 0, 100)), Path::Relay(relay))?.message;
        expect_eq("the message type", answer.kind(), Some(NAK))
    }),
];

/// The relay of the link.
fn relay_of(link: usize) -> Ipv4Addr {
    SHARED.get(link).map_or(Ipv4Addr::UNSPECIFIED, |(_, [(network, _), _])| Ipv4Addr::from(u32::from(*network) + 1))
}

/// As many clients as the link has addresses take one each.
fn fill(site: &Site, link: usize) -> Result<Vec<Message>> {
    let relay = relay_of(link);
    (0..4).map(|_| site.lease(&Message::discover(site.new_mac()).relayed_by(relay), Path::Relay(relay))).collect()
}
