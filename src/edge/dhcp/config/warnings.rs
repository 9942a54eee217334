//! What is legal in a configuration and unwise.

use std::net::Ipv4Addr;
use std::time::Duration;

use humantime_serde::re::humantime::format_duration;

use super::policy::{Class, GeneralBootFiles, Matcher, Origin, Pattern, Policy};
use super::{DhcpConfig, Ipv4Network, Mode, Subnet, Warning, option_table};
use crate::config_file::Source;
use crate::edge::dhcp::{BootFiles, option};
use crate::wire::ClientArch;

/// Shorter leases make a machine lose its address while its firmware loads an image.
const SHORT_LEASE: u32 = 5 * 60;
/// Longer ones keep the addresses of machines that are long gone.
const LONG_LEASE: u32 = 7 * 86_400;
/// A machine takes up to two addresses while it boots: its firmware and its system often have different identifiers.
const SMALL_POOL: u64 = 8;
/// MIN_V6ONLY_WAIT in seconds (RFC 8925, section 3.4).
const LEAST_IPV6_ONLY_WAIT: u32 = 300;
/// RFC 3397.
const DOMAIN_SEARCH: u8 = 119;
/// RFC 3442.
const CLASSLESS_ROUTES: u8 = 121;

/// All of it, in the order of the file.
pub(super) fn find(source: &Source, config: &DhcpConfig) -> Vec<Warning> {
    let mut found = Findings(Vec::new());
    interfaces(config, &mut found);
    if !config.general.conflict_probe && config.subnets.iter().any(|subnet| !subnet.conflict_probe) {
        let line = config.conflict_probe_line.unwrap_or(1);
        found.add(
            line,
            "addresses are given out without a look at whether somebody uses them already",
            "set `conflict_probe = true`, unless every address of the pools is known to be free",
        );
    }
    level(config, &config.general.policy, &mut found);
    for subnet in &config.subnets {
        subnet_alone(config, subnet, &mut found);
        level(config, &subnet.policy, &mut found);
        said_already(config, subnet, &mut found);
        for reservation in subnet.reservations() {
            level(config, &reservation.policy, &mut found);
        }
    }
    relays(config, &mut found);
    shared_networks(config, &mut found);
    for class in &config.classes {
        level(config, &class.policy, &mut found);
    }
    shadowed_classes(config, &mut found);
    boot_files(&config.boot_files, &mut found);
    let Findings(mut found) = found;
    found.sort_by_key(|(line, ..)| *line);
    found.into_iter().map(|(line, what, hint)| Warning { place: source.place_of_line(line), what, hint }).collect()
}

struct Findings(Vec<(u32, String, String)>);

impl Findings {
    fn add(&mut self, line: u32, what: impl Into<String>, hint: impl Into<String>) {
        self.0.push((line, what.into(), hint.into()));
    }

    fn at(&mut self, origin: Origin, what: impl Into<String>, hint: impl Into<String>) {
        self.add(origin.line().unwrap_or(1), what, hint);
    }
}

fn interfaces(config: &DhcpConfig, found: &mut Findings) {
    let network_of = |address: Ipv4Addr| config.subnets.iter().find(|subnet| subnet.network.value.contains(address));
    for (place, interface) in config.interfaces.iter().enumerate() {
        let line = config.interface_line(place).unwrap_or(1);
        let Some(subnet) = network_of(interface.address) else { continue };
        let before = || config.interfaces.iter().take(place);
        let same = before().find(|other| other.mode == Mode::Server && subnet.network.value.contains(other.address));
        if let Some(other) = same.filter(|_| interface.mode == Mode::Server) {
            found.add(
                line,
                format!("interfaces `{}` and `{}` both serve subnet {}", other.name, interface.name, subnet.network.value),
                "when both are on one segment, each machine gets two answers: turn one `off`",
            );
        }
        if interface.mode == Mode::Proxy {
            let serving = config.interfaces.iter().find(|other| other.mode == Mode::Server && subnet.network.value.contains(other.address));
            if let Some(other) = serving {
                found.add(
                    line,
                    format!(
                        "interface `{}` is a proxy in the subnet {} that `{}` serves",
                        interface.name, subnet.network.value, other.name
                    ),
                    "the server there names the boot file already, and a proxy's answer beside it confuses firmware: set `mode = \"off\"`",
                );
            }
        }
    }
}

/// What can be unwise at every level.
fn level(config: &DhcpConfig, policy: &Policy, found: &mut Findings) {
    let times = &policy.times;
    for time in [times.default, times.min, times.max].into_iter().flatten() {
        let shown = format_duration(Duration::from_secs(u64::from(time.value)));
        if time.value < SHORT_LEASE && Some(time) != times.min {
            found.at(
                time.origin,
                format!("a lease of {shown} is over before a slow machine has loaded its image"),
                "5 minutes are the least that firmware copes with; an hour is usual",
            );
        }
        if time.value > LONG_LEASE {
            found.at(
                time.origin,
                format!("a lease of {shown} keeps the addresses of machines that are gone"),
                "up to 7 days are usual; an address that must not change is kept by a reservation",
            );
        }
    }
    if let Some(mtu) = policy.options.find(26)
        && mtu.octets.first_chunk().is_some_and(|octets| u16::from_be_bytes(*octets) < 1280)
    {
        let hint = "1500 is usual; IPv6 needs 1280";
        found.at(mtu.origin, "an `interface-mtu` of less than 1280 makes every transfer slow, and IPv6 impossible", hint);
    }
    if let Some(wait) = policy.options.find(option::IPV6_ONLY_PREFERRED)
        && wait.octets.first_chunk().is_some_and(|octets| u32::from_be_bytes(*octets) < LEAST_IPV6_ONLY_WAIT)
    {
        let hint = "RFC 8925 has clients take 5 minutes for anything less: write \"5m\" or more";
        found.at(wait.origin, "an `ipv6-only-preferred` of less than 5 minutes is none that clients keep to", hint);
    }
    for (arch, file) in &policy.boot_files {
        if let Some(name) = &file.value {
            boot_file(*arch, name, file.origin, found);
        }
    }
    if policy.boot.is_some_and(|boot| !boot.value)
        && let Some((_, file)) = policy.boot_files.iter().find(|(_, file)| file.value.is_some())
    {
        found.at(file.origin, "a boot file beside `boot = false` is never told to anybody", "remove one of the two");
    }
    for option in &policy.always_send {
        let is_set = |policy: &Policy| policy.options.find(option.value).is_some();
        let subnets = || {
            config
                .subnets
                .iter()
                .flat_map(|subnet| std::iter::once(&subnet.policy).chain(subnet.reservations().iter().map(|one| &one.policy)))
        };
        let classes = || config.classes.iter().map(|class| &class.policy);
        if !std::iter::once(&config.general.policy).chain(subnets()).chain(classes()).any(is_set) {
            found.at(
                option.origin,
                format!("`always_send` names {}, which has no value anywhere", option_table::name(option.value)),
                "set it in `options`, or remove it from the list",
            );
        }
    }
}

fn subnet_alone(config: &DhcpConfig, subnet: &Subnet, found: &mut Findings) {
    let (network, origin) = (subnet.network.value, subnet.network.origin);
    let free = free_addresses(subnet);
    if !subnet.pools.is_empty() && free < SMALL_POOL {
        found.at(
            origin,
            format!("subnet {network} has {free} addresses for machines without a reservation"),
            "a machine takes up to two while it boots, since firmware and system often have different identifiers: make `pools` larger, or leave \
             it out when all machines have reservations",
        );
    }
    let is_set = |code: u8| subnet.policy.options.find(code).is_some() || config.general.policy.options.find(code).is_some();
    if !is_set(option::ROUTERS) && !is_set(CLASSLESS_ROUTES) {
        let hint = "set `routers`, unless all that machines need is in this subnet; the cloud is hardly there";
        found.at(origin, format!("subnet {network} names no router"), hint);
    }
    if !is_set(option::DNS_SERVERS) {
        let hint = "set `dns`, unless every URL has an address in it";
        found.at(origin, format!("subnet {network} names no name server"), hint);
    }
    if !is_set(option::NTP_SERVERS) {
        let hint = "set `ntp`: firmware whose clock is years off refuses every certificate, and with it the cloud";
        found.at(origin, format!("subnet {network} names no time server"), hint);
    }
    if let Some(search) = subnet.policy.options.find(DOMAIN_SEARCH).filter(|_| !is_set(option::DOMAIN_NAME)) {
        let hint = "set `domain` as well: clients that do not know option 119 have only that";
        found.at(search.origin, format!("subnet {network} has `domain-search` and no `domain`"), hint);
    }
    let routes = || subnet.policy.options.find(CLASSLESS_ROUTES).or_else(|| config.general.policy.options.find(CLASSLESS_ROUTES));
    if let Some(routes) = routes().filter(|routes| is_set(option::ROUTERS) && !has_default_route(&routes.octets)) {
        found.at(
            routes.origin,
            format!(
                "`classless-static-routes` has no default route, and clients that take it ignore `routers` of subnet {network} (RFC 3442)"
            ),
            "add { to = \"0.0.0.0/0\", via = ROUTER } to it",
        );
    }
    // RFC 6598; Tailscale numbers its machines from it.
    let shared = "100.64.0.0/10".parse::<super::network::AddressOrNetwork>().map(|shared| shared.0);
    if shared.is_ok_and(|shared| shared.overlaps(network)) {
        found.at(
            origin,
            format!("subnet {network} is in 100.64.0.0/10, from which tailnets number their machines"),
            "take a network of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16, or nodes can't tell this site from the tailnet",
        );
    }
    if !subnet.conflict_probe && config.general.conflict_probe {
        found.at(
            origin,
            format!("addresses of subnet {network} are given out without a look at whether somebody uses them already"),
            "set `conflict_probe = true`, unless every address of its pools is known to be free",
        );
    }
}

fn free_addresses(subnet: &Subnet) -> u64 {
    let taken = |address: u32| {
        let address = Ipv4Addr::from(address);
        subnet.excluded.iter().any(|range| range.contains(address))
            || subnet.reservations().iter().any(|reservation| reservation.address.value == address)
    };
    let mut free = 0_u64;
    for pool in &subnet.pools {
        for address in u32::from(pool.first())..=u32::from(pool.last()) {
            if free >= SMALL_POOL {
                return free;
            }
            free = free.saturating_add(u64::from(!taken(address)));
        }
    }
    free
}

fn has_default_route(octets: &[u8]) -> bool {
    let mut rest = octets;
    while let [width, after @ ..] = rest {
        if *width == 0 {
            return true;
        }
        rest = after.get(usize::from(*width).div_ceil(8).saturating_add(4)..).unwrap_or_default();
    }
    false
}

/// What a subnet says and `[dhcp]` says the same.
fn said_already(config: &DhcpConfig, subnet: &Subnet, found: &mut Findings) {
    for value in subnet.policy.options.iter() {
        let general = config.general.policy.options.find(value.code).filter(|general| general.octets == value.octets);
        if let Some(line) = general.and_then(|general| general.origin.line()) {
            found.at(
                value.origin,
                format!(
                    "option {} of subnet {} is what [dhcp] says already (line {line})",
                    option_table::name(value.code),
                    subnet.network.value
                ),
                "remove one of the two, so that a later change is made in one place",
            );
        }
    }
}

fn relays(config: &DhcpConfig, found: &mut Findings) {
    for (place, subnet) in config.subnets.iter().enumerate() {
        for relay in &subnet.relays {
            // Subnets of one link may well have one relay.
            let is_elsewhere = |other: &&Subnet| other.network.value == subnet.network.value || !other.is_on_link_of(subnet);
            let before = config.subnets.iter().take(place).filter(is_elsewhere);
            let earlier = before.into_iter().find(|other| other.relays.iter().any(|known| known.overlaps(*relay)));
            let inside = config.subnets.iter().filter(is_elsewhere).find(|other| other.network.value.overlaps(*relay));
            let (network, origin) = (subnet.network.value, subnet.network.origin);
            if let Some(other) = earlier {
                found.at(
                    origin,
                    format!("relay {relay} of subnet {network} is one of subnet {}, too", other.network.value),
                    "the subnet that comes first in the file is served: give the two one `shared_network` if they are on one link; a relay of several links sends link selection (RFC 3527)",
                );
            } else if let Some(other) = inside {
                let whose = if other.network.value == network {
                    "itself".to_owned()
                } else {
                    format!("and lies in subnet {}", other.network.value)
                };
                let hint = "`relays` is for those whose address lies in no subnet: remove it, or correct it";
                found.at(origin, format!("relay {relay} is named by subnet {network} {whose}"), hint);
            }
        }
    }
}

/// Whether the pools of a subnet are for the class.
fn names_it(config: &DhcpConfig, class: &str) -> bool {
    config.subnets.iter().flat_map(|subnet| &subnet.classes).any(|name| name.value == class)
}

/// A link that has one subnet only, and pools that are for some and are not there.
fn shared_networks(config: &DhcpConfig, found: &mut Findings) {
    for subnet in &config.subnets {
        let alone = || config.subnets.iter().filter(|other| other.is_on_link_of(subnet)).count() < 2;
        if let Some(name) = subnet.shared_network.as_ref().filter(|_| alone()) {
            found.at(
                name.origin,
                format!("no other subnet has `shared_network = \"{}\"`", name.value),
                "give all subnets of the link this name, or remove it",
            );
        }
        if let Some(class) = subnet.classes.first().filter(|_| subnet.pools.is_empty()) {
            found.at(
                class.origin,
                format!("`classes` says for whom the pools of subnet {} are, and it has none", subnet.network.value),
                "a reservation is its machine's whatever its class: remove `classes`, or add `pools`",
            );
        }
    }
}

fn shadowed_classes(config: &DhcpConfig, found: &mut Findings) {
    for (place, class) in config.classes.iter().enumerate() {
        let says = says(class);
        let (name, origin) = (&class.name.value, class.name.origin);
        if names_it(config, name) {
            // What it says besides may well be said by another one.
            continue;
        }
        if says.is_empty() {
            found.at(
                origin,
                format!("class `{name}` says nothing of its machines"),
                "give it a setting, name it in `classes` of a subnet, or remove it",
            );
            continue;
        }
        let earlier = config.classes.iter().take(place);
        let shadow = earlier.into_iter().find(|other| covers(&other.matcher, &class.matcher) && is_within(&says, &self::says(other)));
        if let Some(shadow) = shadow {
            let line = shadow.name.origin.line().unwrap_or_default();
            found.at(
                origin,
                format!(
                    "class `{name}` never decides anything: all its machines are in class `{}` (line {line}), which comes first",
                    shadow.name.value
                ),
                "put the narrower class first",
            );
        }
    }
}

/// A thing that a class decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Time(&'static str),
    Option(u8),
    Always(u8),
    RapidCommit,
    Boot,
    BootFile(ClientArch),
}

fn says(class: &Class) -> Vec<Said> {
    let Policy { times, options, always_send, rapid_commit, boot, boot_files } = &class.policy;
    let named = [
        ("lease_time", times.default),
        ("min_lease_time", times.min),
        ("max_lease_time", times.max),
        ("renewal_time", times.renewal),
        ("rebinding_time", times.rebinding),
    ];
    let mut says: Vec<Said> = named.into_iter().filter(|(_, time)| time.is_some()).map(|(key, _)| Said::Time(key)).collect();
    says.extend(options.iter().map(|value| Said::Option(value.code)));
    says.extend(always_send.iter().map(|option| Said::Always(option.value)));
    says.extend(rapid_commit.map(|_| Said::RapidCommit));
    says.extend(boot.map(|_| Said::Boot));
    says.extend(boot_files.iter().map(|(arch, _)| Said::BootFile(*arch)));
    says
}

fn is_within(inner: &[Said], outer: &[Said]) -> bool {
    inner.iter().all(|said| outer.contains(said))
}

/// Whether everyone in `inner` is in `outer`.
fn covers(outer: &Matcher, inner: &Matcher) -> bool {
    fn list<T>(outer: &[T], inner: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
        outer.is_empty() || (!inner.is_empty() && inner.iter().all(|inner| outer.iter().any(|outer| covers(outer, inner))))
    }
    let pattern = |outer: &Pattern, inner: &Pattern| outer == inner || (outer.is_prefix && inner.text.starts_with(&outer.text));
    list(&outer.arch, &inner.arch, PartialEq::eq)
        && list(&outer.vendor_class, &inner.vendor_class, pattern)
        && list(&outer.user_class, &inner.user_class, pattern)
        && list(&outer.mac_prefix, &inner.mac_prefix, |outer, inner| inner.starts_with(outer))
        && list(&outer.relay, &inner.relay, |outer: &Ipv4Network, inner| outer.covers(*inner))
}

fn boot_files(files: &GeneralBootFiles, found: &mut Findings) {
    for (arch, line) in &files.lines {
        if let Some(file) = files.files.file(*arch) {
            boot_file(*arch, file, Origin::Line(*line), found);
        }
    }
}

/// Files other than those that are built in are there only when the cloud has them.
fn boot_file(arch: ClientArch, file: &str, origin: Origin, found: &mut Findings) {
    if file.contains("://") {
        if file.starts_with("https://") && !arch.boots_from_http() {
            found.at(
                origin,
                format!("`{file}` for {arch}: its firmware takes boot files by TFTP and knows no HTTPS"),
                "name a file that the box serves; iPXE, which it starts, goes on with HTTPS",
            );
        }
        return;
    }
    let built_in = BootFiles::default();
    if !built_in.iter().any(|(_, known)| known == file) {
        found.at(
            origin,
            format!("boot file `{file}` for {arch} is not one of those that every box has"),
            "see that `fairlead-cloud firmware` brings it; the box serves only what its cloud has",
        );
    }
}
