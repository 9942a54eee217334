use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Handler, Imported, Reloaded, Status, SubnetStatus};
use crate::clock::{self, Timestamp};
use crate::edge::dhcp::server::Handle;
use crate::edge::dhcp::{Action, Engine, Outcome};
use crate::edge::lease::{LeaseEntry, LeaseRecord};
use crate::edge::reload::Reloader;
use crate::failure::Failure;

/// Does what commands ask of the running box.
#[derive(Debug)]
pub struct Desk {
    dhcp: Handle,
    reloader: Arc<Reloader>,
    started_at: Timestamp,
}

impl Desk {
    /// One that acts on this server, which was started just now.
    #[must_use]
    pub fn new(dhcp: Handle, reloader: Arc<Reloader>) -> Self {
        Self { dhcp, reloader, started_at: clock::now() }
    }

    /// Has the server change leases, and waits for the disk.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Engine, Timestamp) -> (T, Vec<Action>) + Send + 'static,
    ) -> Result<T, Failure> {
        let (tell, told) = oneshot::channel();
        let outcome = self
            .dhcp
            .change(move |engine, now| {
                let (result, actions) = change(engine, now);
                // Whoever asked may have gone.
                drop(tell.send(result));
                actions
            })
            .await
            .map_err(|error| Failure::new("the DHCP server does not run").cause(&error))?;
        match outcome {
            Outcome::Durable => told.await.map_err(|error| Failure::new("the DHCP server ended").cause(&error)),
            Outcome::Failed => {
                Err(Failure::new("the change could not be written to the disk; it holds until the next start, or not at all")
                    .hint("see the log of the running fairlead-edge; make room on the disk, then try again"))
            }
        }
    }
}

impl Handler for Desk {
    async fn status(&self) -> Result<Status, Failure> {
        let now = clock::now();
        let summaries = self.dhcp.look(|engine| engine.lease_summaries(now));
        let subnets = summaries.into_iter().map(|(network, summary)| SubnetStatus {
            network: network.to_string(),
            dynamic: summary.dynamic,
            active: summary.bound,
            expired: summary.expired,
            released: summary.released,
            declined: summary.declined,
            offered: summary.offered,
            in_use: summary.in_use,
        });
        let mut drops = BTreeMap::new();
        for (reason, count) in self.dhcp.drops() {
            let all: &mut u64 = drops.entry(reason.to_string()).or_default();
            *all = all.saturating_add(count);
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Status { version, started_at: self.started_at, subnets: subnets.collect(), drops })
    }

    async fn reload(&self) -> Result<Reloaded, Failure> {
        self.reloader.reload().await
    }

    async fn release_lease(&self, address: Ipv4Addr) -> Result<LeaseEntry, Failure> {
        let now = clock::now();
        let before = self.change(move |engine, now| engine.release_lease(now, address)).await?;
        before.map(|record| LeaseEntry::of(&record, now)).ok_or_else(|| no_lease(address))
    }

    async fn import_leases(&self, leases: Vec<LeaseEntry>) -> Result<Imported, Failure> {
        let records: Result<Vec<LeaseRecord>, Failure> = leases
            .iter()
            .map(|lease| {
                lease.record().map_err(|error| Failure::new(format!("the lease of {} can't be taken over", lease.address)).cause(&error))
            })
            .collect();
        let records = records?;
        self.change(move |engine, now| {
            let (taken, refused, actions) = engine.import_leases(now, records);
            (Imported { taken, refused }, actions)
        })
        .await
    }
}

/// What to tell about an address that nothing is known of.
pub(crate) fn no_lease(address: Ipv4Addr) -> Failure {
    Failure::new(format!("{address} has no lease")).hint("`fairlead-edge lease list` shows those there are")
}
