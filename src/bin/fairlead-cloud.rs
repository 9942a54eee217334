//! fairlead-cloud: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser as _;
use fairlead::cloud::command::CloudArguments;
use fairlead::command_line::finish;

fn main() -> ExitCode {
    finish(CloudArguments::parse().run())
}
