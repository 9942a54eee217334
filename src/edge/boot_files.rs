//! The files that nodes may read, over TFTP and over HTTP: nothing else at the site can be asked for.
//!
//! The set is held in memory and swapped at run time when the cloud names other firmware. A transfer that runs keeps the bytes it began with.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::wire::Digest;

/// The longest name a boot file can have: what DHCP's `file` field holds (RFC 2131, section 2), less its NUL and a leading `/`.
pub const NAME_LIMIT: usize = 126;

/// A file for nodes, with its digest. Clones share the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct BootFile {
    name: Arc<str>,
    bytes: Bytes,
    sha256: Digest,
}

impl BootFile {
    /// A file that nodes can ask for by `name`.
    ///
    /// # Errors
    /// [`BadName`] when `name` is not what [`BootFiles::look_up`] could ever find.
    pub fn new(name: &str, bytes: impl Into<Bytes>) -> Result<Self, BadName> {
        if !is_name(name.as_bytes()) {
            return Err(BadName { name: name.chars().take(NAME_LIMIT).collect() });
        }
        let bytes = bytes.into();
        Ok(Self { name: name.into(), sha256: Digest::of(&bytes), bytes })
    }

    /// The name, without a leading `/`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The content.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Digest of the content.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.sha256
    }

    /// Length in octets.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }
}

impl fmt::Debug for BootFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootFile").field("name", &self.name).field("size", &self.bytes.len()).field("sha256", &self.sha256).finish()
    }
}

/// Letters, digits, `.`, `-` and `_`, and not only dots: no folder, no escape, nothing that a log or a URL would have to quote.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= NAME_LIMIT
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        && name.iter().any(|byte| *byte != b'.')
}

/// A name that no boot file can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` can't be the name of a boot file: only letters, digits, `.`, `-` and `_`, up to {NAME_LIMIT} of them")]
pub struct BadName {
    name: String,
}

/// The set of files that nodes may read. Clones are handles to the same set.
#[derive(Clone, Debug, Default)]
pub struct BootFiles(Arc<RwLock<BTreeMap<Arc<str>, BootFile>>>);

impl BootFiles {
    /// The set of `files`; of two with the same name the later one stays.
    pub fn new(files: impl IntoIterator<Item = BootFile>) -> Self {
        let set = Self::default();
        set.replace_all(files);
        set
    }

    /// Puts `files` in place of all that were there, at once: nobody sees a half of either set.
    pub fn replace_all(&self, files: impl IntoIterator<Item = BootFile>) {
        let set = files.into_iter().map(|file| (Arc::clone(&file.name), file)).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = set;
    }

    /// Adds a file, or replaces the one of its name.
    pub fn put(&self, file: BootFile) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(&file.name), file);
    }

    /// The file that a node names as `asked`: its exact name, with one `/` before it or without.
    ///
    /// Firmware puts that `/` there when it takes the name from a URL. Nothing else is understood: no folder, no `..`, no other spelling.
    #[must_use]
    pub fn look_up(&self, asked: &[u8]) -> Option<BootFile> {
        let name = asked.strip_prefix(b"/").unwrap_or(asked);
        let name = std::str::from_utf8(name).ok()?;
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All files, by name.
    #[must_use]
    pub fn all(&self) -> Vec<BootFile> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// How a file went to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TFTP (RFC 1350).
    Tftp,
    /// HTTP without TLS.
    Http,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tftp => "tftp",
            Self::Http => "http",
        })
    }
}

/// A file went to a node, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileServed {
    /// When the node had the last of it.
    pub at: Timestamp,
    /// The node's address.
    pub peer: Ipv4Addr,
    /// How it went.
    pub protocol: Protocol,
    /// The file's name.
    pub file: String,
    /// Octets.
    pub size: u64,
    /// Digest of what was sent.
    pub sha256: Digest,
}

impl FileServed {
    /// Says that all of `file` went to `peer`.
    #[must_use]
    pub fn whole(at: Timestamp, peer: Ipv4Addr, protocol: Protocol, file: &BootFile) -> Self {
        Self { at, peer, protocol, file: file.name().to_owned(), size: file.size(), sha256: file.sha256() }
    }
}

/// Who wants to know which files went to which node.
pub trait ServedFiles: Send + Sync + 'static {
    /// Takes one report. Called between packets: it must not block.
    fn file_served(&self, served: FileServed);
}

impl<F: Fn(FileServed) + Send + Sync + 'static> ServedFiles for F {
    fn file_served(&self, served: FileServed) {
        self(served);
    }
}

#[cfg(test)]
mod tests {
    use super::{BootFile, BootFiles, NAME_LIMIT};

    fn set() -> BootFiles {
        BootFiles::new([BootFile::new("snponly.efi", "one").unwrap()])
    }

    #[test]
    fn finds_the_exact_name_with_one_slash_or_none() {
        assert_eq!(set().look_up(b"snponly.efi").unwrap().bytes(), "one");
        assert_eq!(set().look_up(b"/snponly.efi").unwrap().name(), "snponly.efi");
    }

    #[test]
    fn finds_nothing_by_any_other_spelling() {
        let long = [b'a'; 1000];
        for asked in [
            b"".as_slice(),
            b"/",
            b"//snponly.efi",
            b"./snponly.efi",
            b"../snponly.efi",
            b"/../snponly.efi",
            b"x/../snponly.efi",
            b"\\snponly.efi",
            b"SNPONLY.EFI",
            b"snponly.efi\0",
            b"snponly.efi/",
            b"/etc/passwd",
            b"\xff\xfe",
            &long,
        ] {
            assert_eq!(set().look_up(asked), None, "{:?}", String::from_utf8_lossy(asked));
        }
    }

    #[test]
    fn takes_no_name_that_could_mean_a_path() {
        let long = "a".repeat(NAME_LIMIT + 1);
        for name in ["", ".", "..", "a/b", "/a", "a\\b", "a\0", "ä", "a b", long.as_str()] {
            assert!(BootFile::new(name, "").is_err(), "{name:?}");
        }
    }

    #[test]
    fn is_swapped_for_every_handle_while_a_reader_keeps_its_bytes() {
        let set = set();
        let other_handle = set.clone();
        let held = set.look_up(b"snponly.efi").unwrap();
        other_handle.replace_all([BootFile::new("snponly.efi", "two").unwrap(), BootFile::new("b", "").unwrap()]);
        assert_eq!(held.bytes(), "one");
        assert_eq!(set.look_up(b"snponly.efi").unwrap().bytes(), "two");
        assert_eq!(set.all().len(), 2);
        set.put(BootFile::new("b", "three").unwrap());
        assert_eq!(other_handle.look_up(b"b").unwrap().size(), 5);
    }
}
