//! What stands in an answer besides the address: times, what to boot, and the options that are configured.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::action::{Action, Destination, Outgoing, Turn};
use super::boot_file::BootAnswer;
use super::client::Stage;
use super::config::Subnet;
use super::engine::Exchange;
use super::explain::{Source, Step};
use super::host_name::{put_fqdn, put_host_name};
use super::lease_time::LeaseTimes;
use super::levels::Levels;
use super::option::{self, MessageType};
use super::relay::server_identifier;
use super::reply::Reply;
use super::{CLIENT_PORT, SERVER_PORT};

const BROADCAST_FLAG: u16 = 0x8000;

/// The subnet in which a request is decided, and what is said of its client there.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// Its place in the configuration.
    pub(super) index: usize,
    pub(super) subnet: &'a Subnet,
    /// The subnets of the client's link, this one among them, by their places.
    pub(super) link: &'a [usize],
    pub(super) levels: Levels<'a>,
}

/// An OFFER or an ACK of the address.
pub(super) fn promise<'a>(
    kind: MessageType,
    exchange: &Exchange<'a>,
    place: &Place<'a>,
    address: Ipv4Addr,
    times: &LeaseTimes,
    boot: Option<&'a BootAnswer>,
) -> Reply<'a> {
    let mut reply = begin(kind, exchange);
    reply.yiaddr = address;
    if kind == MessageType::Ack && exchange.request.kind == MessageType::Discover {
        // RFC 4039, section 3.1: by it the client knows that it need not ask again.
        reply.put(option::RAPID_COMMIT, [].as_slice(), Source::Protocol);
    }
    put_times(&mut reply, exchange, times);
    put_settings(&mut reply, exchange, place, boot);
    reply
}

/// An answer of this kind, with what every answer has.
pub(super) fn begin<'a>(kind: MessageType, exchange: &Exchange<'a>) -> Reply<'a> {
    Reply::new(kind, exchange.request, server_identifier(exchange.request, exchange.interface))
}

/// Lease time, T1 and T2, in front of all that can be left out.
fn put_times(reply: &mut Reply<'_>, exchange: &Exchange<'_>, times: &LeaseTimes) {
    reply.put(option::LEASE_TIME, times.lease, Source::Protocol);
    for (code, (seconds, source)) in [(option::RENEWAL_TIME, times.renewal), (option::REBINDING_TIME, times.rebinding)] {
        reply.put(code, seconds, source);
        exchange.tell(|| Step::Timer { code, seconds, source });
    }
}

/// What to boot, and what is configured, in the order in which the client asks for it (RFC 2132, section 9.8); behind that what is
/// sent unasked.
pub(super) fn put_settings<'a>(reply: &mut Reply<'a>, exchange: &Exchange<'a>, place: &Place<'a>, boot: Option<&'a BootAnswer>) {
    let (request, levels) = (exchange.request, &place.levels);
    // RFC 2132, section 3.3: the mask stands before the router.
    reply.put(option::SUBNET_MASK, place.subnet.network.value.mask(), Source::Network);
    reply.reads_overload = exchange.client.reads_overload(request);
    if let Some(answer) = boot {
        answer.put(reply, request, &exchange.client);
    }
    put_fqdn(reply, request, levels);
    match request.option(option::PARAMETER_REQUEST_LIST) {
        Some(list) => {
            for code in list {
                put_option(reply, exchange, place, *code);
            }
        }
        None => put_all(reply, exchange, place),
    }
    for (_, policy) in levels.policies() {
        for always in policy.always_send.iter().filter(|always| !needs_to_be_asked(always.value)) {
            put_option(reply, exchange, place, always.value);
        }
    }
}

/// All that is configured, for a client without a list: what most need first.
fn put_all<'a>(reply: &mut Reply<'a>, exchange: &Exchange<'a>, place: &Place<'a>) {
    const FIRST: [u8; 6] =
        [option::ROUTERS, option::DNS_SERVERS, option::HOST_NAME, option::DOMAIN_NAME, option::BROADCAST_ADDRESS, option::NTP_SERVERS];
    for code in FIRST {
        put_option(reply, exchange, place, code);
    }
    for (_, policy) in place.levels.policies() {
        for value in policy.options.iter().filter(|value| !needs_to_be_asked(value.code)) {
            put_option(reply, exchange, place, value.code);
        }
    }
}

/// RFC 8925, section 3.3: a client that did not ask for this option must not get it, since it would lose IPv4.
const fn needs_to_be_asked(code: u8) -> bool {
    code == option::IPV6_ONLY_PREFERRED
}

fn put_option<'a>(reply: &mut Reply<'a>, exchange: &Exchange<'a>, place: &Place<'a>, code: u8) {
    match code {
        option::BROADCAST_ADDRESS => reply.put(code, place.subnet.network.value.broadcast(), Source::Network),
        // Firmware takes these for a word on its boot, which is decided elsewhere: the wrong class alone sends OVMF to port 4011.
        option::VENDOR_CLASS | option::VENDOR_SPECIFIC if exchange.client.stage != Stage::System => {}
        option::TFTP_SERVER | option::BOOT_FILE | option::TFTP_SERVER_ADDRESS
            if exchange.client.stage != Stage::System || !may_boot(&place.levels) => {}
        option::ROOT_PATH if !may_boot(&place.levels) => {}
        option::HOST_NAME => {
            put_host_name(reply, &place.levels);
            put_configured(reply, &place.levels, code);
        }
        _ => put_configured(reply, &place.levels, code),
    }
}

fn may_boot(levels: &Levels<'_>) -> bool {
    levels.may_boot().is_none_or(|(_, may_boot)| may_boot.value)
}

fn put_configured<'a>(reply: &mut Reply<'a>, levels: &Levels<'a>, code: u8) {
    if let Some((level, value)) = levels.option(code) {
        reply.put(code, value.octets.as_slice(), Source::Configured(level, value.origin));
    }
}

/// DHCPNAK: to everyone on the client's segment, since the address that it has may be wrong there (RFC 2131, section 4.3.2).
pub(super) fn refuse(exchange: &Exchange<'_>, why: &'static str) -> Vec<Action> {
    exchange.tell(|| Step::Refused { reason: why });
    let request = exchange.request;
    let mut reply = begin(MessageType::Nak, exchange);
    reply.put(option::MESSAGE, why.as_bytes(), Source::Protocol);
    let destination = if request.is_relayed() {
        reply.flags |= BROADCAST_FLAG;
        Destination::Udp(SocketAddrV4::new(request.giaddr, SERVER_PORT))
    } else {
        Destination::Broadcast
    };
    vec![Action::Send(outgoing(exchange, &reply, destination))]
}

pub(super) fn outgoing(exchange: &Exchange<'_>, reply: &Reply<'_>, destination: Destination) -> Outgoing {
    for item in reply.options() {
        exchange.tell(|| Step::Option { code: item.code, octets: item.octets().to_vec(), source: item.source });
    }
    let payload = reply.encode(|code| {
        tracing::debug!(option = code, kind = reply.kind().name(), "an option does not fit the client's message size and is left out");
        exchange.tell(|| Step::LeftOut { code });
    });
    let turn = if reply.kind() == MessageType::Ack { Turn::Acknowledgement } else { Turn::Answer };
    Outgoing { interface: exchange.ingress.interface, from_port: exchange.ingress.port, destination, payload, turn }
}

/// Where an OFFER or an ACK goes (RFC 2131, section 4.1).
pub(super) fn client_destination(exchange: &Exchange<'_>, address: Ipv4Addr) -> Destination {
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
