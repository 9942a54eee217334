//! SQLite: one thread that writes, some that read.
//!
//! A commit is on the disk when it returns, which takes milliseconds on most disks. So the writer takes every job that waits, runs
//! each within a savepoint of one transaction, commits once, and only then answers them all. Other processes open the same file;
//! SQLite's own locks keep them apart.

use std::fs::{self, File};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{OpenFlags, ToSql, params_from_iter};

use super::keyring::Keyring;
use super::migration::{self, STEPS};
use super::queue::{Discard, Job, Queue, Trouble};
use super::sql::{Connection, Dialect, Row, Value};
use super::{StoreError, Tx};
use crate::durable_file::sync_folder_of;

/// Marks a SQLite file as ours (`PRAGMA application_id`): "FLcl".
const APPLICATION_ID: i32 = 0x464c_636c;
/// How long a lock of another process is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How many jobs share a commit at most: those behind them should not wait for ever.
const MOST_TOGETHER: usize = 512;
/// Threads that read.
const READERS: usize = 2;
/// Statements that a connection keeps compiled.
const STATEMENTS: usize = 256;

/// The threads around the database file.
pub(super) struct Sqlite {
    writes: Arc<Queue>,
    reads: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl Sqlite {
    /// Makes the database; refuses when there is a file.
    pub(super) fn create(path: &Path, keys: &Arc<Keyring>) -> Result<Self, StoreError> {
        if path.exists() {
            return Err(StoreError::Exists { kind: "database", name: path.display().to_string() });
        }
        let connection = rusqlite::Connection::open(path)?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        Self::around(path, connection, keys)
    }

    /// Opens the database, checks that it is whole, and brings its schema up to date.
    pub(super) fn open(path: &Path, keys: &Arc<Keyring>) -> Result<Self, StoreError> {
        let connection = open_checked(path)?;
        Self::around(path, connection, keys)
    }

    fn around(path: &Path, mut connection: rusqlite::Connection, keys: &Arc<Keyring>) -> Result<Self, StoreError> {
        prepare(&connection)?;
        migrate(&mut connection, path, keys)?;
        let mut sqlite = Self { writes: Arc::default(), reads: Arc::default(), threads: Vec::new() };
        for _ in 0..READERS {
            let (reader, queue, keys) = (open_reader(path)?, Arc::clone(&sqlite.reads), Arc::clone(keys));
            sqlite.threads.push(spawn("store-read", move || read(&reader, &queue, &keys))?);
        }
        let (queue, keys) = (Arc::clone(&sqlite.writes), Arc::clone(keys));
        sqlite.threads.push(spawn("store-write", move || write(&connection, &queue, &keys))?);
        Ok(sqlite)
    }

    pub(super) fn put(&self, job: Job) {
        if job.reads { self.reads.put(job) } else { self.writes.put(job) }
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.reads.close();
        self.writes.close();
        super::join(&mut self.threads);
    }
}

/// Opens a database file that is ours and whole.
pub(super) fn open_checked(path: &Path) -> Result<rusqlite::Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::Missing(format!("`{}`", path.display())));
    }
    let connection = open_file(path)?;
    // Whatever SQLite says of a file that it can't even look at, it is the file that is meant.
    let damaged = |error: rusqlite::Error| StoreError::Damaged { path: path.to_owned(), finding: error.to_string() };
    if connection.pragma_query_value(None, "application_id", |row| row.get::<_, i32>(0)).map_err(damaged)? != APPLICATION_ID {
        return Err(StoreError::NotOurs(format!("`{}`", path.display())));
    }
    let finding: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(damaged)?;
    if finding != "ok" {
        return Err(StoreError::Damaged { path: path.to_owned(), finding });
    }
    Ok(connection)
}

fn open_file(path: &Path) -> Result<rusqlite::Connection, StoreError> {
    let connection = rusqlite::Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn open_reader(path: &Path) -> Result<rusqlite::Connection, StoreError> {
    let connection = open_file(path)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn prepare(connection: &rusqlite::Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // SQLite does not wait for this lock by itself: another process may be changing the mode at this moment.
    let since = Instant::now();
    while let Err(error) = connection.pragma_update(None, "journal_mode", "WAL") {
        if error.sqlite_error_code() != Some(rusqlite::ErrorCode::DatabaseBusy) || since.elapsed() > BUSY_TIMEOUT {
            return Err(error.into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // FULL, not WAL's usual NORMAL: a commit that was answered must survive a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

fn migrate(connection: &mut rusqlite::Connection, path: &Path, keys: &Keyring) -> Result<(), StoreError> {
    // Immediate: a second process that starts at the same time waits here, and finds the work done.
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found: usize = transaction.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).map(|version| version as usize)?;
    migration::run(&mut Session(&transaction), keys, &format!("`{}`", path.display()), found)?;
    transaction.pragma_update(None, "user_version", u32::try_from(STEPS.len()).unwrap_or(u32::MAX))?;
    transaction.commit()?;
    Ok(())
}

pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(StoreError::Thread)
}

fn read(connection: &rusqlite::Connection, queue: &Queue, keys: &Keyring) {
    while let Some(mut job) = queue.take() {
        let kept = match connection.execute_batch("BEGIN") {
            Ok(()) => match job.run(&Tx::new(&mut Session(connection), keys)) {
                Ok(()) => Ok(()),
                Err(discard) => discard.told(),
            },
            Err(error) => Err(error.into()),
        };
        if !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "cannot end a transaction that only read");
        }
        job.settle(kept);
    }
}

/// Takes jobs for as long as there are any.
fn write(connection: &rusqlite::Connection, queue: &Queue, keys: &Keyring) {
    while let Some(first) = queue.take() {
        let mut next = Some(first);
        let mut together = Vec::new();
        let begun = connection.execute_batch("BEGIN IMMEDIATE");
        if let (Err(error), Some(job)) = (begun, next.take_if(|_| connection.is_autocommit())) {
            job.settle(Err(error.into()));
            continue;
        }
        while let Some(mut job) = next {
            let outcome = within_savepoint(connection, keys, &mut job);
            together.push((job, outcome));
            // A full disk and the like take the whole transaction back.
            let room = together.len() < MOST_TOGETHER && !connection.is_autocommit();
            next = if room { queue.take_now() } else { None };
        }
        match commit(connection) {
            Ok(()) => {
                for (job, outcome) in together {
                    job.settle(outcome.or_else(Discard::told));
                }
            }
            // One of them may have made it fail. Each for itself, then.
            Err(error) if together.len() > 1 => {
                tracing::debug!(%error, jobs = together.len(), "a common commit failed");
                for (mut job, _) in together {
                    let kept = alone(connection, keys, &mut job);
                    job.settle(kept);
                }
            }
            Err(error) => {
                if let Some((job, outcome)) = together.pop() {
                    job.settle(outcome.or_else(Discard::told).and(Err(error.into())));
                }
            }
        }
    }
}

fn alone(connection: &rusqlite::Connection, keys: &Keyring, job: &mut Job) -> Result<(), StoreError> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let outcome = within_savepoint(connection, keys, job);
    let committed = commit(connection);
    outcome.or_else(Discard::told)?;
    Ok(committed?)
}

/// Runs a job so that nothing of it stays if it fails.
fn within_savepoint(connection: &rusqlite::Connection, keys: &Keyring, job: &mut Job) -> Result<(), Discard> {
    let because = |error: rusqlite::Error| Discard::Because(error.into());
    connection.execute_batch("SAVEPOINT job").map_err(because)?;
    let outcome = job.run(&Tx::new(&mut Session(connection), keys));
    if connection.is_autocommit() {
        return outcome;
    }
    let end = if outcome.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
    connection.execute_batch(end).map_err(because)?;
    outcome
}

fn commit(connection: &rusqlite::Connection) -> Result<(), rusqlite::Error> {
    let committed = connection.execute_batch("COMMIT");
    if committed.is_err() && !connection.is_autocommit() {
        // The commit's own error is the one worth telling.
        drop(connection.execute_batch("ROLLBACK"));
    }
    committed
}

/// A connection with a transaction open on it.
struct Session<'connection>(&'connection rusqlite::Connection);

impl Connection for Session<'_> {
    fn execute(&mut self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        let changed = self.0.prepare_cached(sql)?.execute(params_from_iter(values))?;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    fn query(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let mut statement = self.0.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut found = statement.query(params_from_iter(values))?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let value = |column| Ok::<_, rusqlite::Error>(from_sqlite(row.get_ref(column)?));
            rows.push(Row((0..columns).map(value).collect::<Result<_, _>>()?));
        }
        Ok(rows)
    }

    fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        Ok(self.0.execute_batch(sql)?)
    }

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn trouble(&self, _error: &StoreError) -> Trouble {
        // There is one writer, and its locks were waited for.
        Trouble::Refused
    }
}

fn from_sqlite(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        // The tables are strict and have no such column.
        ValueRef::Real(number) => Value::Text(number.to_string()),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Copies the database as it is at one moment, while others go on writing.
pub(super) fn back_up(database: &Path, to: &Path) -> Result<(), StoreError> {
    let connection = open_file(database)?;
    let temporary = beside(to, ".new");
    let outcome = (|| {
        // SQLite takes an empty file as it is, and this one nobody else reads.
        File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        connection.execute("VACUUM INTO ?1", [temporary.to_string_lossy()])?;
        File::open(&temporary)?.sync_all()?;
        fs::rename(&temporary, to)?;
        Ok(sync_folder_of(to)?)
    })();
    if outcome.is_err() {
        // The first error is the one worth reporting.
        drop(fs::remove_file(&temporary));
    }
    outcome
}

/// Puts a copy in the database's place, and returns where the database is kept that was there.
pub(super) fn restore(database: &Path, from: &Path, keys: &Arc<Keyring>) -> Result<PathBuf, StoreError> {
    if !from.exists() {
        return Err(StoreError::Missing(format!("`{}`", from.display())));
    }
    let copy = beside(database, ".restored");
    let outcome = (|| {
        fs::copy(from, &copy)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o600))?;
        drop(super::Store::open(&super::Location::Sqlite(copy.clone()), keys)?);
        File::open(&copy)?.sync_all()?;
        let kept = beside(database, ".replaced");
        if database.exists() {
            // What is still in the log goes into the file; a damaged one keeps its log beside it.
            drop(open_checked(database).map(drop));
            for ending in LOG_ENDINGS {
                let log = beside(database, ending);
                if log.exists() {
                    fs::rename(&log, beside(&kept, ending))?;
                }
            }
            drop(fs::remove_file(&kept));
            fs::hard_link(database, &kept)?;
        }
        fs::rename(&copy, database)?;
        sync_folder_of(database)?;
        Ok(kept)
    })();
    if outcome.is_err() {
        // The first error is the one worth reporting.
        drop(fs::remove_file(&copy));
    }
    outcome
}

/// What SQLite keeps beside a database file.
const LOG_ENDINGS: [&str; 2] = ["-wal", "-shm"];

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
