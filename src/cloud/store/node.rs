use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::sql::{Row, values};
use super::{StoreError, Tx, read_back};
use crate::clock::Timestamp;
use crate::cloud::admission::{NodeState, Policy};
use crate::wire::{MacAddr, Name, SystemUuid};

/// How a configured node is sent to its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LocalBoot {
    /// What suits its firmware: `sanboot` for UEFI, `exit1` for BIOS.
    #[default]
    Auto,
    /// iPXE ends with success; some firmware takes that as the end of booting and shows its menu.
    Exit,
    /// iPXE ends with an error, and the firmware goes on to its next boot entry.
    Exit1,
    /// iPXE starts the disk itself: under UEFI the first that has the removable-media boot file, for a BIOS the first of all.
    Sanboot,
}

impl LocalBoot {
    /// The way's name, as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Exit => "exit",
            Self::Exit1 => "exit1",
            Self::Sanboot => "sanboot",
        }
    }
}

impl fmt::Display for LocalBoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LocalBoot {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Auto, Self::Exit, Self::Exit1, Self::Sanboot].into_iter().find(|way| way.as_str() == text).ok_or(())
    }
}

/// What tells one machine from another: hardware address and UUID together, at its site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeKey {
    /// Site.
    pub site: u32,
    /// The interface that it boots from.
    pub mac: MacAddr,
    /// SMBIOS UUID, when it has one that tells it apart.
    pub uuid: Option<SystemUuid>,
}

/// What a machine says of itself beside that; shown to people, never trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// SMBIOS serial number.
    pub serial: String,
    /// Manufacturer and product.
    pub product: String,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number.
    pub id: i64,
    /// What tells it apart.
    pub key: NodeKey,
    /// The short code that it shows on its console while it waits.
    pub code: String,
    /// Where it stands.
    pub state: NodeState,
    /// Why.
    pub reason: String,
    /// The host name that its machine config gives it.
    pub hostname: Name,
    /// What it says of itself.
    pub facts: NodeFacts,
    /// How it is sent to its disk.
    pub local_boot: LocalBoot,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When its state changed last.
    pub changed_at: Timestamp,
}

const COLUMNS: &str = "id, site, mac, uuid, code, state, reason, hostname, serial, product, local_boot, first_seen, changed_at";

impl Tx<'_> {
    /// The node of that key.
    ///
    /// # Errors
    /// The database's own.
    pub fn node_by_key(&self, key: &NodeKey) -> Result<Option<Node>, StoreError> {
        let question = self.locked(&format!("SELECT {COLUMNS} FROM node WHERE site = ?1 AND mac = ?2 AND uuid = ?3"));
        self.row(&question, values![key.site, key.mac.to_string(), uuid_text(key.uuid)])?.as_ref().map(read).transpose()
    }

    /// The node of that number.
    ///
    /// # Errors
    /// The database's own.
    pub fn node(&self, id: i64) -> Result<Option<Node>, StoreError> {
        self.row(&format!("SELECT {COLUMNS} FROM node WHERE id = ?1"), values![id])?.as_ref().map(read).transpose()
    }

    /// All nodes, the newest last.
    ///
    /// # Errors
    /// The database's own.
    pub fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.rows(&format!("SELECT {COLUMNS} FROM node ORDER BY id"), &[])?.iter().map(read).collect()
    }

    /// Nodes that a person may mean by `text`: a number, a code, a hardware address, a UUID or a host name.
    ///
    /// # Errors
    /// The database's own.
    pub fn nodes_called(&self, text: &str) -> Result<Vec<Node>, StoreError> {
        let code = text.to_ascii_uppercase();
        let mac = text.parse::<MacAddr>().map(|mac| mac.to_string()).unwrap_or_default();
        let uuid = text.parse::<SystemUuid>().map(|uuid| uuid.to_string()).unwrap_or_default();
        let question = format!(
            "SELECT {COLUMNS} FROM node WHERE CAST(id AS TEXT) = ?1 OR code = ?2 OR (mac = ?3 AND ?3 <> '') OR (uuid = ?4 AND ?4 <> '') \
             OR hostname = ?1 ORDER BY id"
        );
        self.rows(&question, values![text, code, mac, uuid])?.iter().map(read).collect()
    }

    /// Another node that has the same hardware address or the same UUID, at any site.
    ///
    /// # Errors
    /// The database's own.
    pub fn node_colliding_with(&self, key: &NodeKey) -> Result<Option<Node>, StoreError> {
        let question = format!(
            "SELECT {COLUMNS} FROM node WHERE (mac = ?2 OR (uuid = ?3 AND ?3 <> '')) AND NOT (site = ?1 AND mac = ?2 AND uuid = ?3) \
             ORDER BY id LIMIT 1"
        );
        self.row(&question, values![key.site, key.mac.to_string(), uuid_text(key.uuid)])?.as_ref().map(read).transpose()
    }

    /// Records a machine that was never seen before, and returns its node.
    ///
    /// # Errors
    /// When the code is taken, or the database's own.
    pub fn add_node(
        &self,
        key: &NodeKey,
        policy: Policy,
        code: &str,
        hostname: &Name,
        facts: &NodeFacts,
        now: Timestamp,
    ) -> Result<Node, StoreError> {
        let collision = self.node_colliding_with(key)?;
        let state = policy.first_state(collision.is_some());
        let reason = match (&collision, state) {
            (Some(other), _) => format!("held: node {} has the same hardware address or UUID; a person must decide", other.id),
            (None, NodeState::Approved) => "approved by the site's policy `auto`".to_owned(),
            (None, _) => "new; waits for a person's approval".to_owned(),
        };
        let row = self
            .row(
                &format!(
                    "INSERT INTO node (site, mac, uuid, code, state, reason, hostname, serial, product, local_boot, first_seen, changed_at) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11) RETURNING {COLUMNS}"
                ),
                values![
                    key.site,
                    key.mac.to_string(),
                    uuid_text(key.uuid),
                    code,
                    state.as_str(),
                    reason,
                    hostname.as_str(),
                    &facts.serial,
                    &facts.product,
                    LocalBoot::default().as_str(),
                    now
                ],
            )
            .map_err(|error| error.exists_already("node", code))?;
        row.as_ref().map(read).transpose()?.ok_or_else(|| StoreError::Unreadable { what: "node", value: code.to_owned() })
    }

    /// Keeps what the machine says of itself now.
    ///
    /// # Errors
    /// The database's own.
    pub fn set_node_facts(&self, id: i64, facts: &NodeFacts) -> Result<(), StoreError> {
        self.execute(
            "UPDATE node SET serial = ?2, product = ?3 WHERE id = ?1 AND (serial <> ?2 OR product <> ?3)",
            values![id, &facts.serial, &facts.product],
        )?;
        Ok(())
    }

    /// Moves the node to `state`. The state machine has judged the step before.
    ///
    /// # Errors
    /// The database's own.
    pub fn set_node_state(&self, id: i64, state: NodeState, reason: &str, now: Timestamp) -> Result<(), StoreError> {
        self.execute("UPDATE node SET state = ?2, reason = ?3, changed_at = ?4 WHERE id = ?1", values![id, state.as_str(), reason, now])?;
        Ok(())
    }

    /// Gives the node a host name.
    ///
    /// # Errors
    /// When another node of the site has it, or the database's own.
    pub fn set_hostname(&self, node: &Node, hostname: &Name) -> Result<(), StoreError> {
        let taken: Option<i64> = self.one(
            "SELECT id FROM node WHERE site = ?1 AND hostname = ?2 AND id <> ?3",
            values![node.key.site, hostname.as_str(), node.id],
        )?;
        if taken.is_some() {
            return Err(StoreError::Exists { kind: "node", name: hostname.to_string() });
        }
        self.execute("UPDATE node SET hostname = ?2 WHERE id = ?1", values![node.id, hostname.as_str()])?;
        Ok(())
    }

    /// Says how the node is sent to its disk.
    ///
    /// # Errors
    /// The database's own.
    pub fn set_local_boot(&self, id: i64, way: LocalBoot) -> Result<(), StoreError> {
        self.execute("UPDATE node SET local_boot = ?2 WHERE id = ?1", values![id, way.as_str()])?;
        Ok(())
    }
}

fn uuid_text(uuid: Option<SystemUuid>) -> String {
    uuid.map(|uuid| uuid.to_string()).unwrap_or_default()
}

fn read(row: &Row) -> Result<Node, StoreError> {
    let uuid: String = row.get(3)?;
    let way: String = row.get(10)?;
    Ok(Node {
        id: row.get(0)?,
        key: NodeKey {
            site: row.get(1)?,
            mac: read_back("hardware address", row.get(2)?)?,
            uuid: if uuid.is_empty() { None } else { Some(read_back("UUID", uuid)?) },
        },
        code: row.get(4)?,
        state: read_back("node state", row.get(5)?)?,
        reason: row.get(6)?,
        hostname: read_back("host name", row.get(7)?)?,
        facts: NodeFacts { serial: row.get(8)?, product: row.get(9)? },
        local_boot: read_back("local boot", way)?,
        first_seen: row.get(11)?,
        changed_at: row.get(12)?,
    })
}
