//! The DHCP messages of a capture, as tshark reads them.

use std::thread::sleep;
use std::time::{Duration, Instant};

use fairlead::failure::{Failure, Result};
use fairlead_lab::capture::Capture;

pub(crate) const DISCOVER: u8 = 1;
pub(crate) const OFFER: u8 = 2;
pub(crate) const REQUEST: u8 = 3;
pub(crate) const ACK: u8 = 5;
pub(crate) const NAK: u8 = 6;
pub(crate) const RELEASE: u8 = 7;

pub(crate) const EVERYBODY: &str = "255.255.255.255";
pub(crate) const NOBODY: &str = "0.0.0.0";

/// A message; what is not in it is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packet {
    pub(crate) kind: u8,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) ciaddr: String,
    pub(crate) yiaddr: String,
    pub(crate) requested: String,
    pub(crate) server: String,
    pub(crate) lease: String,
    pub(crate) renewal: String,
    pub(crate) rebinding: String,
    pub(crate) boot_file: String,
}

const FIELDS: [&str; 11] = [
    "dhcp.option.dhcp",
    "ip.src",
    "ip.dst",
    "dhcp.ip.client",
    "dhcp.ip.your",
    "dhcp.option.requested_ip_address",
    "dhcp.option.dhcp_server_id",
    "dhcp.option.ip_address_lease_time",
    "dhcp.option.renewal_time_value",
    "dhcp.option.rebinding_time_value",
    "dhcp.file",
];

impl Packet {
    /// REQUEST to the server alone, from the client's address (RFC 2131, section 4.3.2: RENEWING).
    pub(crate) fn is_renewal_of(&self, address: &str) -> bool {
        self.kind == REQUEST && self.ciaddr == address && self.from == address && self.to == crate::site::SERVER
    }

    /// REQUEST to everybody, from the client's address (REBINDING).
    pub(crate) fn is_rebinding_of(&self, address: &str) -> bool {
        self.kind == REQUEST && self.ciaddr == address && self.to == EVERYBODY
    }

    /// REQUEST to everybody for an address that is remembered (INIT-REBOOT).
    pub(crate) fn is_reboot_with(&self, address: &str) -> bool {
        self.kind == REQUEST && self.ciaddr == NOBODY && self.requested == address && self.server.is_empty() && self.to == EVERYBODY
    }

    /// REQUEST to everybody that takes an offer (SELECTING).
    pub(crate) fn is_selection_of(&self, address: &str) -> bool {
        self.kind == REQUEST
            && self.ciaddr == NOBODY
            && self.requested == address
            && self.server == crate::site::SERVER
            && self.to == EVERYBODY
    }
}

/// All messages so far, in order.
pub(crate) fn read(capture: &Capture) -> Result<Vec<Packet>> {
    // An ICMP error quotes what it is about.
    let rows = capture.so_far().fields("dhcp && !icmp", &FIELDS)?;
    let packet = |row: Vec<String>| {
        let mut cells = row.into_iter();
        let mut next = || cells.next().unwrap_or_default();
        Packet {
            kind: next().parse().unwrap_or_default(),
            from: next(),
            to: next(),
            ciaddr: next(),
            yiaddr: next(),
            requested: next(),
            server: next(),
            lease: next(),
            renewal: next(),
            rebinding: next(),
            boot_file: next(),
        }
    };
    Ok(rows.into_iter().map(packet).collect())
}

/// Waits for a message behind the first `seen`, and for the answer of that type to it; returns both and how many have been seen then.
pub(crate) fn wait_for(
    capture: &Capture,
    seen: usize,
    step: &str,
    is_wanted: &dyn Fn(&Packet) -> bool,
    answer: u8,
    patience: Duration,
) -> Result<(Packet, Packet, usize)> {
    let deadline = Instant::now() + patience;
    loop {
        let packets = read(capture)?;
        let later = packets.get(seen..).unwrap_or_default();
        if let Some(place) = later.iter().position(is_wanted)
            && let Some(behind) = later.get(place..)
            && let Some(distance) = behind.iter().position(|packet| packet.kind == answer)
            && let (Some(found), Some(answered)) = (behind.first(), behind.get(distance))
        {
            let seen = seen.saturating_add(place).saturating_add(distance).saturating_add(1);
            return Ok((found.clone(), answered.clone(), seen));
        }
        if Instant::now() > deadline {
            let what: Vec<String> = later.iter().map(|packet| format!("{packet:?}")).collect();
            return Err(Failure::new(format!("did not happen within {} s: {step}", patience.as_secs()))
                .because(format!("the messages since the last step:\n{}", what.join("\n")))
                .hint(format!("read {}", capture.path().display())));
        }
        sleep(Duration::from_secs(1));
    }
}
