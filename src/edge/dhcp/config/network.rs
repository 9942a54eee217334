use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::edge::lease::{AddressRange, RangeError};

/// An IPv4 network, written `192.0.2.0/24`. As text it has a prefix of 8 to 30 bits; other sizes are read as
/// [`AddressOrNetwork`], where 32 bits stand for one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv4Network {
    address: Ipv4Addr,
    prefix: u8,
}

/// Text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not an address, a slash and a number.
    #[error("`{0}` is not a network such as 192.0.2.0/24, with a prefix of 8 to 30")]
    Malformed(String),
    /// Neither an address nor a network.
    #[error("`{0}` is neither an address such as 10.0.0.1 nor a network such as 10.1.0.0/16")]
    NeitherAddressNorNetwork(String),
    /// The address is one inside the network.
    #[error("`{0}` has bits set behind its prefix; the network is {1}")]
    HostBits(String, Ipv4Network),
}

impl Ipv4Network {
    /// Its lowest address, which names it.
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        self.address
    }

    /// Option 1.
    #[must_use]
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX.checked_shl(32_u32.saturating_sub(u32::from(self.prefix))).unwrap_or(0))
    }

    /// Its highest address, which is everyone.
    #[must_use]
    pub fn broadcast(self) -> Ipv4Addr {
        self.address | !self.mask()
    }

    /// Whether the address is in it, the two that name no machine included.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address & self.mask() == self.address
    }

    /// How many bits all its addresses share.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether all addresses of the other one are in it.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }

    /// Whether a machine in it can have the address.
    #[must_use]
    pub fn is_host(self, address: Ipv4Addr) -> bool {
        self.contains(address) && address != self.address && address != self.broadcast()
    }

    /// Whether an address is in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }
}

impl fmt::Display for Ipv4Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix {
            32 => write!(f, "{}", self.address),
            prefix => write!(f, "{}/{prefix}", self.address),
        }
    }
}

/// A network of any size: `10.1.0.0/16`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressOrNetwork(pub Ipv4Network);

impl FromStr for AddressOrNetwork {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || text.chars().take(64).collect();
        let malformed = || NetworkError::NeitherAddressNorNetwork(shown());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or_else(malformed)?),
            None => (text, 32),
        };
        let address: Ipv4Addr = address.parse().map_err(|_| malformed())?;
        let network = Ipv4Network { address, prefix };
        let network = Ipv4Network { address: address & network.mask(), prefix };
        if network.address == address { Ok(Self(network)) } else { Err(NetworkError::HostBits(shown(), network)) }
    }
}

/// A range, or one address: `192.0.2.160-192.0.2.169` or `192.0.2.150`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressOrRange(pub AddressRange);

impl FromStr for AddressOrRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let single = text.trim().parse().ok().and_then(|address: Ipv4Addr| AddressRange::new(address, address));
        single.map_or_else(|| text.parse(), Ok).map(Self)
    }
}

impl FromStr for Ipv4Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || text.chars().take(64).collect();
        let malformed = || NetworkError::Malformed(shown());
        let (address, prefix) = text.split_once('/').ok_or_else(malformed)?;
        let address: Ipv4Addr = address.parse().map_err(|_| malformed())?;
        let prefix = prefix.parse().ok().filter(|prefix| (8..=30).contains(prefix)).ok_or_else(malformed)?;
        let network = Self { address, prefix };
        let network = Self { address: address & network.mask(), prefix };
        if network.address == address { Ok(network) } else { Err(NetworkError::HostBits(shown(), network)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_text_form_and_nothing_else() {
        let network: Ipv4Network = "192.0.2.64/26".parse().unwrap();
        assert_eq!(network.to_string(), "192.0.2.64/26");
        assert_eq!((network.mask(), network.broadcast()), (Ipv4Addr::new(255, 255, 255, 192), Ipv4Addr::new(192, 0, 2, 127)));
        assert!(network.is_host(Ipv4Addr::new(192, 0, 2, 65)) && !network.is_host(Ipv4Addr::new(192, 0, 2, 64)));
        assert_eq!(
            "192.0.2.1/24".parse::<Ipv4Network>().unwrap_err().to_string(),
            "`192.0.2.1/24` has bits set behind its prefix; the network is 192.0.2.0/24"
        );
        let relay = |text: &str| text.parse::<AddressOrNetwork>().map(|found| found.0.to_string()).map_err(|error| error.to_string());
        assert_eq!(relay("10.0.0.1"), Ok("10.0.0.1".to_owned()));
        assert_eq!(relay("0.0.0.0/0"), Ok("0.0.0.0/0".to_owned()));
        assert!(relay("10.0.0.1/8").is_err() && relay("10.0.0.0/33").is_err() && relay("box").is_err());
        assert_eq!("192.0.2.9".parse::<AddressOrRange>().map(|range| range.0.first()), Ok(Ipv4Addr::new(192, 0, 2, 9)));
        for text in ["", "192.0.2.0", "192.0.2.0/", "192.0.2.0/31", "0.0.0.0/0", "192.0.2.0/-1"] {
            assert!(text.parse::<Ipv4Network>().is_err(), "{text}");
        }
    }
}
