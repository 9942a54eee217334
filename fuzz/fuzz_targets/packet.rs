//! One datagram to a fresh engine: the parser, and the answer that follows.
//!
//! Input: an octet that chooses mode, port and source, and the datagram.
#![no_main]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, LazyLock};

use fairlead::clock::Timestamp;
use fairlead::config_file::Source;
use fairlead::edge::config::EdgeConfig;
use fairlead::edge::dhcp::config::DhcpConfig;
use fairlead::edge::dhcp::{Action, DropReason, Engine, Fresh, Ingress, InterfaceId, Outcome, Outgoing, PXE_PORT, SERVER_PORT};
use fairlead::wire::{BootId, Nonce};
use fairlead_fuzz::message::{ACK, Answer, NAK, OFFER};
use fairlead_fuzz::{SERVER, boot_settings};
use libfuzzer_sys::fuzz_target;

static SERVER_CONFIG: LazyLock<Arc<DhcpConfig>> = LazyLock::new(|| {
    config(
        r#"
        [[interface]]
        name = "eth1"
        mode = "server"
        address = "192.0.2.1"
        [[subnet]]
        network = "192.0.2.0/24"
        pools = ["192.0.2.100-192.0.2.119"]
        routers = ["192.0.2.254"]
        dns = ["192.0.2.53", "192.0.2.54"]
        ntp = ["192.0.2.1"]
        domain = "site.example"
        [[subnet.reservation]]
        mac = "52:54:00:12:34:99"
        address = "192.0.2.110"
        [[subnet]]
        network = "198.51.100.0/24"
        pools = ["198.51.100.50-198.51.100.60"]
    "#,
    )
});
static PROXY_CONFIG: LazyLock<Arc<DhcpConfig>> =
    LazyLock::new(|| config("[[interface]]\nname = \"eth1\"\nmode = \"proxy\"\naddress = \"192.0.2.1\"\n"));

fn config(text: &str) -> Arc<DhcpConfig> {
    Arc::new(EdgeConfig::from_source(&Source::from_text("edge.toml", text)).expect("the configuration is good").dhcp)
}

/// Nothing that goes out is longer than an Ethernet frame carries, or than any client takes that does not say otherwise.
const LONGEST: usize = 1472;

fn check(request: &[u8], sent: &Outgoing) {
    let answer = Answer::parse(&sent.payload).unwrap_or_else(|error| panic!("{error}: {:?}", sent.payload));
    assert!(matches!(answer.kind, OFFER | ACK | NAK));
    assert_eq!(answer.xid.to_be_bytes(), request[4..8], "the transaction of another client");
    assert_eq!(sent.payload[28..44], request[28..44], "the hardware address of another client");
    assert!(sent.payload.len() <= LONGEST, "{} octets", sent.payload.len());
    assert!(answer.server().is_some(), "no server identifier");
}

fuzz_target!(|input: &[u8]| {
    let Some((&choice, datagram)) = input.split_first() else { return };
    let (config, port) = match choice & 3 {
        0 | 1 => (&SERVER_CONFIG, SERVER_PORT),
        2 => (&PROXY_CONFIG, SERVER_PORT),
        _ => (&PROXY_CONFIG, PXE_PORT),
    };
    let mut engine = Engine::new(Arc::clone(config), Vec::new());
    engine.set_boot_settings((choice & 4 == 0).then(boot_settings));
    let (source, destination) = match choice >> 4 & 3 {
        0 | 1 => (SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68), Ipv4Addr::BROADCAST),
        2 => (SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 100), 68), SERVER),
        _ => (SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 67), SERVER),
    };
    let now = Timestamp::from_secs(1_800_000_000);
    let ingress = Ingress { interface: InterfaceId(0), source, destination, port };
    let fresh = Fresh { boot: BootId([1; 8]), nonce: Nonce([choice >> 5; 12]) };
    for action in engine.handle(now, &ingress, datagram, fresh) {
        if let Action::Send(sent) = action {
            check(datagram, &sent);
            // A server's answer that comes back to it is no request.
            let echoed = engine.handle(now, &ingress, &sent.payload, fresh);
            assert!(matches!(echoed[..], [Action::Drop(DropReason::Malformed(_) | DropReason::FromServer)]), "{echoed:?}");
        } else if let Action::Commit(commit) = action {
            let outcome = if choice & 8 == 0 { Outcome::Durable } else { Outcome::Failed };
            for action in engine.settle(now, commit, outcome) {
                if let Action::Send(sent) = action {
                    check(datagram, &sent);
                }
            }
        }
    }
});
