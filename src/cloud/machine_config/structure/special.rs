//! The types that read a text of their own.

use std::net::{IpAddr, SocketAddr};

use data_encoding::BASE64;

use crate::cloud::machine_config::schema::Special;
use crate::cloud::machine_config::yaml::{Node, Number, Resolved};

pub(super) const fn wanted(special: Special) -> &'static str {
    match special {
        Special::Prefix => "a network such as `10.0.0.0/8`",
        Special::Address => "an address",
        Special::AddressPort => "an address and a port, such as `10.0.0.1:80`,",
        Special::Url => "a URL",
        Special::ByteSize | Special::DiskSize => "a size such as `10GB`",
        Special::Size => "a size such as `10GB` or `10%`",
        Special::SizeMatcher => "a size, or a comparison such as `>= 10GB`,",
        Special::Expression => "an expression",
        Special::Argument => "text, or a list of it,",
        Special::HardwareAddress => "a hardware address",
        Special::PortRange => "a port, or a range such as `80-90`,",
        Special::Base64 | Special::CertificateAndKey | Special::Certificate | Special::Key => "base 64",
    }
}

/// Whether Talos' own reader takes the text. Of an expression only a compiler of CEL could say so.
pub(super) fn is_good(special: Special, text: &str, node: &Node) -> bool {
    match special {
        Special::Prefix => text.is_empty() || is_prefix(text),
        Special::Address => text.is_empty() || is_address(text),
        Special::AddressPort => text.is_empty() || is_address_port(text),
        Special::Url => is_url(text),
        Special::ByteSize | Special::DiskSize => text.is_empty() || is_size(text.strip_prefix('-').unwrap_or(text)),
        Special::Size => match text.strip_suffix('%') {
            Some(percent) => percent.parse::<f64>().is_ok_and(|percent| (-100.0..=100.0).contains(&percent)),
            None => text.is_empty() || is_size(text.strip_prefix('-').unwrap_or(text)),
        },
        Special::SizeMatcher => {
            let rest = [">=", "<=", ">", "<", "=="].iter().find_map(|operator| text.trim().strip_prefix(operator)).unwrap_or(text);
            is_size(rest.trim())
        }
        Special::HardwareAddress => text.is_empty() || is_hardware_address(text),
        Special::PortRange => match node.resolve() {
            Some(Resolved::Number(Number::Integer(port))) => u16::try_from(port).is_ok(),
            _ => text.split_once('-').is_some_and(|(low, high)| is_port(low) && is_port(high)),
        },
        Special::Base64 | Special::CertificateAndKey | Special::Certificate | Special::Key => is_base64(text),
        Special::Expression | Special::Argument => true,
    }
}

/// Go's decoder passes over line ends.
pub(super) fn is_base64(text: &str) -> bool {
    let plain: String = text.chars().filter(|character| !matches!(character, '\r' | '\n')).collect();
    BASE64.decode(plain.as_bytes()).is_ok()
}

/// A float as a field for whole numbers takes it.
pub(super) fn whole(number: f64) -> Option<i128> {
    if number.is_finite() && number.abs() < 9.3e18 { format!("{:.0}", number.trunc()).parse().ok() } else { None }
}

/// Go's `time.ParseDuration`.
pub(super) fn is_duration(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    if text == "0" {
        return true;
    }
    let mut rest = text;
    let mut parts = 0_usize;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|character: char| character.is_ascii_digit() || character == '.');
        let digits = rest.get(..rest.len().saturating_sub(number.len())).unwrap_or_default();
        if !digits.bytes().any(|byte| byte.is_ascii_digit()) || digits.matches('.').count() > 1 {
            return false;
        }
        let Some(after) = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].iter().find_map(|unit| {
            let after = number.strip_prefix(unit)?;
            // `ms` must not be read as `m` with an `s` behind it.
            after.chars().next().is_none_or(|next| next.is_ascii_digit() || next == '.').then_some(after)
        }) else {
            return false;
        };
        rest = after;
        parts = parts.saturating_add(1);
    }
    parts > 0
}

fn is_address(text: &str) -> bool {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    match (address.parse::<IpAddr>(), zone) {
        (Ok(IpAddr::V6(_)), Some(zone)) => !zone.is_empty(),
        (Ok(_), None) => true,
        _ => false,
    }
}

fn is_address_port(text: &str) -> bool {
    text.parse::<SocketAddr>().is_ok()
}

fn is_prefix(text: &str) -> bool {
    let Some((address, length)) = text.rsplit_once('/') else { return false };
    let plain = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
    match (address.parse::<IpAddr>(), length.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(length)) => plain && length <= 32,
        (Ok(IpAddr::V6(_)), Ok(length)) => plain && length <= 128,
        _ => false,
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_hardware_address(text: &str) -> bool {
    let separator = if text.contains(':') { ':' } else { '-' };
    let parts: Vec<_> = text.split(separator).collect();
    matches!(parts.len(), 6 | 8 | 20) && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What Go's `url.Parse` refuses of what people write: a blank or control character, a first segment with a colon, a port that is none.
fn is_url(text: &str) -> bool {
    if text.chars().any(|character| character.is_ascii_control()) {
        return false;
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let first = text.split(['/', '?', '#']).next().unwrap_or_default();
        return match first.split_once(':') {
            Some((scheme, _)) => is_scheme(scheme),
            None => true,
        };
    };
    if !is_scheme(scheme) {
        return false;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let port = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((_, behind)) => behind,
            None => return false,
        },
        None => host.find(':').and_then(|at| host.get(at..)).unwrap_or_default(),
    };
    let good_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    good_port && !host.contains([' ', '<', '>', '"'])
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Go's `humanize.ParseBytes`.
fn is_size(text: &str) -> bool {
    let number = text.trim_end_matches(|character: char| !(character.is_ascii_digit() || character == '.' || character == ','));
    let unit = text.get(number.len()..).unwrap_or_default().trim().to_ascii_lowercase();
    let digits = number.replace(',', "");
    let good_number = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && digits.parse::<f64>().is_ok();
    let good_unit = matches!(unit.as_str(), "" | "b")
        || unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).or_else(|| unit.strip_suffix('i')).unwrap_or(&unit).len() == 1
            && unit.starts_with(['k', 'm', 'g', 't', 'p', 'e']);
    good_number && good_unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_taken_as_go_takes_them() {
        for text in ["10s", "1h30m", "1.5h", "0", "-1m", "100ms", "1m30s", "1µs"] {
            assert!(is_duration(text), "{text}");
        }
        for text in ["", "10", "s", "1x", "1.2.3s", "1d", "1m s"] {
            assert!(!is_duration(text), "{text}");
        }
        for text in ["10GB", "10 GiB", "1,000", "5", "1.5TB", "10g", "10Gi"] {
            assert!(is_size(text), "{text}");
        }
        for text in ["", "GB", "10XB", "ten", "10GBB"] {
            assert!(!is_size(text), "{text}");
        }
        for text in ["https://a:6443", "https://[fd00::1]:6443/x", "a/b", "", "https://a"] {
            assert!(is_url(text), "{text}");
        }
        for text in ["10.0.0.1:6443", "https://a:b", "https://[fd00::1", ":", "https://a b"] {
            assert!(!is_url(text), "{text}");
        }
        assert!(
            is_prefix("10.0.0.0/8")
                && is_prefix("fd00::/8")
                && !is_prefix("10.0.0.0")
                && !is_prefix("10.0.0.0/33")
                && !is_prefix("10.0.0.0/08")
        );
        assert!(is_hardware_address("aa:bb:cc:dd:ee:ff") && !is_hardware_address("aa:bb:cc"));
        assert_eq!(whole(1e3), Some(1000));
        assert_eq!(whole(1.5), Some(1));
    }
}
