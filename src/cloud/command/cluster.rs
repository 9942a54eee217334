use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Output, table};
use crate::clock;
use crate::cloud::actor::Actor;
use crate::cloud::boot::kernel_command_line;
use crate::cloud::config::CloudConfig;
use crate::cloud::machine_config::BaseConfig;
use crate::cloud::machine_config::kernel_arguments::{self, Part};
use crate::cloud::state::CloudState;
use crate::cloud::store::{Asset, NewCluster, StoreError};
use crate::command_line::say;
use crate::failure::{Failure, Result};
use crate::secret::Secret;
use crate::wire::Name;

#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Add a cluster: the machine config that its nodes get, and what they boot
    Add(Add),
    /// List clusters
    List {
        /// How to answer
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// Name: lower-case letters, digits and hyphens
    name: Name,
    /// Machine config of a worker, as `talosctl gen config` writes it; it goes to nodes byte for byte
    #[arg(long, value_name = "FILE")]
    machine_config: PathBuf,
    /// Kernel of the Talos release
    #[arg(long, value_name = "FILE")]
    kernel: PathBuf,
    /// Initramfs of the Talos release, with the Tailscale extension
    #[arg(long, value_name = "FILE")]
    initramfs: PathBuf,
    /// Kernel arguments of the release, as the Image Factory's `cmdline-metal-<arch>` has them
    #[arg(long, value_name = "ARGUMENTS", required_unless_present = "kernel_args_file", conflicts_with = "kernel_args_file")]
    kernel_args: Option<String>,
    /// File that holds the kernel arguments
    #[arg(long, value_name = "FILE")]
    kernel_args_file: Option<PathBuf>,
    /// File that holds the Tailscale auth key with which nodes join the tailnet
    #[arg(long, value_name = "FILE")]
    tailscale_auth_key_file: Option<PathBuf>,
}

impl ClusterCommand {
    pub(super) fn run(self, config: &CloudConfig, state: &CloudState) -> Result<()> {
        match self {
            Self::Add(add) => add.run(config, state),
            Self::List { output } => list(state, output),
        }
    }
}

impl Add {
    fn run(self, config: &CloudConfig, state: &CloudState) -> Result<()> {
        let tailscale_key = self.tailscale_auth_key_file.as_deref().map(read_tailscale_key).transpose()?;
        let machine_config = Secret::new(read(&self.machine_config, "machine config")?);
        BaseConfig::parse(machine_config.clone(), tailscale_key.is_some()).map_err(|error| {
            Failure::new(format!("cannot use the machine config `{}`", self.machine_config.display())).cause(&error).hint(error.hint())
        })?;
        let kernel_args = self.kernel_arguments(config, state)?;

        // What can be refused is refused by now; the large files come last.
        let blobs = state.blobs();
        let import = |path: &Path| -> Result<Asset> {
            let stored = blobs.import(path).map_err(|error| Failure::new(format!("cannot take in `{}`", path.display())).cause(&error))?;
            Ok(Asset { digest: stored.digest, size: stored.size })
        };
        let (kernel, initramfs) = (import(&self.kernel)?, import(&self.initramfs)?);
        let (name, now) = (self.name.clone(), clock::now());
        let cluster = NewCluster { name: self.name, machine_config, tailscale_key, kernel_args, kernel, initramfs };
        let added = name.clone();
        state.store.transaction(move |tx| {
            tx.add_cluster(&cluster, now)?;
            let detail = format!("kernel {} initramfs {}", kernel.digest, initramfs.digest);
            tx.audit(now, &Actor::Operator, "cluster.add", added.as_str(), &detail);
            Ok::<_, StoreError>(())
        })?;
        say(&format!("added cluster {name}"))?;
        say(&format!("  kernel    {} ({} octets)", kernel.digest, kernel.size))?;
        say(&format!("  initramfs {} ({} octets)", initramfs.digest, initramfs.size))
    }

    fn kernel_arguments(&self, config: &CloudConfig, state: &CloudState) -> Result<String> {
        let text = match (&self.kernel_args, &self.kernel_args_file) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) => String::from_utf8(read(path, "kernel arguments")?)
                .map_err(|_| Failure::new(format!("`{}` is not text", path.display())).hint("write the kernel arguments on one line"))?,
            (None, None) => String::new(),
        };
        let token = Secret::from("x".repeat(32));
        let ours = kernel_command_line("", config.boot_plane.url.as_str(), &state.authority.root_pem(), &token);
        kernel_arguments::assemble(&[Part { whose: "the release", arguments: &text }], ours.expose().len())
            .map_err(|error| Failure::new("cannot use the kernel arguments").cause(&error).hint("leave out what the machines do not need"))
    }
}

fn list(state: &CloudState, output: Output) -> Result<()> {
    let clusters = state.store.read(|tx| tx.clusters())?;
    match output {
        Output::Json => {
            let values: Vec<_> = clusters
                .iter()
                .map(|cluster| {
                    json!({
                        "name": cluster.name, "kernel_args": cluster.kernel_args, "kernel": cluster.kernel.digest,
                        "initramfs": cluster.initramfs.digest, "tailscale": cluster.has_tailscale_key,
                    })
                })
                .collect();
            table::write_json(&values)
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = clusters
                .iter()
                .map(|cluster| {
                    let short = |asset: &Asset| asset.digest.to_string().chars().take(12).collect();
                    let tailnet = if cluster.has_tailscale_key { "yes" } else { "no" };
                    vec![cluster.name.to_string(), short(&cluster.kernel), short(&cluster.initramfs), tailnet.to_owned()]
                })
                .collect();
            table::write(&["NAME", "KERNEL", "INITRAMFS", "TAILNET"], &rows)
        }
    }
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Failure::new(format!("cannot read the {what} `{}`", path.display())).cause(&error))
}

fn read_tailscale_key(path: &Path) -> Result<Secret> {
    let bytes = Secret::new(read(path, "Tailscale auth key")?);
    let key = bytes.expose_str().map(str::trim).unwrap_or_default();
    // It goes into a YAML document as it is.
    let plausible = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if !plausible {
        return Err(Failure::new(format!("`{}` holds no Tailscale auth key", path.display()))
            .hint("write the key alone into the file, such as tskey-auth-…, or headscale's hexadecimal key"));
    }
    Ok(Secret::from(key.to_owned()))
}
