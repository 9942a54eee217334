use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::selector::{Conditions, Selector};
use super::sql::{Dialect, Row, values};
use super::{StoreError, Tx, read_back};
use crate::clock::Timestamp;
use crate::cloud::admission::{KnownNode, Machine, NodeState, identifies};
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

/// What a machine says of itself beside that; shown to people and matched by classes, never trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// SMBIOS serial number.
    pub serial: String,
    /// Manufacturer.
    pub vendor: String,
    /// Product.
    pub product: String,
    /// Architecture, as iPXE names it.
    pub arch: String,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number.
    pub id: i64,
    /// What it was first seen with.
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
    /// When it asked last.
    pub last_seen: Timestamp,
    /// The node that it may be taken for, while a person has not decided.
    pub held_for: Option<i64>,
}

/// Which nodes to list.
#[derive(Clone, Debug, Default)]
pub struct NodeFilter {
    /// Only those that match.
    pub selector: Selector,
    /// Only those with a higher number.
    pub after: i64,
}

const COLUMNS: &str = "id, site, mac, uuid, code, state, reason, hostname, serial, product, local_boot, first_seen, changed_at, vendor, arch, \
                       last_seen, held";
/// Two replicas that meet a new machine at once judge it one after the other: "FLcl" and a number.
const ADMISSION_LOCK: i64 = 0x464c_636c_0002;

impl Tx<'_> {
    /// The node of that key, by any of its hardware addresses. Nobody else changes it until this transaction ends.
    ///
    /// # Errors
    /// The database's own.
    pub fn node_by_key(&self, key: &NodeKey) -> Result<Option<Node>, StoreError> {
        let question = self.locked(&format!(
            "SELECT {COLUMNS} FROM node WHERE site = ?1 AND uuid = ?3 AND id IN (SELECT node FROM node_mac WHERE mac = ?2) \
             ORDER BY CASE state WHEN 'retired' THEN 1 ELSE 0 END, id DESC LIMIT 1"
        ));
        self.row(&question, values![key.site, key.mac.to_string(), uuid_text(key.uuid)])?.as_ref().map(read).transpose()
    }

    /// The node of that number. Nobody else changes it until this transaction ends.
    ///
    /// # Errors
    /// The database's own.
    pub fn node_to_change(&self, id: i64) -> Result<Option<Node>, StoreError> {
        self.row(&self.locked(&format!("SELECT {COLUMNS} FROM node WHERE id = ?1")), values![id])?.as_ref().map(read).transpose()
    }

    /// The node of that number.
    ///
    /// # Errors
    /// The database's own.
    pub fn node(&self, id: i64) -> Result<Option<Node>, StoreError> {
        self.row(&format!("SELECT {COLUMNS} FROM node WHERE id = ?1"), values![id])?.as_ref().map(read).transpose()
    }

    /// Nodes that match, by their numbers, at most `limit`.
    ///
    /// # Errors
    /// When the selector names something that is not there, or the database's own.
    pub fn nodes(&self, filter: &NodeFilter, limit: u32) -> Result<Vec<Node>, StoreError> {
        let mut conditions = Conditions::default();
        conditions.add("id > ?", filter.after);
        self.select(&filter.selector, &mut conditions)?;
        let (wanted, mut values) = conditions.finish();
        values.push(limit.into());
        let question = format!("SELECT {COLUMNS} FROM node WHERE {wanted} ORDER BY id LIMIT ?{}", values.len());
        self.rows(&question, &values)?.iter().map(read).collect()
    }

    /// Nodes that a person may mean by `text`: a number, a code, a hardware address, a UUID or a host name.
    ///
    /// # Errors
    /// The database's own.
    pub fn nodes_called(&self, text: &str) -> Result<Vec<Node>, StoreError> {
        let number = text.parse::<i64>().unwrap_or(-1);
        let mac = text.parse::<MacAddr>().map(|mac| mac.to_string()).unwrap_or_default();
        let uuid = text.parse::<SystemUuid>().map(|uuid| uuid.to_string()).unwrap_or_default();
        let selects =
            ["id = ?1", "code = ?2", "id IN (SELECT node FROM node_mac WHERE mac = ?3)", "uuid = ?4 AND ?4 <> ''", "hostname = ?5"]
                .map(|condition| format!("SELECT {COLUMNS} FROM node WHERE {condition}"));
        let question = format!("{} ORDER BY id", selects.join(" UNION "));
        self.rows(&question, values![number, text.to_ascii_uppercase(), mac, uuid, text])?.iter().map(read).collect()
    }

    /// Until this transaction ends, nobody else judges a machine that may be new.
    ///
    /// # Errors
    /// The database's own.
    pub fn lock_admission(&self) -> Result<(), StoreError> {
        if self.dialect() == Dialect::Postgresql {
            self.rows("SELECT pg_advisory_xact_lock(?1) IS NULL", values![ADMISSION_LOCK])?;
        }
        Ok(())
    }

    /// The nodes that share a hardware address, a UUID or a serial number with a machine.
    ///
    /// # Errors
    /// The database's own.
    pub fn nodes_like(&self, machine: &Machine) -> Result<Vec<KnownNode>, StoreError> {
        let selects =
            ["id IN (SELECT node FROM node_mac WHERE mac = ?1)", "uuid = ?2 AND ?2 <> ''", "serial = ?3 AND ?3 <> '' AND uuid = ''"]
                .map(|condition| format!("SELECT {COLUMNS} FROM node WHERE {condition}"));
        let question = format!("{} ORDER BY id LIMIT 64", selects.join(" UNION "));
        let values = values![machine.mac.to_string(), uuid_text(machine.uuid), machine.serial.clone().unwrap_or_default()];
        let nodes: Vec<Node> = self.rows(&question, values)?.iter().map(read).collect::<Result<_, _>>()?;
        nodes.iter().map(|node| self.known(node)).collect()
    }

    /// What is known of a node, as the engine takes it.
    ///
    /// # Errors
    /// The database's own.
    pub fn known(&self, node: &Node) -> Result<KnownNode, StoreError> {
        let macs = self.macs(node.id)?;
        let serial = identifies(&node.facts.serial);
        let (state, last_seen) = (node.state, node.last_seen);
        Ok(KnownNode { id: node.id, site: node.key.site, macs, uuid: node.key.uuid, serial, state, last_seen })
    }

    /// The hardware addresses of a node, the first one first.
    ///
    /// # Errors
    /// The database's own.
    pub fn macs(&self, node: i64) -> Result<Vec<MacAddr>, StoreError> {
        let rows = self.rows("SELECT mac FROM node_mac WHERE node = ?1 ORDER BY first_seen, mac", values![node])?;
        rows.iter().map(|row| read_back("hardware address", row.get(0)?)).collect()
    }

    /// Records a machine that was never seen before, and returns its node: discovered, and not judged yet.
    ///
    /// # Errors
    /// When the code is taken, or the database's own.
    pub fn add_node(&self, key: &NodeKey, code: &str, hostname: &Name, facts: &NodeFacts, now: Timestamp) -> Result<Node, StoreError> {
        let row = self
            .row(
                &format!(
                    "INSERT INTO node (site, mac, uuid, code, state, reason, hostname, serial, product, local_boot, first_seen, changed_at, \
                     vendor, arch, last_seen, held, let_in_at) \
                     VALUES (?1, ?2, ?3, ?4, ?5, 'new', ?6, ?7, ?8, ?9, ?10, ?10, ?11, ?12, ?10, 0, 0) RETURNING {COLUMNS}"
                ),
                values![
                    key.site,
                    key.mac.to_string(),
                    uuid_text(key.uuid),
                    code,
                    NodeState::Discovered.as_str(),
                    hostname.as_str(),
                    &facts.serial,
                    &facts.product,
                    LocalBoot::default().as_str(),
                    now,
                    &facts.vendor,
                    &facts.arch,
                ],
            )
            .map_err(|error| error.exists_already("node", code))?;
        let node = row.as_ref().map(read).transpose()?.ok_or_else(|| StoreError::Unreadable { what: "node", value: code.to_owned() })?;
        self.execute("INSERT INTO node_mac (mac, node, first_seen) VALUES (?1, ?2, ?3)", values![key.mac.to_string(), node.id, now])?;
        Ok(node)
    }

    /// Gives all hardware addresses of one node to another.
    ///
    /// # Errors
    /// The database's own.
    pub fn move_macs(&self, from: i64, to: i64) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO node_mac (mac, node, first_seen) SELECT mac, ?2, first_seen FROM node_mac WHERE node = ?1 ON CONFLICT DO NOTHING",
            values![from, to],
        )?;
        self.execute("DELETE FROM node_mac WHERE node = ?1", values![from])?;
        Ok(())
    }

    /// Keeps what the machine says of itself now, and that it asked.
    ///
    /// # Errors
    /// The database's own.
    pub fn set_node_facts(&self, id: i64, facts: &NodeFacts, now: Timestamp) -> Result<(), StoreError> {
        self.execute(
            "UPDATE node SET serial = ?2, product = ?3, vendor = ?4, arch = ?5, last_seen = ?6 WHERE id = ?1",
            values![id, &facts.serial, &facts.product, &facts.vendor, &facts.arch, now],
        )?;
        Ok(())
    }

    /// Moves the node to `state`. The state machine has judged the step before: [`crate::cloud::inventory::step`] is how to do it.
    ///
    /// # Errors
    /// The database's own.
    pub fn set_node_state(&self, id: i64, state: NodeState, reason: &str, now: Timestamp) -> Result<(), StoreError> {
        self.execute("UPDATE node SET state = ?2, reason = ?3, changed_at = ?4 WHERE id = ?1", values![id, state.as_str(), reason, now])?;
        Ok(())
    }

    /// Says for which other node it may be taken; none once a person has decided.
    ///
    /// # Errors
    /// The database's own.
    pub fn set_held_for(&self, id: i64, other: Option<i64>) -> Result<(), StoreError> {
        self.execute("UPDATE node SET held = ?2 WHERE id = ?1", values![id, other.unwrap_or_default()])?;
        Ok(())
    }

    /// Notes that the site's policy let the node in.
    ///
    /// # Errors
    /// The database's own.
    pub fn set_let_in(&self, id: i64, now: Timestamp) -> Result<(), StoreError> {
        self.execute("UPDATE node SET let_in_at = ?2 WHERE id = ?1", values![id, now])?;
        Ok(())
    }

    /// How many nodes the site's policy let in since then.
    ///
    /// # Errors
    /// The database's own.
    pub fn let_in_since(&self, site: u32, since: Timestamp) -> Result<u32, StoreError> {
        Ok(self.one("SELECT count(*) FROM node WHERE site = ?1 AND let_in_at > ?2", values![site, since])?.unwrap_or(0))
    }

    /// Gives the node a host name.
    ///
    /// # Errors
    /// When another node of the site that is in service has it, or the database's own.
    pub fn set_hostname(&self, node: &Node, hostname: &Name) -> Result<(), StoreError> {
        if self.hostname_is_taken(node, hostname)? {
            return Err(StoreError::Exists { kind: "node", name: hostname.to_string() });
        }
        self.execute("UPDATE node SET hostname = ?2 WHERE id = ?1", values![node.id, hostname.as_str()])?;
        Ok(())
    }

    /// Whether another node of the site that is in service has that host name.
    ///
    /// # Errors
    /// The database's own.
    pub fn hostname_is_taken(&self, node: &Node, hostname: &Name) -> Result<bool, StoreError> {
        let taken: Option<i64> = self.one(
            "SELECT id FROM node WHERE site = ?1 AND hostname = ?2 AND id <> ?3 AND state <> 'retired'",
            values![node.key.site, hostname.as_str(), node.id],
        )?;
        Ok(taken.is_some())
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
        facts: NodeFacts { serial: row.get(8)?, product: row.get(9)?, vendor: row.get(13)?, arch: row.get(14)? },
        local_boot: read_back("local boot", row.get(10)?)?,
        first_seen: row.get(11)?,
        changed_at: row.get(12)?,
        last_seen: row.get(15)?,
        held_for: Some(row.get(16)?).filter(|held| *held != 0),
    })
}
