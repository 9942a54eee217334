use std::time::Duration;

use super::{Answer, NodeState};
use crate::clock::Timestamp;
use crate::wire::{MacAddr, SystemUuid};

/// Two machines that show one identity within this time are there at once.
pub const AT_ONCE: Duration = Duration::from_secs(600);

/// What a machine shows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Site that vouches for it.
    pub site: u32,
    /// The interface that it boots from.
    pub mac: MacAddr,
    /// SMBIOS UUID, if it tells one machine from another.
    pub uuid: Option<SystemUuid>,
    /// SMBIOS serial number, if it does.
    pub serial: Option<String>,
}

/// What is known of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownNode {
    /// Its number.
    pub id: i64,
    /// Its site.
    pub site: u32,
    /// The interfaces that it has booted from.
    pub macs: Vec<MacAddr>,
    /// Its UUID.
    pub uuid: Option<SystemUuid>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Where it stands.
    pub state: NodeState,
    /// When it asked last.
    pub last_seen: Timestamp,
}

/// Whether a machine is one that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recognition {
    /// It was never seen.
    New,
    /// It is this node.
    Known(i64),
    /// It is this node by site, address and UUID, and yet shows another serial number.
    Doubtful {
        /// The node.
        node: i64,
        /// What is wrong, in words.
        why: String,
    },
    /// It shares something with this node that no two machines share.
    Conflict {
        /// The node.
        with: i64,
        /// What, in words.
        why: String,
        /// Whether that node is about to be set up, and was here just now: then nobody can say which of the two is the right one.
        at_once: bool,
    },
}

/// The serial number, if it tells one machine from another: vendors leave it empty, or leave a placeholder in.
#[must_use]
pub fn identifies(serial: &str) -> Option<String> {
    const PLACEHOLDERS: [&str; 12] = [
        "to be filled by o.e.m.",
        "default string",
        "system serial number",
        "chassis serial number",
        "not specified",
        "not applicable",
        "not available",
        "o.e.m.",
        "invalid",
        "unknown",
        "none",
        "n/a",
    ];
    let serial = serial.trim();
    let alike = serial.chars().next().is_none_or(|first| serial.chars().all(|letter| letter == first));
    let counted = "0123456789".starts_with(serial) || "1234567890".starts_with(serial);
    let known = PLACEHOLDERS.contains(&serial.to_ascii_lowercase().as_str());
    (!alike && !counted && !known).then(|| serial.to_owned())
}

/// Compares a machine with the nodes that share an address, a UUID or a serial number with it.
#[must_use]
pub fn recognise(machine: &Machine, known: &[KnownNode], now: Timestamp) -> Recognition {
    let same = |node: &&KnownNode| node.site == machine.site && node.uuid == machine.uuid && node.macs.contains(&machine.mac);
    let in_service = |node: &&KnownNode| node.state != NodeState::Retired;
    // A machine that was retired and comes back is still that one, unless it was taken in again under another number.
    if let Some(node) = known.iter().filter(same).find(in_service).or_else(|| known.iter().rfind(same)) {
        return match (&node.serial, &machine.serial) {
            (Some(before), Some(now)) if before != now => {
                Recognition::Doubtful { node: node.id, why: format!("it shows the serial number {now}, and had {before} before") }
            }
            _ => Recognition::Known(node.id),
        };
    }
    let difference = |node: &KnownNode| {
        let id = node.id;
        if machine.uuid.is_some() && node.uuid == machine.uuid {
            if node.site != machine.site {
                return Some(format!("node {id} of another site has the same UUID"));
            }
            let macs: Vec<String> = node.macs.iter().map(ToString::to_string).collect();
            return Some(format!("node {id} has the same UUID, and other hardware addresses ({})", macs.join(", ")));
        }
        if node.macs.contains(&machine.mac) {
            if node.site != machine.site {
                return Some(format!("node {id} of another site has the same hardware address"));
            }
            return Some(format!("node {id} has the same hardware address, and another UUID"));
        }
        let serial = machine.uuid.is_none() && node.uuid.is_none() && machine.serial.is_some() && node.serial == machine.serial;
        serial.then(|| format!("node {id} has the same serial number, and other hardware addresses"))
    };
    for node in known.iter().filter(in_service) {
        if let Some(why) = difference(node) {
            let at_once = node.state.answer() == Answer::Boot && now.since(node.last_seen) < AT_ONCE;
            return Recognition::Conflict { with: node.id, why, at_once };
        }
    }
    Recognition::New
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const OTHER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn uuid(last: u8) -> Option<SystemUuid> {
        Some(SystemUuid([0x4c, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, last]))
    }

    fn machine() -> Machine {
        Machine { site: 1, mac: MAC, uuid: uuid(1), serial: Some("CZ2D4F".to_owned()) }
    }

    fn node() -> KnownNode {
        let Machine { site, mac, uuid, serial } = machine();
        KnownNode { id: 7, site, macs: vec![OTHER_MAC, mac], uuid, serial, state: NodeState::Configured, last_seen: Timestamp(0) }
    }

    fn conflict(machine: &Machine, node: KnownNode) -> String {
        match recognise(machine, &[node], Timestamp::from_secs(3600)) {
            Recognition::Conflict { with: 7, why, at_once: false } => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_machine_is_known_by_site_address_and_uuid_together() {
        let now = Timestamp::from_secs(1);
        assert_eq!(recognise(&machine(), &[], now), Recognition::New);
        assert_eq!(recognise(&machine(), &[node()], now), Recognition::Known(7));
        assert_eq!(recognise(&Machine { mac: OTHER_MAC, ..machine() }, &[node()], now), Recognition::Known(7), "any of its ports");
        assert_eq!(recognise(&Machine { serial: None, ..machine() }, &[node()], now), Recognition::Known(7));
        let other = Machine { serial: Some("X99".to_owned()), ..machine() };
        assert!(matches!(recognise(&other, &[node()], now), Recognition::Doubtful { node: 7, .. }));
    }

    #[test]
    fn what_no_two_machines_share_is_a_conflict_that_says_what() {
        let third = MacAddr([2, 0, 0, 0, 0, 3]);
        assert!(conflict(&Machine { site: 2, ..machine() }, node()).contains("of another site has the same UUID"));
        assert!(
            conflict(&Machine { mac: third, ..machine() }, node()).contains("same UUID, and other hardware addresses (02:00:00:00:00:02")
        );
        assert!(conflict(&Machine { uuid: uuid(2), ..machine() }, node()).contains("same hardware address, and another UUID"));
        assert!(conflict(&Machine { uuid: None, ..machine() }, node()).contains("same hardware address"));
        assert!(conflict(&Machine { mac: third, uuid: None, ..machine() }, KnownNode { uuid: None, ..node() }).contains("serial number"));
        let retired = KnownNode { state: NodeState::Retired, ..node() };
        assert_eq!(recognise(&Machine { mac: third, ..machine() }, std::slice::from_ref(&retired), Timestamp(1)), Recognition::New);
        assert_eq!(recognise(&machine(), &[retired], Timestamp(1)), Recognition::Known(7), "a retired machine is still that one");
    }

    #[test]
    fn twice_at_once_is_when_the_other_is_about_to_be_set_up() {
        let twin = Machine { mac: MacAddr([2, 0, 0, 0, 0, 3]), ..machine() };
        let at_once = |state, seconds: u64| {
            let node = KnownNode { state, last_seen: Timestamp::from_secs(1000), ..node() };
            matches!(recognise(&twin, &[node], Timestamp::from_secs(1000 + seconds)), Recognition::Conflict { at_once: true, .. })
        };
        assert!(at_once(NodeState::Approved, 5) && at_once(NodeState::Booting, 599) && at_once(NodeState::Rearmed, 5));
        assert!(!at_once(NodeState::Approved, 600) && !at_once(NodeState::Configured, 5) && !at_once(NodeState::Pending, 5));
    }

    #[test]
    fn a_placeholder_is_no_serial_number() {
        for serial in ["", " ", "0", "00000000", "To Be Filled By O.E.M.", "Default string", "123456789", "xxxxxxx", "None"] {
            assert_eq!(identifies(serial), None, "{serial}");
        }
        assert_eq!(identifies(" CZ2D4F "), Some("CZ2D4F".to_owned()));
    }
}
