//! What both programs do around a command: parse arguments, set up logs, print a failure, hand out completions and man pages.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::{Command, ValueEnum};
use clap_complete::Shell;

use crate::failure::Failure;

/// How log lines are written to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Starts logging to standard error; `filter` is in `tracing`'s syntax, such as `info` or `fairlead::edge=debug`.
///
/// # Errors
/// When the filter can't be read.
pub fn start_logging(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter).map_err(|error| {
        Failure::new(format!("cannot understand the log filter `{filter}`"))
            .cause(&error)
            .hint("use a level (error, warn, info, debug, trace) or pairs such as `info,fairlead::edge::dhcp=debug`")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// Prints the outcome of a command and turns it into the program's exit code: 0 for success, 1 for a failure.
#[must_use]
pub fn finish(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Standard error may be closed; there is nobody left to tell then.
            drop(writeln!(io::stderr(), "{failure}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes one line to standard output, the command's answer.
///
/// # Errors
/// When standard output is closed or full.
pub fn say(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(|error| Failure::new("cannot write to standard output").cause(&error))
}

/// Writes the completion script of `command` for `shell`.
///
/// # Errors
/// When standard output is closed or full.
pub fn write_completions(mut command: Command, shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    write_all(&script)
}

/// Writes the man page of `command`, in roff; subcommands, and theirs, are described behind it.
///
/// # Errors
/// When standard output is closed or full.
pub fn write_man_page(command: Command) -> Result<(), Failure> {
    let mut page = Vec::new();
    let name = command.get_name().to_owned();
    render_man_page(&mut page, &name, command).map_err(|error| Failure::new("cannot render the man page").cause(&error))?;
    write_all(&page)
}

fn render_man_page(page: &mut Vec<u8>, title: &str, command: Command) -> io::Result<()> {
    let subcommands: Vec<Command> = command.get_subcommands().cloned().collect();
    clap_mangen::Man::new(command).title(title).render(page)?;
    subcommands.into_iter().try_for_each(|subcommand| {
        let title = format!("{title}-{}", subcommand.get_name());
        render_man_page(page, &title, subcommand)
    })
}

fn write_all(bytes: &[u8]) -> Result<(), Failure> {
    io::stdout().write_all(bytes).map_err(|error| Failure::new("cannot write to standard output").cause(&error))
}
