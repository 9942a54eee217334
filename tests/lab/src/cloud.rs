//! A cloud: the real program, with its state in the run's folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fairlead::failure::{Failure, Result};
use fairlead::wire::Digest;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

use super::files::{create_directory, find_file, read, write};
use super::log_file::LogFile;
use super::namespace::Namespace;
use super::process::{Daemon, run};

/// The port of the plane that nodes talk to.
pub const BOOT_PORT: u16 = 8443;
/// The port of the plane that boxes talk to.
pub const SITE_PORT: u16 = 8444;

/// A cloud that was made, and runs or not.
#[derive(Debug)]
pub struct Cloud {
    program: PathBuf,
    config: PathBuf,
    directory: PathBuf,
    log: PathBuf,
    daemon: Option<Daemon>,
}

/// What a cluster is made of.
#[derive(Clone, Copy, Debug)]
pub struct Cluster<'a> {
    /// Its name.
    pub name: &'a str,
    /// The kernel arguments that its image needs.
    pub kernel_arguments: &'a str,
    /// The operator's machine config.
    pub machine_config: &'a Path,
    /// The kernel.
    pub kernel: &'a Path,
    /// The initramfs.
    pub initramfs: &'a Path,
    /// A file with the key that nodes join the tailnet with.
    pub tailscale_key: &'a Path,
}

impl Cloud {
    /// Makes a cloud: root and firmware. `host` is where its planes listen; `settings` go into its configuration's `[boot_plane]`.
    ///
    /// # Errors
    /// When the program says no, as when the firmware's package can't be fetched.
    pub fn create(program: &Path, directory: &Path, host: &str, settings: &str) -> Result<Self> {
        let state = directory.join("state");
        create_directory(directory)?;
        let config = directory.join("cloud.toml");
        write(
            &config,
            format!(
                "state_dir = \"{}\"\n\n[boot_plane]\nlisten = \"{host}:{BOOT_PORT}\"\nurl = \"https://{host}:{BOOT_PORT}\"\n{settings}\n\
                 [site_plane]\nlisten = \"{host}:{SITE_PORT}\"\nurl = \"https://{host}:{SITE_PORT}\"\n",
                state.display()
            ),
        )?;
        let log = directory.join("cloud.log");
        let cloud = Self { program: program.to_owned(), config, directory: directory.to_owned(), log, daemon: None };
        cloud.run(&["init"])?;
        cloud.run(&["firmware", "build"])?;
        Ok(cloud)
    }

    /// Adds a cluster.
    ///
    /// # Errors
    /// When the program says no.
    pub fn add_cluster(&self, cluster: &Cluster<'_>) -> Result<()> {
        let mut command = self.command();
        command.args(["cluster", "add", cluster.name, "--kernel-args", cluster.kernel_arguments]);
        command.arg("--machine-config").arg(cluster.machine_config).arg("--kernel").arg(cluster.kernel);
        command.arg("--initramfs").arg(cluster.initramfs).arg("--tailscale-auth-key-file").arg(cluster.tailscale_key);
        run(&mut command).map(drop)
    }

    /// Adds a site of the cluster and returns its join token; `admission` is `auto` or `approve`.
    ///
    /// # Errors
    /// When the program says no.
    pub fn add_site(&self, name: &str, cluster: &str, admission: &str) -> Result<String> {
        self.run(&["site", "add", name, "--cluster", cluster, "--admission", admission])
    }

    /// Serves, from now on.
    pub fn start(&mut self, namespace: &Namespace) -> Result<()> {
        let before = LogFile::new(&self.log).later_lines();
        let mut command = namespace.command(&self.program);
        let mut daemon = Daemon::start("fairlead-cloud", command.arg("--config").arg(&self.config).arg("serve"), &self.log)?;
        for plane in ["boot plane listening", "site plane listening"] {
            before.wait_while("the cloud serves", plane, Duration::from_secs(20), &mut || daemon.has_ended())?;
        }
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Stops serving; what it knows stays.
    pub fn stop(&mut self) {
        self.daemon = None;
    }

    /// Changes one octet of a blob on the cloud's disk.
    pub fn tamper_with(&self, digest: Digest) -> Result<()> {
        let name = digest.to_string();
        let path = find_file(&self.directory.join("state"), &|path| path.ends_with(&name))
            .ok_or_else(|| Failure::new(format!("the cloud has no blob {digest}")))?;
        let mut bytes = read(&path)?;
        let middle = bytes.len() / 2;
        if let Some(octet) = bytes.get_mut(middle) {
            *octet ^= 1;
        }
        write(&path, bytes)
    }

    /// Its log.
    pub fn log(&self) -> LogFile {
        LogFile::new(&self.log)
    }

    /// The folder of its configuration, state and log.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The certificate of its root, in PEM.
    pub fn root_certificate(&self) -> PathBuf {
        self.directory.join("state/root.pem")
    }

    /// SHA-256 of its root: what firmware and boxes know it by.
    pub fn root_fingerprint(&self) -> Result<Digest> {
        let path = self.root_certificate();
        let certificate = CertificateDer::from_pem_file(&path)
            .map_err(|error| Failure::new(format!("cannot read `{}`", path.display())).cause(&error))?;
        Ok(Digest::of(&certificate))
    }

    /// The operator's command, as a person would type it.
    pub fn shown_command(&self) -> String {
        format!("{} --config {}", self.program.display(), self.config.display())
    }

    /// Runs one of the operator's commands to its end.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        run(self.command().args(words))
    }

    /// Runs one of the operator's commands and reads its answer.
    pub fn ask(&self, words: &[&str]) -> Result<Value> {
        let answer = run(self.command().args(words).args(["--output", "json"]))?;
        serde_json::from_str(&answer)
            .map_err(|error| Failure::new(format!("`fairlead-cloud {}` did not answer in JSON", words.join(" "))).cause(&error))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--log", "warn", "--config"]).arg(&self.config);
        command
    }
}
