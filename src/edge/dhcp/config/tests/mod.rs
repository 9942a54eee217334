mod differences;
mod option_values;
mod refused;
mod unwise;

use super::policy::{Limits, Origin};
use super::*;
use crate::config_file::Source;
use crate::edge::config::EdgeConfig;
use crate::failure::Failure;
use crate::wire::{ClientArch, MacAddr};

fn read(text: &str) -> Result<DhcpConfig, Failure> {
    EdgeConfig::from_source(&Source::from_text("edge.toml", text)).map(|config| config.dhcp)
}

const INTERFACE: &str = "[[interface]]\nname = \"eth1\"\nmode = \"server\"\naddress = \"192.0.2.1\"\n";

/// The error of a file with an interface (4 lines) and a subnet whose further lines, from line 7 on, are `lines`.
fn subnet_error(lines: &str) -> String {
    let text = format!("{INTERFACE}[[subnet]]\nnetwork = \"192.0.2.0/24\"\n{lines}\n");
    read(&text).unwrap_err().to_string()
}

#[test]
fn the_whole_of_it_is_read() {
    let config = read(&format!(
        "{INTERFACE}
        [[interface]]
        name = \"eth2\"
        mode = \"off\"
        [[subnet]]
        network = \"192.0.2.0/24\"
        pools = [\"192.0.2.100-192.0.2.199\", \"192.0.2.210-192.0.2.220\"]
        routers = [\"192.0.2.254\"]
        dns = [\"192.0.2.53\"]
        ntp = [\"192.0.2.1\"]
        domain = \"site.example\"
        lease_time = \"12h\"
        [[subnet.reservation]]
        mac = \"52:54:00:12:34:56\"
        address = \"192.0.2.10\"
        [boot.files]
        x64-uefi = \"own.efi\"
        9 = \"\"
        "
    ))
    .unwrap();
    assert_eq!(config.interfaces().len(), 1);
    let subnet = &config.subnets()[0];
    assert_eq!((subnet.policy.times.default.map(|time| time.value), subnet.pools.len(), subnet.reservations().len()), (Some(43_200), 2, 1));
    assert_eq!(config.boot_files().files.file(ClientArch::X64_UEFI), Some("own.efi"));
    assert_eq!(config.boot_files().files.file(ClientArch::EBC), None);
    assert_eq!(config.boot_files().files.file(ClientArch::X86_BIOS), Some("undionly.kpxe"));
}

/// Every key that there is.
const WHOLE: &str = r#"
[[interface]]
name = "eth1"
mode = "server"
address = "192.0.2.1"
authoritative = true
[[interface]]
name = "eth2"
mode = "observe"
address = "203.0.113.1"

[dhcp]
lease_time = "2h"
min_lease_time = "1m"
max_lease_time = "1d"
renewal_time = "30m"
rebinding_time = "52m"
rapid_commit = true
conflict_probe = false
decline_quarantine = "12h"
offer_hold = "1m"
relays = ["10.0.0.1", "10.1.0.0/16"]
always_send = ["ntp-servers", 114]
boot = true
boot_files = { riscv64-uefi = "riscv.efi" }
[dhcp.options]
captive-portal = "https://portal.example/"
[dhcp.limits]
offers = 100
client_rate = 30

[[subnet]]
network = "192.0.2.0/24"
pools = ["192.0.2.100-192.0.2.199"]
exclude = ["192.0.2.150", "192.0.2.160-192.0.2.169"]
relays = ["10.0.0.7"]
routers = ["192.0.2.254"]
dns = ["192.0.2.53"]
ntp = ["192.0.2.1"]
domain = "site.example"
lease_time = "4h"
rapid_commit = false
conflict_probe = true
always_send = ["routers"]
boot = false
[subnet.options]
interface-mtu = 1500
[[subnet.reservation]]
mac = "52:54:00:12:34:56"
address = "192.0.2.10"
host_name = "cam-7"
lease_time = "8h"
options = { "230" = "hex:01:02" }
always_send = [230]
boot = true
boot_files = { x64-uefi = "own.efi", 9 = "" }
[[subnet.reservation]]
client_id = "01:52:54:00:12:34:57"
address = "192.0.2.11"
[[subnet.reservation]]
client_id = "text:cam-8"
address = "192.0.2.12"
[[subnet.reservation]]
uuid = "4c4c4544-0042-3510-8052-b4c04f564231"
address = "192.0.2.150"
[[subnet.reservation]]
circuit_id = "text:eth0/7"
address = "192.0.2.14"

[[class]]
name = "cameras"
arch = ["x64-uefi", 9]
vendor_class = ["PXEClient:*", "cam"]
user_class = ["iPXE"]
mac_prefix = ["52:54:00"]
relay = ["10.0.0.1", "10.1.2.0/24"]
lease_time = "3h"
options = { vendor-encapsulated = { 6 = "hex:08" } }
always_send = ["vendor-encapsulated"]
boot = false
boot_files = { x64-uefi = "https://boot.example/a.efi" }

[boot.files]
arm64-uefi = "own.efi"
"#;

#[test]
fn every_key_is_read() {
    let config = read(WHOLE).unwrap();
    let line = |text: &str| Origin::Line(u32::try_from(WHOLE.lines().position(|line| line == text).unwrap() + 1).unwrap());
    let general = config.general();
    assert_eq!(general.policy.times.default, Some(Sourced { value: 7200, origin: line("lease_time = \"2h\"") }));
    assert_eq!(general.policy.times.max.map(|time| time.value), Some(86_400));
    assert_eq!((general.policy.times.renewal.map(|t| t.value), general.policy.times.rebinding.map(|t| t.value)), (Some(1800), Some(3120)));
    assert_eq!((general.decline_quarantine.as_secs(), general.offer_hold.as_secs(), general.conflict_probe), (43_200, 60, false));
    assert_eq!(general.limits, Limits { offers: 100, client_rate: 30 });
    assert_eq!(general.relays.len(), 2);
    assert_eq!(general.policy.always_send.iter().map(|option| option.value).collect::<Vec<_>>(), [42, 114]);
    assert_eq!(general.policy.options.find(114).unwrap().octets, b"https://portal.example/");
    assert_eq!(general.policy.options.find(114).unwrap().origin, line("captive-portal = \"https://portal.example/\""));

    assert_eq!(
        config.interfaces().iter().map(|one| (one.mode, one.authoritative)).collect::<Vec<_>>(),
        [(Mode::Server, true), (Mode::Observe, false)]
    );

    let subnet = &config.subnets()[0];
    assert!(subnet.conflict_probe);
    assert_eq!((subnet.excluded.len(), subnet.relays.len()), (2, 1));
    assert_eq!(subnet.policy.rapid_commit, Some(Sourced { value: false, origin: line("rapid_commit = false") }));
    assert_eq!(subnet.policy.boot.map(|boot| boot.value), Some(false));
    assert_eq!(subnet.policy.options.find(26).unwrap().octets, [5, 220]);
    let codes: Vec<u8> = subnet.policy.options.iter().map(|option| option.code).collect();
    assert_eq!(codes, [3, 6, 15, 26, 42]);

    let reserved = |key: ReservationKey| subnet.reservation(&key).map(|reservation| reservation.address.value.octets()[3]);
    assert_eq!(reserved(ReservationKey::Mac(MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]))), Some(10));
    assert_eq!(reserved(ReservationKey::ClientId(vec![1, 0x52, 0x54, 0, 0x12, 0x34, 0x57])), Some(11));
    assert_eq!(reserved(ReservationKey::ClientId(b"cam-8".to_vec())), Some(12), "bare");
    assert_eq!(reserved(ReservationKey::ClientId(b"\0cam-8".to_vec())), Some(12), "behind type 0");
    assert_eq!(reserved(ReservationKey::Uuid("4c4c4544-0042-3510-8052-b4c04f564231".parse().unwrap())), Some(150));
    assert_eq!(reserved(ReservationKey::CircuitId(b"eth0/7".to_vec())), Some(14));
    let camera = &subnet.reservations()[0];
    assert_eq!(camera.host_name.as_ref().map(|name| name.value.as_str()), Some("cam-7"));
    assert_eq!(camera.policy.options.find(230).unwrap().octets, [1, 2]);
    let files: Vec<_> = camera.policy.boot_files.iter().map(|(arch, file)| (*arch, file.value.as_deref())).collect();
    assert_eq!(files, [(ClientArch::EBC, None), (ClientArch::X64_UEFI, Some("own.efi"))]);

    let class = &config.classes()[0];
    assert_eq!((class.name.value.as_str(), class.name.origin), ("cameras", line("name = \"cameras\"")));
    assert_eq!(class.matcher.arch, [ClientArch::X64_UEFI, ClientArch::EBC]);
    assert!(class.matcher.vendor_class[0].matches(b"PXEClient:Arch:00007") && !class.matcher.vendor_class[1].matches(b"camera"));
    assert_eq!(class.matcher.mac_prefix, [[0x52, 0x54, 0]]);
    assert_eq!(class.matcher.relay.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.1", "10.1.2.0/24"]);
    assert_eq!(class.policy.options.find(43).unwrap().octets, [6, 1, 8]);
    assert_eq!(config.boot_files().files.file(ClientArch::ARM64_UEFI), Some("own.efi"));
}

#[test]
fn the_example_is_valid() {
    let text = include_str!("../../../../../config/edge.toml");
    let config = read(text).unwrap();
    assert!(!config.interfaces().is_empty() && !config.subnets().is_empty());
}

#[test]
fn what_is_wrong_with_a_subnet_is_told_with_its_line() {
    let pool = "pools = [\"192.0.2.100-192.0.2.199\"]\n";
    let cases = [
        ("", "edge.toml:6: subnet 192.0.2.0/24 gives out no address"),
        ("pools = [\"192.0.3.1-192.0.3.9\"]", "edge.toml:7: pool 192.0.3.1-192.0.3.9 is not inside subnet 192.0.2.0/24"),
        ("pools = [\"192.0.2.200-192.0.2.255\"]", "edge.toml:7: pool 192.0.2.200-192.0.2.255 is not inside"),
        ("pools = [\"192.0.2.1-192.0.2.9\"]", "edge.toml:7: pool 192.0.2.1-192.0.2.9 holds 192.0.2.1, this box's own address"),
        (
            "routers = [\"192.0.2.9\"]\npools = [\"192.0.2.5-192.0.2.9\"]",
            "edge.toml:8: pool 192.0.2.5-192.0.2.9 holds 192.0.2.9, a router's address",
        ),
        (
            "pools = [\n\"192.0.2.5-192.0.2.9\",\n\"192.0.2.9-192.0.2.12\"]",
            "edge.toml:9: pool 192.0.2.9-192.0.2.12 overlaps pool 192.0.2.5-192.0.2.9",
        ),
        ("pools = [\"192.0.2.9-192.0.2.1\"]", "edge.toml:7: `192.0.2.9-192.0.2.1` is not a range"),
        (&format!("{pool}lease_time = \"30s\""), "edge.toml:8: `30s` is not a lease time"),
        (&format!("{pool}lease_time = \"9999d\""), "edge.toml:8: `9999d` is not a lease time"),
        (&format!("{pool}lease_time = \"1 moon\""), "edge.toml:8: `1 moon` is not a lease time"),
        (&format!("{pool}routers = [\"198.51.100.1\"]"), "edge.toml:8: router 198.51.100.1 is not in subnet"),
        (&format!("{pool}domain = \"site..example\""), "edge.toml:8: `site..example` is not a domain name"),
        (&format!("{pool}lease = 3"), "edge.toml:8: unknown field `lease`"),
    ];
    for (lines, expected) in cases {
        let error = subnet_error(lines);
        assert!(error.starts_with(&format!("error: {expected}")), "{lines}: {error}");
    }
}

#[test]
fn what_is_wrong_with_a_reservation_is_told_with_its_line() {
    let reservation = |mac: &str, address: &str| format!("[[subnet.reservation]]\nmac = \"{mac}\"\naddress = \"{address}\"\n");
    let (one, two) = ("52:54:00:00:00:01", "52:54:00:00:00:02");
    let cases = [
        (reservation(one, "198.51.100.9"), "edge.toml:9: reservation 198.51.100.9 is not in subnet"),
        (reservation(one, "192.0.2.1"), "edge.toml:9: reservation 192.0.2.1 is this box's own address"),
        (reservation("01:00:5e:00:00:01", "192.0.2.9"), "edge.toml:8: 01:00:5e:00:00:01 can't be a machine's"),
        (reservation(one, "192.0.2.9") + &reservation(one, "192.0.2.8"), "edge.toml:11: 52:54:00:00:00:01 has a reservation already"),
        (
            reservation(one, "192.0.2.9") + &reservation(two, "192.0.2.9"),
            "edge.toml:12: 192.0.2.9 is reserved for 52:54:00:00:00:01 already",
        ),
    ];
    for (lines, expected) in cases {
        let error = subnet_error(&lines);
        assert!(error.starts_with(&format!("error: {expected}")), "{lines}: {error}");
    }
}

#[test]
fn what_is_wrong_with_interfaces_and_networks_is_told_with_its_line() {
    let subnet = |network: &str, pool: &str| format!("[[subnet]]\nnetwork = \"{network}\"\npools = [\"{pool}\"]\n");
    let good = subnet("192.0.2.0/24", "192.0.2.100-192.0.2.199");
    let cases = [
        (format!("{INTERFACE}{INTERFACE}{good}"), "edge.toml:6: interface `eth1` is named twice"),
        ("[[interface]]\nname = \"eth1\"\nmode = \"server\"\n".to_owned(), "edge.toml:1: interface `eth1` has no `address`"),
        ("[[interface]]\nname = \"eth 1\"\nmode = \"off\"\n".to_owned(), "edge.toml:2: `eth 1` can't be the name of an interface"),
        ("[[interface]]\nname = \"eth1\"\nmode = \"relay\"\n".to_owned(), "edge.toml:3: unknown variant `relay`"),
        (INTERFACE.to_owned(), "edge.toml:4: no subnet holds the address 192.0.2.1 of interface `eth1`"),
        (
            format!("{INTERFACE}{good}{}", subnet("192.0.2.0/25", "192.0.2.2-192.0.2.9")),
            "edge.toml:9: subnet 192.0.2.0/25 overlaps subnet 192.0.2.0/24",
        ),
        (good, "edge.toml:2: no interface gives out addresses of subnet 192.0.2.0/24"),
        (format!("{INTERFACE}{}", subnet("192.0.2.1/24", "192.0.2.2-192.0.2.9")), "edge.toml:6: `192.0.2.1/24` has bits set"),
        ("[boot.files]\nx65 = \"a\"\n".to_owned(), "edge.toml:2: `x65` is not an architecture"),
        ("[boot.files]\nx64-uefi = \"a b\"\n".to_owned(), "edge.toml:2: `a b` can't be a boot file"),
    ];
    for (text, expected) in cases {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("error: {expected}")), "{text}: {error}");
    }
}
