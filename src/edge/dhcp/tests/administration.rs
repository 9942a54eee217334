//! What operators do to leases while clients come and go.

use std::net::Ipv4Addr;

use super::packet::Packet;
use super::site::Site;
use crate::edge::dhcp::{Action, Outcome};
use crate::edge::lease::{LeaseRecord, LeaseState};

/// Settles what was decided, as the shell does when the disk works.
fn settle(site: &mut Site, actions: Vec<Action>) -> usize {
    let now = site.now;
    let commits = actions.into_iter().filter_map(|action| if let Action::Commit(commit) = action { Some(commit) } else { None });
    commits.map(|commit| assert!(site.engine.settle(now, commit, Outcome::Durable).is_empty())).count()
}

#[test]
fn a_released_lease_is_free_for_others_and_its_client_gets_it_while_it_is() {
    let mut site = Site::server();
    let own = site.lease(1);
    let (before, actions) = site.engine.release_lease(site.now, own);
    assert_eq!(before.unwrap().state, LeaseState::Bound);
    assert_eq!(settle(&mut site, actions), 1);
    assert_eq!(site.hear(&Packet::request().mac(1).ciaddr(own)).answer().kind(), "ACK");
    let (before, _) = site.engine.release_lease(site.now, Ipv4Addr::new(192, 0, 2, 119));
    assert_eq!(before, None);
    let (before, _) = site.engine.release_lease(site.now, Ipv4Addr::new(10, 0, 0, 1));
    assert_eq!(before, None);
}

#[test]
fn imported_leases_are_known_to_their_clients_and_take_nobody_elses() {
    let mut site = Site::server();
    let own = site.lease(1);
    site.lease(2);
    let known = |site: &Site, address| site.disk.iter().find(|record| record.address == address).unwrap().clone();
    let second = known(&site, Ipv4Addr::from(u32::from(own) + 1));
    let record = |address: Ipv4Addr| LeaseRecord { address, ..second.clone() };
    let elsewhere = Ipv4Addr::new(192, 0, 2, 117);
    let (taken, refused, actions) =
        site.engine.import_leases(site.now, vec![record(own), record(elsewhere), record(Ipv4Addr::new(10, 0, 0, 1))]);
    assert_eq!((taken, settle(&mut site, actions)), (1, 1));
    let refused: Vec<_> = refused.into_iter().map(|refused| (refused.address, refused.why)).collect();
    assert_eq!((refused[0].0, refused[1].0), (own, Ipv4Addr::new(10, 0, 0, 1)));
    assert!(refused[0].1.contains("is leased here to") && refused[1].1.contains("outside of every subnet"));
    assert_eq!(site.hear(&Packet::request().mac(2).ciaddr(elsewhere)).answer().kind(), "ACK");
    let (_, summary) = site.engine.lease_summaries(site.now)[0];
    assert_eq!(summary.bound, 3);
}
