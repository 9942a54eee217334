//! A site's addresses as its operator planned them: the configuration to be written, and what it allows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use fairlead::config_file::Source;
use fairlead::edge::config::EdgeConfig;
use fairlead::edge::dhcp::config::DhcpConfig;

/// Hardware address of a network interface.
pub type Mac = [u8; 6];

/// One subnet.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// First octets of the network, with zeros behind the prefix.
    pub network: Ipv4Addr,
    pub prefix: u8,
    /// The router, which relays where the box is not on the subnet itself.
    pub router: Ipv4Addr,
    pub pools: Vec<RangeInclusive<Ipv4Addr>>,
    pub reservations: BTreeMap<Mac, Ipv4Addr>,
    /// Seconds.
    pub lease_time: u32,
    /// Whether addresses are probed before a new client is given them.
    pub conflict_probe: bool,
}

/// All subnets; the box is on the first one.
#[derive(Clone, Debug)]
pub struct Plan {
    pub server: Ipv4Addr,
    /// Whether the box serves beside another server.
    pub authoritative: bool,
    /// Whether all subnets are on one link.
    pub one_link: bool,
    pub subnets: Vec<Subnet>,
}

impl Subnet {
    /// Whether an address is in the network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) >> (32 - self.prefix) == u32::from(self.network) >> (32 - self.prefix)
    }

    /// The address that is kept for a machine.
    pub fn reservation(&self, mac: Mac) -> Option<Ipv4Addr> {
        self.reservations.get(&mac).copied()
    }

    /// Whether the pools give an address to whoever comes.
    pub fn is_dynamic(&self, address: Ipv4Addr) -> bool {
        let is_reserved = || self.reservations.values().any(|reserved| *reserved == address);
        self.pools.iter().any(|pool| pool.contains(&address)) && !is_reserved()
    }

    /// Whether this machine may be given an address at all.
    pub fn allows(&self, mac: Mac, address: Ipv4Addr) -> bool {
        self.reservation(mac) == Some(address) || self.is_dynamic(address)
    }
}

impl Plan {
    /// The subnet of an address.
    pub fn subnet_of(&self, address: Ipv4Addr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.contains(address))
    }

    /// Whether a machine that has an address may keep it: no other is kept for it on that link.
    pub fn lets_keep(&self, mac: Mac, address: Ipv4Addr) -> bool {
        let Some(subnet) = self.subnet_of(address) else { return false };
        let elsewhere = || self.subnets.iter().filter(|_| self.one_link).find_map(|subnet| subnet.reservation(mac));
        let reserved = subnet.reservation(mac).or_else(elsewhere);
        reserved.map_or_else(|| subnet.is_dynamic(address), |reserved| reserved == address)
    }

    /// `edge.toml`.
    pub fn to_toml(&self) -> String {
        let mut text = format!("[[interface]]\nname = \"eth1\"\nmode = \"server\"\naddress = \"{}\"\n", self.server);
        writeln!(text, "authoritative = {}", self.authoritative).expect("text takes text");
        let shared = if self.one_link { "shared_network = \"one\"\n" } else { "" };
        for subnet in &self.subnets {
            let pools: Vec<String> = subnet.pools.iter().map(|pool| format!("\"{}-{}\"", pool.start(), pool.end())).collect();
            write!(
                text,
                "[[subnet]]\nnetwork = \"{}/{}\"\npools = [{}]\nrouters = [\"{}\"]\ndns = [\"{}\"]\nlease_time = \"{}s\"\nconflict_probe = {}\n{shared}",
                subnet.network,
                subnet.prefix,
                pools.join(", "),
                subnet.router,
                self.server,
                subnet.lease_time,
                subnet.conflict_probe
            )
            .expect("text takes text");
            for (mac, address) in &subnet.reservations {
                let mac: Vec<String> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
                write!(text, "[[subnet.reservation]]\nmac = \"{}\"\naddress = \"{address}\"\n", mac.join(":")).expect("text takes text");
            }
        }
        text
    }

    /// What the server makes of it.
    pub fn config(&self) -> DhcpConfig {
        let text = self.to_toml();
        EdgeConfig::from_source(&Source::from_text("edge.toml", &text)).unwrap_or_else(|error| panic!("{error}\n{text}")).dhcp
    }
}
