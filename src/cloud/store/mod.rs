//! What is kept for good: SQLite, synced to disk before anyone is answered.
//!
//! One connection, one writer. Commands open the same database while `serve` runs: SQLite's own locks keep them apart. Each
//! submodule adds the questions of one idea to [`Tx`].

mod cluster;
mod event;
mod node;
mod seal;
mod session;
mod site;
mod token;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::clock::Timestamp;

pub use cluster::{Asset, Cluster, NewCluster};
pub use event::{Event, EventKind, NewEvent};
pub use node::{LocalBoot, Node, NodeFacts, NodeKey};
pub use seal::{SealError, StoreKey};
pub use session::{Outcome, Session};
pub use site::{JoinTokenRefusal, Site};
pub use token::{Purpose, TokenError, TokenUse};

/// The schema's steps, oldest first; the database's `user_version` counts those that it has taken.
const MIGRATIONS: [&str; 1] = [include_str!("schema/0001.sql")];

/// Marks a SQLite file as ours (`PRAGMA application_id`): "FLcl".
const APPLICATION_ID: i32 = 0x464c_636c;

/// Why the store can't answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database file is not there.
    #[error("there is no database at `{0}`")]
    Missing(PathBuf),
    /// The file is not a Fairlead database.
    #[error("`{0}` is not a Fairlead database")]
    NotOurs(PathBuf),
    /// The database was written by a newer program.
    #[error("`{path}` has schema {found}, this program knows up to {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: usize,
        /// The newest known.
        known: usize,
    },
    /// SQLite found the file damaged.
    #[error("the database `{path}` is damaged: {finding}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's first finding.
        finding: String,
    },
    /// Something of that name is there already.
    #[error("there is already a {kind} named `{name}`")]
    Exists {
        /// What it is.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A value in the database is not what the program wrote.
    #[error("the database holds an unreadable {what}: `{value}`")]
    Unreadable {
        /// Which value.
        what: &'static str,
        /// What stands there.
        value: String,
    },
    /// A sealed value can't be opened.
    #[error("cannot open a sealed value")]
    Seal(#[from] SealError),
    /// SQLite could not do it.
    #[error("the database could not be read or written")]
    Database(#[from] rusqlite::Error),
}

impl StoreError {
    /// The error and its causes on one line, for a log.
    #[must_use]
    pub fn in_full(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |error| error.source());
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }
}

/// The store. Clones share one connection.
#[derive(Clone)]
pub struct Store {
    connection: Arc<Mutex<Connection>>,
    key: Arc<StoreKey>,
}

impl Store {
    /// Makes the database; refuses when there is a file.
    ///
    /// # Errors
    /// When the file is there already or can't be written.
    pub fn create(path: &Path, key: StoreKey) -> Result<Self, StoreError> {
        if path.exists() {
            return Err(StoreError::Exists { kind: "database", name: path.display().to_string() });
        }
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        prepare(&connection)?;
        migrate(&mut connection, path)?;
        Ok(Self::around(connection, key))
    }

    /// Opens the database, checks that it is whole, and brings its schema up to date.
    ///
    /// # Errors
    /// When it is missing, not ours, damaged or newer than this program. It is never started over.
    pub fn open(path: &Path, key: StoreKey) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing(path.to_owned()));
        }
        let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // Whatever SQLite says of a file that it can't even look at, it is the file that is meant.
        let damaged = |error: rusqlite::Error| StoreError::Damaged { path: path.to_owned(), finding: error.to_string() };
        if connection.pragma_query_value(None, "application_id", |row| row.get::<_, i32>(0)).map_err(damaged)? != APPLICATION_ID {
            return Err(StoreError::NotOurs(path.to_owned()));
        }
        let finding: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(damaged)?;
        if finding != "ok" {
            return Err(StoreError::Damaged { path: path.to_owned(), finding });
        }
        prepare(&connection)?;
        migrate(&mut connection, path)?;
        Ok(Self::around(connection, key))
    }

    fn around(connection: Connection, key: StoreKey) -> Self {
        Self { connection: Arc::new(Mutex::new(connection)), key: Arc::new(key) }
    }

    /// Runs `work` in one transaction that is on the disk when this returns `Ok`; nothing of it is kept otherwise.
    ///
    /// # Errors
    /// Those of `work`, and the database's own.
    pub fn transaction<T, E: From<StoreError>>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, E>) -> Result<T, E> {
        // A panic in another thread can't have left a transaction half done: dropping it rolled it back.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        // Immediate: two processes that both read before they write would otherwise fail rather than wait.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(StoreError::from)?;
        let tx = Tx { sql: transaction, key: &self.key };
        let value = work(&tx)?;
        tx.sql.commit().map_err(StoreError::from)?;
        Ok(value)
    }

    /// The same, off the threads that serve connections.
    ///
    /// # Errors
    /// Those of `work`, and the database's own.
    pub async fn call<T, E>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let store = self.clone();
        match tokio::task::spawn_blocking(move || store.transaction(work)).await {
            Ok(outcome) => outcome,
            Err(error) => Err(StoreError::Unreadable { what: "answer", value: error.to_string() }.into()),
        }
    }
}

/// One transaction.
pub struct Tx<'store> {
    sql: Transaction<'store>,
    key: &'store StoreKey,
}

impl Tx<'_> {
    /// Writes a line to the audit log.
    ///
    /// # Errors
    /// The database's own.
    pub fn audit(&self, at: Timestamp, actor: &str, action: &str, subject: &str, detail: &str) -> Result<(), StoreError> {
        self.sql.prepare_cached("INSERT INTO audit (at, actor, action, subject, detail) VALUES (?1, ?2, ?3, ?4, ?5)")?.execute((
            stored(at),
            actor,
            action,
            subject,
            detail,
        ))?;
        Ok(())
    }

    /// Forgets what can never matter again: tickets and tokens long past their time.
    ///
    /// # Errors
    /// The database's own.
    pub fn forget_expired(&self, now: Timestamp) -> Result<usize, StoreError> {
        // A day beyond its end even a badly set clock can't make a ticket acceptable again.
        let before = stored(now).saturating_sub(86_400_000);
        let tickets = self.sql.execute("DELETE FROM used_ticket WHERE expires_at < ?1", [before])?;
        let tokens = self.sql.execute("DELETE FROM token WHERE expires_at < ?1", [before])?;
        Ok(tickets.saturating_add(tokens))
    }
}

const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

fn prepare(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL, not WAL's usual NORMAL: a commit that was answered must survive a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    Ok(())
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: usize = transaction.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).map(|version| version as usize)?;
    if found > MIGRATIONS.len() {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: MIGRATIONS.len() });
    }
    for step in MIGRATIONS.iter().skip(found) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX))?;
    transaction.commit()?;
    Ok(())
}

/// A moment as the database keeps it.
fn stored(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// A number from the database, which keeps none below zero.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn read_back<T: std::str::FromStr>(what: &'static str, value: String) -> Result<T, StoreError> {
    value.parse().map_err(|_| StoreError::Unreadable { what, value })
}

/// Turns "UNIQUE constraint failed" into the error that a person understands.
fn exists_already(error: rusqlite::Error, kind: &'static str, name: &str) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => StoreError::Exists { kind, name: name.to_owned() },
        _ => error.into(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A store in a folder of its own, gone when dropped.
    pub(crate) struct Scratch {
        pub(crate) folder: PathBuf,
        pub(crate) store: Store,
    }

    impl Scratch {
        pub(crate) fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("fairlead-store-{name}-{}", std::process::id()));
            drop(std::fs::remove_dir_all(&folder));
            std::fs::create_dir_all(&folder).unwrap();
            let store = Store::create(&folder.join("cloud.db"), StoreKey::from_bytes(&[7; 32]).unwrap()).unwrap();
            Self { folder, store }
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.folder));
        }
    }

    fn key() -> StoreKey {
        StoreKey::from_bytes(&[7; 32]).unwrap()
    }

    #[test]
    fn a_missing_foreign_damaged_or_newer_database_is_refused_and_left_alone() {
        let scratch = Scratch::new("refuse");
        let path = scratch.folder.join("other.db");
        assert!(matches!(Store::open(&path, key()), Err(StoreError::Missing(_))));
        assert!(!path.exists());

        std::fs::write(&path, vec![b'x'; 8192]).unwrap();
        assert!(matches!(Store::open(&path, key()), Err(StoreError::Damaged { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), vec![b'x'; 8192]);

        std::fs::remove_file(&path).unwrap();
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(matches!(Store::open(&path, key()), Err(StoreError::NotOurs(_))));

        let ours = scratch.folder.join("cloud.db");
        Connection::open(&ours).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Store::open(&ours, key()), Err(StoreError::Newer { found: 99, .. })));
    }

    #[test]
    fn a_database_is_never_made_over_another() {
        let scratch = Scratch::new("over");
        let outcome = Store::create(&scratch.folder.join("cloud.db"), key());
        assert!(matches!(outcome, Err(StoreError::Exists { .. })));
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let scratch = Scratch::new("rollback");
        let outcome: Result<(), StoreError> = scratch.store.transaction(|tx| {
            tx.audit(Timestamp(1), "a", "b", "c", "d")?;
            Err(StoreError::Missing(PathBuf::new()))
        });
        assert!(outcome.is_err());
        let lines: i64 = scratch
            .store
            .transaction(|tx| tx.sql.query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).map_err(StoreError::from))
            .unwrap();
        assert_eq!(lines, 0);
    }
}
