use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::Range;

use toml::Spanned;

use super::level::{self, Level};
use super::pool::Taken;
use super::sourced;
use crate::config_file::Source;
use crate::edge::dhcp::config::option_value::is_domain;
use crate::edge::dhcp::config::policy::{Reservation, ReservationKey, Sourced};
use crate::edge::dhcp::config::section::{ReservationSection, SubnetSection};
use crate::edge::dhcp::config::value::parse_hex;
use crate::failure::Failure;

type Built = (Vec<Reservation>, HashMap<ReservationKey, usize>);

pub(super) fn build_all(source: &Source, section: &SubnetSection, taken: &Taken<'_>) -> Result<Built, Failure> {
    let network = *section.network.get_ref();
    let mut reservations: Vec<Reservation> = Vec::new();
    let mut by_address: HashMap<Ipv4Addr, usize> = HashMap::new();
    let mut by_key = HashMap::new();
    for section in &section.reservation {
        let (whole, section) = (section.span(), section.get_ref());
        let (span, keys) = keys(source, &whole, section)?;
        let (address_span, address) = (section.address.span(), *section.address.get_ref());
        if !network.is_host(address) {
            return Err(source.error(
                &address_span,
                &format!("reservation {address} is not in subnet {network}"),
                "move the reservation to the subnet of its address",
            ));
        }
        if let Some((_, whose)) = taken.iter().find(|(other, _)| *other == address) {
            return Err(source.error(&address_span, &format!("reservation {address} is {whose}"), "reserve another address"));
        }
        let place = reservations.len();
        if let Some(other) = by_address.insert(address, place).and_then(|other| reservations.get(other)) {
            return Err(source.error(
                &address_span,
                &format!("{address} is reserved for {} already", other.key),
                "reserve an address for one machine only",
            ));
        }
        for key in &keys {
            if let Some(other) = by_key.insert(key.clone(), place).and_then(|other: usize| reservations.get(other)) {
                let what = format!("{key} has a reservation already, {}", other.address.value);
                return Err(source.error(&span, &what, "keep one of the two"));
            }
        }
        let Some(key) = keys.into_iter().next() else { continue };
        let host_name = section.host_name.as_ref().map(|name| host_name(source, name)).transpose()?;
        let policy = level::build(source, Level::Reservation, section.policy())?;
        let address = sourced(source, &address_span, address);
        reservations.push(Reservation { key, address, host_name, policy });
    }
    Ok((reservations, by_key))
}

/// The keys by which the machine is found: one, or two for a client identifier that is told as text.
fn keys(source: &Source, whole: &Range<usize>, section: &ReservationSection) -> Result<(Range<usize>, Vec<ReservationKey>), Failure> {
    let mut found: Vec<(Range<usize>, Vec<ReservationKey>)> = Vec::new();
    if let Some(mac) = &section.mac {
        let (span, mac) = (mac.span(), *mac.get_ref());
        if !mac.is_unicast() {
            return Err(source.error(&span, &format!("{mac} can't be a machine's hardware address"), "it is a group address or zero"));
        }
        found.push((span, vec![ReservationKey::Mac(mac)]));
    }
    if let Some(identifier) = &section.client_id {
        let keys = match identifier.get_ref().strip_prefix("text:") {
            // RFC 2132, section 9.14: type 0 stands for what is no hardware address; many clients leave it out.
            Some(text) if (1..=254).contains(&text.len()) => {
                vec![ReservationKey::ClientId(text.as_bytes().to_vec()), ReservationKey::ClientId([&[0], text.as_bytes()].concat())]
            }
            Some(_) => Vec::new(),
            // RFC 2132, section 9.14: at least two octets.
            None => parse_hex(identifier.get_ref())
                .filter(|octets| (2..=255).contains(&octets.len()))
                .map(ReservationKey::ClientId)
                .into_iter()
                .collect(),
        };
        if keys.is_empty() {
            return Err(source.error(
                &identifier.span(),
                &format!("`{}` is not a client identifier", identifier.get_ref()),
                "write the octets of option 61 in hex, as in `01:52:54:00:12:34:56`, or `text:` and the text, as in `text:cam-7`",
            ));
        }
        found.push((identifier.span(), keys));
    }
    if let Some(uuid) = &section.uuid {
        let (span, uuid) = (uuid.span(), *uuid.get_ref());
        if !uuid.is_identity() {
            return Err(source.error(
                &span,
                &format!("{uuid} is a placeholder that many machines have"),
                "know this machine by `mac` or `client_id`",
            ));
        }
        found.push((span, vec![ReservationKey::Uuid(uuid)]));
    }
    if let Some(circuit) = &section.circuit_id {
        let text = circuit.get_ref();
        let octets = text.strip_prefix("text:").map_or_else(|| parse_hex(text), |text| Some(text.as_bytes().to_vec()));
        let Some(octets) = octets.filter(|octets| (1..=255).contains(&octets.len())) else {
            return Err(source.error(
                &circuit.span(),
                &format!("`{text}` is not a circuit ID"),
                "write the octets in hex, as in `00:04:00:0a`, or `text:` and the text, as in `text:eth0/7`",
            ));
        };
        found.push((circuit.span(), vec![ReservationKey::CircuitId(octets)]));
    }
    let address = section.address.get_ref();
    if let Some((span, _)) = found.get(1) {
        let what = format!("reservation {address} names its machine in {} ways", found.len());
        return Err(source.error(span, &what, "keep one of `mac`, `client_id`, `uuid` and `circuit_id`"));
    }
    found.pop().ok_or_else(|| {
        let what = format!("reservation {address} does not say for which machine it is");
        source.error(whole, &what, "add one of `mac`, `client_id`, `uuid` and `circuit_id`, as in `mac = \"52:54:00:12:34:56\"`")
    })
}

fn host_name(source: &Source, name: &Spanned<String>) -> Result<Sourced<String>, Failure> {
    if is_domain(name.get_ref()) {
        return Ok(sourced(source, &name.span(), name.get_ref().clone()));
    }
    let what = format!("`{}` is not a host name", name.get_ref());
    Err(source.error(&name.span(), &what, "use letters, digits and hyphens, as in `cam-7`, with or without the domain behind it"))
}
