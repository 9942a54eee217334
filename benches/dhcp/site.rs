//! Two namespaces and the cable between them.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use fairlead::failure::{Failure, Result};
use fairlead_lab::namespace::Namespace;

/// The server's interface.
pub(crate) const SERVER_INTERFACE: &str = "lan0";
/// The server's address.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The interface of perfdhcp, which plays a relay.
pub(crate) const CLIENT_INTERFACE: &str = "lan1";
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// What every server gives out: two million addresses.
pub(crate) const NETWORK: &str = "10.0.0.0/8";
/// The first address of the pool.
pub(crate) const FIRST: Ipv4Addr = Ipv4Addr::new(10, 16, 0, 0);
/// The last address of the pool.
pub(crate) const LAST: Ipv4Addr = Ipv4Addr::new(10, 47, 255, 255);
/// perfdhcp's clients have this hardware address and those that follow.
pub(crate) const FIRST_MAC: [u8; 6] = [0x00, 0x0c, 0x01, 0x02, 0x03, 0x04];

pub(crate) struct Site {
    servers: Namespace,
    clients: Namespace,
}

impl Site {
    pub(crate) fn make(run_name: &str) -> Result<Self> {
        let (servers, clients) = (Namespace::create(run_name, "servers")?, Namespace::create(run_name, "clients")?);
        servers.connect(SERVER_INTERFACE, &clients, CLIENT_INTERFACE)?;
        servers.configure(&format!("addr add {SERVER}/8 dev {SERVER_INTERFACE}"))?;
        clients.configure(&format!("addr add {RELAY}/8 dev {CLIENT_INTERFACE}"))?;
        Ok(Self { servers, clients })
    }

    /// A program on the servers' core.
    pub(crate) fn server_command(&self, program: &str) -> Command {
        let mut command = self.servers.command("taskset");
        command.args(["-c", "0", program]);
        command
    }

    /// A program on the clients' core.
    pub(crate) fn client_command(&self, program: &str) -> Command {
        let mut command = self.clients.command("taskset");
        command.args(["-c", "1", program]);
        command
    }

    /// Waits for the first answer to a DISCOVER; returns how long that took.
    pub(crate) fn first_answer(&self, patience: Duration) -> Result<Duration> {
        self.clients.within(|| {
            let failed = |error: std::io::Error| Failure::new("cannot ask for a first answer").cause(&error);
            let socket = UdpSocket::bind(SocketAddrV4::new(RELAY, 67)).map_err(failed)?;
            socket.set_read_timeout(Some(Duration::from_millis(10))).map_err(failed)?;
            let (start, mut answer) = (Instant::now(), [0; 1500]);
            while start.elapsed() < patience {
                // A refused port is an error of the next call: the server is not there yet.
                drop(socket.send_to(&discover(), SocketAddrV4::new(SERVER, 67)));
                if socket.recv(&mut answer).is_ok() {
                    return Ok(start.elapsed());
                }
            }
            Err(Failure::new(format!("no answer within {patience:?}")))
        })
    }
}

/// The DISCOVER of a client that none of perfdhcp's is, by a relay.
fn discover() -> Vec<u8> {
    let mut packet = vec![0; 240];
    let mut put = |place: usize, octets: &[u8]| packet.splice(place..place + octets.len(), octets.iter().copied()).for_each(drop);
    put(0, &[1, 1, 6, 1, 9, 9, 9, 9]);
    put(24, &RELAY.octets());
    put(28, &[2, 0xff, 0, 0, 0, 1]);
    put(236, &[99, 130, 83, 99]);
    packet.extend([53, 1, 1, 255]);
    packet
}
