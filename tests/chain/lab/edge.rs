//! The lab's edge box: the real program, in its own namespace between site and WAN.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fairlead::failure::Result;

use super::files::{create_directory, write};
use super::log_file::LogFile;
use super::namespace::Namespace;
use super::network::EDGE_ADDRESS;
use super::process::{Daemon, run};
use super::programs;

/// Who hands out addresses at the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The edge.
    Server,
    /// A server of somebody else's; the edge answers beside it.
    Proxy,
}

/// An edge box that was set up, and runs or not.
#[derive(Debug)]
pub(crate) struct Edge {
    config: PathBuf,
    log: PathBuf,
    daemon: Option<Daemon>,
}

impl Edge {
    /// Sets up the box and joins it to the cloud with its token.
    pub(crate) fn join(directory: &Path, namespace: &Namespace, mode: Mode, token: &str) -> Result<Self> {
        create_directory(directory)?;
        let (config, token_file) = (directory.join("edge.toml"), directory.join("join-token"));
        let (mode, subnet) = match mode {
            Mode::Server => (
                "server",
                format!(
                    "\n[[subnet]]\nnetwork = \"192.0.2.0/24\"\npools = [\"192.0.2.100-192.0.2.199\"]\nrouters = [\"{EDGE_ADDRESS}\"]\nlease_time = \"1h\"\n"
                ),
            ),
            Mode::Proxy => ("proxy", String::new()),
        };
        let state = directory.join("state");
        write(
            &config,
            format!(
                "state_dir = \"{}\"\n\n[[interface]]\nname = \"lan0\"\nmode = \"{mode}\"\naddress = \"{EDGE_ADDRESS}\"\n{subnet}",
                state.display()
            ),
        )?;
        write(&token_file, token)?;
        let mut command = namespace.command(programs().edge);
        run(command.args(["--log", "warn", "--config"]).arg(&config).args(["join", "--token-file"]).arg(&token_file))?;
        Ok(Self { config, log: directory.join("edge.log"), daemon: None })
    }

    /// Serves, from now on.
    pub(crate) fn start(&mut self, namespace: &Namespace) -> Result<()> {
        let before = LogFile::new(&self.log).later_lines();
        let mut command = namespace.command(programs().edge);
        let mut daemon = Daemon::start("fairlead-edge", command.arg("--config").arg(&self.config).arg("run"), &self.log)?;
        for (step, line) in
            [("the edge serves its site", "serves its site"), ("the edge has the site's settings and firmware", "are in use")]
        {
            before.wait_while(step, line, Duration::from_secs(60), &mut || daemon.has_ended())?;
        }
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Its log.
    pub(crate) fn log(&self) -> LogFile {
        LogFile::new(&self.log)
    }
}
