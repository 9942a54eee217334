//! Patches: Talos' strategic merge, and RFC 6902.

mod delete;
mod json;
mod merge;
mod url;

use super::document::{DocumentId, V1ALPHA1};
use super::schema::Schema;
use super::structure::{self, StructureError};
use super::yaml::{Node, Place, Scalar, Value};
use delete::{Deleted, Selector};
use json::Operation;

pub(super) use json::JsonError;

/// What is wrong with a patch, or with what it is to be laid over. It quotes no value.
#[derive(Debug, thiserror::Error)]
#[error("{}{kind}", at(path))]
pub struct PatchError {
    /// Where.
    pub place: Place,
    /// The path in the document; empty for the document itself.
    pub path: String,
    /// What.
    pub kind: PatchErrorKind,
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("`{path}`: ") }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatchErrorKind {
    /// Talos fails to merge two values of this type.
    #[error("Talos can't merge two values here; take the old one out with `$patch: delete` in a patch before this one")]
    Unmergeable,
    /// A list where an item says nothing.
    #[error("an item of this list is empty")]
    EmptyItem,
    /// Untyped values of different types.
    #[error(
        "the value is of another type than the one that it is merged with; take that out with `$patch: delete` in a patch before this one"
    )]
    OtherType,
    /// A delete in an item of a list.
    #[error("`$patch: delete` can take out an item of a list, but nothing inside of one")]
    DeleteInsideOfItem,
    /// A delete of a list's item that names no key.
    #[error("`$patch: delete` in a list needs a key beside it that says which item")]
    DeleteWithoutKey,
    /// A delete of the v1alpha1 document.
    #[error("`$patch: delete` can't take out the v1alpha1 document as a whole")]
    DeleteV1alpha1,
    /// One of kind and apiVersion.
    #[error("`kind` and `apiVersion` have to be there both, or neither for the v1alpha1 document")]
    HalfIdentified,
    /// A delete of what is not there.
    #[error("there is nothing here that `$patch: delete` could take out")]
    NothingToDelete,
    /// A delete in a document that is not there.
    #[error("there is no {0} that `$patch: delete` could take something out of")]
    NoDocument(Box<DocumentId>),
    /// A document twice.
    #[error("{document} is there twice, first on line {first}")]
    DoubleDocument {
        /// Which.
        document: Box<DocumentId>,
        /// The line of the first.
        first: u32,
    },
    /// A document that can't be beside another.
    #[error("{0} can't be beside {1}")]
    Conflict(Box<DocumentId>, Box<DocumentId>),
    /// Fields or values that Talos refuses.
    #[error(transparent)]
    Structure(Box<StructureError>),
    /// An RFC 6902 patch over several documents.
    #[error("a JSON patch (RFC 6902) can't be laid over a config of {0} documents; write it as a strategic-merge patch")]
    JsonOverSeveral(usize),
    /// An RFC 6902 patch that is none.
    #[error("it is no JSON patch (RFC 6902): {0}")]
    NotJsonPatch(&'static str),
    /// An RFC 6902 operation that can't be done.
    #[error("operation {number} of the JSON patch: {error}")]
    Json {
        /// Which, from 1.
        number: usize,
        /// Why.
        error: JsonError,
    },
}

/// A patch that was read and checked against what a Talos release knows.
#[derive(Clone, Debug)]
pub enum Patch {
    /// Documents to be laid over those of the same identity, and what to take out, in order.
    Strategic(Vec<Step>),
    /// RFC 6902.
    Json(Vec<Operation>),
}

/// A step of a strategic-merge patch.
#[derive(Clone, Debug)]
pub struct Step(StepKind);

#[derive(Clone, Debug)]
enum StepKind {
    Delete(Selector),
    Merge(DocumentId, Node),
}

impl Patch {
    /// Takes the documents of a patch, as they were read.
    ///
    /// # Errors
    /// When Talos would not take it as a patch.
    pub fn of(documents: Vec<Node>, schema: &Schema) -> Result<Self, PatchError> {
        if let Some(Node { value: Value::Sequence(_), .. }) = documents.first() {
            return json::read(&documents).map(Self::Json);
        }
        let mut steps = Vec::new();
        let mut seen: Vec<(DocumentId, u32)> = Vec::new();
        for mut document in documents {
            let place = document.place;
            let (selectors, anything_left) = delete::extract(&mut document)?;
            steps.extend(selectors.into_iter().map(|selector| Step(StepKind::Delete(selector))));
            if !anything_left {
                continue;
            }
            let id = structure::check_document(&document, schema)?;
            refuse_double(&mut seen, &id, place)?;
            steps.push(Step(StepKind::Merge(id.identity(schema), document)));
        }
        // As Talos has it: what goes from the v1alpha1 document, then what is laid over it, then the rest in its order.
        steps.sort_by_key(|step| match &step.0 {
            StepKind::Delete(selector) if selector.document.is_v1alpha1() => 0,
            StepKind::Merge(id, _) if id.is_v1alpha1() => 1,
            _ => 2,
        });
        Ok(Self::Strategic(steps))
    }

    /// Lays it over the documents of a config.
    ///
    /// # Errors
    /// When Talos would refuse to.
    pub fn apply(&self, documents: &mut Vec<Node>, schema: &Schema) -> Result<(), PatchError> {
        match self {
            Self::Json(operations) => json::apply(operations, documents),
            Self::Strategic(steps) => {
                // Talos lays a patch over the documents that were there, and not over those that the same patch brings.
                let mut brought = Vec::new();
                let done = steps.iter().try_for_each(|step| step.apply(documents, &mut brought, schema));
                documents.append(&mut brought);
                done
            }
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Strategic(steps) => steps.is_empty(),
            Self::Json(operations) => operations.is_empty(),
        }
    }
}

impl Step {
    fn apply(&self, documents: &mut Vec<Node>, brought: &mut Vec<Node>, schema: &Schema) -> Result<(), PatchError> {
        let (id, place) = match &self.0 {
            StepKind::Delete(selector) => (&selector.document, selector.place),
            StepKind::Merge(id, document) => (id, document.place),
        };
        let position = documents.iter().position(|document| DocumentId::of(document).identity(schema) == *id);
        let found = position.and_then(|position| documents.get_mut(position).map(|document| (position, document)));
        match (&self.0, found) {
            (StepKind::Delete(selector), Some((position, document))) => {
                let Some(known) = id.known(schema) else { return Ok(()) };
                if let Deleted::Document = selector.apply(schema, known.structure, document)? {
                    documents.remove(position);
                } else if id.is_v1alpha1() {
                    stay_v1alpha1(document);
                }
                Ok(())
            }
            // Since 1.14 Talos passes over it; before, what it makes of it is not a config.
            (StepKind::Delete(_), None) if schema.contract.is_at_least(14) => Ok(()),
            (StepKind::Delete(_), None) => {
                Err(PatchError { place, path: String::new(), kind: PatchErrorKind::NoDocument(Box::new(id.clone())) })
            }
            (StepKind::Merge(_, right), Some((_, document))) => {
                let Some(known) = id.known(schema) else { return Ok(()) };
                merge::merge_documents(schema, known.structure, document, right)
            }
            (StepKind::Merge(id, right), None) => {
                refuse_conflict(documents, id, right.place, schema)?;
                refuse_conflict(brought, id, right.place, schema)?;
                brought.push(right.clone());
                Ok(())
            }
        }
    }
}

/// Talos knows the document without a kind by what stands in it, and writes that even where there is nothing.
fn stay_v1alpha1(document: &mut Node) {
    let place = document.place;
    if let Some(mapping) = document.as_mapping_mut()
        && !structure::LEGACY_KEYS.iter().any(|key| mapping.get(key).is_some())
    {
        mapping.set("machine", Node::scalar(Scalar::plain("null"), place));
    }
}

/// Checks the documents of a whole config: each by itself, none twice, none beside one that it can't be beside.
///
/// # Errors
/// When Talos would not load it.
pub fn check_config(documents: &[Node], schema: &Schema) -> Result<(), PatchError> {
    let mut seen: Vec<(DocumentId, u32)> = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let id = structure::check_document(document, schema)?;
        refuse_double(&mut seen, &id, document.place)?;
        refuse_conflict(documents.get(..index).unwrap_or_default(), &id, document.place, schema)?;
    }
    Ok(())
}

fn refuse_double(seen: &mut Vec<(DocumentId, u32)>, id: &DocumentId, place: Place) -> Result<(), PatchError> {
    if let Some((_, first)) = seen.iter().find(|(there, _)| there == id) {
        let kind = PatchErrorKind::DoubleDocument { document: Box::new(id.clone()), first: *first };
        return Err(PatchError { place, path: String::new(), kind });
    }
    seen.push((id.clone(), place.line));
    Ok(())
}

fn refuse_conflict(documents: &[Node], id: &DocumentId, place: Place, schema: &Schema) -> Result<(), PatchError> {
    for there in documents.iter().map(DocumentId::of) {
        let same_kind = there.kind == id.kind && there.kind != V1ALPHA1;
        let conflicts = |one: &DocumentId, other: &DocumentId| {
            one.known(schema).is_some_and(|known| known.conflicts.contains(&other.kind.as_str())) && one.name == other.name
        };
        if same_kind && there.clone().identity(schema) == id.clone().identity(schema) {
            let kind = PatchErrorKind::DoubleDocument { document: Box::new(id.clone()), first: place.line };
            return Err(PatchError { place, path: String::new(), kind });
        }
        if conflicts(id, &there) || conflicts(&there, id) {
            return Err(PatchError { place, path: String::new(), kind: PatchErrorKind::Conflict(Box::new(id.clone()), Box::new(there)) });
        }
    }
    Ok(())
}

impl From<StructureError> for PatchError {
    fn from(error: StructureError) -> Self {
        Self { place: error.place, path: String::new(), kind: PatchErrorKind::Structure(Box::new(error)) }
    }
}

#[cfg(test)]
mod tests;
