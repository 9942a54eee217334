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

/// How client and box are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// By a cable.
    Cable,
    /// By a cable with tagged frames (IEEE 802.1Q): both have a VLAN interface on it.
    Vlan,
    /// Through dhcrelay, which adds option 82.
    Relay,
}

/// Whether a VLAN interface can be made.
pub(crate) fn kernel_has_vlans() -> bool {
    let try_it = || {
        let namespace = Namespace::create(&namespace::run_name(), "vlan")?;
        namespace.configure("link add link lo name vlan7 type vlan id 7")
    };
    try_it().is_ok()
}

/// The relay's address at the client's end.
const GATEWAY: &str = "10.7.0.1";

/// The site, with the box serving it and everything recorded.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) capture: Capture,
    /// What crosses the cable at the box's end.
    pub(crate) at_box: Capture,
    _programs: Vec<Daemon>,
    pub(crate) station: Namespace,
    link: Link,
    _others: Vec<Namespace>,
    directory: RunDirectory,
}

impl Site {
    /// Makes the network and starts the box.
    pub(crate) fn build() -> Result<Self> {
        Self::build_with(Link::Cable, "")
    }

    /// The same with another link, and with lines for `[dhcp]`.
    pub(crate) fn build_with(link: Link, general: &str) -> Result<Self> {
        let run_name = namespace::run_name();
        let directory = RunDirectory::create(&run_name)?;
        let (server, station) = (Namespace::create(&run_name, "box")?, Namespace::create(&run_name, "station")?);
        let relay = Namespace::create(&run_name, "relay")?;
        for namespace in [&server, &station, &relay] {
            namespace.set("net.ipv6.conf.default.disable_ipv6=1")?;
        }
        let (interface, cable) = match link {
            Link::Cable => {
                server.connect("lan0", &station, INTERFACE)?;
                ("lan0", "lan0")
            }
            Link::Vlan => {
                server.connect("trunk0", &station, "trunk0")?;
                server.configure("link add link trunk0 name trunk0.7 type vlan id 7")?;
                station.configure(&format!("link add link trunk0 name {INTERFACE} type vlan id 7"))?;
                server.configure("link set trunk0.7 up")?;
                station.configure(&format!("link set {INTERFACE} up"))?;
                ("trunk0.7", "trunk0")
            }
            Link::Relay => {
                server.connect("lan0", &relay, "up0")?;
                relay.connect("down0", &station, INTERFACE)?;
                relay.configure("addr add 192.0.2.2/24 dev up0")?;
                relay.configure(&format!("addr add {GATEWAY}/24 dev down0"))?;
                relay.set("net.ipv4.ip_forward=1")?;
                ("lan0", "lan0")
            }
        };
        server.configure(&format!("addr add {SERVER}/24 dev {interface}"))?;
        station.configure(&format!("link set {INTERFACE} address {CLIENT_MAC}"))?;
        let relayed = if link == Link::Relay {
            server.configure("route add 10.7.0.0/24 via 192.0.2.2")?;
            format!("[[subnet]]\nnetwork = \"10.7.0.0/24\"\npools = [\"10.7.0.100-10.7.0.199\"]\nrouters = [\"{GATEWAY}\"]\n")
        } else {
            String::new()
        };

        let (state, config) = (directory.path().join("state"), directory.path().join("edge.toml"));
        let programs = Programs { edge: env!("CARGO_BIN_EXE_fairlead-edge").into(), cloud: env!("CARGO_BIN_EXE_fairlead-cloud").into() };
        joined_box::copy_shared(&programs, &state)?;
        write(
            &config,
            format!(
                "state_dir = \"{}\"\nlog = \"debug\"\n[[interface]]\nname = \"{interface}\"\nmode = \"server\"\naddress = \"{SERVER}\"\n\
                 [dhcp]\nlease_time = \"1m\"\nrenewal_time = \"6s\"\nrebinding_time = \"16s\"\n{general}\n\
                 [[subnet]]\nnetwork = \"192.0.2.0/24\"\npools = [\"192.0.2.100-192.0.2.199\"]\nrouters = [\"{SERVER}\"]\n\
                 dns = [\"192.0.2.53\"]\nntp = [\"192.0.2.123\"]\ndomain = \"site.example\"\n{relayed}",
                state.display()
            ),
        )?;
        let mut command = server.command(&programs.edge);
        let log = directory.path().join("edge.log");
        let mut edge = Daemon::start("fairlead-edge", command.arg("--config").arg(&config).arg("run"), &log)?;
        edge.wait_for("the box serves its site", "serves its site", Duration::from_secs(20))?;
        let mut running = vec![edge];
        if link == Link::Relay {
            let mut command = relay.command("dhcrelay");
            command.args(["-4", "-d", "-a", "-iu", "up0", "-id", "down0", SERVER]);
            let mut dhcrelay = Daemon::start("dhcrelay", &mut command, &directory.path().join("dhcrelay.log"))?;
            dhcrelay.wait_for("the relay listens", "Sending on   Socket/fallback", Duration::from_secs(10))?;
            running.push(dhcrelay);
        }
        let capture = Capture::start(&station, INTERFACE, directory.path(), "client")?;
        let at_box = Capture::start(&server, cable, directory.path(), "box")?;
        Ok(Self { capture, at_box, _programs: running, station, link, _others: vec![server, relay], directory })
    }

    /// The folder for the client's files.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// From now on what the client sends to the box alone goes astray; what it sends to everybody arrives.
    pub(crate) fn lose_unicast(&self) -> Result<()> {
        match self.link {
            // dhcrelay listens to all that crosses its link, whomever it is for.
            Link::Relay => self.station.configure(&format!("route add blackhole {SERVER}/32")),
            _ => self.station.configure(&format!("neigh replace {SERVER} lladdr 02:de:ad:00:00:01 dev {INTERFACE} nud permanent")),
        }
    }

    /// The opposite.
    pub(crate) fn mend_unicast(&self) -> Result<()> {
        match self.link {
            Link::Relay => self.station.configure(&format!("route del blackhole {SERVER}/32")),
            _ => self.station.configure(&format!("neigh del {SERVER} dev {INTERFACE}")),
        }
    }

    /// All went well: the files may go.
    pub(crate) fn discard(mut self) {
        self.directory.discard();
    }
}
