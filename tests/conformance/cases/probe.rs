//! RFC 2131, section 3.1, step 2, and RFC 5227: nobody uses an address that is offered for the first time.

use super::Case;
use crate::message::{Message, code};
use crate::server::Product::{self, Dnsmasq, Edge};
use crate::site::Profile::Probe;
use crate::site::{SQUATTED, expect};
use crate::wire::Path;

/// Kea probes with a hook library that Debian does not have.
const PROBING: &[Product] = &[Edge, Dnsmasq];

pub(super) const CASES: &[Case] = &[
    Case::new("rfc5227_2_1_1_address_is_asked_for_by_arp_before_it_is_offered", Probe, |site| {
        let offered = site.offer(&Message::discover(site.new_mac()), Path::Broadcast)?.yiaddr;
        expect(site.wire.was_asked_for(offered), || format!("nobody asked who has {offered}"))
    })
    .only(PROBING),
    Case::new("rfc2131_3_1_address_that_a_stranger_uses_is_not_offered", Probe, |site| {
        site.wire.takes(SQUATTED, site.new_mac());
        let discover = Message::discover(site.new_mac()).with_address(code::REQUESTED_ADDRESS, SQUATTED);
        let offered = site.offer(&discover, Path::Broadcast)?.yiaddr;
        expect(offered != SQUATTED, || format!("{SQUATTED} is offered, and somebody answers ARP for it"))
    })
    .only(&[Edge]),
    Case::new("rfc2131_3_1_client_that_has_the_address_already_is_offered_it_without_doubt", Probe, |site| {
        let (mac, address) = site.new_client()?;
        let offered = site.offer(&Message::discover(mac), Path::Broadcast)?.yiaddr;
        expect(offered == address, || format!("{offered} is offered to the client that has {address}"))
    })
    .only(PROBING),
];
