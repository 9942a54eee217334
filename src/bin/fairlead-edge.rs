//! fairlead-edge: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser as _;
use fairlead::command_line::finish;
use fairlead::edge::command::EdgeArguments;

fn main() -> ExitCode {
    finish(EdgeArguments::parse().run())
}
