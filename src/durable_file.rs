//! Files that are either the old one or the new one after a crash, never half of each.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Who may read a file that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Owner only (mode 0600): keys and tokens.
    Owner,
    /// Everyone (mode 0644): certificates and public data.
    Everyone,
}

impl Access {
    const fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everyone => 0o644,
        }
    }
}

/// Writes `contents` to `path` so that a crash at any moment leaves the old file or the new one.
///
/// The bytes are on the disk, and so is the name, when this returns.
///
/// # Errors
/// Whatever the file system says: no space, read-only, no such folder.
pub fn replace(path: &Path, contents: &[u8], access: Access) -> io::Result<()> {
    let temporary = temporary_beside(path);
    let result = write_synced(&temporary, contents, access).and_then(|()| fs::rename(&temporary, path)).and_then(|()| sync_folder_of(path));
    if result.is_err() {
        // The old file stands; what is left of the new one is of no use. The first error is the one worth reporting.
        drop(fs::remove_file(&temporary));
    }
    result
}

/// Waits until this program alone holds the lock file at `path`; it is let go when the file is closed.
///
/// # Errors
/// When it can't be made or locked.
pub fn lock(path: &Path) -> Result<File, Failure> {
    let cannot = |error: io::Error| Failure::new(format!("cannot lock `{}`", path.display())).cause(&error);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).map_err(cannot)?;
    file.lock().map_err(cannot)?;
    Ok(file)
}

/// Makes the folder's own entries durable: a new or renamed file is only there after this.
///
/// # Errors
/// Whatever the file system says.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}

fn write_synced(path: &Path, contents: &[u8], access: Access) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(access.mode()).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn replaces_the_whole_file_and_leaves_nothing_beside_it() {
        let folder = std::env::temp_dir().join(format!("fairlead-durable-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("key");
        replace(&path, b"old and long", Access::Owner).unwrap();
        replace(&path, b"new", Access::Owner).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
