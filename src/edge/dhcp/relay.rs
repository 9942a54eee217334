//! What relays say (RFC 3046 and its sub-options), and the subnet that a client is on.

use std::net::Ipv4Addr;

use super::action::DropReason;
use super::config::{DhcpConfig, Interface, Ipv4Network};
use super::engine::Exchange;
use super::explain::SubnetReason;
use super::message::Request;
use super::option;

/// Sub-option of option 82: the relay's port that the client is on.
const CIRCUIT_ID: u8 = 1;
/// Sub-option of option 82: an address in the client's subnet (RFC 3527).
const LINK_SELECTION: u8 = 5;
/// Sub-option of option 82: the address that clients are to take for the server's (RFC 5107).
const SERVER_IDENTIFIER_OVERRIDE: u8 = 11;

impl Request<'_> {
    /// The relay's name for where the client is plugged in.
    pub(super) fn circuit_id(&self) -> Option<&[u8]> {
        self.agent_option(CIRCUIT_ID)
    }

    /// The relay's address that goes for the server's, so that renewals pass through the relay too (RFC 5107).
    pub(super) fn server_identifier_override(&self) -> Option<Ipv4Addr> {
        self.agent_address(SERVER_IDENTIFIER_OVERRIDE)
    }

    fn agent_address(&self, code: u8) -> Option<Ipv4Addr> {
        self.agent_option(code).and_then(|octets| <[u8; 4]>::try_from(octets).ok()).map(Ipv4Addr::from)
    }

    /// A sub-option of option 82. Only a relay's counts: a client on the segment could claim to be anywhere (RFC 3046, section 2.1).
    /// Unlike elsewhere, 0 and 255 are numbers like any other here.
    fn agent_option(&self, wanted: u8) -> Option<&[u8]> {
        let mut rest = self.option(option::RELAY_AGENT).filter(|_| self.is_relayed())?;
        while let [code, length, after @ ..] = rest {
            let (value, after) = after.split_at_checked(usize::from(*length))?;
            if *code == wanted {
                return Some(value);
            }
            rest = after;
        }
        None
    }
}

/// The server identifier of an answer (option 54).
pub(super) fn server_identifier(request: &Request<'_>, interface: &Interface) -> Ipv4Addr {
    request.server_identifier_override().filter(|address| !address.is_unspecified()).unwrap_or(interface.address)
}

/// Whether a client that names this server means us: by the address that its relay has us go by, by the interface's own, or by the
/// one of ours that the datagram came to. Through a relay it may be any of ours, since the relay may know us by another one than
/// the interface that its datagrams come in on.
pub(super) fn is_us(exchange: &Exchange<'_>, server: Ipv4Addr) -> bool {
    let (request, interface) = (exchange.request, exchange.interface);
    let anywhere = request.is_relayed() || exchange.ingress.destination == server;
    server == interface.address
        || request.server_identifier_override() == Some(server)
        || (anywhere && exchange.config.interfaces().iter().any(|interface| interface.address == server))
}

/// The subnet that the client is on, by its place in the configuration, and what tells it.
///
/// In this order: the relay's link selection (RFC 3527), the client's subnet selection (option 118, RFC 3011), the relay's own address
/// (RFC 2131, section 4.3.1); for a client that renews by unicast, which may come through routers, its address; else the interface.
pub(super) fn select_subnet(exchange: &Exchange<'_>) -> Result<(usize, SubnetReason), DropReason> {
    let (request, config) = (exchange.request, exchange.config);
    let at = |address: Ipv4Addr| config.subnets().iter().position(|subnet| subnet.network.value.contains(address));
    if request.is_relayed() && !is_known_relay(config, request.giaddr) {
        return Err(DropReason::UnknownRelay);
    }
    if let Some(link) = request.agent_address(LINK_SELECTION) {
        return at(link).map(|place| (place, SubnetReason::LinkSelection(link))).ok_or(DropReason::UnknownSubnet);
    }
    if let Some(chosen) = request.address_option(option::SUBNET_SELECTION) {
        // RFC 3011, section 2: a server that does not have that subnet must not give an address of another one.
        return at(chosen).map(|place| (place, SubnetReason::SubnetSelection(chosen))).ok_or(DropReason::UnknownSubnet);
    }
    if request.is_relayed() {
        let giaddr = request.giaddr;
        let named = || config.subnets().iter().position(|subnet| holds(&subnet.relays, giaddr));
        return at(giaddr).or_else(named).map(|place| (place, SubnetReason::Relay(giaddr))).ok_or(DropReason::UnknownRelay);
    }
    if exchange.ingress.destination == exchange.interface.address
        && !request.ciaddr.is_unspecified()
        && let Some(place) = at(request.ciaddr)
    {
        return Ok((place, SubnetReason::ClientAddress(request.ciaddr)));
    }
    at(exchange.interface.address)
        .map(|place| (place, SubnetReason::Interface(exchange.interface.address)))
        .ok_or(DropReason::UnknownSubnet)
}

/// Whether a relay may ask: one of `dhcp.relays` or of a subnet's; when `dhcp.relays` names none, any that stands in a subnet too.
fn is_known_relay(config: &DhcpConfig, giaddr: Ipv4Addr) -> bool {
    let general = &config.general().relays;
    holds(general, giaddr)
        || config
            .subnets()
            .iter()
            .any(|subnet| holds(&subnet.relays, giaddr) || (general.is_empty() && subnet.network.value.contains(giaddr)))
}

fn holds(networks: &[Ipv4Network], address: Ipv4Addr) -> bool {
    networks.iter().any(|network| network.contains(address))
}
