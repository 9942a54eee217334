//! Knows what clients were promised and says when a promise is broken. Knows nothing of how the server keeps them.
//!
//! # The guarantee
//! A lease ends for its client at the moment at which the client asked, plus the lease time (RFC 2131, section 4.4.1). Until then
//! nobody else is given its address, and the client can renew it.
//!
//! The server counts by the time of day, which must outlive a restart and which may be set. A clock that is set back makes leases
//! longer on the server, which hurts nobody. A clock that is set forward by D ends the leases that it knows up to D early: so far
//! the promise holds and no farther. D is the farthest that the clock was ever ahead of what it had been since the acknowledgement.
//!
//! What is acknowledged is on the disk and outlives a crash. The one exception is a renewal that the disk did not take
//! (`UNDURABLE_RENEWAL`): after a crash the server is held to what the disk had.
//!
//! A client that gives an address back has no lease any more, even if the network delays or doubles its word and the client got
//! the address again in between.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// A moment or a time in milliseconds.
pub type Millis = u64;

/// Whom the server takes for one client: all who show the same client identifier.
pub type ClientNumber = u32;

/// How long nobody is given a declined address.
const QUARANTINE: Millis = 86_400_000;

/// What the server's clock showed, and when it was set.
#[derive(Debug)]
pub struct ServerClock {
    /// True time at which an offset began, and the offset.
    settings: Vec<(Millis, i64)>,
}

impl ServerClock {
    /// A clock that is right.
    pub fn new() -> Self {
        Self { settings: vec![(0, 0)] }
    }

    /// Sets the clock forward or back.
    pub fn step(&mut self, now: Millis, by: i64) {
        let offset = self.settings.last().map_or(0, |(_, offset)| *offset);
        self.settings.push((now, offset.saturating_add(by)));
    }

    /// What it shows.
    pub fn reading(&self, now: Millis) -> Millis {
        now.saturating_add_signed(self.settings.last().map_or(0, |(_, offset)| *offset))
    }

    /// How far it was set forward since a moment: the D of the guarantee.
    fn set_forward_since(&self, since: Millis) -> Millis {
        let first = self.settings.iter().rposition(|(from, _)| *from < since).unwrap_or(0);
        let (mut least, mut forward) = (i64::MAX, 0);
        for (_, offset) in &self.settings[first..] {
            least = least.min(*offset);
            forward = forward.max(offset.saturating_sub(least).unsigned_abs());
        }
        forward
    }

    /// Whether what was promised at a moment for a time still holds.
    fn holds(&self, term: Term, now: Millis) -> bool {
        now.saturating_add(self.set_forward_since(term.made)) < term.made.saturating_add(term.length)
    }
}

/// A time that begins when the server decides.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// When it began, in true time.
    pub made: Millis,
    /// How long it is.
    pub length: Millis,
}

/// An acknowledgement, as the server made it.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    pub client: ClientNumber,
    pub address: Ipv4Addr,
    /// The lease.
    pub term: Term,
    /// Whether it was on the disk when it was made.
    pub durable: bool,
}

/// A lease as its client sees it.
#[derive(Clone, Copy, Debug)]
struct Held {
    promise: Promise,
    /// The last promise to this client of this address that was on the disk.
    durable: Option<Term>,
    /// When the client's own count ends, in true time.
    until: Millis,
    /// Nothing holds the server to it any more, though the client does not know.
    void: bool,
}

#[derive(Clone, Copy, Debug)]
struct Quarantine {
    term: Term,
    durable: bool,
}

/// What all clients hold.
#[derive(Debug)]
pub struct Oracle {
    pub clock: ServerClock,
    held: BTreeMap<Ipv4Addr, Vec<Held>>,
    quarantined: BTreeMap<Ipv4Addr, Quarantine>,
    /// Two clients on one address, within what the guarantee leaves open.
    pub excused: u64,
}

impl Oracle {
    /// Nobody holds anything.
    pub fn new() -> Self {
        Self { clock: ServerClock::new(), held: BTreeMap::new(), quarantined: BTreeMap::new(), excused: 0 }
    }

    fn binds(&self, held: &Held, now: Millis) -> bool {
        !held.void && held.until > now && self.clock.holds(held.promise.term, now)
    }

    /// Whether the server owes this address to the client now.
    pub fn is_owed(&self, client: ClientNumber, address: Ipv4Addr, now: Millis) -> bool {
        self.held.get(&address).into_iter().flatten().any(|held| held.promise.client == client && self.binds(held, now))
    }

    /// Whether somebody else is owed this address.
    pub fn is_owed_to_other(&self, client: ClientNumber, address: Ipv4Addr, now: Millis) -> bool {
        self.held.get(&address).into_iter().flatten().any(|held| held.promise.client != client && self.binds(held, now))
    }

    /// Whether a client declined this address less than a day ago.
    pub fn is_quarantined(&self, address: Ipv4Addr, now: Millis) -> bool {
        self.quarantined.get(&address).is_some_and(|quarantine| self.clock.holds(quarantine.term, now))
    }

    /// The server offers or acknowledges an address.
    ///
    /// # Errors
    /// Whose it is.
    pub fn gives(&mut self, client: ClientNumber, address: Ipv4Addr, now: Millis) -> Result<(), String> {
        if self.is_quarantined(address, now) {
            return Err(format!("{address} is given to client {client} and was declined less than a day ago"));
        }
        let Some(holders) = self.held.get(&address) else { return Ok(()) };
        let others = || holders.iter().filter(|held| held.promise.client != client && held.until > now);
        if let Some(held) = others().find(|held| self.binds(held, now)) {
            return Err(format!("{address} is given to client {client} and client {} holds it: {held:?}", held.promise.client));
        }
        self.excused += u64::from(others().next().is_some());
        Ok(())
    }

    /// A client hears of a promise; it counts its lease from the moment at which it asked.
    ///
    /// # Errors
    /// Who else holds the address.
    pub fn takes(&mut self, promise: Promise, until: Millis, now: Millis) -> Result<(), String> {
        if self.is_owed_to_other(promise.client, promise.address, now) && until > now {
            return Err(format!("{} is promised to client {} and somebody else holds it", promise.address, promise.client));
        }
        let holders = self.held.entry(promise.address).or_default();
        let earlier = holders.iter().find(|held| held.promise.client == promise.client && !held.void).and_then(|held| held.durable);
        holders.retain(|held| held.promise.client != promise.client && held.until > now);
        let durable = if promise.durable { Some(promise.term) } else { earlier };
        holders.push(Held { promise, durable, until, void: false });
        Ok(())
    }

    /// A client has no more use for an address.
    pub fn leaves(&mut self, client: ClientNumber, address: Ipv4Addr) {
        if let Some(holders) = self.held.get_mut(&address) {
            holders.retain(|held| held.promise.client != client);
        }
    }

    /// The server heard that the client gave the address back. A word that the network delayed or doubled may end a lease that
    /// the client got since.
    pub fn given_back(&mut self, client: ClientNumber, address: Ipv4Addr) {
        for held in self.held.get_mut(&address).into_iter().flatten().filter(|held| held.promise.client == client) {
            held.void = true;
        }
    }

    /// The server heard that somebody else uses the address.
    pub fn declined(&mut self, address: Ipv4Addr, now: Millis) {
        self.quarantined.insert(address, Quarantine { term: Term { made: now, length: QUARANTINE }, durable: false });
    }

    /// That is on the disk now.
    pub fn declined_durably(&mut self, address: Ipv4Addr) {
        if let Some(quarantine) = self.quarantined.get_mut(&address) {
            quarantine.durable = true;
        }
    }

    /// The server crashed: only what was durable binds it.
    pub fn crashed(&mut self) {
        self.quarantined.retain(|_, quarantine| quarantine.durable);
        for held in self.held.values_mut().flatten().filter(|held| !held.promise.durable) {
            match held.durable {
                Some(term) => held.promise.term = term,
                None => held.void = true,
            }
        }
    }
}
