//! Where a server of this box listens, and what to tell a person when it can't.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddrV4;

use socket2::{Domain, Protocol, Socket, Type};

use crate::failure::{Failure, Result};

/// An address and port to serve on, and the interface to keep to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address and port. The unspecified address serves every address of the box; port 0 takes a free one.
    pub address: SocketAddrV4,
    /// The network interface that traffic is held to (`SO_BINDTODEVICE`).
    pub device: Option<String>,
}

impl Endpoint {
    /// A UDP socket at this endpoint, for tokio.
    ///
    /// # Errors
    /// A [`Failure`] that names `service`, the address and the remedy.
    pub fn bind_udp(&self, service: &str) -> Result<Socket> {
        self.open(Type::DGRAM, Protocol::UDP, false).map_err(|error| self.failure(service, "UDP", &error))
    }

    /// A listening TCP socket at this endpoint, for tokio.
    ///
    /// # Errors
    /// A [`Failure`] that names `service`, the address and the remedy.
    pub fn listen_tcp(&self, service: &str, backlog: i32) -> Result<Socket> {
        self.open(Type::STREAM, Protocol::TCP, true)
            .and_then(|socket| socket.listen(backlog).map(|()| socket))
            .map_err(|error| self.failure(service, "TCP", &error))
    }

    fn open(&self, kind: Type, protocol: Protocol, reuse: bool) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
        socket.set_nonblocking(true)?;
        // Only for TCP, where it lets a restart pass connections in TIME_WAIT; for UDP it would let two servers share the port unseen.
        socket.set_reuse_address(reuse)?;
        if let Some(device) = &self.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        socket.bind(&self.address.into())?;
        Ok(socket)
    }

    fn failure(&self, service: &str, transport: &str, error: &io::Error) -> Failure {
        let port = self.address.port();
        let failure = Failure::new(format!("cannot serve {service} on {self}, {transport} port {port}")).cause(error);
        // ENODEV, from SO_BINDTODEVICE, has no kind of its own.
        const ENODEV: i32 = 19;
        match error.kind() {
            ErrorKind::AddrInUse => failure.hint(format!(
                "another program has {transport} port {port}: find it with `ss -lnp 'sport = :{port}'` and stop it, or serve on another address"
            )),
            ErrorKind::PermissionDenied => failure.hint(format!(
                "port {port} needs the capability CAP_NET_BIND_SERVICE{}: start as root or grant it to the service",
                if self.device.is_some() { " and the interface CAP_NET_RAW" } else { "" }
            )),
            ErrorKind::AddrNotAvailable => failure.hint(format!(
                "{} is not an address of this machine: see `ip -4 address`, and name one of those or add it first",
                self.address.ip()
            )),
            _ if error.raw_os_error() == Some(ENODEV) => failure.hint(format!(
                "this machine has no interface `{}`: see `ip link`",
                self.device.as_deref().unwrap_or_default()
            )),
            _ => failure.hint("see the cause above; `ip address` and `ss -lnp` show what this machine has"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if let Some(device) = &self.device {
            write!(f, " ({device})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::Endpoint;

    fn at(address: [u8; 4], port: u16, device: Option<&str>) -> Endpoint {
        Endpoint { address: SocketAddrV4::new(Ipv4Addr::from(address), port), device: device.map(str::to_owned) }
    }

    #[test]
    fn names_the_port_that_is_in_use_and_how_to_find_its_owner() {
        let first = at([127, 0, 0, 1], 0, None).bind_udp("TFTP").unwrap();
        let port = first.local_addr().unwrap().as_socket_ipv4().unwrap().port();
        let text = at([127, 0, 0, 1], port, None).bind_udp("TFTP").unwrap_err().to_string();
        assert!(text.starts_with(&format!("error: cannot serve TFTP on 127.0.0.1:{port}, UDP port {port}\n")), "{text}");
        assert!(text.contains(&format!("hint: another program has UDP port {port}: find it with `ss -lnp")), "{text}");
    }

    #[test]
    fn says_that_an_address_is_not_of_this_machine() {
        let text = at([192, 0, 2, 77], 0, None).listen_tcp("HTTP boot", 8).unwrap_err().to_string();
        assert!(text.contains("hint: 192.0.2.77 is not an address of this machine"), "{text}");
    }

    #[test]
    fn says_that_an_interface_is_not_there() {
        let text = at([127, 0, 0, 1], 0, Some("nosuch0")).bind_udp("TFTP").unwrap_err().to_string();
        assert!(text.contains("hint: this machine has no interface `nosuch0`") || text.contains("CAP_NET_RAW"), "{text}");
    }
}
