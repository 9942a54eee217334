//! Fairlead takes a bare machine at an edge site from its PXE ROM to a member of a Kubernetes cluster in the cloud.
//!
//! This is the map of the crate:
//!
//! - [`wire`]: what crosses between node, edge and cloud: identifiers, boot tickets, capabilities, join tokens, uplink messages.
//! - [`pki`]: keys, certificates and the verifiers that both programs use.
//! - [`firmware`]: reads pinned iPXE files, embeds the root's fingerprint and seals it.
//! - [`edge`]: the box at the site (feature `edge`).
//! - [`cloud`]: the service in the cloud (feature `cloud`).
//! - [`failure`], [`config_file`], [`clock`], [`secret`], [`durable_file`], [`command_line`]: the one way to report an error,
//!   to read a configuration file, to tell the time, to hold a secret, to write a file that survives a crash, and to run a command.

pub mod clock;
pub mod command_line;
pub mod config_file;
pub mod durable_file;
pub mod failure;
pub mod firmware;
pub mod pki;
pub mod secret;
pub mod wire;

#[cfg(feature = "cloud")]
pub mod cloud;
#[cfg(feature = "edge")]
pub mod edge;
