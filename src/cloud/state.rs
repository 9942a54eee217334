//! The cloud's state folder: keys, certificates, database, blobs and firmware.
//!
//! | name | what |
//! |---|---|
//! | `root.pem`, `root.key` | the root; its key may be moved away after `init` |
//! | `issuing.pem`, `issuing.key` | the issuing CA |
//! | `capability.key` | Ed25519 key that signs capabilities |
//! | `store.key` | seals the secrets in the database |
//! | `cloud.db` | the database |
//! | `blobs/` | kernels and initramfs images, by digest |
//! | `firmware/` | the sealed firmware |

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::cloud::asset::Blobs;
use crate::cloud::store::{Store, StoreError, StoreKey};
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
}

impl CloudState {
    /// Makes the folder and everything in it, and returns the root's fingerprint.
    ///
    /// # Errors
    /// When there is a state already, or the folder can't be written.
    pub fn init(folder: &Path) -> Result<Digest, Failure> {
        if folder.join(DATABASE).exists() {
            return Err(Failure::new(format!("there is a cloud in `{}` already", folder.display()))
                .hint("use it as it is, or name another `state_dir`; a root that is made anew would lock out every site"));
        }
        if folder.join(STORE_KEY).exists() {
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
        let store_key = random::<32>()?;
        let write = |name: &str, contents: &[u8], access| {
            let path = folder.join(name);
            durable_file::replace(&path, contents, access).map_err(|error| cannot("write", &path, &error))
        };
        write(STORE_KEY, &store_key, Access::Owner)?;
        write(CAPABILITY_KEY, capability_key.as_ref(), Access::Owner)?;
        write(ISSUING_KEY, made.issuing.key.expose(), Access::Owner)?;
        write(ISSUING, made.issuing.certificate.as_bytes(), Access::Everyone)?;
        write(ROOT_KEY, made.root.key.expose(), Access::Owner)?;
        write(ROOT, made.root.certificate.as_bytes(), Access::Everyone)?;
        let key = StoreKey::from_bytes(&store_key).map_err(|error| Failure::new("cannot make the store's key").cause(&error))?;
        // The database last: it is what tells a finished `init` from an interrupted one.
        Store::create(&folder.join(DATABASE), key).map_err(|error| Failure::new("cannot make the database").cause(&error))?;
        Ok(Self::open(folder)?.authority.root_fingerprint())
    }

    /// Opens what `init` made.
    ///
    /// # Errors
    /// Naming the file that is missing or broken. Nothing is ever started over.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        if !folder.join(DATABASE).exists() && !folder.join(ROOT).exists() {
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
        let store_key = StoreKey::from_bytes(&read(STORE_KEY)?).map_err(|error| broken(STORE_KEY).cause(&error))?;
        let store = Store::open(&folder.join(DATABASE), store_key).map_err(|error| {
            let hint = match error {
                StoreError::Newer { .. } => "run the newer program, or restore a backup that this one made",
                _ => "restore it from a backup; nothing was changed",
            };
            Failure::new("cannot open the database").cause(&error).hint(hint)
        })?;
        Ok(Self { folder: folder.to_owned(), authority, capability_key, store })
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
