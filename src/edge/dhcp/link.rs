//! The subnets on a client's link, and the address that it is offered there.
//!
//! A link has one subnet as a rule; with `shared_network` it has several, and a client is given an address of the first one that has
//! room and is for it.

use std::net::Ipv4Addr;
use std::ops::ControlFlow;

use super::action::{Action, DropReason};
use super::answer::Place;
use super::conflict::WaitsFor;
use super::engine::{Engine, Exchange};
use super::explain::{AddressReason, PassedOver, Step};
use super::levels::Levels;
use super::option::{self, MessageType};
use crate::edge::lease::{Choice, LeaseTable};

/// The subnet of the address that the request is about, when it is another one of the link than the one that the client was found on.
pub(super) fn subnet_of_its_address(exchange: &Exchange<'_>, link: &[usize]) -> Option<usize> {
    if link.len() < 2 {
        return None;
    }
    let request = exchange.request;
    let address = match request.kind {
        MessageType::Request if request.ciaddr.is_unspecified() => request.address_option(option::REQUESTED_ADDRESS)?,
        MessageType::Inform if request.ciaddr.is_unspecified() => *exchange.ingress.source.ip(),
        MessageType::Request | MessageType::Inform => request.ciaddr,
        _ => return None,
    };
    let holds = |index: &usize| exchange.config.subnets().get(*index).is_some_and(|subnet| subnet.network.value.contains(address));
    link.iter().copied().find(holds)
}

impl Place<'_> {
    /// Goes on in another subnet of the link.
    pub(super) fn go_to(&mut self, exchange: &Exchange<'_>, index: usize) {
        // Only subnets of the configuration are on a link.
        let Some(subnet) = self.levels.config().subnets().get(index).filter(|_| index != self.index) else { return };
        let (network, name) = (subnet.network, subnet.shared_network.as_ref().map(|name| name.value.clone()));
        exchange.tell(|| Step::SharedNetwork { name: name.unwrap_or_default(), network: network.value, origin: network.origin });
        (self.index, self.subnet) = (index, subnet);
        self.levels.move_to(subnet);
    }
}

impl Levels<'_> {
    /// What a request for this address waits for while it is probed.
    pub(super) fn waits_for(&self, address: Ipv4Addr) -> WaitsFor {
        if self.reserved_address() == Some(address) { WaitsFor::Reservation(address) } else { WaitsFor::Address(address) }
    }
}

impl Engine {
    /// The address for a client that has none, of the first subnet on its link that has one for it. The place is that subnet then.
    pub(super) fn choose_on_link(
        &mut self,
        exchange: &Exchange<'_>,
        place: &mut Place<'_>,
    ) -> Result<ControlFlow<Vec<Action>, Ipv4Addr>, DropReason> {
        if place.link.len() < 2 {
            return self.choose_address(exchange, place);
        }
        let mut silence = DropReason::NotPermitted;
        for index in self.in_order_of_preference(exchange, place) {
            place.go_to(exchange, index);
            let reason = match self.choose_address(exchange, place) {
                Err(DropReason::NoFreeAddress) => {
                    silence = DropReason::NoFreeAddress;
                    PassedOver::Full
                }
                Err(DropReason::NotPermitted) => PassedOver::NotPermitted,
                chosen => return chosen,
            };
            exchange.tell(|| Step::PassedOver { network: place.subnet.network.value, reason });
        }
        Err(silence)
    }

    /// The subnets of the link: where the client's reservation is, where it has or had a lease, the newest one first, what holds the
    /// address that it asks for, and then in the file's order.
    fn in_order_of_preference(&self, exchange: &Exchange<'_>, place: &Place<'_>) -> Vec<usize> {
        let request = exchange.request;
        let (reserved, wanted) = (place.levels.reserved_address(), request.address_option(option::REQUESTED_ADDRESS));
        let holds = |index: usize, address: Option<Ipv4Addr>| {
            let subnet = exchange.config.subnets().get(index);
            subnet.zip(address).is_some_and(|(subnet, address)| subnet.network.value.contains(address))
        };
        let had = |index: usize| self.tables.get(index)?.record_of(&request.client).map(|record| record.starts_at);
        let is_offered = |index: usize| self.tables.get(index).is_some_and(|table| table.is_offered(&request.client));
        let mut order: Vec<usize> = place.link.to_vec();
        // What is preferred comes first, and `false` stands before `true`. The sort keeps the file's order among equals.
        order.sort_by_cached_key(|index| {
            let had = had(*index);
            (!holds(*index, reserved), had.is_none(), std::cmp::Reverse(had), !is_offered(*index), !holds(*index, wanted))
        });
        order
    }

    /// The address for a client that has none, which is held for it from now on (RFC 2131, section 4.3.1); or what is to be done
    /// while the client waits for one to be probed.
    fn choose_address(&mut self, exchange: &Exchange<'_>, place: &Place<'_>) -> Result<ControlFlow<Vec<Action>, Ipv4Addr>, DropReason> {
        let client = &exchange.request.client;
        let (reserved, wanted) = (place.levels.reserved_address(), exchange.request.address_option(option::REQUESTED_ADDRESS));
        let holder = reserved.and_then(|reserved| self.table_at(reserved)?.record(reserved)?.hardware.mac());
        let reserved_here = reserved.filter(|reserved| place.subnet.network.value.contains(*reserved));
        let is_new = self.tables.get(place.index).is_some_and(|table| table.record_of(client).is_none());
        if is_new && self.tables.get(place.index).is_some_and(|table| !table.is_offered(client)) {
            self.make_room_for_offer();
        }
        let table = self.tables.get_mut(place.index).ok_or(DropReason::UnknownSubnet)?;
        if !place.levels.may_use_pools() && !reserved_here.is_some_and(|reserved| table.is_free_for(exchange.now, client, reserved)) {
            return Err(DropReason::NotPermitted);
        }
        let had = exchange.is_traced().then(|| table.record_of(client).map(|record| record.address)).flatten();
        let address = match table.offer(exchange.now, client, reserved_here, wanted) {
            Choice::Address(address) => address,
            Choice::NeedsProbe(address) => {
                return self.defer(exchange, place.index, place.levels.waits_for(address)).map(ControlFlow::Break);
            }
            Choice::NoneClear => return self.defer(exchange, place.index, WaitsFor::Any).map(ControlFlow::Break),
            Choice::NoneFree => return Err(DropReason::NoFreeAddress),
        };
        if let Some(reserved) = reserved.filter(|reserved| *reserved != address) {
            exchange.tell(|| Step::ReservationTaken { address: reserved, holder });
        }
        let reason = || match table.record(address) {
            _ if reserved == Some(address) => AddressReason::Reserved,
            _ if had == Some(address) => AddressReason::Held,
            _ if wanted == Some(address) => AddressReason::Requested,
            Some(_) => AddressReason::Reclaimed,
            None => AddressReason::Unused,
        };
        exchange.tell(|| Step::Address { address, reason: reason() });
        if is_new {
            self.took_from_stock(exchange.now, place.index);
        }
        Ok(ControlFlow::Continue(address))
    }

    /// Keeps the offers to clients without a lease within `limits.offers`, in all subnets together, when one more is about to be made.
    /// What is given up is the oldest of the subnet with the most, so a flood on one link takes nothing from the others.
    fn make_room_for_offer(&mut self) {
        if self.offers_left == 0 {
            let limit = self.config.general().limits.offers;
            let held = self.tables.iter().map(LeaseTable::half_open).fold(0, usize::saturating_add);
            // With many subnets a few more are given up, so that they are not counted anew for each DISCOVER of a flood.
            let spare = (self.tables.len() / 16).min(limit / 4);
            let beyond = held.saturating_add(1).saturating_sub(limit);
            let mut excess = if beyond > 0 { beyond.saturating_add(spare) } else { 0 };
            self.offers_left = limit.saturating_sub(held).saturating_add(excess);
            while excess > 0
                && let Some(fullest) = self.tables.iter_mut().max_by_key(|table| table.half_open())
                && fullest.give_up_offer()
            {
                excess = excess.saturating_sub(1);
                while excess > 0 && fullest.give_up_offer() {
                    excess = excess.saturating_sub(1);
                }
            }
        }
        self.offers_left = self.offers_left.saturating_sub(1);
    }
}
