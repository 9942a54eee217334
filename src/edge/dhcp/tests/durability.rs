use std::time::Duration;

use super::packet::Packet;
use super::site::{SERVER, Site};
use crate::clock::Timestamp;
use crate::edge::dhcp::{Action, DropReason, Fresh, Ingress, InterfaceId, Outcome};
use crate::wire::uplink::SiteEventKind;
use crate::wire::{BootId, Nonce};

#[test]
fn a_new_lease_is_not_promised_when_the_disk_does_not_take_it() {
    let mut site = Site::server();
    let offered = site.hear(&Packet::discover()).answer().yiaddr();
    site.disk_works = false;
    let request = Packet::request().address(54, SERVER).address(50, offered);
    assert_eq!(site.hear(&request).silence(), DropReason::NotDurable);
    // Asking again does not turn it into a renewal.
    assert_eq!(site.hear(&request).silence(), DropReason::NotDurable);
    site.disk_works = true;
    assert_eq!(site.hear(&request).answer().kind(), "ACK");
}

#[test]
fn a_renewal_goes_on_for_a_while_when_the_disk_does_not_take_it() {
    let mut site = Site::server();
    let own = site.lease(1);
    site.disk_works = false;
    let renew = Packet::request().mac(1).ciaddr(own);
    site.wait(1800);
    // What the disk promises is longer than the respite: half an hour is left of it.
    let first = site.hear(&renew);
    assert_eq!((first.answer().kind(), first.answer().seconds(51), first.answer().seconds(58)), ("ACK", Some(1800), Some(900)));
    site.wait(1700);
    assert_eq!(site.hear(&renew).answer().seconds(51), Some(600));
    assert!(site.reports_of_leases(&renew).is_empty());
    // The disk's promise is over and ours is not: who has an address keeps it while it asks in time.
    site.wait(300);
    assert_eq!(site.hear(&renew).answer().seconds(51), Some(600));
    // Nobody else is given it meanwhile, though the disk works again.
    site.disk_works = true;
    let offers: Vec<_> = (50..69).flat_map(|other| site.hear(&Packet::discover().mac(other)).answers).collect();
    assert!(offers.iter().all(|(_, _, answer)| answer.yiaddr() != own), "{offers:?}");
    site.disk_works = false;
    // A client that comes when that is over, too, is a new one.
    site.wait(601);
    assert_eq!(site.hear(&renew).silence(), DropReason::NotDurable);
    site.disk_works = true;
    let own_again = site.lease(1);
    assert_eq!(own_again, own);
}

#[test]
fn a_lease_time_made_shorter_does_not_end_what_a_client_was_told_before() {
    let mut site = Site::server();
    let own = site.lease(1);
    site.disk.iter_mut().for_each(|record| record.expires_at = record.starts_at.after(Duration::from_secs(86_400)));
    site.crash();
    site.wait(100);
    // The answer, of an hour, may be lost: the disk still says a day.
    assert_eq!(site.hear(&Packet::request().mac(1).ciaddr(own)).answer().seconds(51), Some(3600));
    let record = site.disk.last().unwrap();
    assert_eq!(record.expires_at.since(record.starts_at), Duration::from_secs(86_300));
    // A clock that was far ahead does not keep the address for ever.
    site.now = Timestamp::from_secs(1_000_000_000);
    site.hear(&Packet::request().mac(1).ciaddr(own)).answer();
    assert_eq!(site.disk.last().unwrap().expires_at, site.now.after(Duration::from_secs(86_300)));
}

#[test]
fn what_was_acknowledged_survives_a_crash() {
    let mut site = Site::server();
    let addresses: Vec<_> = (0..15).map(|mac| site.lease(mac)).collect();
    site.crash();
    for (mac, own) in (0_u8..).zip(&addresses) {
        assert_eq!(site.hear(&Packet::request().mac(mac).ciaddr(*own)).answer().kind(), "ACK");
    }
    assert!(!addresses.contains(&site.lease(50)));
}

#[test]
fn an_acknowledgement_under_way_keeps_its_address_from_others() {
    let mut site = Site::server();
    let offered = site.hear(&Packet::discover().mac(1)).answer().yiaddr();
    let ingress = Ingress { interface: InterfaceId(0), source: "0.0.0.0:68".parse().unwrap(), destination: SERVER, port: 67 };
    let request = Packet::request().mac(1).address(54, SERVER).address(50, offered).build();
    let fresh = Fresh { boot: BootId([9; 8]), nonce: Nonce([9; 12]) };
    let mut actions = site.engine.handle(site.now, &ingress, &request, fresh);
    let (Some(Action::Commit(commit)), None) = (actions.pop(), actions.pop()) else { panic!("no commit") };
    assert_eq!(site.hear(&Packet::request().mac(2).address(54, SERVER).address(50, offered)).answer().kind(), "NAK");
    site.wait(1);
    // The client asks again while the first record is on its way and fails: the second one decides.
    let again = site.hear_octets(&request, "0.0.0.0:68", SERVER, 67);
    assert_eq!(again.answer().kind(), "ACK");
    let settled = site.engine.settle(site.now, commit, Outcome::Failed);
    assert!(matches!(settled[..], [Action::Drop(DropReason::NotDurable)]), "{settled:?}");
    assert_eq!(site.hear(&Packet::request().mac(1).ciaddr(offered)).answer().kind(), "ACK");
}

#[test]
fn of_two_requests_at_once_the_one_that_the_disk_has_counts() {
    let mut site = Site::server();
    let offered = site.hear(&Packet::discover().mac(1)).answer().yiaddr();
    let ingress = Ingress { interface: InterfaceId(0), source: "0.0.0.0:68".parse().unwrap(), destination: SERVER, port: 67 };
    let request = Packet::request().mac(1).address(54, SERVER).address(50, offered).build();
    let fresh = Fresh { boot: BootId([9; 8]), nonce: Nonce([9; 12]) };
    let mut twins: Vec<Action> = (0..2).flat_map(|_| site.engine.handle(site.now, &ingress, &request, fresh)).collect();
    let (Some(Action::Commit(second)), Some(Action::Commit(first))) = (twins.pop(), twins.pop()) else { panic!("no commits") };
    site.engine.settle(site.now, first, Outcome::Failed);
    assert!(matches!(site.engine.settle(site.now, second, Outcome::Durable)[..], [Action::Send(_)]));
    assert_eq!(site.hear(&Packet::request().mac(2).address(54, SERVER).address(50, offered)).answer().kind(), "NAK");
    assert_eq!(site.hear(&Packet::request().mac(1).ciaddr(offered)).answer().kind(), "ACK");
}

#[test]
fn what_is_given_back_before_the_disk_has_it_is_not_acknowledged() {
    let mut site = Site::server();
    let own = site.lease(1);
    let ingress = Ingress { interface: InterfaceId(0), source: "0.0.0.0:68".parse().unwrap(), destination: SERVER, port: 67 };
    let renewal = Packet::request().mac(1).ciaddr(own).build();
    let fresh = Fresh { boot: BootId([9; 8]), nonce: Nonce([9; 12]) };
    let mut actions = site.engine.handle(site.now, &ingress, &renewal, fresh);
    let (Some(Action::Commit(commit)), None) = (actions.pop(), actions.pop()) else { panic!("no commit") };
    // An operator frees the address meanwhile: the next one who asks may have it.
    let (_, freed) = site.engine.release_lease(site.now, own);
    site.act(freed);
    let settled = site.engine.settle(site.now, commit, Outcome::Durable);
    assert!(matches!(settled[..], [Action::Drop(DropReason::UnknownLease)]), "{settled:?}");
}

impl Site {
    fn reports_of_leases(&mut self, packet: &Packet) -> Vec<SiteEventKind> {
        self.hear(packet).reported().into_iter().filter(|what| matches!(what, SiteEventKind::Leased { .. })).collect()
    }
}
