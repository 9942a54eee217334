//! The lab's wires: a site with its switch and its edge box, a WAN, a cloud, and on demand a DHCP server of somebody else's.
//!
//! ```text
//!  nodes' taps ── switch ── lan0 edge wan0 ── wan0 cloud
//!                   │       192.0.2.1           198.51.100.10
//!              other stations
//! ```

use fairlead::failure::Result;

use super::namespace::Namespace;

/// The edge box's address at the site.
pub(crate) const EDGE_ADDRESS: &str = "192.0.2.1";
/// The cloud's address.
pub(crate) const CLOUD_ADDRESS: &str = "198.51.100.10";
/// The switch's name in its namespace, where captures listen.
pub(crate) const BRIDGE: &str = "lan";

/// The namespaces and what joins them.
#[derive(Debug)]
pub(crate) struct Network {
    run_name: String,
    /// The site's switch; nodes run here, their taps are its ports.
    pub(crate) switch: Namespace,
    /// The edge box.
    pub(crate) edge: Namespace,
    /// The cloud.
    pub(crate) cloud: Namespace,
}

impl Network {
    /// Makes them all.
    pub(crate) fn create(run_name: &str) -> Result<Self> {
        let network = Self {
            run_name: run_name.to_owned(),
            switch: Namespace::create(run_name, "switch")?,
            edge: Namespace::create(run_name, "edge")?,
            cloud: Namespace::create(run_name, "cloud")?,
        };
        network.switch.configure(&format!("link add {BRIDGE} type bridge forward_delay 0"))?;
        network.switch.configure(&format!("link set {BRIDGE} up"))?;
        network.edge.connect("lan0", &network.switch, "edge")?;
        network.switch.configure(&format!("link set edge master {BRIDGE}"))?;
        network.edge.configure(&format!("addr add {EDGE_ADDRESS}/24 dev lan0"))?;

        network.edge.connect("wan0", &network.cloud, "wan0")?;
        network.edge.configure("addr add 198.51.100.1/24 dev wan0")?;
        network.cloud.configure(&format!("addr add {CLOUD_ADDRESS}/24 dev wan0"))?;
        network.cloud.configure("route add 192.0.2.0/24 via 198.51.100.1")?;
        // Nodes reach the cloud through the site's router, and in the lab that is the edge box.
        network.edge.set("net.ipv4.ip_forward=1")?;
        Ok(network)
    }

    /// Another machine at the site, with a cable to the switch; its interface is `eth0`.
    pub(crate) fn station(&self, name: &str) -> Result<Namespace> {
        let station = Namespace::create(&self.run_name, name)?;
        station.connect("eth0", &self.switch, name)?;
        self.switch.configure(&format!("link set {name} master {BRIDGE}"))?;
        Ok(station)
    }

    /// A port of the switch for a virtual machine.
    pub(crate) fn tap(&self, name: &str) -> Result<()> {
        self.switch.configure(&format!("tuntap add dev {name} mode tap"))?;
        self.switch.configure(&format!("link set {name} master {BRIDGE} up"))
    }
}
