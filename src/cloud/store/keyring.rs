//! Where the store's keys come from, and which of them sealed what.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::seal::{KEY_LENGTH, KeyId, SealError, StoreKey, key_of};
use crate::failure::Failure;
use crate::secret::Secret;

/// More keys than this are nobody's rotation.
const MOST_KEYS: usize = 8;
/// A command that prints the keys has this long to do so.
const COMMAND_TIME: Duration = Duration::from_secs(30);

/// Where the store's keys are kept: never in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file of 32 octets for each key, the newest first.
    File(PathBuf),
    /// An environment variable: 64 hexadecimal digits for each key, with spaces or commas between them, the newest first.
    Environment(String),
    /// A program and its arguments, which prints the same.
    Command(Vec<String>),
}

impl KeySource {
    fn read(&self) -> Result<Vec<Secret>, Failure> {
        let keys = match self {
            Self::File(path) => {
                let bytes = std::fs::read(path).map(Secret::new).map_err(|error| {
                    Failure::new(format!("cannot read the store's key `{}`", path.display()))
                        .cause(&error)
                        .hint("restore it from a backup; without it the secrets in the database can't be read")
                })?;
                let (keys, rest) = bytes.expose().as_chunks::<KEY_LENGTH>();
                if !rest.is_empty() {
                    return Err(Failure::new(format!("`{}` is broken", path.display()))
                        .because("a store key is 32 octets")
                        .hint("restore it from a backup"));
                }
                keys.iter().map(|key| Secret::new(key.to_vec())).collect()
            }
            Self::Environment(name) => {
                let text = std::env::var(name).map(Secret::from).map_err(|error| {
                    Failure::new(format!("cannot read the store's key from the environment variable `{name}`"))
                        .because(error.to_string().replace("environment variable", "it"))
                        .hint(format!("set `{name}`, or change `store.key_env`"))
                })?;
                from_text(&text, &format!("the environment variable `{name}`"))?
            }
            Self::Command(words) => from_text(&printed(words)?, &format!("what `{}` prints", words.first().map_or("", String::as_str)))?,
        };
        if keys.is_empty() || keys.len() > MOST_KEYS {
            return Err(Failure::new(format!("there are {} store keys, and there must be 1 to {MOST_KEYS}", keys.len()))
                .hint("restore the key from a backup; during a rotation the new one stands before the old one"));
        }
        Ok(keys)
    }
}

/// The keys that this program was given. The first is the one to rotate to, or the only one.
#[derive(Debug)]
pub struct Keyring {
    source: KeySource,
    keys: RwLock<Vec<StoreKey>>,
}

impl Keyring {
    /// Reads the keys.
    ///
    /// # Errors
    /// Naming the place that they should come from, and what is wrong there.
    pub fn load(source: KeySource) -> Result<Self, Failure> {
        let keys = RwLock::new(read(&source)?);
        Ok(Self { source, keys })
    }

    /// Where they come from.
    #[must_use]
    pub const fn source(&self) -> &KeySource {
        &self.source
    }

    /// The first of them.
    #[must_use]
    pub fn first(&self) -> KeyId {
        // There is always one.
        self.with(|keys| keys.first().map_or(KeyId([0; 8]), StoreKey::id))
    }

    /// Whether it has that key, after another look at where they come from if need be.
    #[must_use]
    pub fn has(&self, id: KeyId) -> bool {
        let has = || self.with(|keys| keys.iter().any(|key| key.id() == id));
        has() || (self.look_again() && has())
    }

    pub(super) fn seal(&self, id: KeyId, place: &str, secret: &Secret) -> Result<Vec<u8>, SealError> {
        if !self.has(id) {
            return Err(SealError::UnknownKey(id));
        }
        self.with(|keys| keys.iter().find(|key| key.id() == id).map(|key| key.seal(place, secret)))
            .unwrap_or(Err(SealError::UnknownKey(id)))
    }

    pub(super) fn open(&self, place: &str, sealed: &[u8]) -> Result<Secret, SealError> {
        let (id, _) = key_of(sealed).ok_or(SealError::Open)?;
        if !self.has(id) {
            return Err(SealError::UnknownKey(id));
        }
        self.with(|keys| keys.iter().find(|key| key.id() == id).map(|key| key.open(place, sealed)))
            .unwrap_or(Err(SealError::UnknownKey(id)))
    }

    /// Opens what was sealed before sealed values named their keys.
    pub(super) fn open_unnamed(&self, place: &str, sealed: &[u8]) -> Result<Secret, SealError> {
        self.with(|keys| keys.iter().find_map(|key| key.open_unnamed(place, sealed).ok())).ok_or(SealError::Open)
    }

    /// Reads the keys again: another process may have rotated them.
    fn look_again(&self) -> bool {
        match read(&self.source) {
            Ok(keys) => {
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
                true
            }
            Err(failure) => {
                tracing::error!("cannot read the store's keys again: {}", failure.to_string().replace('\n', "; "));
                false
            }
        }
    }

    fn with<T>(&self, work: impl FnOnce(&[StoreKey]) -> T) -> T {
        work(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(source: &KeySource) -> Result<Vec<StoreKey>, Failure> {
    let keys = source.read()?;
    keys.iter()
        .map(|key| StoreKey::from_bytes(key.expose()).map_err(|error| Failure::new("cannot use a store key").cause(&error)))
        .collect()
}

fn from_text(text: &Secret, place: &str) -> Result<Vec<Secret>, Failure> {
    let words = text.expose_str().unwrap_or_default().split(|letter: char| letter.is_whitespace() || letter == ',');
    let key = |word: &str| HEXLOWER_PERMISSIVE.decode(word.as_bytes()).ok().filter(|key| key.len() == KEY_LENGTH).map(Secret::new);
    words.filter(|word| !word.is_empty()).map(key).collect::<Option<_>>().ok_or_else(|| {
        Failure::new(format!("{place} is not a store key"))
            .because("a store key is 64 hexadecimal digits")
            .hint("make one with `openssl rand -hex 32`; a newer key stands before an older one, with a space between them")
    })
}

/// What the command prints.
fn printed(words: &[String]) -> Result<Secret, Failure> {
    let name = words.first().map_or("", String::as_str);
    let cannot = |cause: &str| {
        Failure::new(format!("cannot get the store's key from the command `{name}`"))
            .because(cause)
            .hint("run it by hand; it has to print the key and nothing else. `store.key_command` names it")
    };
    let mut command = Command::new(name);
    command.args(words.iter().skip(1)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().map_err(|error| cannot(&error.to_string()))?;
    let output = child.stdout.take();
    let reading = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        output.map(|output| output.take(4096).read_to_end(&mut bytes)).transpose().map(|_| Secret::new(bytes))
    });
    let step = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    let status = loop {
        match child.try_wait().map_err(|error| cannot(&error.to_string()))? {
            Some(status) => break status,
            None if waited >= COMMAND_TIME => {
                // It may have ended just now.
                drop(child.kill());
                drop(child.wait());
                return Err(cannot(&format!("it did not end within {} s", COMMAND_TIME.as_secs())));
            }
            None => std::thread::sleep(step),
        }
        waited = waited.saturating_add(step);
    };
    if !status.success() {
        return Err(cannot(&format!("it ended with {status}")));
    }
    reading.join().map_err(|_| cannot("its output can't be read"))?.map_err(|error| cannot(&error.to_string()))
}

/// The octets of a key file.
#[must_use]
pub fn key_file(keys: &[&Secret]) -> Secret {
    Secret::new(keys.iter().flat_map(|key| key.expose()).copied().collect())
}

/// Reads a key file as it is.
///
/// # Errors
/// When it can't be read or is no key file.
pub fn read_key_file(path: &Path) -> Result<Vec<Secret>, Failure> {
    KeySource::File(path.to_owned()).read()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_a_file_the_environment_or_a_command() {
        let path = std::env::temp_dir().join(format!("fairlead-keyring-{}", std::process::id()));
        std::fs::write(&path, [[1_u8; 32], [2; 32]].concat()).unwrap();
        let file = Keyring::load(KeySource::File(path.clone())).unwrap();
        assert_eq!(file.first(), StoreKey::from_bytes(&[1; 32]).unwrap().id());
        let words = |script: &str| KeySource::Command(["sh", "-c", script].map(str::to_owned).to_vec());
        let printed = Keyring::load(words("printf '%064d, %064d\\n' 1 2")).unwrap();
        assert_eq!(printed.with(<[_]>::len), 2);
        let failure = |source| Keyring::load(source).unwrap_err().to_string();
        assert!(failure(words("exit 3")).contains("exit status: 3"));
        assert!(failure(words("echo nonsense")).contains("64 hexadecimal digits"));
        assert!(failure(words("true")).contains("0 store keys"));
        let unset = failure(KeySource::Environment("FAIRLEAD_NO_SUCH_VARIABLE".to_owned()));
        assert!(unset.contains("FAIRLEAD_NO_SUCH_VARIABLE") && unset.contains("hint:"), "{unset}");
        std::fs::write(&path, [1; 31]).unwrap();
        assert!(failure(KeySource::File(path.clone())).contains("32 octets"));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_key_that_another_process_brought_is_found() {
        let path = std::env::temp_dir().join(format!("fairlead-keyring-again-{}", std::process::id()));
        std::fs::write(&path, [1; 32]).unwrap();
        let keyring = Keyring::load(KeySource::File(path.clone())).unwrap();
        let newer = StoreKey::from_bytes(&[2; 32]).unwrap();
        let sealed = newer.seal("place", &Secret::from("x".to_owned())).unwrap();
        assert_eq!(keyring.open("place", &sealed), Err(SealError::UnknownKey(newer.id())));
        std::fs::write(&path, [[2; 32], [1; 32]].concat()).unwrap();
        assert!(keyring.open("place", &sealed).is_ok());
        std::fs::remove_file(&path).unwrap();
    }
}
