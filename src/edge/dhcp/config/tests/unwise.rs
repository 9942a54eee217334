use super::*;

const GOOD: &str = "[[interface]]\nname = \"eth1\"\nmode = \"server\"\naddress = \"192.0.2.1\"\n[[subnet]]\nnetwork = \"192.0.2.0/24\"\npools = [\"192.0.2.100-192.0.2.199\"]\nrouters = [\"192.0.2.1\"]\ndns = [\"192.0.2.53\"]\nntp = [\"192.0.2.1\"]\ndomain = \"site.example\"\n";

/// The warnings about [`GOOD`] (lines 1 to 11) with lines behind it, from 12 on.
fn warnings(lines: &str) -> Vec<String> {
    read(&format!("{GOOD}{lines}\n")).unwrap().warnings().iter().map(|warning| format!("{}: {}", warning.place, warning.what)).collect()
}

#[test]
fn a_good_file_is_not_warned_of() {
    assert_eq!(warnings(""), Vec::<String>::new());
    assert_eq!(read(include_str!("../../../../../config/edge.toml")).unwrap().warnings(), []);
}

#[test]
fn what_is_unwise_is_told_with_its_line() {
    let other = "[[subnet]]\nnetwork = \"198.51.100.0/24\"\nrouters = [\"198.51.100.1\"]\ndns = [\"192.0.2.53\"]\nntp = [\"192.0.2.1\"]\n";
    let pool = "pools = [\"198.51.100.10-198.51.100.99\"]\n";
    let class = |name: &str, key: &str, says: &str| format!("[[class]]\nname = \"{name}\"\n{key}\n{says}\n");
    let cases = [
        ("lease_time = \"4m\"".to_owned(), "12: a lease of 4m is over before"),
        ("[dhcp]\nmax_lease_time = \"30d\"".to_owned(), "13: a lease of 30days keeps the addresses"),
        ("exclude = [\"192.0.2.105-192.0.2.199\"]".to_owned(), "6: subnet 192.0.2.0/24 has 5 addresses for machines without"),
        ("conflict_probe = false".to_owned(), "6: addresses of subnet 192.0.2.0/24 are given out without a look"),
        ("[dhcp]\nconflict_probe = false".to_owned(), "13: addresses are given out without a look"),
        ("options = { interface-mtu = 576 }".to_owned(), "12: an `interface-mtu` of less than 1280"),
        (
            "options = { classless-static-routes = [{ to = \"10.0.0.0/8\", via = \"192.0.2.9\" }] }".to_owned(),
            "12: `classless-static-routes` has no default route",
        ),
        ("options = { ipv6-only-preferred = \"1m\" }".to_owned(), "12: an `ipv6-only-preferred` of less than 5 minutes"),
        ("shared_network = \"floor\"".to_owned(), "12: no other subnet has `shared_network = \"floor\"`"),
        (
            format!(
                "{other}classes = [\"a\"]\n[[subnet.reservation]]\nmac = \"52:54:00:12:34:56\"\naddress = \"198.51.100.9\"\n{}",
                class("a", "arch = [7]", "")
            ),
            "17: `classes` says for whom the pools of subnet 198.51.100.0/24 are, and it has none",
        ),
        ("always_send = [114]".to_owned(), "12: `always_send` names captive-portal, which has no value anywhere"),
        ("boot = false\nboot_files = { x64-uefi = \"snponly.efi\" }".to_owned(), "13: a boot file beside `boot = false`"),
        ("boot_files = { x64-uefi = \"own.efi\" }".to_owned(), "12: boot file `own.efi` for x64-uefi is not one of those"),
        ("[boot.files]\nx64-uefi = \"own.efi\"".to_owned(), "13: boot file `own.efi` for x64-uefi is not one of those"),
        (
            "[boot.files]\nx64-uefi = \"https://boot.example/a.efi\"".to_owned(),
            "13: `https://boot.example/a.efi` for x64-uefi: its firmware",
        ),
        (
            "[dhcp.options]\nntp-servers = \"192.0.2.1\"".to_owned(),
            "10: option ntp-servers of subnet 192.0.2.0/24 is what [dhcp] says already (line 13)",
        ),
        (
            format!("{other}{pool}relays = [\"192.0.2.7\"]"),
            "13: relay 192.0.2.7 is named by subnet 198.51.100.0/24 and lies in subnet 192.0.2.0/24",
        ),
        (
            format!("relays = [\"10.0.0.0/8\"]\n{other}{pool}relays = [\"10.0.0.1\"]"),
            "14: relay 10.0.0.1 of subnet 198.51.100.0/24 is one of subnet 192.0.2.0/24, too",
        ),
        (
            other.replace("198.51.100.", "100.64.7.") + "pools = [\"100.64.7.10-100.64.7.99\"]",
            "13: subnet 100.64.7.0/24 is in 100.64.0.0/10",
        ),
        (
            "[[interface]]\nname = \"eth2\"\nmode = \"proxy\"\naddress = \"192.0.2.2\"".to_owned(),
            "13: interface `eth2` is a proxy in the subnet 192.0.2.0/24 that `eth1` serves",
        ),
        (
            "[[interface]]\nname = \"eth2\"\nmode = \"server\"\naddress = \"192.0.2.2\"".to_owned(),
            "13: interfaces `eth1` and `eth2` both serve subnet",
        ),
        (class("a", "arch = [7]", ""), "13: class `a` says nothing of its machines"),
        (
            class("a", "vendor_class = [\"PXEClient*\"]", "boot = false")
                + &class("b", "vendor_class = [\"PXEClient:Arch:00007*\"]\narch = [7]", "boot = true"),
            "17: class `b` never decides anything: all its machines are in class `a` (line 13), which comes first",
        ),
    ];
    for (lines, expected) in cases {
        let warnings = warnings(&lines);
        assert!(warnings.len() == 1 && warnings[0].starts_with(&format!("edge.toml:{expected}")), "{lines}: {warnings:?}");
    }
}

#[test]
fn a_class_that_has_something_left_to_say_is_not_shadowed() {
    let narrow = "[[class]]\nname = \"b\"\narch = [7]\nmac_prefix = [\"52:54:00\"]\nboot = true\nlease_time = \"2h\"\n";
    assert_eq!(warnings(&format!("[[class]]\nname = \"a\"\narch = [7, 9]\nboot = false\n{narrow}")), Vec::<String>::new());
    assert_eq!(warnings(&format!("{narrow}[[class]]\nname = \"a\"\narch = [7, 9]\nboot = false\n")), Vec::<String>::new());
}

#[test]
fn a_subnet_without_what_machines_need_is_warned_of() {
    let text = format!(
        "{INTERFACE}[[subnet]]\nnetwork = \"192.0.2.0/24\"\npools = [\"192.0.2.100-192.0.2.199\"]\noptions = {{ domain-search = \"site.example\" }}\n"
    );
    let warnings: Vec<String> = read(&text).unwrap().warnings().iter().map(|warning| warning.what.clone()).collect();
    assert_eq!(
        warnings,
        [
            "subnet 192.0.2.0/24 names no router",
            "subnet 192.0.2.0/24 names no name server",
            "subnet 192.0.2.0/24 names no time server",
            "subnet 192.0.2.0/24 has `domain-search` and no `domain`",
        ]
    );
}
