//! What one level of the configuration says: times, options, boot.

use std::ops::Range;

use toml::Spanned;

use super::{boot, sourced, times};
use crate::config_file::Source;
use crate::edge::dhcp::config::option_table::{self, KnownOption};
use crate::edge::dhcp::config::option_value::{Wrong, encode, encode_raw};
use crate::edge::dhcp::config::options::{OptionSet, OptionValue};
use crate::edge::dhcp::config::policy::{Origin, Policy, Sourced};
use crate::edge::dhcp::config::section::PolicyKeys;
use crate::edge::dhcp::config::value::Value;
use crate::edge::dhcp::option;
use crate::failure::Failure;

/// Which level it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// `[dhcp]`.
    Dhcp,
    /// `[[subnet]]`.
    Subnet,
    /// `[[class]]`.
    Class,
    /// `[[class]]` of machines that boot: its vendor class is that of PXE or of HTTP boot.
    BootClass,
    /// `[[subnet.reservation]]`.
    Reservation,
}

pub(super) fn build(source: &Source, level: Level, keys: PolicyKeys<'_>) -> Result<Policy, Failure> {
    let mut options = OptionSet::default();
    for (key, value) in keys.options {
        let code = settable(source, level, &key.span(), key.get_ref())?;
        if let Some(other) = options.find(code) {
            return Err(set_twice(source, &key.span(), code, other));
        }
        let known = option_table::by_code(code);
        let octets = match known {
            Some(known) => encode(known.kind, value).map_err(|wrong| wrong_type(source, known, value, &wrong))?,
            None => encode_raw(value).map_err(|wrong| wrong_raw(source, code, value, &wrong))?,
        };
        options.set(OptionValue { code, octets, origin: Origin::Line(source.line(&key.span())) });
    }
    Ok(Policy {
        times: times::build(source, &keys)?,
        options,
        always_send: keys.always_send.iter().map(|option| always(source, option)).collect::<Result<_, _>>()?,
        rapid_commit: keys.rapid_commit.map(|flag| sourced(source, &flag.span(), *flag.get_ref())),
        boot: keys.boot.map(|flag| sourced(source, &flag.span(), *flag.get_ref())),
        boot_files: boot::level_files(source, keys.boot_files)?,
    })
}

/// Adds an option's short form.
pub(super) fn set_short_form(
    source: &Source,
    options: &mut OptionSet,
    span: &Range<usize>,
    code: u8,
    octets: Vec<u8>,
) -> Result<(), Failure> {
    if let Some(other) = options.find(code) {
        return Err(set_twice(source, span, code, other));
    }
    options.set(OptionValue { code, octets, origin: Origin::Line(source.line(span)) });
    Ok(())
}

fn set_twice(source: &Source, span: &Range<usize>, code: u8, other: &OptionValue) -> Failure {
    let place = match other.origin {
        Origin::Line(line) => format!(" (line {line})"),
        Origin::BuiltIn => String::new(),
    };
    source.error(
        span,
        &format!("option {} ({code}) is set already{place}", option_table::name(code)),
        "keep one of the two; `routers`, `dns`, `ntp` and `domain` set the options 3, 6, 42 and 15",
    )
}

/// The number of an option that may be set at this level.
fn settable(source: &Source, level: Level, span: &Range<usize>, key: &str) -> Result<u8, Failure> {
    if let Some((code, name, instead)) = option_table::decided_by_the_server(key) {
        return Err(source.error(span, &format!("option {name} ({code}) can't be set: the server decides it"), instead));
    }
    let code = code(source, span, key)?;
    if level == Level::BootClass && matches!(code, option::VENDOR_CLASS | option::VENDOR_SPECIFIC) {
        return Err(source.error(
            span,
            &format!("option {} ({code}) can't be set for machines that boot: the server decides it", option_table::name(code)),
            "PXE and HTTP boot have their own values of it; set it in a class whose `vendor_class` is another",
        ));
    }
    Ok(code)
}

/// An option's number, by number or name.
fn code(source: &Source, span: &Range<usize>, key: &str) -> Result<u8, Failure> {
    if let Ok(code) = key.parse::<u8>() {
        return Ok(code);
    }
    option_table::by_name(key).map(|known| known.code).ok_or_else(|| {
        let hint = match similar(key) {
            Some(name) => format!(
                "did you mean `{name}`? docs/configuration.md lists the names; an option without one is set by its number, 1 to 254"
            ),
            None => "docs/configuration.md lists the names; an option without one is set by its number, 1 to 254".to_owned(),
        };
        source.error(span, &format!("`{key}` is not an option"), &hint)
    })
}

/// The name that begins alike, or the shortest one that has the text or a word of it as a word.
fn similar(text: &str) -> Option<&'static str> {
    let text = text.replace('_', "-").to_ascii_lowercase();
    let shared = |name: &str| name.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
    let names = || option_table::KNOWN.iter().map(|known| known.name);
    let by_beginning = names().max_by_key(|name| shared(name)).filter(|name| shared(name) >= 4);
    let has_word = |name: &&str| name.split('-').any(|word| word.len() >= 3 && text.split('-').any(|wanted| wanted == word));
    by_beginning.or_else(|| names().filter(has_word).min_by_key(|name| name.len()))
}

fn always(source: &Source, option: &Spanned<Value>) -> Result<Sourced<u8>, Failure> {
    let key = match option.get_ref() {
        Value::Text(name) => name.clone(),
        Value::Number(number) => number.to_string(),
        other => {
            let what = format!("`always_send` holds {other}; it lists options by name or number");
            return Err(source.error(&option.span(), &what, "write it as in `always_send = [\"ntp-servers\", 114]`"));
        }
    };
    if let Some((code, name, _)) = option_table::decided_by_the_server(&key) {
        let what = format!("`always_send` holds option {name} ({code}), and the server decides when it is sent");
        return Err(source.error(&option.span(), &what, "remove it from the list"));
    }
    Ok(sourced(source, &option.span(), code(source, &option.span(), &key)?))
}

fn wrong_type(source: &Source, known: &KnownOption, value: &Spanned<Value>, wrong: &Wrong) -> Failure {
    let (wanted, example) = (known.kind.wanted(), known.kind.example());
    let inner = if wrong.span == value.span() { "" } else { "in it, something " };
    source.error(
        &wrong.span,
        &format!("option `{}` ({}) is {wanted}; {inner}{}", known.name, known.code, here(&wrong.what, inner.is_empty())),
        &format!("write it as in `{} = {example}`, or as octets: `\"hex:01:02\"`", known.name),
    )
}

/// What is wrong, as the end of a sentence about the value.
fn here(what: &str, whole: bool) -> String {
    if whole { format!("here it {what}") } else { what.to_owned() }
}

fn wrong_raw(source: &Source, code: u8, value: &Spanned<Value>, wrong: &Wrong) -> Failure {
    let what = if wrong.span == value.span() { format!("here it {}", wrong.what) } else { format!("in it, something {}", wrong.what) };
    source.error(
        &wrong.span,
        &format!("option {code} has no type here, so its octets must be told; {what}"),
        &format!("write it as in `{code} = \"hex:01:02\"`, `{code} = \"text:abc\"`, or as an address or a list of addresses"),
    )
}
