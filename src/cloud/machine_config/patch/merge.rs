//! One document laid over another, as Talos' own merge does it on its Go types.
//!
//! Its rules are those of the types and not those of YAML: an empty text over another changes nothing, unless the field is a pointer;
//! lists append, but for those that have a key; what a type of its own reads is replaced whole.

use super::url;
use super::{PatchError, PatchErrorKind};
use crate::cloud::machine_config::schema::{Keyed, Schema, Special, Struct, Type};
use crate::cloud::machine_config::yaml::{Entry, Layout, Mapping, Node, Number, Place, Resolved, Scalar, Sequence, Value};

/// Merges `right` into `left`, which are documents of one kind.
pub(super) fn merge_documents(schema: &Schema, structure: usize, left: &mut Node, right: &Node) -> Result<(), PatchError> {
    let mut merge = Merge { schema, path: Vec::new() };
    merge.structure(structure, left, right)
}

struct Merge<'s> {
    schema: &'s Schema,
    path: Vec<String>,
}

/// How a value is merged, beside its type.
#[derive(Clone, Copy, Default)]
struct Manner {
    /// The field is replaced whole.
    replace: bool,
    /// Zero counts: the field is a pointer, so that zero is not the same as absent.
    overwrite: bool,
}

impl Merge<'_> {
    fn error(&self, place: Place, kind: PatchErrorKind) -> PatchError {
        PatchError { place, path: self.path.join("."), kind }
    }

    fn structure(&mut self, index: usize, left: &mut Node, right: &Node) -> Result<(), PatchError> {
        let structure: &Struct = self.schema.structure(index);
        if let Some(field) = structure.unmergeable {
            self.path.push(field.to_owned());
            return Err(self.error(right.place, PatchErrorKind::Unmergeable));
        }
        make_mapping(left);
        let nothing = Mapping { entries: Vec::new(), layout: Layout::Block };
        let right_mapping = right.as_mapping().unwrap_or(&nothing);
        for entry in &right_mapping.entries {
            let key = entry.key_text();
            let (ty, replace) = match (structure.field(key), &structure.others) {
                (Some(field), _) => (&field.ty, field.replace),
                (None, Some(others)) => {
                    self.entry(others, left, entry)?;
                    continue;
                }
                // A field that this release does not know was refused when the patch was read.
                (None, None) => continue,
            };
            self.path.push(key.to_owned());
            self.field(ty, left, entry, Manner { replace, overwrite: false })?;
            self.path.pop();
        }
        for index in &structure.resets {
            let Some(field) = structure.fields.get(*index).filter(|field| right_mapping.get(field.name).is_none()) else { continue };
            self.reset(&field.ty, field.name, left);
        }
        Ok(())
    }

    /// A field that the patch does not name and that is zero there, where zero counts.
    fn reset(&self, ty: &Type, name: &str, left: &mut Node) {
        let Some(mapping) = left.as_mapping_mut() else { return };
        match ty {
            Type::Struct(inner) => {
                let structure = self.schema.structure(*inner);
                if let Some(value) = mapping.get_mut(name).filter(|value| !value.is_null()) {
                    for index in &structure.resets {
                        if let Some(field) = structure.fields.get(*index) {
                            self.reset(&field.ty, field.name, value);
                        }
                    }
                }
            }
            _ => drop(mapping.remove(name)),
        }
    }

    /// A field of a struct: set where it is absent, else merged.
    fn field(&mut self, ty: &Type, left: &mut Node, entry: &Entry, manner: Manner) -> Result<(), PatchError> {
        let Some(mapping) = left.as_mapping_mut() else { return Ok(()) };
        let right = &entry.value;
        let Some(position) = mapping.entries.iter().position(|there| there.key_text() == entry.key_text()) else {
            return self.absent(ty, mapping, entry);
        };
        let Some(there) = mapping.entries.get_mut(position) else { return Ok(()) };
        if there.value.is_null() {
            if right.is_null() {
                return Ok(());
            }
            mapping.entries.remove(position);
            return self.absent(ty, mapping, entry);
        }
        self.value(ty, &mut there.value, right, manner)
    }

    /// A field that the left side does not have.
    fn absent(&mut self, ty: &Type, mapping: &mut Mapping, entry: &Entry) -> Result<(), PatchError> {
        let right = &entry.value;
        if right.is_null() {
            return Ok(());
        }
        let mut value =
            Node { value: Value::Mapping(Mapping { entries: Vec::new(), layout: Layout::Block }), tag: None, place: right.place };
        match ty {
            // Merged into nothing, so that what is there twice in the patch becomes one.
            Type::Struct(index) => self.structure(*index, &mut value, right)?,
            Type::Keyed(keyed, inner) => {
                value.value = Value::Sequence(Sequence { items: Vec::new(), layout: Layout::Block });
                self.keyed(*keyed, inner, &mut value, right)?;
            }
            _ => value = right.clone(),
        }
        mapping.entries.push(Entry { key: entry.key.clone(), value });
        Ok(())
    }

    fn value(&mut self, ty: &Type, left: &mut Node, right: &Node, manner: Manner) -> Result<(), PatchError> {
        match ty {
            Type::Bool => {
                *left = right.clone();
                Ok(())
            }
            Type::Special(special) if special.is_reset() => {
                *left = right.clone();
                Ok(())
            }
            // Talos falls over nothing where the type of something is untyped.
            Type::Any if right.is_null() => Err(self.error(right.place, PatchErrorKind::OtherType)),
            // Nothing, to every other type, is what is not there.
            _ if right.is_null() => Ok(()),
            Type::Pointer(inner) if left.is_null() || matches!(**inner, Type::Pointer(_)) => {
                *left = right.clone();
                Ok(())
            }
            // Until 1.12 zero did not count behind a pointer either.
            Type::Pointer(inner) => {
                let manner = Manner { overwrite: self.schema.contract.is_at_least(12), ..manner };
                self.value(inner, left, right, manner)
            }
            Type::String | Type::Integer { .. } | Type::Float | Type::Duration | Type::Enumeration(_) => {
                if manner.overwrite || !self.is_zero(ty, right) {
                    *left = right.clone();
                }
                Ok(())
            }
            Type::List(_) => {
                append(left, right, manner.replace);
                Ok(())
            }
            Type::Keyed(keyed, inner) => self.keyed(*keyed, inner, left, right),
            Type::Map(_) if manner.replace => {
                *left = right.clone();
                Ok(())
            }
            Type::Map(inner) => {
                let Some(mapping) = right.as_mapping() else { return Ok(()) };
                mapping.entries.iter().try_for_each(|entry| self.entry(inner, left, entry))
            }
            Type::Arguments(_) => {
                let (Some(there), Some(mapping)) = (left.as_mapping_mut(), right.as_mapping()) else { return Ok(()) };
                for entry in &mapping.entries {
                    set(there, entry);
                }
                Ok(())
            }
            Type::Struct(_) if manner.replace => {
                if right.as_mapping().is_some_and(|mapping| !mapping.entries.is_empty()) {
                    *left = right.clone();
                }
                Ok(())
            }
            Type::Struct(index) => self.structure(*index, left, right),
            Type::Special(special) => self.special(*special, left, right),
            Type::Any => self.any(left, right),
        }
    }

    /// An entry of a map.
    fn entry(&mut self, inner: &Type, left: &mut Node, entry: &Entry) -> Result<(), PatchError> {
        make_mapping(left);
        let Some(mapping) = left.as_mapping_mut() else { return Ok(()) };
        self.path.push(entry.key_text().to_owned());
        let can_be_nothing = matches!(inner, Type::Pointer(_) | Type::List(_) | Type::Map(_) | Type::Any);
        match mapping.get_mut(entry.key_text()) {
            Some(there) if !(can_be_nothing && there.is_null()) => self.value(inner, there, &entry.value, Manner::default())?,
            _ => set(mapping, entry),
        }
        self.path.pop();
        Ok(())
    }

    fn any(&mut self, left: &mut Node, right: &Node) -> Result<(), PatchError> {
        let (is, will) = (class(left), class(right));
        if is != will || is == Class::Timestamp {
            return Err(self.error(right.place, PatchErrorKind::OtherType));
        }
        match is {
            Class::Mapping => {
                let Some(mapping) = right.as_mapping() else { return Ok(()) };
                mapping.entries.iter().try_for_each(|entry| self.entry(&Type::Any, left, entry))
            }
            Class::List => {
                append(left, right, false);
                Ok(())
            }
            Class::String => self.value(&Type::String, left, right, Manner::default()),
            Class::Integer | Class::Large | Class::Float => self.value(&Type::Float, left, right, Manner::default()),
            Class::Bool | Class::Null | Class::Timestamp => {
                *left = right.clone();
                Ok(())
            }
        }
    }

    fn special(&mut self, special: Special, left: &mut Node, right: &Node) -> Result<(), PatchError> {
        let (old, new) = (text(left).to_owned(), text(right));
        match special {
            Special::Prefix | Special::Address | Special::AddressPort | Special::SizeMatcher => {
                return Err(self.error(right.place, PatchErrorKind::Unmergeable));
            }
            Special::Url if new.is_empty() => {}
            Special::Url => match url::merge(&old, new) {
                Some(merged) if merged == new => *left = right.clone(),
                Some(merged) if merged == old => {}
                Some(merged) => *left = Node::string(&merged, right.place),
                None => return Err(self.error(right.place, PatchErrorKind::Unmergeable)),
            },
            // Talos keeps both, and the number of octets counts.
            Special::Size if new.is_empty() || (new.contains('%') && !old.is_empty() && !old.contains('%')) => {}
            _ => *left = right.clone(),
        }
        Ok(())
    }

    fn keyed(&mut self, keyed: Keyed, inner: &Type, left: &mut Node, right: &Node) -> Result<(), PatchError> {
        let old = left.items().len();
        for item in right.items() {
            let structure = match inner {
                Type::Pointer(inner) => &**inner,
                inner => inner,
            };
            let Type::Struct(structure) = structure else { return Ok(()) };
            if item.is_null() && matches!(inner, Type::Pointer(_)) {
                return Err(self.error(item.place, PatchErrorKind::EmptyItem));
            }
            let Value::Sequence(sequence) = &mut left.value else { return Ok(()) };
            // Talos looks for rules of images among those that were there before, the last of the same pattern.
            let position = match keyed {
                Keyed::ImageRules => sequence.items.iter().take(old).rposition(|there| same(keyed, there, item)),
                _ => sequence.items.iter().position(|there| same(keyed, there, item)),
            };
            match position.and_then(|position| sequence.items.get_mut(position)) {
                Some(there) if keyed == Keyed::ImageRules => *there = item.clone(),
                Some(there) => {
                    self.path.push(format!("[{}]", position.unwrap_or_default()));
                    self.structure(*structure, there, item)?;
                    self.path.pop();
                }
                None => sequence.items.push(item.clone()),
            }
        }
        Ok(())
    }

    fn is_zero(&self, ty: &Type, node: &Node) -> bool {
        match ty {
            Type::Enumeration(index) => {
                let enumeration = self.schema.enumeration(*index);
                text(node).is_empty() || enumeration.zero == Some(text(node)) || (enumeration.names.is_empty() && is_zero_number(node))
            }
            Type::Duration => text(node)
                .trim_matches(|character: char| matches!(character, '0' | '.' | '-' | '+') || character.is_ascii_alphabetic())
                .is_empty(),
            Type::String => text(node).is_empty(),
            _ => is_zero_number(node),
        }
    }
}

fn is_zero_number(node: &Node) -> bool {
    match node.resolve() {
        Some(Resolved::Number(Number::Integer(number))) => number == 0,
        // A field for whole numbers takes the whole part.
        Some(Resolved::Number(Number::Float(number))) => number == 0.0,
        _ => text(node).is_empty(),
    }
}

fn text(node: &Node) -> &str {
    node.as_scalar().map(Scalar::value).unwrap_or_default()
}

/// A struct that is not a pointer is there, whatever stands in its place.
fn make_mapping(node: &mut Node) {
    if node.as_mapping().is_none() {
        node.value = Value::Mapping(Mapping { entries: Vec::new(), layout: Layout::Block });
        node.tag = None;
    }
}

fn set(mapping: &mut Mapping, entry: &Entry) {
    match mapping.get_mut(entry.key_text()) {
        Some(there) => *there = entry.value.clone(),
        None => mapping.entries.push(entry.clone()),
    }
}

fn append(left: &mut Node, right: &Node, replace: bool) {
    match &mut left.value {
        Value::Sequence(sequence) if !replace => {
            if sequence.items.is_empty() {
                sequence.layout = Layout::Block;
            }
            sequence.items.extend(right.items().iter().cloned());
        }
        _ => *left = right.clone(),
    }
}

/// Whether two items have the same key.
fn same(keyed: Keyed, left: &Node, right: &Node) -> bool {
    let by = |key: &str| left.at(&[key]).map(text).unwrap_or_default() == right.at(&[key]).map(text).unwrap_or_default();
    match keyed {
        Keyed::Devices => {
            if right.text_at(&["interface"]).is_some_and(|name| !name.is_empty()) {
                return by("interface");
            }
            let selector = |node: &Node| node.at(&["deviceSelector"]).filter(|selector| !selector.is_null()).cloned();
            match (selector(left), selector(right)) {
                (Some(left), Some(right)) => same_selector(&left, &right),
                _ => false,
            }
        }
        Keyed::Vlans => {
            let number = |node: &Node| match node.at(&["vlanId"]).and_then(Node::resolve) {
                Some(Resolved::Number(Number::Integer(number))) => number,
                _ => 0,
            };
            number(left) == number(right)
        }
        Keyed::AdmissionPlugins => by("name"),
        Keyed::ConfigFiles => by("mountPath"),
        Keyed::ImageRules => by("image"),
    }
}

/// Talos compares the structs, and `physical` is a pointer in there: two that name it are never the same.
fn same_selector(left: &Node, right: &Node) -> bool {
    let physical = |node: &Node| node.at(&["physical"]).is_some_and(|value| !value.is_null());
    if physical(left) || physical(right) {
        return false;
    }
    let texts = |node: &Node| -> Vec<(String, String)> {
        let mut texts: Vec<_> = node
            .as_mapping()
            .into_iter()
            .flat_map(|mapping| &mapping.entries)
            .map(|entry| (entry.key_text().to_owned(), text(&entry.value).to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        texts.sort();
        texts
    };
    texts(left) == texts(right)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Mapping,
    List,
    String,
    Integer,
    Large,
    Float,
    Bool,
    Null,
    Timestamp,
}

/// The Go type that an untyped value gets.
fn class(node: &Node) -> Class {
    match (&node.value, node.resolve()) {
        (Value::Mapping(_), _) => Class::Mapping,
        (Value::Sequence(_), _) => Class::List,
        (_, Some(Resolved::Bool(_))) => Class::Bool,
        (_, Some(Resolved::Number(Number::Integer(number)))) if i64::try_from(number).is_err() => Class::Large,
        (_, Some(Resolved::Number(Number::Integer(_)))) => Class::Integer,
        (_, Some(Resolved::Number(Number::Float(_)))) => Class::Float,
        (_, Some(Resolved::Timestamp)) => Class::Timestamp,
        (_, Some(Resolved::Null)) => Class::Null,
        (_, Some(Resolved::String) | None) => Class::String,
    }
}
