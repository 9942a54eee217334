use super::sql::values;
use super::{KeyId, StoreError, Tx};
use crate::clock::Timestamp;
use crate::secret::Secret;

/// A column that holds sealed values.
struct Column {
    table: &'static str,
    /// What the table's rows are known by.
    name: &'static str,
    column: &'static str,
}

/// Every column that holds sealed values. A value's place is `table/name/column`.
const COLUMNS: [Column; 2] = OF_THE_FIRST_SCHEMA;

const OF_THE_FIRST_SCHEMA: [Column; 2] = [
    Column { table: "cluster", name: "name", column: "machine_config" },
    Column { table: "cluster", name: "name", column: "tailscale_key" },
];

impl Tx<'_> {
    /// Seals a secret for its place, with the key that the store is sealed with now.
    pub(super) fn seal(&self, place: &str, secret: &Secret) -> Result<Vec<u8>, StoreError> {
        let id = self.sealing_key()?;
        Ok(self.keys.seal(id, place, secret)?)
    }

    pub(super) fn unseal(&self, place: &str, sealed: &[u8]) -> Result<Secret, StoreError> {
        Ok(self.keys.open(place, sealed)?)
    }

    /// The key that seals now. It stays that until this transaction ends.
    fn sealing_key(&self) -> Result<KeyId, StoreError> {
        let id: Option<Vec<u8>> = self.one(&self.locked("SELECT id FROM store_key"), &[])?;
        key_id(id)
    }

    /// The key that the store is sealed with.
    ///
    /// # Errors
    /// The database's own.
    pub fn store_key(&self) -> Result<KeyId, StoreError> {
        key_id(self.one("SELECT id FROM store_key", &[])?)
    }

    pub(super) fn check_keys(&self) -> Result<(), StoreError> {
        let id = self.store_key()?;
        if self.keys.has(id) { Ok(()) } else { Err(super::SealError::UnknownKey(id).into()) }
    }

    /// Seals every secret anew with that key, which must be among those that the program was given.
    ///
    /// # Errors
    /// When a secret can't be opened or the key is not there, or the database's own.
    pub fn seal_anew(&self, key: KeyId, now: Timestamp) -> Result<u64, StoreError> {
        self.sealing_key()?;
        self.execute("UPDATE store_key SET id = ?1, since = ?2", values![key.0, now])?;
        self.each_sealed(&COLUMNS, |place, sealed| Ok(self.keys.seal(key, place, &self.keys.open(place, sealed)?)?))
    }

    /// A step of the schema: values that were sealed before they named their key.
    pub(super) fn name_keys_of_sealed_values(&self) -> Result<(), StoreError> {
        let key = self.keys.first();
        self.execute("INSERT INTO store_key (one, id, since) VALUES (1, ?1, 0)", values![key.0])?;
        self.each_sealed(&OF_THE_FIRST_SCHEMA, |place, sealed| Ok(self.keys.seal(key, place, &self.keys.open_unnamed(place, sealed)?)?))?;
        Ok(())
    }

    fn each_sealed(&self, columns: &[Column], change: impl Fn(&str, &[u8]) -> Result<Vec<u8>, StoreError>) -> Result<u64, StoreError> {
        let mut count = 0_u64;
        for Column { table, name, column } in columns {
            for row in self.rows(&format!("SELECT {name}, {column} FROM {table} WHERE {column} IS NOT NULL"), &[])? {
                let (known_by, sealed): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
                let anew = change(&format!("{table}/{known_by}/{column}"), &sealed)?;
                self.execute(&format!("UPDATE {table} SET {column} = ?1 WHERE {name} = ?2"), values![anew, known_by])?;
                count = count.saturating_add(1);
            }
        }
        Ok(count)
    }
}

fn key_id(stored: Option<Vec<u8>>) -> Result<KeyId, StoreError> {
    let id = stored.and_then(|id| id.try_into().ok()).map(KeyId);
    id.ok_or_else(|| StoreError::Unreadable { what: "store key id", value: "missing or of another length".to_owned() })
}
