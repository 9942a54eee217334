//! What a node's config is made of, one layer over another.

use std::fmt;

use super::patch::PatchError;
use super::template::TemplateError;
use super::yaml::{Place, YamlError};
use crate::secret::Secret;

/// How near to a node a layer is. They are laid over one another in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The operator's machine config for this type of node.
    Base,
    /// What all nodes of a cluster get.
    Cluster,
    /// What all nodes of a site get.
    Site,
    /// What all nodes of a class get.
    Class,
    /// What one node gets.
    Node,
    /// What Fairlead adds.
    Fairlead,
}

impl Level {
    /// The level's name, as in `--patch site=FILE`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Cluster => "cluster",
            Self::Site => "site",
            Self::Class => "class",
            Self::Node => "node",
            Self::Fairlead => "fairlead",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a layer comes from, for a person who reads an error or an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// How near to a node.
    pub level: Level,
    /// Which cluster, site, class or node; empty where there is only one.
    pub name: String,
    /// The file, or what stands for it.
    pub file: String,
}

impl Source {
    /// What Fairlead adds.
    #[must_use]
    pub fn fairlead() -> Self {
        Self { level: Level::Fairlead, name: String::new(), file: String::new() }
    }

    /// `site berlin, site.yaml:7`.
    #[must_use]
    pub fn place(&self, line: u32) -> String {
        let mut text = self.level.to_string();
        for (before, part) in [(" ", &self.name), (", ", &self.file)] {
            if !part.is_empty() {
                text.push_str(before);
                text.push_str(part);
            }
        }
        if line > 0 && !self.file.is_empty() {
            text.push(':');
            text.push_str(&line.to_string());
        }
        text
    }
}

/// One layer: the base config, or a patch over it.
#[derive(Debug)]
pub struct Layer {
    /// Where it comes from.
    pub source: Source,
    /// YAML.
    pub text: Secret,
    /// Whether `{{ name }}` in its values stands for a fact of the node. Elsewhere it is text like any other.
    pub template: bool,
}

/// Why a config can't be made. It names layer, file, line and path, and quotes no value.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", source_of.place(*line))]
pub struct ConfigError {
    /// The layer at fault.
    pub source_of: Box<Source>,
    /// The line in it; 0 where there is none.
    pub line: u32,
    /// What is wrong.
    pub kind: ConfigErrorKind,
}

/// What is wrong with a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// Not YAML, or too much of it.
    #[error(transparent)]
    Yaml(YamlError),
    /// Not what Talos takes.
    #[error(transparent)]
    Patch(PatchError),
    /// A template that can't be filled in.
    #[error(transparent)]
    Template(TemplateError),
    /// What Talos' validation refuses.
    #[error("`{path}`: {rule}")]
    Rule {
        /// The field.
        path: String,
        /// What Talos demands.
        rule: String,
    },
    /// The base has no v1alpha1 document.
    #[error("it holds no v1alpha1 document, the one with `machine` and `cluster`")]
    NoMachineConfig,
    /// What is to be added can't be.
    #[error("{0}")]
    Addition(String),
}

impl ConfigError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match &self.kind {
            ConfigErrorKind::Yaml(_) => "put the file in order; `talosctl gen config` writes a good one",
            ConfigErrorKind::Patch(_) => {
                "compare with the reference of the machine config for this Talos release, or name the release with --talos"
            }
            ConfigErrorKind::Template(_) => "correct the template, or give the node the fact that it names",
            ConfigErrorKind::Rule { .. } | ConfigErrorKind::NoMachineConfig => {
                "Talos would refuse the config as well; correct the layer that sets this"
            }
            ConfigErrorKind::Addition(_) => "correct what the cluster, site or class asks to be added",
        }
    }

    pub(super) fn at(sources: &[Source], place: Place, kind: ConfigErrorKind) -> Self {
        let source_of = sources.get(usize::from(place.source)).cloned().unwrap_or_else(Source::fairlead);
        Self { source_of: Box::new(source_of), line: place.line, kind }
    }
}
