use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::{ParseError, serde_as_text};

/// An Ethernet hardware address (EUI-48).
///
/// Read with `:`, `-` or nothing between the octets, in any case; written as `52:54:00:12:34:56`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Whether this can be the address of one machine's interface: neither zero nor a group address.
    #[must_use]
    pub const fn is_unicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 0 && u64::from_be_bytes([0, 0, first, self.0[1], self.0[2], self.0[3], self.0[4], self.0[5]]) != 0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseError::new(text, "a hardware address such as 52:54:00:12:34:56");
        let digits: String = match text.len() {
            12 => text.to_owned(),
            17 => {
                let separated = |separator: char| text.char_indices().all(|(place, letter)| (letter == separator) == (place % 3 == 2));
                if !separated(':') && !separated('-') {
                    return Err(error());
                }
                text.chars().filter(char::is_ascii_hexdigit).collect()
            }
            _ => return Err(error()),
        };
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| error())?;
        bytes.try_into().map(Self).map_err(|_| error())
    }
}

serde_as_text!(MacAddr);

#[cfg(test)]
mod tests {
    use super::MacAddr;

    #[test]
    fn reads_the_forms_that_people_and_firmware_write() {
        let expected = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0xab]);
        for text in ["52:54:00:12:34:ab", "52-54-00-12-34-AB", "5254001234ab"] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "52:54:00:12:34", "52:54-00:12:34:ab", "52:54:00:12:34:zz", "é54001234a"] {
            assert!(text.parse::<MacAddr>().is_err(), "{text}");
        }
    }

    #[test]
    fn group_and_zero_addresses_are_no_machine() {
        assert!(MacAddr([0x52, 0, 0, 0, 0, 1]).is_unicast());
        assert!(!MacAddr([0; 6]).is_unicast());
        assert!(!MacAddr([0xff; 6]).is_unicast());
    }
}
