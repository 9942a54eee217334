//! Which hardware address stands behind an address of the segment: the system's neighbour table.

use std::net::Ipv4Addr;

use crate::wire::MacAddr;

/// The hardware address of a neighbour that the system has spoken to lately, as after serving it a file.
///
/// Beside another DHCP server this is the only way to tell which machine has an address: we did not give it out.
#[must_use]
pub fn hardware_address(address: Ipv4Addr) -> Option<MacAddr> {
    find(&std::fs::read_to_string("/proc/net/arp").ok()?, address)
}

/// Reads the kernel's table (proc(5)): a line of titles, then address, hardware type, flags, hardware address, mask, device.
fn find(table: &str, address: Ipv4Addr) -> Option<MacAddr> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let found: Ipv4Addr = fields.next()?.parse().ok()?;
        let mac: MacAddr = fields.nth(2)?.parse().ok()?;
        // An entry that is still being asked for has zeros.
        (found == address && mac.is_unicast()).then_some(mac)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_neighbour_and_no_unfinished_entry() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     192.0.2.7        0x1         0x0         00:00:00:00:00:00     *        eth1\n\
                     192.0.2.100      0x1         0x2         52:54:00:12:34:56     *        eth1\n\
                     garbage\n";
        let mac = |last: u8| find(table, Ipv4Addr::new(192, 0, 2, last));
        assert_eq!(mac(100), Some(MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56])));
        assert_eq!((mac(7), mac(1)), (None, None));
        assert_eq!(find("", Ipv4Addr::LOCALHOST), None);
    }
}
