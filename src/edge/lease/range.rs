use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A run of addresses, both ends included; written `192.0.2.100-192.0.2.199`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

/// Text that is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a range of addresses such as 192.0.2.100-192.0.2.199, the lower one first")]
pub struct RangeError(String);

impl AddressRange {
    /// The range from `first` to `last`, or `None` when `last` is below `first`.
    #[must_use]
    pub fn new(first: Ipv4Addr, last: Ipv4Addr) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The lowest address.
    #[must_use]
    pub const fn first(self) -> Ipv4Addr {
        self.first
    }

    /// The highest address.
    #[must_use]
    pub const fn last(self) -> Ipv4Addr {
        self.last
    }

    /// Whether the address is one of the range.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// Whether an address is in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || RangeError(text.chars().take(64).collect());
        let (first, last) = text.split_once('-').ok_or_else(error)?;
        let first = first.trim().parse().map_err(|_| error())?;
        let last = last.trim().parse().map_err(|_| error())?;
        Self::new(first, last).ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::AddressRange;

    #[test]
    fn reads_its_text_form_and_refuses_the_wrong_way_round() {
        let range: AddressRange = "192.0.2.100 - 192.0.2.199".parse().unwrap();
        assert_eq!(range.to_string(), "192.0.2.100-192.0.2.199");
        for text in ["", "192.0.2.1", "192.0.2.9-192.0.2.1", "192.0.2.0/24", "192.0.2.1-"] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
    }
}
