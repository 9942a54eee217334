//! A DHCP server of somebody else's at the site: dnsmasq, handing out addresses and nothing of ours.

use std::path::Path;
use std::time::Duration;

use fairlead::failure::Result;

use super::namespace::Namespace;
use super::network::{EDGE_ADDRESS, Network};
use super::process::Daemon;

/// A machine at the site that runs dnsmasq.
#[derive(Debug)]
pub(crate) struct Dnsmasq {
    // Stopped before its namespace goes.
    daemon: Daemon,
    _station: Namespace,
}

impl Dnsmasq {
    /// Starts it; `more` are further arguments.
    pub(crate) fn start(network: &Network, directory: &Path, more: &[&str]) -> Result<Self> {
        let station = network.station("dhcp")?;
        station.configure("addr add 192.0.2.2/24 dev eth0")?;
        let mut command = station.command("dnsmasq");
        command
            .args([
                "--no-daemon",
                "--conf-file=/dev/null",
                "--port=0",
                "--interface=eth0",
                "--bind-interfaces",
                "--leasefile-ro",
                "--log-dhcp",
            ])
            .args(["--dhcp-range=192.0.2.100,192.0.2.199,1h", &format!("--dhcp-option=option:router,{EDGE_ADDRESS}")])
            .args(more);
        let mut daemon = Daemon::start("dnsmasq", &mut command, &directory.join("dnsmasq.log"))?;
        daemon.wait_for("dnsmasq hands out addresses", "IP range 192.0.2.100", Duration::from_secs(10))?;
        Ok(Self { daemon, _station: station })
    }

    /// Its log.
    pub(crate) fn log(&self) -> &super::log_file::LogFile {
        self.daemon.log()
    }
}
