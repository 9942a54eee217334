//! `edge.toml` of any content: refused with a message, or a configuration that an engine can live with.
#![no_main]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use fairlead::clock::Timestamp;
use fairlead::config_file::Source;
use fairlead::edge::config::EdgeConfig;
use fairlead::edge::dhcp::{Action, Engine, Fresh, Ingress, InterfaceId, SERVER_PORT};
use fairlead::wire::{BootId, Nonce};
use fairlead_fuzz::boot_settings;
use fairlead_fuzz::message::{Answer, DISCOVER, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = str::from_utf8(input) else { return };
    let config = match EdgeConfig::from_source(&Source::from_text("edge.toml", text)) {
        Ok(config) => config.dhcp,
        Err(failure) => {
            assert!(failure.to_string().starts_with("error: edge.toml"), "does not say where: {failure}");
            return;
        }
    };
    let interfaces = config.interfaces().len();
    let mut engine = Engine::new(Arc::new(config), Vec::new());
    engine.set_boot_settings(Some(boot_settings()));
    let request =
        Message::new(DISCOVER, [0x52, 0x54, 0, 0x12, 0x34, 0x56], 7).option(93, &[0, 7]).option(60, b"PXEClient:Arch:00007:UNDI:003016");
    for place in 0..interfaces {
        let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
        let ingress = Ingress { interface: InterfaceId(place), source, destination: Ipv4Addr::BROADCAST, port: SERVER_PORT };
        let fresh = Fresh { boot: BootId([1; 8]), nonce: Nonce([1; 12]) };
        for action in engine.handle(Timestamp::from_secs(1_800_000_000), &ingress, &request.build(), fresh) {
            if let Action::Send(sent) = action {
                Answer::parse(&sent.payload).unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }
});
