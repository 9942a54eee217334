//! The firmware that machines boot: pinned builds of iPXE, made to trust one root certificate.
//!
//! - [`Manifest`] says which builds are known, with the digest of each package and file. Nothing else is taken.
//! - [`build`] finds the newest of them (brought by hand, in the cache, or fetched by `apt-get`), [`seal`](seal::seal)s the root into its
//!   UEFI files, and leaves a [`SealedSet`].
//! - [`SealedSet::open`] is what the cloud serves from: every file is checked when it is opened and again when it is read.
//! - [`command`] is all of this for an operator's console.
//! - [`pin`] checks a version that is not known yet and adds it to a manifest.
//!
//! No iPXE file is a part of this project's source, and nothing here compiles iPXE: a distribution's signed package is the base, so its
//! origin can be checked, and iPXE's source is where the distribution publishes it.

mod acquire;
mod apt_sources;
pub mod command;
mod error;
mod manifest;
mod package_client;
mod pe;
mod pin;
pub mod seal;
mod sealed_set;
#[cfg(test)]
mod tests;

use std::env;
use std::path::{Path, PathBuf};

use acquire::{Acquired, Sources};
pub use error::{ClientOutput, FirmwareError};
pub use manifest::{FileKind, Manifest, Package, PackageFile};
pub use pe::{Machine, PeError};
pub use pin::{PinOptions, PinSource, pin};
pub use sealed_set::{RECORD, Record, RecordedFile, SealedFile, SealedSet};

use crate::wire::Digest;

/// The boot script that is served beside the files; the edge has it built in.
pub const AUTOEXEC: &str = include_str!("../../firmware/autoexec.ipxe");

/// What [`build`] is to do.
#[derive(Clone, Copy)]
pub struct BuildOptions<'a> {
    /// The builds that may be used.
    pub manifest: &'a Manifest,
    /// Where packages are kept between builds; [`default_cache`] is the usual place.
    pub cache: &'a Path,
    /// A .deb or single files that a person brought; nothing is fetched when there are any.
    pub files: &'a [PathBuf],
    /// The mirror to fetch from instead of the one in this machine's own apt sources.
    pub mirror: Option<&'a str>,
    /// The SHA-256 of the root certificate's DER.
    pub root: Digest,
    /// The folder that the sealed set is written to.
    pub out: &'a Path,
    /// Told what is being done, a line at a time: fetching takes long.
    pub progress: &'a dyn Fn(&str),
}

/// Makes a sealed set, and leaves the one that was there before untouched unless all went well.
///
/// It blocks: it runs the system's package client when the cache is empty.
///
/// # Errors
/// When no pinned package can be had, a digest is wrong, a file can't be sealed, or the set can't be written.
pub fn build(options: &BuildOptions<'_>) -> Result<SealedSet, FirmwareError> {
    std::fs::create_dir_all(options.cache).map_err(FirmwareError::io("make", options.cache))?;
    let sources = Sources { cache: options.cache, by_hand: options.files, mirror: options.mirror };
    let Acquired { package, files: inputs } = acquire::acquire(options.manifest, sources, options.progress)?;
    let mut files = Vec::new();
    let mut contents = Vec::new();
    for (file, input) in inputs {
        let bytes = sealed(file, &input, options.root)?;
        (options.progress)(&format!("{}: {} -> {}", file.name, file.sha256, Digest::of(&bytes)));
        files.push(RecordedFile::new(&file.name, file.kind, file.sha256, &bytes));
        contents.push(bytes);
    }
    let record = Record {
        format: 1,
        root: options.root,
        package: package.name.clone(),
        version: package.version.clone(),
        package_sha256: package.sha256,
        files,
    };
    SealedSet::write(options.out, record, &contents)
}

/// The bytes that machines get for a file of the manifest.
fn sealed(file: &PackageFile, input: &[u8], root: Digest) -> Result<Vec<u8>, FirmwareError> {
    match (file.kind, file.machine) {
        (FileKind::Efi, Some(expected)) => {
            let sealed = seal::seal(input, root).map_err(|source| FirmwareError::Seal { name: file.name.clone(), source })?;
            if sealed.report.machine != expected {
                return Err(FirmwareError::Machine { name: file.name.clone(), expected, found: sealed.report.machine });
            }
            Ok(sealed.bytes)
        }
        // Packed by iPXE's own compressor, its patterns can't be seen; the edge sends the fingerprint in DHCP instead.
        _ => Ok(input.to_vec()),
    }
}

/// Where packages are kept when no option says otherwise: `$XDG_CACHE_HOME/fairlead`, or `~/.cache/fairlead`.
///
/// A service without a home folder has none, and must be told.
#[must_use]
pub fn default_cache() -> Option<PathBuf> {
    // The XDG Base Directory Specification has relative paths ignored.
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache"))).map(|folder| folder.join("fairlead"))
}
