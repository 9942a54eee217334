use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use crate::edge::endpoint::Endpoint;
use crate::failure::{Failure, Result};

/// A socket at the well-known port.
pub(super) struct Listener {
    pub(super) endpoint: Endpoint,
    pub(super) address: SocketAddrV4,
    socket: Socket,
}

impl Listener {
    pub(super) fn bind(endpoint: &Endpoint) -> Result<Self> {
        let cannot = |error: io::Error| Failure::new(format!("cannot serve TFTP on {endpoint}")).cause(&error);
        let socket = endpoint.bind_udp("TFTP")?;
        // Room for the requests of a whole site that comes up at once; the kernel holds it to its own limit.
        let _at_most = socket.set_recv_buffer_size(1 << 20);
        // The address that a request was sent to, which is the one to answer from.
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).map_err(io::Error::from).map_err(cannot)?;
        let address = socket.local_addr().map_err(cannot)?.as_socket_ipv4().unwrap_or(endpoint.address);
        Ok(Self { endpoint: Endpoint { address, ..endpoint.clone() }, address, socket })
    }

    /// The next request: its length, who sent it, and to which address. It does not wait.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddrV4, Ipv4Addr)> {
        let mut parts = [IoSliceMut::new(buffer)];
        let mut control = nix::cmsg_space!(nix::libc::in_pktinfo);
        let message = recvmsg::<SockaddrIn>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
        let asked = message.cmsgs()?.find_map(|part| match part {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr))),
            _ => None,
        });
        let peer = message.address.map_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), SocketAddrV4::from);
        Ok((message.bytes, peer, asked.unwrap_or(*self.address.ip())))
    }

    /// A new port of `local`, for `peer` alone.
    pub(super) fn socket_to(&self, local: Ipv4Addr, peer: SocketAddrV4) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), None)?;
        if let Some(device) = &self.endpoint.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        socket.bind(&SocketAddrV4::new(local, 0).into())?;
        socket.connect(&peer.into())?;
        Ok(socket)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
