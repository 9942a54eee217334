use std::collections::HashSet;

use toml::Spanned;

use super::level::{self, Level};
use super::{boot, sourced};
use crate::config_file::Source;
use crate::edge::dhcp::config::policy::{Class, General, Matcher, Pattern};
use crate::edge::dhcp::config::section::ClassSection;
use crate::edge::dhcp::config::value::{Value, parse_hex};
use crate::edge::dhcp::config::{Ipv4Network, Subnet};
use crate::failure::Failure;
use crate::wire::ClientArch;

pub(super) fn build_all(
    source: &Source,
    sections: &[Spanned<ClassSection>],
    subnets: &[Subnet],
    general: &General,
) -> Result<Vec<Class>, Failure> {
    let mut names = HashSet::new();
    let mut classes = Vec::new();
    for section in sections {
        let section = section.get_ref();
        let name = section.name.get_ref();
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            return Err(source.error(&section.name.span(), "a class has no usable name", "give it a name of 1 to 64 characters"));
        }
        if !names.insert(name) {
            return Err(source.error(
                &section.name.span(),
                &format!("class `{name}` is named twice"),
                "give one of them another name; `explain` and the log tell classes by it",
            ));
        }
        let matcher = matcher(source, section, subnets, general)?;
        let level = if boots(&matcher) { Level::BootClass } else { Level::Class };
        let policy = level::build(source, level, section.policy())?;
        classes.push(Class { name: sourced(source, &section.name.span(), name.clone()), matcher, policy });
    }
    Ok(classes)
}

/// Whether only machines that boot are in it.
fn boots(matcher: &Matcher) -> bool {
    let boots = |pattern: &Pattern| pattern.text.starts_with(b"PXEClient") || pattern.text.starts_with(b"HTTPClient");
    !matcher.vendor_class.is_empty() && matcher.vendor_class.iter().all(boots)
}

fn matcher(source: &Source, section: &ClassSection, subnets: &[Subnet], general: &General) -> Result<Matcher, Failure> {
    let name = section.name.get_ref();
    let mut matcher = Matcher::default();
    if let Some(archs) = list(source, section.arch.as_ref(), name, "arch")? {
        matcher.arch = archs.iter().map(|arch| build_arch(source, arch)).collect::<Result<_, _>>()?;
    }
    if let Some(patterns) = list(source, section.vendor_class.as_ref(), name, "vendor_class")? {
        matcher.vendor_class = patterns.iter().map(|text| pattern(source, text)).collect::<Result<_, _>>()?;
    }
    if let Some(patterns) = list(source, section.user_class.as_ref(), name, "user_class")? {
        matcher.user_class = patterns.iter().map(|text| pattern(source, text)).collect::<Result<_, _>>()?;
    }
    if let Some(prefixes) = list(source, section.mac_prefix.as_ref(), name, "mac_prefix")? {
        matcher.mac_prefix = prefixes.iter().map(|text| mac_prefix(source, text)).collect::<Result<_, _>>()?;
    }
    if let Some(relays) = list(source, section.relay.as_ref(), name, "relay")? {
        for relay in relays {
            check_relay(source, relay.get_ref().0, &relay.span(), name, subnets, general)?;
        }
        matcher.relay = relays.iter().map(|relay| relay.get_ref().0).collect();
    }
    if matcher == Matcher::default() {
        return Err(source.error(
            &section.name.span(),
            &format!("class `{name}` does not say who is in it"),
            "add `arch`, `vendor_class`, `user_class`, `mac_prefix` or `relay`; what holds for all machines belongs into [dhcp]",
        ));
    }
    check_arch_in_vendor_class(source, section, &matcher)?;
    Ok(matcher)
}

fn list<'a, T>(source: &Source, list: Option<&'a Spanned<Vec<T>>>, class: &str, key: &str) -> Result<Option<&'a [T]>, Failure> {
    match list {
        Some(list) if list.get_ref().is_empty() => Err(source.error(
            &list.span(),
            &format!("class `{class}` can't match: `{key}` is an empty list, and one of its values must fit"),
            &format!("name a value, or remove `{key}` if it does not matter"),
        )),
        list => Ok(list.map(|list| list.get_ref().as_slice())),
    }
}

fn build_arch(source: &Source, arch: &Spanned<Value>) -> Result<ClientArch, Failure> {
    match arch.get_ref() {
        Value::Number(number) => boot::arch(source, &arch.span(), &number.to_string()),
        Value::Text(text) => boot::arch(source, &arch.span(), text),
        other => boot::arch(source, &arch.span(), &other.to_string()),
    }
}

fn pattern(source: &Source, text: &Spanned<String>) -> Result<Pattern, Failure> {
    let (text, span) = (text.get_ref(), text.span());
    let (beginning, is_prefix) = text.strip_suffix('*').map_or((text.as_str(), false), |beginning| (beginning, true));
    if beginning.contains('*') {
        return Err(source.error(&span, &format!("`{text}` has a `*` before its end"), "a `*` stands for anything at the end only"));
    }
    if (beginning.is_empty() && !is_prefix) || beginning.len() > 255 {
        let what = format!("`{text}` can't match: a class has 1 to 255 characters");
        return Err(source.error(&span, &what, "write the text as the client sends it, or its beginning and a `*`"));
    }
    Ok(Pattern { text: beginning.as_bytes().to_vec(), is_prefix })
}

fn mac_prefix(source: &Source, text: &Spanned<String>) -> Result<Vec<u8>, Failure> {
    let octets = parse_hex(text.get_ref()).filter(|octets| octets.len() <= 6).ok_or_else(|| {
        source.error(
            &text.span(),
            &format!("`{}` is not the beginning of a hardware address", text.get_ref()),
            "write 1 to 6 octets, as in `52:54:00`",
        )
    })?;
    if octets.first().is_some_and(|first| first & 1 == 1) {
        return Err(source.error(
            &text.span(),
            &format!("`{}` can't match: it is the beginning of group addresses", text.get_ref()),
            "the first octet of a machine's address is even",
        ));
    }
    Ok(octets)
}

/// A relay that no subnet and no list of relays admits is refused before any class is asked.
fn check_relay(
    source: &Source,
    relay: Ipv4Network,
    span: &std::ops::Range<usize>,
    class: &str,
    subnets: &[Subnet],
    general: &General,
) -> Result<(), Failure> {
    let named = subnets.iter().flat_map(|subnet| &subnet.relays).chain(&general.relays);
    let inside = subnets.iter().map(|subnet| &subnet.network.value).filter(|_| general.relays.is_empty());
    if subnets.is_empty() || named.chain(inside).any(|admitted| admitted.overlaps(relay)) {
        return Ok(());
    }
    Err(source.error(
        span,
        &format!("class `{class}` can't match: no subnet has the relay {relay}, and no list of `relays` names it"),
        "correct the address, or name the relay in `relays` of its subnet",
    ))
}

/// `vendor_class = ["PXEClient:Arch:00000*"]` and `arch = ["x64-uefi"]` exclude each other.
fn check_arch_in_vendor_class(source: &Source, section: &ClassSection, matcher: &Matcher) -> Result<(), Failure> {
    let named = |pattern: &Pattern| {
        let text = String::from_utf8_lossy(&pattern.text);
        let digits = text.split_once(":Arch:")?.1.get(..5)?.to_owned();
        digits.parse().ok().map(ClientArch)
    };
    let archs: Option<Vec<ClientArch>> = matcher.vendor_class.iter().map(named).collect();
    let (Some(archs), Some(arch)) = (archs, &section.arch) else { return Ok(()) };
    if archs.is_empty() || archs.iter().any(|arch| matcher.arch.contains(arch)) {
        return Ok(());
    }
    let shown: Vec<String> = archs.iter().map(ToString::to_string).collect();
    Err(source.error(
        &arch.span(),
        &format!("class `{}` can't match: `vendor_class` names {}, and `arch` does not", section.name.get_ref(), shown.join(", ")),
        "remove one of the two keys, or make them agree",
    ))
}
