//! The one way an error reaches a person: what happened, to what, why, and what to do.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An error for a console: a summary that names the thing, its causes, and a remedy.
///
/// Libraries have their own error enums; a command turns them into a `Failure` where it knows the remedy. It can be written down
/// for a command that asks a running program.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    summary: String,
    causes: Vec<String>,
    hint: Option<String>,
}

/// The result of everything that a command does.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure whose summary says what happened and to what.
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), causes: Vec::new(), hint: None }
    }

    /// Adds an error, and all that it names as its sources, as causes.
    #[must_use]
    pub fn cause(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            // An error that repeats its source's text would otherwise be read twice.
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Adds a cause in words.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.summary)?;
        for cause in &self.causes {
            write!(f, "\n  caused by: {}", cause.replace('\n', "\n    "))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl Error for Failure {}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[test]
    fn reads_as_what_why_and_remedy() {
        let failure = Failure::new("cannot read `a.toml`").because("no such file").hint("create it");
        assert_eq!(failure.to_string(), "error: cannot read `a.toml`\n  caused by: no such file\nhint: create it");
    }
}
