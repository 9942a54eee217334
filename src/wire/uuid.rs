use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

use super::{ParseError, serde_as_text};

/// A machine's SMBIOS system UUID, in the byte order of its text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemUuid(pub [u8; 16]);

impl SystemUuid {
    /// Reads the value of DHCP option 97 (RFC 4578, section 2.3): a type octet of zero and 16 octets whose first three fields
    /// are little-endian, as SMBIOS 2.6 and PXE firmware write them.
    #[must_use]
    pub fn from_dhcp(option: &[u8]) -> Option<Self> {
        let &[0, a, b, c, d, e, f, g, h, ref rest @ ..] = option else { return None };
        let &[i, j, k, l, m, n, o, p] = rest else { return None };
        Some(Self([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]))
    }

    /// Whether this tells one machine from another: vendors ship boards whose UUID is all zeros, all ones, or a placeholder.
    #[must_use]
    pub fn is_identity(self) -> bool {
        const PLACEHOLDERS: [[u8; 16]; 3] = [
            // AMI's default: 03000200-0400-0500-0006-000700080009.
            [3, 0, 2, 0, 4, 0, 5, 0, 0, 6, 0, 7, 0, 8, 0, 9],
            // The same as read by firmware that swaps the first three fields.
            [0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9],
            // Supermicro and others: "0123456789abcdef" once over.
            [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef],
        ];
        let [first, rest @ ..] = self.0;
        rest.iter().any(|byte| *byte != first) && !PLACEHOLDERS.contains(&self.0)
    }
}

impl fmt::Display for SystemUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            f.write_str(&HEXLOWER.encode(&[*byte]))?;
        }
        Ok(())
    }
}

impl FromStr for SystemUuid {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseError::new(text, "a UUID such as 4c4c4544-0042-3510-8052-b4c04f564231");
        let well_formed =
            text.len() == 36 && text.char_indices().all(|(place, letter)| (letter == '-') == matches!(place, 8 | 13 | 18 | 23));
        if !well_formed {
            return Err(error());
        }
        let digits: String = text.chars().filter(|letter| *letter != '-').collect();
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).map_err(|_| error())?;
        bytes.try_into().map(Self).map_err(|_| error())
    }
}

serde_as_text!(SystemUuid);

#[cfg(test)]
mod tests {
    use super::SystemUuid;

    #[test]
    fn rfc4578_2_3_option_97_is_little_endian_in_its_first_fields() {
        let option = [0, 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
        assert_eq!(SystemUuid::from_dhcp(&option).unwrap().to_string(), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(SystemUuid::from_dhcp(&option[1..]), None);
        assert_eq!(SystemUuid::from_dhcp(&[]), None);
    }

    #[test]
    fn placeholders_are_not_identities() {
        for text in ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "03000200-0400-0500-0006-000700080009"]
        {
            assert!(!text.parse::<SystemUuid>().unwrap().is_identity(), "{text}");
        }
        assert!("4c4c4544-0042-3510-8052-b4c04f564231".parse::<SystemUuid>().unwrap().is_identity());
    }
}
