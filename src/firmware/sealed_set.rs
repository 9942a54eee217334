//! A folder of sealed files with the record that says what they are: what `firmware build` makes and the cloud hands out.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::FirmwareError;
use super::manifest::{FileKind, is_file_name};
use super::seal;
use crate::durable_file::{self, Access};
use crate::wire::Digest;

/// The record's name in the folder of a set.
pub const RECORD: &str = "firmware.json";

/// The sealed boot files of one root and one version of iPXE, checked byte for byte when opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSet {
    record: Record,
    files: Vec<SealedFile>,
}

/// One file of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedFile {
    /// Under which machines ask for it.
    pub name: String,
    /// Whether the root is inside (`efi`) or comes by DHCP (`bios`).
    pub kind: FileKind,
    /// The digest of the file as the distribution ships it.
    pub input_sha256: Digest,
    /// The digest of the file as machines get it.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// What the record of a set says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The layout of the record; 1 for this one.
    pub format: u32,
    /// The SHA-256 of the root certificate that the files trust.
    pub root: Digest,
    /// The package the files are from.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Its digest.
    pub package_sha256: Digest,
    /// The files.
    pub files: Vec<RecordedFile>,
}

/// One file as the record of a set has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedFile {
    /// Under which machines ask for it.
    pub name: String,
    /// Whether the root is inside (`efi`) or comes by DHCP (`bios`).
    pub kind: FileKind,
    /// The digest of the file as the distribution ships it.
    pub input_sha256: Digest,
    /// The digest of the file as machines get it.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where it is, relative to the folder of the set.
    pub path: String,
}

impl SealedSet {
    /// Opens the set in `folder` and checks it: the record, every file's digest, and that the files trust `root` and nobody else.
    ///
    /// # Errors
    /// When there is no set, it is for another root, or a file is not what the record says.
    pub fn open(folder: &Path, root: Digest) -> Result<Self, FirmwareError> {
        let set = Self::open_any(folder)?;
        if set.record.root != root {
            return Err(FirmwareError::OtherRoot { folder: folder.to_owned(), expected: root, found: set.record.root });
        }
        Ok(set)
    }

    /// Opens the set in `folder`, whatever root it is for, and checks it against its own record.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for the root.
    pub fn open_any(folder: &Path) -> Result<Self, FirmwareError> {
        let path = folder.join(RECORD);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(FirmwareError::NoSet(folder.to_owned())),
            Err(error) => return Err(FirmwareError::io("read", &path)(error)),
        };
        let refuse = |reason: String| FirmwareError::Record { path: path.clone(), reason };
        let record: Record = serde_json::from_slice(&text).map_err(|error| refuse(error.to_string()))?;
        if record.format != 1 {
            return Err(refuse(format!("it has format {}, and this program knows format 1", record.format)));
        }
        // A record is data that may have been copied from elsewhere: its names must stay in the folder.
        let stays = |file: &RecordedFile| is_file_name(&file.name) && file.path.split('/').all(is_file_name);
        if let Some(file) = record.files.iter().find(|file| !stays(file)) {
            return Err(refuse(format!("`{}` at `{}` is not a file of this folder", file.name, file.path)));
        }
        let files = record.files.iter().map(|file| file.below(folder)).collect();
        let set = Self { record, files };
        for file in set.files() {
            set.read(file)?;
        }
        Ok(set)
    }

    /// What the record says.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &[SealedFile] {
        &self.files
    }

    /// The file of that name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&SealedFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Reads a file and checks it again: what leaves is what was sealed.
    ///
    /// # Errors
    /// When it can't be read, or is not what the record says.
    pub fn read(&self, file: &SealedFile) -> Result<Vec<u8>, FirmwareError> {
        let bytes = fs::read(&file.path).map_err(FirmwareError::io("read", &file.path))?;
        let found = Digest::of(&bytes);
        if found != file.sha256 {
            return Err(FirmwareError::Digest { what: format!("`{}`", file.path.display()), expected: file.sha256, found });
        }
        if file.kind == FileKind::Efi {
            seal::verify(&bytes, self.record.root).map_err(|source| FirmwareError::Seal { name: file.name.clone(), source })?;
        }
        Ok(bytes)
    }

    /// Writes a set into `folder`: first the files, in a folder of their own, then the record that names them.
    ///
    /// A reader sees the old set or the new one at any moment, and a crash leaves one of them.
    pub(super) fn write(folder: &Path, mut record: Record, contents: &[Vec<u8>]) -> Result<Self, FirmwareError> {
        let root = record.root.to_string();
        let sub = format!("{}-{}", record.version, root.get(..16).unwrap_or(&root));
        let files = folder.join(&sub);
        fs::create_dir_all(&files).map_err(FirmwareError::io("make", &files))?;
        for (file, bytes) in record.files.iter_mut().zip(contents) {
            let path = files.join(&file.name);
            durable_file::replace(&path, bytes, Access::Everyone).map_err(FirmwareError::io("write", &path))?;
            file.path = format!("{sub}/{}", file.name);
        }
        durable_file::sync_folder_of(&files).map_err(FirmwareError::io("write", folder))?;
        let path = folder.join(RECORD);
        let mut text =
            serde_json::to_vec_pretty(&record).map_err(|error| FirmwareError::Record { path: path.clone(), reason: error.to_string() })?;
        text.push(b'\n');
        durable_file::replace(&path, &text, Access::Everyone).map_err(FirmwareError::io("write", &path))?;
        // What was written is read back: nobody should learn at a boot that a disk lies.
        Self::open(folder, record.root)
    }
}

impl RecordedFile {
    /// A file that is about to be written.
    pub(super) fn new(name: &str, kind: FileKind, input: Digest, bytes: &[u8]) -> Self {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self { name: name.to_owned(), kind, input_sha256: input, sha256: Digest::of(bytes), size, path: String::new() }
    }

    fn below(&self, folder: &Path) -> SealedFile {
        let Self { name, kind, input_sha256, sha256, size, path } = self.clone();
        SealedFile { name, kind, input_sha256, sha256, size, path: folder.join(path) }
    }
}
