use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use data_encoding::HEXLOWER;

use super::HardwareAddress;

/// What a client is known by (RFC 2131, section 2): its client identifier (option 61), or else hardware type and address.
///
/// Both are kept as the same octets, so that a machine keeps its address from its firmware, which sends no identifier, to
/// iPXE, which sends the identifier of type 1 that spells out its hardware address.
#[derive(Clone)]
pub struct ClientId(Octets);

/// What nearly every client sends fits in the struct itself: 7 octets for an Ethernet address, 17 for a UUID, 15 to 19 for the
/// common kinds of RFC 4361.
#[derive(Clone)]
enum Octets {
    Inline { length: u8, octets: [u8; INLINE] },
    Boxed(Box<[u8]>),
}

const INLINE: usize = 22;

impl ClientId {
    /// The identity of a client that sent `identifier` as option 61 (2 to 255 octets, RFC 2132, section 9.14).
    #[must_use]
    pub fn from_option(identifier: &[u8]) -> Option<Self> {
        (2..=255).contains(&identifier.len()).then(|| Self(Octets::of(identifier)))
    }

    /// The identity of a client that sent no identifier, or `None` when it has no hardware address either.
    #[must_use]
    pub fn from_hardware(hardware: &HardwareAddress) -> Option<Self> {
        let mut octets = [0; 17];
        let (kind, rest) = octets.split_first_mut()?;
        *kind = hardware.kind();
        let address = hardware.octets();
        rest.get_mut(..address.len())?.copy_from_slice(address);
        Self::from_option(octets.get(..address.len().saturating_add(1))?)
    }

    /// The octets, as they stand in option 61.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        match &self.0 {
            Octets::Inline { length, octets } => octets.get(..usize::from(*length)).unwrap_or_default(),
            Octets::Boxed(octets) => octets,
        }
    }
}

impl Octets {
    fn of(bytes: &[u8]) -> Self {
        let mut octets = [0; INLINE];
        match (octets.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(bytes);
                Self::Inline { length, octets }
            }
            _ => Self::Boxed(bytes.into()),
        }
    }
}

impl PartialEq for ClientId {
    fn eq(&self, other: &Self) -> bool {
        self.octets() == other.octets()
    }
}

impl Eq for ClientId {}

impl PartialOrd for ClientId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ClientId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.octets().cmp(other.octets())
    }
}

impl Hash for ClientId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.octets().hash(state);
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientId({self})")
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(self.octets()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn short_and_long_identifiers_are_what_they_were_made_of() {
        let mut seen = HashSet::new();
        for length in 2..=255_u8 {
            let octets: Vec<u8> = (0..length).collect();
            let client = ClientId::from_option(&octets).unwrap();
            assert_eq!(client.octets(), octets);
            assert_eq!(client.clone(), client);
            assert!(seen.insert(client));
        }
        assert_eq!(ClientId::from_option(&[1]), None);
        assert_eq!(ClientId::from_option(&[1; 256]), None);
    }

    #[test]
    fn a_record_takes_no_more_room_than_it_must() {
        assert!(size_of::<ClientId>() <= 24);
        assert!(size_of::<Option<crate::edge::lease::LeaseRecord>>() <= 88);
    }
}
