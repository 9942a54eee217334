//! A box that serves one end of a cable, and clients behind a relay at the other.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use fairlead::edge::lease::{Journal, LeaseEntry, LeaseRecord};
use fairlead_lab::Programs;
use fairlead_lab::files::{RunDirectory, write};
use fairlead_lab::joined_box::JoinedBox;
use fairlead_lab::namespace::{self, Namespace};
use fairlead_lab::process::{Daemon, run};

use crate::witness::Witness;

pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const RELAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

pub(crate) struct Site {
    pub(crate) witness: Witness,
    pub(crate) state: PathBuf,
    servers: Namespace,
    clients: Namespace,
    directory: RunDirectory,
}

impl Site {
    pub(crate) fn build() -> Self {
        namespace::require_privileges().expect("rights");
        let name = namespace::run_name();
        let directory = RunDirectory::create(&name).expect("a folder");
        let programs = Programs { edge: env!("CARGO_BIN_EXE_fairlead-edge").into(), cloud: env!("CARGO_BIN_EXE_fairlead-cloud").into() };
        let joined = JoinedBox::make(&programs, &name, &directory.path().join("join")).expect("a box that joined");
        let state = joined.state().to_owned();
        let servers = Namespace::create(&name, "servers").expect("a namespace");
        let clients = Namespace::create(&name, "clients").expect("a namespace");
        servers.connect("lan0", &clients, "lan1").expect("a cable");
        servers.configure(&format!("addr add {SERVER}/8 dev lan0")).expect("an address");
        clients.configure(&format!("addr add {RELAY}/8 dev lan1")).expect("an address");
        let witness = Witness::watch(&clients, "lan1");
        let config = format!(
            "state_dir = \"{}\"\nlog = \"info\"\n[[interface]]\nname = \"lan0\"\nmode = \"server\"\naddress = \"{SERVER}\"\n\
             authoritative = true\n[[subnet]]\nnetwork = \"10.0.0.0/8\"\npools = [\"10.16.0.0-10.16.63.255\"]\nlease_time = \"1h\"\n\
             [dhcp]\nconflict_probe = false\n",
            state.display()
        );
        write(&directory.path().join("edge.toml"), config).expect("a configuration");
        Self { witness, state, servers, clients, directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn start(&self, log: &str) -> Daemon {
        let mut command = self.servers.command(env!("CARGO_BIN_EXE_fairlead-edge"));
        command.arg("--config").arg(self.path("edge.toml")).arg("run");
        Daemon::start("fairlead-edge", &mut command, &self.path(log)).expect("the edge starts")
    }

    /// Three thousand clients that ask and renew until it is dropped.
    pub(crate) fn load(&self) -> Daemon {
        let mut command = self.clients.command("perfdhcp");
        command.args(["-4", "-l", "lan1", "-r", "600", "-f", "300", "-R", "3000", "-p", "36000", &SERVER.to_string()]);
        Daemon::start("perfdhcp", &mut command, &self.path("perfdhcp.log")).expect("perfdhcp starts")
    }

    /// A socket of the relay.
    pub(crate) fn relay_socket(&self) -> UdpSocket {
        let open = || {
            let socket = UdpSocket::bind(SocketAddrV4::new(RELAY, 67)).expect("port 67");
            socket.set_read_timeout(Some(Duration::from_millis(700))).expect("a timeout");
            Ok(socket)
        };
        self.clients.within(open).expect("a socket")
    }

    /// What a reader finds in the lease files, without changing them: as an operator reads them, with `fairlead-edge lease export`.
    /// The program's own reader finds the same.
    pub(crate) fn leases(&self) -> Vec<LeaseRecord> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead-edge"));
        command.arg("--config").arg(self.path("edge.toml")).args(["lease", "export", "--format", "json"]);
        let exported = run(&mut command).expect("the lease files are exported after a crash");
        let entries: Vec<LeaseEntry> = serde_json::from_str(&exported).expect("the export is JSON");
        let leases: Vec<LeaseRecord> = entries.iter().map(|entry| entry.record().expect("a lease")).collect();
        let mut read = Journal::read(&self.state.join("leases")).expect("the lease files are read after a crash");
        read.sort_unstable_by_key(|lease| lease.address);
        assert!(leases == read, "the export is another one than the {} leases that are there", read.len());
        leases
    }

    /// All went well: its files are of no use.
    pub(crate) fn discard(&mut self) {
        self.directory.discard();
    }
}
