//! YAML as a tree that keeps each scalar's own text and style.
//!
//! Reading untyped and writing again turns `0600` into 384 and `no` into false. Here a scalar that nobody touches comes out as it was
//! written; comments do not stay.

mod number;
mod read;
mod resolve;
mod write;

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

pub use number::Number;
pub use read::{Budget, YamlError, YamlErrorKind, read};
pub use resolve::Resolved;
pub use write::{Written, write};

/// Where a node was written: a number that the caller gave to the file, and a line and column, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The source, as it was numbered when it was read.
    pub source: u16,
    /// Line, from 1; 0 for what is written nowhere.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// Text of a config. Any of it may be a secret, so it does not print itself, and it is cleared when the last copy goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Arc<Zeroizing<String>>);

impl Text {
    /// Takes a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text(not shown)")
    }
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// In single quotes.
    Single,
    /// In double quotes.
    Double,
    /// A literal block, `|`.
    Literal,
    /// A folded block, `>`.
    Folded,
}

/// A scalar: its value, and the text that it was written as.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// The value, with quotes and escapes resolved.
    value: Text,
    /// The text as it stands in the source, quotes included; of a folded block its lines without indentation. None where it is the value.
    written: Option<Text>,
    style: Style,
}

impl Scalar {
    /// A plain scalar; the text must be one that may stand without quotes.
    #[must_use]
    pub fn plain(text: &str) -> Self {
        Self { value: Text::from(text), written: None, style: Style::Plain }
    }

    /// A string in whatever style carries it: plain where nothing reads that as anything else, a literal block for lines, else quoted.
    #[must_use]
    pub fn string(text: &str) -> Self {
        let style = write::style_for(text);
        let written = (style == Style::Double).then(|| Text::new(write::double_quoted(text)));
        Self { value: Text::from(text), written, style }
    }

    /// A string in double quotes.
    #[must_use]
    pub fn quoted(text: &str) -> Self {
        Self { value: Text::from(text), written: Some(Text::new(write::double_quoted(text))), style: Style::Double }
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &str {
        self.value.as_str()
    }

    /// How it was written.
    #[must_use]
    pub const fn style(&self) -> Style {
        self.style
    }

    fn written(&self) -> &str {
        self.written.as_ref().unwrap_or(&self.value).as_str()
    }
}

/// A mapping or sequence on one line, or on lines of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Lines of its own.
    Block,
    /// In brackets.
    Flow,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key: a scalar.
    pub key: Node,
    /// The value.
    pub value: Node,
}

/// A mapping, in the order of the source.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Its entries; no two have the same key.
    pub entries: Vec<Entry>,
    /// How it was written.
    pub layout: Layout,
}

/// A sequence.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Its items.
    pub items: Vec<Node>,
    /// How it was written.
    pub layout: Layout,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Value {
    /// One text.
    Scalar(Scalar),
    /// A list.
    Sequence(Sequence),
    /// Keys with values.
    Mapping(Mapping),
}

/// A node of the tree.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// An explicit tag, as written: `!!str`.
    pub tag: Option<Text>,
    /// Where it was written.
    pub place: Place,
}

impl Node {
    /// A scalar.
    #[must_use]
    pub const fn scalar(scalar: Scalar, place: Place) -> Self {
        Self { value: Value::Scalar(scalar), tag: None, place }
    }

    /// A string.
    #[must_use]
    pub fn string(text: &str, place: Place) -> Self {
        Self::scalar(Scalar::string(text), place)
    }

    /// A mapping.
    #[must_use]
    pub fn mapping(entries: Vec<(&str, Self)>, place: Place) -> Self {
        let entries = entries.into_iter().map(|(key, value)| Entry { key: Self::string(key, place), value }).collect();
        Self { value: Value::Mapping(Mapping { entries, layout: Layout::Block }), tag: None, place }
    }

    /// A sequence.
    #[must_use]
    pub const fn sequence(items: Vec<Self>, place: Place) -> Self {
        Self { value: Value::Sequence(Sequence { items, layout: Layout::Block }), tag: None, place }
    }

    /// The scalar that it is.
    #[must_use]
    pub const fn as_scalar(&self) -> Option<&Scalar> {
        if let Value::Scalar(scalar) = &self.value { Some(scalar) } else { None }
    }

    /// The value of the scalar that it is; none for an empty one or null.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if self.is_null() { None } else { self.as_scalar().map(Scalar::value) }
    }

    /// The mapping that it is.
    #[must_use]
    pub const fn as_mapping(&self) -> Option<&Mapping> {
        if let Value::Mapping(mapping) = &self.value { Some(mapping) } else { None }
    }

    /// The mapping that it is, to be changed.
    pub const fn as_mapping_mut(&mut self) -> Option<&mut Mapping> {
        if let Value::Mapping(mapping) = &mut self.value { Some(mapping) } else { None }
    }

    /// The items of the sequence that it is; none otherwise.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        if let Value::Sequence(sequence) = &self.value { &sequence.items } else { &[] }
    }

    /// The value at a path of keys, such as `["machine", "type"]`.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.as_mapping()?.get(key))
    }

    /// The text at a path of keys; none for null.
    #[must_use]
    pub fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// Whether it is a null: nothing, `~`, `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.resolve(), Some(Resolved::Null))
    }

    /// What a scalar means to whoever reads it without knowing what is wanted; none for a mapping or sequence.
    #[must_use]
    pub fn resolve(&self) -> Option<Resolved> {
        self.as_scalar().map(|scalar| resolve::resolve(scalar, self.tag.as_ref().map(Text::as_str)))
    }
}

/// Trees are equal when they mean the same to whoever reads them without knowing what is wanted: the order of keys, styles and places
/// do not count.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Scalar(left), Value::Scalar(right)) => {
                let (is, will) = (self.resolve(), other.resolve());
                is == will && (is != Some(Resolved::String) || left.value() == right.value())
            }
            (Value::Sequence(left), Value::Sequence(right)) => left.items == right.items,
            (Value::Mapping(left), Value::Mapping(right)) => {
                left.entries.len() == right.entries.len()
                    && left.entries.iter().all(|entry| right.get(entry.key_text()).is_some_and(|value| *value == entry.value))
            }
            _ => false,
        }
    }
}

impl Entry {
    /// The key's text.
    #[must_use]
    pub fn key_text(&self) -> &str {
        self.key.as_scalar().map(Scalar::value).unwrap_or_default()
    }
}

impl Mapping {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key_text() == key).map(|entry| &entry.value)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|entry| entry.key_text() == key).map(|entry| &mut entry.value)
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        let index = self.entries.iter().position(|entry| entry.key_text() == key)?;
        Some(self.entries.remove(index).value)
    }

    /// Sets a key, in its old place if it is there.
    pub fn set(&mut self, key: &str, value: Node) {
        match self.get_mut(key) {
            Some(old) => *old = value,
            None => self.entries.push(Entry { key: Node::string(key, value.place), value }),
        }
    }
}

#[cfg(test)]
mod tests;
