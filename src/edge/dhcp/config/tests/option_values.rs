use super::*;
use crate::edge::dhcp::config::in_words;

/// What an option's value is on the wire, or the error.
fn octets(line: &str) -> Result<Vec<u8>, String> {
    let text =
        format!("{INTERFACE}[[subnet]]\nnetwork = \"192.0.2.0/24\"\npools = [\"192.0.2.100-192.0.2.199\"]\n[subnet.options]\n{line}\n");
    let config = read(&text).map_err(|error| error.to_string())?;
    Ok(config.subnets()[0].policy.options.iter().next().unwrap().octets.clone())
}

#[test]
fn each_type_is_written_as_its_rfc_says() {
    let cases: [(&str, &[u8], &str); 29] = [
        ("time-offset = -3600", &[0xff, 0xff, 0xf1, 0xf0], "-3600"),
        ("log-servers = [\"192.0.2.7\", \"192.0.2.8\"]", &[192, 0, 2, 7, 192, 0, 2, 8], "192.0.2.7, 192.0.2.8"),
        ("log-servers = \"192.0.2.7\"", &[192, 0, 2, 7], "192.0.2.7"),
        ("7 = \"192.0.2.7\"", &[192, 0, 2, 7], "192.0.2.7"),
        ("swap-server = \"192.0.2.7\"", &[192, 0, 2, 7], "192.0.2.7"),
        ("ip-forwarding = true", &[1], "true"),
        ("static-routes = [[\"198.51.100.1\", \"192.0.2.1\"]]", &[198, 51, 100, 1, 192, 0, 2, 1], "198.51.100.1 192.0.2.1"),
        ("default-ip-ttl = 64", &[64], "64"),
        ("path-mtu-plateau-table = [296, 1500]", &[1, 40, 5, 220], "296, 1500"),
        ("interface-mtu = 9000", &[0x23, 0x28], "9000"),
        ("arp-cache-timeout = \"1m\"", &[0, 0, 0, 60], "1m"),
        ("arp-cache-timeout = 60", &[0, 0, 0, 60], "1m"),
        ("tftp-server-name = \"boot\"", b"boot", "boot"),
        ("domain-name = \"a.example\"", b"a.example", "a.example"),
        // RFC 8925, section 3.1.
        ("ipv6-only-preferred = \"30m\"", &[0, 0, 7, 8], "30m"),
        // RFC 4833, section 2.
        (
            "tz-posix = \"EST5EDT4,M3.2.0/02:00,M11.1.0/02:00\"",
            b"EST5EDT4,M3.2.0/02:00,M11.1.0/02:00",
            "EST5EDT4,M3.2.0/02:00,M11.1.0/02:00",
        ),
        // RFC 8910, section 2.1.
        ("captive-portal = \"https://p.example/\"", b"https://p.example/", "https://p.example/"),
        // RFC 3397, section 2.
        ("domain-search = [\"eng.example\", \"example\"]", b"\x03eng\x07example\0\x07example\0", "eng.example, example"),
        // RFC 3361, sections 3.1 and 3.2.
        ("sip-servers = [\"a.example\"]", b"\0\x01a\x07example\0", "a.example"),
        ("sip-servers = [\"192.0.2.5\"]", &[1, 192, 0, 2, 5], "192.0.2.5"),
        // RFC 3442, page 4: significant octets only.
        (
            "classless-static-routes = [{ to = \"0.0.0.0/0\", via = \"192.0.2.1\" }, { to = \"10.27.129.0/24\", via = \"192.0.2.2\" }]",
            &[0, 192, 0, 2, 1, 24, 10, 27, 129, 192, 0, 2, 2],
            "0.0.0.0/0 via 192.0.2.1, 10.27.129.0/24 via 192.0.2.2",
        ),
        (
            "classless-static-routes = [{ to = \"10.17.0.0/17\", via = \"192.0.2.2\" }]",
            &[17, 10, 17, 0, 192, 0, 2, 2],
            "10.17.0.0/17 via 192.0.2.2",
        ),
        // RFC 2132, section 8.4.
        ("vendor-encapsulated = { 6 = \"hex:08\", 9 = \"text:ab\" }", &[6, 1, 8, 9, 2, b'a', b'b'], "hex:06:01:08:09:02:61:62"),
        ("vendor-encapsulated = \"hex:0601:08\"", &[], ""),
        // RFC 3925, sections 3 and 4.
        ("vendor-class = { 3561 = \"text:ab\" }", &[0, 0, 0x0d, 0xe9, 2, b'a', b'b'], "hex:00:00:0d:e9:02:61:62"),
        ("vendor-options = { 3561 = { 1 = \"text:a\" } }", &[0, 0, 0x0d, 0xe9, 3, 1, 1, b'a'], "hex:00:00:0d:e9:03:01:01:61"),
        ("230 = \"hex:01:02\"", &[1, 2], "hex:01:02"),
        ("230 = \"text:abc\"", b"abc", "hex:61:62:63"),
        ("230 = [\"192.0.2.1\", \"192.0.2.2\"]", &[192, 0, 2, 1, 192, 0, 2, 2], "hex:c0:00:02:01:c0:00:02:02"),
    ];
    for (line, expected, words) in cases {
        if expected.is_empty() {
            assert!(octets(line).is_err(), "{line}: separators must be the same throughout");
            continue;
        }
        let octets = octets(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(octets, expected, "{line}");
        let key = line.split(' ').next().unwrap();
        let code = key.parse().unwrap_or_else(|_| option_table::by_name(key).unwrap().code);
        assert_eq!(in_words(code, &octets), words, "{line}");
    }
}

#[test]
fn every_options_example_is_taken() {
    for known in option_table::KNOWN {
        let line = format!("{} = {}", known.name, known.kind.example());
        let outcome = octets(&line);
        // The example is for the type; an option's bounds can be narrower.
        let fits = outcome.is_ok() || matches!(known.kind, option_table::Kind::Octet(_, most) if most < 64);
        assert!(fits, "{line}: {outcome:?}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_what_is_wanted_and_an_example() {
    let cases = [
        (
            "interface-mtu = \"big\"",
            "edge.toml:9: option `interface-mtu` (26) is a number from 68 to 65535; here it is \"big\"",
            "interface-mtu = 1500",
        ),
        (
            "interface-mtu = 67",
            "edge.toml:9: option `interface-mtu` (26) is a number from 68 to 65535; here it is 67",
            "interface-mtu = 1500",
        ),
        ("ip-forwarding = 1", "edge.toml:9: option `ip-forwarding` (19) is true or false; here it is 1", "ip-forwarding = true"),
        (
            "log-servers = [\n\"192.0.2.1\",\n\"log.example\"]",
            "edge.toml:11: option `log-servers` (7) is a list of IPv4 addresses, or one; in it, something is \"log.example\"",
            "log-servers = [\"192.0.2.1\", \"192.0.2.2\"]",
        ),
        ("log-servers = []", "edge.toml:9: option `log-servers` (7) is a list of IPv4 addresses, or one; here it is an empty list", ""),
        (
            "domain-search = [\"a..example\"]",
            "edge.toml:9: option `domain-search` (119) is a list of domain names, or one; in it, something is \"a..example\"",
            "",
        ),
        ("captive-portal = \"portal\"", "edge.toml:9: option `captive-portal` (114) is a URL; here it is \"portal\"", "https://"),
        ("ipv6-only-preferred = \"1 moon\"", "edge.toml:9: option `ipv6-only-preferred` (108) is a duration as text", "\"30m\""),
        ("classless-static-routes = [{ to = \"10.0.0.0/8\" }]", "edge.toml:9: option `classless-static-routes` (121) is a list", "via = "),
        (
            "classless-static-routes = [{ to = \"10.0.0.1/8\", via = \"192.0.2.1\" }]",
            "edge.toml:9: option `classless-static-routes`",
            "via = ",
        ),
        ("classless-static-routes = [{ two = \"10.0.0.0/8\" }]", "edge.toml:9: option `classless-static-routes`", ""),
        ("vendor-encapsulated = { 300 = \"hex:08\" }", "edge.toml:9: option `vendor-encapsulated` (43)", "{ 6 = \"hex:08\" }"),
        ("vendor-encapsulated = { 6 = 8 }", "edge.toml:9: option `vendor-encapsulated` (43)", "{ 6 = \"hex:08\" }"),
        ("tz-posix = \"\"", "edge.toml:9: option `tz-posix` (100) is text of 1 to 255 octets", ""),
        ("230 = 7", "edge.toml:9: option 230 has no type here, so its octets must be told; here it is 7", "230 = \"hex:01:02\""),
        ("230 = \"abc\"", "edge.toml:9: option 230 has no type here, so its octets must be told; here it is \"abc\"", "230 = \"text:abc\""),
        ("230 = \"hex:\"", "edge.toml:9: option 230 has no type here", ""),
        ("230 = \"text:\"", "edge.toml:9: option 230 has no type here, so its octets must be told; here it has 0 octets", ""),
        ("mtu = 1500", "edge.toml:9: `mtu` is not an option", "did you mean `interface-mtu`"),
        ("domain-names = [\"a.example\"]", "edge.toml:9: `domain-names` is not an option", "did you mean `domain-name`"),
        ("frob = 1", "edge.toml:9: `frob` is not an option", "docs/configuration.md lists the names"),
        ("300 = \"hex:01\"", "edge.toml:9: `300` is not an option", "1 to 254"),
        ("lease-time = 60", "edge.toml:9: option lease-time (51) can't be set: the server decides it", "set `lease_time`"),
        ("51 = 60", "edge.toml:9: option lease-time (51) can't be set: the server decides it", "set `lease_time`"),
        ("224 = \"hex:01\"", "edge.toml:9: option boot-ticket (224) can't be set", "take another of 226 to 254"),
        ("0 = \"hex:01\"", "edge.toml:9: option pad (0) can't be set", ""),
        ("7 = \"192.0.2.1\"\nlog-servers = \"192.0.2.1\"", "edge.toml:10: option log-servers (7) is set already (line 9)", "keep one"),
    ];
    for (line, expected, remedy) in cases {
        let error = octets(line).unwrap_err();
        let (what, hint) = error.split_once("\nhint: ").unwrap();
        assert!(what.starts_with(&format!("error: {expected}")) && hint.contains(remedy), "{line}: {error}");
    }
}

#[test]
fn a_short_form_beside_the_option_is_refused() {
    let error = subnet_error("pools = [\"192.0.2.100-192.0.2.199\"]\nntp = [\"192.0.2.1\"]\n[subnet.options]\nntp-servers = \"192.0.2.1\"");
    assert!(error.starts_with("error: edge.toml:8: option ntp-servers (42) is set already (line 10)"), "{error}");
}
