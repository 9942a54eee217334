//! A segment with a switch, so that there is room for another server.

use std::cell::Cell;
use std::net::Ipv4Addr;
use std::time::Duration;

use fairlead::failure::{Failure, Result};
use fairlead::wire::MacAddr;
use fairlead_lab::files::{RunDirectory, write};
use fairlead_lab::namespace::{self, Namespace};
use fairlead_lab::process::Daemon;

use crate::message::{ACK, Message, OFFER};
use crate::server::edge;
use crate::site::{SERVER, expect_eq, selecting};
use crate::wire::{Path, Wire};

/// Another server's address.
pub(super) const RIVAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
/// Where the relay stands.
const RELAY_PORT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Lan {
    pub(super) wire: Wire,
    clients: Cell<u8>,
    server: Namespace,
    rival: Namespace,
    // After the sockets and programs in them.
    _others: [Namespace; 2],
    directory: RunDirectory,
}

impl Lan {
    pub(super) fn lay() -> Result<Self> {
        let run_name = namespace::run_name();
        let directory = RunDirectory::create(&run_name)?;
        let create = |role| {
            let namespace = Namespace::create(&run_name, role)?;
            namespace.set("net.ipv6.conf.default.disable_ipv6=1").map(|()| namespace)
        };
        let (server, rival, clients, switch) = (create("server")?, create("rival")?, create("clients")?, create("switch")?);
        switch.configure("link add br0 up type bridge forward_delay 0")?;
        for (namespace, interface, port) in [(&server, "lan0", "port1"), (&rival, "lan0", "port2"), (&clients, "eth0", "port3")] {
            namespace.connect(interface, &switch, port)?;
            switch.configure(&format!("link set {port} master br0"))?;
        }
        let server_mac = MacAddr([2, 0, 0, 0, 0, 1]);
        server.configure(&format!("link set lan0 address {server_mac}"))?;
        server.configure(&format!("addr add {SERVER}/24 dev lan0"))?;
        server.configure(&format!("route add 10.0.0.0/8 via {RELAY_PORT}"))?;
        rival.configure(&format!("addr add {RIVAL}/24 dev lan0"))?;
        let wire = Wire::open(&clients, "eth0", (server_mac, SERVER))?;
        wire.is_relay(RELAY_PORT);
        Ok(Self { wire, clients: Cell::new(1), server, rival, _others: [clients, switch], directory })
    }

    /// Starts the box. `interface` is added to what `[[interface]]` says, `rest` follows it.
    pub(super) fn start(&self, interface: &str, rest: &str) -> Result<Daemon> {
        let configuration = format!("[[interface]]\nname = \"lan0\"\naddress = \"{SERVER}\"\n{interface}\n{rest}");
        edge::start_with(&configuration, &self.server, self.directory.path())
    }

    /// What the box's tool says of the addresses that nobody is given.
    pub(super) fn declined(&self) -> Result<String> {
        edge::lease_list(self.directory.path(), &["--state", "declined"])
    }

    /// Starts dnsmasq as the segment's other server.
    pub(super) fn start_rival(&self) -> Result<Daemon> {
        let path = |name: &str| self.directory.path().join(name);
        let configuration = format!(
            "port=0\ninterface=lan0\nbind-interfaces\nno-ping\ndhcp-leasefile={}\ndhcp-range=192.0.2.220,192.0.2.229,255.255.255.0,3600\n",
            path("dnsmasq.leases").display()
        );
        write(&path("dnsmasq.conf"), configuration)?;
        let mut command = self.rival.command("dnsmasq");
        command.args(["--no-daemon", "--user=root"]).arg(format!("--conf-file={}", path("dnsmasq.conf").display()));
        let mut dnsmasq = Daemon::start("dnsmasq", &mut command, &path("dnsmasq.log"))?;
        dnsmasq.wait_for("dnsmasq serves", "DHCP, IP range", Duration::from_secs(20))?;
        Ok(dnsmasq)
    }

    /// A hardware address that nobody has.
    pub(super) fn new_mac(&self) -> MacAddr {
        let number = self.clients.get();
        self.clients.set(number.wrapping_add(1));
        MacAddr([2, 0xfc, 0, 0, 1, number])
    }

    /// What that server says to the message, if anything: the other one may answer too.
    pub(super) fn answer_of(&self, server: Ipv4Addr, message: &Message, path: Path, patience: Duration) -> Result<Option<Message>> {
        self.wire.send(message, path)?;
        while let Some(received) = self.wire.answer(message, patience) {
            if received.from == server {
                return Ok(Some(received.message));
            }
        }
        Ok(None)
    }

    /// What our server offers.
    pub(super) fn offer(&self, discover: &Message, path: Path) -> Result<Message> {
        let offer = self.answer_of(SERVER, discover, path, PATIENCE)?.ok_or_else(|| Failure::new("there is no offer"))?;
        expect_eq("the message type", offer.kind(), Some(OFFER))?;
        Ok(offer)
    }

    /// All four messages with our server.
    pub(super) fn lease(&self, discover: &Message, path: Path) -> Result<Ipv4Addr> {
        let offer = self.offer(discover, path)?;
        let answer = self.answer_of(SERVER, &selecting(discover, &offer), path, PATIENCE)?;
        expect_eq("type and address", answer.map(|answer| (answer.kind(), answer.yiaddr)), Some((Some(ACK), offer.yiaddr)))?;
        self.wire.takes(offer.yiaddr, discover.mac());
        Ok(offer.yiaddr)
    }

    /// All went well: the files may go.
    pub(super) fn discard(mut self) {
        self.directory.discard();
    }
}
