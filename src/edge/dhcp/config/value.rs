//! A value of the file whose type depends on its key: an option's.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// What TOML knows, without dates and floating-point numbers; each part with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `"text"`.
    Text(String),
    /// `7`.
    Number(i64),
    /// `true` or `false`.
    Flag(bool),
    /// `[..]`.
    List(Vec<Spanned<Self>>),
    /// `{ key = value }`, in the file's order.
    Table(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a whole number, true or false, a list or a table")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Flag(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut table = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            table.push(entry);
        }
        Ok(Value::Table(table))
    }
}

impl fmt::Display for Value {
    /// As it would be written in the file, shortened.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) if text.chars().count() > 64 => write!(f, "\"{}…\"", text.chars().take(64).collect::<String>()),
            Self::Text(text) => write!(f, "\"{text}\""),
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::List(_) => f.write_str("a list"),
            Self::Table(_) => f.write_str("a table"),
        }
    }
}

/// Octets in hexadecimal digits, two each, with `:`, `-`, a space or nothing between them.
pub(in crate::edge) fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let separator = text.chars().find(|letter| !letter.is_ascii_hexdigit());
    let octets = match separator {
        None => data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?,
        Some(separator @ (':' | '-' | ' ')) => {
            let octet = |part: &str| if part.len() == 2 { u8::from_str_radix(part, 16).ok() } else { None };
            text.split(separator).map(octet).collect::<Option<_>>()?
        }
        Some(_) => return None,
    };
    Some(octets).filter(|octets: &Vec<u8>| !octets.is_empty())
}

#[cfg(test)]
mod tests {
    use super::parse_hex;

    #[test]
    fn octets_are_read_in_the_forms_that_people_write() {
        for text in ["01:0a:ff", "01-0A-FF", "01 0a ff", "010aff"] {
            assert_eq!(parse_hex(text), Some(vec![1, 10, 255]), "{text}");
        }
        for text in ["", "1", "0x01", "01:0", "01:0g", "01:02-03", "+1:02", "01:"] {
            assert_eq!(parse_hex(text), None, "{text}");
        }
    }
}
