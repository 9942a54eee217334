//! A PostgreSQL server of a run's own: the distribution's programs, a folder that is gone afterwards, a Unix socket.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use fairlead::failure::{Failure, Result};
use nix::unistd::{Group, User, chown, geteuid};

use super::files::create_directory;
use super::process::run;

static SERVERS: AtomicU32 = AtomicU32::new(0);

/// Who runs it when the tests run as root, which PostgreSQL refuses to run as.
const USER: &str = "nobody";
const GROUP: &str = "nogroup";

/// A server that runs until this is dropped, or the program ends in whatever way.
#[derive(Debug)]
pub struct PostgresqlServer {
    programs: PathBuf,
    directory: PathBuf,
    /// Cleans up when its standard input ends.
    janitor: Child,
}

/// Whether what is committed is on the disk: only a test of crashes or of speed has to wait for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A commit waits for the disk.
    Full,
    /// Nothing waits.
    None,
}

impl PostgresqlServer {
    /// Makes a server and starts it.
    ///
    /// # Errors
    /// When the package `postgresql` is not there, or the server does not start.
    pub fn start(durability: Durability) -> Result<Self> {
        let programs = programs()?;
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("fairlead-postgresql-{}-{number}", std::process::id()));
        create_directory(&directory)?;
        let shown = directory.display().to_string();
        let cannot = |error: &dyn std::error::Error| Failure::new(format!("cannot prepare `{shown}`")).cause(error);
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).map_err(|error| cannot(&error))?;
        if geteuid().is_root() {
            let user = User::from_name(USER).map_err(|error| cannot(&error))?.map(|user| user.uid);
            let group = Group::from_name(GROUP).map_err(|error| cannot(&error))?.map(|group| group.gid);
            chown(&directory, user, group).map_err(|error| cannot(&error))?;
        }
        // It ignores what a terminal sends to all of us, and outlives even SIGKILL of the program.
        let script = "trap '' INT TERM HUP; cat >/dev/null; \"$0/pg_ctl\" -D \"$1/data\" -m immediate stop >/dev/null 2>&1; rm -rf \"$1\"";
        let janitor = as_user(Path::new("sh"))
            .args(["-c", script])
            .arg(&programs)
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| cannot(&error))?;
        let server = Self { programs, directory, janitor };
        run(server
            .program("initdb")
            .args(["--auth=trust", "--no-sync", "--username=fairlead", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(server.data()))?;
        let durable = if durability == Durability::Full { "on" } else { "off" };
        let settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nfsync = {durable}\nsynchronous_commit = on\nmax_connections = 300\n\
             shared_buffers = 64MB\nmax_wal_size = 512MB\n",
            server.directory.display()
        );
        let path = server.data().join("postgresql.auto.conf");
        fs::write(&path, settings).map_err(|error| cannot(&error))?;
        server.start_again()?;
        Ok(server)
    }

    /// Starts it, after [`PostgresqlServer::stop_at_once`].
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&self) -> Result<()> {
        let log = self.directory.join("log");
        run(self.program("pg_ctl").arg("-D").arg(self.data()).arg("-l").arg(log).args(["-w", "-t", "60", "start"])).map(drop)
    }

    /// Stops it as a crash would.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop_at_once(&self) -> Result<()> {
        run(self.program("pg_ctl").arg("-D").arg(self.data()).args(["-m", "immediate", "stop"])).map(drop)
    }

    /// Makes a database and returns its URL.
    ///
    /// # Errors
    /// When there is one of that name.
    pub fn create_database(&self, name: &str) -> Result<String> {
        self.ask("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(format!("postgresql://fairlead@{}/{name}", self.directory.display().to_string().replace('/', "%2F")))
    }

    /// Runs statements, and returns the values of the answer, one row a line.
    ///
    /// # Errors
    /// What the server says.
    pub fn ask(&self, database: &str, sql: &str) -> Result<String> {
        let arguments = ["-v", "ON_ERROR_STOP=1", "-qtA", "-U", "fairlead", "-d", database, "-c", sql];
        run(self.program("psql").arg("-h").arg(&self.directory).args(arguments))
    }

    /// All that the database holds, as text.
    ///
    /// # Errors
    /// What the program says.
    pub fn dump(&self, database: &str) -> Result<String> {
        run(self.program("pg_dump").arg("-h").arg(&self.directory).args(["-U", "fairlead", database]))
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = as_user(&self.programs.join(name));
        command.current_dir(&self.directory).stdin(Stdio::null());
        command
    }
}

impl Drop for PostgresqlServer {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        // Its work is to clean up; how it ends says nothing that could be mended.
        drop(self.janitor.wait());
    }
}

/// Where the distribution has the server's programs: the newest.
fn programs() -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let numbered = versions.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))));
    numbered
        .filter(|(_, programs)| programs.join("initdb").exists())
        .max()
        .map(|(_, programs)| programs)
        .ok_or_else(|| Failure::new("there is no PostgreSQL server on this machine").hint("tools/install check brings it"))
}

fn as_user(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={USER}")).arg(format!("--regid={GROUP}")).args(["--clear-groups", "--"]).arg(program);
    command
}
