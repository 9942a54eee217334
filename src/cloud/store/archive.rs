//! The whole store as a file of lines, to carry it from one database to the other.
//!
//! The first line says form, schema and store key; then comes a line for each row, table by table; the last has their number and the
//! SHA-256 of all lines before it. What is sealed stays sealed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};

use super::migration::STEPS;
use super::sql::{Dialect, Value, values};
use super::{KeyId, Store, StoreError, Tx};
use crate::clock::Timestamp;
use crate::cloud::actor::Actor;
use crate::durable_file::sync_folder_of;
use crate::wire::{Digest, Hasher};

/// The form of the file.
const FORM: u32 = 1;
/// How many rows are read at once.
const PAGE: u32 = 1000;
/// No line is longer: a machine config of a megabyte, and room.
const LONGEST_LINE: u64 = 16 << 20;

/// A table: the columns that its rows are known by, then the others.
struct Table {
    name: &'static str,
    key: &'static [&'static str],
    columns: &'static [&'static str],
}

/// Every table, each behind those that it refers to.
const TABLES: &[Table] = &[
    Table {
        name: "cluster",
        key: &["id"],
        columns: &[
            "name",
            "machine_config",
            "tailscale_key",
            "kernel_args",
            "kernel",
            "kernel_size",
            "initramfs",
            "initramfs_size",
            "created_at",
        ],
    },
    Table {
        name: "site",
        key: &["id"],
        columns: &["name", "cluster", "policy", "created_at", "joined_at", "most_per_day", "hours", "revoked_at"],
    },
    Table { name: "join_token", key: &["secret_hash"], columns: &["site", "expires_at", "used_at"] },
    Table { name: "site_ticket_key", key: &["site", "public_key"], columns: &["added_at"] },
    Table { name: "site_certificate", key: &["fingerprint"], columns: &["site", "issued_at", "expires_at"] },
    Table {
        name: "node",
        key: &["id"],
        columns: &[
            "site",
            "mac",
            "uuid",
            "code",
            "state",
            "reason",
            "hostname",
            "serial",
            "product",
            "local_boot",
            "first_seen",
            "changed_at",
            "vendor",
            "arch",
            "last_seen",
            "held",
            "let_in_at",
        ],
    },
    Table { name: "node_mac", key: &["mac", "node"], columns: &["first_seen"] },
    Table { name: "allowed", key: &["id"], columns: &["site", "uuid", "serial", "mac", "hostname", "added_at"] },
    Table { name: "class", key: &["id"], columns: &["name", "arch", "vendor", "product", "serial", "site", "labels", "created_at"] },
    Table { name: "session", key: &["id"], columns: &["site", "boot", "node", "started_at", "outcome"] },
    Table { name: "used_ticket", key: &["site", "nonce"], columns: &["expires_at"] },
    Table { name: "token", key: &["hash"], columns: &["purpose", "session", "node", "expires_at", "used_at"] },
    Table { name: "event", key: &["id"], columns: &["site", "boot", "source", "node", "at", "kind", "alarm", "summary", "detail"] },
    Table { name: "spool", key: &["site", "name"], columns: &["stored_up_to"] },
    Table { name: "audit", key: &["id"], columns: &["at", "actor", "action", "subject", "detail", "hash"] },
    Table { name: "audit_head", key: &["one"], columns: &["line", "hash"] },
];

/// Why a file can't be imported, or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It can't be read or written.
    #[error("cannot read or write the file")]
    File(#[from] std::io::Error),
    /// It is not such a file, or was changed or cut off.
    #[error("line {line}: {why}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// Its digest is another one: it was changed.
    #[error("the file was changed: its SHA-256 is {found}, and its last line says {said}")]
    Changed {
        /// That of the file.
        found: Digest,
        /// That which it says.
        said: Digest,
    },
    /// It is of another schema.
    #[error("the file has schema {found}, and this program's is {known}")]
    Schema {
        /// The file's.
        found: usize,
        /// This program's.
        known: usize,
    },
    /// Its secrets are sealed with another key.
    #[error("its secrets are sealed with the store key {0}, which is not among those that this program was given")]
    Key(KeyId),
    /// The store has something in it.
    #[error("the store is not empty: it has rows in `{0}`")]
    NotEmpty(&'static str),
    /// The database's own.
    #[error("the store can't be read or written")]
    Store(#[from] StoreError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    fairlead_export: u32,
    schema: usize,
    store_key: String,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    table: String,
    row: Vec<Cell>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tail {
    rows: u64,
    sha256: Digest,
}

/// A value as it stands in the file: octets are base64 in an object.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Blob { base64: String },
}

impl Cell {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(number) => Self::Integer(*number),
            Value::Text(text) => Self::Text(text.clone()),
            Value::Blob(bytes) => Self::Blob { base64: BASE64.encode(bytes) },
        }
    }

    fn value(self) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Integer(number) => Value::Integer(number),
            Self::Text(text) => Value::Text(text),
            Self::Blob { base64 } => Value::Blob(BASE64.decode(base64.as_bytes()).ok()?),
        })
    }
}

impl Table {
    fn all_columns(&self) -> String {
        [self.key, self.columns].concat().join(", ")
    }
}

impl Store {
    /// Writes all that the store holds, as it is at one moment, to a file, and returns how many rows there are.
    ///
    /// # Errors
    /// When the file can't be written, or the database's own.
    pub fn export(&self, path: &Path, actor: &Actor, now: Timestamp) -> Result<u64, ArchiveError> {
        let (subject, actor) = (path.display().to_string(), actor.clone());
        self.transaction(move |tx| {
            tx.audit(now, &actor, "store.export", &subject, "");
            Ok::<_, StoreError>(())
        })?;
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        let file = temporary.clone();
        let outcome = self.read(move |tx| write(tx, &file, now)).and_then(|rows| {
            fs::rename(&temporary, path)?;
            sync_folder_of(path)?;
            Ok(rows)
        });
        if outcome.is_err() {
            // The first error is the one worth reporting.
            drop(fs::remove_file(&temporary));
        }
        outcome
    }

    /// Takes in all that a file holds, in one transaction, and returns how many rows there were. The store must be empty.
    ///
    /// # Errors
    /// When the file is not whole, not for this program or its keys, or the store is not empty. Nothing is changed then.
    pub fn import(&self, path: &Path, actor: &Actor, now: Timestamp) -> Result<u64, ArchiveError> {
        let (head, rows) = check(path)?;
        if head.schema != STEPS.len() {
            return Err(ArchiveError::Schema { found: head.schema, known: STEPS.len() });
        }
        let decoded = HEXLOWER.decode(head.store_key.as_bytes()).ok().and_then(|id| id.try_into().ok());
        let key = KeyId(decoded.ok_or_else(|| ArchiveError::Line { line: 1, why: "`store_key` is not the id of a key".to_owned() })?);
        if !self.keys().has(key) {
            return Err(ArchiveError::Key(key));
        }
        let (path, actor) = (path.to_owned(), actor.clone());
        self.transaction(move |tx| {
            read(tx, &path, key)?;
            tx.audit(now, &actor, "store.import", &path.display().to_string(), &format!("{rows} rows"));
            Ok::<_, ArchiveError>(())
        })?;
        Ok(rows)
    }
}

fn write(tx: &Tx<'_>, path: &Path, now: Timestamp) -> Result<u64, ArchiveError> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut out = Hashed { out: BufWriter::new(file), hasher: Hasher::default() };
    out.line(&Head { fairlead_export: FORM, schema: STEPS.len(), store_key: tx.store_key()?.to_string(), at: now })?;
    let mut rows = 0_u64;
    for table in TABLES {
        let (columns, key) = (table.all_columns(), table.key.join(", "));
        let places: Vec<String> = (1..=table.key.len()).map(|place| format!("?{place}")).collect();
        let first = format!("SELECT {columns} FROM {} ORDER BY {key} LIMIT {PAGE}", table.name);
        let next = format!("SELECT {columns} FROM {} WHERE ({key}) > ({}) ORDER BY {key} LIMIT {PAGE}", table.name, places.join(", "));
        let mut page = tx.rows(&first, &[])?;
        while let Some(last) = page.last() {
            let behind: Vec<Value> = last.0.iter().take(table.key.len()).cloned().collect();
            for row in &page {
                out.line(&Line { table: table.name.to_owned(), row: row.0.iter().map(Cell::of).collect() })?;
                rows = rows.saturating_add(1);
            }
            page = tx.rows(&next, &behind)?;
        }
    }
    let Hashed { mut out, hasher } = out;
    serde_json::to_writer(&mut out, &Tail { rows, sha256: hasher.finish() }).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(rows)
}

struct Hashed<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Hashed<W> {
    fn line(&mut self, value: &impl Serialize) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.hasher.update(&line);
        self.out.write_all(&line)
    }
}

/// The lines of a file, each with its number.
fn lines(path: &Path) -> Result<impl Iterator<Item = Result<(u64, Vec<u8>), ArchiveError>>, ArchiveError> {
    let mut file = BufReader::new(File::open(path)?);
    let mut number = 0_u64;
    Ok(std::iter::from_fn(move || {
        let mut line = Vec::new();
        number = number.saturating_add(1);
        match std::io::Read::take(&mut file, LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) if line.last() != Some(&b'\n') => {
                Some(Err(ArchiveError::Line { line: number, why: "the line has no end: the file was cut off".to_owned() }))
            }
            Ok(_) => Some(Ok((number, line))),
            Err(error) => Some(Err(error.into())),
        }
    }))
}

fn parse<'line, T: Deserialize<'line>>(line: &'line [u8], number: u64) -> Result<T, ArchiveError> {
    serde_json::from_slice(line).map_err(|error| ArchiveError::Line { line: number, why: error.to_string() })
}

/// Reads the file to its end: it must be whole before any of it is taken in.
fn check(path: &Path) -> Result<(Head, u64), ArchiveError> {
    let mut head = None;
    let mut before: Option<(u64, Vec<u8>)> = None;
    let mut hasher = Hasher::default();
    for line in lines(path)? {
        let (number, line) = line?;
        if let Some((_, before)) = before.replace((number, line)) {
            hasher.update(&before);
        }
        if let (None, Some((_, first))) = (&head, &before) {
            let parsed: Head = parse(first, number)?;
            if parsed.fairlead_export != FORM {
                return Err(ArchiveError::Line { line: 1, why: format!("its form is {}, and {FORM} is known", parsed.fairlead_export) });
            }
            head = Some(parsed);
        }
    }
    let empty = || ArchiveError::Line { line: 1, why: "the file is empty".to_owned() };
    let ((number, last), head) = (before.ok_or_else(empty)?, head.ok_or_else(empty)?);
    let tail: Tail = parse(&last, number)?;
    let found = hasher.finish();
    if found != tail.sha256 {
        return Err(ArchiveError::Changed { found, said: tail.sha256 });
    }
    // Beside the rows there are the first line and this one.
    if tail.rows.saturating_add(2) != number {
        return Err(ArchiveError::Line { line: number, why: format!("it says that there are {} rows, and there are not", tail.rows) });
    }
    Ok((head, tail.rows))
}

fn read(tx: &Tx<'_>, path: &Path, key: KeyId) -> Result<(), ArchiveError> {
    // Every store knows the end of its audit log; this one's is that of the file.
    tx.execute("DELETE FROM audit_head WHERE line = 0", &[])?;
    for table in TABLES {
        if tx.one::<i64>(&format!("SELECT 1 FROM {} LIMIT 1", table.name), &[])?.is_some() {
            return Err(ArchiveError::NotEmpty(table.name));
        }
    }
    tx.execute("UPDATE store_key SET id = ?1", values![key.0])?;
    // The first line is the head; the last, which is no row, ends it.
    for line in lines(path)?.skip(1) {
        let (number, line) = line?;
        if serde_json::from_slice::<Tail>(&line).is_ok() {
            break;
        }
        let wrong = |why: &str| ArchiveError::Line { line: number, why: why.to_owned() };
        let Line { table, row } = parse(&line, number)?;
        let table = TABLES.iter().find(|known| known.name == table).ok_or_else(|| wrong("there is no such table"))?;
        let row: Vec<Value> = row.into_iter().map(Cell::value).collect::<Option<_>>().ok_or_else(|| wrong("a value is not base64"))?;
        if row.len() != table.key.len().saturating_add(table.columns.len()) {
            return Err(wrong("the row has not as many values as its table has columns"));
        }
        let places: Vec<String> = (1..=row.len()).map(|place| format!("?{place}")).collect();
        tx.execute(&format!("INSERT INTO {} ({}) VALUES ({})", table.name, table.all_columns(), places.join(", ")), &row)?;
    }
    if tx.dialect() == Dialect::Postgresql {
        // The next number is behind those that came along.
        for table in TABLES.iter().filter(|table| table.key == ["id"]) {
            let name = table.name;
            tx.rows(
                &format!("SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name} HAVING max(id) IS NOT NULL"),
                &[],
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::admission::Policy;
    use crate::cloud::store::tests::{Scratch, cluster};

    #[test]
    fn every_table_and_column_is_exported() {
        let scratch = Scratch::sqlite("columns");
        let path = scratch.folder.join("cloud.db");
        let file = rusqlite::Connection::open(&path).unwrap();
        let names = |question: &str| -> Vec<String> {
            let mut statement = file.prepare(question).unwrap();
            let names = statement.query_map([], |row| row.get(0)).unwrap();
            let mut names: Vec<String> = names.collect::<Result<_, _>>().unwrap();
            names.sort();
            names
        };
        let mut tables: Vec<&str> = TABLES.iter().map(|table| table.name).chain(["store_key"]).collect();
        tables.sort_unstable();
        assert_eq!(tables, names("SELECT name FROM sqlite_schema WHERE type = 'table'"));
        for table in TABLES {
            let mut columns = [table.key, table.columns].concat();
            columns.sort_unstable();
            assert_eq!(columns, names(&format!("SELECT name FROM pragma_table_info('{}')", table.name)), "{}", table.name);
        }
    }

    #[test]
    fn a_store_goes_from_one_database_to_the_other_and_back() {
        let [first, second, third] = [Scratch::sqlite("from"), Scratch::postgresql("to"), Scratch::sqlite("back")];
        first
            .store
            .transaction(|tx| {
                for number in 0..1500 {
                    let cluster = tx.add_cluster(&cluster(&format!("c{number}")), Timestamp(1))?;
                    tx.add_site(&format!("s{number}").parse().unwrap(), cluster, Policy::Auto, Timestamp(2))?;
                    tx.audit(Timestamp(3), &Actor::Operator, "x", "ü\n", "");
                }
                Ok::<_, StoreError>(())
            })
            .unwrap();
        let file = |scratch: &Scratch| scratch.folder.join("store.jsonl");
        let rows = first.store.export(&file(&first), &Actor::Operator, Timestamp(9)).unwrap();
        assert_eq!(second.store.import(&file(&first), &Actor::Operator, Timestamp(9)).unwrap(), rows);
        assert!(matches!(second.store.import(&file(&first), &Actor::Operator, Timestamp(9)), Err(ArchiveError::NotEmpty("cluster"))));
        second.store.export(&file(&second), &Actor::Operator, Timestamp(9)).unwrap();
        // But for the lines that say that they were exported and imported, and the ends that follow from it.
        let rows = |scratch: &Scratch| -> Vec<String> {
            let text = fs::read_to_string(file(scratch)).unwrap();
            text.lines().filter(|line| line.contains("\"row\"") && !line.contains("\"audit")).map(str::to_owned).collect()
        };
        assert_eq!(rows(&first).len(), 3000);
        assert_eq!(rows(&first), rows(&second));
        let end = |scratch: &Scratch| {
            scratch.store.follow_audit(&Actor::Operator, "audit.verify", Timestamp(10), |_| Ok::<_, StoreError>(())).unwrap().unwrap().line
        };
        assert_eq!((end(&first), end(&second)), (1501, 1503));
        third.store.import(&file(&second), &Actor::Operator, Timestamp(9)).unwrap();
        for scratch in [&second, &third] {
            let (secret, id) = scratch
                .store
                .transaction(|tx| {
                    let known = tx.cluster_named(&"c7".parse().unwrap())?.unwrap();
                    Ok::<_, StoreError>((tx.cluster_secrets(&known)?.0, tx.add_cluster(&cluster("later"), Timestamp(4))?))
                })
                .unwrap();
            assert_eq!(secret.expose_str(), Some("machine-secret-of-c7"));
            assert_eq!(id, 1501);
        }
    }

    #[test]
    fn a_file_that_was_changed_or_cut_off_is_refused() {
        let [from, to] = [Scratch::sqlite("whole"), Scratch::sqlite("cut")];
        from.store.transaction(|tx| tx.add_cluster(&cluster("c"), Timestamp(1))).unwrap();
        let path = from.folder.join("store.jsonl");
        from.store.export(&path, &Actor::Operator, Timestamp(9)).unwrap();
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(to.store.import(&path, &Actor::Operator, Timestamp(9)).is_err(), "octet {place}");
            fs::write(&path, &whole[..place]).unwrap();
            assert!(to.store.import(&path, &Actor::Operator, Timestamp(9)).is_err(), "cut at {place}");
        }
        fs::write(from.folder.join("store.key"), [9; 32]).unwrap();
        fs::write(to.folder.join("store.key"), [9; 32]).unwrap();
        fs::write(&path, &whole).unwrap();
        assert_eq!(to.store.import(&path, &Actor::Operator, Timestamp(9)).unwrap(), 3);
    }
}
