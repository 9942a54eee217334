//! A machine of the site: firmware, iPXE and an operating system, each a DHCP client by RFC 2131, figure 5.

use std::net::Ipv4Addr;

use crate::dice::Dice;
use crate::message::{ACK, Answer, DECLINE, DISCOVER, Message, NAK, OFFER, RELEASE, REQUEST};
use crate::oracle::{ClientNumber, Millis, Promise};
use crate::plan::Mac;

pub const SECOND: Millis = 1000;
pub const MINUTE: Millis = 60 * SECOND;
pub const HOUR: Millis = 60 * MINUTE;
pub const DAY: Millis = 24 * HOUR;

/// What runs on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Firmware,
    Ipxe,
    System,
}

/// Figure 5 of RFC 2131.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Off,
    /// Waits a while before it asks.
    Init,
    Selecting,
    Requesting(Ipv4Addr),
    Rebooting(Ipv4Addr),
    Bound,
    Renewing,
    Rebinding,
}

/// Why a datagram was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Discover,
    Select(Ipv4Addr),
    Reboot(Ipv4Addr),
    Renew(Ipv4Addr),
    Rebind(Ipv4Addr),
    Release,
    Decline,
}

/// A lease in use.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    pub address: Ipv4Addr,
    pub renew_at: Millis,
    pub rebind_at: Millis,
    pub until: Millis,
}

/// What it does differently from others.
#[derive(Clone, Debug)]
pub struct Habits {
    /// The operating system names itself by this instead of its hardware address (RFC 4361).
    pub duid: Option<Vec<u8>>,
    /// Option 57.
    pub max_message_size: Option<u16>,
    pub wants_broadcast: bool,
    pub releases: bool,
}

#[derive(Debug)]
pub struct Machine {
    pub mac: Mac,
    pub habits: Habits,
    /// As whom the server knows its firmware, and its operating system.
    pub numbers: [ClientNumber; 2],
    /// The subnet that it is plugged into, by its router's address.
    pub router: Ipv4Addr,
    pub stage: Stage,
    pub state: State,
    pub lease: Option<Lease>,
    /// The operating system's lease, on its disk.
    pub remembered: Option<Lease>,
    /// The address that each of its two identities had last.
    pub last: [Option<Ipv4Addr>; 2],
    pub xid: u32,
    /// When the request under way was first sent: a lease is counted from there.
    pub asked_at: Millis,
    pub tries: u32,
    /// The number of the one timer that counts.
    pub timer: u64,
}

/// What a machine does next.
#[derive(Debug)]
pub enum Deed {
    Send(Purpose, Box<Message>, SendTo),
    /// Wake up after this time.
    Wait(Millis),
    /// It has taken a promise.
    Takes(Promise, Millis),
    /// It does not use this address any more.
    Leaves(ClientNumber, Ipv4Addr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendTo {
    Everyone,
    Server,
}

impl Machine {
    /// Which of its two identities asks now.
    pub const fn identity(&self) -> usize {
        match self.stage {
            Stage::Firmware | Stage::Ipxe => 0,
            Stage::System => 1,
        }
    }

    /// As whom the server knows who asks now.
    pub fn number(&self) -> ClientNumber {
        self.numbers[self.identity()]
    }

    /// Switched on, or started again.
    pub fn power_on(&mut self, dice: &mut Dice) -> Vec<Deed> {
        self.stage = Stage::Firmware;
        self.lease = None;
        self.begin(dice)
    }

    /// Shut down; the operating system may give its address back.
    pub fn power_off(&mut self) -> Vec<Deed> {
        let mut deeds = Vec::new();
        if let (true, Some(lease), Stage::System) = (self.habits.releases, self.lease, self.stage) {
            let message = self.message(RELEASE).ciaddr(lease.address).address(54, crate::site::SERVER);
            deeds.push(Deed::Leaves(self.number(), lease.address));
            deeds.push(Deed::Send(Purpose::Release, Box::new(message), SendTo::Server));
            self.remembered = None;
        }
        self.state = State::Off;
        self.lease = None;
        deeds
    }

    /// The timer went off.
    pub fn wake(&mut self, now: Millis, dice: &mut Dice) -> Vec<Deed> {
        self.tries += 1;
        match self.state {
            State::Off => Vec::new(),
            State::Init => self.begin(dice),
            State::Selecting if self.tries > 3 => self.pause(dice),
            State::Selecting => self.discover(dice),
            State::Requesting(_) if self.tries > 4 => self.begin(dice),
            State::Requesting(address) => self.select(address, now, dice),
            State::Rebooting(_) if self.tries > 3 => {
                // RFC 2131, section 3.2: the lease is still good, though nobody confirms it.
                match self.remembered.filter(|lease| lease.until > now) {
                    Some(lease) => self.keep(lease, now),
                    None => self.begin(dice),
                }
            }
            State::Rebooting(address) => self.reboot(address, now, dice),
            State::Bound | State::Renewing | State::Rebinding => self.when_bound(now, dice),
        }
    }

    /// A server's message that reached its network interface.
    pub fn hear(&mut self, answer: &Answer, promise: Option<Promise>, now: Millis, dice: &mut Dice) -> Vec<Deed> {
        if answer.xid != self.xid || answer.mac != self.mac {
            return Vec::new();
        }
        match (self.state, answer.kind) {
            (State::Selecting, OFFER) => {
                self.tries = 0;
                self.asked_at = now;
                self.state = State::Requesting(answer.yiaddr);
                self.select(answer.yiaddr, now, dice)
            }
            (State::Requesting(asked) | State::Rebooting(asked), ACK) if asked == answer.yiaddr => self.bind(answer, promise, now, dice),
            (State::Renewing | State::Rebinding, ACK) if self.lease.is_some_and(|lease| lease.address == answer.yiaddr) => {
                self.bind(answer, promise, now, dice)
            }
            (State::Requesting(_) | State::Rebooting(_) | State::Renewing | State::Rebinding, NAK) => {
                let had = self.lease.take().or(self.remembered).map(|lease| lease.address);
                if self.stage == Stage::System {
                    self.remembered = None;
                }
                let mut deeds: Vec<Deed> = had.map(|address| Deed::Leaves(self.number(), address)).into_iter().collect();
                self.state = State::Init;
                deeds.push(Deed::Wait(dice.within(SECOND, 10 * SECOND)));
                deeds
            }
            _ => Vec::new(),
        }
    }

    fn begin(&mut self, dice: &mut Dice) -> Vec<Deed> {
        self.tries = 0;
        self.lease = None;
        self.xid = u32::from_be_bytes(dice.octets());
        self.state = State::Selecting;
        self.discover(dice)
    }

    fn pause(&mut self, dice: &mut Dice) -> Vec<Deed> {
        self.state = State::Init;
        vec![Deed::Wait(dice.within(2 * HOUR, 12 * HOUR))]
    }

    fn discover(&mut self, dice: &mut Dice) -> Vec<Deed> {
        let mut message = self.message(DISCOVER);
        if let (Stage::System, Some(lease)) = (self.stage, self.remembered) {
            message = message.address(50, lease.address);
        }
        vec![Deed::Send(Purpose::Discover, Box::new(message), SendTo::Everyone), self.patience(dice)]
    }

    fn select(&mut self, address: Ipv4Addr, now: Millis, dice: &mut Dice) -> Vec<Deed> {
        if self.tries == 0 {
            self.asked_at = now;
        }
        let message = self.message(REQUEST).address(54, crate::site::SERVER).address(50, address);
        vec![Deed::Send(Purpose::Select(address), Box::new(message), SendTo::Everyone), self.patience(dice)]
    }

    fn reboot(&mut self, address: Ipv4Addr, now: Millis, dice: &mut Dice) -> Vec<Deed> {
        if self.tries == 0 {
            self.asked_at = now;
        }
        let message = self.message(REQUEST).address(50, address);
        vec![Deed::Send(Purpose::Reboot(address), Box::new(message), SendTo::Everyone), self.patience(dice)]
    }

    fn bind(&mut self, answer: &Answer, promise: Option<Promise>, now: Millis, dice: &mut Dice) -> Vec<Deed> {
        let (lease, renewal, rebinding) = answer.times().expect("the site has checked the times");
        let mut promise = promise.expect("the site knows what it has promised");
        promise.client = self.number();
        let after = |seconds: u32| self.asked_at + u64::from(seconds) * SECOND;
        let lease = Lease { address: answer.yiaddr, renew_at: after(renewal), rebind_at: after(rebinding), until: after(lease) };
        if lease.until <= now {
            return self.begin(dice);
        }
        let is_new = self.last[self.identity()] != Some(lease.address);
        if is_new && dice.once_in(500) {
            // RFC 2131, section 3.1, step 5: somebody answers ARP for it. Nothing is asked for in the next ten seconds.
            let message = self.message(DECLINE).address(50, lease.address).address(54, crate::site::SERVER);
            self.state = State::Init;
            self.lease = None;
            return vec![Deed::Send(Purpose::Decline, Box::new(message), SendTo::Everyone), Deed::Wait(10 * SECOND)];
        }
        let mut deeds = Vec::new();
        if let Some(old) = self.last[self.identity()].filter(|old| *old != lease.address) {
            deeds.push(Deed::Leaves(self.number(), old));
        }
        deeds.push(Deed::Takes(promise, lease.until));
        deeds.extend(self.keep(lease, now));
        match self.stage {
            Stage::Firmware | Stage::Ipxe => deeds.push(Deed::Wait(dice.within(3 * SECOND, 30 * SECOND))),
            Stage::System => {}
        }
        deeds
    }

    fn keep(&mut self, lease: Lease, now: Millis) -> Vec<Deed> {
        self.last[self.identity()] = Some(lease.address);
        self.lease = Some(lease);
        self.state = State::Bound;
        self.tries = 0;
        if self.stage == Stage::System {
            self.remembered = Some(lease);
        }
        vec![Deed::Wait(lease.renew_at.saturating_sub(now).max(SECOND))]
    }

    /// The next step of one who has a lease: the next stage of its boot, or a renewal, or another try of it.
    fn when_bound(&mut self, now: Millis, dice: &mut Dice) -> Vec<Deed> {
        match self.stage {
            Stage::Firmware => {
                self.stage = Stage::Ipxe;
                return self.begin(dice);
            }
            Stage::Ipxe => {
                self.stage = Stage::System;
                let Some(lease) = self.remembered.filter(|lease| lease.until > now) else { return self.begin(dice) };
                self.tries = 0;
                self.lease = None;
                self.xid = u32::from_be_bytes(dice.octets());
                self.state = State::Rebooting(lease.address);
                return self.reboot(lease.address, now, dice);
            }
            Stage::System => {}
        }
        let Some(lease) = self.lease.filter(|lease| lease.until > now) else { return self.begin(dice) };
        let state = if now < lease.rebind_at { State::Renewing } else { State::Rebinding };
        if state != self.state {
            self.state = state;
            self.asked_at = now;
            self.xid = u32::from_be_bytes(dice.octets());
        }
        let message = self.message(REQUEST).ciaddr(lease.address);
        let (purpose, to, next) = match state {
            State::Renewing => (Purpose::Renew(lease.address), SendTo::Server, lease.rebind_at),
            _ => (Purpose::Rebind(lease.address), SendTo::Everyone, lease.until),
        };
        // RFC 2131, section 4.4.5: half of what is left, but not more often than once a minute.
        let wait = (next.saturating_sub(now) / 2).max(MINUTE).min(next.saturating_sub(now).max(1));
        vec![Deed::Send(purpose, Box::new(message), to), Deed::Wait(wait)]
    }

    /// 4, 8, 16, 32 seconds, give or take one (RFC 2131, section 4.1).
    fn patience(&self, dice: &mut Dice) -> Deed {
        Deed::Wait(((4 * SECOND) << self.tries.min(4)) - SECOND + dice.below(2 * SECOND))
    }

    fn message(&self, kind: u8) -> Message {
        let mut message = Message::new(kind, self.mac, self.xid);
        if let Some(size) = self.habits.max_message_size {
            message = message.option(57, &size.to_be_bytes());
        }
        if self.habits.wants_broadcast {
            message = message.broadcast();
        }
        match self.stage {
            Stage::Firmware => message.option(60, b"PXEClient:Arch:00007:UNDI:003016").option(93, &[0, 7]).option(97, &[0; 17]),
            Stage::Ipxe => {
                let features = [0xb1, 5, 1, 2, 3, 4, 5, 0xeb, 3, 2, 0, 0, 0x14, 1, 1, 0x13, 1, 1];
                let own = [&[1], self.mac.as_slice()].concat();
                message.option(61, &own).option(77, b"iPXE").option(93, &[0, 7]).option(97, &[0; 17]).option(175, &features)
            }
            Stage::System => {
                let message = message.option(55, &[1, 3, 6, 15, 28, 42]);
                self.habits.duid.as_ref().map_or_else(|| message.clone(), |duid| message.clone().option(61, duid))
            }
        }
    }
}
