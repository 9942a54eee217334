//! The shell around the engine: sockets, the clock, randomness and the lease journal.
//!
//! One thread does all the work, in batches: it receives what has come in, has the engine decide, hands the records to the
//! [journal](crate::edge::lease::Journal), and sends. While the disk syncs it goes on; what the disk has taken by then is sent
//! with the next batch. Other threads reach it through its mailbox.
//!
//! - `service` is that thread, `port` an open port, `outbox` what waits to be sent there, `in_flight` how much of it at once.
//! - `segment` is what is asked and heard beside requests: who uses an address, and who else serves.
//! - `desk` is what it does without sockets: decisions, and promises that wait for the disk.
//! - `bind` opens the ports and holds the configuration against the machine.

mod bind;
mod desk;
mod in_flight;
mod mailbox;
mod outbox;
mod port;
mod randomness;
mod segment;
mod seldom;
mod service;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::{mpsc, oneshot, watch};

use self::desk::Change;
use self::mailbox::Mailbox;
use self::port::{OpenSocket, Port};
use self::segment::Listeners;
use self::service::{JournalDisk, Letter, Reload, Service};
use super::action::{Action, DropReason, Outcome};
use super::config::{DhcpConfig, Interface};
use super::{BootSettings, Engine, InterfaceId};
use crate::clock::{self, Timestamp};
use crate::edge::lease::{Journal, JournalError};
use crate::edge::socket;
use crate::failure::Failure;
use crate::wire::uplink::SiteEvent;
use crate::wire::{BootId, MacAddr};

/// A DHCP server and proxyDHCP with its ports open and its leases read.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    ports: Vec<Port>,
    listeners: Listeners,
    journal: Journal,
}

/// What the serving thread shares with those that ask about it.
struct Shared {
    /// Changed by the serving thread alone, boot settings aside, so that records reach the disk in the order of its decisions.
    engine: Mutex<Engine>,
    drops: Mutex<BTreeMap<DropReason, u64>>,
    mailbox: Arc<Mailbox<Letter>>,
    open: Mutex<Vec<OpenSocket>>,
    /// One reload at a time: each is planned on what is open.
    reloading: tokio::sync::Mutex<()>,
}

/// Asks a server, running or not, about the machines that it has seen; has a running one change its leases.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

/// The server has ended, or was never started: there is nobody to change anything.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the DHCP server does not run")]
pub struct NotRunning;

/// The longest datagram that is looked at: more than fits any network's frame. Options can't say more than this in good faith.
const LONGEST_DATAGRAM: usize = 9216;

/// Whether an interface is there as the configuration says and its DHCP ports are free; they are taken and given back.
///
/// # Errors
/// What [`Server::bind`] would refuse.
pub fn check_interface(config: &DhcpConfig, interface: &Interface) -> Result<(), Failure> {
    bind::open_interface(config, InterfaceId(0), interface, &[]).map(drop)
}

impl Server {
    /// Opens all ports, checks the interfaces against the configuration, and reads the leases from `folder`, which is made
    /// when absent.
    ///
    /// # Errors
    /// When an interface, an address, a port or a privilege is missing, or the leases can't be read. Nothing is left open then.
    pub fn bind(config: DhcpConfig, folder: &Path) -> Result<Self, Failure> {
        let ports = bind::open_ports(&config, &[])?;
        let (journal, records) = Journal::open(folder).map_err(|error| lease_failure(&error, folder))?;
        tracing::info!("{} leases read from `{}`", records.len(), folder.display());
        let config = Arc::new(config);
        let shared = Shared::new(Engine::new(Arc::clone(&config), records))?;
        shared.note_open(&ports);
        let listeners = bind::open_listeners(&config, &mut shared.engine());
        Ok(Self { shared: Arc::new(shared), ports, listeners, journal })
    }

    /// A handle to ask the server with.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Serves until `shutdown` becomes true or its sender is dropped; what came in by then is answered first and promises under
    /// way are kept. It also ends when the future is dropped.
    ///
    /// `boot` may be `None` until the cloud was reached, and may change at any time. `reports` is never waited for: a report
    /// that finds no room is lost, with a warning.
    ///
    /// # Errors
    /// When a thread can't be started, or the server ends by itself, which is a fault of this program.
    pub async fn run(
        self,
        mut boot: watch::Receiver<Option<Arc<BootSettings>>>,
        reports: mpsc::Sender<SiteEvent>,
        mut shutdown: watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        let Self { shared, ports, listeners, journal } = self;
        // Before the first request is looked at.
        shared.engine().set_boot_settings(boot.borrow_and_update().clone());
        let disk = JournalDisk { journal, mailbox: Arc::clone(&shared.mailbox) };
        let (ended, mut end) = oneshot::channel();
        let serve = {
            let shared = Arc::clone(&shared);
            // Nobody may be waiting for the end any more.
            move || drop(ended.send(Service::new(shared, disk, ports, listeners, reports).run()))
        };
        thread::Builder::new()
            .name("dhcp".to_owned())
            .spawn(serve)
            .map_err(|error| Failure::new("cannot start the thread that serves DHCP").cause(&error))?;
        let stop = StopOnDrop(Arc::clone(&shared));
        let by_itself = loop {
            tokio::select! {
                // An error means that the sender is gone: nobody can ask for the end any more.
                _ = shutdown.wait_for(|stop| *stop) => break None,
                ended = &mut end => break Some(ended),
                Ok(()) = boot.changed() => shared.engine().set_boot_settings(boot.borrow_and_update().clone()),
            }
        };
        drop(stop);
        let (ended, asked) = match by_itself {
            Some(ended) => (ended, false),
            None => (end.await, true),
        };
        match ended {
            Ok(Ok(())) if asked => Ok(()),
            Ok(Err(error)) => Err(Failure::new("the DHCP server ended by itself").cause(&error)),
            Ok(Ok(())) | Err(_) => Err(Failure::new("the DHCP server ended by itself")),
        }
    }
}

/// Ends the thread that serves.
struct StopOnDrop(Arc<Shared>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.mailbox.post(Letter::Stop);
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

    /// Looks at the engine. No client is answered meanwhile, so it must be short.
    pub fn look<T>(&self, look: impl FnOnce(&Engine) -> T) -> T {
        look(&self.0.engine())
    }

    /// Serves by another configuration from now on, or goes on by the old one: all of it or nothing.
    ///
    /// Ports that both have stay open, and requests wait in them meanwhile; those of ports that go are answered first, by the old
    /// configuration. Promises under way are kept before anything changes, so this takes as long as the disk does. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// What [`Server::bind`] would refuse of the configuration, or that the server does not run.
    pub async fn reload(&self, config: Arc<DhcpConfig>) -> Result<(), Failure> {
        let _one_at_a_time = self.0.reloading.lock().await;
        let open = lock(&self.0.open).clone();
        let ports = bind::open_ports(&config, &open)?;
        drop(open);
        let (done, applied) = oneshot::channel();
        self.0.mailbox.post(Letter::Reload(Reload { config, ports, done }));
        applied.await.map_err(|_| Failure::new(NotRunning.to_string()))
    }

    /// Has the serving thread change leases between two datagrams, and waits until what `change` commits is on the disk, or will
    /// not be. No client is answered while `change` runs, so it must be short.
    ///
    /// # Errors
    /// When the server does not run, or ends meanwhile; the change may or may not have been made then.
    pub async fn change(&self, change: impl FnOnce(&mut Engine, Timestamp) -> Vec<Action> + Send + 'static) -> Result<Outcome, NotRunning> {
        let (done, outcome) = oneshot::channel();
        self.0.mailbox.post(Letter::Change(Change { change: Box::new(change), done }));
        outcome.await.map_err(|_| NotRunning)
    }
}

impl Shared {
    fn new(engine: Engine) -> Result<Self, Failure> {
        let mailbox = Mailbox::new().map_err(|error| Failure::new("cannot prepare the thread that serves DHCP").cause(&error))?;
        Ok(Self {
            engine: Mutex::new(engine),
            drops: Mutex::default(),
            mailbox: Arc::new(mailbox),
            open: Mutex::default(),
            reloading: tokio::sync::Mutex::default(),
        })
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        lock(&self.engine)
    }

    fn note_open(&self, ports: &[Port]) {
        *lock(&self.open) = ports.iter().map(Port::open_socket).collect();
    }

    fn count(&self, reason: DropReason) {
        let mut drops = lock(&self.drops);
        let count = drops.entry(reason).or_default();
        *count = count.saturating_add(1);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the engine: it holds all leases, and its lock may be taken.
        f.debug_struct("Shared").field("drops", &self.drops).finish_non_exhaustive()
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
