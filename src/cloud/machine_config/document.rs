//! The documents of a machine config, and how Talos tells them apart.

use std::fmt;

use super::schema::{Document, Schema};
use super::yaml::{Node, Scalar};

/// What Talos tells a document by. Names of documents are no secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct DocumentId {
    /// `apiVersion`; empty for v1alpha1.
    pub api_version: String,
    /// `kind`; `v1alpha1` for the document without one.
    pub kind: String,
    /// `name`, of documents that have one.
    pub name: String,
}

/// The kind of the document that has no kind.
pub const V1ALPHA1: &str = "v1alpha1";

impl DocumentId {
    /// Reads it off a document.
    #[must_use]
    pub fn of(document: &Node) -> Self {
        let text = |key: &str| document.at(&[key]).and_then(Node::as_scalar).map(Scalar::value).unwrap_or_default().to_owned();
        let kind = text("kind");
        Self { api_version: text("apiVersion"), kind: if kind.is_empty() { V1ALPHA1.to_owned() } else { kind }, name: text("name") }
    }

    /// Whether it is the document with `machine` and `cluster`.
    #[must_use]
    pub fn is_v1alpha1(&self) -> bool {
        self.kind == V1ALPHA1
    }

    /// What this release knows of it; the `name` of a kind that has none does not tell it apart.
    #[must_use]
    pub fn known<'s>(&self, schema: &'s Schema) -> Option<&'s Document> {
        schema.document(&self.kind).filter(|_| self.is_v1alpha1() || self.api_version == V1ALPHA1)
    }

    /// The same without what does not tell it apart.
    #[must_use]
    pub fn identity(mut self, schema: &Schema) -> Self {
        if self.known(schema).is_some_and(|document| !document.named) {
            self.name.clear();
        }
        self
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_v1alpha1(), self.name.is_empty()) {
            (true, _) => f.write_str("the v1alpha1 document"),
            (false, true) => f.write_str(&self.kind),
            (false, false) => write!(f, "{} `{}`", self.kind, self.name),
        }
    }
}
