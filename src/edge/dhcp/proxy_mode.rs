//! proxyDHCP (PXE 2.1, section 2.2): the boot file, beside the server that gives the address.

use std::net::SocketAddrV4;

use super::action::{Action, Destination, DropReason, Outgoing};
use super::client::Stage;
use super::engine::{Engine, Exchange};
use super::option::{self, MessageType, PXE_BOOT_FROM_THIS_ANSWER};
use super::reply::Reply;
use super::{PXE_PORT, SERVER_PORT};
use crate::wire::uplink::SiteEventKind;

impl Engine {
    /// Answers a DISCOVER on port 67 in one step, and a REQUEST on port 4011 for clients that take the second one.
    pub(super) fn answer_as_proxy(&self, exchange: &Exchange<'_>) -> Result<Vec<Action>, DropReason> {
        let request = exchange.request;
        let kind = match (exchange.ingress.port, request.kind) {
            (SERVER_PORT, MessageType::Discover) => MessageType::Offer,
            (PXE_PORT, MessageType::Request | MessageType::Inform) => MessageType::Ack,
            _ => return Err(DropReason::NotServed),
        };
        if exchange.client.stage == Stage::System {
            return Err(DropReason::NotABootClient);
        }
        let settings = self.boot_settings().ok_or(DropReason::NoBootFile)?;
        let destination = destination(exchange)?;
        let answer = self.boot_answer(exchange, &settings, true).ok_or(DropReason::NoBootFile)?;
        let mut reply = Reply::new(kind, request, exchange.interface.address);
        reply.ciaddr = request.ciaddr;
        if exchange.client.stage != Stage::Http {
            // Without the class the offer is ignored; without the discovery control OVMF goes on to port 4011.
            reply.put(option::VENDOR_CLASS, b"PXEClient");
            reply.put(option::VENDOR_SPECIFIC, &PXE_BOOT_FROM_THIS_ANSWER);
        }
        answer.put(&mut reply, request, &exchange.client);
        let mut actions = vec![Action::Send(Outgoing {
            interface: exchange.ingress.interface,
            from_port: exchange.ingress.port,
            destination,
            payload: reply.encode(),
        })];
        let answered = exchange.report(SiteEventKind::ProxyAnswered { arch: exchange.client.arch() });
        actions.extend(answered.into_iter().chain(exchange.boot_reports(Some(&answer))).map(Action::Report));
        Ok(actions)
    }
}

fn destination(exchange: &Exchange<'_>) -> Result<Destination, DropReason> {
    let request = exchange.request;
    if exchange.ingress.port == PXE_PORT {
        // The client has its address by now and asks by unicast, from port 68 or 4011.
        let source = exchange.ingress.source;
        return if source.ip().is_unspecified() { Err(DropReason::NoAddress) } else { Ok(Destination::Udp(source)) };
    }
    Ok(if request.is_relayed() {
        Destination::Udp(SocketAddrV4::new(request.giaddr, SERVER_PORT))
    } else {
        // We know of no address that the client is about to have, so it can't be a frame to it alone.
        Destination::Broadcast
    })
}
