//! What waits for a database's threads.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{StoreError, Tx};

/// More than this are refused: whoever asked asks again later, and by then the database may have caught up.
const MOST_WAITING: usize = 8192;

/// One transaction to run: it may be run again, until it is settled.
pub(super) struct Job {
    work: Box<dyn Work>,
    /// Whether it only reads.
    pub(super) reads: bool,
    /// When it was asked for.
    pub(super) since: Instant,
}

/// The work of a job, whatever its type.
pub(super) trait Work: Send {
    /// Does it, keeps what it came to, and says whether that is to be kept in the database.
    fn run(&mut self, tx: &Tx<'_>) -> bool;
    /// Answers who asked: with what the work came to, or with the error if the database did not keep it.
    fn settle(self: Box<Self>, kept: Result<(), StoreError>);
}

impl Job {
    pub(super) fn new(work: Box<dyn Work>, reads: bool) -> Self {
        Self { work, reads, since: Instant::now() }
    }

    /// Does the work in `tx`. An error means that nothing of it may be kept; what the work itself said is told by `settle`.
    pub(super) fn run(&mut self, tx: &Tx<'_>) -> Result<(), Discard> {
        let work = &mut self.work;
        // What a panic left of the work is thrown away by the caller, with its transaction.
        let keep = catch_unwind(AssertUnwindSafe(|| work.run(tx))).map_err(|_| Discard::Because(StoreError::Panicked))?;
        if let Some(trouble) = tx.trouble() {
            return Err(Discard::Trouble(trouble));
        }
        if !keep {
            return Err(Discard::Said);
        }
        tx.finish().map_err(|error| tx.trouble().map_or(Discard::Because(error), Discard::Trouble))
    }

    pub(super) fn settle(self, kept: Result<(), StoreError>) {
        self.work.settle(kept);
    }
}

/// Why nothing of a work may be kept.
pub(super) enum Discard {
    /// The work said so, by an error of its own.
    Said,
    /// A question to the database failed.
    Trouble(Trouble),
    /// Something else.
    Because(StoreError),
}

impl Discard {
    /// What who asked is told beside what the work itself said.
    pub(super) fn told(self) -> Result<(), StoreError> {
        match self {
            Self::Said => Ok(()),
            Self::Trouble(_) => Err(StoreError::Incomplete),
            Self::Because(error) => Err(error),
        }
    }
}

/// How a question to the database failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Others were at the same rows: the whole transaction may be tried again.
    Conflict,
    /// The connection is gone.
    Lost,
    /// By the question itself, or by what the database holds.
    Refused,
}

/// A work with an answer of type `T` or an error of type `E`.
struct Typed<F, T, E, A> {
    work: F,
    outcome: Option<Result<T, E>>,
    answer: A,
}

/// Makes a work of a closure and of where its answer goes.
pub(super) fn typed<F, T, E, A>(work: F, answer: A) -> Box<dyn Work>
where
    F: Fn(&Tx<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
    A: FnOnce(Result<T, E>) + Send + 'static,
{
    Box::new(Typed { work, outcome: None, answer })
}

impl<F, T, E, A> Work for Typed<F, T, E, A>
where
    F: Fn(&Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<StoreError> + Send,
    A: FnOnce(Result<T, E>) + Send,
{
    fn run(&mut self, tx: &Tx<'_>) -> bool {
        self.outcome = None;
        self.outcome.insert((self.work)(tx)).is_ok()
    }

    fn settle(self: Box<Self>, kept: Result<(), StoreError>) {
        let Self { outcome, answer, .. } = *self;
        answer(match (outcome, kept) {
            (Some(Ok(_)), Err(error)) | (None, Err(error)) => Err(error.into()),
            // What the work itself says of its failure says more than what the database does.
            (Some(outcome), _) => outcome,
            (None, Ok(())) => Err(StoreError::Incomplete.into()),
        });
    }
}

/// The jobs that wait, first come, first served.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    /// Puts a job at the end; settles it at once when there is no room or no one to take it.
    pub(super) fn put(&self, job: Job) {
        let mut waiting = self.lock();
        if waiting.closed || waiting.jobs.len() >= MOST_WAITING {
            drop(waiting);
            return job.settle(Err(StoreError::Busy));
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.changed.notify_one();
    }

    /// Waits for a job; nothing once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Job> {
        let mut waiting = self.lock();
        loop {
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            if waiting.closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A job if one is there.
    pub(super) fn take_now(&self) -> Option<Job> {
        self.lock().jobs.pop_front()
    }

    /// No job comes any more; those that wait are still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nobody can panic while holding it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
