//! A stand-in for Talos Linux in the chain tests: the first program of a test node's operating system.
//!
//! It gets its machine config by Talos' own rules (the order of sources, `talos.config.early`, trusted roots, statuses and
//! back-off), installs itself to the disk that the config names, and tells on the serial console what it did, in lines that
//! begin with `stand-in:` and are meant to be read by a program. It is not Talos: no Kubernetes, no kexec, no extensions.

mod acquire;
mod console;
mod disk;
mod documents;
mod download;
mod install;
mod kernel_arguments;
mod network;
mod state;
mod system;

use std::process::ExitCode;

use console::say;
use documents::MachineConfig;
use kernel_arguments::KernelArguments;

/// What ends the program; PID 1 can only tell why.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        say("this is the first program of a test node; it runs as PID 1 of a virtual machine and nowhere else");
        return ExitCode::FAILURE;
    }
    if let Err(reason) = live() {
        say(&format!("failed: {reason}"));
    }
    // PID 1 never ends: the kernel would panic. The lab ends the machine when it has seen enough.
    system::idle()
}

fn live() -> Result<()> {
    system::mount_kernel_file_systems()?;
    system::load_modules()?;
    let arguments = KernelArguments::of_this_boot()?;
    say(&format!("kernel command line: {}", arguments.text()));
    let medium = if arguments.has("stand_in.boot=disk") { "disk" } else { "network" };

    if let Some(partition) = disk::find_partition(state::PARTITION_NAME)?
        && let Some(bytes) = state::read(&partition)?
    {
        let config = MachineConfig::parse(&bytes).map_err(|error| format!("the config on {} is broken: {error}", partition.display()))?;
        say(&format!("booted from {medium} source=STATE {}", config.describe()));
        return Ok(());
    }
    if medium == "disk" {
        return Err("booted from disk, and there is no config in STATE".to_owned());
    }
    arguments.require_what_talos_requires()?;
    let Some((source, config)) = acquire::machine_config(&arguments)? else {
        say("maintenance mode: no source had a v1alpha1 document");
        return Ok(());
    };
    say(&format!("config complete source={source} {}", config.describe()));
    let target = config.install_disk().ok_or("the config has no machine.install.disk")?;
    install::to_disk(target, &config)?;
    say(&format!("installed disk={target}"));
    system::reboot()
}
