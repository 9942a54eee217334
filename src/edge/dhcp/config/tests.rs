use super::*;
use crate::config_file::Source;
use crate::edge::config::EdgeConfig;
use crate::failure::Failure;
use crate::wire::ClientArch;

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

#[test]
fn the_example_is_valid() {
    let text = include_str!("../../../../config/edge.toml");
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
