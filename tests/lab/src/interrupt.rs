//! Ctrl-C: what the lab made is removed before the program ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fairlead::failure::{Failure, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::{files, namespace};

/// The exit code of a program that a SIGINT ended, as shells report it.
const INTERRUPTED: i32 = 130;

/// Whether an interrupt is how the run is meant to end.
static IS_AWAITED: AtomicBool = AtomicBool::new(false);

/// From now on an interrupt ends the run well.
pub fn await_interrupt() {
    IS_AWAITED.store(true, Ordering::Relaxed);
}

/// From now on SIGINT, SIGTERM and SIGHUP remove the namespaces, with them all programs of the lab, and its files.
pub fn remove_all_when_interrupted() -> Result<()> {
    let failed = |error: std::io::Error| Failure::new("cannot wait for signals").cause(&error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let signals = {
        let _entered = runtime.enter();
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal)
    };
    let [interrupt, terminate, hangup] = signals;
    let (mut interrupt, mut terminate, mut hangup) = (interrupt.map_err(failed)?, terminate.map_err(failed)?, hangup.map_err(failed)?);
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        namespace::remove_left_behind(true);
        files::remove_run_directories(&namespace::process_prefix());
        #[expect(clippy::disallowed_methods, clippy::exit, reason = "other threads wait for machines that are gone now")]
        std::process::exit(if IS_AWAITED.load(Ordering::Relaxed) { 0 } else { INTERRUPTED });
    });
    Ok(())
}
