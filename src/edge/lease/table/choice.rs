//! Which address a client is offered.

use std::net::Ipv4Addr;

use super::offers::Offers;
use super::places::Places;
use super::{LeaseTable, Slot, is_over, slot_at};
use crate::clock::Timestamp;
use crate::edge::lease::{ClientId, LeaseState};

/// What a client that asks for an address can be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This address, which is held for it now.
    Address(Ipv4Addr),
    /// This address, once a probe has shown that nobody uses it ([`LeaseTable::mark_clear`]). Nothing is held.
    NeedsProbe(Ipv4Addr),
    /// Addresses are free, but none was probed: see [`LeaseTable::candidates`].
    NoneClear,
    /// No address is free.
    NoneFree,
}

impl Choice {
    /// The address, when there is one to be offered now.
    #[must_use]
    pub const fn address(self) -> Option<Ipv4Addr> {
        match self {
            Self::Address(address) => Some(address),
            Self::NeedsProbe(_) | Self::NoneClear | Self::NoneFree => None,
        }
    }
}

impl LeaseTable {
    pub(super) fn choose(&mut self, now: Timestamp, client: &ClientId, fixed: Option<Ipv4Addr>, wanted: Option<Ipv4Addr>) -> Choice {
        if let Some(fixed) = fixed.filter(|address| self.is_free_for(now, client, *address)) {
            return self.probed_or_needs_probe(now, client, fixed);
        }
        if let Some(address) = self.known_address(now, client) {
            return self.probed_or_needs_probe(now, client, address);
        }
        if let Some(wanted) = wanted.filter(|address| self.is_dynamic(*address) && self.is_free_for(now, client, *address)) {
            return self.probed_or_needs_probe(now, client, wanted);
        }
        let vacant = self.places.vacant().next();
        let Some(next) = vacant.or_else(|| self.oldest_expired(now)) else { return Choice::NoneFree };
        let Self { places, slots, offers, probed, .. } = self;
        let chosen = if self.require_clear {
            let is_open = |address| places.is_vacant(address) || is_reclaimable(places, slots, offers, now, address);
            probed.first_clear(now, is_open)
        } else {
            Some(next)
        };
        if let Some(address) = chosen.filter(|address| places.is_vacant(*address)) {
            places.pass(address);
        }
        chosen.map_or(Choice::NoneClear, Choice::Address)
    }

    fn probed_or_needs_probe(&self, now: Timestamp, client: &ClientId, address: Ipv4Addr) -> Choice {
        if self.needs_probe(now, client, address) { Choice::NeedsProbe(address) } else { Choice::Address(address) }
    }

    /// Whether the client must not be given the address before a probe has shown that nobody uses it: it would be the first time, and
    /// the probe for its offer was long ago. A client that declined an address found somebody there.
    #[must_use]
    pub fn needs_probe(&self, now: Timestamp, client: &ClientId, address: Ipv4Addr) -> bool {
        let is_offered = || {
            let offer = self.offers.at(address).filter(|offer| offer.client == *client);
            offer.is_some_and(|offer| offer.until > now || offer.clear_until > now)
        };
        let had = || self.record(address).is_some_and(|record| record.client == *client && record.state != LeaseState::Declined);
        self.require_clear && !self.probed.is_clear(now, address) && !is_offered() && !had()
    }

    /// Whether an address is on offer to the client.
    #[must_use]
    pub fn is_offered(&self, client: &ClientId) -> bool {
        self.offers.to(client).is_some()
    }

    /// Whether an address is on offer to a client that has neither a record nor a reservation.
    #[must_use]
    pub fn is_first_offer(&self, address: Ipv4Addr) -> bool {
        self.offers.at(address).is_some_and(|offer| !offer.known)
    }

    /// How many offers to clients without a record are held.
    #[must_use]
    pub const fn half_open(&self) -> usize {
        self.offers.unknown()
    }

    /// Gives up the oldest offer to a client without a record. Returns whether there was one. Its client may be about to take it, so
    /// the address is offered to another one after a new probe only, if there must be one.
    pub fn give_up_offer(&mut self) -> bool {
        let Some(address) = self.offers.oldest_to_unknown() else { return false };
        self.offers.forget_clear_at(address);
        self.drop_offer(address);
        true
    }

    fn known_address(&self, now: Timestamp, client: &ClientId) -> Option<Ipv4Addr> {
        let had = self.record_of(client).map(|record| record.address);
        let offered = self.offers.to(client);
        had.into_iter().chain(offered).find(|address| self.is_dynamic(*address) && self.is_free_for(now, client, *address))
    }

    /// Takes an offer to a client without a record back for one that has one: its own former address, or the oldest.
    pub(super) fn take_back_for(&mut self, now: Timestamp, client: &ClientId) -> Option<Ipv4Addr> {
        let had = self.record_of(client).map(|record| record.address);
        let its_own = had.filter(|address| self.is_dynamic(*address) && self.offers.at(*address).is_some_and(|offer| !offer.known));
        let address = its_own.or_else(|| self.offers.oldest_to_unknown())?;
        self.drop_offer(address);
        self.is_free_for(now, client, address).then_some(address)
    }
}

/// Whether the lease of an address of the pools is over and the address is not on offer.
fn is_reclaimable(places: &Places, slots: &[Option<Slot>], offers: &Offers, now: Timestamp, address: Ipv4Addr) -> bool {
    let slot = places.slot(address).and_then(|number| slot_at(slots, number));
    slot.is_some_and(|slot| is_over(&slot.record, now)) && places.is_dynamic(address) && offers.at(address).is_none()
}
