//! The lease files: a snapshot and a journal behind it.
//!
//! | file | holds |
//! |---|---|
//! | `leases.snapshot` | the newest record of each address when it was made |
//! | `leases.journal.old` | what was journalled before the last change of journals; there only while a snapshot is being made of it |
//! | `leases.journal` | every record since |
//! | `lock` | keeps a second program out |
//!
//! They are read in this order, a later record of an address replacing an earlier one. Only the journal is appended to, so only
//! its end can be torn by a crash. A torn end was promised to nobody and is cut off; damage anywhere else is refused, since it
//! may hide leases that clients rely on.

mod batch;
mod compaction;
mod queue;
mod recovery;
mod writer;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

pub use self::batch::RecordBatch;
use self::queue::{Queue, Submission};
use self::writer::Writer;
use super::LeaseRecord;

const SNAPSHOT: &str = "leases.snapshot";
const OLD_JOURNAL: &str = "leases.journal.old";
const JOURNAL: &str = "leases.journal";
const LOCK: &str = "lock";

/// How many records may wait for the disk. What comes beyond is refused at once rather than kept for clients that have
/// given up long before.
const LONGEST_QUEUE: usize = 8192;

/// Why leases can't be read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file is damaged before its end.
    #[error("lease file `{}` is damaged at octet {offset}, with whole records behind the damage", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        offset: usize,
    },
    /// The file was not written by this program, or by a later version of it.
    #[error("`{}` is not a lease file of this version", .0.display())]
    Foreign(PathBuf),
    /// Another program has the folder.
    #[error("the lease folder `{}` is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// More records wait for the disk than it can take.
    #[error("the disk is too slow for the leases that are asked for")]
    Overloaded,
    /// The journal was closed.
    #[error("the lease journal is closed")]
    Closed,
}

impl JournalError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: Arc::new(source) }
    }
}

/// The durable journal of leases.
///
/// One thread writes; all records that arrive while it syncs share the next write and the next sync. Dropping the journal
/// writes what is still waiting.
#[derive(Debug)]
pub struct Journal {
    queue: Arc<Queue>,
    writer: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens the journal in `folder`, which is made when absent, and returns the newest record of each address.
    ///
    /// A torn end, left by a crash during the last write, is cut off.
    ///
    /// # Errors
    /// When the folder is in use, a file is damaged before its end or foreign, or the file system refuses. No lease file is changed then.
    pub fn open(folder: &Path) -> Result<(Self, Vec<LeaseRecord>), JournalError> {
        fs::create_dir_all(folder).map_err(JournalError::io("create the lease folder", folder))?;
        let lock = lock(folder)?;
        let recovered = recovery::recover(folder)?;
        let writer = Writer::open(folder, &recovered, lock)?;
        let queue = Arc::new(Queue::new(LONGEST_QUEUE));
        let submissions = Arc::clone(&queue);
        let thread = thread::Builder::new()
            .name("lease-journal".to_owned())
            .spawn(move || writer.run(&submissions))
            .map_err(JournalError::io("start a thread that writes", folder))?;
        Ok((Self { queue, writer: Some(thread) }, recovered.into_records()))
    }

    /// Reads the newest record of each address without taking the folder: another process may be writing there. What it has
    /// synced when this begins is among them.
    ///
    /// # Errors
    /// When a file is damaged or foreign, or the file system refuses; [`JournalError::InUse`] when the files are replaced faster than
    /// they can be read.
    pub fn read(folder: &Path) -> Result<Vec<LeaseRecord>, JournalError> {
        recovery::read_beside_a_writer(folder)
    }

    /// Hands records to the writer, which calls `done` when all of them are on the disk, or when it is sure that they will not
    /// be: the promises that depend on them must not be made then. Records reach the disk, and `done` is called, in the order
    /// of these calls.
    ///
    /// A batch that finds no room ([`JournalError::Overloaded`]), or more of it than may wait at all, is refused at once: `done`
    /// is called before this returns, by the caller's own thread. All others are called by the writer, which does nothing else
    /// meanwhile; they must be quick and must not panic. A batch without records is done when all before it are.
    pub fn submit(&self, records: RecordBatch, done: impl FnOnce(Result<(), JournalError>) + Send + 'static) {
        if let Err((submission, error)) = self.queue.push(Submission { records, done: Box::new(done) }) {
            (submission.done)(Err(error));
        }
    }

    /// Writes a record and waits until it is on the disk.
    ///
    /// # Errors
    /// When it could not be written and synced: the disk is full, read-only or broken. A new lease must not be acknowledged
    /// then. A renewal may go on, for as long as [`crate::edge::dhcp::UNDURABLE_RENEWAL`] says: the client has the address
    /// already, and losing it would take the site down for a disk.
    pub async fn commit(&self, record: LeaseRecord) -> Result<(), JournalError> {
        let (done, receipt) = oneshot::channel();
        // Whoever does not wait any more has no use for the outcome.
        self.submit(RecordBatch::of(&record), |outcome| drop(done.send(outcome)));
        receipt.await.unwrap_or(Err(JournalError::Closed))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // The writer ends when the queue is closed and empty.
        self.queue.close();
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

fn lock(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join(LOCK);
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(JournalError::io("open the lock file", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(JournalError::InUse(folder.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(JournalError::io("lock", &path)(error)),
    }
}

#[cfg(test)]
mod tests;
