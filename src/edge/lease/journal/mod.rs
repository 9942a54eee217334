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

mod compaction;
mod recovery;
mod writer;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use self::writer::{Submission, Writer};
use super::LeaseRecord;

const SNAPSHOT: &str = "leases.snapshot";
const OLD_JOURNAL: &str = "leases.journal.old";
const JOURNAL: &str = "leases.journal";
const LOCK: &str = "lock";

/// How many records may wait for the disk. What comes beyond is refused at once rather than kept for clients that have
/// given up long before.
const QUEUE: usize = 8192;

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
    queue: Option<SyncSender<Submission>>,
    writer: Option<JoinHandle<()>>,
}

/// Tells when a submitted record is on the disk, or that it will not be.
#[derive(Debug)]
pub struct Receipt(Result<oneshot::Receiver<Result<(), JournalError>>, JournalError>);

impl Receipt {
    /// Waits for the disk.
    ///
    /// # Errors
    /// When the record could not be written and synced. The promise that depends on it must not be made.
    pub async fn wait(self) -> Result<(), JournalError> {
        self.0?.await.unwrap_or(Err(JournalError::Closed))
    }
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
        let (queue, submissions) = mpsc::sync_channel(QUEUE);
        let thread = thread::Builder::new()
            .name("lease-journal".to_owned())
            .spawn(move || writer.run(&submissions))
            .map_err(JournalError::io("start a thread that writes", folder))?;
        Ok((Self { queue: Some(queue), writer: Some(thread) }, recovered.into_records()))
    }

    /// Hands a record to the writer. Records reach the disk in the order of these calls.
    #[must_use]
    pub fn submit(&self, record: LeaseRecord) -> Receipt {
        let (done, receipt) = oneshot::channel();
        let Some(queue) = &self.queue else { return Receipt(Err(JournalError::Closed)) };
        Receipt(match queue.try_send(Submission { record, done }) {
            Ok(()) => Ok(receipt),
            Err(TrySendError::Full(_)) => Err(JournalError::Overloaded),
            Err(TrySendError::Disconnected(_)) => Err(JournalError::Closed),
        })
    }

    /// Writes a record and waits until it is on the disk.
    ///
    /// # Errors
    /// When it could not be written and synced: the disk is full, read-only or broken. A new lease must not be acknowledged
    /// then. A renewal may go on, for as long as [`crate::edge::dhcp::UNDURABLE_RENEWAL`] says: the client has the address
    /// already, and losing it would take the site down for a disk.
    pub async fn commit(&self, record: LeaseRecord) -> Result<(), JournalError> {
        self.submit(record).wait().await
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // The writer ends when the queue is closed and empty.
        self.queue = None;
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
