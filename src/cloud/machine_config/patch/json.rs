//! RFC 6902, as Talos takes it: over a config of one document only.

use super::{PatchError, PatchErrorKind};
use crate::cloud::machine_config::yaml::{Node, Number, Place, Resolved, Scalar, Value};

/// One operation.
#[derive(Clone, Debug)]
pub struct Operation {
    action: Action,
    path: Vec<String>,
    place: Place,
}

#[derive(Clone, Debug)]
enum Action {
    Add(Node),
    Remove,
    Replace(Node),
    Move(Vec<String>),
    Copy(Vec<String>),
    Test(Node),
}

/// Why an operation can't be done.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The path leads nowhere.
    #[error("its path leads to nothing that is there")]
    NoPath,
    /// A test that failed.
    #[error("the test failed: another value is there")]
    Test,
    /// The document as a whole.
    #[error("it can't be done with the document as a whole")]
    Root,
}

pub(super) fn read(documents: &[Node]) -> Result<Vec<Operation>, PatchError> {
    let error = |place: Place, why: &'static str| PatchError { place, path: String::new(), kind: PatchErrorKind::NotJsonPatch(why) };
    let [document] = documents else {
        let place = documents.get(1).map(|document| document.place).unwrap_or_default();
        return Err(error(place, "there is another document behind it"));
    };
    let operation = |node: &Node| {
        let place = node.place;
        if node.as_mapping().is_none() {
            return Err(error(place, "an operation is a mapping with `op` and `path`"));
        }
        let pointer = |key: &str| match node.at(&[key]).and_then(Node::as_scalar).map(Scalar::value) {
            Some("") => Ok(Vec::new()),
            Some(text) => match text.strip_prefix('/') {
                Some(rest) => Ok(rest.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect()),
                None => Err(error(place, "a path begins with `/`")),
            },
            None => Err(error(place, "`path`, or `from`, is missing")),
        };
        let value = || match node.at(&["value"]) {
            Some(value) => Ok(value.clone()),
            None => Err(error(place, "`value` is missing")),
        };
        let action = match node.text_at(&["op"]) {
            Some("add") => Action::Add(value()?),
            Some("remove") => Action::Remove,
            Some("replace") => Action::Replace(value()?),
            Some("move") => Action::Move(pointer("from")?),
            Some("copy") => Action::Copy(pointer("from")?),
            Some("test") => Action::Test(value()?),
            _ => return Err(error(place, "`op` is one of add, remove, replace, move, copy, test")),
        };
        Ok(Operation { action, path: pointer("path")?, place })
    };
    document.items().iter().map(operation).collect()
}

pub(super) fn apply(operations: &[Operation], documents: &mut [Node]) -> Result<(), PatchError> {
    let Some(first) = operations.first() else { return Ok(()) };
    let count = documents.len();
    let [document] = documents else {
        return Err(PatchError { place: first.place, path: String::new(), kind: PatchErrorKind::JsonOverSeveral(count) });
    };
    for (index, operation) in operations.iter().enumerate() {
        operation.apply(document).map_err(|error| PatchError {
            place: operation.place,
            path: operation.path.join("."),
            kind: PatchErrorKind::Json { number: index.saturating_add(1), error },
        })?;
    }
    Ok(())
}

impl Operation {
    fn apply(&self, document: &mut Node) -> Result<(), JsonError> {
        match &self.action {
            Action::Add(value) => add(document, &self.path, value.clone()),
            Action::Remove => remove(document, &self.path).map(drop),
            Action::Replace(value) => {
                let (last, _) = self.path.split_last().ok_or(JsonError::Root)?;
                // Talos' package takes a key that is not there as well.
                match find(document, &self.path) {
                    Some(there) => *there = value.clone(),
                    None => parent(document, &self.path).and_then(Node::as_mapping_mut).ok_or(JsonError::NoPath)?.set(last, value.clone()),
                }
                Ok(())
            }
            Action::Move(from) => {
                let value = remove(document, from)?;
                add(document, &self.path, value)
            }
            Action::Copy(from) => {
                let null = Node::scalar(Scalar::plain("null"), self.place);
                let value = match find(document, from) {
                    Some(there) => there.clone(),
                    None => parent(document, from).and_then(|parent| parent.as_mapping().map(|_| null)).ok_or(JsonError::NoPath)?,
                };
                add(document, &self.path, value)
            }
            Action::Test(value) => {
                // What is not there is null.
                let absent_is_null = value.is_null() && parent(document, &self.path).is_some();
                let good = find(document, &self.path).map_or(absent_is_null, |there| equal(there, value));
                if good { Ok(()) } else { Err(JsonError::Test) }
            }
        }
    }
}

/// Numbers are compared by what they are: 1 is 1.0.
fn equal(left: &Node, right: &Node) -> bool {
    match (left.resolve(), right.resolve()) {
        (Some(Resolved::Number(Number::Integer(left))), Some(Resolved::Number(Number::Float(right))))
        | (Some(Resolved::Number(Number::Float(right))), Some(Resolved::Number(Number::Integer(left)))) => {
            Number::read(&left.to_string()).is_some() && right.fract() == 0.0 && format!("{right:.0}") == left.to_string()
        }
        _ => left == right,
    }
}

fn find<'n>(node: &'n mut Node, path: &[String]) -> Option<&'n mut Node> {
    path.iter().try_fold(node, |node, step| match &mut node.value {
        Value::Mapping(mapping) => mapping.get_mut(step),
        Value::Sequence(sequence) => {
            let index = index(step, sequence.items.len())?;
            sequence.items.get_mut(index)
        }
        Value::Scalar(_) => None,
    })
}

fn parent<'n>(node: &'n mut Node, path: &[String]) -> Option<&'n mut Node> {
    find(node, path.split_last()?.1)
}

/// From the end where it is negative, as Talos' package has it.
fn index(step: &str, length: usize) -> Option<usize> {
    match step.strip_prefix('-') {
        Some(back) => length.checked_sub(back.parse().ok()?).filter(|index| *index < length),
        None => step.parse().ok(),
    }
}

fn add(node: &mut Node, path: &[String], value: Node) -> Result<(), JsonError> {
    let Some((last, _)) = path.split_last() else { return Err(JsonError::Root) };
    let parent = parent(node, path).ok_or(JsonError::NoPath)?;
    match &mut parent.value {
        Value::Mapping(mapping) => mapping.set(last, value),
        Value::Sequence(sequence) => {
            let length = sequence.items.len();
            let index = if last == "-" {
                length
            } else {
                index(last, length.saturating_add(1)).filter(|index| *index <= length).ok_or(JsonError::NoPath)?
            };
            sequence.items.insert(index, value);
        }
        Value::Scalar(_) => return Err(JsonError::NoPath),
    }
    Ok(())
}

fn remove(node: &mut Node, path: &[String]) -> Result<Node, JsonError> {
    let Some((last, _)) = path.split_last() else { return Err(JsonError::Root) };
    let parent = parent(node, path).ok_or(JsonError::NoPath)?;
    match &mut parent.value {
        Value::Mapping(mapping) => mapping.remove(last).ok_or(JsonError::NoPath),
        Value::Sequence(sequence) => {
            let index = index(last, sequence.items.len()).filter(|index| *index < sequence.items.len()).ok_or(JsonError::NoPath)?;
            Ok(sequence.items.remove(index))
        }
        Value::Scalar(_) => Err(JsonError::NoPath),
    }
}
