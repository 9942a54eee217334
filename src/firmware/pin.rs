//! Adds a version of the package that is not known yet, after checking that a root can be sealed into it.

use std::fs;
use std::path::Path;

use super::error::FirmwareError;
use super::manifest::{FileKind, Manifest, Package, PackageFile};
use super::package_client::{self, Suite};
use crate::durable_file::{self, Access};
use crate::wire::Digest;

/// What [`pin`] is to do.
#[derive(Clone, Copy)]
pub struct PinOptions<'a> {
    /// The manifest file that the version is added to. It must exist: its newest package says which files a package must have.
    pub manifest: &'a Path,
    /// Where the package is from.
    pub source: PinSource<'a>,
    /// The folder for the package and what is unpacked from it.
    pub cache: &'a Path,
    /// Told what is being done, a line at a time.
    pub progress: &'a dyn Fn(&str),
}

/// Where a new version is taken from.
#[derive(Clone, Copy, Debug)]
pub enum PinSource<'a> {
    /// A suite of Debian, whose newest version it is.
    Suite {
        /// The suite's name.
        name: &'a str,
        /// The mirror to fetch from instead of the one in this machine's own apt sources.
        mirror: Option<&'a str>,
    },
    /// A .deb that a person brought, and answers for.
    File(&'a Path),
}

/// Checks a version and adds it to the manifest; returns the entry that was added.
///
/// Every UEFI file is sealed once, with a root that nobody has: a version in which a pattern is missing or there twice is not pinned.
///
/// # Errors
/// When the package can't be had, lacks a file, can't be sealed, or is pinned already.
pub fn pin(options: &PinOptions<'_>) -> Result<Package, FirmwareError> {
    let manifest = Manifest::read(options.manifest)?;
    let Some(model) = manifest.newest_first().next() else {
        return Err(FirmwareError::Manifest { origin: options.manifest.display().to_string(), reason: "it names no package".to_owned() });
    };
    let (bytes, suites) = match options.source {
        PinSource::Suite { name, mirror } => {
            (options.progress)(&format!("reading the package list of Debian {name} with apt-get (about 10 MB)"));
            let suite = Suite::open(name, mirror)?;
            let versions = suite.versions(&model.name)?;
            // `apt-cache madison` lists the newest first.
            let version = versions.first().ok_or_else(|| FirmwareError::LeftItsSuite { found: format!("{name} has no {}", model.name) })?;
            (options.progress)(&format!("downloading {} {version} from Debian {name} with apt-get", model.name));
            (suite.download(&model.name, version)?, vec![name.to_owned()])
        }
        PinSource::File(path) => (fs::read(path).map_err(FirmwareError::io("read", path))?, Vec::new()),
    };
    let sha256 = Digest::of(&bytes);
    if let Some(known) = manifest.packages.iter().find(|package| package.sha256 == sha256) {
        return Err(FirmwareError::AlreadyPinned(format!("{} {}", known.name, known.version)));
    }
    let folder = options.cache.join("packages");
    fs::create_dir_all(&folder).map_err(FirmwareError::io("make", &folder))?;
    let deb = folder.join(format!("{sha256}.deb"));
    durable_file::replace(&deb, &bytes, Access::Everyone).map_err(FirmwareError::io("write", &deb))?;
    let package = inspect(model, &deb, &bytes, suites, options)?;
    Manifest::append(options.manifest, &package)?;
    Ok(package)
}

fn inspect(model: &Package, deb: &Path, bytes: &[u8], suites: Vec<String>, options: &PinOptions<'_>) -> Result<Package, FirmwareError> {
    let (name, version) = package_client::name_and_version(deb)?;
    let unpacked = package_client::unpack(deb, options.cache)?;
    // A root that is no certificate's digest: this checks that sealing works, and the result is thrown away.
    let nobody = Digest::of(b"the root of a pin check");
    let mut files = Vec::new();
    for known in &model.files {
        let path = unpacked.0.join(&known.path);
        if !path.is_file() {
            return Err(FirmwareError::FileNotInPackage(known.path.clone()));
        }
        let input = fs::read(&path).map_err(FirmwareError::io("read", &path))?;
        super::sealed(known, &input, nobody)?;
        if known.kind == FileKind::Efi {
            (options.progress)(&format!("{}: every pattern is there once", known.name));
        }
        files.push(PackageFile { sha256: Digest::of(&input), size: length(&input), ..known.clone() });
    }
    Ok(Package { name, version, suites, sha256: Digest::of(bytes), size: length(bytes), files })
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
