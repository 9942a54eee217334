//! The servers that are measured.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fairlead::failure::{Failure, Result};
use fairlead_lab::Programs;
use fairlead_lab::files::{create_directory, read, write};
use fairlead_lab::joined_box::JoinedBox;
use fairlead_lab::process::Daemon;

use super::leases;
use super::site::{FIRST, LAST, NETWORK, SERVER, SERVER_INTERFACE, Site};

/// A server to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// fairlead-edge.
    Ours,
    /// Kea with its leases in memory and a file, in one thread.
    KeaSingle,
    /// The same with its packet threads.
    KeaMulti,
    /// dnsmasq.
    Dnsmasq,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours",
            Self::KeaSingle => "kea-single",
            Self::KeaMulti => "kea-multi",
            Self::Dnsmasq => "dnsmasq",
        })
    }
}

/// A server that answers.
pub(crate) struct Running {
    daemon: Daemon,
    /// From its start to its first answer.
    pub(crate) start_took: Duration,
}

/// What servers are started with.
pub(crate) struct Yard<'a> {
    pub(crate) site: &'a Site,
    pub(crate) programs: &'a Programs,
    pub(crate) joined: &'a JoinedBox,
    /// A folder for this one server, which is not there yet.
    pub(crate) folder: PathBuf,
}

impl Yard<'_> {
    /// Starts a server that has `count` leases of perfdhcp's first clients, and waits for its first answer.
    pub(crate) fn start(&self, kind: Kind, count: u32) -> Result<Running> {
        create_directory(&self.folder)?;
        let mut command = match kind {
            Kind::Ours => {
                let (state, config) = (self.folder.join("state"), self.folder.join("edge.toml"));
                self.joined.copy_to(&state)?;
                leases::write_ours(&state.join("leases"), count)?;
                write(&config, ours(&state))?;
                let mut command = self.site.server_command(&self.programs.edge.to_string_lossy());
                command.arg("--config").arg(&config).arg("run");
                command
            }
            Kind::KeaSingle | Kind::KeaMulti => {
                let (file, config) = (self.folder.join("leases.csv"), self.folder.join("kea.json"));
                leases::write_kea(&file, count)?;
                write(&config, kea(&file, kind == Kind::KeaMulti))?;
                let mut command = self.site.server_command("kea-dhcp4");
                // Kea's own lock and process files, out of the way of a Kea that this machine may run.
                command.env("KEA_PIDFILE_DIR", &self.folder).env("KEA_LOCKFILE_DIR", &self.folder).arg("-c").arg(&config);
                command
            }
            Kind::Dnsmasq => {
                let file = self.folder.join("dnsmasq.leases");
                leases::write_dnsmasq(&file, count)?;
                let mut command = self.site.server_command("dnsmasq");
                command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--quiet-dhcp", "--no-ping"]);
                command.args(["--dhcp-authoritative", "--dhcp-lease-max=2000000", "--bind-interfaces", "--pid-file="]);
                command.arg(format!("--interface={SERVER_INTERFACE}")).arg(format!("--dhcp-leasefile={}", file.display()));
                command.arg(format!("--dhcp-range={FIRST},{LAST},255.0.0.0,1h"));
                command
            }
        };
        let log = self.folder.join("log");
        let begun = Instant::now();
        let daemon = Daemon::start(&kind.to_string(), &mut command, &log)?;
        let answered = self.site.first_answer(Duration::from_secs(120));
        let start_took = begun.elapsed();
        if let Err(failure) = answered {
            let log = String::from_utf8_lossy(&read(&log)?).into_owned();
            return Err(failure.because(format!("{kind} wrote: {}", log.trim())));
        }
        Ok(Running { daemon, start_took })
    }
}

impl Running {
    /// Resident memory in octets.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = self.about_process("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kibibytes.map(|count| count * 1024).ok_or_else(|| Failure::new("the kernel does not tell the server's memory"))
    }

    /// The processor time that it has used, by all its threads, in user and in kernel mode.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        // Nanoseconds on a processor come first in schedstat; `stat` counts in hundredths of a second, too coarse for a short run.
        let folder = format!("/proc/{}/task", self.daemon.id());
        let failed = |error: std::io::Error| Failure::new("the kernel does not tell the server's threads").cause(&error);
        let mut all = 0;
        for thread in std::fs::read_dir(folder).map_err(failed)? {
            let text = std::fs::read_to_string(thread.map_err(failed)?.path().join("schedstat")).map_err(failed)?;
            all += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(all))
    }

    fn about_process(&self, what: &str) -> Result<String> {
        read(Path::new(&format!("/proc/{}/{what}", self.daemon.id()))).map(|octets| String::from_utf8_lossy(&octets).into_owned())
    }
}

/// Addresses are not probed: Kea 2.2 can't, and dnsmasq is told not to.
fn ours(state: &Path) -> String {
    format!(
        "state_dir = \"{}\"\nlog = \"warn\"\n\n[[interface]]\nname = \"{SERVER_INTERFACE}\"\nmode = \"server\"\naddress = \"{SERVER}\"\n\n\
         [[subnet]]\nnetwork = \"{NETWORK}\"\npools = [\"{FIRST}-{LAST}\"]\nlease_time = \"1h\"\n\n\
         [dhcp]\nconflict_probe = false\n",
        state.display()
    )
}

fn kea(leases: &Path, threads: bool) -> String {
    format!(
        r#"{{"Dhcp4": {{
            "interfaces-config": {{"interfaces": ["{SERVER_INTERFACE}"]}},
            "multi-threading": {{"enable-multi-threading": {threads}}},
            "lease-database": {{"type": "memfile", "persist": true, "name": "{}", "lfc-interval": 3600}},
            "valid-lifetime": 3600,
            "subnet4": [{{"id": 1, "subnet": "{NETWORK}", "pools": [{{"pool": "{FIRST}-{LAST}"}}]}}],
            "loggers": [{{"name": "kea-dhcp4", "severity": "WARN", "output_options": [{{"output": "stderr"}}]}}]
        }}}}"#,
        leases.display()
    )
}
