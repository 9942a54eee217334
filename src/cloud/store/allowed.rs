use super::sql::{Row, values};
use super::{StoreError, Tx, read_back};
use crate::clock::Timestamp;
use crate::cloud::admission::Machine;
use crate::wire::{MacAddr, Name, SystemUuid};

/// A machine that a site lets in: what is given must be as given, and something is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedMachine {
    /// SMBIOS UUID.
    pub uuid: Option<SystemUuid>,
    /// Serial number.
    pub serial: Option<String>,
    /// A hardware address.
    pub mac: Option<MacAddr>,
    /// The host name that it gets.
    pub hostname: Option<Name>,
}

impl Tx<'_> {
    /// Adds machines to the list of a site, and returns how many were not on it.
    ///
    /// # Errors
    /// The database's own.
    pub fn allow(&self, site: u32, machines: &[AllowedMachine], now: Timestamp) -> Result<u64, StoreError> {
        let mut added = 0_u64;
        for machine in machines {
            let text = |value: Option<String>| value.unwrap_or_default();
            added = added.saturating_add(self.execute(
                "INSERT INTO allowed (site, uuid, serial, mac, hostname, added_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
                values![
                    site,
                    text(machine.uuid.map(|uuid| uuid.to_string())),
                    text(machine.serial.clone()),
                    text(machine.mac.map(|mac| mac.to_string())),
                    text(machine.hostname.as_ref().map(ToString::to_string)),
                    now
                ],
            )?);
        }
        Ok(added)
    }

    /// Empties the list of a site.
    ///
    /// # Errors
    /// The database's own.
    pub fn allow_nobody(&self, site: u32) -> Result<u64, StoreError> {
        self.execute("DELETE FROM allowed WHERE site = ?1", values![site])
    }

    /// The list of a site.
    ///
    /// # Errors
    /// The database's own.
    pub fn allowed(&self, site: u32) -> Result<Vec<AllowedMachine>, StoreError> {
        let rows = self.rows("SELECT uuid, serial, mac, hostname FROM allowed WHERE site = ?1 ORDER BY id", values![site])?;
        rows.iter().map(read).collect()
    }

    /// What the list of its site says of a machine, if it is on it.
    ///
    /// # Errors
    /// The database's own.
    pub fn allowed_machine(&self, machine: &Machine, serial: &str) -> Result<Option<AllowedMachine>, StoreError> {
        let uuid = machine.uuid.map(|uuid| uuid.to_string()).unwrap_or_default();
        let row = self.row(
            "SELECT uuid, serial, mac, hostname FROM allowed \
             WHERE site = ?1 AND uuid IN ('', ?2) AND serial IN ('', ?3) AND mac IN ('', ?4) ORDER BY id LIMIT 1",
            values![machine.site, uuid, serial, machine.mac.to_string()],
        )?;
        row.as_ref().map(read).transpose()
    }
}

fn read(row: &Row) -> Result<AllowedMachine, StoreError> {
    fn given<T: std::str::FromStr>(row: &Row, column: usize, what: &'static str) -> Result<Option<T>, StoreError> {
        let text: String = row.get(column)?;
        if text.is_empty() { Ok(None) } else { read_back(what, text).map(Some) }
    }
    Ok(AllowedMachine {
        uuid: given(row, 0, "UUID")?,
        serial: given(row, 1, "serial number")?,
        mac: given(row, 2, "hardware address")?,
        hostname: given(row, 3, "host name")?,
    })
}
