//! What is kept for good, in SQLite or PostgreSQL, on the disk before anyone is answered.
//!
//! A question is a closure over [`Tx`], run in one transaction. It may be run again (others got in the way, a connection broke), so
//! that it must not change anything but the database. Each submodule adds the questions of one idea to [`Tx`]; each question is
//! written once, for both databases. Commands open the same database while `serve` runs.

mod allowed;
mod archive;
mod audit;
mod class;
mod cluster;
mod error;
mod event;
mod keyring;
mod migration;
mod node;
mod postgresql;
mod queue;
mod seal;
mod sealed;
mod selector;
mod session;
mod site;
mod sql;
mod sqlite;
mod token;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::clock::Timestamp;
use queue::{Job, Trouble};
use sql::{Connection, Dialect, FromValue, Row, Value, values};

pub use allowed::AllowedMachine;
pub use archive::ArchiveError;
pub use audit::{AuditFilter, AuditHead, AuditLine, BrokenChain};
pub use class::{Class, ClassPattern};
pub use cluster::{Asset, Cluster, NewCluster};
pub use error::StoreError;
pub use event::{Event, EventKind, NewEvent};
pub use keyring::{KeySource, Keyring, key_file, read_key_file};
pub use node::{LocalBoot, Node, NodeFacts, NodeFilter, NodeKey};
pub use postgresql::{PostgresqlAddress, PostgresqlSettings};
pub use seal::{KeyId, SealError, StoreKey};
pub use selector::Selector;
pub use session::{Outcome, Session};
pub use site::{JoinTokenRefusal, Site};
pub use token::{Purpose, TokenError, TokenUse};

/// Where the store is.
#[derive(Clone, Debug)]
pub enum Location {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A database of a PostgreSQL server.
    Postgresql(Box<PostgresqlSettings>),
}

impl Location {
    /// Whether there is a Fairlead database, whatever its state.
    ///
    /// # Errors
    /// When PostgreSQL does not answer.
    pub fn is_there(&self) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(path) => Ok(path.exists()),
            Self::Postgresql(settings) => postgresql::is_there(settings),
        }
    }
}

/// The store. Clones share its threads and connections.
#[derive(Clone)]
pub struct Store {
    database: Arc<Database>,
    keys: Arc<Keyring>,
}

enum Database {
    Sqlite(sqlite::Sqlite),
    Postgresql(postgresql::Postgresql),
}

impl Store {
    /// Makes the database; refuses when there is one.
    ///
    /// # Errors
    /// When it is there already or can't be made.
    pub fn create(location: &Location, keys: &Arc<Keyring>) -> Result<Self, StoreError> {
        let database = match location {
            Location::Sqlite(path) => Database::Sqlite(sqlite::Sqlite::create(path, keys)?),
            Location::Postgresql(settings) => Database::Postgresql(postgresql::Postgresql::create(settings, keys)?),
        };
        Ok(Self { database: Arc::new(database), keys: Arc::clone(keys) })
    }

    /// Opens the database, checks that it is whole and that its secrets can be read, and brings its schema up to date.
    ///
    /// # Errors
    /// When it is missing, not ours, damaged, newer than this program, or sealed with another key. It is never started over.
    pub fn open(location: &Location, keys: &Arc<Keyring>) -> Result<Self, StoreError> {
        let database = match location {
            Location::Sqlite(path) => Database::Sqlite(sqlite::Sqlite::open(path, keys)?),
            Location::Postgresql(settings) => Database::Postgresql(postgresql::Postgresql::open(settings, keys)?),
        };
        let store = Self { database: Arc::new(database), keys: Arc::clone(keys) };
        store.read(|tx| tx.check_keys())?;
        Ok(store)
    }

    /// Writes a copy of a SQLite store, as it is at one moment, to a file of its own, which is there whole or not at all.
    ///
    /// # Errors
    /// When the file can't be written, or SQLite's own.
    pub fn back_up(database: &Path, to: &Path) -> Result<(), StoreError> {
        sqlite::back_up(database, to)
    }

    /// Puts a copy that [`Store::back_up`] made in the place of a SQLite store, which nobody has open. What was there is kept beside it.
    ///
    /// # Errors
    /// When the copy is not a whole store, or is not sealed with a key that is here. Nothing is changed then.
    pub fn restore(database: &Path, from: &Path, keys: &Arc<Keyring>) -> Result<PathBuf, StoreError> {
        sqlite::restore(database, from, keys)
    }

    /// The keys that seal its secrets.
    #[must_use]
    pub fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// Runs `work` in one transaction that is on the disk when this returns `Ok`; nothing of it is kept otherwise.
    ///
    /// # Errors
    /// Those of `work`, and the database's own.
    pub fn transaction<T, E>(&self, work: impl Fn(&Tx<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.wait_for(work, false)
    }

    /// The same for work that only reads, which waits for no writer.
    ///
    /// # Errors
    /// Those of `work`, and the database's own.
    pub fn read<T, E>(&self, work: impl Fn(&Tx<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.wait_for(work, true)
    }

    /// [`Store::transaction`] without holding up the thread.
    ///
    /// # Errors
    /// Those of `work`, and the database's own.
    pub async fn call<T, E>(&self, work: impl Fn(&Tx<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.answer_to(work, false).await
    }

    /// [`Store::read`] without holding up the thread.
    ///
    /// # Errors
    /// Those of `work`, and the database's own.
    pub async fn call_read<T, E>(&self, work: impl Fn(&Tx<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.answer_to(work, true).await
    }

    fn wait_for<T, E>(&self, work: impl Fn(&Tx<'_>) -> Result<T, E> + Send + 'static, reads: bool) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (sender, receiver) = mpsc::sync_channel(1);
        // Whoever asked is waiting below.
        self.put(Job::new(queue::typed(work, move |answer| drop(sender.send(answer))), reads));
        receiver.recv().unwrap_or_else(|_| Err(StoreError::Panicked.into()))
    }

    async fn answer_to<T, E>(&self, work: impl Fn(&Tx<'_>) -> Result<T, E> + Send + 'static, reads: bool) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        // Whoever asked may be gone; what was done stays done.
        self.put(Job::new(queue::typed(work, move |answer| drop(sender.send(answer))), reads));
        receiver.await.unwrap_or_else(|_| Err(StoreError::Panicked.into()))
    }

    fn put(&self, job: Job) {
        match &*self.database {
            Database::Sqlite(sqlite) => sqlite.put(job),
            Database::Postgresql(postgresql) => postgresql.put(job),
        }
    }
}

/// Waits for the threads to end, but for one that this is called on: the last to hold the store may be a job.
fn join(threads: &mut Vec<JoinHandle<()>>) {
    let own = std::thread::current().id();
    for thread in threads.drain(..).filter(|thread| thread.thread().id() != own) {
        if thread.join().is_err() {
            tracing::error!("a thread of the store ended badly");
        }
    }
}

/// One transaction.
pub struct Tx<'store> {
    connection: RefCell<&'store mut dyn Connection>,
    keys: &'store Keyring,
    trouble: Cell<Option<Trouble>>,
    lines: RefCell<Vec<audit::NewLine>>,
}

impl<'store> Tx<'store> {
    fn new(connection: &'store mut dyn Connection, keys: &'store Keyring) -> Self {
        Self { connection: RefCell::new(connection), keys, trouble: Cell::new(None), lines: RefCell::default() }
    }

    /// How a question failed, if one did. PostgreSQL keeps nothing of a transaction after that, so neither do we with SQLite.
    fn trouble(&self) -> Option<Trouble> {
        self.trouble.get()
    }

    /// Does what is left for the end of a transaction that is to be kept.
    fn finish(&self) -> Result<(), StoreError> {
        self.write_audit()
    }

    fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        self.ask(|connection| connection.execute(sql, values))
    }

    fn rows(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.ask(|connection| connection.query(sql, values))
    }

    /// The first row.
    fn row(&self, sql: &str, values: &[Value]) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values)?.into_iter().next())
    }

    /// The first column of the first row.
    fn one<T: FromValue>(&self, sql: &str, values: &[Value]) -> Result<Option<T>, StoreError> {
        self.row(sql, values)?.map(|row| row.get(0)).transpose()
    }

    fn ask<T>(&self, question: impl FnOnce(&mut dyn Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut connection = self.connection.borrow_mut();
        question(&mut **connection).inspect_err(|error| {
            if self.trouble.get().is_none() {
                self.trouble.set(Some(connection.trouble(error)));
            }
        })
    }

    fn dialect(&self) -> Dialect {
        self.connection.borrow().dialect()
    }

    /// A question whose rows nobody else changes until this transaction ends. SQLite has one writer, which is as good.
    fn locked(&self, sql: &str) -> String {
        match self.dialect() {
            Dialect::Sqlite => sql.to_owned(),
            Dialect::Postgresql => format!("{sql} FOR UPDATE"),
        }
    }

    /// Forgets what can never matter again: tickets and tokens long past their time.
    ///
    /// # Errors
    /// The database's own.
    pub fn forget_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        // A day beyond its end even a badly set clock can't make a ticket acceptable again.
        let before = Timestamp(now.0.saturating_sub(86_400_000));
        let tickets = self.execute("DELETE FROM used_ticket WHERE expires_at < ?1", values![before])?;
        let tokens = self.execute("DELETE FROM token WHERE expires_at < ?1", values![before])?;
        Ok(tickets.saturating_add(tokens))
    }
}

fn read_back<T: std::str::FromStr>(what: &'static str, value: String) -> Result<T, StoreError> {
    value.parse().map_err(|_| StoreError::Unreadable { what, value })
}

#[cfg(test)]
pub(crate) mod tests;
