use std::io;
use std::net::Ipv4Addr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::LinkAddr;

use crate::wire::MacAddr;

/// A network interface as the system has it now.
#[derive(Clone, Debug)]
pub struct SystemInterface {
    /// Its name.
    pub name: String,
    /// Its link-layer address, by which frames are sent.
    pub(super) link: Option<LinkAddr>,
    /// Its IPv4 addresses.
    pub addresses: Vec<InterfaceAddress>,
}

/// An IPv4 address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// The mask of its network.
    pub mask: Ipv4Addr,
}

/// Ethernet in the kernel's list of link types (`ARPHRD_ETHER`).
const ETHERNET: u16 = 1;

impl SystemInterface {
    /// The interface of this name, or `None` when there is none.
    ///
    /// # Errors
    /// When the system can't list its interfaces.
    pub fn find(name: &str) -> io::Result<Option<Self>> {
        let mut found: Option<Self> = None;
        for entry in getifaddrs()?.filter(|entry| entry.interface_name == name) {
            let interface = found.get_or_insert_with(|| Self { name: name.to_owned(), link: None, addresses: Vec::new() });
            let Some(address) = entry.address else { continue };
            if let Some(link) = address.as_link_addr() {
                interface.link = Some(*link);
            }
            if let (Some(address), Some(mask)) = (address.as_sockaddr_in(), entry.netmask.as_ref().and_then(|mask| mask.as_sockaddr_in())) {
                interface.addresses.push(InterfaceAddress { address: address.ip(), mask: mask.ip() });
            }
        }
        Ok(found)
    }

    /// The system's number of it: another one when an interface of the same name was made anew.
    #[must_use]
    pub fn index(&self) -> Option<usize> {
        self.link.map(|link| link.ifindex())
    }

    /// Its hardware address, when it is an Ethernet interface.
    #[must_use]
    pub fn mac(&self) -> Option<MacAddr> {
        let link = self.link.filter(|link| link.hatype() == ETHERNET && link.halen() == 6)?;
        link.addr().map(MacAddr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_there_and_is_no_ethernet() {
        let loopback = SystemInterface::find("lo").unwrap().unwrap();
        assert_eq!(loopback.mac(), None);
        assert!(SystemInterface::find("no-such-if").unwrap().is_none());
    }
}
