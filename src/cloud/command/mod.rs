//! What an operator types: `fairlead-cloud COMMAND`.

mod audit;
mod class;
mod cluster;
mod config;
mod node;
mod session;
mod site;
mod store;
mod table;

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::cloud::config::{CloudConfig, DEFAULT_PATH};
use crate::cloud::serve::serve;
use crate::cloud::state::{CloudState, Patience};
use crate::cloud::store::StoreError;
use crate::command_line::{self, LogFormat, say};
use crate::failure::{Failure, Result};
use crate::firmware::SealedSet;

/// The arguments of `fairlead-cloud`.
#[derive(Debug, Parser)]
#[command(name = "fairlead-cloud", version, about, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub struct CloudArguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "The cloud side of Fairlead: knows sites, clusters and nodes, decides who may boot, and hands each node its boot script, \
                          kernel, initramfs and machine config.";
const AFTER_HELP: &str = "First steps:\n  fairlead-cloud init\n  fairlead-cloud firmware build\n  fairlead-cloud cluster add NAME --machine-config worker.yaml \
                          --kernel vmlinuz --initramfs initramfs.xz --kernel-args-file cmdline\n  fairlead-cloud site add NAME --cluster NAME\n  fairlead-cloud serve";

#[derive(Debug, Args)]
struct Global {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_PATH, env = "FAIRLEAD_CLOUD_CONFIG")]
    config: PathBuf,
    /// What to log to standard error: error, warn, info, debug, trace, or pairs such as fairlead::cloud=debug
    #[arg(long, global = true, value_name = "FILTER", default_value = "info", env = "FAIRLEAD_LOG")]
    log: String,
    /// How to write log lines
    #[arg(long, global = true, value_enum, default_value_t, env = "FAIRLEAD_LOG_FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the state folder: root, issuing CA, keys and database
    Init,
    /// Serve nodes and sites
    Serve,
    /// Check the configuration and the state folder, and say what is there
    Check,
    /// Clusters: what nodes become members of
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Machine configs: render them from files, look at them, compare them
    #[command(subcommand)]
    Config(Box<config::ConfigCommand>),
    /// Sites: where nodes are, each with an edge box
    #[command(subcommand)]
    Site(site::SiteCommand),
    /// Nodes: who may boot
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Classes: nodes that are alike, and their labels
    #[command(subcommand)]
    Class(class::ClassCommand),
    /// Boots, step by step
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// What was decided, changed and handed out, by whom and when
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Write a copy of the SQLite database to a file, while `serve` runs
    Backup {
        /// The file
        file: PathBuf,
    },
    /// Put a backup in the place of the SQLite database, while `serve` does not run
    Restore {
        /// The file that `backup` wrote
        file: PathBuf,
    },
    /// Write all that the store holds to a file, to carry it to another database
    Export {
        /// The file
        file: PathBuf,
    },
    /// Take in what `export` wrote, into a store that is empty
    Import {
        /// The file
        file: PathBuf,
    },
    /// The store's key
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// The iPXE files that sites serve to their nodes
    #[command(subcommand)]
    Firmware(crate::firmware::command::FirmwareCommand),
    /// Write a completion script for a shell to standard output
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the man page to standard output
    Man,
}

/// How a command answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

impl CloudArguments {
    /// Runs the command.
    ///
    /// # Errors
    /// With what went wrong and what to do about it.
    pub fn run(self) -> Result<()> {
        let Self { global, command } = self;
        command_line::start_logging(&global.log, global.log_format)?;
        let load = || CloudConfig::load(&global.config);
        let open = || {
            let config = load()?;
            CloudState::open(&config.state_dir, &config.store, Patience::None)
        };
        match command {
            Command::Init => init(&load()?),
            Command::Serve => run_serve(load()?),
            Command::Check => check(&load()?),
            Command::Cluster(command) => command.run(&load()?, &open()?),
            Command::Config(command) => command.run(),
            Command::Site(command) => command.run(&load()?, &open()?),
            Command::Node(command) => command.run(&open()?),
            Command::Class(command) => command.run(&open()?),
            Command::Session(command) => command.run(&open()?),
            Command::Audit(command) => command.run(&open()?),
            Command::Backup { file } => store::back_up(&load()?, &open()?, &file),
            Command::Restore { file } => store::restore(&load()?, &file),
            Command::Export { file } => store::export(&open()?, &file),
            Command::Import { file } => store::import(&load()?, &file),
            Command::Store(command) => command.run(&load()?, &open()?),
            Command::Firmware(command) => {
                // Some of it works before there is a cloud.
                let state = open();
                command.run(state.map(|state| (state.authority.root_fingerprint(), state.firmware_folder())))
            }
            Command::Completions { shell } => command_line::write_completions(Self::command(), shell),
            Command::Man => command_line::write_man_page(Self::command()),
        }
    }
}

fn init(config: &CloudConfig) -> Result<()> {
    let fingerprint = CloudState::init(&config.state_dir, &config.store)?;
    let folder = config.state_dir.display();
    say(&format!("made a cloud in `{folder}`"))?;
    say(&format!("root fingerprint: {fingerprint}"))?;
    say("next: `fairlead-cloud firmware build` seals that into the firmware")?;
    say(&format!("keep a copy of `{folder}` where nobody else reads it: without it every site has to join anew"))
}

fn run_serve(config: CloudConfig) -> Result<()> {
    let state = CloudState::open(&config.state_dir, &config.store, Patience::Unlimited)?;
    let firmware = open_firmware(&state);
    if let Err(failure) = &firmware {
        tracing::warn!("sites get no firmware from this cloud: {}", failure.to_string().replace('\n', "; "));
    }
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::new("cannot start the program's threads").cause(&error))?;
    runtime.block_on(serve(config, state, firmware.ok()))
}

fn open_firmware(state: &CloudState) -> Result<SealedSet> {
    SealedSet::open(&state.firmware_folder(), state.authority.root_fingerprint())
        .map_err(|error| Failure::new("there is no sealed firmware").cause(&error).hint("make it with `fairlead-cloud firmware build`"))
}

fn check(config: &CloudConfig) -> Result<()> {
    let state = CloudState::open(&config.state_dir, &config.store, Patience::None)?;
    say(&format!("ok: state folder `{}`, root {}", config.state_dir.display(), state.authority.root_fingerprint()))?;
    let blobs = state.blobs();
    let clusters = state.store.read(|tx| tx.clusters())?;
    for cluster in &clusters {
        for (what, asset) in [("kernel", cluster.kernel), ("initramfs", cluster.initramfs)] {
            blobs.verify(asset.digest).map_err(|error| {
                Failure::new(format!("the {what} of cluster `{}` is not good", cluster.name))
                    .cause(&error)
                    .hint("add the cluster's kernel and initramfs again")
            })?;
        }
        say(&format!("ok: cluster {}, kernel {}, initramfs {}", cluster.name, cluster.kernel.digest, cluster.initramfs.digest))?;
    }
    let firmware = open_firmware(&state)?;
    for file in firmware.files() {
        say(&format!("ok: firmware {}, {} octets, {}", file.name, file.size, file.sha256))?;
    }
    Ok(())
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let hint = match &error {
            StoreError::Exists { .. } => "choose another name",
            StoreError::NotThere { kind: "site", .. } => "`fairlead-cloud site list` shows them",
            StoreError::NotThere { .. } => "`fairlead-cloud class list` shows them",
            StoreError::Unreachable { .. } => "is it running, and is `store.url` right? `psql` with the same URL tells more",
            StoreError::Unconfirmed => "look whether it was done before you do it again",
            _ => "`fairlead-cloud check` tells whether the state folder is whole",
        };
        Self::new("cannot do that").cause(&error).hint(hint)
    }
}
