use std::collections::{HashMap, HashSet, VecDeque};
use std::net::Ipv4Addr;

use crate::clock::Timestamp;

/// So many addresses are known to be clear at most, those that were found last: more than a storm waits for. Who asks for one address
/// after another, and takes none, has each of them probed.
const MOST_CLEAR: usize = 32_768;

/// What probes have found out about addresses: where nobody answered, and where somebody did who has no lease.
#[derive(Debug, Default)]
pub(super) struct Probed {
    /// Until when nobody is believed to use it.
    clear: HashMap<Ipv4Addr, Timestamp>,
    /// The same addresses, and some that are clear no more, in the order in which they were found.
    order: VecDeque<Ipv4Addr>,
    in_use: HashMap<Ipv4Addr, Timestamp>,
}

impl Probed {
    pub(super) fn mark_clear(&mut self, address: Ipv4Addr, until: Timestamp) {
        self.in_use.remove(&address);
        while self.clear.len() >= MOST_CLEAR
            && let Some(oldest) = self.order.pop_front()
        {
            self.clear.remove(&oldest);
        }
        if self.clear.insert(address, until).is_none() {
            self.order.push_back(address);
        }
        if self.order.len() > self.clear.len().saturating_mul(2).saturating_add(64) {
            let mut seen = HashSet::new();
            let clear = &self.clear;
            self.order.retain(|address| clear.contains_key(address) && seen.insert(*address));
        }
    }

    pub(super) fn is_clear(&self, now: Timestamp, address: Ipv4Addr) -> bool {
        self.clear.get(&address).is_some_and(|until| *until > now)
    }

    /// The address is given out. Returns until when it would have been clear.
    pub(super) fn forget_clear(&mut self, address: Ipv4Addr) -> Timestamp {
        if self.clear.is_empty() {
            return Timestamp::default();
        }
        self.clear.remove(&address).unwrap_or_default()
    }

    /// Nothing is known to be free any more.
    pub(super) fn forget_all_clear(&mut self) {
        self.clear.clear();
        self.order.clear();
    }

    /// The clear address that was found first of those that `suits`.
    pub(super) fn first_clear(&mut self, now: Timestamp, suits: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
        while let Some(address) = self.order.front().copied() {
            match self.clear.get(&address) {
                Some(until) if *until > now => break,
                _ => {
                    self.clear.remove(&address);
                    self.order.pop_front();
                }
            }
        }
        self.order.iter().copied().find(|address| self.is_clear(now, *address) && suits(*address))
    }

    pub(super) fn mark_in_use(&mut self, address: Ipv4Addr, until: Timestamp) {
        self.clear.remove(&address);
        self.in_use.insert(address, until);
    }

    /// Whether it is among those in use, be its time over or not.
    pub(super) fn rests(&self, address: Ipv4Addr) -> bool {
        self.in_use.contains_key(&address)
    }

    pub(super) fn is_in_use(&self, now: Timestamp, address: Ipv4Addr) -> bool {
        !self.in_use.is_empty() && self.in_use.get(&address).is_some_and(|until| *until > now)
    }

    pub(super) fn addresses_in_use(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.in_use.keys().copied()
    }

    pub(super) fn in_use(&self) -> usize {
        self.in_use.len()
    }

    /// Takes those whose time is over out, and names them.
    pub(super) fn no_longer_in_use(&mut self, now: Timestamp) -> Vec<Ipv4Addr> {
        if self.in_use.is_empty() {
            return Vec::new();
        }
        self.in_use.extract_if(|_, until| *until <= now).map(|(address, _)| address).collect()
    }
}
