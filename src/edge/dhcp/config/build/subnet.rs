use std::net::Ipv4Addr;

use toml::Spanned;

use super::level::{self, Level, set_short_form};
use super::{pool, reservation, shared_network, sourced};
use crate::config_file::Source;
use crate::edge::dhcp::config::option_value::is_domain;
use crate::edge::dhcp::config::policy::Class;
use crate::edge::dhcp::config::policy::{General, Sourced};
use crate::edge::dhcp::config::section::SubnetSection;
use crate::edge::dhcp::config::{Interface, Mode, Subnet};
use crate::edge::dhcp::option;
use crate::failure::Failure;

/// What fits one option.
const MOST_ADDRESSES: usize = 63;

pub(super) fn build(source: &Source, section: &SubnetSection, own: &[Ipv4Addr], general: &General) -> Result<Subnet, Failure> {
    let network = *section.network.get_ref();
    if section.pools.is_empty() && section.reservation.is_empty() {
        return Err(source.error(
            &section.network.span(),
            &format!("subnet {network} gives out no address"),
            "add `pools = [\"FIRST-LAST\"]` or a `[[subnet.reservation]]`",
        ));
    }
    let policy = {
        let mut policy = level::build(source, Level::Subnet, section.policy())?;
        for (code, key, list) in [
            (option::ROUTERS, "routers", &section.routers),
            (option::DNS_SERVERS, "dns", &section.dns),
            (option::NTP_SERVERS, "ntp", &section.ntp),
        ] {
            if let Some(first) = list.first() {
                let octets = addresses(source, key, list)?.iter().flat_map(Ipv4Addr::octets).collect();
                set_short_form(source, &mut policy.options, &first.span(), code, octets)?;
            }
        }
        if let Some(domain) = &section.domain {
            let octets = build_domain(source, domain)?.into_bytes();
            set_short_form(source, &mut policy.options, &domain.span(), option::DOMAIN_NAME, octets)?;
        }
        policy
    };
    for router in &section.routers {
        if !network.is_host(*router.get_ref()) {
            return Err(source.error(
                &router.span(),
                &format!("router {} is not in subnet {network}", router.get_ref()),
                "clients reach only routers in their own subnet",
            ));
        }
    }
    // Routers of `options` count as well, wherever they are set.
    let routers = policy.options.find(option::ROUTERS).map(|found| found.octets.as_slice()).unwrap_or_default();
    let routers = routers.as_chunks::<4>().0.iter().map(|octets| (Ipv4Addr::from(*octets), "a router's address"));
    let taken: Vec<(Ipv4Addr, &str)> = own.iter().map(|address| (*address, "this box's own address")).chain(routers).collect();
    let (pools, excluded) = pool::build(source, section, &taken)?;
    let (reservations, by_key) = reservation::build_all(source, section, &taken)?;
    Ok(Subnet {
        network: sourced(source, &section.network.span(), network),
        pools,
        excluded,
        relays: section.relays.iter().map(|relay| relay.get_ref().0).collect(),
        shared_network: section.shared_network.as_ref().map(|name| shared_network::name(source, name)).transpose()?,
        classes: classes(source, section)?,
        conflict_probe: section.conflict_probe.as_ref().map_or(general.conflict_probe, |flag| *flag.get_ref()),
        policy,
        reservations,
        by_key,
    })
}

/// The names of the classes for which the pools are; whether there are such classes is looked at when they are known.
fn classes(source: &Source, section: &SubnetSection) -> Result<Vec<Sourced<String>>, Failure> {
    let Some(list) = &section.classes else { return Ok(Vec::new()) };
    if list.get_ref().is_empty() {
        return Err(source.error(
            &list.span(),
            &format!("the pools of subnet {} are for nobody: `classes` is an empty list", section.network.get_ref()),
            "name a class, or remove `classes` if the pools are for all machines",
        ));
    }
    Ok(list.get_ref().iter().map(|name| sourced(source, &name.span(), name.get_ref().clone())).collect())
}

/// Whether there are the classes that the subnets name.
pub(super) fn check_classes(source: &Source, subnets: &[Subnet], classes: &[Class]) -> Result<(), Failure> {
    let is_there = |name: &str| classes.iter().any(|class| class.name.value == name);
    let Some(unknown) = subnets.iter().flat_map(|subnet| &subnet.classes).find(|name| !is_there(&name.value)) else { return Ok(()) };
    let known: Vec<String> = classes.iter().map(|class| format!("`{}`", class.name.value)).collect();
    let hint = if known.is_empty() { "add a `[[class]]` of this name".to_owned() } else { format!("there are {}", known.join(", ")) };
    Err(source.error_on_line(unknown.origin.line().unwrap_or(1), &format!("there is no class `{}`", unknown.value), &hint))
}

/// Whether a request from this subnet can come: from an interface in it, or through a relay that may ask.
pub(super) fn check_reachable(
    source: &Source,
    subnet: &Subnet,
    all: &[Subnet],
    interfaces: &[Interface],
    general: &General,
) -> Result<(), Failure> {
    let network = subnet.network.value;
    let can_ask = |subnet: &Subnet| {
        let network = subnet.network.value;
        let serves = |interface: &Interface| matches!(interface.mode, Mode::Server | Mode::Observe) && network.contains(interface.address);
        let relayed = general.relays.is_empty() || !subnet.relays.is_empty() || general.relays.iter().any(|relay| relay.overlaps(network));
        relayed || interfaces.iter().any(serves)
    };
    if all.iter().filter(|other| other.is_on_link_of(subnet)).any(can_ask) {
        return Ok(());
    }
    Err(source.error_on_line(
        subnet.network.origin.line().unwrap_or(1),
        &format!("nobody can ask for an address of subnet {network}: no interface is in it, and no relay of it may ask"),
        "add the address of its relay to `relays` of this subnet or of [dhcp], or an `[[interface]]` in it",
    ))
}

fn addresses(source: &Source, key: &str, list: &[Spanned<Ipv4Addr>]) -> Result<Vec<Ipv4Addr>, Failure> {
    if let Some(beyond) = list.get(MOST_ADDRESSES) {
        return Err(source.error(&beyond.span(), &format!("more than {MOST_ADDRESSES} addresses in `{key}`"), "an option holds no more"));
    }
    if let Some(wrong) = list.iter().find(|address| address.get_ref().is_unspecified() || address.get_ref().is_broadcast()) {
        return Err(source.error(
            &wrong.span(),
            &format!("{} in `{key}` is no server's address", wrong.get_ref()),
            "name the server's address",
        ));
    }
    Ok(list.iter().map(|address| *address.get_ref()).collect())
}

fn build_domain(source: &Source, domain: &Spanned<String>) -> Result<String, Failure> {
    let text = domain.get_ref();
    if is_domain(text) {
        Ok(text.clone())
    } else {
        Err(source.error(
            &domain.span(),
            &format!("`{text}` is not a domain name"),
            "write it as in `site.example`, without a dot at its end",
        ))
    }
}
