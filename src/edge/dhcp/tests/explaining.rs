use std::net::Ipv4Addr;

use super::packet::{Answer, Packet};
use super::site::{SERVER, Site};
use crate::edge::dhcp::DropReason;
use crate::edge::dhcp::config::policy::Origin;
use crate::edge::dhcp::explain::{AddressReason, Explanation, Level, NoBootReason, Source, Step, SubnetReason, TimeReason};

const CONFIG: &str = r#"[[interface]]
name = "eth1"
mode = "server"
address = "192.0.2.1"
[[class]]
name = "no boot"
mac_prefix = ["52:54:00:12:34:07"]
boot = false
[[subnet]]
network = "192.0.2.0/24"
pools = ["192.0.2.100-192.0.2.101"]
lease_time = "1h"
max_lease_time = "2h"
routers = ["192.0.2.254"]
"#;

fn has(explanation: &Explanation, step: &Step) {
    assert!(explanation.steps.contains(step), "{step:?} is not among {:#?}", explanation.steps);
}

#[test]
fn an_explanation_tells_the_subnet_the_address_the_times_and_each_option_with_its_line() {
    let mut site = Site::with_config(CONFIG);
    let discover = Packet::discover().mac(7).option(60, b"PXEClient").option(93, &[0, 7]).option(51, &86_400_u32.to_be_bytes());
    let explanation = site.explain(&discover.option(55, &[1, 3, 6]));
    let network = "192.0.2.0/24".parse().unwrap();
    let line = |level, line| Source::Configured(level, Origin::Line(line));
    has(&explanation, &Step::Subnet { network, origin: Origin::Line(10), reason: SubnetReason::Interface(SERVER) });
    has(&explanation, &Step::Class { name: "no boot".to_owned(), origin: Origin::Line(6) });
    has(&explanation, &Step::Address { address: Ipv4Addr::new(192, 0, 2, 100), reason: AddressReason::Unused });
    has(&explanation, &Step::LeaseTime { seconds: 7200, asked: Some(86_400), reason: TimeReason::Most(line(Level::Subnet, 13)) });
    has(&explanation, &Step::NoBootFile { reason: NoBootReason::NotAllowed(line(Level::Class, 8)) });
    has(&explanation, &Step::Option { code: 3, octets: vec![192, 0, 2, 254], source: line(Level::Subnet, 14) });
    assert_eq!(Answer::parse(&explanation.answers[0].payload).kind(), "OFFER");
    assert!(explanation.records.is_empty() && explanation.dropped.is_empty());
}

#[test]
fn a_capture_is_explained_in_one_go() {
    let mut site = Site::with_config(CONFIG);
    let mut reason = |packet: &Packet| {
        let explanation = site.explain(packet);
        let found = explanation.steps.iter().find_map(|step| match step {
            Step::Address { reason, .. } => Some(*reason),
            _ => None,
        });
        (found, explanation.records.len(), explanation.dropped)
    };
    let own = Ipv4Addr::new(192, 0, 2, 100);
    assert_eq!(reason(&Packet::discover().mac(1)), (Some(AddressReason::Unused), 0, vec![]));
    assert_eq!(reason(&Packet::request().mac(1).address(54, SERVER).address(50, own)), (Some(AddressReason::Requested), 1, vec![]));
    assert_eq!(reason(&Packet::request().mac(1).ciaddr(own)), (Some(AddressReason::Extended), 1, vec![]));
    assert_eq!(reason(&Packet::discover().mac(1)), (Some(AddressReason::Held), 0, vec![]));
    assert_eq!(reason(&Packet::discover().mac(2).address(50, Ipv4Addr::new(192, 0, 2, 101))), (Some(AddressReason::Requested), 0, vec![]));
    assert_eq!(reason(&Packet::discover().mac(3)), (None, 0, vec![DropReason::NoFreeAddress]));
}

#[test]
fn what_a_boot_file_was_chosen_by_is_told() {
    let mut site = Site::with_config(&format!("{CONFIG}[boot.files]\nx64-uefi = \"own.efi\"\n"));
    let explanation = site.explain(&Packet::discover().option(60, b"PXEClient").option(93, &[0, 7]));
    let source = Source::Configured(Level::General, Origin::Line(16));
    has(&explanation, &Step::BootFile { file: "own.efi".to_owned(), arch: Some(crate::wire::ClientArch::X64_UEFI), source });
    let explanation = site.explain(&Packet::discover().option(60, b"PXEClient").option(93, &[0, 6]));
    has(&explanation, &Step::NoBootFile { reason: NoBootReason::NoFile });
}
