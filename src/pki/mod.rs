//! Keys, certificates and verifiers.

#[cfg(feature = "cloud")]
pub mod authority;
