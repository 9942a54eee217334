//! Which nodes are meant: `site=plant-1,product=PowerEdge*`.

use std::str::FromStr;

use super::sql::{Value, values};
use super::{StoreError, Tx};

/// Conditions that a node must meet, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<(Field, String)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    /// A column of the node.
    Column(&'static str),
    /// The name of its site.
    Site,
    /// A class that it is of.
    Class,
    /// A label that one of its classes has.
    Label(String),
}

/// Columns that may be asked for.
const COLUMNS: [&str; 8] = ["state", "arch", "vendor", "product", "serial", "hostname", "mac", "uuid"];

impl Selector {
    /// Adds a condition.
    ///
    /// # Errors
    /// When there is no such field.
    pub fn and(mut self, field: &str, value: &str) -> Result<Self, String> {
        let field = match field {
            "site" => Field::Site,
            "class" => Field::Class,
            _ => match (field.strip_prefix("label."), COLUMNS.into_iter().find(|column| *column == field)) {
                (Some(label), _) => Field::Label(label.to_owned()),
                (None, Some(column)) => Field::Column(column),
                (None, None) => {
                    return Err(format!("`{field}` can't be selected by: site, class, label.NAME, {} can", COLUMNS.join(", ")));
                }
            },
        };
        self.0.push((field, value.to_owned()));
        Ok(self)
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').filter(|pair| !pair.trim().is_empty()).try_fold(Self::default(), |selector, pair| {
            let (field, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not FIELD=VALUE"))?;
            selector.and(field.trim(), value.trim())
        })
    }
}

/// Conditions in the database's words, and their values.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds a condition with one value, which stands for each `?`.
    pub(super) fn add(&mut self, condition: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.conditions.push(condition.replace('?', &format!("?{}", self.values.len())));
    }

    /// Adds that a column is that text, or begins with it where it ends with `*`.
    pub(super) fn like(&mut self, column: &str, pattern: &str) {
        match pattern.strip_suffix('*') {
            Some(beginning) => self.add(&format!("substr({column}, 1, length(?)) = ?"), beginning),
            None => self.add(&format!("{column} = ?"), pattern),
        }
    }

    /// Adds that one of some groups of conditions holds; with no group, nothing does.
    pub(super) fn any_of(&mut self, groups: impl IntoIterator<Item = impl FnOnce(&mut Self)>) {
        let mut alternatives = Vec::new();
        for group in groups {
            let mut inner = Self { conditions: Vec::new(), values: std::mem::take(&mut self.values) };
            group(&mut inner);
            self.values = inner.values;
            inner.conditions.push("1 = 1".to_owned());
            alternatives.push(format!("({})", inner.conditions.join(" AND ")));
        }
        self.conditions.push(if alternatives.is_empty() { "1 = 0".to_owned() } else { format!("({})", alternatives.join(" OR ")) });
    }

    pub(super) fn finish(mut self) -> (String, Vec<Value>) {
        self.conditions.push("1 = 1".to_owned());
        (self.conditions.join(" AND "), self.values)
    }
}

impl Tx<'_> {
    pub(super) fn select(&self, selector: &Selector, conditions: &mut Conditions) -> Result<(), StoreError> {
        for (field, value) in &selector.0 {
            match field {
                Field::Column("mac") => {
                    conditions.add("id IN (SELECT node FROM node_mac WHERE mac = ?)", value.to_ascii_lowercase().replace('-', ":"));
                }
                Field::Column(column) => conditions.like(column, value),
                Field::Site => {
                    // A number rather than a sub-question, so that the index on sites is used.
                    let site: Option<u32> = self.one("SELECT id FROM site WHERE name = ?1", values![value])?;
                    conditions.add("site = ?", site.ok_or_else(|| StoreError::NotThere { kind: "site", name: value.clone() })?);
                }
                Field::Class => {
                    let class = self.class_named(value)?.ok_or_else(|| StoreError::NotThere { kind: "class", name: value.clone() })?;
                    conditions.any_of([|group: &mut Conditions| class.condition(group)]);
                }
                Field::Label(name) => {
                    let classes = self.classes()?;
                    let with = classes.iter().filter(|class| class.labels.get(name).is_some_and(|label| label == value));
                    conditions.any_of(with.map(|class| |group: &mut Conditions| class.condition(group)));
                }
            }
        }
        Ok(())
    }
}
