use std::fmt;
use std::str::FromStr;

use super::{ParseError, serde_as_text};

/// The name of a site, a cluster or a host: a DNS label (RFC 1123, section 2.1) in lower case, 1 to 63 octets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let letters = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if (1..=63).contains(&text.len()) && letters && !text.starts_with('-') && !text.ends_with('-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new(text, "a name of 1 to 63 lower-case letters, digits and inner hyphens"))
        }
    }
}

serde_as_text!(Name);
