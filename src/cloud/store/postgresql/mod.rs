//! PostgreSQL: some threads, each with a connection.
//!
//! Transactions run at READ COMMITTED. SERIALIZABLE would make every two of them fail that write to the audit log at once, since both
//! move its end on; here the second waits for the first. What that level asks for in return: whoever reads to decide, and then
//! writes, reads with a lock ([`Tx::locked`]), and what may be done once is done by one statement that says whether it was first.
//!
//! A transaction commits without waiting for the disk, so that the locks that it holds are free at once. Then one thread has the disk
//! take all that was committed so far, and only after that are those answered who asked. Many share one sync, also across replicas.

mod address;
mod connection;
mod tls;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::keyring::Keyring;
use super::migration;
use super::queue::{Discard, Job, Queue, Trouble};
use super::sql::{Connection as _, values};
use super::sqlite::spawn;
use super::{StoreError, Tx};
use connection::Session;

pub use address::PostgresqlAddress;

/// How often a transaction is tried that others got in the way of.
const ATTEMPTS: u32 = 20;
/// How often an idle connection is tried.
const IDLE: Duration = Duration::from_secs(1);
/// A replica that migrates holds this lock: "FLcl" and a number.
const MIGRATION_LOCK: i64 = 0x464c_636c_0001;

/// How the database is used.
#[derive(Clone, Debug)]
pub struct PostgresqlSettings {
    /// Which one.
    pub address: PostgresqlAddress,
    /// Connections, besides the one that waits for the disk.
    pub connections: usize,
    /// How long an answer is waited for, also while the database is away.
    pub timeout: Duration,
}

/// The threads around the database.
pub(super) struct Postgresql {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl Postgresql {
    /// Makes the tables; refuses when they are there.
    pub(super) fn create(settings: &PostgresqlSettings, keys: &Arc<Keyring>) -> Result<Self, StoreError> {
        apart(|| {
            let mut session = connect(settings)?;
            if taken(&mut session)?.is_some() {
                return Err(StoreError::Exists { kind: "Fairlead database", name: settings.address.to_string() });
            }
            migrate(&mut session, settings, keys, true)?;
            Self::around(settings, keys)
        })
    }

    /// Checks that the tables are there, and brings them up to date.
    pub(super) fn open(settings: &PostgresqlSettings, keys: &Arc<Keyring>) -> Result<Self, StoreError> {
        apart(|| {
            migrate(&mut connect(settings)?, settings, keys, false)?;
            Self::around(settings, keys)
        })
    }

    fn around(settings: &PostgresqlSettings, keys: &Arc<Keyring>) -> Result<Self, StoreError> {
        let mut postgresql = Self { queue: Arc::default(), threads: Vec::new() };
        let (committed, to_sync) = mpsc::channel();
        let away = Arc::new(AtomicBool::new(false));
        for _ in 0..settings.connections {
            let worker = Worker {
                settings: settings.clone(),
                keys: Arc::clone(keys),
                committed: committed.clone(),
                away: Arc::clone(&away),
                session: None,
            };
            let queue = Arc::clone(&postgresql.queue);
            postgresql.threads.push(spawn("store", move || worker.run(&queue))?);
        }
        let (settings, syncing) = (settings.clone(), Syncing::begin(settings)?);
        // It ends when the last worker has.
        postgresql.threads.push(spawn("store-sync", move || sync(&settings, Some(syncing), &to_sync))?);
        Ok(postgresql)
    }

    pub(super) fn put(&self, job: Job) {
        self.queue.put(job);
    }
}

impl Drop for Postgresql {
    fn drop(&mut self) {
        self.queue.close();
        super::join(&mut self.threads);
    }
}

/// Whether there is a Fairlead database.
pub(super) fn is_there(settings: &PostgresqlSettings) -> Result<bool, StoreError> {
    apart(|| Ok(taken(&mut connect(settings)?)?.is_some()))
}

/// The client blocks by a runtime of its own, which it may not where there is one already: on a thread of its own, then.
fn apart<T: Send>(work: impl FnOnce() -> Result<T, StoreError> + Send) -> Result<T, StoreError> {
    std::thread::scope(|scope| scope.spawn(work).join()).unwrap_or(Err(StoreError::Panicked))
}

fn connect(settings: &PostgresqlSettings) -> Result<Session, StoreError> {
    Session::connect(&settings.address, settings.timeout)
        .map_err(|error| StoreError::Unreachable { place: settings.address.to_string(), cause: Box::new(error.into()) })
}

/// How many steps of the schema the database has taken; nothing when it is not ours yet.
fn taken(session: &mut Session) -> Result<Option<usize>, StoreError> {
    let there = session.query("SELECT to_regclass('fairlead_schema') IS NOT NULL", &[])?;
    if !there.first().is_some_and(|row| row.get(0).unwrap_or(false)) {
        return Ok(None);
    }
    let rows = session.query("SELECT steps FROM fairlead_schema", &[])?;
    let steps: u32 = rows.first().ok_or_else(|| StoreError::Unreadable { what: "schema", value: "no row".to_owned() })?.get(0)?;
    Ok(Some(steps as usize))
}

fn migrate(session: &mut Session, settings: &PostgresqlSettings, keys: &Keyring, anew: bool) -> Result<(), StoreError> {
    session.batch("BEGIN")?;
    // A second replica that starts at the same time waits here, and finds the work done.
    session.query("SELECT pg_advisory_xact_lock(?1) IS NULL", values![MIGRATION_LOCK])?;
    let place = settings.address.to_string();
    let steps = match (taken(session)?, anew) {
        (None, false) => return Err(StoreError::Missing(place)),
        (None, true) => {
            session.batch("CREATE TABLE fairlead_schema (steps BIGINT NOT NULL); INSERT INTO fairlead_schema VALUES (0)")?;
            0
        }
        (Some(steps), _) => steps,
    };
    migration::run(session, keys, &place, steps)?;
    session.execute("UPDATE fairlead_schema SET steps = ?1", values![u32::try_from(migration::STEPS.len()).unwrap_or(u32::MAX)])?;
    session.batch("COMMIT")
}

/// A thread with a connection.
struct Worker {
    settings: PostgresqlSettings,
    keys: Arc<Keyring>,
    committed: mpsc::Sender<Committed>,
    away: Arc<AtomicBool>,
    session: Option<Session>,
}

/// A job that is committed, and since when at the earliest; not on the disk yet.
struct Committed {
    job: Job,
    since: Instant,
}

/// What became of one attempt at a job.
enum Attempt {
    /// It is done: the answer may go out.
    Done(Result<(), StoreError>),
    /// It is committed, and not on the disk yet.
    Committed(Instant),
    /// Others got in its way.
    Conflict,
    /// The connection broke before anything was kept.
    Lost(StoreError),
}

impl Worker {
    fn run(mut self, queue: &Queue) {
        while let Some(job) = queue.take() {
            self.serve(job);
        }
    }

    fn serve(&mut self, mut job: Job) {
        let mut attempts = 0_u32;
        loop {
            match self.attempt(&mut job) {
                Attempt::Done(kept) => return job.settle(kept),
                Attempt::Committed(since) => {
                    if let Err(mpsc::SendError(Committed { job, .. })) = self.committed.send(Committed { job, since }) {
                        job.settle(Err(StoreError::Unconfirmed));
                    }
                    return;
                }
                Attempt::Conflict if attempts >= ATTEMPTS => return job.settle(Err(StoreError::Contended)),
                Attempt::Conflict => {
                    attempts = attempts.saturating_add(1);
                    // Those that collided must not do so in step again.
                    let dice = job.since.elapsed().subsec_nanos() % 1_000_000;
                    std::thread::sleep(Duration::from_nanos(dice.into()).saturating_mul(attempts));
                }
                Attempt::Lost(error) => {
                    self.session = None;
                    if job.since.elapsed() >= self.settings.timeout {
                        return job.settle(Err(error));
                    }
                }
            }
        }
    }

    fn attempt(&mut self, job: &mut Job) -> Attempt {
        let keys = Arc::clone(&self.keys);
        let session = match self.session() {
            Ok(session) => session,
            Err(error) => {
                std::thread::sleep(Duration::from_millis(250));
                return Attempt::Lost(error);
            }
        };
        let begin = if job.reads { "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" } else { "BEGIN; SET LOCAL synchronous_commit = off" };
        if let Err(error) = session.batch(begin) {
            return Attempt::Lost(error);
        }
        let outcome = job.run(&Tx::new(session, &keys));
        let Some(session) = self.session.as_mut() else { return Attempt::Lost(StoreError::Broken) };
        let since = Instant::now();
        let ended = session.batch(if outcome.is_ok() && !job.reads { "COMMIT" } else { "ROLLBACK" });
        let trouble = ended.as_ref().err().map(|error| session.trouble(error));
        if ended.is_err() {
            self.session = None;
        }
        match (outcome, ended, trouble) {
            (Err(Discard::Trouble(Trouble::Lost)), ..) => Attempt::Lost(StoreError::Broken),
            (Err(Discard::Trouble(Trouble::Conflict)), ..) => Attempt::Conflict,
            (Err(discard), ..) => Attempt::Done(discard.told()),
            (Ok(()), ..) if job.reads => Attempt::Done(Ok(())),
            (Ok(()), Ok(()), _) => Attempt::Committed(since),
            (Ok(()), Err(_), Some(Trouble::Conflict)) => Attempt::Conflict,
            // It may have been kept: to do it again could do it twice.
            (Ok(()), Err(_), Some(Trouble::Lost)) => Attempt::Done(Err(StoreError::Unconfirmed)),
            (Ok(()), Err(error), _) => Attempt::Done(Err(error)),
        }
    }

    /// The connection, made anew if it broke.
    fn session(&mut self) -> Result<&mut Session, StoreError> {
        if self.session.as_ref().is_some_and(Session::is_closed) {
            self.session = None;
        }
        match &mut self.session {
            Some(session) => Ok(session),
            place @ None => {
                let session = connect(&self.settings).inspect_err(|error| {
                    if !self.away.swap(true, Ordering::Relaxed) {
                        tracing::error!(error = error.in_full(), "the database is away; it is asked again until it answers");
                    }
                })?;
                if self.away.swap(false, Ordering::Relaxed) {
                    tracing::info!("{} answers again", self.settings.address);
                }
                Ok(place.insert(session))
            }
        }
    }
}

/// The connection on which the disk is waited for, and since when it is there.
struct Syncing {
    session: Session,
    since: Instant,
}

impl Syncing {
    fn begin(settings: &PostgresqlSettings) -> Result<Self, StoreError> {
        let session = connect(settings)?;
        Ok(Self { session, since: Instant::now() })
    }

    /// A commit that waits for the disk, and for replicas where PostgreSQL is told so, waits for all that came before it.
    fn sync(&mut self) -> Result<(), StoreError> {
        self.session.query("SELECT pg_logical_emit_message(true, 'fairlead', ''::text) IS NULL", &[]).map(drop)
    }

    /// Whether it still answers.
    fn answers(&mut self) -> bool {
        self.session.query("SELECT 1", &[]).is_ok()
    }
}

/// Has the disk take what was committed, and answers those who asked for it.
fn sync(settings: &PostgresqlSettings, mut syncing: Option<Syncing>, committed: &mpsc::Receiver<Committed>) {
    loop {
        let first = match committed.recv_timeout(IDLE) {
            Ok(first) => first,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                // Found now rather than by the next change.
                if !syncing.as_mut().is_some_and(Syncing::answers) {
                    syncing = Syncing::begin(settings).ok();
                }
                continue;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        };
        let mut jobs = vec![first];
        jobs.extend(committed.try_iter());
        let synced = syncing.as_mut().map_or(Err(StoreError::Broken), Syncing::sync);
        if let Err(error) = &synced {
            tracing::error!(error = error.in_full(), "cannot make sure that changes are on the database's disk");
        }
        let from = syncing.as_ref().filter(|_| synced.is_ok()).map(|syncing| syncing.since);
        for Committed { job, since } in jobs {
            // The server may have started anew since, without what its disk did not have: then this connection is younger.
            let confirmed = from.is_some_and(|from| from <= since);
            job.settle(if confirmed { Ok(()) } else { Err(StoreError::Unconfirmed) });
        }
        if synced.is_err() {
            syncing = Syncing::begin(settings).ok();
        }
    }
}
