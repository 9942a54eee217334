//! The DHCP server: RFC 2131.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use super::action::{Action, Commit, Destination, DropReason, Outgoing, Promise};
use super::boot_file::BootAnswer;
use super::config::Subnet;
use super::config::policy::ReservationKey;
use super::engine::{Engine, Exchange, whole_seconds};
use super::option::{self, MessageType};
use super::reply::Reply;
use super::{CLIENT_PORT, SERVER_PORT};
use crate::clock::Timestamp;
use crate::edge::lease::{LeaseRecord, LeaseState, host_name};
use crate::wire::uplink::SiteEventKind;

/// How long a renewal is good for while leases can't be written: short, since a crash would forget it, and long enough that
/// clients keep their addresses until someone has seen to the disk. What the disk promises already is never shortened.
pub const UNDURABLE_RENEWAL: Duration = Duration::from_secs(600);

/// How long nobody is given an address that a client found in use.
const QUARANTINE: Duration = Duration::from_secs(86_400);

const BROADCAST_FLAG: u16 = 0x8000;

impl Engine {
    pub(super) fn serve(&mut self, exchange: &Exchange<'_>) -> Result<Vec<Action>, DropReason> {
        let place = self.select_subnet(exchange)?;
        match exchange.request.kind {
            MessageType::Discover => self.discover(exchange, place),
            MessageType::Request => self.request(exchange, place),
            MessageType::Decline => self.decline(exchange),
            MessageType::Release => self.release(exchange),
            MessageType::Inform => self.inform(exchange, place),
            MessageType::Offer | MessageType::Ack | MessageType::Nak => Err(DropReason::FromServer),
        }
    }

    /// The subnet that the client is on: its relay's; for a client that renews by unicast, which may come through routers, its
    /// address's; else the interface's (RFC 2131, section 4.3.1).
    fn select_subnet(&self, exchange: &Exchange<'_>) -> Result<usize, DropReason> {
        let request = exchange.request;
        if request.is_relayed() {
            return self.subnet_of(request.giaddr).ok_or(DropReason::UnknownRelay);
        }
        let by_unicast = exchange.ingress.destination == exchange.interface.address;
        let by_client = Some(request.ciaddr).filter(|ciaddr| by_unicast && !ciaddr.is_unspecified());
        by_client
            .and_then(|ciaddr| self.subnet_of(ciaddr))
            .or_else(|| self.subnet_of(exchange.interface.address))
            .ok_or(DropReason::NotServed)
    }

    fn discover(&mut self, exchange: &Exchange<'_>, place: usize) -> Result<Vec<Action>, DropReason> {
        let (config, request) = (Arc::clone(&self.config), exchange.request);
        let subnet = config.subnets().get(place).ok_or(DropReason::NotServed)?;
        let table = self.tables.get_mut(place).ok_or(DropReason::NotServed)?;
        let fixed = reservation(subnet, exchange);
        let wanted = request.address_option(option::REQUESTED_ADDRESS);
        let address = table.offer(exchange.now, &request.client, fixed, wanted).address().ok_or(DropReason::NoFreeAddress)?;
        let settings = self.boot_settings();
        let answer = settings.as_deref().and_then(|settings| self.boot_answer(exchange, settings, false));
        let reply = promise(MessageType::Offer, exchange, subnet, address, answer.as_ref());
        Ok(vec![Action::Send(outgoing(exchange, &reply, client_destination(exchange, address)))])
    }

    fn request(&mut self, exchange: &Exchange<'_>, place: usize) -> Result<Vec<Action>, DropReason> {
        let request = exchange.request;
        let wanted = request.address_option(option::REQUESTED_ADDRESS);
        match request.address_option(option::SERVER_IDENTIFIER) {
            Some(server) if server != exchange.interface.address => {
                if let Some(table) = self.tables.get_mut(place) {
                    table.withdraw_offer(&request.client);
                }
                Err(DropReason::OtherServer)
            }
            _ if !request.ciaddr.is_unspecified() => self.renew(exchange, place, request.ciaddr),
            Some(_) => self.select(exchange, place, wanted.ok_or(DropReason::NoAddress)?),
            None => self.init_reboot(exchange, place, wanted.ok_or(DropReason::NoAddress)?),
        }
    }

    /// SELECTING: the client takes our offer (RFC 2131, section 4.3.2).
    fn select(&mut self, exchange: &Exchange<'_>, place: usize, address: Ipv4Addr) -> Result<Vec<Action>, DropReason> {
        if self.may_have(exchange, place, address) {
            return self.acknowledge(exchange, place, address);
        }
        Ok(refuse(exchange, "the address that was asked for is not free for you"))
    }

    /// INIT-REBOOT: the client remembers an address. Whoever does not know the client is silent, since another server may.
    fn init_reboot(&mut self, exchange: &Exchange<'_>, place: usize, address: Ipv4Addr) -> Result<Vec<Action>, DropReason> {
        let (config, client) = (Arc::clone(&self.config), &exchange.request.client);
        let subnet = config.subnets().get(place).ok_or(DropReason::NotServed)?;
        if !subnet.network.value.is_host(address) {
            return Ok(refuse(exchange, "the address is of another network"));
        }
        let table = self.tables.get(place).ok_or(DropReason::NotServed)?;
        let is_its_own = table.record(address).is_some_and(|record| record.client == *client);
        let reserved = reservation(subnet, exchange);
        if (is_its_own || reserved == Some(address)) && self.may_have(exchange, place, address) {
            return self.acknowledge(exchange, place, address);
        }
        if is_its_own || reserved.is_some() || table.record_of(client).is_some() {
            return Ok(refuse(exchange, "the address is no longer yours"));
        }
        Err(DropReason::UnknownLease)
    }

    /// RENEWING and REBINDING: the client uses the address (RFC 2131, section 4.3.2).
    fn renew(&mut self, exchange: &Exchange<'_>, place: usize, address: Ipv4Addr) -> Result<Vec<Action>, DropReason> {
        let (config, client) = (Arc::clone(&self.config), &exchange.request.client);
        let subnet = config.subnets().get(place).ok_or(DropReason::NotServed)?;
        if !subnet.network.value.is_host(address) {
            // A unicast comes from a client that was told of us; which network it is in can't be seen from here.
            let by_unicast = exchange.ingress.destination == exchange.interface.address && !exchange.request.is_relayed();
            return if by_unicast { Err(DropReason::UnknownLease) } else { Ok(refuse(exchange, "the address is of another network")) };
        }
        let table = self.tables.get(place).ok_or(DropReason::NotServed)?;
        match table.record(address) {
            Some(record) if record.client == *client && self.may_have(exchange, place, address) => {
                self.acknowledge(exchange, place, address)
            }
            Some(_) => Ok(refuse(exchange, "the address is not yours")),
            None => Err(DropReason::UnknownLease),
        }
    }

    /// Whether the client can be given the address now: its reservation if it has one that is free, else one of the pools.
    fn may_have(&self, exchange: &Exchange<'_>, place: usize, address: Ipv4Addr) -> bool {
        let (Some(subnet), Some(table)) = (self.config.subnets().get(place), self.tables.get(place)) else { return false };
        let is_free = |address| table.is_free_for(exchange.now, &exchange.request.client, address);
        match reservation(subnet, exchange).filter(|reserved| is_free(*reserved)) {
            Some(reserved) => address == reserved,
            None => table.is_dynamic(address) && is_free(address),
        }
    }

    /// Promises the address. The client hears of it when the record is on the disk.
    fn acknowledge(&mut self, exchange: &Exchange<'_>, place: usize, address: Ipv4Addr) -> Result<Vec<Action>, DropReason> {
        let config = Arc::clone(&self.config);
        let subnet = config.subnets().get(place).ok_or(DropReason::NotServed)?;
        let settings = self.boot_settings();
        let answer = settings.as_deref().and_then(|settings| self.boot_answer(exchange, settings, true));
        let mut reply = promise(MessageType::Ack, exchange, subnet, address, answer.as_ref());
        reply.ciaddr = exchange.request.ciaddr;
        let leased = SiteEventKind::Leased { address, seconds: lease_time(subnet), arch: exchange.client.arch() };
        let reports = exchange.report(leased).into_iter().chain(exchange.boot_reports(answer.as_ref())).collect();
        let outgoing = outgoing(exchange, &reply, client_destination(exchange, address));
        let time = Duration::from_secs(u64::from(lease_time(subnet)));
        let record = record(exchange, address, LeaseState::Bound, exchange.now.after(time));
        let table = self.tables.get_mut(place).ok_or(DropReason::NotServed)?;
        table.put(record.clone());
        Ok(vec![Action::Commit(Commit { record, promise: Some(Promise { reply, outgoing, reports }) })])
    }

    /// DHCPDECLINE (RFC 2131, section 4.3.3): someone else uses the address.
    fn decline(&mut self, exchange: &Exchange<'_>) -> Result<Vec<Action>, DropReason> {
        let address = exchange.request.address_option(option::REQUESTED_ADDRESS).ok_or(DropReason::NoAddress)?;
        self.end_lease(exchange, address, LeaseState::Declined, exchange.now.after(QUARANTINE))
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
        if server.is_some_and(|server| server != exchange.interface.address) {
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
    fn inform(&self, exchange: &Exchange<'_>, place: usize) -> Result<Vec<Action>, DropReason> {
        let request = exchange.request;
        let subnet = self.config.subnets().get(place).ok_or(DropReason::NotServed)?;
        let address = if request.ciaddr.is_unspecified() { *exchange.ingress.source.ip() } else { request.ciaddr };
        let destination = match (request.is_relayed(), address.is_unspecified()) {
            (true, _) => Destination::Udp(SocketAddrV4::new(request.giaddr, SERVER_PORT)),
            (false, false) => Destination::Udp(SocketAddrV4::new(address, CLIENT_PORT)),
            (false, true) => return Err(DropReason::NoAddress),
        };
        let settings = self.boot_settings();
        let answer = settings.as_deref().and_then(|settings| self.boot_answer(exchange, settings, true));
        let mut reply = Reply::new(MessageType::Ack, request, exchange.interface.address);
        reply.ciaddr = request.ciaddr;
        put_settings(&mut reply, exchange, subnet, answer.as_ref());
        let sent = Action::Send(outgoing(exchange, &reply, destination));
        Ok(std::iter::once(sent).chain(exchange.boot_reports(answer.as_ref()).into_iter().map(Action::Report)).collect())
    }

    pub(super) fn settle_durable(&mut self, commit: Commit) -> Vec<Action> {
        if let Some(table) = self.table_of(commit.record.address) {
            table.confirm(&commit.record);
        }
        let Some(Promise { outgoing, reports, .. }) = commit.promise else { return Vec::new() };
        std::iter::once(Action::Send(outgoing)).chain(reports.into_iter().map(Action::Report)).collect()
    }

    /// The disk did not take the record: a new lease is taken back and nothing is said; a client that has its address by the
    /// disk's own word keeps it for a while.
    pub(super) fn settle_failed(&mut self, now: Timestamp, commit: Commit) -> Vec<Action> {
        let Commit { record, promise } = commit;
        let Some(Promise { mut reply, mut outgoing, reports }) = promise else { return Vec::new() };
        let Some(table) = self.table_of(record.address) else { return Vec::new() };
        let durable_until = table.durable_until(record.address);
        let is_current = table.record(record.address) == Some(&record);
        if durable_until <= now || !is_current {
            table.revoke(&record);
            return vec![Action::Drop(DropReason::NotDurable)];
        }
        let until = durable_until.max(now.after(UNDURABLE_RENEWAL).min(record.expires_at));
        table.put(LeaseRecord { expires_at: until, ..record });
        put_times(&mut reply, whole_seconds(until.since(now)));
        outgoing.payload = reply.encode();
        // That the lease is on the disk must not be reported; what else was said to the machine is true.
        let reports = reports.into_iter().filter(|report| !matches!(report.what, SiteEventKind::Leased { .. }));
        std::iter::once(Action::Send(outgoing)).chain(reports.map(Action::Report)).collect()
    }
}

fn reservation(subnet: &Subnet, exchange: &Exchange<'_>) -> Option<Ipv4Addr> {
    subnet.reservation(&ReservationKey::Mac(exchange.client.mac?)).map(|reservation| reservation.address.value)
}

fn lease_time(subnet: &Subnet) -> u32 {
    subnet.policy.times.default.map_or(3600, |time| time.value)
}

fn record(exchange: &Exchange<'_>, address: Ipv4Addr, state: LeaseState, expires_at: Timestamp) -> LeaseRecord {
    LeaseRecord {
        address,
        client: exchange.request.client.clone(),
        hardware: exchange.request.hardware.clone(),
        state,
        starts_at: exchange.now,
        expires_at,
        host_name: exchange.request.option(option::HOST_NAME).and_then(host_name),
    }
}

/// An OFFER or an ACK of the address.
fn promise(kind: MessageType, exchange: &Exchange<'_>, subnet: &Subnet, address: Ipv4Addr, answer: Option<&BootAnswer<'_>>) -> Reply {
    let mut reply = Reply::new(kind, exchange.request, exchange.interface.address);
    reply.yiaddr = address;
    put_times(&mut reply, lease_time(subnet));
    put_settings(&mut reply, exchange, subnet, answer);
    reply
}

/// Lease time, T1 at a half and T2 at seven eighths of it (RFC 2131, section 4.4.5).
fn put_times(reply: &mut Reply, seconds: u32) {
    reply.put(option::LEASE_TIME, &seconds.to_be_bytes());
    reply.put(option::RENEWAL_TIME, &(seconds / 2).to_be_bytes());
    reply.put(option::REBINDING_TIME, &seconds.saturating_sub(seconds / 8).to_be_bytes());
}

/// What to boot, and what the subnet says, in the order in which the client asks for it (RFC 2132, section 9.8).
fn put_settings(reply: &mut Reply, exchange: &Exchange<'_>, subnet: &Subnet, answer: Option<&BootAnswer<'_>>) {
    // RFC 2132, section 3.3: the mask stands before the router.
    const WITHOUT_A_LIST: [u8; 6] =
        [option::SUBNET_MASK, option::ROUTERS, option::DNS_SERVERS, option::DOMAIN_NAME, option::BROADCAST_ADDRESS, option::NTP_SERVERS];
    reply.put(option::SUBNET_MASK, &subnet.network.value.mask().octets());
    if let Some(answer) = answer {
        answer.put(reply, exchange.request, &exchange.client);
    }
    for code in exchange.request.option(option::PARAMETER_REQUEST_LIST).unwrap_or(&WITHOUT_A_LIST) {
        if *code == option::BROADCAST_ADDRESS {
            reply.put(*code, &subnet.network.value.broadcast().octets());
        } else if let Some(found) = subnet.policy.options.find(*code) {
            reply.put(*code, &found.octets);
        }
    }
}

/// DHCPNAK: to everyone on the client's segment, since the address that it has may be wrong there (RFC 2131, section 4.3.2).
fn refuse(exchange: &Exchange<'_>, why: &str) -> Vec<Action> {
    let request = exchange.request;
    let mut reply = Reply::new(MessageType::Nak, request, exchange.interface.address);
    reply.put(option::MESSAGE, why.as_bytes());
    let destination = if request.is_relayed() {
        reply.flags |= BROADCAST_FLAG;
        Destination::Udp(SocketAddrV4::new(request.giaddr, SERVER_PORT))
    } else {
        Destination::Broadcast
    };
    vec![Action::Send(outgoing(exchange, &reply, destination))]
}

fn outgoing(exchange: &Exchange<'_>, reply: &Reply, destination: Destination) -> Outgoing {
    Outgoing { interface: exchange.ingress.interface, from_port: SERVER_PORT, destination, payload: reply.encode() }
}

/// Where an OFFER or an ACK goes (RFC 2131, section 4.1).
fn client_destination(exchange: &Exchange<'_>, address: Ipv4Addr) -> Destination {
    let request = exchange.request;
    if request.is_relayed() {
        return Destination::Udp(SocketAddrV4::new(request.giaddr, SERVER_PORT));
    }
    if !request.ciaddr.is_unspecified() {
        return Destination::Udp(SocketAddrV4::new(request.ciaddr, CLIENT_PORT));
    }
    match exchange.client.mac {
        Some(mac) if !request.wants_broadcast() => Destination::Frame { address, mac },
        _ => Destination::Broadcast,
    }
}
