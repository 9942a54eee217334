//! `fairlead-edge` is killed under load, or its disk takes nothing more: every lease that a client was told of is in the lease files.
//!
//! What clients were told is read off the cable. `FAIRLEAD_KILLS=200 cargo test --test crash -- --nocapture` kills it so many times.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failed expectation is how a test reports")]

mod compaction;
mod disk;
mod site;
mod witness;

use std::env;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fairlead::clock;

use site::Site;

/// How long a killed server may take until its first new promise.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn kill_at_any_moment_loses_no_acknowledged_lease() {
    let kills: u32 = env::var("FAIRLEAD_KILLS").map_or(8, |text| text.parse().expect("FAIRLEAD_KILLS is a number"));
    let mut site = Site::build();
    let load = site.load();
    let begun = Instant::now();
    for number in 1..=kills {
        let before = site.witness.acknowledged();
        let mut edge = site.start("edge.log");
        let started = Instant::now();
        while site.witness.acknowledged() == before {
            assert_eq!(edge.has_ended(), None, "start {number}");
            assert!(started.elapsed() < PATIENCE, "no lease after start {number}");
            sleep(Duration::from_millis(5));
        }
        // The moment of the first lease differs each time, which is as good as chance.
        sleep(Duration::from_millis(clock::now().0 * 7 % 300));
        edge.kill();
        site.witness.hold_against(&site.leases());
    }
    drop(load);
    let (acknowledged, addresses, took) = (site.witness.acknowledged(), site.witness.addresses(), begun.elapsed());
    println!("crash: kills={kills} acknowledged={acknowledged} addresses={addresses} lost=0 seconds={}", took.as_secs());
    assert!(acknowledged > u64::from(kills) * 5, "hardly any load: {acknowledged}");
    site.discard();
}
