//! What an operator brings: machine configs of `talosctl gen config`, or a secrets bundle of `talosctl gen secrets`.

mod generate;
mod inspect;

pub use generate::{GenerateError, Generated, NodeType, SecretsBundle};
pub use inspect::{Finding, Found, Severity, inspect};

#[cfg(test)]
mod tests;
