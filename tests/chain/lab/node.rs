//! A machine with an empty disk.

use std::path::Path;
use std::time::Duration;

use fairlead::failure::{Failure, Result};
use fairlead::wire::{MacAddr, SystemUuid};

use super::files::create_directory;
use super::firmware::{Accelerator, Firmware, Ovmf};
use super::log_file::LogFile;
use super::network::Network;
use super::process::Daemon;

/// Where the firmware looks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BootOrder {
    /// The disk; an empty one is passed over.
    DiskFirst,
    /// The network, always.
    NetworkFirst,
}

/// What a node is made of.
#[derive(Clone, Debug)]
pub(crate) struct Hardware {
    /// Tells nodes of one lab apart; MAC, UUID and serial number follow from it.
    pub(crate) number: u8,
    /// Its firmware.
    pub(crate) firmware: Firmware,
    /// Its firmware's settings.
    pub(crate) boot_order: BootOrder,
}

impl Hardware {
    /// Its network card's address.
    pub(crate) fn mac(&self) -> MacAddr {
        MacAddr([0x52, 0x54, 0x00, 0xfa, 0x1e, self.number])
    }

    /// Its SMBIOS UUID.
    pub(crate) fn uuid(&self) -> SystemUuid {
        SystemUuid([0x7a, 0x11, 0xaf, 0x0e, 0x5e, 0xed, 0x4b, 0x07, 0x80, 0x00, 0xfa, 0x12, 0x1e, 0xad, 0x00, self.number])
    }

    /// Its SMBIOS serial number.
    pub(crate) fn serial(&self) -> String {
        format!("LAB-{:04}", self.number)
    }
}

/// A machine that is switched on.
#[derive(Debug)]
pub(crate) struct Node {
    hardware: Hardware,
    qemu: Daemon,
    console: LogFile,
}

/// Large enough for the image and the config.
const DISK_SIZE: u64 = 512 << 20;
/// The initramfs is held three times while it is unpacked: by iPXE, packed, and unpacked.
const MEMORY_MEBIBYTES: &str = "640";

impl Node {
    /// Makes the machine and switches it on.
    pub(crate) fn switch_on(network: &Network, directory: &Path, accelerator: Accelerator, hardware: Hardware) -> Result<Self> {
        let name = format!("node{}", hardware.number);
        let directory = directory.join(&name);
        create_directory(&directory)?;
        network.tap(&name)?;

        let disk = directory.join("disk.raw");
        let made = std::fs::File::create(&disk).and_then(|file| file.set_len(DISK_SIZE));
        made.map_err(|error| Failure::new(format!("cannot make the disk `{}`", disk.display())).cause(&error))?;
        let serial = directory.join("serial.log");
        let (accelerator, processor) = accelerator.arguments();
        let (network_place, disk_place) = match hardware.boot_order {
            BootOrder::DiskFirst => (2, 1),
            BootOrder::NetworkFirst => (1, 2),
        };
        let mut qemu = network.switch.command("qemu-system-x86_64");
        qemu.args(["-name", &name, "-nodefaults", "-display", "none", "-m", MEMORY_MEBIBYTES, "-cpu", processor])
            .args(["-uuid", &hardware.uuid().to_string()])
            .args(["-smbios", &format!("type=1,manufacturer=Fairlead,product=Lab machine,serial={}", hardware.serial())])
            .args(["-serial", &format!("file:{}", serial.display())])
            .args(["-netdev", &format!("tap,id=lan,ifname={name},script=no,downscript=no")])
            // The image is thrown away with the machine: no need to wait for this machine's disk.
            .args(["-drive", &format!("if=none,id=disk,format=raw,cache=unsafe,file={}", disk.display())])
            .args(["-device", &format!("virtio-blk-pci,drive=disk,bootindex={disk_place}")])
            .args(["-device", "virtio-rng-pci"]);
        let card = format!("virtio-net-pci,netdev=lan,mac={},bootindex={network_place}", hardware.mac());
        if hardware.firmware == Firmware::Bios {
            // The card's own ROM is iPXE without HTTPS; SeaBIOS writes to the serial line when there are no graphics.
            qemu.args(["-machine", &format!("pc,graphics=off,{accelerator}"), "-device", &card]);
        } else {
            let ovmf = Ovmf::find()?;
            let variables = directory.join("variables.fd");
            std::fs::copy(&ovmf.variables, &variables).map_err(|error| Failure::new("cannot copy OVMF's variables").cause(&error))?;
            let flash = |unit: u8, file: &Path, more: &str| format!("if=pflash,format=raw,unit={unit},file={}{more}", file.display());
            qemu.args(["-machine", &format!("q35,{accelerator}")])
                .args(["-drive", &flash(0, &ovmf.code, ",readonly=on")])
                .args(["-drive", &flash(1, &variables, "")])
                // Without a ROM on the card OVMF uses its own network stack.
                .args(["-device", &format!("{card},romfile=")]);
            if hardware.firmware == Firmware::UefiHttp {
                qemu.args(["-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n"]);
            }
            qemu.args(["-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"]);
        }
        let qemu = Daemon::start(&name, &mut qemu, &directory.join("qemu.log"))?;
        Ok(Self { hardware, qemu, console: LogFile::new(&serial) })
    }

    /// What it is made of.
    pub(crate) fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// What it is called in logs.
    pub(crate) fn name(&self) -> String {
        format!("node{}", self.hardware.number)
    }

    /// How its emulator ended, once it has.
    pub(crate) fn has_ended(&mut self) -> Option<String> {
        self.qemu.has_ended()
    }

    /// Its serial console.
    pub(crate) fn console(&self) -> &LogFile {
        &self.console
    }

    /// Waits for a line on its console, and no longer than it runs.
    pub(crate) fn wait_for(&mut self, step: &str, pattern: &str, patience: Duration) -> Result<String> {
        self.console.wait_while(step, pattern, patience, &mut || self.qemu.has_ended())
    }
}
