//! The firmware of test nodes, and whether this machine's KVM can run it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fairlead::failure::{Failure, Result};

use super::files::RunDirectory;
use super::log_file::LogFile;
use super::process::Daemon;

/// How a node's firmware boots from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Firmware {
    /// OVMF by PXE.
    Uefi,
    /// SeaBIOS with iPXE as the network card's ROM, by PXE.
    Bios,
    /// OVMF by UEFI HTTP Boot.
    UefiHttp,
}

/// OVMF's two parts: its code, and an empty store of its variables.
#[derive(Clone, Debug)]
pub(crate) struct Ovmf {
    /// Read only.
    pub(crate) code: PathBuf,
    /// To be copied for each node.
    pub(crate) variables: PathBuf,
}

impl Ovmf {
    /// The OVMF that is installed here.
    pub(crate) fn find() -> Result<Self> {
        const PLACES: [(&str, &str); 3] = [
            ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
            ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
            ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
        ];
        let found = PLACES.iter().find(|(code, variables)| Path::new(code).exists() && Path::new(variables).exists());
        let (code, variables) = found.ok_or_else(|| {
            Failure::new("there is no OVMF, the UEFI firmware for virtual machines")
                .because(format!("looked for {}", PLACES.map(|(code, _)| code).join(", ")))
                .hint("on Debian install the package `ovmf`; elsewhere `edk2-ovmf`")
        })?;
        Ok(Self { code: PathBuf::from(code), variables: PathBuf::from(variables) })
    }
}

/// What runs a node's processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// The machine's own processor.
    Kvm,
    /// Emulation in software.
    Tcg,
}

impl Accelerator {
    /// Boots firmware under KVM for a moment; when that shows nothing, nodes are emulated.
    ///
    /// A `/dev/kvm` that is there says little: under some hypervisors firmware dies in it.
    pub(crate) fn probe(ovmf: &Ovmf, directory: &RunDirectory) -> (Self, String) {
        if !Path::new("/dev/kvm").exists() {
            return (Self::Tcg, "there is no /dev/kvm: nodes are emulated".to_owned());
        }
        match boots_under_kvm(ovmf, directory) {
            Ok(()) => (Self::Kvm, "KVM runs firmware here".to_owned()),
            Err(_) => (Self::Tcg, "/dev/kvm is there but firmware does not run in it: nodes are emulated".to_owned()),
        }
    }

    /// What QEMU is told.
    pub(crate) fn arguments(self) -> (&'static str, &'static str) {
        match self {
            Self::Kvm => ("accel=kvm", "host"),
            Self::Tcg => ("accel=tcg", "max"),
        }
    }
}

fn boots_under_kvm(ovmf: &Ovmf, directory: &RunDirectory) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(8);
    let console = directory.path().join("kvm-probe.serial");
    let mut qemu = std::process::Command::new("qemu-system-x86_64");
    qemu.args(["-nodefaults", "-display", "none", "-nic", "none", "-m", "256", "-machine", "q35,accel=kvm", "-cpu", "host"])
        .arg("-drive")
        .arg(format!("if=pflash,format=raw,unit=0,readonly=on,file={}", ovmf.code.display()))
        .arg("-serial")
        .arg(format!("file:{}", console.display()));
    let mut probe = Daemon::start("the KVM probe", &mut qemu, &directory.path().join("kvm-probe.log"))?;
    let console = LogFile::new(&console);
    // The boot manager is the first to write to the console; a firmware that dies has written nothing, or restarts for ever.
    console.wait_while("firmware runs under KVM", "BdsDxe", PATIENCE, &mut || probe.has_ended())?;
    Ok(())
}
