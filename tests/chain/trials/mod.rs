//! The tests: each builds a lab of its own, so that two can run beside each other.

mod boots;
mod tickets;
mod trust;

use std::process::ExitCode;

use fairlead::failure::{Failure, Result};
use libtest_mimic::{Arguments, Trial};

use crate::lab::{Lab, Settings, workshop};

/// Two at once: firmware spends most of its time waiting.
const AT_ONCE: usize = 2;

/// Runs the tests that the arguments pick.
pub(crate) fn run() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
    let trials: Vec<Trial> = [boots::TRIALS, tickets::TRIALS, trust::TRIALS]
        .concat()
        .into_iter()
        .map(|(name, trial)| Trial::test(name, move || trial().map_err(|failure| failure.to_string().into())))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test: its name, and what it does.
type NamedTrial = (&'static str, fn() -> Result<()>);

/// Builds a lab for a test.
fn build(settings: &Settings) -> Result<Lab> {
    Lab::build(workshop(&|_| ())?, settings, &|_| ())
}

/// What a test expects; `what` says it in words.
fn expect(is_so: bool, what: impl FnOnce() -> String) -> Result<()> {
    if is_so { Ok(()) } else { Err(Failure::new(what())) }
}
