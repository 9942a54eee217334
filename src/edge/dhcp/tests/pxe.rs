use std::net::Ipv4Addr;

use super::packet::Packet;
use super::site::{SERVER, Site};
use crate::wire::uplink::SiteEventKind;
use crate::wire::{ClientArch, SystemUuid};

const IPXE_HTTPS: [u8; 11] = [0xeb, 3, 2, 0, 0, 0x13, 1, 1, 0x14, 1, 1];
const UUID: [u8; 17] = [0, 0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 8, 9, 10, 11, 12, 13, 14, 15];

fn firmware(packet: Packet, arch: u8) -> Packet {
    packet.option(60, format!("PXEClient:Arch:{arch:05}:UNDI:003000").as_bytes()).option(93, &[0, arch]).option(97, &UUID)
}

fn ipxe(packet: Packet, arch: u8) -> Packet {
    firmware(packet, arch).option(77, b"iPXE").option(175, &IPXE_HTTPS).option(57, &1472_u16.to_be_bytes())
}

fn request(offered: Ipv4Addr) -> Packet {
    Packet::request().address(54, SERVER).address(50, offered)
}

#[test]
fn rfc4578_each_architecture_gets_its_file_or_none() {
    let mut site = Site::server();
    for (arch, file) in [(0, "undionly.kpxe"), (7, "snponly.efi"), (9, "snponly.efi"), (11, "ipxe-arm64.efi"), (6, ""), (10, ""), (27, "")]
    {
        let heard = site.hear(&firmware(Packet::discover(), arch));
        let offer = heard.answer();
        assert_eq!(offer.file(), file, "architecture {arch}");
        // With the zero that EDK II would otherwise write over the option behind it.
        assert_eq!(offer.text(67), (!file.is_empty()).then(|| format!("{file}\0")));
        let server = if file.is_empty() { Ipv4Addr::UNSPECIFIED } else { SERVER };
        assert_eq!((offer.kind(), offer.siaddr(), offer.yiaddr()), ("OFFER", server, Ipv4Addr::new(192, 0, 2, 100)));
        assert_eq!(offer.option(97), Some(UUID.to_vec()));
    }
}

#[test]
fn uefi_http_boot_gets_its_class_and_a_url() {
    let mut site = Site::server();
    for (arch, file) in [(16, "http://192.0.2.1/snponly.efi"), (19, "http://192.0.2.1/ipxe-arm64.efi")] {
        let packet = Packet::discover().option(60, b"HTTPClient:Arch:00016:UNDI:003000").option(93, &[0, arch]);
        let heard = site.hear(&packet);
        assert_eq!((heard.answer().text(60).as_deref(), heard.answer().file().as_str()), (Some("HTTPClient"), file));
    }
    let server_class = site.hear(&firmware(Packet::discover(), 7)).answer().option(60);
    assert_eq!(server_class, None, "OVMF would go to port 4011");
}

#[test]
fn ipxe_with_https_gets_the_script_the_boot_url_and_a_ticket_with_the_acknowledgement() {
    let mut site = Site::server();
    let heard = site.hear(&ipxe(Packet::discover(), 7));
    let offer = heard.answer();
    assert_eq!((offer.file().as_str(), offer.option(224)), ("http://192.0.2.1/autoexec.ipxe", None));
    let heard = site.hear(&ipxe(request(offer.yiaddr()), 7));
    let ack = heard.answer();
    assert_eq!(ack.text(225).as_deref(), Some("https://198.51.100.10:8443"));
    let ticket = ack.text(224).unwrap();
    assert!(ticket.starts_with("ticket ") && ticket.ends_with(" 52:54:00:12:34:56 00112233-4455-6677-0809-0a0b0c0d0e0f 2"), "{ticket}");
    let uuid = SystemUuid::from_dhcp(&UUID);
    let arch = Some(ClientArch::X64_UEFI);
    let file = "http://192.0.2.1/autoexec.ipxe".to_owned();
    let leased = SiteEventKind::Leased { address: ack.yiaddr(), seconds: 3600, arch };
    assert_eq!(heard.reported(), [leased, SiteEventKind::BootFileNamed { file, arch }, SiteEventKind::TicketMinted { uuid }]);
    assert_eq!(ack.option(175), None, "our root is sealed into EFI files");
    // Each acknowledgement has a ticket of its own.
    assert_ne!(site.hear(&ipxe(request(ack.yiaddr()), 7)).answer().text(224), Some(ticket));
}

#[test]
fn bios_gets_the_roots_fingerprint_in_every_answer() {
    let mut site = Site::server();
    let trust = [&[90, 32], [0xab; 32].as_slice(), &[255]].concat();
    let offer = site.hear(&firmware(Packet::discover(), 0));
    assert_eq!(offer.answer().option(175), Some(trust.clone()));
    let own = offer.answer().yiaddr();
    for packet in [firmware(request(own), 0), ipxe(Packet::discover(), 0), ipxe(request(own), 0)] {
        assert_eq!(site.hear(&packet).answer().option(175), Some(trust.clone()));
    }
}

#[test]
fn ipxe_without_https_gets_the_boot_file_and_no_script() {
    let mut site = Site::server();
    let rom = firmware(Packet::discover(), 0).option(77, b"iPXE").option(175, &[0x13, 1, 1]);
    assert_eq!(site.hear(&rom).answer().file(), "undionly.kpxe");
}

#[test]
fn until_the_cloud_was_reached_machines_get_an_address_and_no_boot_file() {
    let mut site = Site::server();
    site.engine.set_boot_settings(None);
    for packet in [firmware(Packet::discover(), 7), ipxe(Packet::discover(), 0)] {
        let heard = site.hear(&packet);
        let offer = heard.answer();
        assert_eq!((offer.kind(), offer.file().as_str(), offer.siaddr()), ("OFFER", "", Ipv4Addr::UNSPECIFIED));
        assert_eq!((offer.option(67), offer.option(175), offer.option(225)), (None, None, None));
    }
}

#[test]
fn without_a_ticket_ipxe_is_named_no_script() {
    let mut site = Site::server();
    site.distrust_clock();
    let offered = site.hear(&ipxe(Packet::discover(), 7)).answer().yiaddr();
    let heard = site.hear(&ipxe(request(offered), 7));
    assert_eq!((heard.answer().kind(), heard.answer().file().as_str(), heard.answer().option(225)), ("ACK", "", None));
    assert!(matches!(heard.reported()[..], [SiteEventKind::Leased { .. }]));
}

#[test]
fn systems_that_do_not_boot_from_the_network_hear_nothing_of_it() {
    let mut site = Site::server();
    let heard = site.hear(&Packet::discover().option(60, b"MSFT 5.0"));
    assert_eq!((heard.answer().file().as_str(), heard.answer().siaddr(), heard.answer().option(67)), ("", Ipv4Addr::UNSPECIFIED, None));
    let heard = site.hear(&request(heard.answer().yiaddr()));
    assert_eq!((heard.answer().kind(), heard.reports.len()), ("ACK", 0));
}

#[test]
fn one_boot_has_one_name_from_firmware_to_system() {
    let mut site = Site::server();
    let boots = |heard: &super::site::Heard| heard.reports.iter().map(|event| event.boot.unwrap()).collect::<Vec<_>>();
    site.hear(&firmware(Packet::discover(), 7).xid(1));
    site.wait(4);
    let own = site.hear(&firmware(Packet::discover(), 7).xid(1)).answer().yiaddr();
    let first = boots(&site.hear(&firmware(request(own), 7).xid(1)))[0];
    site.hear(&ipxe(Packet::discover(), 7).xid(2));
    let minted = boots(&site.hear(&ipxe(request(own), 7).xid(2)));
    let system = boots(&site.hear(&request(own).xid(3)));
    assert_eq!((minted, system), (vec![first; 3], vec![first]));
    // A reset: the firmware begins anew.
    site.wait(60);
    site.hear(&firmware(Packet::discover(), 7).xid(4));
    let second = boots(&site.hear(&firmware(request(own), 7).xid(4)))[0];
    assert_ne!(first, second);
    assert_eq!(site.engine.boot_of_machine(site.now, site.engine.machine_at(site.now, own).unwrap()), Some(second));
}

#[test]
fn boot_files_can_be_overridden_and_taken_away() {
    let mut site = Site::with_config(
        "[[interface]]\nname = \"eth1\"\nmode = \"server\"\naddress = \"192.0.2.1\"\n[[subnet]]\nnetwork = \"192.0.2.0/24\"\n\
         pools = [\"192.0.2.9-192.0.2.9\"]\n[boot.files]\nx64-uefi = \"own.efi\"\nebc = \"\"\nx64-uefi-http = \"http://192.0.2.7/a.efi\"\n",
    );
    let mut file = |packet: Packet| site.hear(&packet).answer().file();
    assert_eq!(file(firmware(Packet::discover(), 7)), "own.efi");
    assert_eq!(file(firmware(Packet::discover(), 9)), "");
    assert_eq!(file(Packet::discover().option(60, b"HTTPClient:Arch:00016").option(93, &[0, 16])), "http://192.0.2.7/a.efi");
    // Several architectures: the first that has a file.
    assert_eq!(file(Packet::discover().option(60, b"PXEClient").option(93, &[0, 9, 0, 7])), "own.efi");
}

const CLASSES: &str = r#"
    [[interface]]
    name = "eth1"
    mode = "server"
    address = "192.0.2.1"
    [[class]]
    name = "never"
    mac_prefix = ["52:54:00:12:34:0e"]
    boot = false
    options = { tftp-server-name = "elsewhere.example" }
    [[class]]
    name = "lab"
    arch = ["x64-uefi"]
    mac_prefix = ["52:54:00:12:34:0b"]
    boot_files = { x64-uefi = "lab.efi" }
    [[class]]
    name = "own script"
    user_class = ["iPXE"]
    mac_prefix = ["52:54:00:12:34:0c"]
    boot_files = { x64-uefi = "own.ipxe" }
    [[class]]
    name = "boards"
    arch = ["arm64-uboot"]
    boot_files = { arm64-uboot = "board.scr" }
    [[subnet]]
    network = "192.0.2.0/24"
    pools = ["192.0.2.100-192.0.2.119"]
    [[subnet.reservation]]
    mac = "52:54:00:12:34:0d"
    address = "192.0.2.13"
    boot_files = { x64-uefi = "", ebc = "ebc.efi" }
"#;

fn classes() -> Site {
    Site::with_config(CLASSES)
}

#[test]
fn a_machine_that_may_not_boot_gets_an_address_and_no_boot_file_on_every_path() {
    let mut site = classes();
    let own = Ipv4Addr::new(192, 0, 2, 100);
    let packets = [Packet::discover(), request(own), Packet::request().ciaddr(own), Packet::inform().ciaddr(own)];
    for packet in packets {
        for packet in [firmware(packet.clone().mac(14), 7), firmware(packet.clone().mac(14), 0), ipxe(packet.clone().mac(14), 7)] {
            let heard = site.hear(&packet.option(55, &[1, 3, 43, 60, 66, 67, 150, 175, 224, 225]));
            let answer = heard.answer();
            assert!(matches!(answer.kind(), "OFFER" | "ACK"));
            assert_eq!((answer.file(), answer.siaddr(), answer.sname()), (String::new(), Ipv4Addr::UNSPECIFIED, String::new()));
            assert!([43, 60, 66, 67, 150, 175, 224, 225].iter().all(|code| answer.option(*code).is_none()), "{:?}", answer.codes());
        }
    }
    let http = Packet::discover().mac(14).option(60, b"HTTPClient:Arch:00016").option(93, &[0, 16]);
    assert_eq!((site.hear(&http).answer().option(60), site.hear(&http).answer().file()), (None, String::new()));
}

#[test]
fn classes_and_reservations_name_boot_files_of_their_own() {
    let mut site = classes();
    let mut file = |packet: Packet| site.hear(&packet).answer().file();
    assert_eq!(file(firmware(Packet::discover().mac(11), 7)), "lab.efi");
    assert_eq!(file(firmware(Packet::discover().mac(11), 0)), "undionly.kpxe");
    assert_eq!(file(firmware(Packet::discover().mac(13), 7)), "");
    assert_eq!(file(firmware(Packet::discover().mac(13), 9)), "ebc.efi");
    // What loads iPXE is not named to iPXE again, unless a class asks for iPXE by name.
    assert_eq!(file(ipxe(Packet::discover().mac(11), 7)), "http://192.0.2.1/autoexec.ipxe");
    assert_eq!(file(ipxe(Packet::discover().mac(12), 7)), "http://192.0.2.1/own.ipxe");
}

#[test]
fn some_firmwares_own_ipxe_wants_the_scripts_name_to_end_in_ipxe() {
    let mut site = classes();
    assert!(site.hear(&ipxe(Packet::discover(), 7)).answer().file().ends_with("/autoexec.ipxe"));
}

#[test]
fn u_boot_finds_its_boot_file_in_the_file_field() {
    let mut site = classes();
    let uboot = Packet::discover().option(60, b"U-Boot.armv8").option(93, &[0, 22]).option(55, &[1, 3, 6]);
    let heard = site.hear(&uboot);
    assert_eq!((heard.answer().file().as_str(), heard.answer().siaddr(), heard.answer().option(67)), ("board.scr", SERVER, None));
    // Its EFI loader asks as PXE firmware does.
    let efi = Packet::discover().option(60, b"PXEClient:Arch:00011:UNDI:003000").option(93, &[0, 11]).option(55, &[1, 3, 6]);
    assert_eq!(site.hear(&efi).answer().file(), "ipxe-arm64.efi");
}

#[test]
fn clients_without_option_97_or_93_are_told_what_to_boot() {
    let mut site = Site::server();
    let heard = site.hear(&Packet::discover().option(60, b"PXEClient:Arch:00007:UNDI:003016"));
    assert_eq!((heard.answer().file().as_str(), heard.answer().option(97)), ("snponly.efi", None));
    assert_eq!(site.hear(&Packet::discover().option(60, b"PXEClient")).answer().file(), "undionly.kpxe");
}

#[test]
fn rfc4578_every_architecture_of_ianas_list_has_a_name_and_a_file_or_none() {
    let mut site = Site::server();
    for arch in 0..=41 {
        assert!(ClientArch(u16::from(arch)).name().is_some(), "{arch}");
        let class = if ClientArch(u16::from(arch)).boots_from_http() { "HTTPClient" } else { "PXEClient" };
        let packet = Packet::discover().mac(arch).xid(u32::from(arch)).option(60, class.as_bytes()).option(93, &[0, arch]);
        let expected = match arch {
            0 => "undionly.kpxe",
            7 | 9 => "snponly.efi",
            11 => "ipxe-arm64.efi",
            16 => "http://192.0.2.1/snponly.efi",
            19 => "http://192.0.2.1/ipxe-arm64.efi",
            _ => "",
        };
        // There are more architectures than addresses.
        site.wait(2);
        let heard = site.hear(&packet);
        assert_eq!(heard.answer().file(), expected, "{arch}");
    }
}

#[test]
fn an_ipxe_that_cannot_go_on_does_not_load_the_same_file_for_ever() {
    let mut site = Site::server();
    let stuck = |packet: Packet| firmware(packet, 7).option(77, b"iPXE").option(175, &[0xeb, 3, 1, 0, 0]);
    let rounds = |site: &mut Site| {
        (0..30)
            .take_while(|round| {
                site.wait(5);
                let own = site.hear(&stuck(Packet::discover().xid(*round))).answer().yiaddr();
                !site.hear(&stuck(request(own).xid(*round))).answer().file().is_empty()
            })
            .count()
    };
    assert_eq!(rounds(&mut site), 12);
    // A machine that starts again later is told what to boot, and one that gets through is not held back.
    site.wait(300);
    assert_eq!(rounds(&mut site), 12);
    site.wait(300);
    for _ in 0..20 {
        site.wait(10);
        let own = site.hear(&stuck(Packet::discover())).answer().yiaddr();
        assert_eq!(site.hear(&stuck(request(own))).answer().file(), "snponly.efi");
        site.hear(&ipxe(request(own), 7));
    }
}
