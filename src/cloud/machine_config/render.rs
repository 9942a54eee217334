//! A node's config: the layers over one another, then what Fairlead adds, checked as Talos will check it.

use super::additions::{self, Additions};
use super::document::DocumentId;
use super::layer::{ConfigError, ConfigErrorKind, Layer, Source};
use super::patch::{Patch, check_config};
use super::rules;
use super::schema::{Contract, Schema};
use super::template::{self, Facts};
use super::yaml::{self, Budget, Node, Place, Value, write};
use crate::secret::Secret;

/// The layers of one node, or of all nodes that share them, read and checked; what does not differ by node is merged already.
#[derive(Debug)]
pub struct Plan {
    contract: Contract,
    sources: Vec<Source>,
    /// The base, with all patches over it that come before the first template.
    merged: Vec<Node>,
    /// The operator's bytes, as long as no patch was merged.
    untouched: Option<Secret>,
    /// From the first template on.
    rest: Vec<Prepared>,
}

#[derive(Debug)]
enum Prepared {
    Patch(Patch),
    Template(Vec<Node>),
}

/// A node's config.
#[derive(Debug)]
pub struct Rendered {
    /// The bytes for the node.
    pub text: Secret,
    /// The documents.
    pub documents: Vec<Node>,
    /// Where each line is from; none when the bytes are the operator's own with documents behind them.
    pub lines: Vec<Place>,
    /// The layers that places name.
    pub sources: Vec<Source>,
}

/// Reads YAML, and says which layer is at fault.
fn read(layer: &Layer, number: u16, sources: &[Source]) -> Result<Vec<Node>, ConfigError> {
    yaml::read(layer.text.expose(), number, Budget::default())
        .map_err(|error| ConfigError::at(sources, error.place, ConfigErrorKind::Yaml(error)))
}

impl Plan {
    /// Reads the layers. The first is the base, the others are patches in the order in which they are laid over it.
    ///
    /// # Errors
    /// When a layer is not YAML, or Talos would not take it, or would not take what they give together.
    pub fn new(contract: Contract, layers: &[Layer]) -> Result<Self, ConfigError> {
        let sources: Vec<Source> = layers.iter().map(|layer| layer.source.clone()).chain([Source::fairlead()]).collect();
        let schema = contract.schema();
        let mut plan = Self { contract, sources, merged: Vec::new(), untouched: None, rest: Vec::new() };
        for (number, layer) in (0_u16..).zip(layers) {
            let documents = read(layer, number, &plan.sources)?;
            if number == 0 {
                plan.untouched = Some(layer.text.clone());
                plan.merged = documents;
                plan.check(&plan.merged, schema)?;
                continue;
            }
            if layer.template {
                for document in &documents {
                    template::check(document).map_err(|error| plan.error(error.place, ConfigErrorKind::Template(error)))?;
                }
                plan.rest.push(Prepared::Template(documents));
                continue;
            }
            let patch = Patch::of(documents, schema).map_err(|error| plan.error(error.place, ConfigErrorKind::Patch(error)))?;
            if patch.is_empty() {
                continue;
            }
            if plan.rest.is_empty() {
                let mut merged = std::mem::take(&mut plan.merged);
                patch.apply(&mut merged, schema).map_err(|error| plan.error(error.place, ConfigErrorKind::Patch(error)))?;
                plan.merged = merged;
                plan.untouched = None;
            } else {
                plan.rest.push(Prepared::Patch(patch));
            }
        }
        if !plan.merged.iter().any(|document| DocumentId::of(document).is_v1alpha1()) {
            return Err(plan.error(Place { source: 0, line: 1, column: 1 }, ConfigErrorKind::NoMachineConfig));
        }
        Ok(plan)
    }

    /// The release that the config is for.
    #[must_use]
    pub const fn contract(&self) -> Contract {
        self.contract
    }

    /// The config of one node.
    ///
    /// # Errors
    /// When a template can't be filled in, or Talos would refuse what comes out.
    pub fn render(&self, facts: &Facts, additions: &Additions<'_>) -> Result<Rendered, ConfigError> {
        let schema = self.contract.schema();
        let mut documents = self.merged.clone();
        for prepared in &self.rest {
            match prepared {
                Prepared::Patch(patch) => self.apply(patch, &mut documents, schema)?,
                Prepared::Template(template) => {
                    let mut filled = template.clone();
                    for document in &mut filled {
                        template::fill(document, schema, facts)
                            .map_err(|error| self.error(error.place, ConfigErrorKind::Template(error)))?;
                    }
                    let patch = Patch::of(filled, schema).map_err(|error| self.error(error.place, ConfigErrorKind::Patch(error)))?;
                    self.apply(&patch, &mut documents, schema)?;
                }
            }
        }
        let added = self.added(additions, &documents)?;
        let untouched = self.untouched.as_ref().filter(|_| self.rest.is_empty() && all_new(&added, &documents, schema));
        let behind = documents.len();
        let patch = Patch::of(added, schema).map_err(|error| self.error(error.place, ConfigErrorKind::Patch(error)))?;
        self.apply(&patch, &mut documents, schema)?;
        additions::settle_environment(&mut documents, schema);
        self.check(&documents, schema)?;
        if let Some(broken) = rules::broken(&documents, schema) {
            return Err(self.error(broken.place, broken.kind()));
        }
        let (text, lines) = match untouched {
            Some(bytes) => (with_documents_behind(bytes, documents.get(behind..).unwrap_or_default()), Vec::new()),
            None => {
                let written = write(&documents);
                (Secret::new(written.text.as_bytes().to_vec()), written.lines)
            }
        };
        Ok(Rendered { text, documents, lines, sources: self.sources.clone() })
    }

    /// The nodes whose config can't be rendered, with why, and nothing of those for which it can.
    pub fn failures<'n>(&self, nodes: impl IntoIterator<Item = (&'n Facts, Additions<'n>)>) -> Vec<(usize, ConfigError)> {
        let outcomes = nodes.into_iter().map(|(facts, additions)| self.render(facts, &additions));
        outcomes.enumerate().filter_map(|(index, outcome)| Some((index, outcome.err()?))).collect()
    }

    fn added(&self, additions: &Additions<'_>, documents: &[Node]) -> Result<Vec<Node>, ConfigError> {
        let config = documents.iter().find(|document| DocumentId::of(document).is_v1alpha1());
        let is_control_plane = config.and_then(|config| config.text_at(&["machine", "type"])).is_some_and(|kind| kind != "worker");
        // Two places for one name are refused, and the newer one can't take the older one's place.
        let named_the_old_way =
            config.is_some_and(|config| config.text_at(&["machine", "network", "hostname"]).is_some_and(|name| !name.is_empty()));
        let place = Place { source: u16::try_from(self.sources.len().saturating_sub(1)).unwrap_or(u16::MAX), line: 0, column: 0 };
        additions
            .documents(self.contract, is_control_plane, named_the_old_way, place)
            .map_err(|words| self.error(place, ConfigErrorKind::Addition(words)))
    }

    fn apply(&self, patch: &Patch, documents: &mut Vec<Node>, schema: &Schema) -> Result<(), ConfigError> {
        patch.apply(documents, schema).map_err(|error| self.error(error.place, ConfigErrorKind::Patch(error)))
    }

    fn check(&self, documents: &[Node], schema: &Schema) -> Result<(), ConfigError> {
        check_config(documents, schema).map_err(|error| self.error(error.place, ConfigErrorKind::Patch(error)))
    }

    fn error(&self, place: Place, kind: ConfigErrorKind) -> ConfigError {
        ConfigError::at(&self.sources, place, kind)
    }
}

/// Whether each is a document of its own that is not there yet.
fn all_new(added: &[Node], documents: &[Node], schema: &Schema) -> bool {
    let there: Vec<_> = documents.iter().map(|document| DocumentId::of(document).identity(schema)).collect();
    added.iter().all(|document| !there.contains(&DocumentId::of(document).identity(schema)))
}

/// The operator's bytes, octet for octet, and documents behind them.
fn with_documents_behind(bytes: &Secret, documents: &[Node]) -> Secret {
    let mut config = bytes.expose().to_vec();
    if !documents.is_empty() {
        if !config.ends_with(b"\n") {
            config.push(b'\n');
        }
        config.extend_from_slice(b"---\n");
        config.extend_from_slice(write(documents).text.as_bytes());
    }
    Secret::new(config)
}

/// The release that a base config was made for, by the tag of its installer image; none where it says nothing of the kind.
#[must_use]
pub fn contract_of(documents: &[Node]) -> Option<Contract> {
    let config = documents.iter().find(|document| DocumentId::of(document).is_v1alpha1())?;
    let (_, tag) = config.text_at(&["machine", "install", "image"])?.rsplit_once(':')?;
    tag.split('@').next()?.parse().ok()
}

/// The release that a base config was made for; the newest that is known where the config does not say.
///
/// # Errors
/// When it is not YAML.
pub fn contract_of_text(text: &Secret, source: &Source) -> Result<Contract, ConfigError> {
    let documents = yaml::read(text.expose(), 0, Budget::default())
        .map_err(|error| ConfigError::at(std::slice::from_ref(source), error.place, ConfigErrorKind::Yaml(error)))?;
    Ok(contract_of(&documents).unwrap_or(Contract::NEWEST))
}

/// Hides what is secret in documents that a person wants to look at, by the names of the fields.
pub fn hide_secrets(node: &mut Node) {
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::Sequence(sequence) => {
            for item in &mut sequence.items {
                let variable = item.as_scalar().and_then(|scalar| scalar.value().split_once('=')).map(|(name, _)| name.to_owned());
                match variable {
                    Some(name) if is_secret(&name) => item.value = Value::Scalar(yaml::Scalar::plain(&format!("{name}=(secret)"))),
                    _ => hide_secrets(item),
                }
            }
        }
        Value::Mapping(mapping) => {
            for entry in &mut mapping.entries {
                if is_secret(entry.key_text()) && entry.value.as_str().is_some_and(|value| !value.is_empty()) {
                    entry.value.value = Value::Scalar(yaml::Scalar::plain("(secret)"));
                } else {
                    hide_secrets(&mut entry.value);
                }
            }
        }
    }
}

/// Fields and variables that hold secrets somewhere in a machine config. What a file holds nobody knows.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(name.as_str(), "key" | "token" | "auth" | "content" | "contents")
        || ["secret", "password", "passphrase", "privatekey", "presharedkey", "authkey", "auth_key", "identitytoken", "_token"]
            .iter()
            .any(|part| name.contains(part))
}
