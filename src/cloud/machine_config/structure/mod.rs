//! What Talos' decoder takes: known documents, known fields, values of the right type.

mod special;

use super::document::DocumentId;
use super::schema::{Schema, Special, Type};
use super::yaml::{Node, Number, Place, Resolved, Scalar, Value};

/// What Talos' decoder would refuse. It names keys, and quotes no value.
#[derive(Debug, thiserror::Error)]
#[error("{}{kind}", at(path))]
pub struct StructureError {
    /// Where.
    pub place: Place,
    /// The path in the document; empty for the document itself.
    pub path: String,
    /// What.
    pub kind: StructureErrorKind,
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("`{path}`: ") }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StructureErrorKind {
    /// A document that is no mapping.
    #[error("a document of a machine config is a mapping")]
    NotADocument,
    /// Neither v1alpha1 nor a kind.
    #[error("it has no `kind`, and neither `machine` nor `cluster`")]
    NoKind,
    /// A kind without apiVersion.
    #[error("`apiVersion` is missing beside `kind`")]
    NoApiVersion,
    /// A kind that this release does not know.
    #[error("Talos {release} knows no document of kind `{kind}`")]
    UnknownKind {
        /// The kind.
        kind: String,
        /// The release.
        release: String,
    },
    /// A field that this release does not know.
    #[error("Talos {release} knows no field `{field}` here{}", meant.as_ref().map(|meant| format!("; `{meant}` perhaps?")).unwrap_or_default())]
    UnknownField {
        /// The field.
        field: String,
        /// The release.
        release: String,
        /// What may have been meant.
        meant: Option<String>,
    },
    /// A value of another type.
    #[error("{0} is wanted here")]
    Wanted(String),
}

/// The keys by which Talos knows the document without a kind.
pub(super) const LEGACY_KEYS: [&str; 4] = ["machine", "cluster", "debug", "persist"];

/// Checks a document, and says which it is.
///
/// # Errors
/// When Talos would not decode it.
pub fn check_document(document: &Node, schema: &Schema) -> Result<DocumentId, StructureError> {
    let error = |kind| StructureError { place: document.place, path: String::new(), kind };
    let mapping = document.as_mapping().ok_or_else(|| error(StructureErrorKind::NotADocument))?;
    let id = DocumentId::of(document);
    if id.is_v1alpha1() {
        if !LEGACY_KEYS.iter().any(|key| mapping.get(key).is_some()) {
            return Err(error(StructureErrorKind::NoKind));
        }
    } else if id.api_version.is_empty() {
        return Err(error(StructureErrorKind::NoApiVersion));
    }
    let Some(known) = id.known(schema) else {
        return Err(error(StructureErrorKind::UnknownKind { kind: id.kind, release: schema.contract.to_string() }));
    };
    let mut check = Check { schema, path: Vec::new() };
    check.structure(known.structure, document)?;
    Ok(id)
}

struct Check<'s, 'n> {
    schema: &'s Schema,
    path: Vec<&'n str>,
}

impl<'s, 'n> Check<'s, 'n> {
    fn error(&self, place: Place, kind: StructureErrorKind) -> StructureError {
        StructureError { place, path: self.path.join("."), kind }
    }

    fn wanted(&self, node: &Node, what: &str) -> StructureError {
        self.error(node.place, StructureErrorKind::Wanted(what.to_owned()))
    }

    fn structure(&mut self, index: usize, node: &'n Node) -> Result<(), StructureError> {
        let structure = self.schema.structure(index);
        let Some(mapping) = node.as_mapping() else { return Err(self.wanted(node, "a mapping")) };
        for entry in &mapping.entries {
            let key = entry.key_text();
            let ty = match (structure.field(key), &structure.others) {
                (Some(field), _) => &field.ty,
                (None, Some(others)) => others,
                (None, None) => {
                    let meant = structure.fields.iter().map(|field| field.name).find(|name| is_near(name, key)).map(str::to_owned);
                    let kind = StructureErrorKind::UnknownField {
                        field: key.chars().take(80).collect(),
                        release: self.schema.contract.to_string(),
                        meant,
                    };
                    return Err(self.error(entry.key.place, kind));
                }
            };
            self.path.push(key);
            self.value(ty, &entry.value)?;
            self.path.pop();
        }
        Ok(())
    }

    fn value(&mut self, ty: &'s Type, node: &'n Node) -> Result<(), StructureError> {
        // Null is zero of every type, but a list's item and a struct's own reader may see it otherwise.
        if node.is_null() {
            return Ok(());
        }
        match ty {
            Type::Pointer(inner) => self.value(inner, node),
            Type::Struct(index) => self.structure(*index, node),
            Type::List(inner) | Type::Keyed(_, inner) => {
                let Value::Sequence(sequence) = &node.value else { return Err(self.wanted(node, "a list")) };
                sequence.items.iter().try_for_each(|item| match **inner {
                    // Nobody means this, and Talos does not check for it everywhere.
                    Type::Pointer(_) if item.is_null() => Err(self.wanted(item, "an item that is not empty")),
                    _ => self.value(inner, item),
                })
            }
            Type::Map(inner) | Type::Arguments(inner) => {
                let Some(mapping) = node.as_mapping() else { return Err(self.wanted(node, "a mapping")) };
                for entry in &mapping.entries {
                    self.path.push(entry.key_text());
                    self.value(inner, &entry.value)?;
                    self.path.pop();
                }
                Ok(())
            }
            Type::Any => self.any(node),
            Type::Special(special) => self.special(*special, node),
            _ => self.scalar(ty, node),
        }
    }

    fn scalar(&self, ty: &Type, node: &Node) -> Result<(), StructureError> {
        let Some(scalar) = node.as_scalar() else {
            return Err(self.wanted(node, "one value, and no list or mapping,"));
        };
        let (text, resolved) = (scalar.value(), node.resolve());
        match (ty, resolved) {
            (Type::String, Some(Resolved::Timestamp)) if self.schema.contract.is_at_least(14) => {
                Err(self.wanted(node, "text: put this date into quotes; text"))
            }
            (Type::String, _) | (Type::Bool, Some(Resolved::Bool(_))) | (Type::Float, Some(Resolved::Number(_))) => Ok(()),
            (Type::Bool, Some(Resolved::String)) if is_old_bool(text) => Ok(()),
            (Type::Bool, _) => Err(self.wanted(node, "true or false")),
            (Type::Integer { least, most }, Some(Resolved::Number(number))) => match number {
                Number::Integer(number) if (*least..=*most).contains(&number) => Ok(()),
                Number::Float(number) if special::whole(number).is_some_and(|number| (*least..=*most).contains(&number)) => Ok(()),
                _ => Err(self.wanted(node, &format!("a number from {least} to {most}"))),
            },
            (Type::Integer { .. }, _) => Err(self.wanted(node, "a whole number")),
            (Type::Float, _) => Err(self.wanted(node, "a number")),
            (Type::Duration, Some(Resolved::String)) if special::is_duration(text) => Ok(()),
            (Type::Duration, _) => Err(self.wanted(node, "a duration such as `90s` or `1h30m`")),
            (Type::Enumeration(index), _) => {
                let names = &self.schema.enumeration(*index).names;
                match names.is_empty() || names.contains(&text) {
                    true => Ok(()),
                    false => Err(self.wanted(node, &format!("one of {}", names.iter().take(16).copied().collect::<Vec<_>>().join(", ")))),
                }
            }
            _ => Ok(()),
        }
    }

    /// Talos copies untyped values, and can't copy dates.
    fn any(&mut self, node: &'n Node) -> Result<(), StructureError> {
        match &node.value {
            Value::Scalar(_) if node.resolve() == Some(Resolved::Timestamp) => {
                Err(self.wanted(node, "text: put this date into quotes; text"))
            }
            Value::Scalar(_) => Ok(()),
            Value::Sequence(sequence) => sequence.items.iter().try_for_each(|item| self.any(item)),
            Value::Mapping(mapping) => mapping.entries.iter().try_for_each(|entry| {
                if entry.key.resolve() != Some(Resolved::String) {
                    return Err(
                        self.error(entry.key.place, StructureErrorKind::Wanted("text as a key: put it into quotes; text".to_owned()))
                    );
                }
                self.path.push(entry.key_text());
                self.any(&entry.value)?;
                self.path.pop();
                Ok(())
            }),
        }
    }

    fn special(&mut self, special: Special, node: &'n Node) -> Result<(), StructureError> {
        let keys: &[&str] = match special {
            Special::CertificateAndKey => &["crt", "key"],
            Special::Certificate => &["crt"],
            Special::Key => &["key"],
            Special::Argument => {
                return match &node.value {
                    Value::Scalar(_) => self.scalar(&Type::String, node),
                    Value::Sequence(_) => node.items().iter().try_for_each(|item| match &item.value {
                        Value::Scalar(_) => Ok(()),
                        _ => Err(self.wanted(item, "text")),
                    }),
                    Value::Mapping(_) => Err(self.wanted(node, "text, or a list of it,")),
                };
            }
            _ => {
                let Some(text) = node.as_scalar().map(Scalar::value) else { return Err(self.wanted(node, special::wanted(special))) };
                return if special::is_good(special, text, node) { Ok(()) } else { Err(self.wanted(node, special::wanted(special))) };
            }
        };
        let Some(mapping) = node.as_mapping() else { return Err(self.wanted(node, "a mapping")) };
        for entry in &mapping.entries {
            let key = entry.key_text();
            if !keys.contains(&key) {
                let kind = StructureErrorKind::UnknownField {
                    field: key.chars().take(80).collect(),
                    release: self.schema.contract.to_string(),
                    meant: None,
                };
                return Err(self.error(entry.key.place, kind));
            }
            self.path.push(key);
            let good = match &entry.value.value {
                Value::Scalar(scalar) => {
                    entry.value.is_null() || special::is_base64(scalar.value()) || (key == "key" && scalar.value() == "******")
                }
                _ => false,
            };
            if !good {
                return Err(self.wanted(&entry.value, "base 64"));
            }
            self.path.pop();
        }
        Ok(())
    }
}

/// YAML 1.1's other words, which a field for true and false still takes.
fn is_old_bool(text: &str) -> bool {
    matches!(text, "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF")
}

/// The same but for case, or one letter more, less or other.
fn is_near(left: &str, right: &str) -> bool {
    if left.eq_ignore_ascii_case(right) {
        return true;
    }
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let start = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    let end = left.iter().rev().zip(right.iter().rev()).take_while(|(left, right)| left == right).count();
    let longest = left.len().max(right.len());
    longest > 3 && left.len().abs_diff(right.len()) <= 1 && start.saturating_add(end).saturating_add(1) >= longest
}
