//! From a manifest to the bytes of its files: what was brought by hand, what the cache has, and what the package client can fetch.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::FirmwareError;
use super::manifest::{Manifest, Package, PackageFile};
use super::package_client::{self, Suite};
use crate::durable_file::{self, Access};
use crate::wire::Digest;

/// The files of one package, each checked against its digest.
#[derive(Clone, Debug)]
pub(super) struct Acquired<'a> {
    /// The package they are from.
    pub(super) package: &'a Package,
    /// Each file with its bytes, in the manifest's order.
    pub(super) files: Vec<(&'a PackageFile, Vec<u8>)>,
}

/// Where packages are looked for, beside the manifest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sources<'a> {
    pub(super) cache: &'a Path,
    pub(super) by_hand: &'a [PathBuf],
    pub(super) mirror: Option<&'a str>,
}

/// Finds the files of the newest package that can be had.
///
/// Files brought by hand decide by themselves: nothing is fetched beside them.
pub(super) fn acquire<'a>(manifest: &'a Manifest, sources: Sources<'_>, progress: &dyn Fn(&str)) -> Result<Acquired<'a>, FirmwareError> {
    if !sources.by_hand.is_empty() {
        return from_hand(manifest, sources);
    }
    for package in manifest.newest_first() {
        let path = cached(sources.cache, package);
        match fs::read(&path) {
            Ok(bytes) if Digest::of(&bytes) == package.sha256 => {
                progress(&format!("{} {} is in the cache ({})", package.name, package.version, path.display()));
                return unpack(package, &path, sources.cache);
            }
            Ok(_) => progress(&format!("`{}` in the cache is damaged; it is fetched again", path.display())),
            Err(_) => {}
        }
    }
    let package = fetch(manifest, sources, progress)?;
    unpack(package, &cached(sources.cache, package), sources.cache)
}

/// Asks the suites for the packages, newest first, and leaves the one that is found in the cache.
fn fetch<'a>(manifest: &'a Manifest, sources: Sources<'_>, progress: &dyn Fn(&str)) -> Result<&'a Package, FirmwareError> {
    // A suite's list is some ten megabytes, so each suite is opened once, however many packages name it.
    let mut suites: BTreeMap<&str, Option<Suite>> = BTreeMap::new();
    let mut found = Vec::new();
    let mut failed = None;
    for package in manifest.newest_first() {
        for name in &package.suites {
            if !suites.contains_key(name.as_str()) {
                progress(&format!("reading the package list of Debian {name} with apt-get (about 10 MB)"));
                let suite = match Suite::open(name, sources.mirror) {
                    Ok(suite) => Some(suite),
                    // A suite can leave the mirror as a version can leave a suite; another one may do.
                    Err(error @ FirmwareError::PackageClient { .. }) => {
                        failed.get_or_insert(error);
                        None
                    }
                    Err(error) => return Err(error),
                };
                suites.insert(name, suite);
            }
            let Some(Some(suite)) = suites.get(name.as_str()) else { continue };
            let versions = suite.versions(&package.name)?;
            if !versions.contains(&package.version) {
                let instead = if versions.is_empty() { "none".to_owned() } else { versions.join(", ") };
                found.push(format!("{} {} is not in {name}, which has {instead}", package.name, package.version));
                continue;
            }
            progress(&format!("downloading {} {} from Debian {name} with apt-get", package.name, package.version));
            let bytes = suite.download(&package.name, &package.version)?;
            store(sources.cache, package, &bytes)?;
            return Ok(package);
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    if found.is_empty() {
        found.push("the manifest names no suite".to_owned());
    }
    Err(FirmwareError::LeftItsSuite { found: found.join("; ") })
}

/// Takes a package, or single files of one package, that a person brought.
fn from_hand<'a>(manifest: &'a Manifest, sources: Sources<'_>) -> Result<Acquired<'a>, FirmwareError> {
    let mut brought: Vec<(&'a Package, &'a PackageFile, Vec<u8>)> = Vec::new();
    for path in sources.by_hand {
        let bytes = fs::read(path).map_err(FirmwareError::io("read", path))?;
        let found = Digest::of(&bytes);
        if let Some(package) = manifest.newest_first().find(|package| package.sha256 == found) {
            store(sources.cache, package, &bytes)?;
            return unpack(package, &cached(sources.cache, package), sources.cache);
        }
        let known = manifest.newest_first().find_map(|package| Some((package, package.files.iter().find(|file| file.sha256 == found)?)));
        let (package, file) = known.ok_or_else(|| FirmwareError::UnknownFile { path: path.clone(), found })?;
        brought.push((package, file, bytes));
    }
    // One set is one version: a machine's iPXE and the script beside it are tested together.
    let package = brought.first().map(|(package, ..)| *package);
    let package = package.ok_or_else(|| FirmwareError::LeftItsSuite { found: "no file was named".to_owned() })?;
    let mut files = Vec::new();
    for (of, file, bytes) in brought {
        if of != package {
            return Err(FirmwareError::UnknownFile { path: PathBuf::from(&file.name), found: file.sha256 });
        }
        files.push((file, bytes));
    }
    Ok(Acquired { package, files })
}

/// Where a package is in the cache: by its digest, so that nothing else can be mistaken for it.
pub(super) fn cached(cache: &Path, package: &Package) -> PathBuf {
    cache.join("packages").join(format!("{}.deb", package.sha256))
}

fn store(cache: &Path, package: &Package, bytes: &[u8]) -> Result<(), FirmwareError> {
    let found = Digest::of(bytes);
    if found != package.sha256 {
        return Err(FirmwareError::Digest { what: format!("{} {}", package.name, package.version), expected: package.sha256, found });
    }
    let path = cached(cache, package);
    let folder = cache.join("packages");
    fs::create_dir_all(&folder).map_err(FirmwareError::io("make", &folder))?;
    durable_file::replace(&path, bytes, Access::Everyone).map_err(FirmwareError::io("write", &path))
}

fn unpack<'a>(package: &'a Package, deb: &Path, cache: &Path) -> Result<Acquired<'a>, FirmwareError> {
    let folder = package_client::unpack(deb, cache)?;
    let mut files = Vec::new();
    for file in &package.files {
        let path = folder.0.join(&file.path);
        if !path.is_file() {
            return Err(FirmwareError::FileNotInPackage(file.path.clone()));
        }
        let bytes = fs::read(&path).map_err(FirmwareError::io("read", &path))?;
        let found = Digest::of(&bytes);
        if found != file.sha256 {
            return Err(FirmwareError::Digest { what: format!("`{}`", file.path), expected: file.sha256, found });
        }
        files.push((file, bytes));
    }
    Ok(Acquired { package, files })
}
