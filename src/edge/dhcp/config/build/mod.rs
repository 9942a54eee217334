//! From sections to a [`DhcpConfig`]: one file for each idea of the configuration, and here what they mean together.

mod boot;
mod class;
mod general;
mod interface;
mod level;
mod pool;
mod reservation;
mod shared_network;
mod subnet;
mod times;

use std::net::Ipv4Addr;

pub(in crate::edge) use self::boot::parse_arch;

use super::policy::{Origin, Sourced};
use super::section::Sections;
use super::{DhcpConfig, Mode, Subnet};
use crate::config_file::Source;
use crate::failure::Failure;

/// Checks what the sections mean together.
///
/// # Errors
/// The first thing that can't be, with file, line and remedy: an interface named twice, overlapping subnets or pools, a pool
/// or a reservation outside its subnet or on the box's or a router's address, a lease time out of range, a class that can't
/// match, and their like.
pub fn build(source: &Source, sections: &Sections<'_>) -> Result<DhcpConfig, Failure> {
    let (interfaces, interface_lines) = interface::build(source, sections.interfaces)?;
    let own: Vec<Ipv4Addr> = interfaces.iter().map(|interface| interface.address).collect();
    let general = general::build(source, sections.dhcp)?;
    let mut subnets: Vec<Subnet> = Vec::new();
    for section in sections.subnets {
        let subnet = subnet::build(source, section.get_ref(), &own, &general)?;
        let span = section.get_ref().network.span();
        if let Some(other) = subnets.iter().find(|other| other.network.value.overlaps(subnet.network.value)) {
            return Err(source.error(
                &span,
                &format!("subnet {} overlaps subnet {}", subnet.network.value, other.network.value),
                "an address must belong to one subnet; make one of the networks smaller or remove it",
            ));
        }
        if !interfaces.iter().any(|interface| matches!(interface.mode, Mode::Server | Mode::Observe)) {
            return Err(source.error(
                &span,
                &format!("no interface gives out addresses of subnet {}", subnet.network.value),
                "set `mode = \"server\"` on an interface, or remove the subnet",
            ));
        }
        subnets.push(subnet);
    }
    for subnet in &subnets {
        subnet::check_reachable(source, subnet, &subnets, &interfaces, &general)?;
    }
    let links = shared_network::links(source, &subnets, &interfaces)?;
    for section in sections.interfaces {
        interface::check_has_subnet(source, section.get_ref(), &subnets)?;
    }
    let classes = class::build_all(source, sections.classes, &subnets, &general)?;
    subnet::check_classes(source, &subnets, &classes)?;
    times::check(source, &general, &subnets, &classes)?;
    let boot_files = boot::general_files(source, sections.boot)?;
    let conflict_probe_line = sections.dhcp.conflict_probe.as_ref().map(|flag| source.line(&flag.span()));
    let mut config =
        DhcpConfig { interfaces, interface_lines, general, conflict_probe_line, classes, subnets, links, boot_files, warnings: Vec::new() };
    config.warnings = super::warnings::find(source, &config);
    Ok(config)
}

/// A value with the line that its span begins on.
fn sourced<T>(source: &Source, span: &std::ops::Range<usize>, value: T) -> Sourced<T> {
    Sourced { value, origin: Origin::Line(source.line(span)) }
}
