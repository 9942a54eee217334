//! What differs between two configs in what they say, and not in how they are written.

use super::document::DocumentId;
use super::render::hide_secrets;
use super::yaml::{Layout, Node, Sequence, Value, write};

/// One difference.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// The document.
    pub document: DocumentId,
    /// The path in it; empty for the whole document.
    pub path: String,
    /// What the first says; none where it says nothing. Secrets are hidden.
    pub left: Option<String>,
    /// What the second says.
    pub right: Option<String>,
}

/// The differences of two configs.
#[must_use]
pub fn diff(left: &[Node], right: &[Node]) -> Vec<Difference> {
    let mut differences = Vec::new();
    let find = |documents: &'_ [Node], id: &DocumentId| documents.iter().find(|document| DocumentId::of(document) == *id).cloned();
    for document in left {
        let id = DocumentId::of(document);
        compare(&id, &mut Vec::new(), Some(document), find(right, &id).as_ref(), &mut differences);
    }
    for document in right {
        let id = DocumentId::of(document);
        if find(left, &id).is_none() {
            compare(&id, &mut Vec::new(), None, Some(document), &mut differences);
        }
    }
    differences
}

fn compare(id: &DocumentId, path: &mut Vec<String>, left: Option<&Node>, right: Option<&Node>, differences: &mut Vec<Difference>) {
    match (left, right) {
        (Some(left), Some(right)) if left == right => {}
        (Some(Node { value: Value::Mapping(there), .. }), Some(Node { value: Value::Mapping(new), .. })) => {
            for entry in &there.entries {
                path.push(entry.key_text().to_owned());
                compare(id, path, Some(&entry.value), new.get(entry.key_text()), differences);
                path.pop();
            }
            for entry in new.entries.iter().filter(|entry| there.get(entry.key_text()).is_none()) {
                path.push(entry.key_text().to_owned());
                compare(id, path, None, Some(&entry.value), differences);
                path.pop();
            }
        }
        (Some(Node { value: Value::Sequence(there), .. }), Some(Node { value: Value::Sequence(new), .. })) => {
            items(id, path, &there.items, &new.items, differences);
        }
        (left, right) => {
            let shown = |node: Option<&Node>| node.map(|node| one_line(node, path.last().map(String::as_str)));
            differences.push(Difference { document: id.clone(), path: path.join("."), left: shown(left), right: shown(right) });
        }
    }
}

/// Items with a key of their own are compared with the one of the same key, others are there or not.
fn items(id: &DocumentId, path: &mut Vec<String>, left: &[Node], right: &[Node], differences: &mut Vec<Difference>) {
    let key = |node: &Node| {
        ["interface", "mountPath", "name", "image", "vlanId", "network", "path", "slot"]
            .into_iter()
            .find_map(|key| Some(format!("[{key}={}]", node.text_at(&[key])?)))
    };
    let same = |node: &Node, of: &[Node]| match key(node) {
        Some(name) => of.iter().find(|other| key(other).as_deref() == Some(&name)).cloned(),
        None => of.iter().find(|other| *other == node).cloned(),
    };
    for (index, item) in left.iter().enumerate() {
        path.push(key(item).unwrap_or_else(|| format!("[{index}]")));
        compare(id, path, Some(item), same(item, right).as_ref(), differences);
        path.pop();
    }
    for (index, item) in right.iter().enumerate() {
        if same(item, left).is_none() {
            path.push(key(item).unwrap_or_else(|| format!("[{index}]")));
            compare(id, path, None, Some(item), differences);
            path.pop();
        }
    }
}

/// A value on one line, with what is secret in it hidden, its own name being `name`.
fn one_line(node: &Node, name: Option<&str>) -> String {
    let mut shown = Node::mapping(vec![(name.unwrap_or("value"), node.clone())], node.place);
    // An item of a list is told by itself.
    if name.is_none_or(|name| name.starts_with('[')) {
        shown = Node::sequence(vec![node.clone()], node.place);
    }
    hide_secrets(&mut shown);
    let inner = match shown.value {
        Value::Mapping(mapping) => mapping.entries.into_iter().next().map(|entry| entry.value),
        Value::Sequence(Sequence { items, .. }) => items.into_iter().next(),
        Value::Scalar(_) => None,
    };
    let Some(mut inner) = inner else { return String::new() };
    flatten(&mut inner);
    write(std::slice::from_ref(&inner)).text.trim_end().replace('\n', " ")
}

fn flatten(node: &mut Node) {
    match &mut node.value {
        Value::Scalar(scalar) => {
            if scalar.value().contains('\n') {
                node.value = Value::Scalar(super::yaml::Scalar::quoted(scalar.value()));
            }
        }
        Value::Sequence(sequence) => {
            sequence.layout = Layout::Flow;
            sequence.items.iter_mut().for_each(flatten);
        }
        Value::Mapping(mapping) => {
            mapping.layout = Layout::Flow;
            mapping.entries.iter_mut().for_each(|entry| flatten(&mut entry.value));
        }
    }
}
