//! A request as the machine would send it that the command line describes.

use std::net::{Ipv4Addr, SocketAddrV4};

use clap::Args;

use super::capture::Captured;
use crate::edge::dhcp::config::{DhcpConfig, parse_arch, parse_hex};
use crate::edge::dhcp::{CLIENT_PORT, SERVER_PORT};
use crate::failure::{Failure, Result};
use crate::wire::{ClientArch, MacAddr, SystemUuid};

/// A machine, in what its DISCOVER says of it.
#[derive(Debug, Args)]
pub(super) struct Machine {
    /// Explain what a machine with this hardware address would be answered
    #[arg(long, value_name = "MAC")]
    mac: Option<MacAddr>,
    /// Its architecture (option 93): a name such as x64-uefi, or a number of IANA's list
    #[arg(long, requires = "mac", value_parser = arch, value_name = "ARCH")]
    arch: Option<ClientArch>,
    /// The relay that passes the request on (giaddr)
    #[arg(long, requires = "mac", value_name = "ADDRESS")]
    relay: Option<Ipv4Addr>,
    /// Its vendor class (option 60); by default that of PXE or HTTP boot when an architecture is given
    #[arg(long, requires = "mac", value_name = "TEXT")]
    vendor_class: Option<String>,
    /// Its user class (option 77); iPXE stands for one that can go on to the cloud
    #[arg(long, requires = "mac", value_name = "TEXT")]
    user_class: Option<String>,
    /// Its UUID (option 97)
    #[arg(long, requires = "mac", value_name = "UUID")]
    uuid: Option<SystemUuid>,
    /// Its client identifier (option 61), in hex, or `text:` and a text
    #[arg(long, requires = "mac", value_parser = octets, value_name = "HEX")]
    client_id: Option<Octets>,
    /// The circuit ID that the relay adds (option 82), in hex, or `text:` and a text
    #[arg(long, requires = "relay", value_parser = octets, value_name = "HEX")]
    circuit_id: Option<Octets>,
    /// The address that it asks for (option 50)
    #[arg(long, requires = "mac", value_name = "ADDRESS")]
    request: Option<Ipv4Addr>,
}

#[derive(Clone, Debug)]
struct Octets(Vec<u8>);

fn arch(text: &str) -> std::result::Result<ClientArch, String> {
    parse_arch(text)
        .ok_or_else(|| "no architecture; such are x86-bios, x64-uefi, arm64-uefi, x64-uefi-http, or a number of IANA's list".to_owned())
}

fn octets(text: &str) -> std::result::Result<Octets, String> {
    let octets = text.strip_prefix("text:").map_or_else(|| parse_hex(text), |text| Some(text.as_bytes().to_vec()));
    octets
        .filter(|octets| octets.len() <= 255)
        .map(Octets)
        .ok_or_else(|| "neither octets in hex, as in 01:52:54:00, nor `text:` and a text".to_owned())
}

/// What boot firmware and iPXE ask for, and what dhclient does.
const USUALLY_ASKED_FOR: [u8; 28] =
    [1, 3, 6, 12, 15, 17, 26, 28, 42, 43, 51, 54, 58, 59, 60, 66, 67, 97, 108, 114, 119, 121, 128, 129, 150, 175, 209, 210];

impl Machine {
    pub(super) const fn is_told(&self) -> bool {
        self.mac.is_some()
    }

    /// Its DISCOVER, which asks for all that the configuration has.
    pub(super) fn discover(&self, config: &DhcpConfig) -> Result<Captured> {
        let mac = self.mac.ok_or_else(|| Failure::new("no machine is described").hint("give --mac"))?;
        let relay = self.relay.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let mut packet = vec![1, 1, 6, u8::from(self.relay.is_some())];
        packet.extend([0x66, 0x6c, 0x78, 0x70, 0, 0, 0, 0]);
        for address in [Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED, relay] {
            packet.extend(address.octets());
        }
        packet.extend(mac.0);
        packet.resize(236, 0);
        packet.extend([99, 130, 83, 99, 53, 1, 1]);
        let mut put = |code: u8, octets: &[u8]| {
            let length = u8::try_from(octets.len()).map_err(|_| Failure::new(format!("option {code} is longer than 255 octets")))?;
            packet.extend([code, length]);
            packet.extend(octets);
            Ok::<(), Failure>(())
        };
        put(57, &1500_u16.to_be_bytes())?;
        put(55, &asked_for(config))?;
        if let Some(Octets(identifier)) = &self.client_id {
            put(61, identifier)?;
        }
        if let Some(address) = self.request {
            put(50, &address.octets())?;
        }
        if let Some(arch) = self.arch {
            put(93, &arch.0.to_be_bytes())?;
            put(94, &[1, 3, 16])?;
        }
        let program = |arch: ClientArch| if arch.boots_from_http() { "HTTPClient" } else { "PXEClient" };
        let usual = self.arch.map(|arch| format!("{}:Arch:{:05}:UNDI:003016", program(arch), arch.0));
        if let Some(class) = self.vendor_class.as_ref().or(usual.as_ref()) {
            put(60, class.as_bytes())?;
        }
        if let Some(class) = &self.user_class {
            put(77, class.as_bytes())?;
            if class == "iPXE" {
                // HTTPS, and version 2.0.0: an iPXE that can go on to the cloud.
                put(175, &[0x14, 1, 1, 0xeb, 3, 2, 0, 0])?;
            }
        }
        if let Some(SystemUuid([a, b, c, d, e, f, g, h, rest @ ..])) = self.uuid {
            put(97, &[&[0, d, c, b, a, f, e, h, g], rest.as_slice()].concat())?;
        }
        if let Some(Octets(circuit)) = &self.circuit_id {
            let length = u8::try_from(circuit.len()).unwrap_or(u8::MAX);
            put(82, &[&[1, length], circuit.as_slice()].concat())?;
        }
        packet.push(255);
        let source = match self.relay {
            Some(relay) => SocketAddrV4::new(relay, SERVER_PORT),
            None => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT),
        };
        Ok(Captured { number: 1, at: 0, source, destination: Ipv4Addr::BROADCAST, port: SERVER_PORT, payload: packet })
    }
}

fn asked_for(config: &DhcpConfig) -> Vec<u8> {
    let subnets = config.subnets().iter();
    let policies = subnets.flat_map(|subnet| std::iter::once(&subnet.policy).chain(subnet.reservations().iter().map(|one| &one.policy)));
    let policies = policies.chain(config.classes().iter().map(|class| &class.policy)).chain([&config.general().policy]);
    let mut codes = USUALLY_ASKED_FOR.to_vec();
    codes.extend(policies.flat_map(|policy| policy.options.iter().map(|option| option.code)));
    codes.sort_unstable();
    codes.dedup();
    codes.truncate(255);
    codes
}
