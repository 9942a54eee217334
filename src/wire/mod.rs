//! What crosses between node, edge and cloud, and the identifiers they share.
//!
//! Bytes and text become typed values here; past this module no code checks them again.

mod arch;
mod capability;
mod digest;
mod join_token;
mod mac;
mod name;
pub mod private_option;
mod ticket;
pub mod uplink;
mod uuid;

pub use arch::ClientArch;
pub use capability::{Capability, CapabilityError};
pub use digest::{Digest, Hasher};
pub use join_token::{JoinToken, JoinTokenError};
pub use mac::MacAddr;
pub use name::Name;
pub use ticket::{BootId, Nonce, Ticket, TicketError};
pub use uuid::SystemUuid;

/// Text that is not a value of the type asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseError {
    text: String,
    expected: &'static str,
}

impl ParseError {
    fn new(text: &str, expected: &'static str) -> Self {
        // What came from outside is shown, but not at any length.
        Self { text: text.chars().take(64).collect(), expected }
    }
}

/// Serialises a type through its `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use serde_as_text;
