//! Two namespaces and the cable between them.

use std::net::Ipv4Addr;
use std::process::Command;

use fairlead::failure::{Failure, Result};
use fairlead_lab::namespace::Namespace;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The server's interface.
pub(crate) const SERVER_INTERFACE: &str = "lan0";
/// The server's address.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const READERS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// The address of a reader: each machine of a site has its own.
pub(crate) const fn reader(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, number)
}

pub(crate) struct Site {
    servers: Namespace,
    readers: Namespace,
}

impl Site {
    pub(crate) fn make(run_name: &str) -> Result<Self> {
        let (servers, readers) = (Namespace::create(run_name, "servers")?, Namespace::create(run_name, "readers")?);
        servers.connect(SERVER_INTERFACE, &readers, "lan1")?;
        servers.configure(&format!("addr add {SERVER}/8 dev {SERVER_INTERFACE}"))?;
        readers.configure(&format!("addr add {READERS}/8 dev lan1"))?;
        readers.configure("route add local 10.1.0.0/16 dev lo")?;
        servers.configure(&format!("link set {SERVER_INTERFACE} mtu 9000"))?;
        readers.configure("link set lan1 mtu 9000")?;
        Ok(Self { servers, readers })
    }

    /// A program on the servers' core.
    pub(crate) fn server_command(&self, program: &str) -> Command {
        let mut command = self.servers.command("taskset");
        command.args(["-c", "0", program]);
        command
    }

    /// Does something as a reader, on the readers' core.
    pub(crate) fn as_reader<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.readers.within(|| {
            let mut core = CpuSet::new();
            core.set(1)
                .and_then(|()| sched_setaffinity(Pid::from_raw(0), &core))
                .map_err(|error| Failure::new("the benchmark needs a machine with two cores").cause(&error))?;
            work()
        })
    }
}
