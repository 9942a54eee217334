//! The year.

use std::collections::BTreeMap;
use std::env;
use std::net::Ipv4Addr;
use std::time::Instant;

use fairlead::clock;

use crate::dice::Dice;
use crate::machine::{DAY, HOUR, Habits, Machine, SECOND, Stage, State};
use crate::oracle::ClientNumber;
use crate::plan::{Mac, Plan, Subnet};
use crate::site::{BEGIN, SERVER, Site, Trouble};

/// How many machines there are, and where.
#[derive(Clone, Copy)]
struct Size {
    /// The first machine of each subnet but the first one, and how many there are in all.
    ends: [u32; 4],
    /// These have the hardware address of the next one.
    twins: [u32; 2],
}

const LARGE: Size = Size { ends: [3000, 4000, 4930, 5000], twins: [2000, 4500] };
/// A year that is lived through beside another one.
const SMALL: Size = Size { ends: [800, 1000, 1130, 1200], twins: [600, 1050] };
const YEAR: u64 = 365 * DAY;

pub fn mac_of(number: u32) -> Mac {
    let [_, a, b, c] = number.to_be_bytes();
    [0x52, 0x54, 0, a, b, c]
}

pub fn range(first: [u8; 4], last: [u8; 4]) -> std::ops::RangeInclusive<Ipv4Addr> {
    Ipv4Addr::from(first)..=Ipv4Addr::from(last)
}

/// The subnets: a large one where the box is, two behind relays, and one with fewer addresses than machines.
fn plans() -> Vec<Plan> {
    let reservations: BTreeMap<Mac, Ipv4Addr> =
        (0..100).map(|number| (mac_of(number), Ipv4Addr::new(10, 0, 16, u8::try_from(number).unwrap() + 1))).collect();
    let days = 86_400;
    let usual = Plan {
        server: SERVER,
        authoritative: true,
        one_link: false,
        subnets: vec![
            Subnet {
                network: Ipv4Addr::new(10, 0, 0, 0),
                prefix: 19,
                router: Ipv4Addr::new(10, 0, 0, 254),
                pools: vec![range([10, 0, 1, 0], [10, 0, 15, 255])],
                reservations,
                lease_time: 28 * days,
                conflict_probe: false,
            },
            Subnet {
                network: Ipv4Addr::new(10, 1, 0, 0),
                prefix: 21,
                router: Ipv4Addr::new(10, 1, 0, 1),
                pools: vec![range([10, 1, 0, 10], [10, 1, 3, 255]), range([10, 1, 4, 10], [10, 1, 7, 250])],
                reservations: BTreeMap::new(),
                lease_time: 20 * days,
                conflict_probe: false,
            },
            Subnet {
                network: Ipv4Addr::new(10, 2, 0, 0),
                prefix: 21,
                router: Ipv4Addr::new(10, 2, 0, 1),
                pools: vec![range([10, 2, 0, 10], [10, 2, 7, 250])],
                reservations: BTreeMap::new(),
                lease_time: 14 * days,
                conflict_probe: false,
            },
            Subnet {
                network: Ipv4Addr::new(10, 3, 0, 0),
                prefix: 24,
                router: Ipv4Addr::new(10, 3, 0, 1),
                pools: vec![range([10, 3, 0, 100], [10, 3, 0, 160])],
                reservations: BTreeMap::new(),
                lease_time: days,
                conflict_probe: false,
            },
        ],
    };
    let mut shrunk = usual.clone();
    shrunk.subnets[1].pools.truncate(1);
    shrunk.subnets[2].pools = vec![range([10, 2, 1, 0], [10, 2, 6, 255])];
    shrunk.subnets[2].lease_time = 3 * days;
    let mut fewer = usual.clone();
    fewer.subnets.remove(2);
    // Kept for other machines than have them now.
    fewer.subnets[0]
        .reservations
        .extend((3000..3020).map(|number| (mac_of(number), Ipv4Addr::new(10, 0, 1, u8::try_from(number - 2990).unwrap()))));
    let mut longer = usual.clone();
    for subnet in &mut longer.subnets {
        subnet.lease_time *= 2;
    }
    vec![usual, shrunk, fewer, longer]
}

fn machines(dice: &mut Dice, plan: &Plan, size: Size) -> Vec<Machine> {
    (0..size.ends[3])
        .map(|number| {
            let subnet = size.ends.iter().filter(|end| **end <= number).count();
            machine(dice, number, size.twins.contains(&number), plan.subnets[subnet].router)
        })
        .collect()
}

/// A machine that was never switched on; a twin has the hardware address of the next one.
pub fn machine(dice: &mut Dice, number: u32, is_twin: bool, router: Ipv4Addr) -> Machine {
    let namesake = number + u32::from(is_twin);
    let mac = mac_of(namesake);
    let duid = dice.once_in(3).then(|| [&[255, 0, 0, 0, 1, 0, 4], dice.octets::<16>().as_slice()].concat());
    let firmware: ClientNumber = 2 * namesake;
    let system = if duid.is_some() { 2 * number + 1 } else { firmware };
    Machine {
        mac,
        habits: Habits {
            duid,
            max_message_size: [None, None, Some(1500), Some(1260), Some(300), Some(65280)][usize::try_from(dice.below(6)).unwrap()],
            wants_broadcast: dice.once_in(5),
            releases: dice.once_in(5),
        },
        numbers: [firmware, system],
        router,
        stage: Stage::Firmware,
        state: State::Off,
        lease: None,
        remembered: None,
        last: [None; 2],
        xid: 0,
        asked_at: 0,
        tries: 0,
        timer: 0,
    }
}

fn live_through(seed: u64, size: Size) {
    let began = Instant::now();
    let mut dice = Dice::new(seed);
    let plans = plans();
    let machines = machines(&mut dice, &plans[0], size);
    let mut site = Site::new(dice.clone(), plans, machines);
    for place in 0..site.machines.len() {
        site.power_at(BEGIN + dice.below(7 * DAY), place);
    }
    let troubles =
        [(Trouble::ClockStep, 40), (Trouble::Crash, 40), (Trouble::DiskFails, 30), (Trouble::NewConfiguration, 25), (Trouble::Storm, 30)];
    for (trouble, times) in troubles {
        for _ in 0..times {
            site.trouble_at(BEGIN + dice.below(YEAR), trouble);
        }
    }
    let replay = format!("FAIRLEAD_SEED={seed} cargo test --test simulation");
    site.run_until(BEGIN + YEAR).unwrap_or_else(|broken| panic!("{broken}\nreplay: {replay}"));
    // Who comes home to an unharmed server gets an address, unless there are none.
    site.calm_down();
    site.run_until(BEGIN + YEAR + DAY).unwrap_or_else(|broken| panic!("{broken}\nreplay: {replay}"));
    let crowded = Ipv4Addr::new(10, 3, 0, 1);
    let left_out: Vec<_> = site.without_lease().into_iter().filter(|machine| machine.router != crowded).collect();
    assert!(left_out.is_empty(), "{} machines have no lease, the first of them {:?}\nreplay: {replay}", left_out.len(), left_out[0]);
    println!("seed {seed}: {:?}, two on one address because of the clock: {}, took {:?}", site.tally, site.oracle.excused, began.elapsed());
    let tally = site.tally;
    assert!(tally.moved * 1000 < tally.kept, "{} clients were offered another address than they have\nreplay: {replay}", tally.moved);
    let machines = u64::from(size.ends[3]);
    let busy = tally.acknowledged > 40 * machines && tally.lost > machines && tally.no_free_address > 100 && tally.configurations == 25;
    assert!(busy, "nothing much happened: {tally:?}\nreplay: {replay}");
}

/// The seed that the environment names, if it names one.
pub fn named_seed() -> Option<u64> {
    env::var("FAIRLEAD_SEED").ok().map(|text| text.parse().unwrap_or_else(|_| panic!("FAIRLEAD_SEED is `{text}`, which is no number")))
}

#[test]
fn a_year_in_which_everything_goes_wrong_breaks_no_promise() {
    live_through(named_seed().unwrap_or(20_261_123), LARGE);
}

#[test]
fn a_year_that_nobody_has_seen_breaks_no_promise() {
    // Smaller, since it runs each time beside the large one; a seed that breaks here is replayed here.
    live_through(named_seed().unwrap_or_else(|| clock::now().0), SMALL);
}

#[test]
fn the_same_seed_is_the_same_year() {
    let week = |seed| {
        let mut dice = Dice::new(seed);
        let plans = plans();
        let machines = machines(&mut dice, &plans[0], LARGE);
        let mut site = Site::new(dice.clone(), plans, machines);
        for place in 0..300 {
            site.power_at(BEGIN + dice.below(HOUR), place);
        }
        site.trouble_at(BEGIN + HOUR, Trouble::Storm);
        site.trouble_at(BEGIN + DAY, Trouble::Crash);
        site.run_until(BEGIN + 7 * DAY + SECOND).unwrap();
        format!("{:?}", site.tally)
    };
    assert_eq!(week(7), week(7));
    assert_ne!(week(7), week(8));
}
