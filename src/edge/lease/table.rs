use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::{AddressRange, ClientId, LeaseRecord, LeaseState};
use crate::clock::Timestamp;

/// How long an offered address is kept for the client that it was offered to. Firmware answers within seconds (OVMF after 4,
/// iPXE after up to 10); what is held longer is lost to others when a client took another server's offer.
pub const OFFER_HOLD: Duration = Duration::from_secs(30);

/// The leases and offers of one subnet, in memory, and the choice of addresses.
///
/// A client that comes back gets the address it had; a new one gets an address that nobody had before, and when there is none
/// left, the one whose lease ended longest ago.
#[derive(Debug)]
pub struct LeaseTable {
    pools: Vec<Pool>,
    /// Addresses that the pools do not give out: they are reserved for a client.
    reserved: HashSet<Ipv4Addr>,
    entries: HashMap<Ipv4Addr, Entry>,
    /// The address that each client had last.
    by_client: HashMap<ClientId, Ipv4Addr>,
    /// Leases of pool addresses that are not on offer, by the end of their time.
    by_expiry: BTreeSet<(Timestamp, Ipv4Addr)>,
    offers: HashMap<Ipv4Addr, Offer>,
    offered_to: HashMap<ClientId, Ipv4Addr>,
    offers_by_end: BTreeSet<(Timestamp, Ipv4Addr)>,
    /// Pool addresses that were offered once and never leased.
    returned: BTreeSet<Ipv4Addr>,
}

#[derive(Debug)]
struct Pool {
    range: AddressRange,
    /// The next address that was never offered; `None` when the end was passed.
    next: Option<Ipv4Addr>,
}

#[derive(Debug)]
struct Entry {
    record: LeaseRecord,
    /// The end of what is on the disk for this client: the promise that survives a crash.
    durable_until: Timestamp,
}

#[derive(Debug)]
struct Offer {
    client: ClientId,
    until: Timestamp,
}

impl LeaseTable {
    /// An empty table that gives out the addresses of `pools` other than the `reserved` ones.
    #[must_use]
    pub fn new(pools: &[AddressRange], reserved: HashSet<Ipv4Addr>) -> Self {
        Self {
            pools: pools.iter().map(|range| Pool { range: *range, next: Some(range.first()) }).collect(),
            reserved,
            entries: HashMap::new(),
            by_client: HashMap::new(),
            by_expiry: BTreeSet::new(),
            offers: HashMap::new(),
            offered_to: HashMap::new(),
            offers_by_end: BTreeSet::new(),
            returned: BTreeSet::new(),
        }
    }

    /// Takes a record that was read from the disk.
    pub fn restore(&mut self, record: LeaseRecord) {
        let (address, durable_until) = (record.address, record.expires_at);
        self.put(record);
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.durable_until = durable_until;
        }
    }

    /// The newest record of an address.
    #[must_use]
    pub fn record(&self, address: Ipv4Addr) -> Option<&LeaseRecord> {
        self.entries.get(&address).map(|entry| &entry.record)
    }

    /// The newest record of the address that the client had last.
    #[must_use]
    pub fn record_of(&self, client: &ClientId) -> Option<&LeaseRecord> {
        let record = self.record(*self.by_client.get(client)?)?;
        (record.client == *client).then_some(record)
    }

    /// Until when the disk promises the address to its present client.
    #[must_use]
    pub fn durable_until(&self, address: Ipv4Addr) -> Timestamp {
        self.entries.get(&address).map(|entry| entry.durable_until).unwrap_or_default()
    }

    /// Whether the pools give out this address.
    #[must_use]
    pub fn is_dynamic(&self, address: Ipv4Addr) -> bool {
        self.pools.iter().any(|pool| pool.range.contains(address)) && !self.reserved.contains(&address)
    }

    /// Whether `client` could have the address at `now`: nobody else holds it, and it is not in quarantine.
    #[must_use]
    pub fn is_free_for(&self, now: Timestamp, client: &ClientId, address: Ipv4Addr) -> bool {
        let offered_to_other = self.offers.get(&address).is_some_and(|offer| offer.client != *client && offer.until > now);
        !offered_to_other
            && self.record(address).is_none_or(|record| match record.state {
                LeaseState::Bound => record.client == *client || record.expires_at <= now,
                LeaseState::Released => true,
                LeaseState::Declined => record.expires_at <= now,
            })
    }

    /// Chooses an address for the client and holds it for [`OFFER_HOLD`]; `fixed` is the client's reservation, `wanted` what it
    /// asks for (option 50). `None` when no address is free.
    ///
    /// The order is that of RFC 2131, section 4.3.1, after the reservation: what the client has or had, what it asks for,
    /// then any.
    pub fn offer(&mut self, now: Timestamp, client: &ClientId, fixed: Option<Ipv4Addr>, wanted: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        self.forget_lapsed_offers(now);
        let address = fixed
            .filter(|address| self.is_free_for(now, client, *address))
            .or_else(|| self.known_address(now, client))
            .or_else(|| wanted.filter(|address| self.is_dynamic(*address) && self.is_free_for(now, client, *address)))
            .or_else(|| self.unused_address())
            .or_else(|| self.oldest_expired(now))?;
        self.hold(now.after(OFFER_HOLD), client, address);
        Some(address)
    }

    /// Forgets what is on offer to the client: it took another server's offer.
    pub fn withdraw_offer(&mut self, client: &ClientId) {
        if let Some(address) = self.offered_to.get(client).copied() {
            self.drop_offer(address);
        }
    }

    /// Takes a new record for its address; the disk need not have it yet: see [`LeaseTable::confirm`].
    pub fn put(&mut self, record: LeaseRecord) {
        let address = record.address;
        self.drop_offer(address);
        self.returned.remove(&address);
        let previous = self.take(address);
        let durable_until = match &previous {
            Some(previous) if previous.record.client == record.client && record.state == LeaseState::Bound => previous.durable_until,
            _ => Timestamp::default(),
        };
        if self.is_dynamic(address) {
            self.by_expiry.insert((record.expires_at, address));
        }
        self.by_client.insert(record.client.clone(), address);
        self.entries.insert(address, Entry { record, durable_until });
    }

    /// Notes that the record is on the disk.
    pub fn confirm(&mut self, record: &LeaseRecord) {
        if let Some(entry) = self.entries.get_mut(&record.address)
            && entry.record.client == record.client
            && record.state == LeaseState::Bound
        {
            entry.durable_until = record.expires_at;
        }
    }

    /// Takes back a record that did not reach the disk, unless a newer one has replaced it.
    pub fn revoke(&mut self, record: &LeaseRecord) {
        if self.record(record.address) != Some(record) {
            return;
        }
        self.take(record.address);
        if self.is_dynamic(record.address) {
            self.returned.insert(record.address);
        }
    }

    /// How many addresses have a record, whatever became of it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no address has a record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn take(&mut self, address: Ipv4Addr) -> Option<Entry> {
        let entry = self.entries.remove(&address)?;
        self.by_expiry.remove(&(entry.record.expires_at, address));
        if self.by_client.get(&entry.record.client) == Some(&address) {
            self.by_client.remove(&entry.record.client);
        }
        Some(entry)
    }

    fn known_address(&self, now: Timestamp, client: &ClientId) -> Option<Ipv4Addr> {
        let had = self.by_client.get(client);
        let offered = self.offered_to.get(client);
        had.into_iter().chain(offered).copied().find(|address| self.is_dynamic(*address) && self.is_free_for(now, client, *address))
    }

    fn unused_address(&mut self) -> Option<Ipv4Addr> {
        if let Some(address) = self.returned.pop_first() {
            return Some(address);
        }
        for pool in &mut self.pools {
            while let Some(address) = pool.next {
                pool.next = u32::from(address).checked_add(1).map(Ipv4Addr::from).filter(|next| pool.range.contains(*next));
                let taken = self.reserved.contains(&address) || self.entries.contains_key(&address) || self.offers.contains_key(&address);
                if !taken {
                    return Some(address);
                }
            }
        }
        None
    }

    fn oldest_expired(&self, now: Timestamp) -> Option<Ipv4Addr> {
        self.by_expiry.first().filter(|(expires_at, _)| *expires_at <= now).map(|(_, address)| *address)
    }

    fn hold(&mut self, until: Timestamp, client: &ClientId, address: Ipv4Addr) {
        self.withdraw_offer(client);
        self.drop_offer(address);
        self.returned.remove(&address);
        if let Some(entry) = self.entries.get(&address) {
            self.by_expiry.remove(&(entry.record.expires_at, address));
        }
        self.offers.insert(address, Offer { client: client.clone(), until });
        self.offered_to.insert(client.clone(), address);
        self.offers_by_end.insert((until, address));
    }

    fn drop_offer(&mut self, address: Ipv4Addr) {
        let Some(offer) = self.offers.remove(&address) else { return };
        self.offers_by_end.remove(&(offer.until, address));
        self.offered_to.remove(&offer.client);
        if self.is_dynamic(address) {
            match self.entries.get(&address) {
                Some(entry) => self.by_expiry.insert((entry.record.expires_at, address)),
                None => self.returned.insert(address),
            };
        }
    }

    fn forget_lapsed_offers(&mut self, now: Timestamp) {
        while let Some((until, address)) = self.offers_by_end.first().copied()
            && until <= now
        {
            self.drop_offer(address);
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
