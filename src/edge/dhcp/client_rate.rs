//! How much one client may ask.

use std::time::Duration;

use crate::clock::Timestamp;

/// The time over which a client's datagrams are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// A power of two: so many clients are counted at once, in 512 KiB.
const PLACES: usize = 16_384;

/// Counts each client's datagrams, by its hardware address, in memory that does not grow.
///
/// A client whose place another one takes is counted anew. So nobody is held back for what others send: hardware addresses are
/// free to invent, and whoever invents them is held back by the bound on offers instead.
#[derive(Debug, Default)]
pub(super) struct ClientRates {
    /// Empty until the first datagram.
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    hardware: [u8; 16],
    since: Timestamp,
    count: u32,
}

impl ClientRates {
    /// Counts a datagram of the client with this `chaddr`, and says whether it is within the limit.
    pub(super) fn admit(&mut self, now: Timestamp, hardware: [u8; 16], limit: u32) -> bool {
        if self.places.is_empty() {
            self.places.resize(PLACES, Place::default());
        }
        let Some(place) = self.places.get_mut(place_of(hardware)) else { return true };
        // A clock that was set back must not hold a client for long.
        if place.hardware != hardware || now.since(place.since) >= WINDOW || now < place.since {
            *place = Place { hardware, since: now, count: 0 };
        }
        place.count = place.count.saturating_add(1);
        place.count <= limit
    }
}

/// FNV-1a: well spread for what hardware addresses differ in.
fn place_of(hardware: [u8; 16]) -> usize {
    let hash = hardware.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3));
    let folded = (hash ^ (hash >> 32)) & 0x3fff;
    usize::try_from(folded).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000 + seconds)
    }

    #[test]
    fn a_client_is_held_to_its_limit_and_others_are_not() {
        let mut rates = ClientRates::default();
        let (loud, quiet) = ([1; 16], [2; 16]);
        let admitted = (0..100).filter(|_| rates.admit(at(0), loud, 20)).count();
        assert_eq!((admitted, rates.admit(at(9), loud, 20), rates.admit(at(9), quiet, 20)), (20, false, true));
        assert!(rates.admit(at(10), loud, 20));
        // A clock that goes back starts anew.
        assert!((0..30).any(|_| !rates.admit(at(10), loud, 20)));
        assert!(rates.admit(at(1), loud, 20));
    }

    #[test]
    fn invented_hardware_addresses_take_no_more_memory_and_hold_nobody_back() {
        let mut rates = ClientRates::default();
        for number in 0..200_000_u32 {
            let mut hardware = [0; 16];
            hardware[2..6].copy_from_slice(&number.to_be_bytes());
            assert!(rates.admit(at(0), hardware, 20));
        }
        assert_eq!(rates.places.len(), PLACES);
        assert!((0..20).all(|_| rates.admit(at(0), [7; 16], 20)));
    }
}
