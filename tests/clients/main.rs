//! DHCP clients that people run, against `fairlead-edge`: lease, renewal, rebinding, reboot and release, each held against a capture.
//!
//! `cargo test --test clients`; words behind `--` pick clients by name. They run beside each other, since they wait most of the time.

#![expect(clippy::print_stdout, reason = "whoever runs the tests must see what was left out")]

mod load;
mod packets;
mod programs;
mod site;
mod story;
mod u_boot;
mod ways;

use std::path::Path;
use std::process::ExitCode;

use fairlead::command_line::finish;
use fairlead::failure::Result;
use fairlead_lab::{interrupt, joined_box, namespace};
use libtest_mimic::{Arguments, Trial};

/// All of them at once.
const AT_ONCE: usize = 8;

type NamedTrial = (&'static str, fn() -> Result<()>);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
    if !arguments.list
        && let Err(failure) = prepare()
    {
        return finish(Err(failure));
    }
    let trials: Vec<NamedTrial> = [programs::TRIALS, ways::TRIALS, u_boot::TRIALS, load::TRIALS].concat();
    let trials = trials
        .into_iter()
        .filter(|(name, _)| can_run(name))
        .map(|(name, trial)| Trial::test(name, move || trial().map_err(|failure| failure.to_string().into())));
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    joined_box::forget_shared();
    conclusion.exit_code()
}

/// NetworkManager is not brought to machines whose own interfaces it would take over (tools/install), and not every kernel of a virtual
/// machine or container has VLANs.
fn can_run(name: &str) -> bool {
    let lacks = if name.starts_with("network_manager") && !Path::new("/usr/sbin/NetworkManager").exists() {
        "NetworkManager is not installed"
    } else if name.starts_with("ieee8021q") && !site::kernel_has_vlans() {
        "this kernel has no 802.1Q"
    } else {
        return true;
    };
    println!("not run, since {lacks}: {name}");
    false
}

fn prepare() -> Result<()> {
    namespace::require_privileges()?;
    namespace::remove_left_behind(false);
    interrupt::remove_all_when_interrupted()
}
