//! Programs that the lab runs: to their end, or beside it with a log.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fairlead::failure::{Failure, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::log_file::LogFile;

/// Runs a program to its end and returns what it wrote to standard output.
pub fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::new(format!("`{}` ended with {}", shown(command), output.status)).because(said))
}

/// Runs a program to its end, whatever the end.
pub fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().map_err(|error| {
        Failure::new(format!("cannot start `{}`", command.get_program().display()))
            .cause(&error)
            .hint("`tools/install build lab` installs what the lab needs on Debian; on other systems bring this program")
    })
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// A program that runs until it is stopped; all it writes goes to its log.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: LogFile,
}

impl Daemon {
    /// Starts the program; an earlier log of that name is continued.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let open = || File::options().create(true).append(true).open(log);
        let (out, err) = match (open(), open()) {
            (Ok(out), Ok(err)) => (out, err),
            (Err(error), _) | (_, Err(error)) => {
                return Err(Failure::new(format!("cannot write the log `{}`", log.display())).cause(&error));
            }
        };
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().map_err(|error| {
            Failure::new(format!("cannot start {name} (`{}`)", shown(command)))
                .cause(&error)
                .hint("`tools/install build lab` installs what the lab needs on Debian; on other systems bring this program")
        })?;
        Ok(Self { name: name.to_owned(), child, log: LogFile::new(log) })
    }

    /// The number of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its log.
    pub fn log(&self) -> &LogFile {
        &self.log
    }

    /// Waits for a line in its log, and no longer than it lives.
    pub fn wait_for(&mut self, step: &str, pattern: &str, patience: Duration) -> Result<String> {
        let log = self.log.clone();
        log.wait_while(step, pattern, patience, &mut || self.has_ended())
    }

    /// How it ended, once it has.
    pub fn has_ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(Some(status)) => Some(format!("{} ended with {status}", self.name)),
            _ => None,
        }
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Asks it to stop, and after ten seconds makes it.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Sends it a signal, as long as it runs.
    pub fn signal(&mut self, signal: Signal) {
        // A child that was waited for has given its number back; it may be somebody else's by now.
        if let (Ok(None), Ok(id)) = (self.child.try_wait(), i32::try_from(self.child.id())) {
            kill(Pid::from_raw(id), signal).ok();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}
