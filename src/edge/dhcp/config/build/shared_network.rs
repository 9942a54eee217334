//! Subnets that share a link.

use std::collections::HashMap;

use toml::Spanned;

use super::sourced;
use crate::config_file::Source;
use crate::edge::dhcp::config::policy::{ReservationKey, Sourced};
use crate::edge::dhcp::config::{Interface, Subnet};
use crate::failure::Failure;

pub(super) fn name(source: &Source, name: &Spanned<String>) -> Result<Sourced<String>, Failure> {
    let text = name.get_ref();
    if text.is_empty() || text.len() > 64 || text.chars().any(char::is_control) {
        return Err(source.error(
            &name.span(),
            "`shared_network` is no usable name",
            "give all subnets of one link the same name, of 1 to 64 characters",
        ));
    }
    Ok(sourced(source, &name.span(), text.clone()))
}

/// For each subnet the places of those on its link, itself among them, in the file's order.
pub(super) fn links(source: &Source, subnets: &[Subnet], interfaces: &[Interface]) -> Result<Vec<Vec<usize>>, Failure> {
    let links: Vec<Vec<usize>> = subnets
        .iter()
        .map(|subnet| (0..).zip(subnets).filter(|(_, other)| other.is_on_link_of(subnet)).map(|(place, _)| place).collect())
        .collect();
    // Each link once, at its first subnet.
    for (_, link) in (0..).zip(&links).filter(|(place, link)| link.len() > 1 && link.first() == Some(place)) {
        let members: Vec<&Subnet> = link.iter().filter_map(|place| subnets.get(*place)).collect();
        check_interfaces(source, &members, interfaces)?;
        check_reservations(source, &members)?;
    }
    Ok(links)
}

/// What is one link can't be on two interfaces.
fn check_interfaces(source: &Source, members: &[&Subnet], interfaces: &[Interface]) -> Result<(), Failure> {
    let mut found: Option<(&Subnet, &Interface)> = None;
    for subnet in members {
        let Some(interface) = interfaces.iter().find(|interface| subnet.network.value.contains(interface.address)) else { continue };
        let Some((first, other)) = found.filter(|(_, other)| other.name != interface.name) else {
            found = Some((subnet, interface));
            continue;
        };
        let name = subnet.shared_network.as_ref();
        return Err(source.error_on_line(
            name.and_then(|name| name.origin.line()).unwrap_or(1),
            &format!(
                "subnets {} and {} are on one link by `shared_network = \"{}\"`, and on the interfaces `{}` and `{}` by their addresses",
                first.network.value,
                subnet.network.value,
                name.map(|name| name.value.as_str()).unwrap_or_default(),
                other.name,
                interface.name
            ),
            "give the two links names of their own",
        ));
    }
    Ok(())
}

/// Of two reservations for one machine only the first would ever count.
fn check_reservations(source: &Source, members: &[&Subnet]) -> Result<(), Failure> {
    let mut known: HashMap<&ReservationKey, &Subnet> = HashMap::new();
    for subnet in members {
        for reservation in subnet.reservations() {
            let Some(other) = known.insert(&reservation.key, subnet) else { continue };
            return Err(source.error_on_line(
                reservation.address.origin.line().unwrap_or(1),
                &format!("{} has a reservation in subnet {} already, which is on the same link", reservation.key, other.network.value),
                "keep one of the two: a machine is given one address on a link",
            ));
        }
    }
    Ok(())
}
