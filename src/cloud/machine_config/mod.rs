//! What a node is to become: an operator's machine config, patches over it by Talos' own rules, and what Fairlead adds.
//!
//! Plain functions without store, clock or I/O. [`Plan`] reads the [`Layer`]s that nodes share and merges them once;
//! [`Plan::render`] makes the config of one node of it, checks it as Talos will, and says which layer gave each line.
//!
//! - [`yaml`]: a tree that keeps each scalar's text.
//! - [`schema`]: what each Talos release knows.
//! - [`structure`], `rules`: what Talos' decoder and its validation refuse.
//! - [`patch`]: strategic merge and RFC 6902.
//! - [`import`]: what an operator brings.

mod additions;
mod base;
mod diff;
pub mod document;
mod documents;
mod explain;
pub mod import;
pub mod kernel_arguments;
mod labels;
mod layer;
pub mod patch;
mod render;
mod rules;
pub mod schema;
pub mod structure;
mod template;
pub mod yaml;

pub use additions::{Additions, Tailscale};
pub use base::BaseConfig;
pub use diff::{Difference, diff};
pub use documents::trusted_roots;
pub use explain::{Line, explain};
pub use layer::{ConfigError, ConfigErrorKind, Layer, Level, Source};
pub use render::{Plan, Rendered, contract_of, contract_of_text, hide_secrets};
pub use template::{Fact, Facts, TemplateError, TemplateErrorKind};

#[cfg(test)]
mod tests;
