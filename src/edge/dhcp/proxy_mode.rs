//! proxyDHCP (PXE 2.1, section 2.2): the boot file, beside the server that gives the address.

use std::net::SocketAddrV4;

use super::action::{Action, Destination, DropReason};
use super::answer::outgoing;
use super::client::Stage;
use super::engine::{Engine, Exchange};
use super::explain::{NoBootReason, Source};
use super::levels::Levels;
use super::message::{Request, sub_option};
use super::option::{self, MessageType, PXE_BOOT_FROM_THIS_ANSWER, PXE_BOOT_ITEM};
use super::reply::Reply;
use super::{PXE_PORT, SERVER_PORT};
use crate::wire::uplink::SiteEventKind;

impl Engine {
    /// Answers a DISCOVER on port 67 in one step, and a REQUEST on port 4011 for clients that take the second one.
    pub(super) fn answer_as_proxy(&mut self, exchange: &Exchange<'_>) -> Result<Vec<Action>, DropReason> {
        let request = exchange.request;
        let kind = match (exchange.ingress.port, request.kind) {
            (SERVER_PORT, MessageType::Discover) => MessageType::Offer,
            (PXE_PORT, MessageType::Request | MessageType::Inform) => MessageType::Ack,
            _ => return Err(DropReason::NotServed),
        };
        let destination = destination(exchange)?;
        // Another server gives the addresses, but what is said of a subnet's machines may be said here all the same.
        let client_is_at = if request.is_relayed() { request.giaddr } else { exchange.interface.address };
        let subnet = exchange.config.subnets().iter().find(|subnet| subnet.network.value.contains(client_is_at));
        let levels = Levels::of(exchange.config, subnet, request, &exchange.client);
        levels.tell(exchange);
        let answer = self.boot_answer(exchange, &levels, true).map_err(|reason| match reason {
            NoBootReason::NotABootClient => DropReason::NotABootClient,
            NoBootReason::NotAllowed(_) => DropReason::MayNotBoot,
            NoBootReason::NoSettings | NoBootReason::NoFile | NoBootReason::NoTicket | NoBootReason::Loop => DropReason::NoBootFile,
        })?;
        let mut reply = Reply::new(kind, request, exchange.interface.address);
        reply.ciaddr = request.ciaddr;
        if exchange.client.stage != Stage::Http {
            // Without the class the offer is ignored; without the discovery control OVMF goes on to port 4011.
            reply.put(option::VENDOR_CLASS, b"PXEClient".as_slice(), Source::Boot);
            reply.put(option::VENDOR_SPECIFIC, vendor_options(exchange), Source::Boot);
        }
        answer.put(&mut reply, request, &exchange.client);
        let mut actions = vec![Action::Send(outgoing(exchange, &reply, destination))];
        let answered = exchange.report(SiteEventKind::ProxyAnswered { arch: exchange.client.arch() });
        actions.extend(answered.into_iter().chain(exchange.boot_reports(Some(&answer))).map(Action::Report));
        Ok(actions)
    }
}

/// Option 43 of an answer: the file is this answer's, and on port 4011 the item of the boot menu that the client asked for, which it
/// looks for before it takes the answer (PXE 2.1, section 2.2.3).
fn vendor_options(exchange: &Exchange<'_>) -> Vec<u8> {
    let item = boot_item(exchange.request).filter(|_| exchange.ingress.port == PXE_PORT);
    let mut options = PXE_BOOT_FROM_THIS_ANSWER.to_vec();
    if let Some(item) = item {
        options.extend_from_slice(&[PXE_BOOT_ITEM, 4]);
        options.extend_from_slice(&item);
    }
    options.push(255);
    options
}

fn boot_item(request: &Request<'_>) -> Option<[u8; 4]> {
    sub_option(request.option(option::VENDOR_SPECIFIC)?, PXE_BOOT_ITEM)?.try_into().ok()
}

fn destination(exchange: &Exchange<'_>) -> Result<Destination, DropReason> {
    let (request, source) = (exchange.request, exchange.ingress.source);
    if exchange.ingress.port == PXE_PORT {
        // The client has its address by now and asks by unicast, from port 68 or 4011. Some stacks have not bound it yet, so that
        // their datagram's source is 0.0.0.0; then it is where the message says.
        let address = if source.ip().is_unspecified() { request.ciaddr } else { *source.ip() };
        let to = SocketAddrV4::new(address, source.port());
        return if address.is_unspecified() { Err(DropReason::NoAddress) } else { Ok(Destination::Udp(to)) };
    }
    Ok(if request.is_relayed() {
        Destination::Udp(SocketAddrV4::new(request.giaddr, SERVER_PORT))
    } else {
        // We know of no address that the client is about to have, so it can't be a frame to it alone.
        Destination::Broadcast
    })
}
