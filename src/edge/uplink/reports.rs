//! Takes reports from the site's servers, keeps them in the spool, and brings them to the cloud.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use data_encoding::HEXLOWER;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Uplink;
use super::back_off::{BackOff, random_octet};
use super::error::{UplinkError, in_one_line};
use super::spool::{Spool, SpoolError};
use crate::wire::uplink::{EventBatch, EventReceipt, SiteEvent};

/// Where the site's servers put their reports. It never blocks: what the disk can't take in time is dropped and counted.
#[derive(Clone, Debug)]
pub struct Reports {
    queue: mpsc::Sender<SiteEvent>,
    overrun: Arc<AtomicU64>,
}

/// The other end of [`Reports`].
#[derive(Debug)]
pub struct ReportQueue {
    queue: mpsc::Receiver<SiteEvent>,
    overrun: Arc<AtomicU64>,
}

const QUEUE_LENGTH: usize = 4096;
const WRITE_AT_ONCE: usize = 256;
const SEND_AT_ONCE: usize = 200;
const BACK_OFF: BackOff = BackOff::new(Duration::from_secs(2), Duration::from_secs(60));
/// Lets the reports of one moment share a request.
const GATHER: Duration = Duration::from_millis(200);

/// A new queue for reports.
#[must_use]
pub fn queue() -> (Reports, ReportQueue) {
    let (sender, receiver) = mpsc::channel(QUEUE_LENGTH);
    let overrun = Arc::new(AtomicU64::new(0));
    (Reports { queue: sender, overrun: Arc::clone(&overrun) }, ReportQueue { queue: receiver, overrun })
}

impl Reports {
    /// The queue itself, for a server that counts its own losses.
    #[must_use]
    pub fn sender(&self) -> mpsc::Sender<SiteEvent> {
        self.queue.clone()
    }

    /// Takes one report.
    pub fn report(&self, event: SiteEvent) {
        if self.queue.try_send(event).is_err() {
            self.overrun.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A name for a new spool.
#[must_use]
pub fn new_spool_name() -> String {
    let mut bytes = [0; 16];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        // Without randomness the moment is as good a name as there is: it need not be secret, only new.
        return format!("at-{}", crate::clock::now().0);
    }
    HEXLOWER.encode(&bytes)
}

/// Runs the spool until `shutdown`; what is in the queue then is on the disk when this returns.
pub async fn follow(uplink: Arc<Uplink>, mut spool: Spool, mut reports: ReportQueue, shutdown: impl Future<Output = ()>) {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut back_off = BACK_OFF;
    let mut next_send = Instant::now();
    let mut sending: Option<Sending> = None;
    let mut failing = false;
    let mut told = Told::default();
    if spool.waiting() > 0 {
        tracing::info!(waiting = spool.waiting(), "reports from before the start wait for the cloud");
    }
    loop {
        let mut arrived = Vec::new();
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            // A request that runs is not given up for reports that arrive meanwhile: in a boot storm none would ever end.
            outcome = finished(&mut sending) => {
                sending = None;
                match outcome.and_then(|stored_up_to| confirm(&mut spool, stored_up_to)) {
                    Ok(()) => {
                        if failing {
                            tracing::info!(waiting = spool.waiting(), "reports reach the cloud again");
                        }
                        failing = false;
                        back_off.succeeded();
                        next_send = Instant::now();
                    }
                    Err(error) => {
                        let pause = back_off.failed(random_octet());
                        if failing {
                            tracing::debug!(error = in_one_line(&error), waiting = spool.waiting(), "reports still wait");
                        } else {
                            tracing::warn!("{}; they wait in the spool, next try in {} s", in_one_line(&error), pause.as_secs());
                        }
                        failing = true;
                        next_send = Instant::now() + pause;
                    }
                }
            }
            count = reports.queue.recv_many(&mut arrived, WRITE_AT_ONCE) => {
                if count == 0 {
                    break;
                }
                if spool.waiting() == 0 && !failing {
                    next_send = Instant::now() + GATHER;
                }
                keep(&mut spool, arrived);
                told.losses(&spool, &reports);
            }
            () = tokio::time::sleep_until(next_send), if sending.is_none() && spool.waiting() > 0 => {
                let batch = EventBatch { spool: spool.name().to_owned(), events: spool.batch(SEND_AT_ONCE) };
                sending = Some(Box::pin(send(Arc::clone(&uplink), batch)));
            }
        }
    }
    reports.queue.close();
    let mut rest = Vec::new();
    while reports.queue.recv_many(&mut rest, WRITE_AT_ONCE).await > 0 {
        keep(&mut spool, std::mem::take(&mut rest));
    }
    told.losses(&spool, &reports);
}

#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("reports do not reach the cloud")]
    Uplink(#[source] UplinkError),
    #[error("the cloud took a batch of reports and stored none of it")]
    NoProgress,
    #[error("cannot note which reports the cloud has")]
    Spool(#[source] SpoolError),
}

type Sending = Pin<Box<dyn Future<Output = Result<u64, SendError>> + Send>>;

async fn finished(sending: &mut Option<Sending>) -> Result<u64, SendError> {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}

async fn send(uplink: Arc<Uplink>, batch: EventBatch) -> Result<u64, SendError> {
    let first = batch.events.first().map_or(u64::MAX, |event| event.number);
    let receipt: EventReceipt = uplink.client().post("/site/v1/events", &batch).await.map_err(SendError::Uplink)?;
    if receipt.stored_up_to < first { Err(SendError::NoProgress) } else { Ok(receipt.stored_up_to) }
}

fn confirm(spool: &mut Spool, stored_up_to: u64) -> Result<(), SendError> {
    tokio::task::block_in_place(|| spool.confirm(stored_up_to, &new_spool_name())).map_err(SendError::Spool)
}

fn keep(spool: &mut Spool, events: Vec<SiteEvent>) {
    let count = events.len();
    // The sync may take milliseconds, which the servers' tasks must not wait for.
    if let Err(error) = tokio::task::block_in_place(|| spool.append(events)) {
        tracing::error!(
            hint = "make room on the state folder's disk or replace it; booting goes on without reports",
            "{count} reports are lost: {}",
            in_one_line(&error)
        );
    }
}

/// How many losses were told already.
#[derive(Default)]
struct Told {
    dropped: u64,
    overrun: u64,
}

impl Told {
    fn losses(&mut self, spool: &Spool, reports: &ReportQueue) {
        let overrun = reports.overrun.load(Ordering::Relaxed);
        // The first, and then each time their number has doubled.
        if spool.dropped() > self.dropped.saturating_mul(2) {
            self.dropped = spool.dropped();
            tracing::error!(
                dropped = self.dropped,
                waiting = spool.waiting(),
                "the spool is full: new reports are dropped until the cloud is back"
            );
        }
        if overrun > self.overrun.saturating_mul(2) {
            self.overrun = overrun;
            tracing::error!(dropped = overrun, "reports came faster than the disk could take them, and were dropped");
        }
    }
}
