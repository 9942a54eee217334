use std::collections::BTreeMap;

use super::selector::Conditions;
use super::sql::{Row, values};
use super::{Node, StoreError, Tx, read_back};
use crate::clock::Timestamp;
use crate::wire::Name;

/// Nodes that are alike, and the labels that they have for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: Name,
    /// What its nodes have in common.
    pub pattern: ClassPattern,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// What the nodes of a class have in common. Each is a text, with `*` at the end for anything; empty is anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassPattern {
    /// Architecture.
    pub arch: String,
    /// Manufacturer.
    pub vendor: String,
    /// Product.
    pub product: String,
    /// Serial number.
    pub serial: String,
    /// Name of the site.
    pub site: String,
}

const COLUMNS: &str = "name, arch, vendor, product, serial, site, labels";

impl Class {
    /// Whether the node is of this class.
    #[must_use]
    pub fn has(&self, node: &Node, site: &Name) -> bool {
        let ClassPattern { arch, vendor, product, serial, site: of } = &self.pattern;
        let facts = &node.facts;
        let pairs = [(arch, &facts.arch), (vendor, &facts.vendor), (product, &facts.product), (serial, &facts.serial)];
        pairs.into_iter().all(|(pattern, text)| matches(pattern, text)) && matches(of, site.as_str())
    }

    /// The same in the database's words.
    pub(super) fn condition(&self, conditions: &mut Conditions) {
        let ClassPattern { arch, vendor, product, serial, site } = &self.pattern;
        for (column, pattern) in [("arch", arch), ("vendor", vendor), ("product", product), ("serial", serial)] {
            if !pattern.is_empty() {
                conditions.like(column, pattern);
            }
        }
        if let Some(beginning) = site.strip_suffix('*') {
            conditions.add("site IN (SELECT id FROM site WHERE substr(name, 1, length(?)) = ?)", beginning);
        } else if !site.is_empty() {
            conditions.add("site IN (SELECT id FROM site WHERE name = ?)", site);
        }
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    pattern.is_empty() || pattern.strip_suffix('*').map_or(pattern == text, |beginning| text.starts_with(beginning))
}

impl Tx<'_> {
    /// Adds a class.
    ///
    /// # Errors
    /// When there is one of that name, or the database's own.
    pub fn add_class(&self, class: &Class, now: Timestamp) -> Result<(), StoreError> {
        let ClassPattern { arch, vendor, product, serial, site } = &class.pattern;
        let labels = serde_json::to_string(&class.labels).unwrap_or_default();
        self.execute(
            "INSERT INTO class (name, arch, vendor, product, serial, site, labels, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            values![class.name.as_str(), arch, vendor, product, serial, site, labels, now],
        )
        .map_err(|error| error.exists_already("class", class.name.as_str()))?;
        Ok(())
    }

    /// Removes a class; false when there is none of that name.
    ///
    /// # Errors
    /// The database's own.
    pub fn remove_class(&self, name: &Name) -> Result<bool, StoreError> {
        Ok(self.execute("DELETE FROM class WHERE name = ?1", values![name.as_str()])? > 0)
    }

    /// All classes, by name.
    ///
    /// # Errors
    /// The database's own.
    pub fn classes(&self) -> Result<Vec<Class>, StoreError> {
        self.rows(&format!("SELECT {COLUMNS} FROM class ORDER BY name"), &[])?.iter().map(read).collect()
    }

    pub(super) fn class_named(&self, name: &str) -> Result<Option<Class>, StoreError> {
        self.row(&format!("SELECT {COLUMNS} FROM class WHERE name = ?1"), values![name])?.as_ref().map(read).transpose()
    }
}

fn read(row: &Row) -> Result<Class, StoreError> {
    let labels: String = row.get(6)?;
    Ok(Class {
        name: read_back("class name", row.get(0)?)?,
        pattern: ClassPattern { arch: row.get(1)?, vendor: row.get(2)?, product: row.get(3)?, serial: row.get(4)?, site: row.get(5)? },
        labels: serde_json::from_str(&labels).map_err(|_| StoreError::Unreadable { what: "labels of a class", value: labels })?,
    })
}
