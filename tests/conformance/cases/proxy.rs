//! PXE 2.1, section 2.2: proxyDHCP, beside the server that gives addresses.

use std::net::Ipv4Addr;

use super::Case;
use super::boot::pxe;
use crate::message::{ACK, Message, OFFER, REQUEST, code};
use crate::server::Product::{self, Dnsmasq, Edge};
use crate::site::Profile::Proxy;
use crate::site::{SERVER, expect, expect_eq};
use crate::wire::Path;

const BESIDE: &[Product] = &[Edge, Dnsmasq];

pub(super) const CASES: &[Case] = &[
    Case::new("pxe_2_1_2_2_proxy_offers_no_address_and_says_that_it_is_for_pxe", Proxy, |site| {
        let offer = site.wire.ask(&pxe(site.new_mac(), 7), Path::Broadcast)?.message;
        expect_eq("type and address", (offer.kind(), offer.yiaddr), (Some(OFFER), Ipv4Addr::UNSPECIFIED))?;
        expect_eq("option 60", offer.option(code::VENDOR_CLASS), Some(b"PXEClient".to_vec()))?;
        expect_eq("the server identifier", offer.option_address(code::SERVER_IDENTIFIER), Some(SERVER))?;
        expect_eq("the lease time", offer.option(code::LEASE_TIME), None)?;
        expect_eq("option 97", offer.option(code::UUID).map(|value| value.len()), Some(17))
    })
    .only(BESIDE),
    Case::new("pxe_2_1_2_2_proxy_names_the_boot_file_in_one_step", Proxy, |site| {
        let offer = site.wire.ask(&pxe(site.new_mac(), 7), Path::Broadcast)?.message;
        expect_eq("the boot file", offer.boot_file(), "snponly.efi".to_owned())?;
        // PXE_DISCOVERY_CONTROL with bit 3: boot what is named here, and ask nobody else.
        let control = offer.option(code::VENDOR_ENCAPSULATED).unwrap_or_default();
        expect(control.windows(3).any(|part| matches!(part, [6, 1, bits] if bits & 8 != 0)), || format!("option 43 is {control:?}"))
    })
    .only(BESIDE),
    Case::new("pxe_2_1_2_2_3_request_on_port_4011_is_acknowledged_with_the_boot_file", Proxy, |site| {
        let (mac, address) = (site.new_mac(), Ipv4Addr::new(192, 0, 2, 77));
        site.wire.takes(address, mac);
        let request = pxe(mac, 7).with(code::MESSAGE_TYPE, &[REQUEST]).at_address(address);
        let answer = site.wire.ask(&request, Path::Pxe(address))?;
        expect_eq("the message type", answer.message.kind(), Some(ACK))?;
        expect_eq("the boot file", answer.message.boot_file(), "snponly.efi".to_owned())?;
        expect_eq("where it went", (answer.to, answer.to_port, answer.from_port), (address, 68, 4011))
    })
    .only(BESIDE),
    Case::new("pxe_2_1_2_2_proxy_is_silent_to_clients_that_are_no_firmware", Proxy, |site| {
        site.wire.expect_silence(&Message::discover(site.new_mac()), Path::Broadcast)
    })
    .only(BESIDE),
    Case::new("pxe_2_1_2_2_proxy_never_acknowledges_an_address", Proxy, |site| {
        let request = pxe(site.new_mac(), 7)
            .with(code::MESSAGE_TYPE, &[REQUEST])
            .with_address(code::REQUESTED_ADDRESS, Ipv4Addr::new(192, 0, 2, 78))
            .with_address(code::SERVER_IDENTIFIER, Ipv4Addr::new(192, 0, 2, 9));
        site.wire.expect_silence(&request, Path::Broadcast)
    })
    .only(BESIDE),
    Case::new("rfc4578_2_1_proxy_is_silent_to_an_architecture_that_it_has_nothing_for", Proxy, |site| {
        site.wire.expect_silence(&pxe(site.new_mac(), 0x7f), Path::Broadcast)
    })
    .only(BESIDE),
    Case::new("pxe_2_1_2_2_bios_is_told_its_boot_file_by_the_proxy", Proxy, |site| {
        let offer = site.wire.ask(&pxe(site.new_mac(), 0), Path::Broadcast)?.message;
        expect_eq("the boot file", offer.boot_file(), "undionly.kpxe".to_owned())
    })
    .only(BESIDE),
];
