use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use super::vacancy::Vacancy;
use crate::edge::lease::AddressRange;

/// Where what is known about an address is kept, and which addresses are vacant: in a pool, with no record and not on offer.
#[derive(Debug)]
pub(super) struct Places {
    /// In the order of their addresses, without overlap.
    pools: Vec<Pool>,
    /// Addresses that the pools do not give out: they are reserved for a client.
    reserved: HashSet<Ipv4Addr>,
    /// Slots of addresses outside of the pools.
    elsewhere: HashMap<Ipv4Addr, u32>,
    /// Where the search for a vacant address goes on: behind the one that was found last. So an address that was given back
    /// rests as long as possible, for the client that may still believe in it.
    next: u32,
}

#[derive(Debug)]
struct Pool {
    first: u32,
    last: u32,
    /// The slot of each address plus one; zero for none. Pages of it that were never written take no memory.
    slots: Vec<u32>,
    vacant: Vacancy,
}

impl Places {
    pub(super) fn new(pools: &[AddressRange], excluded: &[AddressRange], reserved: HashSet<Ipv4Addr>) -> Self {
        let pools = without(pools, excluded).into_iter().map(|(first, last)| {
            let size = usize::try_from(u64::from(last).saturating_sub(u64::from(first)).saturating_add(1)).unwrap_or_default();
            let mut vacant = Vacancy::full(size);
            for address in reserved.iter().map(|address| u32::from(*address)).filter(|address| (first..=last).contains(address)) {
                vacant.remove(place_in(first, address));
            }
            Pool { first, last, slots: vec![0; size], vacant }
        });
        Self { pools: pools.collect(), reserved, elsewhere: HashMap::new(), next: 0 }
    }

    /// Whether the pools give out this address.
    pub(super) fn is_dynamic(&self, address: Ipv4Addr) -> bool {
        self.pool(address).is_some() && !self.reserved.contains(&address)
    }

    /// How many addresses the pools give out.
    pub(super) fn dynamic(&self) -> usize {
        let all = self.pools.iter().map(|pool| pool.slots.len()).fold(0, usize::saturating_add);
        all.saturating_sub(self.reserved.iter().filter(|address| self.pool(**address).is_some()).count())
    }

    /// The slot of an address.
    pub(super) fn slot(&self, address: Ipv4Addr) -> Option<u32> {
        match self.pool(address) {
            Some(pool) => pool.slots.get(place_in(pool.first, address.into()))?.checked_sub(1),
            None => self.elsewhere.get(&address).copied(),
        }
    }

    /// Sets or takes away the slot of an address.
    pub(super) fn set_slot(&mut self, address: Ipv4Addr, slot: Option<u32>) {
        match (self.pool_mut(address), slot) {
            (Some(pool), slot) => {
                if let Some(place) = pool.slots.get_mut(place_in(pool.first, address.into())) {
                    *place = slot.map_or(0, |slot| slot.saturating_add(1));
                }
            }
            (None, Some(slot)) => {
                self.elsewhere.insert(address, slot);
            }
            (None, None) => {
                self.elsewhere.remove(&address);
            }
        }
    }

    /// Notes whether an address is vacant. Those that the pools do not give out never are.
    pub(super) fn set_vacant(&mut self, address: Ipv4Addr, vacant: bool) {
        let vacant = vacant && !self.reserved.contains(&address);
        if let Some(pool) = self.pool_mut(address) {
            let place = place_in(pool.first, address.into());
            if vacant {
                pool.vacant.insert(place);
            } else {
                pool.vacant.remove(place);
            }
        }
    }

    pub(super) fn is_vacant(&self, address: Ipv4Addr) -> bool {
        self.pool(address).is_some_and(|pool| pool.vacant.contains(place_in(pool.first, address.into())))
    }

    /// The vacant addresses in the order in which they are given out.
    pub(super) fn vacant(&self) -> impl Iterator<Item = Ipv4Addr> {
        let start = self.next;
        let behind = self.vacant_between(start, u32::MAX);
        behind.chain(start.checked_sub(1).into_iter().flat_map(|end| self.vacant_between(0, end)))
    }

    /// Goes on behind this address next time.
    pub(super) fn pass(&mut self, address: Ipv4Addr) {
        self.next = u32::from(address).wrapping_add(1);
    }

    /// Gives this address before those that come behind it: nobody believes that it is its own.
    pub(super) fn go_back_to(&mut self, address: Ipv4Addr) {
        self.next = self.next.min(address.into());
    }

    fn vacant_between(&self, first: u32, last: u32) -> impl Iterator<Item = Ipv4Addr> {
        let pools = self.pools.iter().filter(move |pool| pool.last >= first && pool.first <= last);
        let vacant = pools.flat_map(move |pool| {
            let mut from = Some(place_in(pool.first, first.max(pool.first)));
            std::iter::from_fn(move || {
                let place = pool.vacant.next_from(from?)?;
                from = place.checked_add(1);
                Some(pool.first.saturating_add(u32::try_from(place).ok()?))
            })
        });
        vacant.take_while(move |address| *address <= last).map(Ipv4Addr::from)
    }

    fn pool(&self, address: Ipv4Addr) -> Option<&Pool> {
        let address = u32::from(address);
        let place = self.pools.partition_point(|pool| pool.last < address);
        self.pools.get(place).filter(|pool| pool.first <= address)
    }

    fn pool_mut(&mut self, address: Ipv4Addr) -> Option<&mut Pool> {
        let address = u32::from(address);
        let place = self.pools.partition_point(|pool| pool.last < address);
        self.pools.get_mut(place).filter(|pool| pool.first <= address)
    }
}

fn place_in(first: u32, address: u32) -> usize {
    usize::try_from(address.saturating_sub(first)).unwrap_or(usize::MAX)
}

/// What the ranges hold less what is excluded, in order and without overlap.
fn without(ranges: &[AddressRange], excluded: &[AddressRange]) -> Vec<(u32, u32)> {
    let ends = |range: &AddressRange| (u32::from(range.first()), u32::from(range.last()));
    let mut left: Vec<(u32, u32)> = ranges.iter().map(ends).collect();
    for (first, last) in excluded.iter().map(ends) {
        left = left
            .into_iter()
            .flat_map(|(low, high)| {
                let below = first.checked_sub(1).map(|end| (low, high.min(end)));
                let above = last.checked_add(1).map(|start| (low.max(start), high));
                below.into_iter().chain(above).filter(|(low, high)| low <= high)
            })
            .collect();
    }
    left.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (low, high) in left {
        match merged.last_mut() {
            Some((_, end)) if low <= *end => *end = high.max(*end),
            _ => merged.push((low, high)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(text: &[&str]) -> Vec<AddressRange> {
        text.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn exclusions_are_cut_out_of_pools() {
        let excluded = ranges(&["10.0.0.0-10.0.0.1", "10.0.0.5-10.0.0.6", "10.0.0.9-10.0.1.0", "255.255.255.255-255.255.255.255"]);
        let reserved = HashSet::from([Ipv4Addr::new(10, 0, 0, 3), Ipv4Addr::new(10, 0, 0, 5)]);
        let pools = ranges(&["255.255.255.254-255.255.255.255", "10.0.0.1-10.0.0.7", "10.0.0.7-10.0.0.10"]);
        let mut places = Places::new(&pools, &excluded, reserved);
        let addresses = |places: &Places| places.vacant().map(|address| address.to_string()).collect::<Vec<_>>();
        assert_eq!(addresses(&places), ["10.0.0.2", "10.0.0.4", "10.0.0.7", "10.0.0.8", "255.255.255.254"]);
        assert_eq!(places.dynamic(), 5);
        places.pass(Ipv4Addr::new(10, 0, 0, 4));
        places.set_vacant(Ipv4Addr::new(10, 0, 0, 8), false);
        places.set_vacant(Ipv4Addr::new(10, 0, 0, 3), true);
        assert_eq!(addresses(&places), ["10.0.0.7", "255.255.255.254", "10.0.0.2", "10.0.0.4"]);
        places.pass(Ipv4Addr::BROADCAST);
        assert_eq!(addresses(&places).len(), 4);
    }

    #[test]
    fn slots_are_kept_inside_and_outside_of_pools() {
        let mut places = Places::new(&ranges(&["10.0.0.1-10.0.0.3"]), &[], HashSet::new());
        for (number, last) in [(0, 1), (1, 3), (2, 77)] {
            let address = Ipv4Addr::new(10, 0, 0, last);
            assert_eq!(places.slot(address), None);
            places.set_slot(address, Some(number));
            assert_eq!(places.slot(address), Some(number));
        }
        places.set_slot(Ipv4Addr::new(10, 0, 0, 77), None);
        places.set_slot(Ipv4Addr::new(10, 0, 0, 3), None);
        assert_eq!(places.slot(Ipv4Addr::new(10, 0, 0, 77)).or(places.slot(Ipv4Addr::new(10, 0, 0, 3))), None);
    }
}
