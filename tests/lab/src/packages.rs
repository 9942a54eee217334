//! Debian packages that the lab only unpacks: fetched with the system's own package client into a cache outside the tree.
//!
//! Nothing is installed, and apt works in a state directory of its own, so the machine's lists stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fairlead::failure::{Failure, Result};

use super::files::{create_directory, find_file};
use super::process::run;

/// The folder that holds all that is slow to make and does not belong into the tree.
pub fn cache_directory() -> Result<PathBuf> {
    let base = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
        (_, Some(home)) => PathBuf::from(home).join(".cache"),
        _ => return Err(Failure::new("there is no place for a cache").hint("set HOME or XDG_CACHE_HOME")),
    };
    let directory = base.join("fairlead").join("lab");
    create_directory(&directory)?;
    Ok(directory)
}

/// A package, unpacked.
#[derive(Debug)]
pub struct Package {
    /// What was unpacked: name, version and architecture, as the package file is called.
    pub file_name: String,
    root: PathBuf,
}

impl Package {
    /// The first file with that name, wherever in the package it lies: Debian releases moved `/bin` and `/lib`.
    pub fn file(&self, name: &str) -> Result<PathBuf> {
        find_file(&self.root, &|path| path.file_name().is_some_and(|each| each == name))
            .ok_or_else(|| Failure::new(format!("the package {} has no file `{name}`", self.file_name)))
    }

    /// The first file whose name begins so.
    pub fn file_beginning(&self, prefix: &str) -> Result<PathBuf> {
        find_file(&self.root, &|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(prefix)))
            .ok_or_else(|| Failure::new(format!("the package {} has no file `{prefix}...`", self.file_name)))
    }

    /// The first file whose path ends so.
    pub fn file_ending(&self, suffix: &str) -> Result<PathBuf> {
        find_file(&self.root, &|path| path.ends_with(suffix))
            .ok_or_else(|| Failure::new(format!("the package {} has no file `{suffix}`", self.file_name)))
    }
}

/// Fetches packages of the distribution that this machine runs.
pub struct PackageCache {
    directory: PathBuf,
    lists_are_fresh: bool,
}

impl PackageCache {
    /// Opens the cache for this machine's release: another release has other packages of the same name.
    pub fn open() -> Result<Self> {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let field = |name: &str| {
            let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or("unknown").trim_matches('"').to_owned()
        };
        let directory = cache_directory()?.join("packages").join(format!("{}-{}", field("ID"), field("VERSION_ID")));
        create_directory(&directory)?;
        Ok(Self { directory, lists_are_fresh: false })
    }

    /// The package, from the cache or else from the distribution.
    pub fn package(&mut self, name: &str) -> Result<Package> {
        let directory = self.directory.join(name);
        if !directory.join("complete").exists() {
            if let Err(error) = fs::remove_dir_all(&directory)
                && directory.exists()
            {
                return Err(Failure::new(format!("cannot clear `{}`", directory.display())).cause(&error));
            }
            create_directory(&directory)?;
            self.fetch(name, &directory)?;
            fs::write(directory.join("complete"), "").map_err(|error| Failure::new("cannot write to the cache").cause(&error))?;
        }
        let is_package = |path: &Path| path.extension().is_some_and(|extension| extension == "deb");
        let archive = find_file(&directory, &is_package);
        let file_name = archive.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).map(str::to_owned);
        let file_name =
            file_name.ok_or_else(|| Failure::new(format!("the cache `{}` is damaged", directory.display())).hint("remove it"))?;
        Ok(Package { file_name, root: directory.join("root") })
    }

    /// The package that `name`, a package without content, stands for: it is the first that `name` depends on.
    pub fn package_behind(&mut self, name: &str) -> Result<Package> {
        let note = self.directory.join(format!("{name}.stands-for"));
        let real = match fs::read_to_string(&note) {
            Ok(real) => real,
            Err(_) => {
                self.refresh_lists()?;
                let listing = run(self.apt("apt-cache").args(["depends", "--important", name]));
                let listing = listing.map_err(|error| missing(name).because(error.to_string()))?;
                let real = listing.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).map(str::to_owned);
                let real = real.ok_or_else(|| missing(name))?;
                fs::write(&note, &real).map_err(|error| Failure::new("cannot write to the cache").cause(&error))?;
                real
            }
        };
        self.package(real.trim())
    }

    fn fetch(&mut self, name: &str, directory: &Path) -> Result<()> {
        self.refresh_lists()?;
        run(self.apt("apt-get").args(["-q", "download", name]).current_dir(directory))
            .map_err(|error| missing(name).because(error.to_string()))?;
        let archive =
            find_file(directory, &|path| path.extension().is_some_and(|extension| extension == "deb")).ok_or_else(|| missing(name))?;
        run(Command::new("dpkg-deb").arg("-x").arg(archive).arg(directory.join("root")))?;
        Ok(())
    }

    fn refresh_lists(&mut self) -> Result<()> {
        if self.lists_are_fresh {
            return Ok(());
        }
        create_directory(&self.directory.join("apt/lists/partial"))?;
        create_directory(&self.directory.join("apt/archives/partial"))?;
        // A source of somebody else's that does not answer is not our concern: a package that is missing then says so.
        if let Err(error) = run(self.apt("apt-get").args(["-q", "update"])) {
            drop(fs::write(self.directory.join("apt-update.log"), error.to_string()));
        }
        self.lists_are_fresh = true;
        Ok(())
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let state = self.directory.join("apt");
        for (option, place) in [("Dir::State::lists", "lists"), ("Dir::Cache::archives", "archives")] {
            command.arg("-o").arg(format!("{option}={}/", state.join(place).display()));
        }
        for (option, place) in [("Dir::Cache::pkgcache", "pkgcache.bin"), ("Dir::Cache::srcpkgcache", "srcpkgcache.bin")] {
            command.arg("-o").arg(format!("{option}={}", state.join(place).display()));
        }
        // The sandbox user of apt cannot read a cache in somebody's home; what it fetches is checked by signature all the same.
        command.args(["-o", "APT::Sandbox::User=root"]);
        command
    }
}

fn missing(name: &str) -> Failure {
    Failure::new(format!("cannot fetch the package {name}")).hint(
        "the test nodes run Debian's cloud kernel, fetched with apt from this machine's own sources: run the lab on Debian 12 or 13, \
         or in a container of it, with a mirror within reach",
    )
}
