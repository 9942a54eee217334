//! `$patch: delete`: what a patch takes out.

use super::{PatchError, PatchErrorKind};
use crate::cloud::machine_config::document::{DocumentId, V1ALPHA1};
use crate::cloud::machine_config::schema::{Schema, Special, Struct, Type};
use crate::cloud::machine_config::yaml::{Mapping, Node, Place, Scalar, Value};

/// Something to take out of a document.
#[derive(Clone, Debug)]
pub(super) struct Selector {
    pub(super) document: DocumentId,
    /// Keys; a list's item is `[0]`, and always the last.
    path: Vec<String>,
    /// Of a list's item: its first key, and the value of that.
    item: Option<(String, String)>,
    pub(super) place: Place,
}

/// Whether the whole document is to be taken out, or what of it was.
pub(super) enum Deleted {
    Document,
    Part,
}

/// Takes the deletes out of a document of a patch. Returns them, and whether there is anything left.
pub(super) fn extract(document: &mut Node) -> Result<(Vec<Selector>, bool), PatchError> {
    let root = document.clone();
    let mut extraction = Extraction { root: &root, selectors: Vec::new(), path: Vec::new() };
    let gone = extraction.node(document, Parent::Document)?;
    Ok((extraction.selectors, !gone && !is_empty(document)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Parent {
    Document,
    Mapping,
    Sequence,
}

struct Extraction<'a> {
    root: &'a Node,
    selectors: Vec<Selector>,
    path: Vec<String>,
}

impl Extraction<'_> {
    fn error(&self, place: Place, kind: PatchErrorKind) -> PatchError {
        PatchError { place, path: self.path.join("."), kind }
    }

    /// Returns whether the node goes with what was taken out of it.
    fn node(&mut self, node: &mut Node, parent: Parent) -> Result<bool, PatchError> {
        let place = node.place;
        match &mut node.value {
            Value::Scalar(_) => Ok(false),
            Value::Mapping(mapping) => self.mapping(mapping, place, parent),
            Value::Sequence(sequence) => {
                let mut index = 0_usize;
                while let Some(item) = sequence.items.get_mut(index) {
                    self.path.push(format!("[{index}]"));
                    let gone = self.node(item, Parent::Sequence)?;
                    self.path.pop();
                    if gone {
                        sequence.items.remove(index);
                        if sequence.items.is_empty() {
                            return Ok(true);
                        }
                    } else {
                        index = index.saturating_add(1);
                    }
                }
                Ok(false)
            }
        }
    }

    fn mapping(&mut self, mapping: &mut Mapping, place: Place, parent: Parent) -> Result<bool, PatchError> {
        let mut index = 0_usize;
        while let Some(entry) = mapping.entries.get_mut(index) {
            if is_delete(entry.key_text(), &entry.value) {
                if parent != Parent::Sequence && self.path.iter().any(|step| step.starts_with('[')) {
                    return Err(self.error(place, PatchErrorKind::DeleteInsideOfItem));
                }
                let item = if parent == Parent::Sequence { Some(self.item_key(mapping, place)?) } else { None };
                let selector = self.selector(item, place)?;
                self.selectors.push(selector);
                return Ok(true);
            }
            self.path.push(entry.key_text().to_owned());
            let gone = self.node(&mut entry.value, Parent::Mapping)?;
            self.path.pop();
            if gone {
                mapping.entries.remove(index);
                if mapping.entries.is_empty() {
                    return Ok(true);
                }
            } else {
                index = index.saturating_add(1);
            }
        }
        Ok(false)
    }

    fn item_key(&self, mapping: &Mapping, place: Place) -> Result<(String, String), PatchError> {
        let entry = mapping.entries.iter().find(|entry| !is_delete(entry.key_text(), &entry.value));
        let Some(entry) = entry else { return Err(self.error(place, PatchErrorKind::DeleteWithoutKey)) };
        let value = entry.value.as_scalar().map(Scalar::value).unwrap_or_default();
        Ok((entry.key_text().to_owned(), value.to_owned()))
    }

    fn selector(&self, item: Option<(String, String)>, place: Place) -> Result<Selector, PatchError> {
        let text = |key: &str| self.root.at(&[key]).and_then(Node::as_scalar).map(Scalar::value).unwrap_or_default();
        let mut document = DocumentId::of(self.root);
        match (text("kind").is_empty(), text("apiVersion").is_empty()) {
            (false, false) => {}
            (true, true) if !self.path.is_empty() => V1ALPHA1.clone_into(&mut document.kind),
            (true, true) => return Err(self.error(place, PatchErrorKind::DeleteV1alpha1)),
            _ => return Err(self.error(place, PatchErrorKind::HalfIdentified)),
        }
        Ok(Selector { document, path: self.path.clone(), item, place })
    }
}

fn is_delete(key: &str, value: &Node) -> bool {
    key == "$patch" && value.as_scalar().is_some_and(|scalar| scalar.value() == "delete")
}

/// Talos does not even read a document of a patch that says nothing but these.
fn is_empty(document: &Node) -> bool {
    document.as_mapping().is_some_and(|mapping| {
        mapping.entries.iter().all(|entry| entry.value.as_scalar().is_some() && matches!(entry.key_text(), "version" | "kind" | "name"))
    })
}

impl Selector {
    /// Takes it out of the document that it names.
    pub(super) fn apply(&self, schema: &Schema, structure: usize, document: &mut Node) -> Result<Deleted, PatchError> {
        if self.path.is_empty() {
            return Ok(Deleted::Document);
        }
        let found = self.in_struct(schema, schema.structure(structure), document, &self.path);
        found.map(|()| Deleted::Part).map_err(|kind| PatchError { place: self.place, path: self.path.join("."), kind })
    }

    fn in_struct(&self, schema: &Schema, structure: &Struct, node: &mut Node, path: &[String]) -> Result<(), PatchErrorKind> {
        let Some((first, rest)) = path.split_first() else { return Err(PatchErrorKind::NothingToDelete) };
        // Releases before 1.13 do not look into structs among the fields.
        let field = structure.field(first).filter(|field| !field.inlined || schema.contract.is_at_least(13));
        match (field, &structure.others) {
            (Some(field), _) if rest.is_empty() => {
                if let Some(mapping) = node.as_mapping_mut() {
                    mapping.remove(field.name);
                }
                Ok(())
            }
            (Some(field), _) => {
                let mut nothing = Node::scalar(Scalar::plain(""), self.place);
                let value = node.as_mapping_mut().and_then(|mapping| mapping.get_mut(first)).unwrap_or(&mut nothing);
                self.in_value(schema, &field.ty, value, rest)
            }
            (None, Some(others)) if schema.contract.is_at_least(13) => self.in_map(schema, others, node, path),
            (None, _) => Err(PatchErrorKind::NothingToDelete),
        }
    }

    fn in_map(&self, schema: &Schema, inner: &Type, node: &mut Node, path: &[String]) -> Result<(), PatchErrorKind> {
        let Some((first, rest)) = path.split_first() else { return Err(PatchErrorKind::NothingToDelete) };
        let mapping = node.as_mapping_mut().ok_or(PatchErrorKind::NothingToDelete)?;
        if rest.is_empty() {
            return mapping.remove(first).map(drop).ok_or(PatchErrorKind::NothingToDelete);
        }
        let value = mapping.get_mut(first).ok_or(PatchErrorKind::NothingToDelete)?;
        self.in_value(schema, inner, value, rest)
    }

    fn in_value(&self, schema: &Schema, ty: &Type, node: &mut Node, path: &[String]) -> Result<(), PatchErrorKind> {
        match ty {
            Type::Pointer(inner) if !node.is_null() => self.in_value(schema, inner, node, path),
            Type::Struct(index) => self.in_struct(schema, schema.structure(*index), node, path),
            Type::Map(inner) | Type::Arguments(inner) => self.in_map(schema, inner, node, path),
            Type::List(inner) | Type::Keyed(_, inner) => self.in_list(schema, inner, node, path),
            Type::Any => match &node.value {
                Value::Mapping(_) => self.in_map(schema, &Type::Any, node, path),
                Value::Sequence(_) => self.in_list(schema, &Type::Any, node, path),
                Value::Scalar(_) => Err(PatchErrorKind::NothingToDelete),
            },
            _ => Err(PatchErrorKind::NothingToDelete),
        }
    }

    fn in_list(&self, schema: &Schema, inner: &Type, node: &mut Node, path: &[String]) -> Result<(), PatchErrorKind> {
        let Some((key, value)) = self.item.as_ref().filter(|_| path.len() == 1) else { return Err(PatchErrorKind::NothingToDelete) };
        let mut structure = inner;
        while let Type::Pointer(inner) = structure {
            structure = inner;
        }
        let Type::Struct(index) = structure else { return Err(PatchErrorKind::NothingToDelete) };
        let field = schema.structure(*index).field(key).filter(|field| !field.inlined);
        let Some(field) = field.filter(|field| has_text(schema, &field.ty)) else { return Err(PatchErrorKind::NothingToDelete) };
        let Value::Sequence(sequence) = &mut node.value else { return Err(PatchErrorKind::NothingToDelete) };
        let text = |item: &Node| item.at(&[field.name]).and_then(Node::as_scalar).map(Scalar::value).unwrap_or_default().to_owned();
        let position =
            sequence.items.iter().position(|item| !item.is_null() && text(item) == *value).ok_or(PatchErrorKind::NothingToDelete)?;
        sequence.items.remove(position);
        Ok(())
    }
}

/// Whether Talos finds an item by this field: by text, and since 1.13 by what can say itself as text. Numbers are never found.
fn has_text(schema: &Schema, ty: &Type) -> bool {
    match ty {
        Type::String => true,
        Type::Pointer(inner) if matches!(**inner, Type::Enumeration(_) | Type::Special(_)) => has_text(schema, inner),
        Type::Enumeration(_) | Type::Duration => schema.contract.is_at_least(13),
        Type::Special(special) => {
            schema.contract.is_at_least(13)
                && matches!(
                    special,
                    Special::Prefix
                        | Special::Address
                        | Special::AddressPort
                        | Special::Url
                        | Special::HardwareAddress
                        | Special::PortRange
                        | Special::Expression
                )
        }
        _ => false,
    }
}
