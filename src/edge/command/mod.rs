//! What an operator types: `fairlead-edge COMMAND`.

mod check;
mod explain;
mod join;
mod lease;
mod lease_change;
mod reload;
mod status;

use std::future::Future;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::command_line::{self, LogFormat};
use crate::edge::config::{DEFAULT_PATH, EdgeConfig};
use crate::edge::run::run;
use crate::failure::{Failure, Result};

/// The arguments of `fairlead-edge`.
#[derive(Debug, Parser)]
#[command(name = "fairlead-edge", version, about, long_about = LONG_ABOUT, after_help = AFTER_HELP, subcommand_required = true)]
#[command(about = "The box at the site: boots its machines from the network and vouches for them to the cloud")]
pub struct EdgeArguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "The box at the site: answers DHCP or proxyDHCP, hands out sealed firmware over TFTP and HTTP, signs boot tickets with \
                          a key that never leaves it, and goes on doing so when the cloud can't be reached.";
const AFTER_HELP: &str = "First steps:\n  fairlead-edge join --token-file TOKEN     (the token is what `fairlead-cloud site add` prints)\n  \
                          fairlead-edge check\n  fairlead-edge run\n\nExit code: 0 when all went well, 1 after an error (told on standard error), 2 for \
                          wrong arguments.";

#[derive(Debug, Args)]
struct Global {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_PATH, env = "FAIRLEAD_EDGE_CONFIG")]
    config: PathBuf,
    /// What to log to standard error instead of what the configuration says: error, warn, info, debug, trace, or pairs such as
    /// fairlead::edge=debug
    #[arg(long, global = true, value_name = "FILTER", env = "FAIRLEAD_LOG")]
    log: Option<String>,
    /// How to write log lines instead of how the configuration says
    #[arg(long, global = true, value_enum, env = "FAIRLEAD_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make this box its site's: make keys, spend a join token, store who the box is
    Join(join::JoinArguments),
    /// Check configuration, interfaces, state folder, identity and ports, and say what is there
    Check,
    /// Serve the site until SIGTERM or SIGINT
    Run,
    /// Have the running box read its configuration again: all of it is taken, or nothing
    Reload,
    /// Explain what a machine would be answered over DHCP, and which line of the configuration says so
    Explain(explain::ExplainArguments),
    /// Say how the running box is: its subnets, their leases, what was not answered
    Status(status::StatusArguments),
    /// Look at leases, free them, take them over from another server
    Lease(lease::LeaseArguments),
    /// Write a completion script for a shell to standard output
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the man page to standard output
    Man,
}

impl EdgeArguments {
    /// Runs the command.
    ///
    /// # Errors
    /// With what went wrong and what to do about it.
    pub fn run(self) -> Result<()> {
        let Self { global, command } = self;
        match command {
            Command::Join(arguments) => in_runtime(join::join(arguments, global.load()?)),
            Command::Check => in_runtime(check::check(&global.config)),
            Command::Status(arguments) => status::run(&arguments, &global.load()?),
            Command::Lease(arguments) => lease::run(arguments, &global.load()?),
            Command::Reload => reload::reload(&global.config),
            Command::Explain(arguments) => explain::run(&arguments, &global.config),
            Command::Run => in_runtime(run(global.load()?, global.config)),
            Command::Completions { shell } => command_line::write_completions(Self::command(), shell),
            Command::Man => command_line::write_man_page(Self::command()),
        }
    }
}

impl Global {
    /// Reads the configuration and starts logging as it says.
    fn load(&self) -> Result<EdgeConfig> {
        let config = EdgeConfig::load(&self.config)?;
        let filter = self.log.as_deref().unwrap_or(&config.log);
        command_line::start_logging(filter, self.log_format.unwrap_or(config.log_format))?;
        Ok(config)
    }
}

fn in_runtime(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::new("cannot start the program's threads").cause(&error))?;
    runtime.block_on(work)
}
