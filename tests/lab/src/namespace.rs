//! Network namespaces: all that the lab sends stays in them.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use fairlead::failure::{Failure, Result};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use super::process::run;

/// Every namespace of the lab is called so, then the number of the process that made it, then its role.
const PREFIX: &str = "fairlead-lab";

/// A network namespace that is removed, with all programs in it, when it is dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with its loopback up.
    pub fn create(run_name: &str, role: &str) -> Result<Self> {
        let namespace = Self { name: format!("{run_name}-{role}") };
        ip(&["netns", "add", &namespace.name])?;
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A program in this namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Does something on a thread that is in this namespace. A socket that is opened there stays in the namespace, whoever uses it later.
    ///
    /// # Errors
    /// When the namespace can't be entered, or what `work` returns.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let place = Path::new("/run/netns").join(&self.name);
        let entered = || Failure::new(format!("cannot enter the namespace {}", self.name));
        let file = File::open(&place).map_err(|error| entered().cause(&error))?;
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&file, CloneFlags::CLONE_NEWNET).map_err(|error| entered().cause(&error))?;
                work()
            });
            thread.join().unwrap_or_else(|_| Err(Failure::new(format!("what was done in the namespace {} broke off", self.name))))
        })
    }

    /// Runs `ip` in this namespace; the words are separated by blanks.
    pub fn configure(&self, words: &str) -> Result<()> {
        self.ip(&words.split_ascii_whitespace().collect::<Vec<_>>())
    }

    fn ip(&self, words: &[&str]) -> Result<()> {
        let mut all = vec!["-n", self.name.as_str()];
        all.extend_from_slice(words);
        ip(&all)
    }

    /// Joins two namespaces with a cable.
    pub fn connect(&self, name: &str, other: &Self, other_name: &str) -> Result<()> {
        self.configure(&format!("link add {name} type veth peer name {other_name} netns {}", other.name))?;
        self.configure(&format!("link set {name} up"))?;
        other.configure(&format!("link set {other_name} up"))
    }

    /// Sets a kernel parameter of this namespace.
    pub fn set(&self, parameter: &str) -> Result<()> {
        run(self.command("sysctl").args(["-qw", parameter])).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

fn ip(words: &[&str]) -> Result<()> {
    run(Command::new("ip").args(words)).map(drop)
}

/// How many runs this process has begun.
static RUNS: AtomicU32 = AtomicU32::new(1);

/// A new name for namespaces and folders of this process: one process may have several labs.
#[must_use]
pub fn run_name() -> String {
    format!("{}{}", process_prefix(), RUNS.fetch_add(1, Ordering::Relaxed))
}

/// How the names of all that this process made begin.
pub fn process_prefix() -> String {
    format!("{PREFIX}-{}-", std::process::id())
}

/// Refuses to begin where namespaces can't be made.
pub fn require_privileges() -> Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new("the lab makes network namespaces, and for that it must be root")
        .hint("run it with sudo, or in a container with --privileged; it leaves this machine's own network alone"))
}

/// Removes every namespace that this process made, and those of labs that died before they could.
pub fn remove_left_behind(of_this_process: bool) {
    let Ok(listing) = run(Command::new("ip").args(["netns", "list"])) else { return };
    for name in listing.lines().filter_map(|line| line.split_ascii_whitespace().next()) {
        let Some(owner) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1)?.parse::<u32>().ok()) else { continue };
        let is_ours = owner == std::process::id();
        let owner_lives = Path::new(&format!("/proc/{owner}")).exists();
        if if is_ours { of_this_process } else { !owner_lives } {
            remove(name);
        }
    }
}

/// Ends the programs in a namespace and removes it.
fn remove(name: &str) {
    let programs = || -> Vec<i32> {
        let listing = run(Command::new("ip").args(["netns", "pids", name])).unwrap_or_default();
        listing.lines().filter_map(|line| line.trim().parse().ok()).collect()
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let living = programs();
        if living.is_empty() || Instant::now() > deadline {
            break;
        }
        for id in living {
            kill(Pid::from_raw(id), Signal::SIGKILL).ok();
        }
        sleep(Duration::from_millis(50));
    }
    drop(ip(&["netns", "del", name]));
}
