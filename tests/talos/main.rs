//! Machine configs, held against Talos' own packages: several releases of them, each as a program in Go that reads, patches and validates.
//!
//! A run is one number: `FAIRLEAD_SEED=731 cargo test --test talos`.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed expectation is how a test reports"
)]

mod corpus;
mod fields;
mod generated;
mod golden;
mod oracle;
mod refusals;
