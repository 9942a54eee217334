use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;

use crate::clock::Timestamp;
use crate::edge::lease::ClientId;

/// What is on offer, by address and by client. A client has one offer at most.
#[derive(Debug, Default)]
pub(super) struct Offers {
    by_address: HashMap<Ipv4Addr, Offer>,
    by_client: HashMap<ClientId, Ipv4Addr>,
    /// Offers to clients that have a record, oldest first. What was dropped meanwhile is still in it.
    to_known: VecDeque<(Timestamp, Ipv4Addr)>,
    to_unknown: VecDeque<(Timestamp, Ipv4Addr)>,
    unknown: usize,
}

#[derive(Debug)]
pub(super) struct Offer {
    pub(super) client: ClientId,
    pub(super) until: Timestamp,
    /// Until when the probe counts that was made for it, if one was: also for whoever is given the address next.
    pub(super) clear_until: Timestamp,
    /// Whether the client had a record when it was made.
    pub(super) known: bool,
}

impl Offers {
    pub(super) fn at(&self, address: Ipv4Addr) -> Option<&Offer> {
        self.by_address.get(&address)
    }

    pub(super) fn to(&self, client: &ClientId) -> Option<Ipv4Addr> {
        self.by_client.get(client).copied()
    }

    /// What probes have shown counts no longer.
    pub(super) fn forget_clear(&mut self) {
        self.by_address.values_mut().for_each(|offer| offer.clear_until = Timestamp::default());
    }

    /// What the probe for this offer has shown counts for nobody else.
    pub(super) fn forget_clear_at(&mut self, address: Ipv4Addr) {
        if let Some(offer) = self.by_address.get_mut(&address) {
            offer.clear_until = Timestamp::default();
        }
    }

    /// The addresses on offer.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.by_address.keys().copied()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_address.len()
    }

    /// How many there are to clients without a record.
    pub(super) const fn unknown(&self) -> usize {
        self.unknown
    }

    /// Adds an offer; neither the address nor the client has one.
    pub(super) fn insert(&mut self, address: Ipv4Addr, offer: Offer) {
        let live = self.by_address.len();
        let queue = if offer.known { &mut self.to_known } else { &mut self.to_unknown };
        // A client that asks again and again must not make it grow.
        if queue.len() > live.saturating_mul(2).saturating_add(64) {
            let by_address = &self.by_address;
            queue.retain(|(until, address)| is_live(by_address, *until, *address, offer.known));
        }
        queue.push_back((offer.until, address));
        self.unknown = self.unknown.saturating_add(usize::from(!offer.known));
        self.by_client.insert(offer.client.clone(), address);
        self.by_address.insert(address, offer);
    }

    /// Takes an offer away.
    pub(super) fn remove(&mut self, address: Ipv4Addr) -> Option<Offer> {
        if self.by_address.is_empty() {
            return None;
        }
        let offer = self.by_address.remove(&address)?;
        self.by_client.remove(&offer.client);
        self.unknown = self.unknown.saturating_sub(usize::from(!offer.known));
        Some(offer)
    }

    /// An offer that is over at `now`.
    pub(super) fn lapsed(&mut self, now: Timestamp) -> Option<Ipv4Addr> {
        [true, false].into_iter().find_map(|known| self.oldest(known).filter(|(until, _)| *until <= now)).map(|(_, address)| address)
    }

    /// The oldest offer to a client without a record.
    pub(super) fn oldest_to_unknown(&mut self) -> Option<Ipv4Addr> {
        self.oldest(false).map(|(_, address)| address)
    }

    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.to_known.len().saturating_add(self.to_unknown.len())
    }

    fn oldest(&mut self, known: bool) -> Option<(Timestamp, Ipv4Addr)> {
        let queue = if known { &mut self.to_known } else { &mut self.to_unknown };
        while let Some((until, address)) = queue.front().copied() {
            if is_live(&self.by_address, until, address, known) {
                return Some((until, address));
            }
            queue.pop_front();
        }
        None
    }
}

fn is_live(by_address: &HashMap<Ipv4Addr, Offer>, until: Timestamp, address: Ipv4Addr, known: bool) -> bool {
    by_address.get(&address).is_some_and(|offer| offer.until == until && offer.known == known)
}
