//! Files and folders of the lab.

use std::fs;
use std::path::{Path, PathBuf};

use fairlead::failure::{Failure, Result};

/// Makes the folder and those above it.
pub fn create_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| Failure::new(format!("cannot create the folder `{}`", path.display())).cause(&error))
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Failure::new(format!("cannot read `{}`", path.display())).cause(&error))
}

/// Writes a whole file.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, content).map_err(|error| Failure::new(format!("cannot write `{}`", path.display())).cause(&error))
}

/// The first file below `root`, in order of names, that `is_wanted`.
pub fn find_file(root: &Path, is_wanted: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(root).ok()?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    let file = entries.iter().find(|path| path.is_file() && is_wanted(path)).cloned();
    file.or_else(|| entries.iter().filter(|path| path.is_dir() && !path.is_symlink()).find_map(|path| find_file(path, is_wanted)))
}

/// Removes the folders of runs whose names begin so.
pub fn remove_run_directories(prefix: &str) {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

/// A folder for one run; it stays, so that the logs can be read, until it is known to be of no use any more.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    is_of_no_use: bool,
}

impl RunDirectory {
    /// Makes a new folder in the system's place for temporary files.
    pub fn create(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(name);
        create_directory(&path)?;
        Ok(Self { path, is_of_no_use: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now on it may go.
    pub fn discard(&mut self) {
        self.is_of_no_use = true;
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if self.is_of_no_use {
            drop(fs::remove_dir_all(&self.path));
        }
    }
}
