//! U-Boot, as Debian builds it for QEMU. UEFI and BIOS firmware boots in the tests of the chain.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use fairlead::failure::{Failure, Result};
use fairlead_lab::log_file::LogFile;
use fairlead_lab::process::Daemon;

use crate::NamedTrial;
use crate::packets::{ACK, DISCOVER, OFFER, Packet, wait_for};
use crate::site::{INTERFACE, Site};
use crate::story::expect;

pub(super) const TRIALS: &[NamedTrial] = &[("u_boot_leases_and_after_a_power_cut_has_the_same_address_and_fetches_the_boot_file", u_boot)];

const ROM: &str = "/usr/lib/u-boot/qemu-x86/u-boot.rom";
const BOUND: &str = "DHCP client bound to address";
/// It is emulated, on a machine that has other work.
const PATIENCE: Duration = Duration::from_mins(2);

struct Machine {
    qemu: Daemon,
    console: LogFile,
    keyboard: UnixStream,
}

impl Machine {
    fn switch_on(site: &Site, boot: u8) -> Result<Self> {
        if !Path::new(ROM).exists() {
            return Err(Failure::new(format!("there is no `{ROM}`")).hint("on Debian install the package `u-boot-qemu`"));
        }
        let path = |name: &str| site.directory().join(format!("u-boot-{boot}.{name}"));
        let (socket, log) = (path("socket"), path("console"));
        let mut command = site.station.command("qemu-system-x86_64");
        command.args(["-nodefaults", "-display", "none", "-machine", "pc,accel=tcg", "-m", "256", "-bios", ROM]);
        command.arg("-chardev");
        command.arg(format!("socket,id=console,path={},server=on,wait=off,logfile={}", socket.display(), log.display()));
        command.args(["-serial", "chardev:console", "-netdev", "tap,id=lan,ifname=tap0,script=no,downscript=no"]);
        command.args(["-device", "e1000,netdev=lan,mac=02:fc:00:00:00:42,romfile="]);
        let mut qemu = Daemon::start("U-Boot's QEMU", &mut command, &path("qemu.log"))?;
        let deadline = Instant::now() + Duration::from_secs(20);
        let keyboard = loop {
            match UnixStream::connect(&socket) {
                Ok(keyboard) => break keyboard,
                Err(error) if Instant::now() > deadline => return Err(Failure::new("QEMU has no console").cause(&error)),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
            if let Some(ended) = qemu.has_ended() {
                return Err(Failure::new(ended).hint(format!("read {}", path("qemu.log").display())));
            }
        };
        // QEMU stops the machine when its console is not read: each octet is a message of its own, and some 280 fill the socket.
        let mut screen = keyboard.try_clone().map_err(|error| Failure::new("cannot read U-Boot's console").cause(&error))?;
        std::thread::spawn(move || std::io::copy(&mut screen, &mut std::io::sink()).ok());
        let mut machine = Self { qemu, console: LogFile::new(&log), keyboard };
        machine.wait_for("U-Boot counts down to its own boot command", "Hit any key")?;
        machine.enter("")?;
        machine.wait_for("U-Boot has a prompt", "=>")?;
        Ok(machine)
    }

    fn enter(&mut self, line: &str) -> Result<()> {
        self.keyboard.write_all(format!("{line}\r").as_bytes()).map_err(|error| Failure::new("U-Boot's console is gone").cause(&error))
    }

    fn wait_for(&mut self, step: &str, pattern: &str) -> Result<String> {
        self.console.wait_while(step, pattern, PATIENCE, &mut || self.qemu.has_ended())
    }
}

fn u_boot() -> Result<()> {
    let site = Site::build()?;
    site.station.configure("link add br0 type bridge forward_delay 0")?;
    site.station.configure("tuntap add dev tap0 mode tap")?;
    for port in [INTERFACE, "tap0"] {
        site.station.configure(&format!("link set {port} master br0 up"))?;
    }
    site.station.configure("link set br0 up")?;

    let mut machine = Machine::switch_on(&site, 1)?;
    machine.enter("setenv autoload no")?;
    machine.enter("dhcp")?;
    machine.wait_for("U-Boot has an address", BOUND)?;
    let (_, offer, _) = wait_for(&site.capture, 0, "DISCOVER and OFFER", &|packet| packet.kind == DISCOVER, OFFER, PATIENCE)?;
    let address = offer.yiaddr;
    let is_selection: &dyn Fn(&Packet) -> bool = &|packet| packet.is_selection_of(&address);
    let (_, leased, seen) = wait_for(&site.capture, 0, "REQUEST and ACK", is_selection, ACK, PATIENCE)?;
    expect(leased.yiaddr == address, || format!("{} was acknowledged and {address} offered", leased.yiaddr))?;
    // As `U-Boot` it names no architecture on x86, so nobody can know what runs there.
    expect(leased.boot_file.is_empty(), || format!("it was told to boot `{}`", leased.boot_file))?;
    machine.qemu.kill();
    drop(machine);

    let mut machine = Machine::switch_on(&site, 2)?;
    // As its own `bootcmd_dhcp` asks for an EFI program. With `autoload` it goes on to fetch it by TFTP.
    machine.enter("setenv bootp_vci PXEClient:Arch:00007:UNDI:003000; setenv bootp_arch 0x7")?;
    machine.enter("dhcp")?;
    machine.wait_for("U-Boot has an address again", BOUND)?;
    let (_, again, _) = wait_for(&site.capture, seen, "the same address after a power cut", is_selection, ACK, PATIENCE)?;
    // It reads the field and no option.
    expect(again.boot_file == "snponly.efi", || format!("the file field of the ACK is `{}`", again.boot_file))?;
    machine.wait_for("U-Boot has loaded the boot file", "Bytes transferred = ")?;
    drop(machine);
    site.discard();
    Ok(())
}
