//! Who does something: every change says it, and the audit log keeps it.

use std::fmt;

use crate::wire::Name;

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Whoever may run commands on the state folder.
    Operator,
    /// The box of a site, or a machine that it vouches for.
    Site(Name),
    /// A node, with its one-time token.
    Node(i64),
    /// The cloud by itself, as by a site's policy.
    Cloud,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::Site(name) => write!(f, "site {name}"),
            Self::Node(id) => write!(f, "node {id}"),
            Self::Cloud => f.write_str("cloud"),
        }
    }
}
