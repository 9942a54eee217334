//! Hosts that sit on addresses which nobody gave them: set by hand, or forgotten.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::dice::Dice;
use crate::machine::{DAY, HOUR, MINUTE};
use crate::oracle::Millis;
use crate::plan::Mac;

/// A stay at an address.
#[derive(Clone, Copy, Debug)]
struct Stay {
    mac: Mac,
    from: Millis,
    until: Millis,
    announced: bool,
}

/// All that come, and when.
#[derive(Debug)]
pub struct Strangers {
    stays: BTreeMap<Ipv4Addr, Vec<Stay>>,
}

impl Strangers {
    /// How long an address that was probed may still be given out after somebody has come there: five minutes, and what an offer is
    /// held that was made in them.
    pub const SETTLED: Millis = 10 * MINUTE;

    /// So many of them, each at one of the addresses for hours or days between `begin` and `end`.
    pub fn new(dice: &mut Dice, count: u16, addresses: &[Ipv4Addr], begin: Millis, end: Millis) -> Self {
        let mut stays: BTreeMap<Ipv4Addr, Vec<Stay>> = BTreeMap::new();
        for number in 0..count {
            let [high, low] = number.to_be_bytes();
            let address = addresses[usize::try_from(dice.below(addresses.len() as u64)).unwrap()];
            let from = dice.within(begin, end);
            let until = from + dice.of_any_order(HOUR, 3 * DAY);
            stays.entry(address).or_default().push(Stay { mac: [6, 0, 0, 0, high, low], from, until, announced: dice.once_in(2) });
        }
        Self { stays }
    }

    /// Who answers at this address now.
    pub fn at(&self, address: Ipv4Addr, now: Millis) -> Option<Mac> {
        self.of(address, now).map(|stay| stay.mac)
    }

    /// Whether somebody has been there for so long that a probe must have found it.
    pub fn is_settled(&self, address: Ipv4Addr, now: Millis) -> bool {
        self.of(address, now).is_some_and(|stay| now - stay.from > Self::SETTLED)
    }

    /// When those who tell of themselves come, and where.
    pub fn announcements(&self) -> Vec<(Millis, Ipv4Addr)> {
        let announced = |(address, stays): (&Ipv4Addr, &Vec<Stay>)| {
            let address = *address;
            stays.iter().filter(|stay| stay.announced).map(|stay| (stay.from, address)).collect::<Vec<_>>()
        };
        self.stays.iter().flat_map(announced).collect()
    }

    fn of(&self, address: Ipv4Addr, now: Millis) -> Option<&Stay> {
        self.stays.get(&address)?.iter().find(|stay| stay.from <= now && now < stay.until)
    }
}
