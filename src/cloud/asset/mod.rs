//! Boot assets: kernels and initramfs images, each stored once under its SHA-256, and never served as good unless it still has it.

mod stream;

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use crate::durable_file::sync_folder_of;
use crate::wire::{Digest, Hasher};

pub use stream::{Delivery, Progress, stream};

/// The folder of blobs.
#[derive(Clone, Debug)]
pub struct Blobs {
    folder: PathBuf,
}

/// A blob that was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its digest, which is its name.
    pub digest: Digest,
    /// Its length in octets.
    pub size: u64,
}

impl Blobs {
    /// Uses `folder`, which exists.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where the blob of that digest is, if it is there.
    #[must_use]
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }

    /// Checks that the blob of that digest is there and still has it.
    ///
    /// # Errors
    /// When it is missing, unreadable, or was changed.
    pub fn verify(&self, digest: Digest) -> io::Result<()> {
        let found = digest_of(&self.path(digest), |_| Ok(()))?.digest;
        if found == digest {
            Ok(())
        } else {
            Err(io::Error::other(format!("`{}` was changed: it is {found} now", self.path(digest).display())))
        }
    }

    /// Takes in a file: it is on the disk under its digest when this returns, or nothing of it is.
    ///
    /// # Errors
    /// When the file can't be read or the folder can't be written.
    pub fn import(&self, file: &Path) -> io::Result<Stored> {
        let temporary = self.folder.join(format!("import.{}.new", std::process::id()));
        let outcome = copy_hashing(file, &temporary).and_then(|stored| {
            let path = self.path(stored.digest);
            fs::rename(&temporary, &path)?;
            sync_folder_of(&path)?;
            Ok(stored)
        });
        if outcome.is_err() {
            // The first error is the one worth reporting.
            drop(fs::remove_file(&temporary));
        }
        outcome
    }
}

fn copy_hashing(from: &Path, to: &Path) -> io::Result<Stored> {
    let mut target = File::create(to)?;
    let stored = digest_of(from, |bytes| target.write_all(bytes))?;
    target.sync_all()?;
    Ok(stored)
}

/// Reads a file to its end, hands each piece on, and says what it was.
fn digest_of(path: &Path, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<Stored> {
    let mut source = File::open(path)?;
    let mut hasher = Hasher::default();
    let mut size = 0_u64;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let length = source.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
        take(bytes)?;
        size = size.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }
    Ok(Stored { digest: hasher.finish(), size })
}
