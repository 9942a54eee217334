//! The shell around the engine: sockets, the clock, randomness and the lease journal.

mod bind;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use self::bind::Port;
use super::action::{Action, Commit, Destination, DropReason, Fresh, Ingress, Outcome, Outgoing};
use super::config::{DhcpConfig, Interface};
use super::{BootSettings, CLIENT_PORT, Engine, InterfaceId};
use crate::clock;
use crate::edge::lease::{Journal, JournalError, RecordBatch};
use crate::edge::socket;
use crate::failure::Failure;
use crate::wire::uplink::SiteEvent;
use crate::wire::{BootId, MacAddr, Nonce};

/// A DHCP server and proxyDHCP with its ports open and its leases read.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

/// What the server's tasks share.
#[derive(Debug)]
struct Shared {
    engine: Mutex<Engine>,
    journal: Journal,
    /// The open ports, each on one interface.
    ports: Vec<Port>,
    drops: Mutex<BTreeMap<DropReason, u64>>,
    random: SystemRandom,
}

/// Asks a server, running or not, about the machines that it has seen.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

/// A lease that waits for the disk.
type Waiting = (oneshot::Receiver<Result<(), JournalError>>, Commit);

/// So many leases may wait for the disk before the sockets are left to wait too.
const WAITING: usize = 4096;

/// The longest datagram that is looked at: more than fits any network's frame. Options can't say more than this in good faith.
const LONGEST_DATAGRAM: usize = 9216;

/// Whether an interface is there as the configuration says and its DHCP ports are free; they are taken and given back. Must be
/// called within a tokio runtime.
///
/// # Errors
/// What [`Server::bind`] would refuse.
pub fn check_interface(config: &DhcpConfig, interface: &Interface) -> Result<(), Failure> {
    bind::open_interface(config, InterfaceId(0), interface).map(drop)
}

impl Server {
    /// Opens all ports, checks the interfaces against the configuration, and reads the leases from `folder`, which is made
    /// when absent. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When an interface, an address, a port or a privilege is missing, or the leases can't be read. Nothing is left open then.
    pub fn bind(config: DhcpConfig, folder: &Path) -> Result<Self, Failure> {
        let ports = bind::open_ports(&config)?;
        let (journal, records) = Journal::open(folder).map_err(|error| lease_failure(&error, folder))?;
        tracing::info!("{} leases read from `{}`", records.len(), folder.display());
        let engine = Engine::new(Arc::new(config), records);
        let shared = Shared { engine: Mutex::new(engine), journal, ports, drops: Mutex::new(BTreeMap::new()), random: SystemRandom::new() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A handle to ask the server with.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Serves until `shutdown` becomes true or its sender is dropped; promises under way are kept first.
    ///
    /// `boot` may be `None` until the cloud was reached, and may change at any time. `reports` is never waited for: a report
    /// that finds no room is lost, with a warning.
    ///
    /// # Errors
    /// When a part of the server ends by itself, which is a fault of this program.
    pub async fn run(
        self,
        boot: watch::Receiver<Option<Arc<BootSettings>>>,
        reports: mpsc::Sender<SiteEvent>,
        mut shutdown: watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        let Self { shared } = self;
        let (waiting, settled) = mpsc::channel(WAITING);
        let mut receivers = JoinSet::new();
        for place in 0..shared.ports.len() {
            receivers.spawn(receive_all(Arc::clone(&shared), place, waiting.clone(), reports.clone()));
        }
        drop(waiting);
        let follower = tokio::spawn(follow_boot_settings(Arc::clone(&shared), boot));
        let settler = tokio::spawn(settle_all(Arc::clone(&shared), settled, reports));
        let ended = tokio::select! {
            // An error means that the sender is gone: nobody can ask for the end any more.
            _ = shutdown.wait_for(|stop| *stop) => None,
            Some(ended) = receivers.join_next() => Some(ended),
        };
        follower.abort();
        // The receivers hold the senders of what waits for the disk; without them the settler ends when all is settled.
        receivers.shutdown().await;
        let settled = settler.await;
        match (ended, settled) {
            (None, Ok(())) => Ok(()),
            (Some(Err(error)), _) | (_, Err(error)) => Err(Failure::new("the DHCP server ended by itself").cause(&error)),
            (Some(Ok(())), Ok(())) => Err(Failure::new("the DHCP server ended by itself")),
        }
    }
}

impl Handle {
    /// The boot that the machine at an address is in, and the machine: by our leases, or else, as in proxy mode, by the
    /// kernel's neighbour table.
    #[must_use]
    pub fn boot_at(&self, address: Ipv4Addr) -> Option<(BootId, MacAddr)> {
        let now = clock::now();
        let leased = self.0.engine().machine_at(now, address);
        let mac = leased.or_else(|| socket::neighbour(address).ok().flatten())?;
        let boot = self.0.engine().boot_of_machine(now, mac)?;
        Some((boot, mac))
    }

    /// How many datagrams were not answered, by reason.
    #[must_use]
    pub fn drops(&self) -> BTreeMap<DropReason, u64> {
        lock(&self.0.drops).clone()
    }
}

impl Shared {
    fn engine(&self) -> MutexGuard<'_, Engine> {
        lock(&self.engine)
    }

    fn fresh(&self) -> Option<Fresh> {
        let (mut boot, mut nonce) = ([0; 8], [0; 12]);
        self.random.fill(&mut boot).and_then(|()| self.random.fill(&mut nonce)).ok()?;
        Some(Fresh { boot: BootId(boot), nonce: Nonce(nonce) })
    }

    /// Decides about a datagram and hands its records to the journal; both under one lock, so that records reach the disk in
    /// the order in which they were decided.
    fn decide(&self, ingress: &Ingress, datagram: &[u8], fresh: Fresh) -> (Vec<Action>, Vec<Waiting>) {
        let mut engine = self.engine();
        let mut waiting = Vec::new();
        let mut now_due = Vec::new();
        for action in engine.handle(clock::now(), ingress, datagram, fresh) {
            match action {
                Action::Commit(commit) => {
                    let (done, receipt) = oneshot::channel();
                    self.journal.submit(RecordBatch::of(&commit.record), |outcome| drop(done.send(outcome)));
                    waiting.push((receipt, commit));
                }
                action => now_due.push(action),
            }
        }
        (now_due, waiting)
    }

    fn count(&self, reason: DropReason) {
        let mut drops = lock(&self.drops);
        let count = drops.entry(reason).or_default();
        *count = count.saturating_add(1);
    }

    async fn send(&self, outgoing: &Outgoing) -> io::Result<()> {
        let found = self.ports.iter().find(|port| port.interface == outgoing.interface && port.number == outgoing.from_port);
        let Some(port) = found else { return Err(io::ErrorKind::NotConnected.into()) };
        let payload = &outgoing.payload;
        let everyone = SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT);
        match (outgoing.destination, &port.frames) {
            (Destination::Frame { address, mac }, Some(frames)) => {
                let from = SocketAddrV4::new(port.address, port.number);
                frames.send(from, SocketAddrV4::new(address, CLIENT_PORT), mac, payload).await
            }
            // On links without Ethernet frames there is only broadcast for a client without an address.
            (Destination::Broadcast | Destination::Frame { .. }, _) => port.socket.send(payload, port.address, everyone).await,
            (Destination::Udp(to), _) => port.socket.send(payload, port.address, to).await,
        }
    }

    async fn perform(&self, actions: Vec<Action>, reports: &mpsc::Sender<SiteEvent>) {
        for action in actions {
            match action {
                Action::Send(outgoing) => {
                    if let Err(error) = self.send(&outgoing).await {
                        tracing::warn!(to = ?outgoing.destination, "cannot send a DHCP answer: {error}");
                    }
                }
                Action::Report(event) => {
                    tracing::info!(mac = %event.mac, boot = %event.boot, "{}", event.what);
                    if reports.try_send(event).is_err() {
                        tracing::warn!("a report to the cloud is lost: too many wait already");
                    }
                }
                Action::Drop(reason) => self.count(reason),
                // The engine settles commits with sends and reports only.
                Action::Commit(_) => {}
            }
        }
    }
}

async fn receive_all(shared: Arc<Shared>, place: usize, waiting: mpsc::Sender<Waiting>, reports: mpsc::Sender<SiteEvent>) {
    let Some(port) = shared.ports.get(place) else { return };
    let mut buffer = vec![0; LONGEST_DATAGRAM];
    loop {
        let received = match port.socket.receive(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // The interface went down, as a rule; it may come back.
                tracing::warn!("cannot receive on `{}`, port {}: {error}", port.name, port.number);
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let Some(datagram) = buffer.get(..received.length) else { continue };
        let Some(fresh) = shared.fresh() else {
            tracing::error!("the system gives no randomness; a DHCP request is not answered");
            continue;
        };
        let ingress = Ingress { interface: port.interface, source: received.source, destination: received.destination, port: port.number };
        let (actions, commits) = shared.decide(&ingress, datagram, fresh);
        for action in &actions {
            if let Action::Drop(reason) = action {
                tracing::debug!(interface = port.name, peer = %received.source, "not answered: {reason}");
            }
        }
        shared.perform(actions, &reports).await;
        for commit in commits {
            if waiting.send(commit).await.is_err() {
                return;
            }
        }
    }
}

/// Waits for the disk and says what was promised. The journal writes in order, so waiting in order loses no time.
async fn settle_all(shared: Arc<Shared>, mut waiting: mpsc::Receiver<Waiting>, reports: mpsc::Sender<SiteEvent>) {
    while let Some((receipt, commit)) = waiting.recv().await {
        let outcome = match receipt.await.unwrap_or(Err(JournalError::Closed)) {
            Ok(()) => Outcome::Durable,
            Err(error) => {
                tracing::debug!(address = %commit.record.address, "a lease is not on the disk: {error}");
                Outcome::Failed
            }
        };
        let lease = commit.record.clone();
        let actions = shared.engine().settle(clock::now(), commit, outcome);
        tracing::debug!(address = %lease.address, client = %lease.hardware, state = ?lease.state, until = %lease.expires_at, ?outcome, "lease");
        shared.perform(actions, &reports).await;
    }
}

async fn follow_boot_settings(shared: Arc<Shared>, mut boot: watch::Receiver<Option<Arc<BootSettings>>>) {
    loop {
        let settings = boot.borrow_and_update().clone();
        shared.engine().set_boot_settings(settings);
        if boot.changed().await.is_err() {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a lock protects here is whole after every statement; one panic must not stop the rest for good.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lease_failure(error: &JournalError, folder: &Path) -> Failure {
    let hint = match error {
        JournalError::Damaged { .. } => {
            "nothing was changed; bring the folder back from a backup, or move the file away to start without its leases, which may give out addresses that are in use"
        }
        JournalError::Foreign(_) => "nothing was changed; move the file away if it is not needed, or name another state folder",
        JournalError::InUse(_) => "another fairlead-edge is running; stop it first",
        _ => "the folder must be on a disk with room, and writable",
    };
    Failure::new(format!("cannot open the leases in `{}`", folder.display())).cause(error).hint(hint)
}
