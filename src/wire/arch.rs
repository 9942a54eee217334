use std::fmt;

use serde::{Deserialize, Serialize};

/// A client system architecture as in DHCP option 93 (RFC 4578, section 2.1; IANA "Processor Architecture Types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientArch(pub u16);

impl ClientArch {
    /// x86 BIOS.
    pub const X86_BIOS: Self = Self(0);
    /// x86 UEFI.
    pub const X86_UEFI: Self = Self(6);
    /// x64 UEFI, the value that firmware sends.
    pub const X64_UEFI: Self = Self(7);
    /// EBC, which much x64 firmware sends for itself since RFC 4578 had the two the wrong way round.
    pub const EBC: Self = Self(9);
    /// ARM 64-bit UEFI.
    pub const ARM64_UEFI: Self = Self(11);
    /// x64 UEFI booting from HTTP.
    pub const X64_UEFI_HTTP: Self = Self(16);
    /// ARM 64-bit UEFI booting from HTTP.
    pub const ARM64_UEFI_HTTP: Self = Self(19);

    /// The architecture's short name, or `None` for a number without one here.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "x86-bios",
            1 => "nec-pc98",
            2 => "itanium",
            3 => "dec-alpha",
            4 => "arc-x86",
            5 => "intel-lean-client",
            6 => "x86-uefi",
            7 => "x64-uefi",
            8 => "xscale",
            9 => "ebc",
            10 => "arm32-uefi",
            11 => "arm64-uefi",
            12 => "powerpc-open-firmware",
            13 => "powerpc-epapr",
            14 => "power-opal",
            15 => "x86-uefi-http",
            16 => "x64-uefi-http",
            17 => "ebc-http",
            18 => "arm32-uefi-http",
            19 => "arm64-uefi-http",
            20 => "x86-bios-http",
            21 => "arm32-uboot",
            22 => "arm64-uboot",
            23 => "arm32-uboot-http",
            24 => "arm64-uboot-http",
            25 => "riscv32-uefi",
            26 => "riscv32-uefi-http",
            27 => "riscv64-uefi",
            28 => "riscv64-uefi-http",
            29 => "riscv128-uefi",
            30 => "riscv128-uefi-http",
            31 => "s390-basic",
            32 => "s390-extended",
            33 => "mips32-uefi",
            34 => "mips64-uefi",
            35 => "sunway32-uefi",
            36 => "sunway64-uefi",
            37 => "loongarch32-uefi",
            38 => "loongarch32-uefi-http",
            39 => "loongarch64-uefi",
            40 => "loongarch64-uefi-http",
            41 => "arm-rpiboot",
            _ => return None,
        })
    }

    /// Whether the firmware is UEFI.
    #[must_use]
    pub const fn is_uefi(self) -> bool {
        matches!(self.0, 2 | 6 | 7 | 9..=11 | 15..=19 | 25..=30 | 33..=40)
    }

    /// Whether the firmware takes its boot file from a URL (HTTP Boot).
    #[must_use]
    pub const fn boots_from_http(self) -> bool {
        matches!(self.0, 15..=20 | 23 | 24 | 26 | 28 | 30 | 38 | 40)
    }
}

impl fmt::Display for ClientArch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "arch-{}", self.0),
        }
    }
}
