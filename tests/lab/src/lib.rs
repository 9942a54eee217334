//! What tests and benchmarks of whole programs share: a laboratory in network namespaces of its own.
//!
//! - [`namespace`]: all that is sent stays in namespaces, which go when they are dropped, with every program in them.
//! - [`process`], [`log_file`], [`files`]: programs that run to their end or beside the test, what they write, where it lies.
//! - [`capture`]: what crosses an interface, searched with tools that nobody here wrote.
//! - [`cloud`], [`joined_box`]: a real `fairlead-cloud`, and the state folder of a box that joined one.
//! - [`packages`]: Debian packages that are only unpacked.
//! - [`postgresql`]: a PostgreSQL server of a run's own.
//! - [`interrupt`]: Ctrl-C leaves nothing behind.
//!
//! Only cargo's test and benchmark targets know where the programs are that they test, so they say it: [`Programs`].

pub mod capture;
pub mod cloud;
pub mod files;
pub mod interrupt;
pub mod joined_box;
pub mod log_file;
pub mod namespace;
pub mod packages;
pub mod postgresql;
pub mod process;

use std::path::PathBuf;

/// Where the programs under test are: `env!("CARGO_BIN_EXE_fairlead-edge")` and its like.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `fairlead-edge`.
    pub edge: PathBuf,
    /// `fairlead-cloud`.
    pub cloud: PathBuf,
}
