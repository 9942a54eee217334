//! Keys, certificates and verifiers.
//!
//! - `authority`: the cloud's certificate authority (feature `cloud`).
//! - `pinned_root`: how a box knows its cloud: the server's chain must contain the one root whose fingerprint was pinned (feature `edge`).
//! - `request`: the keys that a box makes for itself, and its requests for certificates (feature `edge`).
//! - `certificate`: what a certificate chain in PEM says about itself (feature `edge`).

#[cfg(feature = "cloud")]
pub mod authority;
#[cfg(feature = "edge")]
pub mod certificate;
#[cfg(feature = "edge")]
pub mod pinned_root;
#[cfg(feature = "edge")]
pub mod request;

// The edge's tests need a cloud to talk to, also when they are built without the cloud.
#[cfg(test)]
#[cfg(feature = "edge")]
pub(crate) mod test_authority;
