//! What crosses an interface, kept and searched with tools that nobody here wrote.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fairlead::failure::{Failure, Result};

use super::namespace::Namespace;
use super::process::{Daemon, run};

/// A capture that runs until it is searched.
#[derive(Debug)]
pub struct Capture {
    file: PathBuf,
    tcpdump: Daemon,
}

impl Capture {
    /// Keeps every octet that crosses the interface, from now on, in `NAME.pcap` in that folder.
    ///
    /// # Errors
    /// When tcpdump does not start.
    pub fn start(namespace: &Namespace, interface: &str, directory: &Path, name: &str) -> Result<Self> {
        let file = directory.join(format!("{name}.pcap"));
        let mut command = namespace.command("tcpdump");
        // Root's tcpdump would change to a user who may not write here.
        command.args(["-Z", "root", "-U", "-s", "0", "-B", "16384", "--immediate-mode", "-i", interface, "-w"]).arg(&file);
        let mut tcpdump = Daemon::start("tcpdump", &mut command, &directory.join(format!("{name}.tcpdump.log")))?;
        tcpdump.wait_for("the capture runs", "listening on", Duration::from_secs(10))?;
        Ok(Self { file, tcpdump })
    }

    /// What was captured up to now.
    #[must_use]
    pub fn so_far(&self) -> FinishedCapture {
        FinishedCapture { file: self.file.clone() }
    }

    /// Where the capture is written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Ends the capture.
    pub fn finish(mut self) -> FinishedCapture {
        self.tcpdump.stop();
        FinishedCapture { file: self.file }
    }
}

/// A capture that can be searched.
#[derive(Debug)]
pub struct FinishedCapture {
    file: PathBuf,
}

impl FinishedCapture {
    /// How many frames a display filter of tshark picks.
    pub fn count(&self, filter: &str) -> Result<usize> {
        Ok(self.frames(filter)?.len())
    }

    /// The numbers of frames that hold these octets, whatever protocol they belong to.
    pub fn frames_with(&self, octets: &[u8]) -> Result<Vec<u64>> {
        let hexadecimal: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        self.frames(&format!("frame contains {}", hexadecimal.join(":")))
    }

    /// The values of fields in each frame that a display filter of tshark picks; a field that is not there is empty, one that is there
    /// several times has its values joined by commas.
    ///
    /// # Errors
    /// When tshark can't read the capture or does not know a filter or field.
    pub fn fields(&self, filter: &str, fields: &[&str]) -> Result<Vec<Vec<String>>> {
        let mut command = Command::new("tshark");
        command.args(["-n", "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a", "-Y", filter, "-r"]).arg(&self.file);
        for field in fields {
            command.args(["-e", field]);
        }
        Ok(run(&mut command)?.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    }

    /// Where the capture is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file
    }

    fn frames(&self, filter: &str) -> Result<Vec<u64>> {
        let listing = run(Command::new("tshark").args(["-n", "-T", "fields", "-e", "frame.number", "-Y", filter, "-r"]).arg(&self.file))?;
        let numbers: std::result::Result<Vec<u64>, _> = listing.lines().map(|line| line.trim().parse()).collect();
        numbers.map_err(|error| Failure::new(format!("tshark answered with something else than frame numbers: {listing}")).cause(&error))
    }
}
