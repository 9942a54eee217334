//! What a request tells about the program that sent it.

use super::levels::user_classes;
use super::message::{Request, sub_option};
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
    is_ipxe: bool,
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
    /// In a word.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::System => "not a network boot",
            Self::Pxe => "PXE firmware, or an iPXE that can't go on by itself",
            Self::Http => "UEFI HTTP Boot",
            Self::Ipxe => "iPXE",
        }
    }

    /// Whether a DISCOVER of this stage begins a boot.
    pub(super) const fn is_firmware(self) -> bool {
        matches!(self, Self::Pxe | Self::Http)
    }
}

impl Client {
    pub(super) fn of(request: &Request<'_>) -> Self {
        let class = request.option(option::VENDOR_CLASS).unwrap_or_default();
        let is_ipxe = is_ipxe(request);
        let stage = if is_ipxe {
            if reaches_the_cloud(request) { Stage::Ipxe } else { Stage::Pxe }
        } else if class.starts_with(b"PXEClient") {
            Stage::Pxe
        } else if class.starts_with(b"HTTPClient") {
            Stage::Http
        } else if class.starts_with(b"U-Boot") {
            // U-Boot's own class, until its EFI loader asks as `PXEClient`. It reads the boot file from the `file` field only.
            Stage::Pxe
        } else {
            Stage::System
        };
        Self {
            stage,
            archs: architectures(request, class),
            mac: request.hardware.mac(),
            uuid: request.option(option::MACHINE_UUID).and_then(SystemUuid::from_dhcp),
            is_ipxe,
        }
    }

    /// The architecture to report.
    pub(super) fn arch(&self) -> Option<ClientArch> {
        self.archs.first().copied()
    }

    /// Whether it is an iPXE that can't go to the cloud by itself.
    pub(super) const fn is_stuck_ipxe(&self) -> bool {
        self.is_ipxe && matches!(self.stage, Stage::Pxe)
    }

    /// Whether the client can be sent options in `file` and `sname` (option 52). Systems look there. Of what boots from the network,
    /// UEFI does when it lists the boot file among the options that it wants; ROMs, iPXE and U-Boot read the fields themselves.
    pub(super) fn reads_overload(&self, request: &Request<'_>) -> bool {
        let lists_the_file = || request.option(option::PARAMETER_REQUEST_LIST).is_some_and(|list| list.contains(&option::BOOT_FILE));
        let is_uefi = || self.archs.first().is_some_and(|arch| arch.is_uefi());
        self.stage == Stage::System || (!self.is_ipxe && is_uefi() && lists_the_file())
    }
}

/// iPXE sends its user class bare; RFC 3004 would have a length octet in front.
fn is_ipxe(request: &Request<'_>) -> bool {
    user_classes(request).any(|class| class == b"iPXE")
}

/// Whether iPXE's feature list (option 175) names HTTPS and a version that can use it towards the cloud.
///
/// It is also the guard against a loop: iPXE says `iPXE` whether or not it can use what comes next. Before 2.0 it had HTTPS, in the BIOS
/// ROM of Debian 13's QEMU for one, and none of the cipher suites that the cloud offers; builds from git say 1.0.
fn reaches_the_cloud(request: &Request<'_>) -> bool {
    let features = request.option(option::IPXE).unwrap_or_default();
    let feature = |code| sub_option(features, code);
    let has_https = feature(option::IPXE_HTTPS).is_some_and(|value| value.iter().any(|octet| *octet != 0));
    let major = feature(option::IPXE_VERSION).and_then(<[u8]>::first);
    has_https && major.is_some_and(|major| *major >= 2)
}

/// Option 93 may list several architectures (RFC 4578, section 2.1). Some firmware leaves it out and names its architecture
/// only within its class, as in `PXEClient:Arch:00007:UNDI:003000`.
fn architectures(request: &Request<'_>, class: &[u8]) -> Vec<ClientArch> {
    let listed = request.option(option::CLIENT_ARCH).unwrap_or_default();
    let (pairs, _) = listed.as_chunks::<2>();
    if !pairs.is_empty() {
        return pairs.iter().map(|pair| ClientArch(u16::from_be_bytes(*pair))).collect();
    }
    let class = String::from_utf8_lossy(class);
    let named = match class.split_once(":Arch:") {
        Some((_, rest)) => rest.split(':').next().and_then(|number| number.parse().ok()).map(ClientArch),
        // ROMs of before option 93 knew of one architecture only.
        None => class.starts_with("PXEClient").then_some(ClientArch::X86_BIOS),
    };
    named.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::dhcp::tests::packet::Packet;

    fn client(packet: &Packet) -> Client {
        let datagram = packet.build();
        Client::of(&Request::parse(&datagram).unwrap())
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
        assert_eq!(client(&Packet::discover().option(60, b"PXEClient")).archs, [ClientArch::X86_BIOS], "a ROM of before option 93");
    }
}
