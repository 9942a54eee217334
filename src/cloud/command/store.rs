use std::path::Path;

use clap::Subcommand;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::clock;
use crate::cloud::actor::Actor;
use crate::cloud::config::CloudConfig;
use crate::cloud::state::{CloudState, Patience, lock};
use crate::cloud::store::{ArchiveError, KeySource, Keyring, Location, Store, StoreError, StoreKey, key_file, read_key_file};
use crate::command_line::say;
use crate::durable_file::{self, Access};
use crate::failure::{Failure, Result};
use crate::secret::Secret;

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Seal every secret in the database with a new key, while `serve` runs
    RotateKey,
}

impl StoreCommand {
    pub(super) fn run(self, config: &CloudConfig, state: &CloudState) -> Result<()> {
        match self {
            Self::RotateKey => rotate_key(config, state),
        }
    }
}

/// At each step the keys that are kept open every value that the database may hold, whatever is interrupted.
fn rotate_key(config: &CloudConfig, state: &CloudState) -> Result<()> {
    let _alone = durable_file::lock(&config.state_dir.join("rotate.lock"))?;
    let current = state.store.read(|tx| tx.store_key())?;
    let source = state.store.keys().source().clone();
    let new = match &source {
        KeySource::File(path) => {
            let keys = read_key_file(path)?;
            let first = keys.first().map(id_of).transpose()?;
            match first {
                // Put there by hand, or by a rotation that was interrupted.
                Some(first) if first != current => first,
                _ => {
                    let mut bytes = [0; 32];
                    SystemRandom::new()
                        .fill(&mut bytes)
                        .map_err(|_| Failure::new("cannot make a key").because("the system gave no random numbers"))?;
                    let new = Secret::new(bytes.to_vec());
                    let both: Vec<&Secret> = [&new].into_iter().chain(&keys).collect();
                    write(path, &key_file(&both))?;
                    id_of(&new)?
                }
            }
        }
        KeySource::Environment(_) | KeySource::Command(_) if state.store.keys().first() == current => {
            return Err(Failure::new("there is no new store key to rotate to")
                .because(format!("the first of the keys that the program was given, {current}, is the one that seals already"))
                .hint("put a new one in front of it, with a space between them, for every replica; then run this again"));
        }
        KeySource::Environment(_) | KeySource::Command(_) => state.store.keys().first(),
    };
    if !state.store.keys().has(new) {
        return Err(Failure::new(format!("the store key {new} is not where it was put")).hint("does another program write that file?"));
    }
    let count = state.store.transaction(move |tx| {
        let now = clock::now();
        let count = tx.seal_anew(new, now)?;
        tx.audit(now, &Actor::Operator, "store.rotate_key", &new.to_string(), &format!("{count} secrets, from key {current}"));
        Ok::<_, StoreError>(count)
    })?;
    say(&format!("sealed {count} secrets with the store key {new}"))?;
    match &source {
        KeySource::File(path) => {
            let keys = read_key_file(path)?;
            let newest: Vec<&Secret> = keys.iter().take(1).collect();
            write(path, &key_file(&newest))?;
            say(&format!("`{}` holds that key alone now; copy it to every replica and to the backups", path.display()))
        }
        KeySource::Environment(_) | KeySource::Command(_) => say(&format!("the key {current} is needed for older backups only")),
    }
}

fn id_of(key: &Secret) -> Result<crate::cloud::store::KeyId> {
    StoreKey::from_bytes(key.expose()).map(|key| key.id()).map_err(|error| Failure::new("cannot use a store key").cause(&error))
}

fn write(path: &Path, contents: &Secret) -> Result<()> {
    durable_file::replace(path, contents.expose(), Access::Owner)
        .map_err(|error| Failure::new(format!("cannot write `{}`", path.display())).cause(&error))
}

/// `backup FILE`
pub(super) fn back_up(config: &CloudConfig, state: &CloudState, to: &Path) -> Result<()> {
    let database = sqlite_file(config, "back up")?;
    let subject = to.display().to_string();
    state.store.transaction(move |tx| {
        tx.audit(clock::now(), &Actor::Operator, "store.backup", &subject, "");
        Ok::<_, StoreError>(())
    })?;
    Store::back_up(&database, to).map_err(|error| Failure::new(format!("cannot write the backup `{}`", to.display())).cause(&error))?;
    let key = state.store.read(|tx| tx.store_key())?;
    say(&format!("wrote the database to `{}`", to.display()))?;
    say(&format!(
        "its secrets are sealed with the store key {key}, which is not in it: keep that key, and the others in the state folder, too"
    ))
}

/// `restore FILE`
pub(super) fn restore(config: &CloudConfig, from: &Path) -> Result<()> {
    let database = sqlite_file(config, "restore")?;
    let _alone = lock(&config.state_dir, true)?;
    let keys = std::sync::Arc::new(Keyring::load(config.store.key_source(&config.state_dir))?);
    let there = database.exists();
    let kept = Store::restore(&database, from, &keys).map_err(|error| {
        Failure::new(format!("cannot restore `{}`", from.display())).cause(&error).hint("nothing was changed; take another backup")
    })?;
    say(&format!("restored `{}` from `{}`", database.display(), from.display()))?;
    if there {
        say(&format!("the database that was there is `{}`", kept.display()))?;
    }
    say("what happened after the backup is not in it: nodes that got their machine config since may get another one")
}

fn sqlite_file(config: &CloudConfig, what: &str) -> Result<std::path::PathBuf> {
    match config.store.location(&config.state_dir) {
        Location::Sqlite(path) => Ok(path),
        Location::Postgresql(settings) => Err(Failure::new(format!("cannot {what} the {}", settings.address))
            .because("this command is for the SQLite file in the state folder")
            .hint("use PostgreSQL's own pg_dump and pg_restore, or `fairlead-cloud export`")),
    }
}

/// `export FILE`
pub(super) fn export(state: &CloudState, to: &Path) -> Result<()> {
    let rows = state
        .store
        .export(to, &Actor::Operator, clock::now())
        .map_err(|error| Failure::new(format!("cannot write the export `{}`", to.display())).cause(&error))?;
    say(&format!("wrote {rows} rows to `{}`; secrets in it stay sealed", to.display()))
}

/// `import FILE`
pub(super) fn import(config: &CloudConfig, from: &Path) -> Result<()> {
    let made = CloudState::make_store(&config.state_dir, &config.store)?;
    let state = CloudState::open(&config.state_dir, &config.store, Patience::None)?;
    if made {
        say("made the store")?;
    }
    let rows = state.store.import(from, &Actor::Operator, clock::now()).map_err(|error| {
        let hint = match &error {
            ArchiveError::NotEmpty(_) => "import into a database that has no Fairlead store yet: it is made then",
            ArchiveError::Schema { .. } => "import it with the version that wrote it, or write it anew with this one",
            ArchiveError::Key(_) => "bring the key of the store that it is from: `store.key`, or where `[store]` in the configuration says",
            _ => "write it anew with `fairlead-cloud export`; nothing was changed",
        };
        Failure::new(format!("cannot import `{}`", from.display())).cause(&error).hint(hint)
    })?;
    say(&format!("imported {rows} rows from `{}`", from.display()))
}
