//! The servers that are measured.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fairlead::failure::{Failure, Result};
use fairlead::wire::Digest;
use fairlead_lab::Programs;
use fairlead_lab::files::{create_directory, read, write};
use fairlead_lab::joined_box::JoinedBox;
use fairlead_lab::process::{Daemon, run};

use super::reader::{self, Wish};
use super::site::{SERVER, SERVER_INTERFACE, Site, reader};

/// A server to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// fairlead-edge.
    Ours,
    /// tftpd-hpa: one process for each transfer.
    TftpdHpa,
    /// dnsmasq: one process for all.
    Dnsmasq,
    /// The `tftpd` crate: one thread for each transfer.
    Tftpd,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours",
            Self::TftpdHpa => "tftpd-hpa",
            Self::Dnsmasq => "dnsmasq",
            Self::Tftpd => "tftpd",
        })
    }
}

/// What servers are started with.
pub(crate) struct Yard {
    pub(crate) site: Site,
    pub(crate) programs: Programs,
    pub(crate) joined: JoinedBox,
    pub(crate) tftpd_hpa: PathBuf,
    pub(crate) folder: PathBuf,
}

/// A server that answers.
pub(crate) struct Running(Daemon);

impl Yard {
    /// Starts a server of one file, in a folder of that name which is not there yet, and waits for its first answer.
    pub(crate) fn start(&self, kind: Kind, folder: &str, file: &str, content: &[u8]) -> Result<Running> {
        let folder = self.folder.join(folder);
        let root = folder.join("root");
        create_directory(&root)?;
        let root_text = root.display().to_string();
        let listen = format!("{SERVER}:69");
        let mut command = match kind {
            Kind::Ours => {
                let (state, config) = (folder.join("state"), folder.join("edge.toml"));
                self.joined.copy_to(&state)?;
                add_firmware(&state, file, content)?;
                write(
                    &config,
                    format!(
                        "state_dir = \"{}\"\nlog = \"warn\"\n[[interface]]\nname = \"{SERVER_INTERFACE}\"\nmode = \"proxy\"\naddress = \"{SERVER}\"\n",
                        state.display()
                    ),
                )?;
                let mut command = self.site.server_command(&self.programs.edge.to_string_lossy());
                command.arg("--config").arg(&config).arg("run");
                command
            }
            Kind::TftpdHpa => {
                let mut command = self.site.server_command(&self.tftpd_hpa.to_string_lossy());
                command.args(["-L", "-u", "root", "-B", "65464", "-a", &listen, "-s", &root_text]);
                command
            }
            Kind::Dnsmasq => {
                let mut command = self.site.server_command("dnsmasq");
                command.args([
                    "--keep-in-foreground",
                    "--conf-file=/dev/null",
                    "--port=0",
                    "--user=root",
                    "--bind-interfaces",
                    "--pid-file=",
                ]);
                // Its blocks are no longer than its buffer for DNS.
                command.args(["--enable-tftp", "--tftp-max=1000", "--edns-packet-max=9000"]);
                command.arg(format!("--interface={SERVER_INTERFACE}")).arg(format!("--tftp-root={root_text}"));
                command
            }
            Kind::Tftpd => {
                let program = std::env::var("TFTPD").map_err(|_| {
                    Failure::new("the `tftpd` crate's program is missing")
                        .hint("`make bench-delivery` builds it and says in TFTPD where it is")
                })?;
                let mut command = self.site.server_command(&program);
                command.args(["-q", "-r", "-i", &SERVER.to_string(), "-p", "69", "-d", &root_text]);
                command
            }
        };
        if kind != Kind::Ours {
            write(&root.join(file), content)?;
        }
        let log = folder.join("log");
        let daemon = Daemon::start(&kind.to_string(), &mut command, &log)?;
        let begun = Instant::now();
        loop {
            let answered = self.site.as_reader(|| reader::read(reader(1), file, Wish { block_size: 8192, window: 1 }));
            match answered {
                Ok(_) => return Ok(Running(daemon)),
                Err(failure) if begun.elapsed() > Duration::from_secs(30) => {
                    let log = String::from_utf8_lossy(&read(&log)?).into_owned();
                    return Err(failure.because(format!("{kind} wrote: {}", log.trim())));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

/// Puts one more file among those that the box had from its cloud.
fn add_firmware(state: &Path, file: &str, content: &[u8]) -> Result<()> {
    let path = state.join("settings.json");
    let unreadable = |error: serde_json::Error| Failure::new("cannot read the settings of the benchmark's box").cause(&error);
    let mut stored: serde_json::Value = serde_json::from_slice(&read(&path)?).map_err(unreadable)?;
    let digest = Digest::of(content);
    let files = stored.pointer_mut("/settings/firmware").and_then(serde_json::Value::as_array_mut);
    let files = files.ok_or_else(|| Failure::new("the settings of the benchmark's box name no firmware"))?;
    files.push(serde_json::json!({"name": file, "sha256": digest, "size": content.len()}));
    write(&path, stored.to_string())?;
    write(&state.join("firmware").join(digest.to_string()), content)
}

impl Running {
    /// The memory of the server and of all processes that it began, in octets: what each has for itself, and its share of the rest.
    pub(crate) fn memory(&self) -> Result<u64> {
        let mut all = vec![self.0.id()];
        let mut sum = 0;
        while let Some(id) = all.pop() {
            let children = run(std::process::Command::new("pgrep").args(["-P", &id.to_string()])).unwrap_or_default();
            all.extend(children.lines().filter_map(|line| line.trim().parse::<u32>().ok()));
            // A process that has just ended has no memory.
            let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            sum += line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024;
        }
        if sum == 0 {
            return Err(Failure::new("the kernel does not tell the server's memory"));
        }
        Ok(sum)
    }
}
