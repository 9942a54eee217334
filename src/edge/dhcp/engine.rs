use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::action::{Action, Commit, DropReason, Fresh, Ingress, Outcome};
use super::boot_attempt::BootAttempts;
use super::boot_file::BootAnswer;
use super::boot_settings::BootSettings;
use super::client::{Client, Stage};
use super::config::{DhcpConfig, Interface, Mode};
use super::message::Request;
use super::option::MessageType;
use super::{PXE_PORT, SERVER_PORT};
use crate::clock::Timestamp;
use crate::edge::lease::{LeaseRecord, LeaseState, LeaseTable};
use crate::wire::uplink::{SiteEvent, SiteEventKind};
use crate::wire::{BootId, MacAddr};

/// The DHCP server and proxyDHCP of a box: datagrams in, actions out.
///
/// It has no sockets, no clock and no randomness, so a test can drive a year of leases in a second. What it promises is held
/// back in a [`Commit`] until the shell says that it is on the disk.
#[derive(Debug)]
pub struct Engine {
    pub(super) config: Arc<DhcpConfig>,
    /// One for each of the configuration's subnets, in its order.
    pub(super) tables: Vec<LeaseTable>,
    attempts: BootAttempts,
    boot: Option<Arc<BootSettings>>,
}

/// One request and what is known about it.
pub(super) struct Exchange<'a> {
    pub(super) now: Timestamp,
    pub(super) ingress: &'a Ingress,
    pub(super) interface: &'a Interface,
    pub(super) request: &'a Request,
    pub(super) client: Client,
    /// The boot that the machine is in.
    pub(super) boot: Option<BootId>,
    pub(super) fresh: Fresh,
}

impl Engine {
    /// An engine that knows the leases that were read from the disk. Those outside of every subnet are left alone: their
    /// subnet may come back with the next configuration.
    #[must_use]
    pub fn new(config: Arc<DhcpConfig>, records: Vec<LeaseRecord>) -> Self {
        let tables = config.subnets().iter().map(|subnet| {
            let reserved: HashSet<Ipv4Addr> = subnet.reservations().iter().map(|reservation| reservation.address.value).collect();
            LeaseTable::new(&subnet.pools, &subnet.excluded, reserved)
        });
        let mut engine = Self { tables: tables.collect(), config, attempts: BootAttempts::default(), boot: None };
        for record in records {
            if let Some(table) = engine.table_of(record.address) {
                table.restore(record);
            }
        }
        engine
    }

    /// Sets what machines need to go on to the cloud; without it they get an address and no boot file.
    pub fn set_boot_settings(&mut self, settings: Option<Arc<BootSettings>>) {
        self.boot = settings;
    }

    /// Decides about one datagram.
    pub fn handle(&mut self, now: Timestamp, ingress: &Ingress, datagram: &[u8], fresh: Fresh) -> Vec<Action> {
        let request = match Request::parse(datagram) {
            Ok(request) => request,
            Err(malformed) => return vec![Action::Drop(malformed.into())],
        };
        if matches!(request.kind, MessageType::Offer | MessageType::Ack | MessageType::Nak) {
            return vec![Action::Drop(DropReason::FromServer)];
        }
        let config = Arc::clone(&self.config);
        let Some(interface) = config.interfaces().get(ingress.interface.0) else { return vec![Action::Drop(DropReason::NotServed)] };
        let client = Client::of(&request);
        let boot = self.boot_of(now, &request, &client, fresh.boot);
        let exchange = Exchange { now, ingress, interface, request: &request, client, boot, fresh };
        let outcome = match (interface.mode, ingress.port) {
            (Mode::Server, SERVER_PORT) => self.serve(&exchange),
            (Mode::Proxy, SERVER_PORT | PXE_PORT) => self.answer_as_proxy(&exchange),
            _ => Err(DropReason::NotServed),
        };
        outcome.unwrap_or_else(|reason| vec![Action::Drop(reason)])
    }

    /// Says what follows once it is known whether a commit is on the disk.
    pub fn settle(&mut self, now: Timestamp, commit: Commit, outcome: Outcome) -> Vec<Action> {
        match outcome {
            Outcome::Durable => self.settle_durable(commit),
            Outcome::Failed => self.settle_failed(now, commit),
        }
    }

    /// The boot that a machine is in at `now`, for reports of what else it does: files that it fetches.
    #[must_use]
    pub fn boot_of_machine(&self, now: Timestamp, mac: MacAddr) -> Option<BootId> {
        self.attempts.find(now, mac)
    }

    /// The machine that holds an address at `now`, by our own leases.
    #[must_use]
    pub fn machine_at(&self, now: Timestamp, address: Ipv4Addr) -> Option<MacAddr> {
        let record = self.table_at(address)?.record(address)?;
        (record.state == LeaseState::Bound && record.expires_at > now).then(|| record.hardware.mac()).flatten()
    }

    pub(super) fn subnet_of(&self, address: Ipv4Addr) -> Option<usize> {
        self.config.subnets().iter().position(|subnet| subnet.network.value.contains(address))
    }

    pub(super) fn table_of(&mut self, address: Ipv4Addr) -> Option<&mut LeaseTable> {
        let place = self.subnet_of(address)?;
        self.tables.get_mut(place)
    }

    fn table_at(&self, address: Ipv4Addr) -> Option<&LeaseTable> {
        self.tables.get(self.subnet_of(address)?)
    }

    fn boot_of(&mut self, now: Timestamp, request: &Request, client: &Client, fresh: BootId) -> Option<BootId> {
        let mac = client.mac?;
        match (request.kind, client.stage) {
            (MessageType::Discover, stage) if stage.is_firmware() => Some(self.attempts.begin(now, mac, request.xid, fresh)),
            (MessageType::Discover | MessageType::Request | MessageType::Inform, Stage::Pxe | Stage::Http | Stage::Ipxe) => {
                Some(self.attempts.continue_or_begin(now, mac, request.xid, fresh))
            }
            // The operating system that was booted asks for an address too: part of the boot, but no sign of a new one.
            _ => self.attempts.find(now, mac),
        }
    }

    /// What the client is told to boot. With `last`, the client acts on this answer: an iPXE is given a ticket.
    pub(super) fn boot_answer<'a>(&self, exchange: &Exchange<'_>, settings: &'a BootSettings, last: bool) -> Option<BootAnswer<'a>> {
        let mut answer = BootAnswer::decide(&exchange.client, &self.config.boot_files().files, settings, exchange.interface.address)?;
        if last && exchange.client.stage == Stage::Ipxe {
            // A ticket vouches for a hardware address; without one, or without a ticket, there is nothing to go on with.
            let (mac, boot) = (exchange.client.mac?, exchange.boot?);
            answer.ticket = Some(settings.minter.mint(exchange.now, boot, mac, exchange.client.uuid, exchange.fresh.nonce)?);
        }
        Some(answer)
    }

    pub(super) fn boot_settings(&self) -> Option<Arc<BootSettings>> {
        self.boot.clone()
    }
}

impl Exchange<'_> {
    /// A report about this machine's boot, when it is in one.
    pub(super) fn report(&self, what: SiteEventKind) -> Option<SiteEvent> {
        Some(SiteEvent { at: self.now, boot: self.boot?, mac: self.client.mac?, what })
    }

    /// The reports about what an answer says to boot.
    pub(super) fn boot_reports(&self, answer: Option<&BootAnswer<'_>>) -> Vec<SiteEvent> {
        let Some(answer) = answer else { return Vec::new() };
        let named = self.report(SiteEventKind::BootFileNamed { file: answer.file.clone(), arch: self.client.arch() });
        let minted = answer.ticket.as_ref().and_then(|_| self.report(SiteEventKind::TicketMinted { uuid: self.client.uuid }));
        named.into_iter().chain(minted).collect()
    }
}

/// Seconds as DHCP carries them.
pub(super) fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
