use super::*;

const BEFORE: &str = r#"
[[interface]]
name = "eth1"
mode = "server"
address = "192.0.2.1"
[dhcp]
lease_time = "2h"
[[subnet]]
network = "192.0.2.0/24"
pools = ["192.0.2.100-192.0.2.199"]
routers = ["192.0.2.254"]
ntp = ["192.0.2.1"]
[[subnet.reservation]]
mac = "52:54:00:12:34:56"
address = "192.0.2.10"
[[subnet]]
network = "198.51.100.0/24"
pools = ["198.51.100.10-198.51.100.99"]
[[subnet.reservation]]
mac = "52:54:00:12:34:57"
address = "198.51.100.10"
[[class]]
name = "a"
arch = [7]
boot = false
[[class]]
name = "b"
arch = [9]
boot = false
"#;

fn difference(before: &str, after: &str) -> Vec<String> {
    read(before).unwrap().difference(&read(after).unwrap()).iter().map(ToString::to_string).collect()
}

#[test]
fn what_only_moved_to_another_line_is_no_difference() {
    assert_eq!(difference(BEFORE, &format!("\n\n# a comment\n{BEFORE}")), Vec::<String>::new());
}

#[test]
fn subnets_that_come_to_share_a_link_and_pools_that_are_for_a_class_are_told() {
    let after = BEFORE
        .replace("pools = [\"192.0.2.100", "shared_network = \"floor\"\npools = [\"192.0.2.100")
        .replace("pools = [\"198.51.100.10", "shared_network = \"floor\"\nclasses = [\"b\", \"a\"]\npools = [\"198.51.100.10");
    assert_eq!(
        difference(BEFORE, &after),
        [
            "line 10: subnet 192.0.2.0/24: shared_network is floor, was not set",
            "line 19: subnet 198.51.100.0/24: shared_network is floor, was not set",
            "line 20: subnet 198.51.100.0/24: classes is b, a, was not set",
        ]
    );
}

#[test]
fn what_is_other_new_and_gone_is_told_with_its_line() {
    let after = r#"
[[interface]]
name = "eth1"
mode = "observe"
address = "192.0.2.1"
[[subnet]]
network = "192.0.2.0/24"
pools = ["192.0.2.100-192.0.2.149"]
routers = ["192.0.2.253"]
dns = ["192.0.2.53"]
[[subnet.reservation]]
mac = "52:54:00:12:34:56"
address = "192.0.2.11"
boot_files = { x64-uefi = "" }
[[subnet]]
network = "203.0.113.0/24"
pools = ["203.0.113.10-203.0.113.99"]
[[subnet.reservation]]
mac = "52:54:00:12:34:57"
address = "203.0.113.10"
[[class]]
name = "b"
arch = [9]
boot = false
[[class]]
name = "a"
arch = [7, 9]
boot = false
[boot.files]
ebc = ""
"#;
    assert_eq!(
        difference(BEFORE, after),
        [
            "line 3: interface `eth1`: mode is observe, was server (old line 3)",
            "[dhcp]: lease_time is 1h, was 2h (old line 7)",
            "line 7: subnet 192.0.2.0/24: pools is 192.0.2.100-192.0.2.149, was 192.0.2.100-192.0.2.199 (old line 9)",
            "line 9: subnet 192.0.2.0/24: option routers is 192.0.2.253, was 192.0.2.254 (old line 11)",
            "line 10: subnet 192.0.2.0/24: option domain-name-servers is 192.0.2.53, was not set",
            "line 13: reservation for 52:54:00:12:34:56 in subnet 192.0.2.0/24: address is 192.0.2.11, was 192.0.2.10 (old line 15)",
            "line 14: reservation for 52:54:00:12:34:56 in subnet 192.0.2.0/24: boot file for x64-uefi is none, was not set",
            "line 16: subnet 203.0.113.0/24 is new",
            "line 22: classes: order is b, a, was a, b (old line 23)",
            "line 26: class `a`: arch is x64-uefi, ebc, was x64-uefi (old line 23)",
            "line 30: [boot.files]: ebc is none, was not set",
            "subnet 192.0.2.0/24: option ntp-servers is not set any more, was 192.0.2.1 (old line 12)",
            "subnet 198.51.100.0/24 is gone (old line 17)",
        ]
    );
}
