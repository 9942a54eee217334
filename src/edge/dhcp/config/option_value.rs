//! Option values: from the file to the wire, and back into words for `explain`.

use std::net::Ipv4Addr;
use std::ops::Range;

use data_encoding::HEXLOWER;
use humantime_serde::re::humantime::{format_duration, parse_duration};
use toml::Spanned;

use super::network::AddressOrNetwork;
use super::option_table::{Kind, by_code};
use super::value::{Value, parse_hex};

/// What is wrong with a value: where, and what, when it is more than the type.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) span: Range<usize>,
    pub(super) what: String,
}

/// The most octets of an option: more would not fit the answers of usual clients (RFC 2131, section 2: 576 octets in all).
const MOST_OCTETS: usize = 1024;

type Encoded = Result<Vec<u8>, Wrong>;

/// The octets of an option whose type is known; `hex:` is taken for every type.
pub(super) fn encode(kind: Kind, value: &Spanned<Value>) -> Encoded {
    let octets = match (value.get_ref(), kind) {
        (Value::Text(text), _) if text.starts_with("hex:") => encode_raw(value)?,
        (_, Kind::Flag) => match value.get_ref() {
            Value::Flag(flag) => vec![u8::from(*flag)],
            _ => return Err(wrong(value)),
        },
        (_, Kind::Octet(least, most)) => number(value, i64::from(least), i64::from(most), |number| u8::try_from(number).map(|n| vec![n]))?,
        (_, Kind::Short(least, most)) => number(value, i64::from(least), i64::from(most), short)?,
        (_, Kind::Shorts(least)) => each(value, |item| number(item, i64::from(least), i64::from(u16::MAX), short))?,
        (Value::Text(text), Kind::Seconds) => seconds(text).ok_or_else(|| wrong(value))?.to_be_bytes().to_vec(),
        (_, Kind::Seconds) => number(value, 0, i64::from(u32::MAX), long)?,
        (_, Kind::Offset) => number(value, i64::from(i32::MIN), i64::from(i32::MAX), |number| {
            i32::try_from(number).map(|number| number.to_be_bytes().to_vec())
        })?,
        (_, Kind::Address) => address(value)?,
        // One address need not be a list.
        (Value::Text(_), Kind::Addresses) => address(value)?,
        (_, Kind::Addresses) => each(value, address)?,
        (_, Kind::Pairs) => each(value, |pair| match pair.get_ref() {
            Value::List(both) if both.len() == 2 => each(pair, address),
            _ => Err(wrong(pair)),
        })?,
        (_, Kind::Text) => text(value)?.as_bytes().to_vec(),
        (_, Kind::DomainName) => domain(value)?.as_bytes().to_vec(),
        (Value::Text(_), Kind::DomainNames) => labels(domain(value)?),
        (_, Kind::DomainNames) => each(value, |item| domain(item).map(labels))?,
        (_, Kind::Url) => match text(value)? {
            url if url.contains(':') && url.bytes().all(|byte| byte.is_ascii_graphic()) => url.as_bytes().to_vec(),
            _ => return Err(wrong(value)),
        },
        (_, Kind::Routes) => each(value, route)?,
        (_, Kind::SipServers) => sip_servers(value)?,
        (_, Kind::SubOptions) => sub_options(value)?,
        (_, Kind::VendorClasses) => vendors(value, encode_raw)?,
        (_, Kind::VendorOptions) => vendors(value, sub_options)?,
    };
    if octets.len() > MOST_OCTETS {
        return Err(Wrong { span: value.span(), what: format!("takes {} octets, and {MOST_OCTETS} are the most", octets.len()) });
    }
    Ok(octets)
}

/// The octets of an option without a type: `hex:`, `text:`, an address or a list of addresses.
pub(super) fn encode_raw(value: &Spanned<Value>) -> Encoded {
    let octets = match value.get_ref() {
        Value::Text(text) => raw_text(text).ok_or_else(|| wrong(value))?,
        Value::List(_) => each(value, address)?,
        _ => return Err(wrong(value)),
    };
    if octets.is_empty() || octets.len() > MOST_OCTETS {
        return Err(Wrong { span: value.span(), what: format!("has {} octets; 1 to {MOST_OCTETS} are possible", octets.len()) });
    }
    Ok(octets)
}

fn raw_text(text: &str) -> Option<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("hex:") {
        return parse_hex(hex);
    }
    if let Some(text) = text.strip_prefix("text:") {
        return Some(text.as_bytes().to_vec());
    }
    text.parse().ok().map(|address: Ipv4Addr| address.octets().to_vec())
}

fn wrong(value: &Spanned<Value>) -> Wrong {
    Wrong { span: value.span(), what: format!("is {}", value.get_ref()) }
}

fn each(value: &Spanned<Value>, encode: impl Fn(&Spanned<Value>) -> Encoded) -> Encoded {
    match value.get_ref() {
        Value::List(list) if !list.is_empty() => Ok(list.iter().map(encode).collect::<Result<Vec<_>, _>>()?.concat()),
        Value::List(_) => Err(Wrong { span: value.span(), what: "is an empty list".to_owned() }),
        _ => Err(wrong(value)),
    }
}

fn number<E>(value: &Spanned<Value>, least: i64, most: i64, encode: impl FnOnce(i64) -> Result<Vec<u8>, E>) -> Encoded {
    match value.get_ref() {
        Value::Number(number) if (least..=most).contains(number) => encode(*number).map_err(|_| wrong(value)),
        _ => Err(wrong(value)),
    }
}

fn short(number: i64) -> Result<Vec<u8>, std::num::TryFromIntError> {
    u16::try_from(number).map(|number| number.to_be_bytes().to_vec())
}

fn long(number: i64) -> Result<Vec<u8>, std::num::TryFromIntError> {
    u32::try_from(number).map(|number| number.to_be_bytes().to_vec())
}

/// A duration of whole seconds.
pub(super) fn seconds(text: &str) -> Option<u32> {
    let duration = parse_duration(text).ok().filter(|duration| duration.subsec_nanos() == 0)?;
    u32::try_from(duration.as_secs()).ok()
}

fn address(value: &Spanned<Value>) -> Encoded {
    match value.get_ref() {
        Value::Text(text) => text.parse().map(|address: Ipv4Addr| address.octets().to_vec()).map_err(|_| wrong(value)),
        _ => Err(wrong(value)),
    }
}

fn text(value: &Spanned<Value>) -> Result<&str, Wrong> {
    match value.get_ref() {
        Value::Text(text) if (1..=255).contains(&text.len()) && !text.chars().any(char::is_control) => Ok(text),
        _ => Err(wrong(value)),
    }
}

fn domain(value: &Spanned<Value>) -> Result<&str, Wrong> {
    match value.get_ref() {
        Value::Text(text) if is_domain(text) => Ok(text),
        _ => Err(wrong(value)),
    }
}

/// Whether the text is a domain name without a dot at its end.
pub(super) fn is_domain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether the text is one part of a domain name. Active Directory has names with underscores.
pub(super) fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// RFC 1035, section 3.1, without compression: clients that can't follow pointers are left.
fn labels(domain: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(domain.len().saturating_add(2));
    for label in domain.split('.') {
        octets.push(u8::try_from(label.len()).unwrap_or(63));
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
    octets
}

/// RFC 3442: the width of the mask, the octets of the network that are not all host, the router.
fn route(value: &Spanned<Value>) -> Encoded {
    let Value::Table(entries) = value.get_ref() else { return Err(wrong(value)) };
    let (mut to, mut via) = (None, None);
    for (key, entry) in entries {
        let Value::Text(text) = entry.get_ref() else { return Err(wrong(entry)) };
        match key.get_ref().as_str() {
            "to" => {
                let network = text.parse().ok().filter(|_| text.contains('/'));
                to = Some(network.map(|AddressOrNetwork(network)| network).ok_or_else(|| wrong(entry))?);
            }
            "via" => via = Some(address(entry)?),
            other => return Err(Wrong { span: key.span(), what: format!("has the key `{other}`; there are `to` and `via`") }),
        }
    }
    let (Some(to), Some(via)) = (to, via) else {
        return Err(Wrong { span: value.span(), what: "has a route without `to` or without `via`".to_owned() });
    };
    let significant = usize::from(to.prefix()).div_ceil(8);
    let network = to.address().octets();
    Ok([&[to.prefix()], network.get(..significant).unwrap_or(&network), &via].concat())
}

/// RFC 3361, section 3.1 and 3.2.
fn sip_servers(value: &Spanned<Value>) -> Encoded {
    match each(value, address) {
        Ok(addresses) => Ok([&[1], addresses.as_slice()].concat()),
        Err(_) => each(value, |item| domain(item).map(labels)).map(|names| [&[0], names.as_slice()].concat()),
    }
}

fn sub_options(value: &Spanned<Value>) -> Encoded {
    let Value::Table(entries) = value.get_ref() else {
        return Err(wrong(value));
    };
    let mut octets = Vec::new();
    for (key, entry) in entries {
        let code = key.get_ref().parse::<u8>().ok().filter(|code| !matches!(code, 0 | 255)).ok_or_else(|| Wrong {
            span: key.span(),
            what: format!("has the sub-option `{}`; their numbers go from 1 to 254", key.get_ref()),
        })?;
        let data = encode_raw(entry)?;
        octets.extend([code, length(&data, entry)?]);
        octets.extend(data);
    }
    if octets.is_empty() { Err(Wrong { span: value.span(), what: "is an empty table".to_owned() }) } else { Ok(octets) }
}

fn vendors(value: &Spanned<Value>, encode: impl Fn(&Spanned<Value>) -> Encoded) -> Encoded {
    let Value::Table(entries) = value.get_ref() else { return Err(wrong(value)) };
    let mut octets = Vec::new();
    for (key, entry) in entries {
        let number: u32 = key.get_ref().parse().map_err(|_| Wrong {
            span: key.span(),
            what: format!("has the key `{}`, which is no enterprise number of IANA's list", key.get_ref()),
        })?;
        let data = encode(entry)?;
        octets.extend(number.to_be_bytes());
        octets.push(length(&data, entry)?);
        octets.extend(data);
    }
    if octets.is_empty() { Err(Wrong { span: value.span(), what: "is an empty table".to_owned() }) } else { Ok(octets) }
}

fn length(data: &[u8], value: &Spanned<Value>) -> Result<u8, Wrong> {
    u8::try_from(data.len())
        .map_err(|_| Wrong { span: value.span(), what: format!("has a part of {} octets; 255 are the most", data.len()) })
}

/// An option's value in words: by its type, or in hex when it has none or does not fit it.
#[must_use]
pub fn in_words(code: u8, octets: &[u8]) -> String {
    let kind = match code {
        // Those that the server decides have types as well.
        1 | 28 | 50 | 54 => Some(Kind::Address),
        51 | 58 | 59 => Some(Kind::Seconds),
        12 | 56 | crate::wire::private_option::TICKET | crate::wire::private_option::BOOT_URL => Some(Kind::Text),
        _ => by_code(code).map(|known| known.kind),
    };
    kind.and_then(|kind| decode(kind, octets)).unwrap_or_else(|| hex(octets))
}

/// Octets as `text:` when they are text and as hex when not, as the configuration takes them.
pub(super) fn octets_in_words(octets: &[u8]) -> String {
    match str::from_utf8(octets) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => format!("text:{text}"),
        _ => hex(octets),
    }
}

/// Octets in hex, as the configuration takes them.
pub(super) fn hex(octets: &[u8]) -> String {
    let shown: Vec<String> = octets.iter().map(|octet| HEXLOWER.encode(&[*octet])).collect();
    format!("hex:{}", shown.join(":"))
}

fn decode(kind: Kind, octets: &[u8]) -> Option<String> {
    let list = |parts: Vec<String>| (!parts.is_empty()).then(|| parts.join(", "));
    Some(match (kind, octets) {
        (Kind::Flag, [0]) => "false".to_owned(),
        (Kind::Flag, [1]) => "true".to_owned(),
        (Kind::Octet(..), [number]) => number.to_string(),
        (Kind::Short(..), [a, b]) => u16::from_be_bytes([*a, *b]).to_string(),
        (Kind::Shorts(_), _) => {
            let (pairs, []) = octets.as_chunks::<2>() else { return None };
            return list(pairs.iter().map(|pair| u16::from_be_bytes(*pair).to_string()).collect());
        }
        (Kind::Seconds | Kind::Offset, [a, b, c, d]) => {
            let octets = [*a, *b, *c, *d];
            match kind {
                Kind::Offset => i32::from_be_bytes(octets).to_string(),
                _ => format_duration(std::time::Duration::from_secs(u64::from(u32::from_be_bytes(octets)))).to_string(),
            }
        }
        (Kind::Address | Kind::Addresses, _) => return list(addresses(octets)?),
        (Kind::Pairs, _) => return list(addresses(octets)?.chunks(2).map(|pair| pair.join(" ")).collect()),
        (Kind::Text | Kind::DomainName | Kind::Url, _) => {
            // Some options end with a NUL, for clients that count on it.
            let octets = octets.strip_suffix(&[0]).unwrap_or(octets);
            let text = str::from_utf8(octets).ok()?;
            (!text.chars().any(char::is_control)).then(|| text.to_owned())?
        }
        (Kind::DomainNames, _) => return list(names(octets)?),
        (Kind::SipServers, [0, names_of @ ..]) => return list(names(names_of)?),
        (Kind::SipServers, [1, rest @ ..]) => return list(addresses(rest)?),
        (Kind::Routes, _) => return list(routes(octets)?),
        _ => return None,
    })
}

fn addresses(octets: &[u8]) -> Option<Vec<String>> {
    let (parts, rest) = octets.as_chunks::<4>();
    rest.is_empty().then(|| parts.iter().map(|part| Ipv4Addr::from(*part).to_string()).collect())
}

fn names(mut octets: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut labels: Vec<&str> = Vec::new();
    while let [length, rest @ ..] = octets {
        let (label, after) = rest.split_at_checked(usize::from(*length))?;
        octets = after;
        if label.is_empty() {
            names.push(labels.join("."));
            labels.clear();
        } else {
            labels.push(str::from_utf8(label).ok().filter(|label| is_label(label))?);
        }
    }
    labels.is_empty().then_some(names)
}

fn routes(mut octets: &[u8]) -> Option<Vec<String>> {
    let mut routes = Vec::new();
    while let [width, rest @ ..] = octets {
        let significant = usize::from(*width).div_ceil(8);
        let (network, rest) = rest.split_at_checked(significant)?;
        let (via, rest) = rest.split_first_chunk::<4>()?;
        let mut to = [0; 4];
        to.get_mut(..significant)?.copy_from_slice(network);
        routes.push(format!("{}/{width} via {}", Ipv4Addr::from(to), Ipv4Addr::from(*via)));
        octets = rest;
    }
    Some(routes)
}
