//! A box, a cable, and a machine with a client at its other end.

use std::path::Path;
use std::time::Duration;

use fairlead::failure::Result;
use fairlead_lab::capture::Capture;
use fairlead_lab::files::{RunDirectory, write};
use fairlead_lab::namespace::{self, Namespace};
use fairlead_lab::process::Daemon;
use fairlead_lab::{Programs, joined_box};

/// The box's address.
pub(crate) const SERVER: &str = "192.0.2.1";
/// The client's interface.
pub(crate) const INTERFACE: &str = "eth0";
/// The hardware address of the client's interface.
pub(crate) const CLIENT_MAC: &str = "02:fc:00:00:00:07";

/// The site, with the box serving it and everything recorded.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) capture: Capture,
    _edge: Daemon,
    pub(crate) station: Namespace,
    _box: Namespace,
    directory: RunDirectory,
}

impl Site {
    /// Makes the network and starts the box.
    pub(crate) fn build() -> Result<Self> {
        let run_name = namespace::run_name();
        let directory = RunDirectory::create(&run_name)?;
        let (server, station) = (Namespace::create(&run_name, "box")?, Namespace::create(&run_name, "station")?);
        for namespace in [&server, &station] {
            namespace.set("net.ipv6.conf.default.disable_ipv6=1")?;
        }
        server.connect("lan0", &station, INTERFACE)?;
        server.configure(&format!("addr add {SERVER}/24 dev lan0"))?;
        station.configure(&format!("link set {INTERFACE} address {CLIENT_MAC}"))?;

        let (state, config) = (directory.path().join("state"), directory.path().join("edge.toml"));
        let programs = Programs { edge: env!("CARGO_BIN_EXE_fairlead-edge").into(), cloud: env!("CARGO_BIN_EXE_fairlead-cloud").into() };
        joined_box::copy_shared(&programs, &state)?;
        write(
            &config,
            format!(
                "state_dir = \"{}\"\nlog = \"debug\"\n[[interface]]\nname = \"lan0\"\nmode = \"server\"\naddress = \"{SERVER}\"\n\
                 [[subnet]]\nnetwork = \"192.0.2.0/24\"\npools = [\"192.0.2.100-192.0.2.199\"]\nrouters = [\"{SERVER}\"]\n\
                 dns = [\"192.0.2.53\"]\ndomain = \"site.example\"\nlease_time = \"1m\"\nrenewal_time = \"6s\"\nrebinding_time = \"16s\"\n",
                state.display()
            ),
        )?;
        let mut command = server.command(&programs.edge);
        let log = directory.path().join("edge.log");
        let mut edge = Daemon::start("fairlead-edge", command.arg("--config").arg(&config).arg("run"), &log)?;
        edge.wait_for("the box serves its site", "serves its site", Duration::from_secs(20))?;
        let capture = Capture::start(&station, INTERFACE, directory.path(), "client")?;
        Ok(Self { capture, _edge: edge, station, _box: server, directory })
    }

    /// The folder for the client's files.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// From now on what the client sends to the box alone goes astray; what it sends to everybody arrives.
    pub(crate) fn lose_unicast(&self) -> Result<()> {
        self.station.configure(&format!("neigh replace {SERVER} lladdr 02:de:ad:00:00:01 dev {INTERFACE} nud permanent"))
    }

    /// The opposite.
    pub(crate) fn mend_unicast(&self) -> Result<()> {
        self.station.configure(&format!("neigh del {SERVER} dev {INTERFACE}"))
    }

    /// All went well: the files may go.
    pub(crate) fn discard(mut self) {
        self.directory.discard();
    }
}
