use std::io;
use std::path::{Path, PathBuf};

use super::pe::Machine;
use super::seal::SealError;
use crate::failure::Failure;
use crate::wire::Digest;

/// Why firmware could not be acquired, sealed, kept or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirmwareError {
    /// The file system said no.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried, as a verb: "read", "write".
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// A manifest that can't be used.
    #[error("the firmware manifest `{origin}` can't be used: {reason}")]
    Manifest {
        /// The file, or the name of the built-in one.
        origin: String,
        /// What is wrong with it, with the line where that is known.
        reason: String,
    },
    /// There is no `apt-get` here, so a package can't be fetched.
    #[error("this system has no package client to fetch the package with: `{0}` is not installed")]
    NoPackageClient(&'static str),
    /// The system's own package sources name no mirror of Debian's main archive.
    #[error("the package sources in /etc/apt name no mirror of Debian's archive")]
    NoMirror,
    /// Debian's signing keys are not here, so nothing that is fetched could be believed.
    #[error("Debian's archive keys are not on this machine (no `{0}`), so a package can't be checked")]
    NoKeyring(&'static str),
    /// A step of the package client failed.
    #[error("`{command}` failed while {doing}")]
    PackageClient {
        /// The program and its verb.
        command: &'static str,
        /// For what it was run.
        doing: String,
        /// What it printed, without its progress.
        #[source]
        output: ClientOutput,
    },
    /// None of the suites has any of the pinned versions any more.
    #[error("no pinned version of iPXE can be had: {found}")]
    LeftItsSuite {
        /// What was asked for and what the suites have instead.
        found: String,
    },
    /// Bytes that are not those that the manifest names.
    #[error("{what} is not the one that the manifest names: its SHA-256 is {found}, and it must be {expected}")]
    Digest {
        /// The package or file.
        what: String,
        /// As the manifest has it.
        expected: Digest,
        /// Of the bytes at hand.
        found: Digest,
    },
    /// A file brought by hand that no manifest entry names.
    #[error("`{path}` is unknown: its SHA-256 {found} is that of no package and no file in the manifest")]
    UnknownFile {
        /// The file.
        path: PathBuf,
        /// Its digest.
        found: Digest,
    },
    /// A file that can't be sealed.
    #[error("`{name}` can't be sealed")]
    Seal {
        /// The file's name.
        name: String,
        /// Why.
        #[source]
        source: SealError,
    },
    /// A file for another processor than the manifest says.
    #[error("`{name}` is for {found}, and the manifest says {expected}")]
    Machine {
        /// The file's name.
        name: String,
        /// As the manifest has it.
        expected: Machine,
        /// As the file's header has it.
        found: Machine,
    },
    /// There is no sealed set in the folder.
    #[error("there is no sealed firmware in `{0}`")]
    NoSet(PathBuf),
    /// The record of a sealed set can't be read.
    #[error("the record of sealed firmware `{path}` can't be used: {reason}")]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A sealed set that is for another root.
    #[error("the firmware in `{folder}` is sealed for the root {found}, and this cloud's root is {expected}")]
    OtherRoot {
        /// The folder of the set.
        folder: PathBuf,
        /// The root that is asked for.
        expected: Digest,
        /// The root in the record.
        found: Digest,
    },
    /// A version that is already pinned.
    #[error("{0} is already in the manifest")]
    AlreadyPinned(String),
    /// A package without a file that machines ask for.
    #[error("the package has no `{0}`")]
    FileNotInPackage(String),
}

/// What a program that failed had to say.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ClientOutput(pub String);

impl FirmwareError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoPackageClient(_) => {
                "on a Debian machine install `apt` and `dpkg`; elsewhere download the .deb that the manifest names (`fairlead-cloud firmware show --manifest`) and pass it with --file"
            }
            Self::NoMirror => "name a mirror with --mirror URI, or bring the .deb by hand with --file",
            Self::NoKeyring(_) => "install the package `debian-archive-keyring`, or bring the .deb by hand with --file",
            Self::PackageClient { .. } => {
                "check this machine's network and apt sources (--mirror names another mirror), or bring the .deb by hand with --file"
            }
            Self::LeftItsSuite { .. } => {
                "pin the version that the suite has now with `fairlead-cloud firmware pin`, or bring the pinned .deb by hand with --file (Debian's snapshot archive keeps every version)"
            }
            Self::UnknownFile { .. } | Self::Digest { .. } => {
                "bring the very file that the manifest names, or check and add a new version with `fairlead-cloud firmware pin`"
            }
            Self::NoSet(_) | Self::OtherRoot { .. } | Self::Record { .. } => "make it with `fairlead-cloud firmware build`",
            Self::Seal { source: SealError::NotSealed(_) | SealError::OtherRoot(_) | SealError::WrongChecksum, .. } => {
                "make it anew with `fairlead-cloud firmware build`"
            }
            Self::Seal { .. } | Self::Machine { .. } => "use a package of stock iPXE, version 2.0 or later",
            Self::Io { .. } | Self::Manifest { .. } | Self::AlreadyPinned(_) | Self::FileNotInPackage(_) => return None,
        })
    }

    /// The same for a console; `summary` says what was being done.
    #[must_use]
    pub fn into_failure(self, summary: &str) -> Failure {
        let failure = Failure::new(summary).cause(&self);
        match self.remedy() {
            Some(remedy) => failure.hint(remedy),
            None => failure,
        }
    }
}
