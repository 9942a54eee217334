//! The DHCP server: RFC 2131.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::ControlFlow;
use std::time::Duration;

use super::action::{Action, Commit, Destination, DropReason, Promise, Turn};
use super::answer::{Place, begin, client_destination, outgoing, promise, put_settings, refuse};
use super::engine::{Engine, Exchange, whole_seconds};
use super::explain::{AddressReason, Step};
use super::lease_time::{LeaseTimes, default_timers};
use super::levels::Levels;
use super::link::subnet_of_its_address;
use super::option::{self, MessageType};
use super::relay::{is_us, select_subnet};
use super::reply::set_times;
use super::{CLIENT_PORT, SERVER_PORT};
use crate::clock::Timestamp;
use crate::edge::lease::{ClientId, LeaseRecord, LeaseState, host_name};
use crate::wire::uplink::SiteEventKind;

/// How long a renewal is good for while leases can't be written: short, since a crash would forget it, and long enough that
/// clients keep their addresses until someone has seen to the disk. What the disk promises already is never shortened.
pub const UNDURABLE_RENEWAL: Duration = Duration::from_secs(600);

impl Engine {
    pub(super) fn serve(&mut self, exchange: &Exchange<'_>) -> Result<Vec<Action>, DropReason> {
        let (on_link, reason) = select_subnet(exchange)?;
        let subnet = exchange.config.subnets().get(on_link).ok_or(DropReason::UnknownSubnet)?;
        let (network, origin) = (subnet.network.value, subnet.network.origin);
        exchange.tell(|| Step::Subnet { network, origin, reason });
        let link = exchange.config.link(on_link);
        let levels = Levels::on_link(exchange.config, subnet, link, exchange.request, &exchange.client);
        levels.tell(exchange);
        let mut place = Place { index: on_link, subnet, link, levels };
        if let Some(index) = subnet_of_its_address(exchange, link) {
            place.go_to(exchange, index);
        }
        self.may_answer(exchange, place.index)?;
        match exchange.request.kind {
            MessageType::Discover => self.discover(exchange, place),
            MessageType::Request => self.request(exchange, &place),
            MessageType::Decline => self.decline(exchange),
            MessageType::Release => self.release(exchange),
            MessageType::Inform => self.inform(exchange, &place),
            MessageType::Offer | MessageType::Ack | MessageType::Nak => Err(DropReason::FromServer),
        }
    }

    fn discover<'a>(&mut self, exchange: &Exchange<'a>, mut place: Place<'a>) -> Result<Vec<Action>, DropReason> {
        let address = match self.choose_on_link(exchange, &mut place)? {
            ControlFlow::Continue(address) => address,
            ControlFlow::Break(actions) => return Ok(actions),
        };
        if exchange.request.option(option::RAPID_COMMIT).is_some()
            && place.levels.first(|policy| policy.rapid_commit.as_ref()).is_some_and(|(_, rapid_commit)| rapid_commit.value)
        {
            // RFC 4039: the lease at once, as durable as any other. Its address was probed as that of an offer is.
            return self.acknowledge(exchange, &place, address);
        }
        let times = LeaseTimes::decide(&place.levels, asked_time(exchange));
        tell_times(exchange, &times);
        let boot = self.boot_answer(exchange, &place.levels, false).ok();
        let reply = promise(MessageType::Offer, exchange, &place, address, &times, boot.as_ref());
        let mut offer = outgoing(exchange, &reply, client_destination(exchange, address));
        if self.tables.get(place.index).is_some_and(|table| table.is_first_offer(address)) {
            offer.turn = Turn::FirstOffer;
        }
        Ok(vec![Action::Send(offer)])
    }

    fn request(&mut self, exchange: &Exchange<'_>, place: &Place<'_>) -> Result<Vec<Action>, DropReason> {
        let request = exchange.request;
        let wanted = request.address_option(option::REQUESTED_ADDRESS);
        match request.address_option(option::SERVER_IDENTIFIER) {
            Some(server) if !is_us(exchange, server) => {
                for index in place.link {
                    if let Some(table) = self.tables.get_mut(*index) {
                        table.withdraw_offer(&request.client);
                    }
                }
                if let Some(address) = wanted {
                    self.follow(exchange, address, LeaseTimes::decide(&place.levels, None).lease);
                }
                Err(DropReason::OtherServer)
            }
            _ if !request.ciaddr.is_unspecified() => self.renew(exchange, place, request.ciaddr),
            Some(_) => self.select(exchange, place, wanted.ok_or(DropReason::NoAddress)?),
            None => self.init_reboot(exchange, place, wanted.ok_or(DropReason::NoAddress)?),
        }
    }

    /// SELECTING: the client takes our offer (RFC 2131, section 4.3.2).
    fn select(&mut self, exchange: &Exchange<'_>, place: &Place<'_>, address: Ipv4Addr) -> Result<Vec<Action>, DropReason> {
        if self.may_have(exchange, place, address) {
            exchange.tell(|| Step::Address { address, reason: AddressReason::Requested });
            return self.acknowledge_probed(exchange, place, address);
        }
        Ok(refuse(exchange, "the address that was asked for is not free for you"))
    }

    /// INIT-REBOOT: the client remembers an address. Whoever does not know the client is silent, since another server may.
    fn init_reboot(&mut self, exchange: &Exchange<'_>, place: &Place<'_>, address: Ipv4Addr) -> Result<Vec<Action>, DropReason> {
        let client = &exchange.request.client;
        if !place.subnet.network.value.is_host(address) {
            return Ok(refuse(exchange, "the address is of another network"));
        }
        let table = self.tables.get(place.index).ok_or(DropReason::UnknownSubnet)?;
        let is_its_own = table.record(address).is_some_and(|record| record.client == *client);
        let reserved = place.levels.reserved_address();
        if (is_its_own || reserved == Some(address)) && self.may_have(exchange, place, address) {
            exchange.tell(|| Step::Address { address, reason: if is_its_own { AddressReason::Held } else { AddressReason::Reserved } });
            return self.acknowledge_probed(exchange, place, address);
        }
        if is_its_own || reserved.is_some() || self.knows(client, place.link) {
            return Ok(refuse(exchange, "the address is no longer yours"));
        }
        self.follow(exchange, address, LeaseTimes::decide(&place.levels, None).lease);
        Err(DropReason::UnknownLease)
    }

    /// RENEWING and REBINDING: the client uses the address (RFC 2131, section 4.3.2).
    fn renew(&mut self, exchange: &Exchange<'_>, place: &Place<'_>, address: Ipv4Addr) -> Result<Vec<Action>, DropReason> {
        let client = &exchange.request.client;
        if !place.subnet.network.value.is_host(address) {
            // A unicast comes from a client that was told of us; which network it is in can't be seen from here.
            let by_unicast = exchange.ingress.destination == exchange.interface.address && !exchange.request.is_relayed();
            return if by_unicast { Err(DropReason::UnknownLease) } else { Ok(refuse(exchange, "the address is of another network")) };
        }
        let table = self.tables.get(place.index).ok_or(DropReason::UnknownSubnet)?;
        match table.record(address) {
            Some(record) if record.client == *client && self.may_have(exchange, place, address) => {
                exchange.tell(|| Step::Address { address, reason: AddressReason::Extended });
                self.acknowledge(exchange, place, address)
            }
            Some(_) => Ok(refuse(exchange, "the address is not yours")),
            None => {
                self.follow(exchange, address, LeaseTimes::decide(&place.levels, None).lease);
                Err(DropReason::UnknownLease)
            }
        }
    }

    /// Whether the client has or had an address of one of these subnets.
    fn knows(&self, client: &ClientId, link: &[usize]) -> bool {
        link.iter().filter_map(|index| self.tables.get(*index)).any(|table| table.record_of(client).is_some())
    }

    /// Whether the client can be given the address now: its reservation if it has one that is free, else one of the pools that are
    /// for it.
    fn may_have(&self, exchange: &Exchange<'_>, place: &Place<'_>, address: Ipv4Addr) -> bool {
        let client = &exchange.request.client;
        let is_free = |address| self.table_at(address).is_some_and(|table| table.is_free_for(exchange.now, client, address));
        match place.levels.reserved_address().filter(|reserved| is_free(*reserved)) {
            Some(reserved) => address == reserved,
            None => {
                place.levels.may_use_pools() && self.table_at(address).is_some_and(|table| table.is_dynamic(address)) && is_free(address)
            }
        }
    }

    /// Promises the address, once a probe has shown that nobody uses it if the client was not offered it and never had it: after its
    /// offer lapsed, or when it remembers a reservation that it was given elsewhere. A renewal never waits.
    fn acknowledge_probed(&mut self, exchange: &Exchange<'_>, place: &Place<'_>, address: Ipv4Addr) -> Result<Vec<Action>, DropReason> {
        let table = self.tables.get(place.index).ok_or(DropReason::UnknownSubnet)?;
        if !table.needs_probe(exchange.now, &exchange.request.client, address) {
            return self.acknowledge(exchange, place, address);
        }
        self.defer(exchange, place.index, place.levels.waits_for(address))
    }

    /// Promises the address. The client hears of it when the record is on the disk.
    fn acknowledge(&mut self, exchange: &Exchange<'_>, place: &Place<'_>, address: Ipv4Addr) -> Result<Vec<Action>, DropReason> {
        let times = LeaseTimes::decide(&place.levels, asked_time(exchange));
        tell_times(exchange, &times);
        let boot = self.boot_answer(exchange, &place.levels, true).ok();
        let mut reply = promise(MessageType::Ack, exchange, place, address, &times, boot.as_ref());
        reply.ciaddr = exchange.request.ciaddr;
        let leased = SiteEventKind::Leased { address, seconds: times.lease, arch: exchange.client.arch() };
        let reports = exchange.report(leased).into_iter().chain(exchange.boot_reports(boot.as_ref())).collect();
        let outgoing = outgoing(exchange, &reply, client_destination(exchange, address));
        let time = Duration::from_secs(u64::from(times.lease));
        let table = self.tables.get_mut(place.index).ok_or(DropReason::UnknownSubnet)?;
        let until = exchange.now.after(time).max(promised_before(exchange, table.record(address)));
        let record = record(exchange, address, LeaseState::Bound, until);
        table.put(record.clone());
        Ok(vec![Action::Commit(Commit { record, promise: Some(Promise { outgoing, reports }) })])
    }

    /// DHCPDECLINE (RFC 2131, section 4.3.3): someone else uses the address.
    fn decline(&mut self, exchange: &Exchange<'_>) -> Result<Vec<Action>, DropReason> {
        let address = exchange.request.address_option(option::REQUESTED_ADDRESS).ok_or(DropReason::NoAddress)?;
        let quarantine = exchange.config.general().decline_quarantine;
        self.end_lease(exchange, address, LeaseState::Declined, exchange.now.after(quarantine))
    }

    /// DHCPRELEASE (RFC 2131, section 4.3.4): the client has no more use for the address.
    fn release(&mut self, exchange: &Exchange<'_>) -> Result<Vec<Action>, DropReason> {
        self.end_lease(exchange, exchange.request.ciaddr, LeaseState::Released, exchange.now)
    }

    fn end_lease(
        &mut self,
        exchange: &Exchange<'_>,
        address: Ipv4Addr,
        state: LeaseState,
        expires_at: Timestamp,
    ) -> Result<Vec<Action>, DropReason> {
        let server = exchange.request.address_option(option::SERVER_IDENTIFIER);
        if server.is_some_and(|server| !is_us(exchange, server)) {
            return Err(DropReason::OtherServer);
        }
        let table = self.table_of(address).ok_or(DropReason::UnknownLease)?;
        let holds = table.record(address).is_some_and(|held| held.client == exchange.request.client && held.state == LeaseState::Bound);
        if !holds {
            return Err(DropReason::UnknownLease);
        }
        let record = record(exchange, address, state, expires_at);
        table.put(record.clone());
        Ok(vec![Action::Commit(Commit { record, promise: None }), Action::Drop(DropReason::NoAnswerDue)])
    }

    /// DHCPINFORM (RFC 2131, section 4.3.5): everything but an address and its times.
    fn inform(&mut self, exchange: &Exchange<'_>, place: &Place<'_>) -> Result<Vec<Action>, DropReason> {
        let request = exchange.request;
        let address = if request.ciaddr.is_unspecified() { *exchange.ingress.source.ip() } else { request.ciaddr };
        let destination = match (request.is_relayed(), address.is_unspecified()) {
            (true, _) => Destination::Udp(SocketAddrV4::new(request.giaddr, SERVER_PORT)),
            (false, false) => Destination::Udp(SocketAddrV4::new(address, CLIENT_PORT)),
            (false, true) => return Err(DropReason::NoAddress),
        };
        let boot = self.boot_answer(exchange, &place.levels, true).ok();
        let mut reply = begin(MessageType::Ack, exchange);
        reply.ciaddr = request.ciaddr;
        put_settings(&mut reply, exchange, place, boot.as_ref());
        let sent = Action::Send(outgoing(exchange, &reply, destination));
        Ok(std::iter::once(sent).chain(exchange.boot_reports(boot.as_ref()).into_iter().map(Action::Report)).collect())
    }

    pub(super) fn settle_durable(&mut self, commit: Commit) -> Vec<Action> {
        let Commit { record, promise } = commit;
        let mut is_taken_back = false;
        if let Some(table) = self.table_of(record.address) {
            match table.record(record.address) {
                // A twin of this record failed and took it away: of a request that came twice within a millisecond.
                None if record.state == LeaseState::Bound => table.restore(record),
                // Given back, declined or freed by an operator since: the address may be another client's by now.
                Some(current) if current.client != record.client || current.state != LeaseState::Bound => is_taken_back = true,
                _ => table.confirm(&record),
            }
        }
        let Some(Promise { outgoing, reports }) = promise else { return Vec::new() };
        if is_taken_back {
            return vec![Action::Drop(DropReason::UnknownLease)];
        }
        std::iter::once(Action::Send(outgoing)).chain(reports.into_iter().map(Action::Report)).collect()
    }

    /// The disk did not take the record: a new lease is taken back and nothing is said; a client that has its address by the
    /// disk's own word keeps it for a while.
    pub(super) fn settle_failed(&mut self, now: Timestamp, commit: Commit) -> Vec<Action> {
        let Commit { record, promise } = commit;
        let Some(Promise { mut outgoing, reports }) = promise else { return Vec::new() };
        let Some(table) = self.table_of(record.address) else { return Vec::new() };
        let durable_until = table.durable_until(record.address);
        let is_current = table.record(record.address) == Some(&record);
        if durable_until <= now || !is_current {
            table.revoke(&record);
            return vec![Action::Drop(DropReason::NotDurable)];
        }
        let until = durable_until.max(now.after(UNDURABLE_RENEWAL).min(record.expires_at));
        table.put_undurable(LeaseRecord { expires_at: until, ..record });
        let lease = whole_seconds(until.since(now));
        let (renewal, rebinding) = default_timers(lease);
        set_times(&mut outgoing.payload, lease, renewal, rebinding);
        // That the lease is on the disk must not be reported; what else was said to the machine is true.
        let reports = reports.into_iter().filter(|report| !matches!(report.what, SiteEventKind::Leased { .. }));
        std::iter::once(Action::Send(outgoing)).chain(reports.map(Action::Report)).collect()
    }
}

/// The lease time that the client asks for (option 51).
fn asked_time(exchange: &Exchange<'_>) -> Option<u32> {
    exchange.request.option(option::LEASE_TIME).and_then(|octets| <[u8; 4]>::try_from(octets).ok()).map(u32::from_be_bytes)
}

fn tell_times(exchange: &Exchange<'_>, times: &LeaseTimes) {
    exchange.tell(|| Step::LeaseTime { seconds: times.lease, asked: asked_time(exchange), reason: times.lease_reason });
}

fn record(exchange: &Exchange<'_>, address: Ipv4Addr, state: LeaseState, expires_at: Timestamp) -> LeaseRecord {
    LeaseRecord {
        address,
        client: exchange.request.client.clone(),
        hardware: exchange.request.hardware,
        state,
        starts_at: exchange.now,
        expires_at,
        host_name: exchange.request.option(option::HOST_NAME).and_then(host_name),
    }
}

/// Until when the client may believe to have the address by what it was told before. The answer to this request may be lost, so
/// a lease time that was made shorter must not end what still counts for the client. No lease lasts longer than its own time from
/// now on, whatever the clock showed when it began.
fn promised_before(exchange: &Exchange<'_>, held: Option<&LeaseRecord>) -> Timestamp {
    held.filter(|held| held.state == LeaseState::Bound && held.client == exchange.request.client)
        .map(|held| held.expires_at.min(exchange.now.after(held.expires_at.since(held.starts_at))))
        .unwrap_or_default()
}
