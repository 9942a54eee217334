use std::fmt;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{JournalError, RecordBatch};

/// What is called when it is known whether records are on the disk.
pub(super) type Done = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// Records that wait for the disk, and who waits for them.
pub(super) struct Submission {
    pub(super) records: RecordBatch,
    pub(super) done: Done,
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission").field("records", &self.records.len()).finish_non_exhaustive()
    }
}

/// What waits for the writer, in order. It takes all of it at once, so that one sync serves everyone.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// How many records may wait.
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Submission>,
    /// Records in all that is waiting.
    records: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), limit }
    }

    /// Puts a submission at the end, or gives it back with the reason.
    pub(super) fn push(&self, submission: Submission) -> Result<(), (Submission, JournalError)> {
        let mut state = self.lock();
        if state.closed {
            return Err((submission, JournalError::Closed));
        }
        let records = state.records.saturating_add(submission.records.len());
        if records > self.limit {
            return Err((submission, JournalError::Overloaded));
        }
        state.records = records;
        state.waiting.push(submission);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits until there is something, and puts all of it into `taken`, which is empty. False when nothing will come any more.
    pub(super) fn take_all(&self, taken: &mut Vec<Submission>) -> bool {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.records = 0;
        mem::swap(&mut state.waiting, taken);
        !taken.is_empty()
    }

    /// Lets nothing in any more. What waits is still there to be taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the queue when the writer ends in whatever way, and tells those who wait that nothing more is written.
pub(super) struct ClosedAtEnd<'a>(pub(super) &'a Queue);

impl Drop for ClosedAtEnd<'_> {
    fn drop(&mut self) {
        self.0.close();
        let mut left = Vec::new();
        self.0.take_all(&mut left);
        for submission in left {
            (submission.done)(Err(JournalError::Closed));
        }
    }
}
