//! Requests that wait for a probe.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::edge::dhcp::action::{Fresh, Ingress};
use crate::edge::lease::ClientId;
use crate::wire::MacAddr;

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge::dhcp) enum WaitsFor {
    /// Any address of the subnet, since none is known to be free.
    Any,
    /// This address, which it asks for.
    Address(Ipv4Addr),
    /// This address, which is reserved for its client.
    Reservation(Ipv4Addr),
}

impl WaitsFor {
    const fn address(self) -> Option<Ipv4Addr> {
        match self {
            Self::Any => None,
            Self::Address(address) | Self::Reservation(address) => Some(address),
        }
    }
}

/// A DISCOVER, or a REQUEST of an address that its client was never given, that waits.
#[derive(Debug)]
pub(in crate::edge::dhcp) struct Deferred {
    pub(in crate::edge::dhcp) client: ClientId,
    pub(in crate::edge::dhcp) mac: Option<MacAddr>,
    /// The subnet, by its place in the configuration.
    pub(in crate::edge::dhcp) place: usize,
    pub(in crate::edge::dhcp) waits_for: WaitsFor,
    pub(in crate::edge::dhcp) ingress: Ingress,
    pub(in crate::edge::dhcp) datagram: Box<[u8]>,
    pub(in crate::edge::dhcp) fresh: Fresh,
    /// When it came first.
    pub(in crate::edge::dhcp) since: Timestamp,
}

/// How long one waits at most: a client asks again after 4 seconds (RFC 2131, section 4.1), some firmware after one or two.
const PATIENCE: Duration = Duration::from_millis(1500);

/// All machines of a large site that come on together, at some 400 octets each.
const MOST_FOR_ANY: usize = 16_384;
/// Apart, so that a flood of unknown clients, each with a wish, does not send as many probes.
const MOST_FOR_A_WISH: usize = 2048;
/// Apart, so that it keeps no reservation waiting.
const MOST_FOR_RESERVATIONS: usize = 2048;
/// What a request has at most in good faith; more is not kept.
const LONGEST: usize = 1500;

/// The line of those that wait, each client once.
#[derive(Debug, Default)]
pub(super) struct Line {
    all: BTreeMap<u64, Deferred>,
    by_client: HashMap<ClientId, u64>,
    /// Those that wait for any address, by subnet. Some may be gone.
    for_any: HashMap<usize, VecDeque<u64>>,
    for_one: HashMap<Ipv4Addr, Vec<u64>>,
    any: usize,
    wishes: usize,
    next: u64,
}

impl Line {
    /// Takes a request. One that the same client sent before is replaced, and keeps its age. Returns `false` when there is no
    /// room.
    pub(super) fn push(&mut self, mut deferred: Deferred) -> bool {
        if let Some(before) = self.by_client.get(&deferred.client).copied().and_then(|number| self.take(number)) {
            deferred.since = before.since.min(deferred.since);
        }
        let (waiting, most) = match deferred.waits_for {
            WaitsFor::Any => (self.any, MOST_FOR_ANY),
            WaitsFor::Address(_) => (self.wishes, MOST_FOR_A_WISH),
            WaitsFor::Reservation(_) => (self.all.len().saturating_sub(self.any).saturating_sub(self.wishes), MOST_FOR_RESERVATIONS),
        };
        if waiting >= most || deferred.datagram.len() > LONGEST {
            return false;
        }
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.wishes = self.wishes.saturating_add(usize::from(matches!(deferred.waits_for, WaitsFor::Address(_))));
        match deferred.waits_for.address() {
            None => {
                self.any = self.any.saturating_add(1);
                let line = self.for_any.entry(deferred.place).or_default();
                // Clients that ask again leave their old places behind.
                if line.len() > MOST_FOR_ANY.saturating_mul(2) {
                    let all = &self.all;
                    line.retain(|number| all.contains_key(number));
                }
                line.push_back(number);
            }
            Some(address) => self.for_one.entry(address).or_default().push(number),
        }
        self.by_client.insert(deferred.client.clone(), number);
        self.all.insert(number, deferred);
        true
    }

    /// The one that has waited longest for any address of the subnet.
    pub(super) fn pop_for_any(&mut self, place: usize) -> Option<Deferred> {
        loop {
            let number = self.for_any.get_mut(&place)?.pop_front()?;
            if let Some(deferred) = self.take(number) {
                return Some(deferred);
            }
        }
    }

    /// Those that wait for this address.
    pub(super) fn take_for(&mut self, address: Ipv4Addr) -> Vec<Deferred> {
        let numbers = self.for_one.remove(&address).unwrap_or_default();
        numbers.into_iter().filter_map(|number| self.take(number)).collect()
    }

    /// Those that wait for this address.
    pub(super) fn for_address(&self, address: Ipv4Addr) -> impl Iterator<Item = &Deferred> {
        self.for_one.get(&address).into_iter().flatten().filter_map(|number| self.all.get(number))
    }

    /// One that has waited too long, or whose age can't be told since the clock was set back.
    pub(super) fn pop_overdue(&mut self, now: Timestamp) -> Option<Deferred> {
        let (number, oldest) = self.all.first_key_value()?;
        let is_overdue = now.since(oldest.since) >= PATIENCE || oldest.since > now.after(PATIENCE);
        let number = *number;
        if is_overdue { self.take(number) } else { None }
    }

    /// When the oldest has waited long enough.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.all.first_key_value().map(|(_, oldest)| oldest.since.after(PATIENCE))
    }

    /// How many wait for any address of the subnet.
    pub(super) fn waiting_for_any(&self, place: usize) -> usize {
        self.for_any.get(&place).map_or(0, VecDeque::len).min(self.any)
    }

    fn take(&mut self, number: u64) -> Option<Deferred> {
        let deferred = self.all.remove(&number)?;
        self.by_client.remove(&deferred.client);
        self.wishes = self.wishes.saturating_sub(usize::from(matches!(deferred.waits_for, WaitsFor::Address(_))));
        match deferred.waits_for.address() {
            None => self.any = self.any.saturating_sub(1),
            Some(address) => {
                if let Some(numbers) = self.for_one.get_mut(&address) {
                    numbers.retain(|found| *found != number);
                    if numbers.is_empty() {
                        self.for_one.remove(&address);
                    }
                }
            }
        }
        Some(deferred)
    }
}
