//! A server that answers nothing and tells what it would have said.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::action::{Action, DropReason, Fresh, Ingress, InterfaceId, Outcome};
use super::engine::{Engine, Exchange};
use super::message::Request;
use crate::clock::Timestamp;
use crate::edge::lease::{HardwareAddress, LeaseRecord, LeaseState};

/// What a server would have done about a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Where it came in.
    pub interface: InterfaceId,
    /// Who sent it.
    pub client: HardwareAddress,
    /// What it asks: `DISCOVER` and the like.
    pub message: &'static str,
    /// What a server would have done.
    pub would: Would,
}

/// What a server would have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Would {
    /// It would have answered.
    Answer {
        /// `OFFER`, `ACK` or `NAK`.
        message: &'static str,
        /// The address that the client would have been given.
        address: Option<Ipv4Addr>,
        /// The boot file that it would have been named.
        file: Option<String>,
    },
    /// It would have been silent.
    Silence(DropReason),
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: would ", self.message, self.client)?;
        match &self.would {
            Would::Answer { message, address, file } => {
                write!(f, "send {message}")?;
                if let Some(address) = address {
                    write!(f, " of {address}")?;
                }
                file.as_ref().map_or(Ok(()), |file| write!(f, ", to boot {file}"))
            }
            Would::Silence(reason) => write!(f, "be silent: {reason}"),
        }
    }
}

impl Engine {
    /// Lets the shadow decide, a server whose leases are in memory only, and tells what it would have done.
    pub(super) fn observe(
        &mut self,
        now: Timestamp,
        ingress: &Ingress,
        request: &Request<'_>,
        datagram: &[u8],
        fresh: Fresh,
    ) -> Vec<Action> {
        let (interface, client, message) = (ingress.interface, request.hardware, request.kind.name());
        let told = |would| Action::Observed(Observation { interface, client, message, would });
        let shadow = self.shadow();
        let mut observed = Vec::new();
        for action in shadow.handle_to_the_end(now, ingress, datagram, fresh) {
            match action {
                Action::Send(outgoing) => observed.push(told(read_answer(&outgoing.payload))),
                // A RELEASE or a DECLINE was taken note of.
                Action::Drop(DropReason::NoAnswerDue) => {}
                Action::Drop(reason) => observed.push(told(Would::Silence(reason))),
                action @ Action::Observed(_) => observed.push(action),
                // Nothing is written or asked, and no machine did anything by our word that could be reported.
                Action::Commit(_) | Action::Report(_) | Action::Probe(_) | Action::LookForServers { .. } => {}
            }
        }
        observed
    }

    /// The server that decides on interfaces where nothing is sent.
    pub(super) fn shadow(&mut self) -> &mut Self {
        let (config, boot) = (&self.config, &self.boot);
        self.shadow.get_or_insert_with(|| {
            let mut shadow = Self::new(Arc::clone(config), Vec::new());
            shadow.is_shadow = true;
            shadow.boot.clone_from(boot);
            Box::new(shadow)
        })
    }

    /// Decides about a datagram as if the disk took every record at once.
    pub(super) fn handle_to_the_end(&mut self, now: Timestamp, ingress: &Ingress, datagram: &[u8], fresh: Fresh) -> Vec<Action> {
        let mut ended = Vec::new();
        for action in self.handle(now, ingress, datagram, fresh) {
            match action {
                Action::Commit(commit) => ended.extend(self.settle(now, commit, Outcome::Durable)),
                action => ended.push(action),
            }
        }
        ended
    }

    /// A shadow takes note of a lease that the site's server has given, or is about to: else it would offer the address to others.
    pub(super) fn follow(&mut self, exchange: &Exchange<'_>, address: Ipv4Addr, seconds: u32) {
        if !self.is_shadow {
            return;
        }
        let (client, hardware) = (exchange.request.client.clone(), exchange.request.hardware);
        let expires_at = exchange.now.after(std::time::Duration::from_secs(u64::from(seconds)));
        let Some(table) = self.table_of(address) else { return };
        if table.is_dynamic(address) || table.record(address).is_some() {
            let state = LeaseState::Bound;
            table.restore(LeaseRecord { address, client, hardware, state, starts_at: exchange.now, expires_at, host_name: None });
        }
    }
}

/// What an answer of ours says, from its octets: the type stands first among the options.
fn read_answer(message: &[u8]) -> Would {
    let field = |from: usize, to: usize| message.get(from..to).unwrap_or_default();
    let address = <[u8; 4]>::try_from(field(16, 20)).ok().map(Ipv4Addr::from).filter(|address| !address.is_unspecified());
    let file = field(108, 236).split(|octet| *octet == 0).next().unwrap_or_default();
    let file = Some(String::from_utf8_lossy(file).into_owned()).filter(|file| !file.is_empty());
    let message = match field(242, 243) {
        [2] => "OFFER",
        [6] => "NAK",
        _ => "ACK",
    };
    Would::Answer { message, address, file }
}
