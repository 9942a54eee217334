//! Which parts of the configuration hold for a request, and which of them decides.

use std::net::Ipv4Addr;

use super::client::Client;
use super::config::options::OptionValue;
use super::config::policy::{Class, Matcher, Pattern, Policy, Reservation, ReservationKey, Sourced};
use super::config::{DhcpConfig, Subnet};
use super::engine::Exchange;
use super::explain::{Level, Step};
use super::message::Request;
use super::option;

/// The levels that hold for one request. The first that says something about a thing decides it: reservation, the classes in the
/// file's order, subnet, `[dhcp]`.
#[derive(Debug)]
pub(super) struct Levels<'a> {
    pub(super) reservation: Option<&'a Reservation>,
    pub(super) classes: Vec<&'a Class>,
    subnet: Option<&'a Subnet>,
    config: &'a DhcpConfig,
}

impl<'a> Levels<'a> {
    pub(super) fn of(config: &'a DhcpConfig, subnet: Option<&'a Subnet>, request: &Request<'_>, client: &Client) -> Self {
        let classes = config.classes().iter().filter(|class| class.matcher.matches(request, client));
        Self {
            reservation: subnet.and_then(|subnet| find_reservation(subnet, request, client)),
            // An iterator that yields nothing takes no memory.
            classes: classes.collect(),
            subnet,
            config,
        }
    }

    /// The levels for a client on a link with these subnets, of which `subnet` is one: a reservation in any of them counts.
    pub(super) fn on_link(config: &'a DhcpConfig, subnet: &'a Subnet, link: &[usize], request: &Request<'_>, client: &Client) -> Self {
        let mut levels = Self::of(config, Some(subnet), request, client);
        if levels.reservation.is_none() && link.len() > 1 {
            let mut others = link.iter().filter_map(|index| config.subnets().get(*index));
            levels.reservation = others.find_map(|other| find_reservation(other, request, client));
        }
        levels
    }

    /// Decides by another subnet of the link from here on.
    pub(super) const fn move_to(&mut self, subnet: &'a Subnet) {
        self.subnet = Some(subnet);
    }

    pub(super) const fn config(&self) -> &'a DhcpConfig {
        self.config
    }

    /// Whether the subnet's pools are for the client: it names no classes, or one that the client is in.
    pub(super) fn may_use_pools(&self) -> bool {
        let is_in = |name: &str| self.classes.iter().any(|class| class.name.value == name);
        self.subnet.is_none_or(|subnet| subnet.classes.is_empty() || subnet.classes.iter().any(|class| is_in(&class.value)))
    }

    /// Tells which levels hold for the client.
    pub(super) fn tell(&self, exchange: &Exchange<'_>) {
        if let Some(Reservation { key, address, .. }) = self.reservation {
            exchange.tell(|| Step::Reservation { key: key.clone(), address: address.value, origin: address.origin });
        }
        for class in &self.classes {
            exchange.tell(|| Step::Class { name: class.name.value.clone(), origin: class.name.origin });
        }
    }

    /// The levels' policies, the one that decides first.
    pub(super) fn policies(&self) -> impl Iterator<Item = (Level, &'a Policy)> {
        let reservation = self.reservation.map(|reservation| (Level::Reservation, &reservation.policy));
        let classes = self.classes.iter().map(|class| (Level::Class, &class.policy));
        let subnet = self.subnet.map(|subnet| (Level::Subnet, &subnet.policy));
        reservation.into_iter().chain(classes).chain(subnet).chain([(Level::General, &self.config.general().policy)])
    }

    /// What the first level that says something says.
    pub(super) fn first<T>(&self, said: impl Fn(&'a Policy) -> Option<&'a Sourced<T>>) -> Option<(Level, &'a Sourced<T>)> {
        self.policies().find_map(|(level, policy)| Some((level, said(policy)?)))
    }

    /// The value of an option.
    pub(super) fn option(&self, code: u8) -> Option<(Level, &'a OptionValue)> {
        self.policies().find_map(|(level, policy)| Some((level, policy.options.find(code)?)))
    }

    /// Whether the machine may boot from the network, as far as anybody says.
    pub(super) fn may_boot(&self) -> Option<(Level, Sourced<bool>)> {
        self.first(|policy| policy.boot.as_ref()).map(|(level, said)| (level, *said))
    }

    /// The address that is kept for the client.
    pub(super) fn reserved_address(&self) -> Option<Ipv4Addr> {
        self.reservation.map(|reservation| reservation.address.value)
    }
}

/// A machine may be known by several things; the first of these that has a reservation counts: the client identifier, since it is what
/// RFC 2131 tells clients apart by, the hardware address, the UUID, and last the relay's port, which says where a machine is and not
/// which.
fn find_reservation<'a>(subnet: &'a Subnet, request: &Request<'_>, client: &Client) -> Option<&'a Reservation> {
    if subnet.reservations().is_empty() {
        return None;
    }
    let by_identifier = |octets: &[u8]| subnet.reservation(&ReservationKey::ClientId(octets.to_vec()));
    let identifier = request.client.octets();
    by_identifier(identifier)
        // Identifiers that are text stand behind a type of 0 (RFC 2132, section 9.14), or bare.
        .or_else(|| by_identifier(identifier.strip_prefix(&[0])?))
        .or_else(|| subnet.reservation(&ReservationKey::Mac(client.mac?)))
        .or_else(|| subnet.reservation(&ReservationKey::Uuid(client.uuid.filter(|uuid| uuid.is_identity())?)))
        .or_else(|| subnet.reservation(&ReservationKey::CircuitId(request.circuit_id()?.to_vec())))
}

impl Matcher {
    /// Whether the client is in the class: something fits in each list that is not empty.
    fn matches(&self, request: &Request<'_>, client: &Client) -> bool {
        fits(&self.arch, |arch| client.archs.contains(arch))
            && fits(&self.vendor_class, |pattern| request.option(option::VENDOR_CLASS).is_some_and(|class| fits_text(pattern, class)))
            && fits(&self.user_class, |pattern| user_classes(request).any(|class| fits_text(pattern, class)))
            && fits(&self.mac_prefix, |prefix| request.hardware.octets().starts_with(prefix))
            && fits(&self.relay, |network| request.is_relayed() && network.contains(request.giaddr))
    }
}

fn fits<T>(list: &[T], fits: impl Fn(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(fits)
}

/// Some clients end the text with a zero, against RFC 2132, section 2.
fn fits_text(pattern: &Pattern, octets: &[u8]) -> bool {
    pattern.matches(octets) || octets.strip_suffix(&[0]).is_some_and(|octets| pattern.matches(octets))
}

/// The user classes of a request: those of RFC 3004's list, where each has its length in front, and the whole as it stands, since PXE
/// clients and iPXE send one bare text.
pub(super) fn user_classes<'r>(request: &'r Request<'_>) -> impl Iterator<Item = &'r [u8]> {
    let whole = request.option(option::USER_CLASS);
    let mut rest = whole.filter(|octets| is_list(octets)).unwrap_or_default();
    let listed = std::iter::from_fn(move || {
        let (length, after) = rest.split_first()?;
        let (class, after) = after.split_at_checked(usize::from(*length))?;
        rest = after;
        Some(class)
    });
    whole.into_iter().chain(listed)
}

fn is_list(mut octets: &[u8]) -> bool {
    while let Some((length, rest)) = octets.split_first() {
        let Some((_, rest)) = rest.split_at_checked(usize::from(*length)) else { return false };
        octets = rest;
    }
    true
}
