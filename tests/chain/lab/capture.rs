//! What crosses the site's switch, kept and searched with tools that nobody here wrote.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fairlead::failure::{Failure, Result};

use super::network::{BRIDGE, Network};
use super::process::{Daemon, run};

/// A capture that runs until it is searched.
#[derive(Debug)]
pub(crate) struct Capture {
    file: PathBuf,
    tcpdump: Daemon,
}

impl Capture {
    /// Keeps every octet from now on.
    pub(crate) fn start(network: &Network, directory: &Path) -> Result<Self> {
        let file = directory.join("site.pcap");
        let mut command = network.switch.command("tcpdump");
        // Root's tcpdump would change to a user who may not write here.
        command.args(["-Z", "root", "-U", "-s", "0", "-B", "16384", "-i", BRIDGE, "-w"]).arg(&file);
        let mut tcpdump = Daemon::start("tcpdump", &mut command, &directory.join("tcpdump.log"))?;
        tcpdump.wait_for("the capture runs", "listening on", Duration::from_secs(10))?;
        Ok(Self { file, tcpdump })
    }

    /// Ends the capture.
    pub(crate) fn finish(mut self) -> FinishedCapture {
        self.tcpdump.stop();
        FinishedCapture { file: self.file }
    }
}

/// A capture that can be searched.
#[derive(Debug)]
pub(crate) struct FinishedCapture {
    file: PathBuf,
}

impl FinishedCapture {
    /// How many frames a display filter of tshark picks.
    pub(crate) fn count(&self, filter: &str) -> Result<usize> {
        Ok(self.frames(filter)?.len())
    }

    /// The numbers of frames that hold these octets, whatever protocol they belong to.
    pub(crate) fn frames_with(&self, octets: &[u8]) -> Result<Vec<u64>> {
        let hexadecimal: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        self.frames(&format!("frame contains {}", hexadecimal.join(":")))
    }

    fn frames(&self, filter: &str) -> Result<Vec<u64>> {
        let listing = run(Command::new("tshark").args(["-n", "-T", "fields", "-e", "frame.number", "-Y", filter, "-r"]).arg(&self.file))?;
        let numbers: std::result::Result<Vec<u64>, _> = listing.lines().map(|line| line.trim().parse()).collect();
        numbers.map_err(|error| Failure::new(format!("tshark answered with something else than frame numbers: {listing}")).cause(&error))
    }
}
