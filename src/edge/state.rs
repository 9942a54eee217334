//! The state folder of the box: what is in it, and how each file is read and written.
//!
//! | file | holds |
//! |---|---|
//! | `identity.json` | keys, certificate and site, mode 0600 |
//! | `joining.json` | keys of a join that is under way, mode 0600 |
//! | `settings.json` | the last good settings from the cloud |
//! | `firmware/` | firmware files by their SHA-256 |
//! | `spool/` | reports that the cloud does not have yet |
//! | `leases/` | leases |
//! | `control.sock` | where commands speak with the program that runs |
//! | `lock` | held by the program that uses the folder |

use std::error::Error;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::identity::{Identity, PendingJoin};
use crate::durable_file::{self, Access};
use crate::failure::Failure;
use crate::wire::Digest;
use crate::wire::uplink::SiteSettings;

/// The state folder.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

/// Why the state folder, or a file in it, can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file that this program writes holds something else.
    #[error("`{}` is damaged", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What to do about it.
        remedy: &'static str,
        /// What is wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Another program has it.
    #[error("another fairlead-edge uses the state folder `{}`", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        let failure = Self::new(error.to_string());
        let failure = match error.source() {
            Some(source) => failure.cause(source),
            None => failure,
        };
        match &error {
            StateError::Corrupt { remedy, .. } => failure.hint(*remedy),
            StateError::InUse { .. } => failure.hint("stop the other one first (`systemctl stop fairlead-edge`, or end its process)"),
            StateError::Io { source, .. } => failure.hint(match source.kind() {
                ErrorKind::PermissionDenied => "run as the user that owns the folder, or as root",
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on that disk",
                ErrorKind::ReadOnlyFilesystem => {
                    "the disk is read-only, often after an error: see `dmesg`, then mount it writable or replace it"
                }
                _ => "set `state_dir` in edge.toml to a folder on a working disk",
            }),
        }
    }
}

/// The right to use the state folder, until it is dropped or the program ends.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// The settings on disk, with the site they belong to: a box that joined elsewhere must not serve them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSettings {
    cloud_root: Digest,
    site_number: u32,
    settings: SiteSettings,
}

const IDENTITY_REMEDY: &str = "restore the file from a backup, or give the box a new identity: make a join token with \
    `fairlead-cloud site token NAME` and run `fairlead-edge join --replace`";
const PENDING_REMEDY: &str = "remove the file; if its token was spent, make a new one with `fairlead-cloud site token NAME`";
const SETTINGS_REMEDY: &str = "move the file away: the box fetches its settings from the cloud again";

impl StateDir {
    /// Opens the folder, and makes it (mode 0700) when it is not there.
    ///
    /// # Errors
    /// When it can't be made or is no folder.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        make_folder(path)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Looks at the folder without making it: `None` when it is not there.
    ///
    /// # Errors
    /// When it can't be looked at.
    pub fn existing(path: &Path) -> Result<Option<Self>, StateError> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Ok(Some(Self { path: path.to_owned() })),
            Ok(_) => Err(io_error("use as a folder", path, ErrorKind::NotADirectory.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("look at", path, error)),
        }
    }

    /// The folder's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the folder for this program alone.
    ///
    /// # Errors
    /// When another one has it.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        let path = self.path.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| io_error("open the lock file", &path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(StateLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse { path: self.path.clone() }),
            Err(TryLockError::Error(error)) => Err(io_error("lock", &path, error)),
        }
    }

    /// Whether another program has the folder now.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        // Asked without making a lock file: who only looks leaves nothing behind.
        let held = |file: File| matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        File::open(self.path.join("lock")).is_ok_and(held)
    }

    /// The box's identity, `None` when it has not joined.
    ///
    /// # Errors
    /// When the file can't be read or is damaged.
    pub fn identity(&self) -> Result<Option<Identity>, StateError> {
        self.read("identity.json", IDENTITY_REMEDY, Identity::from_bytes)
    }

    /// Whether there is a file for the identity, be it damaged or not.
    #[must_use]
    pub fn has_identity_file(&self) -> bool {
        self.path.join("identity.json").exists()
    }

    /// Stores the identity in place of the one that was there.
    ///
    /// # Errors
    /// When it can't be written; the old one stands then.
    pub fn store_identity(&self, identity: &Identity) -> Result<(), StateError> {
        self.write("identity.json", &identity.to_bytes(), Access::Owner)
    }

    /// The keys of a join that was not finished.
    ///
    /// # Errors
    /// When the file can't be read or is damaged.
    pub fn pending_join(&self) -> Result<Option<PendingJoin>, StateError> {
        self.read("joining.json", PENDING_REMEDY, PendingJoin::from_bytes)
    }

    /// Stores the keys of a join that is about to begin.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn store_pending_join(&self, pending: &PendingJoin) -> Result<(), StateError> {
        self.write("joining.json", &pending.to_bytes(), Access::Owner)
    }

    /// Forgets the keys of a join that is finished.
    ///
    /// # Errors
    /// When the file can't be removed.
    pub fn remove_pending_join(&self) -> Result<(), StateError> {
        let path = self.path.join("joining.json");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error("remove", &path, error)),
            _ => Ok(()),
        }
    }

    /// The last good settings of this identity's site; those of another site are passed over.
    ///
    /// # Errors
    /// When the file can't be read or is damaged.
    pub fn settings(&self, identity: &Identity) -> Result<Option<SiteSettings>, StateError> {
        let stored: Option<StoredSettings> = self.read("settings.json", SETTINGS_REMEDY, |bytes| serde_json::from_slice(bytes))?;
        let ours = |stored: &StoredSettings| (stored.cloud_root, stored.site_number) == (identity.root(), identity.site_number);
        Ok(stored.filter(ours).map(|stored| stored.settings))
    }

    /// Stores settings that are good: complete, with all their files in the cache.
    ///
    /// # Errors
    /// When they can't be written; the old ones stand then.
    pub fn store_settings(&self, identity: &Identity, settings: &SiteSettings) -> Result<(), StateError> {
        let stored = StoredSettings { cloud_root: identity.root(), site_number: identity.site_number, settings: settings.clone() };
        // A struct of strings and numbers always serialises.
        self.write("settings.json", &serde_json::to_vec_pretty(&stored).unwrap_or_default(), Access::Everyone)
    }

    /// A folder inside, made when it is not there.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf, StateError> {
        let path = self.path.join(name);
        make_folder(&path)?;
        Ok(path)
    }

    fn read<T, E>(&self, name: &str, remedy: &'static str, parse: impl FnOnce(&[u8]) -> Result<T, E>) -> Result<Option<T>, StateError>
    where
        E: Error + Send + Sync + 'static,
    {
        let path = self.path.join(name);
        match fs::read(&path).map(Zeroizing::new) {
            Ok(bytes) => match parse(&bytes) {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(StateError::Corrupt { path, remedy, source: Box::new(error) }),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", &path, error)),
        }
    }

    fn write(&self, name: &str, bytes: &[u8], access: Access) -> Result<(), StateError> {
        let path = self.path.join(name);
        durable_file::replace(&path, bytes, access).map_err(|error| io_error("write", &path, error))
    }
}

fn make_folder(path: &Path) -> Result<(), StateError> {
    let made = match DirBuilder::new().mode(0o700).create(path) {
        // The folder is there only once its name is on the disk.
        Ok(()) => durable_file::sync_folder_of(path),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            DirBuilder::new().mode(0o700).recursive(true).create(path).and_then(|()| durable_file::sync_folder_of(path))
        }
        Err(error) => Err(error),
    };
    made.map_err(|error| io_error("make the folder", path, error))
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> StateError {
    StateError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::clock::Timestamp;
    use crate::edge::identity::tests::example;
    use crate::edge::test_folder::TestFolder;

    fn settings() -> SiteSettings {
        SiteSettings {
            boot_url: "https://198.51.100.10:8443".to_owned(),
            root: Digest::of(b"root"),
            capability_key: "AAAA".to_owned(),
            firmware: Vec::new(),
            now: Timestamp::from_secs(1_800_000_000),
        }
    }

    #[test]
    fn identity_is_whole_and_readable_by_its_owner_only() {
        let folder = TestFolder::new("state-identity");
        let state = StateDir::open(&folder.path().join("new/state")).unwrap();
        assert!(state.identity().unwrap().is_none());
        let identity = example("plant-1");
        state.store_identity(&identity).unwrap();
        assert_eq!(state.identity().unwrap().unwrap().to_bytes(), identity.to_bytes());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(state.path()), mode(&state.path().join("identity.json"))), (0o700, 0o600));
    }

    #[test]
    fn damaged_file_is_named_with_its_remedy() {
        let folder = TestFolder::new("state-damaged");
        let state = StateDir::open(folder.path()).unwrap();
        for name in ["identity.json", "joining.json", "settings.json"] {
            fs::write(state.path().join(name), "{\"site\": ").unwrap();
        }
        let identity = example("plant-1");
        for (name, error) in [
            ("identity.json", state.identity().unwrap_err()),
            ("joining.json", state.pending_join().unwrap_err()),
            ("settings.json", state.settings(&identity).unwrap_err()),
        ] {
            let text = Failure::from(error).to_string();
            assert!(text.contains(name) && text.contains("is damaged\n  caused by: ") && text.contains("\nhint: "), "{text}");
            assert_eq!(fs::read(state.path().join(name)).unwrap(), b"{\"site\": ", "nothing is started over it");
        }
    }

    #[test]
    fn settings_of_another_site_are_passed_over() {
        let folder = TestFolder::new("state-settings");
        let state = StateDir::open(folder.path()).unwrap();
        let identity = example("plant-1");
        state.store_settings(&identity, &settings()).unwrap();
        assert_eq!(state.settings(&identity).unwrap(), Some(settings()));
        assert_eq!(state.settings(&example("plant-2")).unwrap(), None);
    }

    #[test]
    fn second_program_is_told_that_the_folder_is_in_use() {
        let folder = TestFolder::new("state-lock");
        let state = StateDir::open(folder.path()).unwrap();
        let held = state.lock().unwrap();
        assert!(matches!(state.lock(), Err(StateError::InUse { .. })));
        drop(held);
        assert!(state.lock().is_ok());
    }

    #[test]
    fn file_in_the_folders_place_is_refused() {
        let folder = TestFolder::new("state-file");
        let path = folder.path().join("state");
        fs::write(&path, "").unwrap();
        assert!(matches!(StateDir::open(&path), Err(StateError::Io { .. })));
        assert!(matches!(StateDir::existing(&path), Err(StateError::Io { .. })));
        assert!(StateDir::existing(&folder.path().join("none")).unwrap().is_none());
    }
}
