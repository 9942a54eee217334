use std::path::PathBuf;

use super::seal::SealError;

/// Why the store can't answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no Fairlead database at that place.
    #[error("there is no Fairlead database at {0}")]
    Missing(String),
    /// What is there is not a Fairlead database.
    #[error("{0} is not a Fairlead database")]
    NotOurs(String),
    /// The database was written by a newer program.
    #[error("{place} has schema {found}, this program knows up to {known}")]
    Newer {
        /// The database.
        place: String,
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
    /// Nothing of that name is there.
    #[error("there is no {kind} named `{name}`")]
    NotThere {
        /// What it would be.
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
    /// A sealed value can't be opened, or none be sealed.
    #[error("cannot open or seal a secret of the database")]
    Seal(#[from] SealError),
    /// SQLite could not do it.
    #[error("the database could not be read or written")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL could not do it.
    #[error("the database could not be read or written")]
    Postgresql(#[from] postgres::Error),
    /// PostgreSQL can't be reached.
    #[error("{place} does not answer")]
    Unreachable {
        /// The database.
        place: String,
        /// Why.
        #[source]
        cause: Box<Self>,
    },
    /// The connection broke; nothing was kept.
    #[error("the connection to the database broke")]
    Broken,
    /// The connection broke while PostgreSQL was to make a change last: it may or may not have.
    #[error("the connection to the database broke before it said whether the change is kept")]
    Unconfirmed,
    /// Too much waits for the database already.
    #[error("too many questions wait for the database")]
    Busy,
    /// Others changed the same rows, again and again.
    #[error("others change the same rows of the database all the time")]
    Contended,
    /// A question failed, and who asked went on as if it had not.
    #[error("a part of the change failed, so nothing of it was kept")]
    Incomplete,
    /// A file can't be read or written.
    #[error("a file of the store can't be read or written")]
    File(#[from] std::io::Error),
    /// A thread can't be started.
    #[error("cannot start a thread for the database")]
    Thread(#[source] std::io::Error),
    /// The work ended by a panic.
    #[error("the program failed in the middle of a change; nothing of it was kept")]
    Panicked,
}

impl StoreError {
    /// The error and its causes on one line, for a log.
    #[must_use]
    pub fn in_full(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |error| error.source());
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }

    /// Turns "a value that must be unique is there already" into the error that a person understands.
    pub(super) fn exists_already(self, kind: &'static str, name: &str) -> Self {
        let violated = match &self {
            Self::Sqlite(error) => error
                .sqlite_extended_error_code()
                .is_some_and(|code| matches!(code, rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY)),
            Self::Postgresql(error) => error.code() == Some(&postgres::error::SqlState::UNIQUE_VIOLATION),
            _ => false,
        };
        if violated { Self::Exists { kind, name: name.to_owned() } } else { self }
    }
}
