use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use humantime_serde::re::humantime::parse_duration;
use toml::Spanned;

use super::options::{OptionSet, OptionValue};
use super::policy::{General, GeneralBootFiles, Limits, Origin, Policy, Reservation, ReservationKey, Sourced};
use super::section::{BootSection, InterfaceMode, InterfaceSection, ReservationSection, Sections, SubnetSection};
use super::{DhcpConfig, Interface, Mode, Subnet};
use crate::config_file::Source;
use crate::edge::dhcp::option;
use crate::edge::lease::{AddressRange, OFFER_HOLD};
use crate::failure::Failure;
use crate::wire::{ClientArch, MacAddr};

const DEFAULT_LEASE_TIME: u32 = 3600;
const LEAST_LEASE_TIME: u32 = 60;
const LONGEST_LEASE_TIME: u32 = 365 * 86_400;
/// What fits one option.
const MOST_ADDRESSES: usize = 63;

/// Checks what the sections mean together.
///
/// # Errors
/// The first thing that can't be, with file, line and remedy: an interface named twice, overlapping subnets or pools, a pool
/// or a reservation outside its subnet or on the box's or a router's address, a lease time out of range, and their like.
pub fn build(source: &Source, sections: &Sections<'_>) -> Result<DhcpConfig, Failure> {
    let Sections { interfaces: interface_sections, subnets, boot, .. } = *sections;
    let interfaces = build_interfaces(source, interface_sections)?;
    let own: Vec<Ipv4Addr> = interfaces.iter().map(|interface| interface.address).collect();
    let mut built: Vec<Subnet> = Vec::new();
    for section in subnets {
        let subnet = build_subnet(source, section.get_ref(), &own)?;
        if let Some(other) = built.iter().find(|other| other.network.value.overlaps(subnet.network.value)) {
            return Err(source.error(
                &section.get_ref().network.span(),
                &format!("subnet {} overlaps subnet {}", subnet.network.value, other.network.value),
                "an address must belong to one subnet; make one of the networks smaller or remove it",
            ));
        }
        if !interfaces.iter().any(|interface| interface.mode == Mode::Server) {
            return Err(source.error(
                &section.get_ref().network.span(),
                &format!("no interface gives out addresses of subnet {}", subnet.network.value),
                "set `mode = \"server\"` on an interface, or remove the subnet",
            ));
        }
        built.push(subnet);
    }
    for section in interface_sections {
        check_has_subnet(source, section.get_ref(), &built)?;
    }
    let mut policy = Policy::default();
    policy.times.default = Some(Sourced { value: DEFAULT_LEASE_TIME, origin: Origin::BuiltIn });
    let general = General {
        policy,
        conflict_probe: false,
        decline_quarantine: Duration::from_secs(86_400),
        offer_hold: OFFER_HOLD,
        relays: Vec::new(),
        limits: Limits { offers: 4096, client_rate: 20 },
    };
    let boot_files = build_boot_files(source, boot)?;
    Ok(DhcpConfig { interfaces, general, classes: Vec::new(), subnets: built, boot_files, warnings: Vec::new() })
}

fn build_interfaces(source: &Source, sections: &[Spanned<InterfaceSection>]) -> Result<Vec<Interface>, Failure> {
    let mut names = HashSet::new();
    let mut built: Vec<Interface> = Vec::new();
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
        let (span, address) = (address.span(), *address.get_ref());
        if address.is_unspecified() || address.is_broadcast() || address.is_multicast() || address.is_loopback() {
            return Err(source.error(
                &span,
                &format!("{address} can't be the address of an interface"),
                "name the box's own address there",
            ));
        }
        if let Some(other) = built.iter().find(|other| other.address == address) {
            return Err(source.error(
                &span,
                &format!("interfaces `{}` and `{name}` have the same address {address}", other.name),
                "each interface has an address of its own",
            ));
        }
        built.push(Interface { name: name.clone(), mode, address, authoritative: section.authoritative });
    }
    Ok(built)
}

fn check_has_subnet(source: &Source, section: &InterfaceSection, subnets: &[Subnet]) -> Result<(), Failure> {
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

fn build_subnet(source: &Source, section: &SubnetSection, own: &[Ipv4Addr]) -> Result<Subnet, Failure> {
    let network = *section.network.get_ref();
    if section.pools.is_empty() && section.reservation.is_empty() {
        return Err(source.error(
            &section.network.span(),
            &format!("subnet {network} gives out no address"),
            "add `pools = [\"FIRST-LAST\"]` or a `[[subnet.reservation]]`",
        ));
    }
    for router in &section.routers {
        if !network.is_host(*router.get_ref()) {
            return Err(source.error(
                &router.span(),
                &format!("router {} is not in subnet {network}", router.get_ref()),
                "clients reach only routers in their own subnet",
            ));
        }
    }
    let routers: Vec<Ipv4Addr> = section.routers.iter().map(|router| *router.get_ref()).collect();
    let taken: Vec<(Ipv4Addr, &str)> = own
        .iter()
        .map(|address| (*address, "this box's own address"))
        .chain(routers.iter().map(|address| (*address, "a router's address")))
        .collect();
    let line = |span: &Range<usize>| Origin::Line(source.line(span));
    let mut options = OptionSet::default();
    for (code, key, list) in [
        (option::ROUTERS, "routers", &section.routers),
        (option::DNS_SERVERS, "dns", &section.dns),
        (option::NTP_SERVERS, "ntp", &section.ntp),
    ] {
        if let Some(first) = list.first() {
            let octets = addresses(source, key, list)?.iter().flat_map(Ipv4Addr::octets).collect();
            options.set(OptionValue { code, octets, origin: line(&first.span()) });
        }
    }
    if let Some(domain) = &section.domain {
        let octets = build_domain(source, domain)?.into_bytes();
        options.set(OptionValue { code: option::DOMAIN_NAME, octets, origin: line(&domain.span()) });
    }
    let mut policy = Policy { options, ..Policy::default() };
    if let Some(text) = &section.lease_time {
        policy.times.default = Some(Sourced { value: build_lease_time(source, text)?, origin: line(&text.span()) });
    }
    let mut reservations = Vec::new();
    let mut by_key = HashMap::new();
    for (mac, address) in build_reservations(source, section, &taken)? {
        let key = ReservationKey::Mac(mac);
        by_key.insert(key.clone(), reservations.len());
        let address = Sourced { value: address, origin: Origin::BuiltIn };
        reservations.push(Reservation { key, address, host_name: None, policy: Policy::default() });
    }
    Ok(Subnet {
        network: Sourced { value: network, origin: line(&section.network.span()) },
        pools: build_pools(source, section, &taken)?,
        excluded: Vec::new(),
        relays: Vec::new(),
        conflict_probe: false,
        policy,
        reservations,
        by_key,
    })
}

fn build_pools(source: &Source, section: &SubnetSection, taken: &[(Ipv4Addr, &str)]) -> Result<Vec<AddressRange>, Failure> {
    let network = *section.network.get_ref();
    let mut pools: Vec<AddressRange> = Vec::new();
    for pool in &section.pools {
        let (span, pool) = (pool.span(), *pool.get_ref());
        if !network.is_host(pool.first()) || !network.is_host(pool.last()) {
            return Err(source.error(
                &span,
                &format!("pool {pool} is not inside subnet {network}"),
                &format!("a pool lies between {} and {}, both of which name no machine", network.address(), network.broadcast()),
            ));
        }
        if let Some((address, whose)) = taken.iter().find(|(address, _)| pool.contains(*address)) {
            return Err(source.error(
                &span,
                &format!("pool {pool} holds {address}, {whose}"),
                "end the pool before this address or begin it behind it; two pools can leave it out",
            ));
        }
        if let Some(other) = pools.iter().find(|other| other.overlaps(pool)) {
            return Err(source.error(
                &span,
                &format!("pool {pool} overlaps pool {other}"),
                "make the pools one, or end one before the other",
            ));
        }
        pools.push(pool);
    }
    Ok(pools)
}

fn build_reservations(source: &Source, section: &SubnetSection, taken: &[(Ipv4Addr, &str)]) -> Result<HashMap<MacAddr, Ipv4Addr>, Failure> {
    let network = *section.network.get_ref();
    let mut reservations = HashMap::new();
    for ReservationSection { mac, address } in &section.reservation {
        let (mac_span, mac, span, address) = (mac.span(), *mac.get_ref(), address.span(), *address.get_ref());
        if !mac.is_unicast() {
            return Err(source.error(&mac_span, &format!("{mac} can't be a machine's hardware address"), "it is a group address or zero"));
        }
        if !network.is_host(address) {
            return Err(source.error(
                &span,
                &format!("reservation {address} is not in subnet {network}"),
                "move the reservation to the subnet of its address",
            ));
        }
        if let Some((_, whose)) = taken.iter().find(|(other, _)| *other == address) {
            return Err(source.error(&span, &format!("reservation {address} is {whose}"), "reserve another address"));
        }
        if let Some((other, _)) = reservations.iter().find(|(_, reserved)| **reserved == address) {
            return Err(source.error(
                &span,
                &format!("{address} is reserved for {other} already"),
                "reserve an address for one machine only",
            ));
        }
        if let Some(other) = reservations.insert(mac, address) {
            return Err(source.error(&mac_span, &format!("{mac} has a reservation already, {other}"), "keep one of the two"));
        }
    }
    Ok(reservations)
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
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        Ok(text.clone())
    } else {
        Err(source.error(
            &domain.span(),
            &format!("`{text}` is not a domain name"),
            "write it as in `site.example`, without a dot at its end",
        ))
    }
}

fn build_lease_time(source: &Source, text: &Spanned<String>) -> Result<u32, Failure> {
    let seconds = parse_duration(text.get_ref()).ok().and_then(|duration| u32::try_from(duration.as_secs()).ok());
    seconds.filter(|seconds| (LEAST_LEASE_TIME..=LONGEST_LEASE_TIME).contains(seconds)).ok_or_else(|| {
        source.error(
            &text.span(),
            &format!("`{}` is not a lease time", text.get_ref()),
            "write a number and its unit, from \"1m\" to \"365d\": 90s, 30m, 12h, 7d",
        )
    })
}

fn build_boot_files(source: &Source, boot: &BootSection) -> Result<GeneralBootFiles, Failure> {
    let mut files = GeneralBootFiles::default();
    for (key, file) in &boot.files {
        let arch = parse_arch(key.get_ref()).ok_or_else(|| {
            source.error(
                &key.span(),
                &format!("`{}` is not an architecture", key.get_ref()),
                "name it as in `x86-bios`, `x64-uefi`, `arm64-uefi`, `x64-uefi-http`, or by its number in IANA's list, such as `7`",
            )
        })?;
        check_file(source, &file.span(), file.get_ref())?;
        files.files.set(arch, file.get_ref());
        files.lines.push((arch, source.line(&key.span())));
    }
    Ok(files)
}

fn check_file(source: &Source, span: &Range<usize>, file: &str) -> Result<(), Failure> {
    if file.len() > 255 || !file.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(source.error(
            span,
            &format!("`{file}` can't be a boot file"),
            "a boot file is a name or a URL of up to 255 characters without spaces, or empty for none",
        ));
    }
    Ok(())
}

fn parse_arch(text: &str) -> Option<ClientArch> {
    let numbered = text.strip_prefix("arch-").unwrap_or(text).parse().ok().map(ClientArch);
    numbered.or_else(|| (0..=u16::from(u8::MAX)).map(ClientArch).find(|arch| arch.name() == Some(text)))
}
