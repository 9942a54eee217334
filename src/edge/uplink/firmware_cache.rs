//! Firmware files by their digest, on the box's disk: what is served when the cloud is away.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::client::Client;
use super::error::UplinkError;
use crate::durable_file::{self, Access};
use crate::wire::Digest;
use crate::wire::uplink::FirmwareFile;

/// The folder of firmware files; each bears its SHA-256 as its name.
#[derive(Clone, Debug)]
pub struct FirmwareCache {
    folder: PathBuf,
}

/// Why a firmware file is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirmwareError {
    /// Larger than any firmware file is.
    #[error("firmware file `{name}` of {size} octets is larger than {SIZE_LIMIT}")]
    TooLarge {
        /// The file's name.
        name: String,
        /// Its size.
        size: u64,
    },
    /// The cloud does not give it.
    #[error("cannot fetch firmware file `{name}`")]
    Fetch {
        /// The file's name.
        name: String,
        /// Why.
        #[source]
        source: Box<UplinkError>,
    },
    /// What came is not what was named.
    #[error("firmware file `{name}` from the cloud has SHA-256 {found} instead of {expected}")]
    OtherDigest {
        /// The file's name.
        name: String,
        /// The digest by which it was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// The disk refuses.
    #[error("cannot store firmware file `{}`", path.display())]
    Store {
        /// Where.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// A sealed iPXE is about a megabyte; a file is held in memory while it is served.
pub const SIZE_LIMIT: u64 = 64 << 20;

impl FirmwareCache {
    /// The cache in `folder`, which exists.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The file with this digest, when it is here and whole. A damaged one counts as not here, and is fetched again.
    #[must_use]
    pub fn look_up(&self, file: &FirmwareFile) -> Option<Bytes> {
        let path = self.path(file.sha256);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    tracing::warn!(file = %path.display(), %error, "cannot read a firmware file of the cache");
                }
                return None;
            }
        };
        if Digest::of(&bytes) == file.sha256 {
            return Some(Bytes::from(bytes));
        }
        tracing::warn!(file = %path.display(), name = file.name, "firmware file in the cache is damaged and is not used");
        None
    }

    /// The file from the cache, or from the cloud into the cache; checked against its digest either way.
    ///
    /// # Errors
    /// When the cloud does not give it or the disk refuses it.
    pub async fn fetch(&self, client: &Client, file: &FirmwareFile) -> Result<Bytes, FirmwareError> {
        if let Some(bytes) = self.look_up(file) {
            return Ok(bytes);
        }
        if file.size > SIZE_LIMIT {
            return Err(FirmwareError::TooLarge { name: file.name.clone(), size: file.size });
        }
        let path = format!("/site/v1/firmware/{}", file.sha256);
        let bytes = client
            .download(&path, file.size)
            .await
            .map_err(|source| FirmwareError::Fetch { name: file.name.clone(), source: Box::new(source) })?;
        self.keep(file, &bytes)?;
        tracing::info!(file = file.name, size = file.size, sha256 = %file.sha256, "fetched firmware from the cloud");
        Ok(bytes)
    }

    fn keep(&self, file: &FirmwareFile, bytes: &[u8]) -> Result<(), FirmwareError> {
        let found = Digest::of(bytes);
        if found != file.sha256 {
            return Err(FirmwareError::OtherDigest { name: file.name.clone(), expected: file.sha256, found });
        }
        let path = self.path(file.sha256);
        durable_file::replace(&path, bytes, Access::Everyone).map_err(|source| FirmwareError::Store { path, source })
    }

    /// Removes the files that are not among `files`.
    pub fn keep_only(&self, files: &[FirmwareFile]) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for entry in entries {
            let digest = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok());
            if digest.is_some_and(|digest| files.iter().all(|file| file.sha256 != digest)) {
                // What can't be removed costs room and nothing else.
                drop(fs::remove_file(entry.path()));
            }
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::test_folder::TestFolder;

    fn file(content: &[u8]) -> FirmwareFile {
        FirmwareFile { name: "snponly.efi".to_owned(), sha256: Digest::of(content), size: u64::try_from(content.len()).unwrap() }
    }

    #[test]
    fn only_what_bears_its_digest_is_kept_and_found() {
        let folder = TestFolder::new("firmware-digest");
        let cache = FirmwareCache::new(folder.path());
        assert!(matches!(cache.keep(&file(b"right"), b"wrong"), Err(FirmwareError::OtherDigest { .. })));
        assert_eq!(cache.look_up(&file(b"right")), None);
        cache.keep(&file(b"right"), b"right").unwrap();
        assert_eq!(cache.look_up(&file(b"right")).as_deref(), Some(b"right".as_slice()));
        fs::write(cache.path(Digest::of(b"right")), b"rigXt").unwrap();
        assert_eq!(cache.look_up(&file(b"right")), None);
    }

    #[test]
    fn files_that_are_no_longer_named_are_removed_and_nothing_else() {
        let folder = TestFolder::new("firmware-old");
        let cache = FirmwareCache::new(folder.path());
        cache.keep(&file(b"old"), b"old").unwrap();
        cache.keep(&file(b"new"), b"new").unwrap();
        fs::write(folder.path().join("note"), "").unwrap();
        cache.keep_only(&[file(b"new")]);
        assert_eq!(cache.look_up(&file(b"old")), None);
        assert!(cache.look_up(&file(b"new")).is_some() && folder.path().join("note").exists());
    }
}
