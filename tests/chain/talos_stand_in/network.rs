//! The node's network: one link, one address by DHCP.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use crate::Result;
use crate::console::say;

/// The link that has the address.
pub(crate) struct Link {
    /// Its hardware address, with colons.
    pub(crate) mac: String,
}

/// Brings up the first Ethernet link and waits for an address, as long as it takes.
///
/// The DHCP client is BusyBox's, so that the server is asked by a program that nobody here wrote.
pub(crate) fn configure() -> Result<Link> {
    let name = first_ethernet_link()?;
    let mac = read_trimmed(&format!("/sys/class/net/{name}/address"))?;
    say(&format!("link {name} mac={mac}"));
    loop {
        let status = Command::new("/bin/busybox")
            .args(["udhcpc", "-i", &name, "-s", "/bin/udhcpc-script", "-q", "-n", "-t", "10", "-T", "2"])
            .status()
            .map_err(|error| format!("cannot start udhcpc: {error}"))?;
        if status.success() {
            let address = fs::read_to_string("/run/address").map_err(|error| format!("udhcpc left no address: {error}"))?;
            say(&format!("address {} on {name}", address.trim()));
            return Ok(Link { mac });
        }
        say("no answer to DHCP; asking again");
    }
}

fn first_ethernet_link() -> Result<String> {
    const ETHERNET: &str = "1";
    for _ in 0..100 {
        let entries = fs::read_dir("/sys/class/net").map_err(|error| format!("cannot list links: {error}"))?;
        let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        for name in names {
            if read_trimmed(&format!("/sys/class/net/{name}/type")).is_ok_and(|kind| kind == ETHERNET) {
                return Ok(name);
            }
        }
        sleep(Duration::from_millis(100));
    }
    Err("there is no network card that the kernel knows".to_owned())
}

/// A sysfs attribute without its line break.
pub(crate) fn read_trimmed(path: &str) -> Result<String> {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).map_err(|error| format!("cannot read {path}: {error}"))
}
