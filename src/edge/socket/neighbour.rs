use std::fs;
use std::io;
use std::net::Ipv4Addr;

use crate::wire::MacAddr;

/// The hardware address of a machine on a segment that this one has just spoken with, by the kernel's neighbour table.
///
/// # Errors
/// When the table can't be read.
pub fn neighbour(address: Ipv4Addr) -> io::Result<Option<MacAddr>> {
    fs::read_to_string("/proc/net/arp").map(|table| find(&table, address))
}

/// Columns: address, hardware type, flags, hardware address, mask, device. Flags without bit 1 are entries still asked for.
fn find(table: &str, address: Ipv4Addr) -> Option<MacAddr> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let found: Ipv4Addr = columns.next()?.parse().ok()?;
        let flags = columns.nth(1)?.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok())?;
        let mac: MacAddr = columns.next()?.parse().ok()?;
        (found == address && flags & 2 != 0 && mac.is_unicast()).then_some(mac)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_entries_count() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     192.0.2.7        0x1         0x0         00:00:00:00:00:00     *        eth1\n\
                     192.0.2.8        0x1         0x2         52:54:00:12:34:56     *        eth1\n";
        assert_eq!(find(table, Ipv4Addr::new(192, 0, 2, 8)), Some(MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56])));
        assert_eq!(find(table, Ipv4Addr::new(192, 0, 2, 7)), None);
        assert_eq!(find(table, Ipv4Addr::new(192, 0, 2, 9)), None);
    }
}
