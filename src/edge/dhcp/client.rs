//! What a request tells about the program that sent it.

use super::message::Request;
use super::option;
use crate::wire::{ClientArch, MacAddr, SystemUuid};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) stage: Stage,
    /// The architectures that the client can boot, the first one best.
    pub(super) archs: Vec<ClientArch>,
    /// `None` for hardware that is not Ethernet.
    pub(super) mac: Option<MacAddr>,
    pub(super) uuid: Option<SystemUuid>,
}

/// How far the machine has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not booting from the network: an installed system, a printer.
    System,
    /// PXE firmware, or an iPXE that can't go to the cloud by itself: without HTTPS, or too old (the BIOS ROM of QEMU is either).
    Pxe,
    /// UEFI HTTP Boot: the class `HTTPClient`.
    Http,
    /// iPXE that speaks the cloud's HTTPS: the last stage before the cloud.
    Ipxe,
}

impl Stage {
    /// Whether a DISCOVER of this stage begins a boot.
    pub(super) const fn is_firmware(self) -> bool {
        matches!(self, Self::Pxe | Self::Http)
    }
}

impl Client {
    pub(super) fn of(request: &Request) -> Self {
        let class = request.option(option::VENDOR_CLASS).unwrap_or_default();
        let stage = if is_ipxe(request) {
            if reaches_the_cloud(request) { Stage::Ipxe } else { Stage::Pxe }
        } else if class.starts_with(b"PXEClient") {
            Stage::Pxe
        } else if class.starts_with(b"HTTPClient") {
            Stage::Http
        } else {
            Stage::System
        };
        Self {
            stage,
            archs: architectures(request, class),
            mac: request.hardware.mac(),
            uuid: request.option(option::MACHINE_UUID).and_then(SystemUuid::from_dhcp),
        }
    }

    /// The architecture to report.
    pub(super) fn arch(&self) -> Option<ClientArch> {
        self.archs.first().copied()
    }
}

/// iPXE sends its user class bare; RFC 3004 would have a length octet in front.
fn is_ipxe(request: &Request) -> bool {
    matches!(request.option(option::USER_CLASS), Some(b"iPXE" | b"\x04iPXE"))
}

/// Whether iPXE's feature list (option 175) names HTTPS and a version that can use it towards the cloud.
///
/// It is also the guard against a loop: iPXE says `iPXE` whether or not it can use what comes next. Before 2.0 it had HTTPS, in the BIOS
/// ROM of Debian 13's QEMU for one, and none of the cipher suites that the cloud offers; builds from git say 1.0.
fn reaches_the_cloud(request: &Request) -> bool {
    let has_https = ipxe_feature(request, option::IPXE_HTTPS).is_some_and(|value| value.iter().any(|octet| *octet != 0));
    let major = ipxe_feature(request, option::IPXE_VERSION).and_then(<[u8]>::first);
    has_https && major.is_some_and(|major| *major >= 2)
}

/// A sub-option of option 175.
fn ipxe_feature(request: &Request, wanted: u8) -> Option<&[u8]> {
    let mut rest = request.option(option::IPXE)?;
    loop {
        match *rest {
            [0, ref after @ ..] => rest = after,
            [] | [255, ..] | [_] => return None,
            [code, length, ref after @ ..] => {
                let (value, after) = after.split_at_checked(usize::from(length))?;
                if code == wanted {
                    return Some(value);
                }
                rest = after;
            }
        }
    }
}

/// Option 93 may list several architectures (RFC 4578, section 2.1). Some firmware leaves it out and names its architecture
/// only within its class, as in `PXEClient:Arch:00007:UNDI:003000`.
fn architectures(request: &Request, class: &[u8]) -> Vec<ClientArch> {
    let listed = request.option(option::CLIENT_ARCH).unwrap_or_default();
    let (pairs, _) = listed.as_chunks::<2>();
    if !pairs.is_empty() {
        return pairs.iter().map(|pair| ClientArch(u16::from_be_bytes(*pair))).collect();
    }
    let class = String::from_utf8_lossy(class);
    let named = class.split_once(":Arch:").and_then(|(_, rest)| rest.split(':').next()?.parse().ok());
    named.map(ClientArch).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::dhcp::tests::packet::Packet;

    fn client(packet: &Packet) -> Client {
        Client::of(&Request::parse(&packet.build()).unwrap())
    }

    #[test]
    fn ipxe_is_only_told_apart_when_it_has_https_and_is_2_0_or_later() {
        let stage = |user_class: &[u8], features: &[u8]| {
            client(&Packet::discover().option(60, b"PXEClient:Arch:00000:UNDI:002001").option(77, user_class).option(175, features)).stage
        };
        let able = [0xb1, 1, 1, 0xeb, 3, 2, 0, 0, 0x14, 1, 1, 0x13, 1, 1];
        assert_eq!(stage(b"iPXE", &able), Stage::Ipxe);
        assert_eq!(stage(b"\x04iPXE", &able), Stage::Ipxe);
        assert_eq!(stage(b"iPXE", &[0xeb, 3, 2, 0, 0, 0x13, 1, 1]), Stage::Pxe);
        assert_eq!(stage(b"iPXE", &[0xeb, 3, 2, 0, 0, 0x14, 1, 0]), Stage::Pxe);
        assert_eq!(stage(b"iPXE", &[0xeb, 3, 1, 21, 1, 0x14, 1, 1]), Stage::Pxe, "1.21.1");
        assert_eq!(stage(b"iPXE", &[0xeb, 3, 1, 0, 0, 0x14, 1, 1]), Stage::Pxe, "the ROM of Debian 13's QEMU");
        assert_eq!(stage(b"iPXE", &[0x14, 1, 1]), Stage::Pxe, "no version");
        assert_eq!(stage(b"iPXE", &[0xb1, 5, 0x14, 1, 1]), Stage::Pxe);
        assert_eq!(stage(b"gPXE", &able), Stage::Pxe);
    }

    #[test]
    fn rfc4578_2_1_several_architectures_are_kept_in_order() {
        assert_eq!(client(&Packet::discover().option(93, &[0, 9, 0, 7])).archs, [ClientArch::EBC, ClientArch::X64_UEFI]);
    }

    #[test]
    fn an_architecture_named_only_in_the_class_counts() {
        let found = client(&Packet::discover().option(60, b"PXEClient:Arch:00007:UNDI:003016"));
        assert_eq!(found.archs, [ClientArch::X64_UEFI]);
        assert_eq!(client(&Packet::discover().option(60, b"PXEClient:Arch:x")).archs, []);
    }
}
