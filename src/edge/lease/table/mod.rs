//! The leases and offers of one subnet in memory.

mod choice;
mod expiry;
mod offers;
mod places;
mod probed;
mod vacancy;

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::net::Ipv4Addr;
use std::time::Duration;

use hashbrown::HashTable;

pub use self::choice::Choice;
use self::expiry::{ExpiryQueue, NOT_QUEUED};
use self::offers::{Offer, Offers};
use self::places::Places;
use self::probed::Probed;
use super::{AddressRange, ClientId, LeaseRecord, LeaseState};
use crate::clock::Timestamp;

/// How long an offered address is kept for the client that it was offered to, unless the configuration says otherwise. Firmware
/// answers within seconds (OVMF after 4, iPXE after up to 10); what is held longer is lost to others when a client took another
/// server's offer.
pub const OFFER_HOLD: Duration = Duration::from_secs(30);

/// The leases and offers of one subnet, in memory, and the choice of addresses.
///
/// A client that comes back gets the address it had; a new one gets an address that nobody had before, and when there is none
/// left, the one whose lease ended longest ago.
///
/// Whoever invents hardware addresses fills the pools with offers at most until they lapse: a client that has a record is given
/// an address all the same, the oldest offer to one that has none being taken back for it. How many of those are held is for the
/// caller to bound ([`LeaseTable::give_up_offer`]), who sees all tables.
///
/// A lease takes about 130 octets, with the indexes: a slot of 96, a place by its address of 4, one by its client of about 9, and one
/// in the queue of what ends of 16. An address that has no lease takes 4 octets and a bit of a pool, once its page was touched.
#[derive(Debug)]
pub struct LeaseTable {
    places: Places,
    slots: Vec<Option<Slot>>,
    free_slots: Vec<u32>,
    /// The slot of the address that each client had last. The key is in the slot.
    clients: HashTable<u32>,
    /// With keys of its own, so that nobody can choose identifiers that fall on one place.
    hasher: RandomState,
    expiry: ExpiryQueue,
    offers: Offers,
    probed: Probed,
    offer_hold: Duration,
    require_clear: bool,
}

#[derive(Debug)]
struct Slot {
    record: LeaseRecord,
    /// The end of what this client was promised: by what is on the disk, or by word while the disk takes nothing.
    durable_until: Timestamp,
    /// The time of its entry in the queue of what ends.
    queued: Timestamp,
    /// It is the slot by which its client is found. A renewal need not look the client up then: with a million leases each look
    /// into another part of memory costs more than all else.
    is_linked: bool,
}

/// How many addresses are in which state; see [`LeaseTable::summary`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Addresses that the pools give out.
    pub dynamic: usize,
    /// Leases in force, reservations among them.
    pub bound: usize,
    /// Leases that have ended.
    pub expired: usize,
    /// Addresses that were given back.
    pub released: usize,
    /// Addresses in quarantine.
    pub declined: usize,
    /// Addresses on offer.
    pub offered: usize,
    /// Addresses at which a probe found someone without a lease.
    pub in_use: usize,
}

impl LeaseTable {
    /// An empty table that gives out the addresses of `pools` other than the `excluded` and the `reserved` ones.
    #[must_use]
    pub fn new(pools: &[AddressRange], excluded: &[AddressRange], reserved: HashSet<Ipv4Addr>) -> Self {
        Self {
            places: Places::new(pools, excluded, reserved),
            slots: Vec::new(),
            free_slots: Vec::new(),
            clients: HashTable::new(),
            hasher: RandomState::new(),
            expiry: ExpiryQueue::default(),
            offers: Offers::default(),
            probed: Probed::default(),
            offer_hold: OFFER_HOLD,
            require_clear: false,
        }
    }

    /// Changes how long later offers are held.
    pub const fn set_offer_hold(&mut self, hold: Duration) {
        self.offer_hold = hold;
    }

    /// Whether clients that have no record of the address in question are given only addresses that were probed.
    pub const fn set_require_clear(&mut self, require_clear: bool) {
        self.require_clear = require_clear;
    }

    /// Changes what is given out. Every record and offer is kept, also of addresses that are given out no more: who has one
    /// is still known there.
    pub fn reshape(&mut self, pools: &[AddressRange], excluded: &[AddressRange], reserved: HashSet<Ipv4Addr>) {
        self.places = Places::new(pools, excluded, reserved);
        self.expiry.clear();
        for (number, slot) in (0..).zip(&mut self.slots) {
            let Some(slot) = slot else { continue };
            let address = slot.record.address;
            self.places.set_slot(address, Some(number));
            self.places.set_vacant(address, false);
            slot.queued = NOT_QUEUED;
            if self.places.is_dynamic(address) {
                slot.queued = slot.record.expires_at;
                self.expiry.push(slot.queued, number);
            }
        }
        // An address that nobody can be given any more, or only by a reservation, is not to be taken back from this client for another one.
        let is_given_up =
            |address: &Ipv4Addr| !self.places.is_dynamic(*address) && self.offers.at(*address).is_some_and(|offer| !offer.known);
        let given_up: Vec<Ipv4Addr> = self.offers.addresses().filter(is_given_up).collect();
        for address in given_up {
            self.offers.remove(address);
        }
        for address in self.offers.addresses().chain(self.probed.addresses_in_use()) {
            self.places.set_vacant(address, false);
        }
    }

    /// Takes a record that was read from the disk.
    pub fn restore(&mut self, record: LeaseRecord) {
        let (address, durable_until) = (record.address, record.expires_at);
        self.put(record);
        if let Some(slot) = self.slot_mut(address) {
            slot.durable_until = durable_until;
        }
    }

    /// The newest record of an address.
    #[must_use]
    pub fn record(&self, address: Ipv4Addr) -> Option<&LeaseRecord> {
        self.slot(address).map(|slot| &slot.record)
    }

    /// The newest record of the address that the client had last.
    #[must_use]
    pub fn record_of(&self, client: &ClientId) -> Option<&LeaseRecord> {
        let hash = self.hasher.hash_one(client);
        let number = self.clients.find(hash, |number| is_of(&self.slots, *number, client))?;
        slot_at(&self.slots, *number).map(|slot| &slot.record)
    }

    /// All records, in no order.
    pub fn records(&self) -> impl Iterator<Item = &LeaseRecord> {
        self.slots.iter().flatten().map(|slot| &slot.record)
    }

    /// Until when the address is promised to its present client: by the disk, or by [`LeaseTable::put_undurable`].
    #[must_use]
    pub fn durable_until(&self, address: Ipv4Addr) -> Timestamp {
        self.slot(address).map(|slot| slot.durable_until).unwrap_or_default()
    }

    /// Whether the pools give out this address.
    #[must_use]
    pub fn is_dynamic(&self, address: Ipv4Addr) -> bool {
        self.places.is_dynamic(address)
    }

    /// Whether `client` could have the address at `now`: nobody else holds it, and it is not in quarantine.
    #[must_use]
    pub fn is_free_for(&self, now: Timestamp, client: &ClientId, address: Ipv4Addr) -> bool {
        let offered_to_other = self.offers.at(address).is_some_and(|offer| offer.client != *client && offer.until > now);
        let by_record = || match self.record(address) {
            Some(record) if record.state == LeaseState::Bound && record.client == *client && record.expires_at > now => true,
            Some(record) => is_over(record, now) && !self.probed.is_in_use(now, address),
            None => !self.probed.is_in_use(now, address),
        };
        !offered_to_other && by_record()
    }

    /// Chooses an address for the client and holds it; `fixed` is the client's reservation, `wanted` what it asks for
    /// (option 50).
    ///
    /// The order is that of RFC 2131, section 4.3.1, after the reservation: what the client has or had, what it asks for,
    /// then any.
    pub fn offer(&mut self, now: Timestamp, client: &ClientId, fixed: Option<Ipv4Addr>, wanted: Option<Ipv4Addr>) -> Choice {
        self.forget_what_lapsed(now);
        let known = self.record_of(client).is_some();
        let mut choice = self.choose(now, client, fixed, wanted);
        if known && matches!(choice, Choice::NoneClear | Choice::NoneFree) {
            choice = self.take_back_for(now, client).map_or(choice, Choice::Address);
        }
        if let Choice::Address(address) = choice {
            // A reservation is no prize for whoever invents hardware addresses: its offer is never taken back.
            self.hold(now.after(self.offer_hold), client, address, known || fixed == Some(address));
        }
        choice
    }

    /// The addresses that would be given to new clients next, at most `count`, in that order. Nothing is taken.
    pub fn candidates(&mut self, now: Timestamp, count: usize) -> Vec<Ipv4Addr> {
        self.forget_what_lapsed(now);
        let mut candidates: Vec<Ipv4Addr> = self.places.vacant().take(count).collect();
        let mut seen = Vec::new();
        while candidates.len() < count
            && let Some(address) = self.oldest_expired(now)
            && let Some(entry) = self.expiry.pop()
        {
            candidates.push(address);
            seen.push(entry);
        }
        for (at, number) in seen {
            self.expiry.push(at, number);
        }
        candidates
    }

    /// Notes that a probe found nobody at the address; it may be offered to a new client until then.
    pub fn mark_clear(&mut self, address: Ipv4Addr, until: Timestamp) {
        self.probed.mark_clear(address, until);
        self.open(address);
    }

    /// Whether the address was probed and may be offered to a new client.
    #[must_use]
    pub fn is_clear(&self, now: Timestamp, address: Ipv4Addr) -> bool {
        self.probed.is_clear(now, address)
    }

    /// Forgets what probes have shown to be free: by a clock that was set back it would count for too long.
    pub fn forget_clear(&mut self) {
        self.probed.forget_all_clear();
        self.offers.forget_clear();
    }

    /// Notes that someone uses the address who has no lease of it: nobody else is given it until then.
    pub fn mark_in_use(&mut self, address: Ipv4Addr, until: Timestamp) {
        self.probed.mark_in_use(address, until);
        self.places.set_vacant(address, false);
    }

    /// Forgets what is on offer to the client: it took another server's offer.
    pub fn withdraw_offer(&mut self, client: &ClientId) {
        if let Some(address) = self.offers.to(client) {
            self.drop_offer(address);
            self.places.go_back_to(address);
        }
    }

    /// Takes a new record for its address; the disk need not have it yet: see [`LeaseTable::confirm`].
    pub fn put(&mut self, record: LeaseRecord) {
        let (address, now) = (record.address, record.starts_at);
        self.offers.remove(address);
        self.probed.forget_clear(address);
        let number = self.place_record(record);
        self.link_client(number);
        self.queue_again(address, number);
        self.tidy(now);
    }

    /// Notes that the record is on the disk.
    pub fn confirm(&mut self, record: &LeaseRecord) {
        if let Some(slot) = self.slot_mut(record.address)
            && slot.record.client == record.client
            && record.state == LeaseState::Bound
        {
            slot.durable_until = record.expires_at;
        }
    }

    /// Takes a record that is promised although the disk did not take it. It counts until a crash.
    pub fn put_undurable(&mut self, record: LeaseRecord) {
        let (address, until) = (record.address, record.expires_at);
        self.put(record);
        if let Some(slot) = self.slot_mut(address) {
            slot.durable_until = until;
        }
    }

    /// Takes back a record that did not reach the disk, unless a newer one has replaced it.
    pub fn revoke(&mut self, record: &LeaseRecord) {
        if self.record(record.address) == Some(record) {
            self.forget(record.address);
            self.places.go_back_to(record.address);
        }
    }

    /// Forgets what is known of an address, so that anyone can have it.
    pub fn forget(&mut self, address: Ipv4Addr) {
        let Some(number) = self.places.slot(address) else { return };
        self.unlink_client(number);
        self.places.set_slot(address, None);
        if let Some(slot) = self.slots.get_mut(place(number)) {
            *slot = None;
        }
        self.free_slots.push(number);
        self.open(address);
    }

    /// How many addresses have a record, whatever became of it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.slots.len().saturating_sub(self.free_slots.len())
    }

    /// Whether no address has a record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many addresses are in which state. Looks at every record.
    #[must_use]
    pub fn summary(&self, now: Timestamp) -> Summary {
        let (dynamic, offered, in_use) = (self.places.dynamic(), self.offers.len(), self.probed.in_use());
        let mut summary = Summary { dynamic, offered, in_use, ..Summary::default() };
        for record in self.records() {
            let count = match record.state {
                LeaseState::Released => &mut summary.released,
                LeaseState::Bound if record.expires_at > now => &mut summary.bound,
                LeaseState::Declined if record.expires_at > now => &mut summary.declined,
                LeaseState::Bound | LeaseState::Declined => &mut summary.expired,
            };
            *count = count.saturating_add(1);
        }
        summary
    }

    /// The address whose lease ended longest ago, of those that are not on offer. It stays at the top of the queue.
    fn oldest_expired(&mut self, now: Timestamp) -> Option<Ipv4Addr> {
        while let Some((at, number)) = self.expiry.peek()
            && at <= now
        {
            if self.set_right(at, number) {
                continue;
            }
            let slot = slot_at_mut(&mut self.slots, number)?;
            let address = slot.record.address;
            if self.offers.at(address).is_none() && !self.probed.is_in_use(now, address) {
                return Some(address);
            }
            // It comes back when the offer is over.
            slot.queued = NOT_QUEUED;
            self.expiry.pop();
        }
        None
    }

    /// Sets the entry at the top right if it says something else than its slot. False when it is right.
    fn set_right(&mut self, at: Timestamp, number: u32) -> bool {
        match slot_at_mut(&mut self.slots, number).filter(|slot| slot.queued == at) {
            Some(slot) if slot.record.expires_at == at => return false,
            Some(slot) => {
                slot.queued = slot.record.expires_at;
                self.expiry.pop();
                self.expiry.push(slot.queued, number);
            }
            None => {
                self.expiry.pop();
            }
        }
        true
    }

    /// Sets a few entries right that lag behind, so that they do not wait in their thousands for the first client that needs an
    /// old address. A lease is renewed twice in its time and lags behind once, so two are enough.
    fn tidy(&mut self, now: Timestamp) {
        for _ in 0..2 {
            match self.expiry.peek() {
                Some((at, number)) if at <= now && self.set_right(at, number) => {}
                _ => break,
            }
        }
        // A client that releases and takes its address again leaves an entry behind each time.
        if self.expiry.len() > self.slots.len().saturating_mul(2).saturating_add(64) {
            let slots = &self.slots;
            self.expiry.retain(|at, number| slot_at(slots, number).is_some_and(|slot| slot.queued == at));
        }
    }

    fn hold(&mut self, until: Timestamp, client: &ClientId, address: Ipv4Addr, known: bool) {
        if let Some(previous) = self.offers.to(client) {
            self.drop_offer(previous);
        }
        self.drop_offer(address);
        self.places.set_vacant(address, false);
        let clear_until = self.probed.forget_clear(address);
        self.offers.insert(address, Offer { client: client.clone(), until, clear_until, known });
    }

    fn drop_offer(&mut self, address: Ipv4Addr) {
        if let Some(offer) = self.offers.remove(address) {
            if offer.clear_until > Timestamp::default() && !self.probed.rests(address) {
                self.probed.mark_clear(address, offer.clear_until);
            }
            self.open(address);
        }
    }

    fn forget_what_lapsed(&mut self, now: Timestamp) {
        while let Some(address) = self.offers.lapsed(now) {
            self.drop_offer(address);
        }
        for address in self.probed.no_longer_in_use(now) {
            self.open(address);
        }
    }

    /// Something that stood in the way of giving out the address is gone: it is vacant, or its lease may be reclaimed.
    fn open(&mut self, address: Ipv4Addr) {
        match self.places.slot(address) {
            Some(number) => self.queue_again(address, number),
            None if self.offers.at(address).is_none() && !self.probed.rests(address) => self.places.set_vacant(address, true),
            None => {}
        }
    }

    /// Gives the slot an entry in the queue of what ends, unless it has one that is early enough.
    fn queue_again(&mut self, address: Ipv4Addr, number: u32) {
        let Some(slot) = slot_at_mut(&mut self.slots, number) else { return };
        if slot.record.expires_at < slot.queued && self.places.is_dynamic(address) {
            slot.queued = slot.record.expires_at;
            self.expiry.push(slot.queued, number);
        }
    }

    /// Puts the record into its address's slot, or a new one.
    fn place_record(&mut self, record: LeaseRecord) -> u32 {
        let address = record.address;
        if let Some(number) = self.places.slot(address) {
            let same_client = self.slot(address).is_some_and(|slot| slot.record.client == record.client);
            if !same_client {
                self.unlink_client(number);
            }
            if let Some(slot) = slot_at_mut(&mut self.slots, number) {
                if !same_client || record.state != LeaseState::Bound {
                    slot.durable_until = Timestamp::default();
                }
                slot.record = record;
            }
            return number;
        }
        self.places.set_vacant(address, false);
        let slot = Some(Slot { record, durable_until: Timestamp::default(), queued: NOT_QUEUED, is_linked: false });
        let number = self.free_slots.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // There are no more addresses than that.
            u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        if let Some(free) = self.slots.get_mut(place(number)) {
            *free = slot;
        }
        self.places.set_slot(address, Some(number));
        number
    }

    fn link_client(&mut self, number: u32) {
        let Self { slots, clients, hasher, .. } = self;
        let Some(slot) = slot_at(slots, number).filter(|slot| !slot.is_linked) else { return };
        let client = &slot.record.client;
        let hash_of = |number: &u32| slot_at(slots, *number).map(|slot| hasher.hash_one(&slot.record.client)).unwrap_or_default();
        let mut entry = clients.entry(hasher.hash_one(client), |other| is_of(slots, *other, client), hash_of).or_insert(number);
        let former = std::mem::replace(entry.get_mut(), number);
        if let Some(former) = slot_at_mut(slots, former) {
            former.is_linked = false;
        }
        if let Some(slot) = slot_at_mut(slots, number) {
            slot.is_linked = true;
        }
    }

    fn unlink_client(&mut self, number: u32) {
        let Some(slot) = slot_at_mut(&mut self.slots, number).filter(|slot| slot.is_linked) else { return };
        slot.is_linked = false;
        if let Ok(entry) = self.clients.find_entry(self.hasher.hash_one(&slot.record.client), |other| *other == number) {
            entry.remove();
        }
    }

    fn slot(&self, address: Ipv4Addr) -> Option<&Slot> {
        slot_at(&self.slots, self.places.slot(address)?)
    }

    fn slot_mut(&mut self, address: Ipv4Addr) -> Option<&mut Slot> {
        slot_at_mut(&mut self.slots, self.places.slot(address)?)
    }
}

fn slot_at(slots: &[Option<Slot>], number: u32) -> Option<&Slot> {
    slots.get(place(number))?.as_ref()
}

fn slot_at_mut(slots: &mut [Option<Slot>], number: u32) -> Option<&mut Slot> {
    slots.get_mut(place(number))?.as_mut()
}

fn is_of(slots: &[Option<Slot>], number: u32, client: &ClientId) -> bool {
    slot_at(slots, number).is_some_and(|slot| slot.record.client == *client)
}

/// Whether nobody has a right to the address by this record any more.
fn is_over(record: &LeaseRecord, now: Timestamp) -> bool {
    match record.state {
        LeaseState::Released => true,
        LeaseState::Bound | LeaseState::Declined => record.expires_at <= now,
    }
}

fn place(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
