//! What the first program owes the kernel: file systems, modules, reaping, reboot.

use std::fs::{self, File};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot as reboot_kernel};
use nix::sys::wait::wait;

use crate::Result;

/// The kernel modules that the lab put into the initramfs, in an order that satisfies their dependencies.
const MODULE_LIST: &str = "/modules/order";

pub(crate) fn mount_kernel_file_systems() -> Result<()> {
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        fs::create_dir_all(place).map_err(|error| format!("cannot make {place}: {error}"))?;
        match mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>) {
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(error) => return Err(format!("cannot mount {place}: {error}")),
        }
    }
    Ok(())
}

pub(crate) fn load_modules() -> Result<()> {
    let list = fs::read_to_string(MODULE_LIST).map_err(|error| format!("cannot read {MODULE_LIST}: {error}"))?;
    for name in list.lines() {
        let path = Path::new("/modules").join(name);
        let file = File::open(&path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(format!("cannot load {name}: {error}")),
        }
    }
    Ok(())
}

/// Writes all to disk and starts the machine anew.
pub(crate) fn reboot() -> Result<()> {
    nix::unistd::sync();
    match reboot_kernel(RebootMode::RB_AUTOBOOT) {
        Ok(never) => match never {},
        Err(error) => Err(format!("cannot reboot: {error}")),
    }
}

/// Waits for ever, and reaps what has lost its parent.
pub(crate) fn idle() -> ! {
    loop {
        if wait().is_err() {
            sleep(Duration::from_secs(1));
        }
    }
}
