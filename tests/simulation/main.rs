//! A simulated year of a site with 5,000 machines: the real engine through its public API, everything around it simulated.
//!
//! `FAIRLEAD_SEED=… cargo test --test simulation` replays a year; without it there are a fixed one and one that nobody has seen.
//! What is promised, and what a clock that is set may take from it, stands in [`oracle`].

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a failed expectation is how a test reports"
)]
#![expect(unreachable_pub, reason = "the fuzz targets are built of the same modules, as a library")]

mod dice;
mod flood;
mod fortnight;
mod machine;
mod message;
mod oracle;
mod plan;
mod site;
mod strangers;
mod year;
