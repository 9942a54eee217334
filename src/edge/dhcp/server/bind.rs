use std::io;
use std::sync::Arc;

use super::port::{OpenSocket, Port};
use super::randomness::Randomness;
use super::segment::{Echoes, Listeners, Segment};
use crate::clock;
use crate::edge::dhcp::config::{DhcpConfig, Interface, Ipv4Network, Mode};
use crate::edge::dhcp::{Engine, InterfaceId, PXE_PORT, SERVER_PORT};
use crate::edge::socket::{DeviceSocket, FrameSocket, SystemInterface};
use crate::failure::Failure;

/// The ports of every interface of the configuration: those among `open` are kept with what waits in them, the others are opened.
pub(super) fn open_ports(config: &DhcpConfig, open: &[OpenSocket]) -> Result<Vec<Port>, Failure> {
    let mut ports = Vec::new();
    for (place, interface) in config.interfaces().iter().enumerate() {
        ports.append(&mut open_interface(config, InterfaceId(place), interface, open)?);
        tracing::info!("DHCP on `{}` as {:?}, {}", interface.name, interface.mode, interface.address);
    }
    Ok(ports)
}

/// Opens what is heard beside requests, and tells the engine of it. Where that can't be, requests are answered all the same, and it
/// is said once.
pub(super) fn open_listeners(config: &DhcpConfig, engine: &mut Engine) -> Listeners {
    let (randomness, now) = (Randomness::new(), clock::now());
    let mut listeners = Listeners::default();
    for (place, interface) in config.interfaces().iter().enumerate() {
        if interface.mode == Mode::Observe {
            continue;
        }
        let found = SystemInterface::find(&interface.name).and_then(|found| found.ok_or_else(|| io::ErrorKind::NotFound.into()));
        match found.and_then(|system| Segment::open(InterfaceId(place), &system)) {
            Ok(segment) => {
                engine.watch(now, segment.interface, segment.mac(), randomness.seed());
                listeners.segments.push(segment);
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => tracing::warn!(
                interface = interface.name,
                "no Ethernet: no address is probed there before it is given out, and other DHCP servers are not looked for"
            ),
            Err(error) => tracing::warn!(
                interface = interface.name,
                hint = "run as root or with the capability CAP_NET_RAW",
                "cannot listen to the network: no address is probed there before it is given out, and other DHCP servers are not looked for: {error}"
            ),
        }
    }
    let is_on_link = |network: Ipv4Network| config.interfaces().iter().any(|interface| network.contains(interface.address));
    if config.subnets().iter().any(|subnet| subnet.conflict_probe && !is_on_link(subnet.network.value)) {
        let [.., high, low] = randomness.seed().to_be_bytes();
        match Echoes::open(u16::from_be_bytes([high, low])) {
            Ok(echoes) => {
                engine.can_echo();
                listeners.echoes = Some(echoes);
            }
            Err(error) => tracing::warn!(
                hint = "run as root or with the capability CAP_NET_RAW",
                "cannot send ICMP echoes: addresses behind relays are not probed before they are given out: {error}"
            ),
        }
    }
    listeners
}

/// The ports of one interface, once it is what the configuration says of it.
pub(super) fn open_interface(
    config: &DhcpConfig,
    id: InterfaceId,
    interface: &Interface,
    open: &[OpenSocket],
) -> Result<Vec<Port>, Failure> {
    let system = check_interface(config, interface)?;
    let numbers: &[u16] = match interface.mode {
        Mode::Server | Mode::Observe => &[SERVER_PORT],
        Mode::Proxy => &[SERVER_PORT, PXE_PORT],
    };
    let mut ports = Vec::new();
    for number in numbers {
        let kept = open.iter().find(|socket| socket.is(&interface.name, system.index(), *number));
        let socket = match kept {
            Some(kept) => Arc::clone(&kept.socket),
            None => DeviceSocket::bind(&interface.name, *number)
                .map(Arc::new)
                .map_err(|error| port_failure(&error, &interface.name, *number))?,
        };
        let frames = match interface.mode {
            Mode::Server => open_frames(&system)?,
            Mode::Proxy | Mode::Observe => None,
        };
        ports.push(Port::new(id, (&interface.name, system.index()), interface.address, *number, socket, frames));
    }
    Ok(ports)
}

fn open_frames(system: &SystemInterface) -> Result<Option<FrameSocket>, Failure> {
    match FrameSocket::open(system) {
        Ok(frames) => Ok(Some(frames)),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(privilege_failure(&error, &system.name)),
        Err(error) => Err(Failure::new(format!("cannot send frames on interface `{}`", system.name)).cause(&error)),
    }
}

/// The configuration names addresses, so that it can be checked without the machine; here the machine is held against it.
fn check_interface(config: &DhcpConfig, interface: &Interface) -> Result<SystemInterface, Failure> {
    let Interface { name, mode, address, .. } = interface;
    let system = SystemInterface::find(name)
        .map_err(|error| Failure::new("cannot list the network interfaces").cause(&error))?
        .ok_or_else(|| {
            Failure::new(format!("network interface `{name}` does not exist"))
                .hint("`ip link` lists the interfaces; put the right name into `[[interface]]`, or set its mode to \"off\"")
        })?;
    let Some(found) = system.addresses.iter().find(|found| found.address == *address) else {
        let others: Vec<String> = system.addresses.iter().map(|found| found.address.to_string()).collect();
        let has = if others.is_empty() { "it has none".to_owned() } else { format!("it has {}", others.join(", ")) };
        return Err(Failure::new(format!("network interface `{name}` does not have the address {address}: {has}"))
            .hint(format!("give it the address (`ip address add {address}/PREFIX dev {name}`), or correct `address` in `[[interface]]`")));
    };
    let subnet = config.subnets().iter().find(|subnet| subnet.network.value.contains(*address));
    if let Some(subnet) = subnet
        && *mode == Mode::Server
        && subnet.network.value.mask() != found.mask
    {
        return Err(Failure::new(format!(
            "subnet {} is not the network of interface `{name}`, whose mask is {}: machines would be told a wrong network",
            subnet.network.value, found.mask
        ))
        .hint("make `network` in `[[subnet]]` and the interface's prefix the same"));
    }
    Ok(system)
}

fn port_failure(error: &io::Error, interface: &str, port: u16) -> Failure {
    match error.kind() {
        io::ErrorKind::AddrInUse => Failure::new(format!("UDP port {port} on interface `{interface}` is in use"))
            .hint(format!("another DHCP server runs on this machine: `ss -lunp 'sport = :{port}'` names it; stop it, or set the interface's mode to \"off\"")),
        io::ErrorKind::PermissionDenied => privilege_failure(error, interface),
        _ => Failure::new(format!("cannot open UDP port {port} on interface `{interface}`")).cause(error),
    }
}

fn privilege_failure(error: &io::Error, interface: &str) -> Failure {
    Failure::new(format!("no permission to serve DHCP on interface `{interface}`"))
        .cause(error)
        .hint("run as root or with the capabilities CAP_NET_BIND_SERVICE and CAP_NET_RAW")
}
