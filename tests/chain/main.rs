//! The chain, end to end, on real firmware: the demo, and the tests of what must work and of what must not.
//!
//! `cargo test --test chain` runs the tests, `cargo test --test chain -- demo` the demo.

mod demo;
mod lab;
mod story;
mod trials;

use std::process::ExitCode;

use fairlead::command_line::{finish, say};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["demo"] => finish(demo::run()),
        [lab::dhcp_client::SUBCOMMAND, mac, uuid] => finish(lab::dhcp_client::run_client(mac, uuid).and_then(|answer| say(&answer))),
        _ => trials::run(),
    }
}
