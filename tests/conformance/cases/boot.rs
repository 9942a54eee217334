//! PXE 2.1, RFC 4578, the UEFI specification: what firmware is told to load, in server mode.

use fairlead::failure::Result;
use fairlead::wire::MacAddr;

use super::Case;
use crate::message::{ACK, Message, code};
use crate::server::Product::Edge;
use crate::site::Profile::{Plain, Policy};
use crate::site::{SERVER, Site, expect, expect_eq, selecting};
use crate::wire::Path;

const UUID: [u8; 17] = [0, 0x7a, 0x11, 0xaf, 0x0e, 0x5e, 0xed, 0x4b, 7, 0x80, 0, 0xfa, 0x12, 0x1e, 0xad, 0, 1];
/// Version 2.0.0, HTTP, HTTPS.
const IPXE_WITH_HTTPS: [u8; 11] = [0xeb, 3, 2, 0, 0, 0x13, 1, 1, 0x14, 1, 1];
/// Version 1.0.0, HTTP: a network card's own iPXE.
const IPXE_WITHOUT_HTTPS: [u8; 8] = [0xeb, 3, 1, 0, 0, 0x13, 1, 1];

pub(super) const CASES: &[Case] = &[
    Case::new("pxe_2_1_bios_is_told_its_boot_file", Plain, |site| boots(site, &pxe(site.new_mac(), 0), "undionly.kpxe")),
    Case::new("pxe_2_1_x64_uefi_is_told_its_boot_file", Plain, |site| boots(site, &pxe(site.new_mac(), 7), "snponly.efi")),
    Case::new("rfc4578_2_1_architecture_9_is_x64_uefi_too", Plain, |site| boots(site, &pxe(site.new_mac(), 9), "snponly.efi")),
    Case::new("pxe_2_1_arm64_uefi_is_told_its_boot_file", Plain, |site| boots(site, &pxe(site.new_mac(), 11), "ipxe-arm64.efi")),
    Case::new("pxe_2_1_acknowledgement_names_the_same_boot_file_and_server", Plain, |site| {
        let discover = pxe(site.new_mac(), 7);
        let offer = site.offer(&discover, Path::Broadcast)?;
        let answer = site.wire.ask(&selecting(&discover, &offer), Path::Broadcast)?.message;
        expect_eq("the message type", answer.kind(), Some(ACK))?;
        expect_eq("the boot file and siaddr", (answer.boot_file(), answer.siaddr), ("snponly.efi".to_owned(), SERVER))
    }),
    Case::new("rfc4578_2_1_unknown_architecture_gets_an_address_and_no_boot_file", Plain, |site| {
        let offer = site.offer(&pxe(site.new_mac(), 0x7f), Path::Broadcast)?;
        expect(!offer.yiaddr.is_unspecified(), || "no address is offered".to_owned())?;
        expect_eq("the boot file", offer.boot_file(), String::new())
    }),
    Case::new("rfc2131_2_client_that_is_no_firmware_gets_no_boot_file", Plain, |site| {
        let offer = site.offer(&Message::discover(site.new_mac()), Path::Broadcast)?;
        expect_eq("the boot file", offer.boot_file(), String::new())
    }),
    Case::new("rfc2131_2_boot_file_is_in_the_file_field_for_clients_that_read_nothing_else", Plain, |site| {
        // U-Boot lists neither 66 nor 67 and reads the fields.
        let discover = pxe(site.new_mac(), 11).with(code::VENDOR_CLASS, b"U-Boot.armv8").asks_for(&[1, 3, 6]);
        let discover = discover.with(code::VENDOR_CLASS, b"PXEClient:Arch:00011:UNDI:003000");
        let offer = site.offer(&discover, Path::Broadcast)?;
        let name = String::from_utf8_lossy(&offer.file).trim_end_matches('\0').to_owned();
        expect_eq("the file field and siaddr", (name, offer.siaddr), ("ipxe-arm64.efi".to_owned(), SERVER))
    }),
    Case::new("pxe_2_1_machine_identifier_is_repeated", Plain, |site| {
        let offer = site.offer(&pxe(site.new_mac(), 7), Path::Broadcast)?;
        expect_eq("option 97", offer.option(code::UUID), Some(UUID.to_vec()))
    }),
    Case::new("rfc4578_2_3_client_without_a_machine_identifier_boots", Plain, |site| {
        let mut discover = pxe(site.new_mac(), 7);
        discover.options.retain(|(code, _)| *code != code::UUID);
        boots(site, &discover, "snponly.efi")
    }),
    Case::new("pxe_2_1_architecture_that_is_only_in_the_vendor_class_counts", Plain, |site| {
        let mut discover = pxe(site.new_mac(), 7);
        discover.options.retain(|(code, _)| *code != code::ARCHITECTURE);
        boots(site, &discover, "snponly.efi")
    }),
    Case::new("ipxe_with_https_is_told_its_script", Plain, |site| {
        boots(site, &ipxe(site.new_mac(), &IPXE_WITH_HTTPS), &format!("http://{SERVER}/autoexec.ipxe"))
    }),
    Case::new("ipxe_of_a_network_card_without_https_is_told_the_boot_file", Plain, |site| {
        boots(site, &ipxe(site.new_mac(), &IPXE_WITHOUT_HTTPS), "snponly.efi")
    })
    .only(&[Edge]),
    Case::new("ipxe_that_lists_the_ticket_is_given_one_with_the_acknowledgement_only", Plain, |site| {
        let discover = ipxe(site.new_mac(), &IPXE_WITH_HTTPS).asks_for(&[1, 3, 6, 67, code::TICKET, 225]);
        let offer = site.offer(&discover, Path::Broadcast)?;
        expect_eq("option 224 of the offer", offer.option(code::TICKET), None)?;
        let answer = site.wire.ask(&selecting(&discover, &offer), Path::Broadcast)?.message;
        expect(answer.option(code::TICKET).is_some_and(|ticket| ticket.len() > 40), || "the acknowledgement has no ticket".to_owned())
    })
    .only(&[Edge]),
    Case::new("uefi_24_7_3_http_boot_is_told_a_url_and_the_class", Plain, |site| {
        let discover = pxe(site.new_mac(), 16).with(code::VENDOR_CLASS, b"HTTPClient:Arch:00016:UNDI:003001");
        let offer = site.offer(&discover, Path::Broadcast)?;
        expect_eq("the boot file", offer.boot_file(), format!("http://{SERVER}/snponly.efi"))?;
        expect_eq("option 60", offer.option(code::VENDOR_CLASS), Some(b"HTTPClient".to_vec()))
    }),
    Case::new("uefi_24_7_3_class_of_http_boot_is_not_sent_to_others", Plain, |site| {
        let offer = site.offer(&Message::discover(site.new_mac()), Path::Broadcast)?;
        expect_eq("option 60", offer.option(code::VENDOR_CLASS), None)
    }),
    Case::new("node_that_may_not_boot_gets_an_address_and_no_boot_file_on_every_path", Policy, |site| {
        for (number, discover) in [(1, pxe(FORBIDDEN, 7)), (2, ipxe(FORBIDDEN, &IPXE_WITH_HTTPS)), (3, pxe(FORBIDDEN, 0))] {
            let offer = site.offer(&discover, Path::Broadcast)?;
            let answer = site.wire.ask(&selecting(&discover, &offer), Path::Broadcast)?.message;
            expect_eq(&format!("type of answer {number}"), answer.kind(), Some(ACK))?;
            for message in [offer, answer] {
                expect_eq("the boot file", message.boot_file(), String::new())?;
                expect_eq("the ticket", message.option(code::TICKET), None)?;
            }
        }
        Ok(())
    })
    .only(&[Edge]),
];

/// Of the class that may not boot.
const FORBIDDEN: MacAddr = MacAddr([2, 0, 0x5e, 0xff, 0, 1]);

/// A DISCOVER as PXE firmware of that architecture sends it.
pub(super) fn pxe(mac: MacAddr, arch: u16) -> Message {
    Message::discover(mac)
        .asks_for(&[1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97, 128, 129])
        .with(code::MAXIMUM_SIZE, &1472_u16.to_be_bytes())
        .with(code::UUID, &UUID)
        .with(code::NETWORK_INTERFACE, &[1, 3, 16])
        .with(code::ARCHITECTURE, &arch.to_be_bytes())
        .with(code::VENDOR_CLASS, format!("PXEClient:Arch:{arch:05}:UNDI:003016").as_bytes())
}

fn ipxe(mac: MacAddr, features: &[u8]) -> Message {
    pxe(mac, 7).with(code::USER_CLASS, b"iPXE").with(code::IPXE, features)
}

fn boots(site: &Site, discover: &Message, file: &str) -> Result<()> {
    let offer = site.offer(discover, Path::Broadcast)?;
    expect_eq("the boot file", offer.boot_file(), file.to_owned())
}
