use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::field;

use super::Shared;
use super::randomness::Randomness;
use crate::clock::Timestamp;
use crate::edge::dhcp::{Action, Commit, DropReason, Engine, Ingress, InterfaceId, Notice, Outcome, Outgoing, Probe};
use crate::edge::lease::RecordBatch;
use crate::edge::socket::Received;
use crate::wire::uplink::SiteEvent;

/// So many leases may wait for the disk before the sockets are left to wait too. Clients that come later than that would have
/// given up when their turn comes.
pub(super) const WAITING: usize = 4096;

/// Records that were handed to the disk together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchId(u64);

/// What makes records durable. It tells the outcome of a batch to [`Desk::settle`] later, by way of the mailbox.
pub(super) trait Disk {
    fn submit(&mut self, batch: BatchId, records: RecordBatch);
}

/// Changes leases between two datagrams; what it says is done as if a datagram had led to it.
pub(super) type ChangeLeases = Box<dyn FnOnce(&mut Engine, Timestamp) -> Vec<Action> + Send>;

/// Asks for a change of the leases that is no datagram's doing, and hears when it is on the disk.
pub(super) struct Change {
    pub(super) change: ChangeLeases,
    pub(super) done: oneshot::Sender<Outcome>,
}

/// Where datagrams came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) interface: InterfaceId,
    pub(super) name: &'a str,
    pub(super) port: u16,
}

/// The shell without its sockets: has the engine decide, and keeps what waits for the disk.
pub(super) struct Desk<D> {
    shared: Arc<Shared>,
    disk: D,
    reports: mpsc::Sender<SiteEvent>,
    randomness: Randomness,
    /// Decided, and not yet handed to the disk.
    decided: Batch,
    records: RecordBatch,
    /// With the disk, in the order in which it got them.
    waiting: VecDeque<(BatchId, Batch)>,
    waiting_commits: usize,
    next: u64,
    /// What is to be asked on the network.
    questions: Vec<Question>,
}

/// What the engine wants to know of the network.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Whether somebody uses an address.
    Address(Probe),
    /// Who else answers this DISCOVER on the interface.
    Servers(InterfaceId, Vec<u8>),
}

/// Commits that share a fate, and who asked for them other than by a datagram.
#[derive(Default)]
struct Batch {
    commits: Vec<Commit>,
    askers: Vec<oneshot::Sender<Outcome>>,
}

impl<D: Disk> Desk<D> {
    pub(super) fn new(shared: Arc<Shared>, disk: D, reports: mpsc::Sender<SiteEvent>) -> Self {
        Self {
            shared,
            disk,
            reports,
            randomness: Randomness::new(),
            decided: Batch::default(),
            records: RecordBatch::new(),
            waiting: VecDeque::new(),
            waiting_commits: 0,
            next: 0,
            questions: Vec::new(),
        }
    }

    /// Decides about datagrams. What is to be sent at once is added to `due`; what is to be on the disk first goes there with the
    /// next [`submit`](Self::submit).
    pub(super) fn decide<'a>(
        &mut self,
        now: Timestamp,
        place: Place<'_>,
        datagrams: impl Iterator<Item = (Received, &'a [u8])>,
        due: &mut Vec<Outgoing>,
    ) {
        let shared = Arc::clone(&self.shared);
        let mut engine = shared.engine();
        for (received, octets) in datagrams {
            let Some(fresh) = self.randomness.fresh() else {
                tracing::error!("the system gives no randomness; a DHCP request is not answered");
                continue;
            };
            let Received { source, destination, .. } = received;
            let ingress = Ingress { interface: place.interface, source, destination, port: place.port };
            // The engine does not panic; should it all the same, one machine goes without an answer and not the whole site.
            let decided = catch_unwind(AssertUnwindSafe(|| engine.handle(now, &ingress, octets, fresh)));
            let actions = decided.unwrap_or_else(|_| {
                tracing::error!(interface = place.name, peer = %source, datagram = %data_encoding::HEXLOWER.encode(octets),
                    "a fault of this program: a request could not be dealt with; please report this line");
                vec![Action::Drop(DropReason::Fault)]
            });
            for action in &actions {
                if let Action::Drop(reason) = action {
                    tracing::debug!(interface = place.name, peer = %source, "not answered: {reason}");
                }
            }
            self.perform(actions, due);
        }
    }

    /// Does what is due without anybody's doing.
    pub(super) fn tick(&mut self, now: Timestamp, due: &mut Vec<Outgoing>) {
        let shared = Arc::clone(&self.shared);
        let mut engine = shared.engine();
        if engine.is_tick_due(now) {
            let actions = engine.tick(now);
            self.perform(actions, due);
        }
    }

    /// When something is due without anybody's doing.
    pub(super) fn next_tick(&self) -> Option<Timestamp> {
        self.shared.engine().next_tick()
    }

    /// Takes in what was heard other than a request.
    pub(super) fn noticed(&mut self, now: Timestamp, interface: InterfaceId, notice: &Notice<'_>, due: &mut Vec<Outgoing>) {
        let actions = self.shared.engine().noticed(now, interface, notice);
        self.perform(actions, due);
    }

    /// What is to be asked on the network since the last call.
    pub(super) fn questions(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.questions)
    }

    /// Makes a change that somebody asks for.
    pub(super) fn change(&mut self, now: Timestamp, change: Change, due: &mut Vec<Outgoing>) {
        let Change { change, done } = change;
        let actions = change(&mut self.shared.engine(), now);
        self.decided.askers.push(done);
        self.perform(actions, due);
    }

    /// Hands what was decided to the disk. The records keep the order in which they were decided.
    pub(super) fn submit(&mut self) {
        if self.decided.commits.is_empty() && self.decided.askers.is_empty() {
            return;
        }
        let id = BatchId(self.next);
        self.next = self.next.wrapping_add(1);
        let batch = std::mem::take(&mut self.decided);
        self.waiting_commits = self.waiting_commits.saturating_add(batch.commits.len());
        self.waiting.push_back((id, batch));
        self.disk.submit(id, std::mem::take(&mut self.records));
    }

    /// Takes the disk's word on a batch: what it promised is due now.
    pub(super) fn settle(&mut self, now: Timestamp, id: BatchId, outcome: Outcome, due: &mut Vec<Outgoing>) {
        // The disk keeps the order, but what it refuses at once overtakes what it still writes.
        let Some(place) = self.waiting.iter().position(|(waiting, _)| *waiting == id) else { return };
        let Some((_, batch)) = self.waiting.remove(place) else { return };
        self.waiting_commits = self.waiting_commits.saturating_sub(batch.commits.len());
        let shared = Arc::clone(&self.shared);
        let mut engine = shared.engine();
        for commit in batch.commits {
            let record = &commit.record;
            tracing::debug!(address = %record.address, client = %record.hardware, state = ?record.state, until = %record.expires_at, ?outcome, "lease");
            let actions = engine.settle(now, commit, outcome);
            self.perform(actions, due);
        }
        for asker in batch.askers {
            // Nobody may be waiting any more; the change counts all the same.
            let _ = asker.send(outcome);
        }
    }

    /// Whether more may be decided: not so many leases wait for the disk that it could not be done with them in time.
    pub(super) const fn has_room(&self) -> bool {
        self.waiting_commits < WAITING
    }

    /// Whether nothing waits for the disk.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.decided.commits.is_empty() && self.decided.askers.is_empty()
    }

    fn perform(&mut self, actions: Vec<Action>, due: &mut Vec<Outgoing>) {
        for action in actions {
            match action {
                Action::Send(outgoing) => due.push(outgoing),
                Action::Commit(commit) => {
                    self.records.push(&commit.record);
                    self.decided.commits.push(commit);
                }
                Action::Report(event) => {
                    let (mac, boot) = (event.mac.map(field::display), event.boot.map(field::display));
                    tracing::info!(mac, boot, "{}", event.what);
                    if self.reports.try_send(event).is_err() {
                        tracing::warn!("a report to the cloud is lost: too many wait already");
                    }
                }
                Action::Drop(reason) => self.shared.count(reason),
                Action::Observed(observation) => tracing::info!("{observation}"),
                Action::Probe(probe) => self.questions.push(Question::Address(probe)),
                Action::LookForServers { interface, payload } => self.questions.push(Question::Servers(interface, payload)),
            }
        }
    }
}
