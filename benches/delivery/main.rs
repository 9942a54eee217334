//! How fast the edge's TFTP server is, beside tftpd-hpa, dnsmasq and the `tftpd` crate, all in one run on one machine: `make bench-delivery`.
//!
//! Everything is in network namespaces, joined by a veth pair with jumbo frames, so that a block of 8192 octets is one packet. The server under
//! test is pinned to the first core, the readers to the second. Each figure is a line `bench: NAME ours=N peer=PEER:N ratio=R`, where a ratio
//! over 1 is better for us. `QUICK=1` shortens the runs; arguments choose figures by the beginnings of their names.

mod figures;
mod reader;
mod server;
mod site;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fairlead::command_line::{finish, say};
use fairlead::failure::Result;
use fairlead_lab::files::create_directory;
use fairlead_lab::joined_box::JoinedBox;
use fairlead_lab::packages::PackageCache;
use fairlead_lab::{Programs, interrupt, namespace};

use figures::Bench;
use server::Yard;
use site::Site;

fn main() -> ExitCode {
    finish(run())
}

fn run() -> Result<()> {
    namespace::require_privileges()?;
    namespace::remove_left_behind(false);
    interrupt::remove_all_when_interrupted()?;
    // What cargo passes to every benchmark begins with a dash.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let run_name = namespace::run_name();
    let folder = Folder(Path::new(env!("CARGO_TARGET_TMPDIR")).join(&run_name));
    create_directory(&folder.0)?;
    let programs = Programs { edge: env!("CARGO_BIN_EXE_fairlead-edge").into(), cloud: env!("CARGO_BIN_EXE_fairlead-cloud").into() };
    say("setting up: a box that joined a cloud, the other servers, and the network")?;
    let joined = JoinedBox::make(&programs, &run_name, &folder.0.join("joined"))?;
    let tftpd_hpa = PackageCache::open()?.package("tftpd-hpa")?.file("in.tftpd")?;
    let site = Site::make(&run_name)?;
    let quick = std::env::var_os("QUICK").is_some_and(|value| !value.is_empty() && value != "0");
    let yard = Yard { site, programs, joined, tftpd_hpa, folder: folder.0.clone() };
    Bench::new(yard, quick).run(&wanted)
}

/// Goes with all that was measured in it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
