//! Keys, certificates and verifiers.
//!
//! - [`pinned_root`]: how a box knows its cloud: the server's chain must contain the one root whose fingerprint was pinned.
//! - [`request`]: the keys that a box makes for itself, and its requests for certificates.
//! - [`certificate`]: what a certificate chain in PEM says about itself.
//! - `authority`: the cloud's certificate authority (feature `cloud`).

#[cfg(feature = "cloud")]
pub mod authority;
pub mod certificate;
pub mod pinned_root;
pub mod request;

#[cfg(test)]
#[cfg_attr(not(feature = "edge"), expect(dead_code, reason = "some of it serves the tests of the edge's uplink alone"))]
pub(crate) mod test_authority;
