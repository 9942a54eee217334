//! The cloud's state folder: keys, certificates, database, blobs and firmware.
//!
//! | name | what |
//! |---|---|
//! | `root.pem`, `root.key` | the root; its key may be moved away after `init` |
//! | `issuing.pem`, `issuing.key` | the issuing CA |
//! | `capability.key` | Ed25519 key that signs capabilities |
//! | `store.key` | seals the secrets in the database, unless the configuration says where else the key is |
//! | `cloud.db` | the database, unless it is in PostgreSQL |
//! | `cloud.lock` | held by programs that have the database open |
//! | `blobs/` | kernels and initramfs images, by digest |
//! | `firmware/` | the sealed firmware |

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::cloud::asset::Blobs;
use crate::cloud::config::StoreSettings;
use crate::cloud::store::{KeySource, Keyring, Location, Store, StoreError};
use crate::durable_file::{self, Access};
use crate::failure::Failure;
use crate::pki::authority::{Authority, KeyedCertificate, NewAuthority};
use crate::secret::Secret;
use crate::wire::Digest;

const ROOT: &str = "root.pem";
const ROOT_KEY: &str = "root.key";
const ISSUING: &str = "issuing.pem";
const ISSUING_KEY: &str = "issuing.key";
const CAPABILITY_KEY: &str = "capability.key";
const STORE_KEY: &str = "store.key";
const DATABASE: &str = "cloud.db";
const LOCK: &str = "cloud.lock";
const BLOBS: &str = "blobs";
const FIRMWARE: &str = "firmware";

/// The state folder, opened.
pub struct CloudState {
    folder: PathBuf,
    /// The certificate authority.
    pub authority: Authority,
    /// Signs capabilities.
    pub capability_key: Ed25519KeyPair,
    /// The store.
    pub store: Store,
    /// Keeps a database from being replaced while this program has it open.
    _lock: File,
}

/// What to do about a store that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Say so, and end.
    None,
    /// Say so, and ask again until it does.
    Unlimited,
}

impl CloudState {
    /// Makes the folder and everything in it, and returns the root's fingerprint.
    ///
    /// # Errors
    /// When there is a state already, or the folder can't be written.
    pub fn init(folder: &Path, settings: &StoreSettings) -> Result<Digest, Failure> {
        let location = settings.location(folder);
        let there = location.is_there().map_err(|error| cannot_open(&location, &error))?;
        if there && folder.join(ROOT).exists() {
            return Err(Failure::new(format!("there is a cloud in `{}` already", folder.display()))
                .hint("use it as it is, or name another `state_dir`; a root that is made anew would lock out every site"));
        }
        if there {
            return Err(Failure::new("there is a Fairlead database already, and it is another cloud's").hint(
                "to add a replica, copy the keys and certificates of that cloud's state folder here; to make another cloud, give it \
                 another database",
            ));
        }
        if folder.join(CAPABILITY_KEY).exists() || folder.join(STORE_KEY).exists() {
            return Err(Failure::new(format!("an earlier `init` in `{}` was interrupted", folder.display()))
                .hint(format!("nothing used it yet: remove `{}` and run `init` again", folder.display())));
        }
        for path in [folder.to_owned(), folder.join(BLOBS), folder.join(FIRMWARE)] {
            // Not even names and sizes are anyone else's business.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|error| cannot("create", &path, &error))?;
        }
        let made = NewAuthority::generate().map_err(|error| Failure::new("cannot make the certificate authority").cause(&error))?;
        let capability_key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| Failure::new("cannot make a key").because("the system gave no random numbers"))?;
        let write = |name: &str, contents: &[u8], access| {
            let path = folder.join(name);
            durable_file::replace(&path, contents, access).map_err(|error| cannot("write", &path, &error))
        };
        let source = settings.key_source(folder);
        if source == KeySource::File(folder.join(STORE_KEY)) {
            write(STORE_KEY, &random::<32>()?, Access::Owner)?;
        }
        let keys = Arc::new(Keyring::load(source)?);
        write(CAPABILITY_KEY, capability_key.as_ref(), Access::Owner)?;
        write(ISSUING_KEY, made.issuing.key.expose(), Access::Owner)?;
        write(ISSUING, made.issuing.certificate.as_bytes(), Access::Everyone)?;
        write(ROOT_KEY, made.root.key.expose(), Access::Owner)?;
        write(ROOT, made.root.certificate.as_bytes(), Access::Everyone)?;
        // The database last: it is what tells a finished `init` from an interrupted one.
        drop(Store::create(&location, &keys).map_err(|error| Failure::new("cannot make the database").cause(&error))?);
        Ok(Self::open(folder, settings, Patience::None)?.authority.root_fingerprint())
    }

    /// Makes an empty store for a cloud whose keys are here; false when there is a store.
    ///
    /// # Errors
    /// When there are no keys, or the store can't be made.
    pub fn make_store(folder: &Path, settings: &StoreSettings) -> Result<bool, Failure> {
        let location = settings.location(folder);
        if !folder.join(ROOT).exists() || location.is_there().map_err(|error| cannot_open(&location, &error))? {
            return Ok(false);
        }
        let keys = Arc::new(Keyring::load(settings.key_source(folder))?);
        Store::create(&location, &keys).map(|_| true).map_err(|error| Failure::new("cannot make the database").cause(&error))
    }

    /// Opens what `init` made.
    ///
    /// # Errors
    /// Naming the file that is missing or broken. Nothing is ever started over.
    pub fn open(folder: &Path, settings: &StoreSettings, patience: Patience) -> Result<Self, Failure> {
        let location = settings.location(folder);
        let has_file = matches!(&location, Location::Sqlite(path) if path.exists());
        if !has_file && !folder.join(ROOT).exists() {
            return Err(Failure::new(format!("there is no cloud in `{}`", folder.display()))
                .hint("run `fairlead-cloud init` first, or name the right `state_dir` in the configuration"));
        }
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|error| {
                cannot("read", &path, &error).hint("restore it from a backup; it can't be made anew without every site joining anew")
            })
        };
        let text = |name: &str| {
            String::from_utf8(read(name)?).map_err(|_| Failure::new(format!("`{}` is not a PEM file", folder.join(name).display())))
        };
        let broken = |name: &str| Failure::new(format!("`{}` is broken", folder.join(name).display())).hint("restore it from a backup");
        let issuing = KeyedCertificate { certificate: text(ISSUING)?, key: Secret::new(read(ISSUING_KEY)?) };
        let authority = Authority::open(&text(ROOT)?, &issuing).map_err(|error| broken(ISSUING).cause(&error))?;
        let capability_key =
            Ed25519KeyPair::from_pkcs8(&read(CAPABILITY_KEY)?).map_err(|error| broken(CAPABILITY_KEY).because(error.to_string()))?;
        let keys = Arc::new(Keyring::load(settings.key_source(folder))?);
        let lock = lock(folder, false)?;
        let store = loop {
            match Store::open(&location, &keys) {
                Ok(store) => break store,
                Err(error @ StoreError::Unreachable { .. }) if patience == Patience::Unlimited => {
                    tracing::warn!(cause = error.in_full(), "nothing is served yet: waiting for the database");
                    std::thread::sleep(BETWEEN_ATTEMPTS);
                }
                Err(error) => return Err(cannot_open(&location, &error)),
            }
        };
        Ok(Self { folder: folder.to_owned(), authority, capability_key, store, _lock: lock })
    }

    /// The public key that checks capabilities.
    #[must_use]
    pub fn capability_public_key(&self) -> &[u8] {
        self.capability_key.public_key().as_ref()
    }

    /// The folder of blobs.
    #[must_use]
    pub fn blobs(&self) -> Blobs {
        Blobs::new(self.folder.join(BLOBS))
    }

    /// The folder of the sealed firmware.
    #[must_use]
    pub fn firmware_folder(&self) -> PathBuf {
        self.folder.join(FIRMWARE)
    }
}

/// How often a database that does not answer is asked again at the start.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(3);

impl StoreSettings {
    /// Where the store is.
    #[must_use]
    pub fn location(&self, folder: &Path) -> Location {
        self.postgresql.clone().map_or_else(|| Location::Sqlite(folder.join(DATABASE)), |settings| Location::Postgresql(Box::new(settings)))
    }

    /// Where its keys are.
    #[must_use]
    pub fn key_source(&self, folder: &Path) -> KeySource {
        self.key.clone().unwrap_or_else(|| KeySource::File(folder.join(STORE_KEY)))
    }
}

/// Takes the lock of the state folder: alone, or with others who have the database open.
///
/// # Errors
/// When it is held, or the folder can't be written.
pub fn lock(folder: &Path, alone: bool) -> Result<File, Failure> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(|error| cannot("open", &path, &error))?;
    let locked = if alone { file.try_lock() } else { file.try_lock_shared() };
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) if alone => {
            Err(Failure::new(format!("another program has the database in `{}` open", folder.display()))
                .hint("stop `fairlead-cloud serve`, and run this again"))
        }
        Err(TryLockError::WouldBlock) => {
            Err(Failure::new(format!("the database in `{}` is being restored", folder.display())).hint("run this again in a minute"))
        }
        Err(TryLockError::Error(error)) => Err(cannot("lock", &path, &error)),
    }
}

fn cannot_open(location: &Location, error: &StoreError) -> Failure {
    let hint = match (error, location) {
        (StoreError::Newer { .. }, _) => "run the newer program, or restore a backup that this one made",
        (StoreError::Unreachable { .. }, _) => "is it running, and is `store.url` right? `psql` with the same URL tells more",
        (StoreError::Missing(_), Location::Postgresql(_)) => {
            "is `store.url` right? `fairlead-cloud init` makes a cloud in an empty database"
        }
        (StoreError::Seal(_), _) => "bring back the key that sealed it: `store.key`, or where `[store]` in the configuration says",
        (_, Location::Postgresql(_)) => "nothing was changed; the database's own log tells more",
        (_, Location::Sqlite(_)) => "restore it from a backup; nothing was changed",
    };
    Failure::new("cannot open the database").cause(error).hint(hint)
}

/// Random octets from the system.
///
/// # Errors
/// When the system has none to give.
pub fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], Failure> {
    let mut bytes = [0; LENGTH];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::new("cannot make a key or token").because("the system gave no random numbers"))?;
    Ok(bytes)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new(format!("cannot {what} `{}`", path.display())).cause(error);
    match error.kind() {
        io::ErrorKind::PermissionDenied => failure.hint("run as the user that owns the state folder, or as root"),
        io::ErrorKind::StorageFull => failure.hint("make room on its file system"),
        _ => failure,
    }
}
