//! Two weeks in which strangers sit on addresses: the box probes before it gives one to a new client.

use std::net::Ipv4Addr;

use crate::dice::Dice;
use crate::machine::{DAY, Machine};
use crate::plan::{Plan, Subnet};
use crate::site::{BEGIN, SERVER, Site, Trouble};
use crate::strangers::Strangers;
use crate::year::{mac_of, machine, named_seed, range};

const MACHINES: u32 = 1500;
/// As many machines have a reservation; the first of them are on the box's own segment, the others behind a relay.
const RESERVED: u32 = 100;
const LOCAL: u32 = 1200;
const LASTS: u64 = 14 * DAY;

/// Probed by ARP where the box is, by ICMP behind the relay.
fn plans() -> Vec<Plan> {
    let local = Subnet {
        network: Ipv4Addr::new(10, 0, 0, 0),
        prefix: 19,
        router: Ipv4Addr::new(10, 0, 0, 254),
        pools: vec![range([10, 0, 1, 0], [10, 0, 9, 255])],
        reservations: (0..RESERVED).map(|number| (mac_of(number), Ipv4Addr::new(10, 0, 16, u8::try_from(number).unwrap() + 1))).collect(),
        lease_time: 43_200,
        conflict_probe: true,
    };
    let far = Subnet {
        network: Ipv4Addr::new(10, 1, 0, 0),
        prefix: 21,
        router: Ipv4Addr::new(10, 1, 0, 1),
        pools: vec![range([10, 1, 0, 10], [10, 1, 3, 250])],
        reservations: std::collections::BTreeMap::new(),
        lease_time: 43_200,
        conflict_probe: true,
    };
    let usual = Plan { server: SERVER, authoritative: true, one_link: false, subnets: vec![local, far] };
    let mut no_echo = usual.clone();
    no_echo.subnets[1].conflict_probe = false;
    let mut larger = usual.clone();
    larger.subnets[0].pools.push(range([10, 0, 10, 0], [10, 0, 11, 255]));
    vec![usual, no_echo, larger]
}

#[test]
fn rfc5227_2_1_1_a_fortnight_with_strangers_on_addresses_of_the_pools() {
    let seed = named_seed().unwrap_or(20_261_123);
    let mut dice = Dice::new(seed);
    let plans = plans();
    let machines: Vec<Machine> =
        (0..MACHINES).map(|number| machine(&mut dice, number, false, plans[0].subnets[usize::from(number >= LOCAL)].router)).collect();
    let addresses: Vec<Ipv4Addr> = plans[0]
        .subnets
        .iter()
        .flat_map(|subnet| subnet.pools.clone())
        .flat_map(|pool| u32::from(*pool.start())..=u32::from(*pool.end()))
        .map(Ipv4Addr::from)
        .collect();
    let strangers = Strangers::new(&mut dice, 1500, &addresses, BEGIN, BEGIN + LASTS);
    let mut site = Site::new(dice.clone(), plans, machines);
    site.invite(strangers);
    for place in 0..site.machines.len() {
        site.power_at(BEGIN + dice.below(LASTS), place);
    }
    let troubles =
        [(Trouble::ClockStep, 15), (Trouble::Crash, 15), (Trouble::DiskFails, 4), (Trouble::NewConfiguration, 12), (Trouble::Storm, 4)];
    for (trouble, times) in troubles {
        for _ in 0..times {
            site.trouble_at(BEGIN + dice.below(LASTS), trouble);
        }
    }
    let replay = format!("FAIRLEAD_SEED={seed} cargo test --test simulation");
    site.run_until(BEGIN + LASTS).unwrap_or_else(|broken| panic!("{broken}\nreplay: {replay}"));
    site.calm_down();
    site.run_until(BEGIN + LASTS + DAY).unwrap_or_else(|broken| panic!("{broken}\nreplay: {replay}"));
    let left_out = site.without_lease();
    assert!(left_out.is_empty(), "{} machines have no lease, the first of them {:?}\nreplay: {replay}", left_out.len(), left_out[0]);
    let tally = site.tally;
    println!("seed {seed}: {tally:?}");
    let busy = tally.probes > 10_000 && tally.strangers_found > 5 && tally.configurations == 12;
    let answered = tally.deferred > 50 && tally.answered_late * 2 > tally.deferred && tally.requests_deferred > 0;
    assert!(busy && answered, "nothing much happened: {tally:?}\nreplay: {replay}");
}
