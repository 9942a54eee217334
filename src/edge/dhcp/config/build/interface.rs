use std::collections::HashSet;

use toml::Spanned;

use crate::config_file::Source;
use crate::edge::dhcp::config::section::{InterfaceMode, InterfaceSection};
use crate::edge::dhcp::config::{Interface, Mode, Subnet};
use crate::failure::Failure;

/// The interfaces that are not off, and the line of each.
pub(super) fn build(source: &Source, sections: &[Spanned<InterfaceSection>]) -> Result<(Vec<Interface>, Vec<u32>), Failure> {
    let mut names = HashSet::new();
    let mut built: Vec<Interface> = Vec::new();
    let mut lines = Vec::new();
    for section in sections {
        let (span, section) = (section.span(), section.get_ref());
        let name = section.name.get_ref();
        let usable = (1..=15).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if !usable {
            return Err(source.error(
                &section.name.span(),
                &format!("`{name}` can't be the name of an interface"),
                "`ip link` lists the names: 1 to 15 characters without spaces and slashes",
            ));
        }
        if !names.insert(name) {
            return Err(source.error(&section.name.span(), &format!("interface `{name}` is named twice"), "keep one of the two sections"));
        }
        let mode = match section.mode {
            InterfaceMode::Server => Mode::Server,
            InterfaceMode::Proxy => Mode::Proxy,
            InterfaceMode::Observe => Mode::Observe,
            InterfaceMode::Off => continue,
        };
        let Some(address) = &section.address else {
            return Err(source.error(
                &span,
                &format!("interface `{name}` has no `address`"),
                "add the box's own address on it, such as `address = \"192.0.2.1\"`",
            ));
        };
        let (address_span, address) = (address.span(), *address.get_ref());
        if address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback() {
            return Err(source.error(
                &address_span,
                &format!("{address} can't be the address of an interface"),
                "name the box's own address there",
            ));
        }
        if let Some(other) = built.iter().find(|other| other.address == address) {
            return Err(source.error(
                &address_span,
                &format!("interfaces `{}` and `{name}` have the same address {address}", other.name),
                "each interface has an address of its own",
            ));
        }
        if let Some(authoritative) = section.authoritative.as_ref().filter(|flag| *flag.get_ref() && mode != Mode::Server) {
            return Err(source.error(
                &authoritative.span(),
                &format!("interface `{name}` is `authoritative` and gives out no addresses"),
                "it says that a server answers although another one was heard; remove it, or set `mode = \"server\"`",
            ));
        }
        let authoritative = section.authoritative.as_ref().is_some_and(|flag| *flag.get_ref());
        built.push(Interface { name: name.clone(), mode, address, authoritative });
        lines.push(source.line(&section.name.span()));
    }
    Ok((built, lines))
}

pub(super) fn check_has_subnet(source: &Source, section: &InterfaceSection, subnets: &[Subnet]) -> Result<(), Failure> {
    let Some(address) = section.address.as_ref().filter(|_| section.mode == InterfaceMode::Server) else { return Ok(()) };
    if subnets.iter().any(|subnet| subnet.network.value.is_host(*address.get_ref())) {
        return Ok(());
    }
    let (span, address, name) = (address.span(), address.get_ref(), section.name.get_ref());
    Err(source.error(
        &span,
        &format!("no subnet holds the address {address} of interface `{name}`, which is to give out addresses"),
        "add a `[[subnet]]` with the network of this interface, or set `mode = \"proxy\"`",
    ))
}
