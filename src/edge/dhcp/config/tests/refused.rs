use super::*;

/// A file with an interface (lines 1 to 4), a subnet (5 to 7), and lines from 8 on.
fn error(lines: &str) -> String {
    subnet_error(&format!("pools = [\"192.0.2.100-192.0.2.199\"]\n{lines}"))
}

fn refuses(cases: &[(&str, &str, &str)]) {
    for (lines, expected, remedy) in cases {
        let error = error(lines);
        let (what, hint) = error.split_once("\nhint: ").unwrap_or_else(|| panic!("{lines}: {error}"));
        assert!(what.starts_with(&format!("error: edge.toml:{expected}")) && hint.contains(remedy), "{lines}: {error}");
    }
}

#[test]
fn pools_and_exclusions_that_do_not_fit() {
    refuses(&[
        ("exclude = [\"192.0.2.99\"]", "8: exclusion 192.0.2.99 is not inside a pool of subnet 192.0.2.0/24", "remove it"),
        ("exclude = [\"192.0.2.190-192.0.2.210\"]", "8: exclusion 192.0.2.190-192.0.2.210 is not inside a pool", "two pools"),
        ("exclude = [\"192.0.2.190-\"]", "8: `192.0.2.190-` is not a range", ""),
        ("relays = [\"10.0.0.1/8\"]", "8: `10.0.0.1/8` has bits set behind its prefix; the network is 10.0.0.0/8", ""),
        ("relays = [\"gateway\"]", "8: `gateway` is neither an address", ""),
    ]);
}

#[test]
fn a_router_that_is_excluded_may_lie_inside_a_pool() {
    let text = format!(
        "{INTERFACE}[[subnet]]\nnetwork = \"192.0.2.0/24\"\npools = [\"192.0.2.1-192.0.2.199\"]\nexclude = [\"192.0.2.1\", \"192.0.2.9\"]\nrouters = [\"192.0.2.9\"]\n"
    );
    assert_eq!(read(&text).unwrap().subnets()[0].excluded.len(), 2);
}

#[test]
fn reservations_that_can_not_be_kept() {
    let one = "[[subnet.reservation]]\n";
    let address = "address = \"192.0.2.9\"\n";
    let other = "[[subnet.reservation]]\naddress = \"192.0.2.8\"\n";
    let case = |key: &str| format!("{one}{key}\n{address}");
    let owned = [
        (format!("{one}{address}"), "8: reservation 192.0.2.9 does not say for which machine it is", "add one of `mac`"),
        (case("mac = \"52:54:00:00:00:01\"\nclient_id = \"01:02\""), "10: reservation 192.0.2.9 names its machine in 2 ways", "keep one"),
        (case("client_id = \"cam-7\""), "9: `cam-7` is not a client identifier", "text:cam-7"),
        (case("client_id = \"01\""), "9: `01` is not a client identifier", "option 61"),
        (case("uuid = \"00000000-0000-0000-0000-000000000000\""), "9: 00000000-0000-0000-0000-000000000000 is a placeholder", "`mac`"),
        (case("uuid = \"4c4c\""), "9: ", ""),
        (case("circuit_id = \"eth0/7\""), "9: `eth0/7` is not a circuit ID", "text:eth0/7"),
        (case("mac = \"52:54:00:00:00:01\"\nhost_name = \"cam 7\""), "10: `cam 7` is not a host name", "cam-7"),
        (
            format!("{}{other}client_id = \"text:cam\"\n", case("client_id = \"00:63:61:6d\"")),
            "13: client identifier hex:00:63:61:6d has a reservation already, 192.0.2.9",
            "keep one",
        ),
        (format!("{}{other}uuid = \"{UUID}\"\n", case(&format!("uuid = \"{UUID}\""))), "13: UUID 4c4c4544-", "keep one"),
        (format!("{}{other}circuit_id = \"text:a\"\n", case("circuit_id = \"61\"")), "13: circuit ID text:a has a reservation", "keep one"),
    ];
    let cases: Vec<(&str, &str, &str)> = owned.iter().map(|(lines, expected, remedy)| (lines.as_str(), *expected, *remedy)).collect();
    refuses(&cases);
}

const UUID: &str = "4c4c4544-0042-3510-8052-b4c04f564231";

#[test]
fn classes_that_can_not_match() {
    refuses(&[
        ("[[class]]\nname = \"a\"\n", "9: class `a` does not say who is in it", "add `arch`"),
        ("[[class]]\nname = \"\"\narch = [7]\n", "9: a class has no usable name", "1 to 64"),
        ("[[class]]\narch = [7]\n", "8: missing field `name`", ""),
        ("[[class]]\nname = \"a\"\narch = [7]\n[[class]]\nname = \"a\"\narch = [9]\n", "12: class `a` is named twice", "another name"),
        ("[[class]]\nname = \"a\"\narch = []\n", "10: class `a` can't match: `arch` is an empty list", "name a value"),
        ("[[class]]\nname = \"a\"\narch = [\"x65\"]\n", "10: `x65` is not an architecture", "IANA"),
        ("[[class]]\nname = \"a\"\narch = [70000]\n", "10: `70000` is not an architecture", "IANA"),
        ("[[class]]\nname = \"a\"\narch = [true]\n", "10: `true` is not an architecture", "IANA"),
        ("[[class]]\nname = \"a\"\nvendor_class = [\"\"]\n", "10: `` can't match", "as the client sends it"),
        ("[[class]]\nname = \"a\"\nvendor_class = [\"PXE*:Arch\"]\n", "10: `PXE*:Arch` has a `*` before its end", "at the end only"),
        ("[[class]]\nname = \"a\"\nmac_prefix = [\"5254zz\"]\n", "10: `5254zz` is not the beginning of a hardware address", "52:54:00"),
        ("[[class]]\nname = \"a\"\nmac_prefix = [\"01:00:5e\"]\n", "10: `01:00:5e` can't match: it is the beginning of group", "even"),
        ("[[class]]\nname = \"a\"\nrelay = [\"10.0.0.1\"]\n", "10: class `a` can't match: no subnet has the relay 10.0.0.1", "`relays`"),
        (
            "[[class]]\nname = \"a\"\narch = [7]\nvendor_class = [\"PXEClient:Arch:00000*\"]\n",
            "10: class `a` can't match: `vendor_class` names x86-bios, and `arch` does not",
            "remove one",
        ),
        (
            "[[class]]\nname = \"a\"\nvendor_class = [\"PXEClient*\"]\noptions = { 43 = \"hex:01:01:01\" }\n",
            "11: option vendor-encapsulated (43) can't be set for machines that boot",
            "another",
        ),
        ("[[class]]\nname = \"a\"\nmac = [\"52:54:00\"]\n", "10: unknown field `mac`", ""),
    ]);
}

#[test]
fn a_class_behind_a_relay_that_somebody_names_is_taken() {
    for lines in [
        "relays = [\"10.0.0.0/24\"]\n[[class]]\nname = \"a\"\nrelay = [\"10.0.0.1\"]\n",
        "[dhcp]\nrelays = [\"10.0.0.1\", \"192.0.2.0/24\"]\n[[class]]\nname = \"a\"\nrelay = [\"10.0.0.0/8\"]\n",
        "[[class]]\nname = \"a\"\nrelay = [\"192.0.2.7\"]\n",
    ] {
        let text = format!("{INTERFACE}[[subnet]]\nnetwork = \"192.0.2.0/24\"\npools = [\"192.0.2.100-192.0.2.199\"]\n{lines}");
        assert_eq!(read(&text).unwrap().classes().len(), 1, "{lines}");
    }
}

#[test]
fn times_that_do_not_fit_together() {
    refuses(&[
        (
            "min_lease_time = \"2h\"",
            "8: `min_lease_time` of 2h (line 8) is more than `lease_time` of 1h (built in)",
            "min_lease_time <= lease_time",
        ),
        ("max_lease_time = \"10m\"", "8: `lease_time` of 1h (built in) is more than `max_lease_time` of 10m (line 8)", ""),
        (
            "renewal_time = \"55m\"",
            "8: `renewal_time` of 55m (line 8) is not less than `rebinding_time` of 52m 30s (built in)",
            "seven eighths",
        ),
        (
            "rebinding_time = \"1h\"",
            "8: `rebinding_time` of 1h (line 8) is not less than `lease_time` of 1h (built in)",
            "renewal_time < rebinding",
        ),
        (
            "lease_time = \"20m\"\n[dhcp]\nrenewal_time = \"30m\"",
            "10: `renewal_time` of 30m (line 10) is not less than `rebinding_time`",
            "",
        ),
        ("[[class]]\nname = \"a\"\narch = [7]\nlease_time = \"2h\"\nmax_lease_time = \"1h\"", "12: `lease_time` of 2h (line 11)", ""),
        (
            "lease_time = \"2h\"\n[[class]]\nname = \"a\"\narch = [7]\nmax_lease_time = \"1h\"",
            "12: `lease_time` of 2h (line 8) is more than `max_lease_time` of 1h (line 12)",
            "",
        ),
        (
            "[[subnet.reservation]]\nmac = \"52:54:00:00:00:01\"\naddress = \"192.0.2.9\"\nmin_lease_time = \"2h\"",
            "11: `min_lease_time` of 2h (line 11) is more than `lease_time` of 1h (built in)",
            "",
        ),
        ("renewal_time = \"0s\"", "8: `0s` is not a time", "number and its unit"),
        ("lease_time = \"90500ms\"", "8: `90500ms` is not a lease time", "365d"),
        ("[dhcp]\noffer_hold = \"1h\"", "9: `offer_hold` is `1h`", "10m"),
        ("[dhcp]\ndecline_quarantine = \"1s\"", "9: `decline_quarantine` is `1s`", "30d"),
        ("[dhcp.limits]\noffers = 0", "9: `dhcp.limits.offers` is 0; it may be 16 to 1000000", "16384"),
        ("[dhcp.limits]\nclient_rate = -1", "9: `dhcp.limits.client_rate` is -1; it may be 4 to 100000", "20"),
    ]);
}

#[test]
fn subnets_that_can_not_share_a_link() {
    let other = |more: &str| {
        format!(
            "shared_network = \"floor\"\n[[subnet]]\nnetwork = \"198.51.100.0/24\"\npools = [\"198.51.100.10-198.51.100.99\"]\n{more}\n"
        )
    };
    let reservation = |address: &str| format!("[[subnet.reservation]]\nmac = \"52:54:00:12:34:56\"\naddress = \"{address}\"\n");
    let owned = [
        ("shared_network = \"\"".to_owned(), "8: `shared_network` is no usable name", "the same name"),
        (
            other("shared_network = \"floor\"\n[[interface]]\nname = \"eth2\"\nmode = \"server\"\naddress = \"198.51.100.1\""),
            "12: subnets 192.0.2.0/24 and 198.51.100.0/24 are on one link by `shared_network = \"floor\"`, and on the interfaces `eth1` and `eth2`",
            "names of their own",
        ),
        (
            format!(
                "{}{}",
                reservation("192.0.2.9"),
                "[[subnet]]\nnetwork = \"198.51.100.0/24\"\nshared_network = \"floor\"\n".to_owned() + &reservation("198.51.100.9")
            )
            .replacen("[[subnet.reservation]]", "shared_network = \"floor\"\n[[subnet.reservation]]", 1),
            "17: 52:54:00:12:34:56 has a reservation in subnet 192.0.2.0/24 already, which is on the same link",
            "keep one",
        ),
        ("classes = []".to_owned(), "8: the pools of subnet 192.0.2.0/24 are for nobody", "name a class"),
        ("classes = [\"phones\"]".to_owned(), "8: there is no class `phones`", "add a `[[class]]`"),
        ("classes = [\"phones\"]\n[[class]]\nname = \"phone\"\narch = [7]".to_owned(), "8: there is no class `phones`", "`phone`"),
    ];
    let cases: Vec<(&str, &str, &str)> = owned.iter().map(|(lines, expected, remedy)| (lines.as_str(), *expected, *remedy)).collect();
    refuses(&cases);
    // Nobody could ask for an address of the second one, were it not on the link of the first.
    let text = format!("{}[dhcp]\nrelays = [\"10.0.0.1\"]\n", other("shared_network = \"floor\""));
    let text = format!("{INTERFACE}[[subnet]]\nnetwork = \"192.0.2.0/24\"\npools = [\"192.0.2.100-192.0.2.199\"]\n{text}");
    assert_eq!(read(&text).unwrap().link(1), [0, 1]);
}

#[test]
fn names_that_nobody_knows() {
    refuses(&[
        ("always_send = [\"ntp\"]", "8: `ntp` is not an option", "`ntp-servers`"),
        ("always_send = [54]", "8: `always_send` holds option server-identifier (54), and the server decides", "remove"),
        ("always_send = [true]", "8: `always_send` holds true; it lists options by name or number", "always_send = ["),
        ("boot_files = { x65 = \"a\" }", "8: `x65` is not an architecture", "IANA"),
        ("boot_files = { x64-uefi = \"a\", 7 = \"b\" }", "8: architecture x64-uefi has a boot file already", "keep one"),
        ("[boot.files]\nx64-uefi = \"a\"\n7 = \"b\"", "9: architecture x64-uefi has a boot file already (line 10)", "keep one"),
    ]);
}

#[test]
fn what_nobody_can_reach_or_means_nothing() {
    refuses(&[
        (
            "[dhcp]\nrelays = [\"10.0.0.1\"]\n[[subnet]]\nnetwork = \"198.51.100.0/24\"\npools = [\"198.51.100.10-198.51.100.99\"]",
            "11: nobody can ask for an address of subnet 198.51.100.0/24: no interface is in it, and no relay of it may ask",
            "add the address of its relay",
        ),
        (
            "[[interface]]\nname = \"eth2\"\nmode = \"proxy\"\naddress = \"198.51.100.1\"\nauthoritative = true",
            "12: interface `eth2` is `authoritative` and gives out no addresses",
            "mode = \"server\"",
        ),
        ("[[subnet]]\nnetwork = \"192.0.2.128/25\"\npools = [\"192.0.2.200-192.0.2.210\"]", "9: subnet 192.0.2.128/25 overlaps", "smaller"),
    ]);
}
