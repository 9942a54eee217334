//! `fairlead-edge explain`: what a machine would be answered, and why.

mod capture;
mod rendering;
mod request;

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use self::capture::Captured;
use self::rendering::Explained;
use self::request::Machine;
use super::lease;
use crate::clock::{self, Timestamp};
use crate::command_line::say;
use crate::edge::config::EdgeConfig;
use crate::edge::dhcp::config::{DhcpConfig, Mode, parse_hex};
use crate::edge::dhcp::{BootSettings, Engine, Fresh, Ingress, InterfaceId, SERVER_PORT, TicketMinter};
use crate::edge::lease::{Journal, LeaseRecord};
use crate::edge::state::StateDir;
use crate::failure::{Failure, Result};
use crate::wire::{BootId, MacAddr, Nonce, SystemUuid};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group(clap::ArgGroup::new("what").required(true).args(["pcap", "hex", "mac"])))]
pub(super) struct ExplainArguments {
    /// Explain every DHCP request of a capture (pcap or pcapng)
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Explain this DHCP message, in hexadecimal digits from its first octet (op) on; - reads it from standard input
    #[arg(long, value_name = "HEX")]
    hex: Option<String>,
    #[command(flatten)]
    machine: Machine,
    /// The interface that it comes in on; by default the one that it was sent to, or the first that fits
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// As JSON: one object a request
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:\n  fairlead-edge explain --mac 52:54:00:12:34:56 --arch x64-uefi\n  \
    fairlead-edge explain --mac 52:54:00:12:34:56 --arch 0 --relay 198.51.100.1 --user-class iPXE\n  \
    fairlead-edge explain --pcap boot.pcapng --interface eth1\n  xxd -p discover.bin | fairlead-edge explain --hex -\n\n\
    Nothing is sent or written. Leases and the cloud's settings are read from the state folder where that is possible; a described machine is \
    answered as if it asked for every option that the configuration has.";

pub(super) fn run(arguments: &ExplainArguments, path: &Path) -> Result<()> {
    let config = EdgeConfig::load(path)?;
    let requests = requests(arguments, &config.dhcp)?;
    let mut notes = Vec::new();
    let (records, settings) = state(&config, &mut notes);
    let config = Arc::new(config.dhcp);
    let mut engine = Engine::new(Arc::clone(&config), records);
    engine.set_boot_settings(settings);
    let (now, first) = (clock::now(), requests.first().map_or(0, |request| request.at));
    if !arguments.json {
        for note in notes {
            say(&format!("note: {note}"))?;
        }
    }
    for request in &requests {
        let place = interface(arguments, &config, request)?;
        let interface = config.interfaces().get(place).ok_or_else(crate::edge::run::no_interface)?;
        let ingress =
            Ingress { interface: InterfaceId(place), source: request.source, destination: request.destination, port: request.port };
        let at = now.after(Duration::from_micros(request.at.saturating_sub(first)));
        let explanation = engine.explain(at, &ingress, &request.payload, fresh(request.number));
        let packet = arguments.pcap.is_some().then_some(request.number);
        let explained = Explained { explanation: &explanation, interface, packet, path };
        say(&if arguments.json { explained.json() } else { explained.text() })?;
    }
    Ok(())
}

fn requests(arguments: &ExplainArguments, config: &DhcpConfig) -> Result<Vec<Captured>> {
    if config.interfaces().is_empty() {
        return Err(crate::edge::run::no_interface());
    }
    if let Some(path) = &arguments.pcap {
        let file = std::fs::read(path).map_err(|error| Failure::new(format!("cannot read `{}`", path.display())).cause(&error))?;
        let requests = capture::read(&file).map_err(|error| {
            Failure::new(format!("`{}` can't be read as a capture", path.display()))
                .cause(&error)
                .hint("tcpdump -w FILE, dumpcap and Wireshark write what can be read: pcap or pcapng, not compressed")
        })?;
        if requests.is_empty() {
            return Err(Failure::new(format!("`{}` has no DHCP request in it", path.display()))
                .hint("capture with `tcpdump -i any -w FILE udp port 67 or udp port 4011` while the machine asks"));
        }
        return Ok(requests);
    }
    if let Some(hex) = &arguments.hex {
        return Ok(vec![from_hex(hex)?]);
    }
    if arguments.machine.is_told() {
        return Ok(vec![arguments.machine.discover(config)?]);
    }
    Err(Failure::new("nothing to explain").hint("give --pcap, --hex or --mac"))
}

fn from_hex(text: &str) -> Result<Captured> {
    let mut input = String::new();
    let text = if text == "-" {
        std::io::stdin().read_to_string(&mut input).map_err(|error| Failure::new("cannot read standard input").cause(&error))?;
        input.split_whitespace().collect::<String>()
    } else {
        text.trim().to_owned()
    };
    let payload = parse_hex(&text).ok_or_else(|| {
        Failure::new("that is no message in hexadecimal digits")
            .hint("write two digits an octet, with colons or nothing between them, from the octet `op` (01) on")
    })?;
    let source = std::net::SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 68);
    Ok(Captured { number: 1, at: 0, source, destination: std::net::Ipv4Addr::BROADCAST, port: SERVER_PORT, payload })
}

/// The place of the interface that a request comes in on: the one that is told, that it was sent to, or in whose subnet its
/// sender is; else the first that answers on the port.
fn interface(arguments: &ExplainArguments, config: &DhcpConfig, request: &Captured) -> Result<usize> {
    let interfaces = config.interfaces();
    if let Some(name) = &arguments.interface {
        return interfaces.iter().position(|interface| interface.name == *name).ok_or_else(|| {
            let names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
            Failure::new(format!("interface `{name}` is not in the configuration, or is off"))
                .hint(format!("those that are: {}", names.join(", ")))
        });
    }
    let sent_to = interfaces.iter().position(|interface| interface.address == request.destination);
    let near = || {
        let subnet = config.subnets().iter().find(|subnet| subnet.network.value.contains(*request.source.ip()))?;
        interfaces.iter().position(|interface| subnet.network.value.contains(interface.address))
    };
    let answers = || interfaces.iter().position(|interface| request.port == SERVER_PORT || interface.mode == Mode::Proxy);
    Ok(sent_to.or_else(near).or_else(answers).unwrap_or(0))
}

/// What the state folder has, as far as it can be read.
fn state(config: &EdgeConfig, notes: &mut Vec<String>) -> (Vec<LeaseRecord>, Option<Arc<BootSettings>>) {
    let path = &config.state_dir;
    let state = match StateDir::existing(path) {
        Ok(Some(state)) => state,
        Ok(None) => {
            notes.push(format!(
                "there is no state folder `{}`: explained without leases, and no boot file is named before the cloud was reached",
                path.display()
            ));
            return (Vec::new(), None);
        }
        Err(error) => {
            notes.push(format!("explained without leases, and without boot files: {}", one_line(&error)));
            return (Vec::new(), None);
        }
    };
    let leases = path.join(lease::FOLDER);
    let records = if leases.exists() {
        Journal::read(&leases).unwrap_or_else(|error| {
            notes.push(format!("explained without leases: {}", one_line(&error)));
            Vec::new()
        })
    } else {
        Vec::new()
    };
    let settings = match state.identity() {
        Ok(Some(identity)) => match state.settings(&identity) {
            Ok(Some(settings)) => Some(settings),
            Ok(None) => {
                notes.push("no settings from the cloud yet: no boot file is named until it was reached once".to_owned());
                None
            }
            Err(error) => {
                notes.push(format!("explained without boot files: {}", one_line(&error)));
                None
            }
        },
        Ok(None) => {
            notes.push("this box has not joined a cloud: no boot file is named".to_owned());
            None
        }
        Err(error) => {
            notes.push(format!("explained without boot files: {}", one_line(&error)));
            None
        }
    };
    let settings = settings.map(|settings| {
        let (root, boot_url) = (settings.root, settings.boot_url);
        Arc::new(BootSettings { root, boot_url, http_port: config.http_port.get(), minter: Arc::new(NoTicket) })
    });
    (records, settings)
}

/// An error with its causes, on one line.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Signs nothing: what is explained must not be good for a boot.
struct NoTicket;

impl TicketMinter for NoTicket {
    fn mint(&self, _: Timestamp, _: BootId, _: MacAddr, _: Option<SystemUuid>, _: Nonce) -> Option<String> {
        Some("(a boot ticket, which is signed when it is sent)".to_owned())
    }
}

impl fmt::Debug for NoTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoTicket")
    }
}

/// Nothing of it is sent, so it need not be random.
fn fresh(number: usize) -> Fresh {
    let octets @ [a, b, c, d, e, g, h, i] = u64::try_from(number).unwrap_or_default().to_be_bytes();
    Fresh { boot: BootId(octets), nonce: Nonce([a, b, c, d, e, g, h, i, 0, 0, 0, 0]) }
}
