//! Templates in the values of a patch: `"{{ site }}-{{ serial | lower }}"`.
//!
//! The patch is read as YAML first and its values are filled in after that, so that what a machine says of itself stays one value
//! whatever it holds: a serial number with a colon and a line end adds no field.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value as Filled;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};

use super::document::DocumentId;
use super::schema::{Schema, Type};
use super::yaml::{Mapping, Node, Place, Resolved, Scalar, Style, Value};

/// Steps that one value may take: a loop over all that a node has takes some hundreds.
const FUEL: u64 = 20_000;
/// Octets that one value may become.
const LONGEST: usize = 64 << 10;

/// What is known of a node, by name.
#[derive(Clone, Debug, Default)]
pub struct Facts(BTreeMap<String, Fact>);

/// One thing that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Text, or a number as text.
    Text(String),
    /// Several.
    List(Vec<Fact>),
    /// Named ones, such as `labels`.
    Map(BTreeMap<String, Fact>),
}

impl Facts {
    /// Adds one; a later one of the same name counts.
    pub fn set(&mut self, name: &str, fact: Fact) {
        self.0.insert(name.to_owned(), fact);
    }

    /// Adds text.
    pub fn set_text(&mut self, name: &str, text: &str) {
        self.set(name, Fact::Text(text.to_owned()));
    }

    /// The text of a fact.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Fact::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The names of all.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The facts of a YAML mapping.
    ///
    /// # Errors
    /// With the place of what is no mapping.
    pub fn read(node: &Node) -> Result<Self, Place> {
        let mapping = node.as_mapping().ok_or(node.place)?;
        Ok(Self(mapping.entries.iter().map(|entry| (entry.key_text().to_owned(), Fact::read(&entry.value))).collect()))
    }

    fn filled(&self) -> Filled {
        map(&self.0)
    }
}

fn map(facts: &BTreeMap<String, Fact>) -> Filled {
    Filled::from(facts.iter().map(|(name, fact)| (name.clone(), fact.filled())).collect::<BTreeMap<_, _>>())
}

impl Fact {
    fn read(node: &Node) -> Self {
        match &node.value {
            Value::Scalar(scalar) => Self::Text(scalar.value().to_owned()),
            Value::Sequence(sequence) => Self::List(sequence.items.iter().map(Self::read).collect()),
            Value::Mapping(mapping) => {
                Self::Map(mapping.entries.iter().map(|entry| (entry.key_text().to_owned(), Self::read(&entry.value))).collect())
            }
        }
    }

    fn filled(&self) -> Filled {
        match self {
            Self::Text(text) => Filled::from(text.as_str()),
            Self::List(facts) => Filled::from_iter(facts.iter().map(Self::filled)),
            Self::Map(facts) => map(facts),
        }
    }
}

/// Why a template can't be filled in.
#[derive(Debug, thiserror::Error)]
#[error("{}{kind}", if path.is_empty() { String::new() } else { format!("`{path}`: ") })]
pub struct TemplateError {
    /// Where.
    pub place: Place,
    /// The path in the document.
    pub path: String,
    /// What.
    pub kind: TemplateErrorKind,
}

/// What is wrong with a template.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateErrorKind {
    /// A name that is no fact of the node.
    #[error("the template names `{unknown}`, and of this node only these are known: {known}")]
    Unknown {
        /// The name.
        unknown: String,
        /// The names that are known.
        known: String,
    },
    /// Part of a fact that is not there.
    #[error("the template wants a part of a fact that this node does not have")]
    Undefined,
    /// It is not a template.
    #[error("it is no good template: {0}")]
    Syntax(&'static str),
    /// It does not end.
    #[error("the template takes more than {FUEL} steps")]
    TooLong,
    /// It becomes too large.
    #[error("the template becomes longer than {LONGEST} octets")]
    TooLarge,
    /// It fails in another way.
    #[error("the template can't be filled in: {0}")]
    Failed(&'static str),
}

/// Fills in every template of a patch's document.
///
/// # Errors
/// The first that can't be.
pub(super) fn fill(document: &mut Node, schema: &Schema, facts: &Facts) -> Result<(), TemplateError> {
    let ty = DocumentId::of(document).known(schema).map(|known| Type::Struct(known.structure));
    let mut filling = Filling { schema, facts, values: facts.filled(), path: Vec::new() };
    filling.node(document, ty.as_ref())
}

/// Reads every template of a patch's document, to tell errors before there is a node.
///
/// # Errors
/// The first that is none.
pub(super) fn check(node: &Node) -> Result<(), TemplateError> {
    let error = |kind| TemplateError { place: node.place, path: String::new(), kind };
    match &node.value {
        Value::Scalar(scalar) if is_template(scalar.value()) => {
            ENVIRONMENT.template_from_str(scalar.value()).map(drop).map_err(|why| error(kind_of(&why)))
        }
        Value::Scalar(_) => Ok(()),
        Value::Sequence(sequence) => sequence.items.iter().try_for_each(check),
        Value::Mapping(mapping) => mapping.entries.iter().try_for_each(|entry| {
            check(&entry.key)?;
            check(&entry.value)
        }),
    }
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    // A block's last line end is part of it.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment
});

fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

struct Filling<'a> {
    schema: &'a Schema,
    facts: &'a Facts,
    values: Filled,
    path: Vec<String>,
}

impl Filling<'_> {
    fn node(&mut self, node: &mut Node, ty: Option<&Type>) -> Result<(), TemplateError> {
        let ty = match ty {
            Some(Type::Pointer(inner)) => Some(&**inner),
            ty => ty,
        };
        let place = node.place;
        match &mut node.value {
            Value::Scalar(scalar) if is_template(scalar.value()) => {
                let text = self.text(scalar.value(), place)?;
                *scalar = self.scalar(scalar, &text, ty);
                Ok(())
            }
            Value::Scalar(_) => Ok(()),
            Value::Sequence(sequence) => {
                let inner = match ty {
                    Some(Type::List(inner) | Type::Keyed(_, inner)) => Some(&**inner),
                    _ => None,
                };
                sequence.items.iter_mut().try_for_each(|item| self.node(item, inner))
            }
            Value::Mapping(mapping) => self.mapping(mapping, ty),
        }
    }

    fn mapping(&mut self, mapping: &mut Mapping, ty: Option<&Type>) -> Result<(), TemplateError> {
        let schema = self.schema;
        let mut keys: Vec<String> = Vec::new();
        for entry in &mut mapping.entries {
            self.path.push(entry.key_text().to_owned());
            self.node(&mut entry.key, None)?;
            if keys.iter().any(|key| key == entry.key_text()) {
                return Err(self.error(entry.key.place, TemplateErrorKind::Failed("it gives a key that is there already")));
            }
            keys.push(entry.key_text().to_owned());
            let inner = match ty {
                Some(Type::Struct(index)) => {
                    let structure = schema.structure(*index);
                    structure.field(entry.key_text()).map(|field| &field.ty).or(structure.others.as_ref())
                }
                Some(Type::Map(inner) | Type::Arguments(inner)) => Some(&**inner),
                _ => None,
            };
            self.node(&mut entry.value, inner)?;
            self.path.pop();
        }
        Ok(())
    }

    /// A text stays a text, whatever it looks like; where the field wants something else, it may become that.
    fn scalar(&self, old: &Scalar, text: &str, ty: Option<&Type>) -> Scalar {
        let wants_other = matches!(ty, Some(Type::Bool | Type::Integer { .. } | Type::Float));
        let plain = Node::scalar(Scalar::plain(text.trim()), Place::default());
        if wants_other && matches!(plain.resolve(), Some(Resolved::Bool(_) | Resolved::Number(_))) {
            return Scalar::plain(text.trim());
        }
        if old.style() == Style::Double || old.style() == Style::Single { Scalar::quoted(text) } else { Scalar::string(text) }
    }

    fn text(&self, template: &str, place: Place) -> Result<String, TemplateError> {
        let read = ENVIRONMENT.template_from_str(template).map_err(|error| self.error(place, kind_of(&error)))?;
        let text = read.render(&self.values).map_err(|error| {
            let unknown = read.undeclared_variables(false).into_iter().filter(|name| !self.facts.0.contains_key(name)).min();
            let kind = match (error.kind(), unknown) {
                (ErrorKind::UndefinedError, Some(unknown)) => TemplateErrorKind::Unknown {
                    unknown: unknown.chars().take(80).collect(),
                    known: self.facts.names().collect::<Vec<_>>().join(", "),
                },
                _ => kind_of(&error),
            };
            self.error(place, kind)
        })?;
        if text.len() > LONGEST { Err(self.error(place, TemplateErrorKind::TooLarge)) } else { Ok(text) }
    }

    fn error(&self, place: Place, kind: TemplateErrorKind) -> TemplateError {
        TemplateError { place, path: self.path.join("."), kind }
    }
}

/// In our words: those of the engine quote the template, and what it was given.
fn kind_of(error: &minijinja::Error) -> TemplateErrorKind {
    match error.kind() {
        ErrorKind::UndefinedError => TemplateErrorKind::Undefined,
        ErrorKind::SyntaxError => TemplateErrorKind::Syntax("a bracket, quote or word is missing or does not belong"),
        ErrorKind::UnknownFilter => TemplateErrorKind::Syntax("it names a filter that does not exist"),
        ErrorKind::UnknownTest => TemplateErrorKind::Syntax("it names a test that does not exist"),
        ErrorKind::UnknownFunction | ErrorKind::UnknownMethod => TemplateErrorKind::Failed("it calls a function that does not exist"),
        ErrorKind::OutOfFuel => TemplateErrorKind::TooLong,
        _ => TemplateErrorKind::Failed("an operation in it does not fit what it is given"),
    }
}
