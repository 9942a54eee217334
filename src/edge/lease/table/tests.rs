use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::edge::lease::HardwareAddress;

const HOUR: Duration = Duration::from_secs(3600);

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

fn client(number: u8) -> ClientId {
    ClientId::from_option(&[0, number]).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + seconds)
}

fn table(last: u8) -> LeaseTable {
    LeaseTable::new(&[AddressRange::new(address(1), address(last)).unwrap()], &[], HashSet::new())
}

fn record(number: u8, address: Ipv4Addr, state: LeaseState, starts_at: Timestamp, time: Duration) -> LeaseRecord {
    let hardware = HardwareAddress::new(1, &[2, 0, 0, 0, 0, number]).unwrap();
    LeaseRecord { address, client: client(number), hardware, state, starts_at, expires_at: starts_at.after(time), host_name: None }
}

fn lease(table: &mut LeaseTable, number: u8, now: Timestamp) -> Option<Ipv4Addr> {
    let address = table.offer(now, &client(number), None, None).address()?;
    table.put(record(number, address, LeaseState::Bound, now, HOUR));
    Some(address)
}

#[test]
fn a_client_gets_the_address_it_had_even_after_its_lease_ended() {
    let mut table = table(3);
    let first = lease(&mut table, 1, at(0)).unwrap();
    lease(&mut table, 2, at(1)).unwrap();
    assert_eq!(lease(&mut table, 1, at(9000)), Some(first));
}

#[test]
fn unused_addresses_go_first_then_the_one_that_ended_longest_ago() {
    let mut table = table(3);
    for number in 1..=3 {
        assert_eq!(lease(&mut table, number, at(u64::from(number))), Some(address(number)));
    }
    assert_eq!(lease(&mut table, 4, at(10)), None);
    assert_eq!(lease(&mut table, 4, at(4000)), Some(address(1)));
    assert_eq!(lease(&mut table, 5, at(4000)), Some(address(2)));
    // Client 1 has lost its address to client 4 and takes what is left.
    assert_eq!(lease(&mut table, 1, at(4000)), Some(address(3)));
    assert_eq!(lease(&mut table, 2, at(4000)), None);
}

#[test]
fn an_offer_holds_the_address_for_its_client_and_lapses() {
    let mut table = table(1);
    assert_eq!(table.offer(at(0), &client(1), None, None).address(), Some(address(1)));
    assert_eq!(table.offer(at(1), &client(2), None, None).address(), None);
    assert_eq!(table.offer(at(2), &client(1), None, None).address(), Some(address(1)));
    assert_eq!(table.offer(at(31), &client(2), None, None).address(), None);
    assert_eq!(table.offer(at(32), &client(2), None, None).address(), Some(address(1)));
    assert!(!table.is_free_for(at(33), &client(1), address(1)));
    table.withdraw_offer(&client(2));
    assert_eq!(table.offer(at(34), &client(1), None, None).address(), Some(address(1)));
}

#[test]
fn the_wanted_address_is_given_when_it_is_free_and_in_a_pool() {
    let mut table = table(9);
    assert_eq!(table.offer(at(0), &client(1), None, Some(address(7))).address(), Some(address(7)));
    assert_eq!(table.offer(at(0), &client(2), None, Some(address(7))).address(), Some(address(1)));
    assert_eq!(table.offer(at(0), &client(3), None, Some(address(77))).address(), Some(address(2)));
}

#[test]
fn reserved_addresses_go_to_nobody_else() {
    let reserved = HashSet::from([address(1)]);
    let mut table = LeaseTable::new(&[AddressRange::new(address(1), address(2)).unwrap()], &[], reserved);
    assert_eq!(table.offer(at(0), &client(1), None, Some(address(1))).address(), Some(address(2)));
    assert_eq!(table.offer(at(0), &client(2), None, None).address(), None);
    assert_eq!(table.offer(at(0), &client(3), Some(address(1)), None).address(), Some(address(1)));
}

#[test]
fn a_declined_address_rests_until_its_quarantine_is_over() {
    let mut table = table(1);
    lease(&mut table, 1, at(0)).unwrap();
    table.put(record(1, address(1), LeaseState::Declined, at(10), HOUR));
    assert_eq!(lease(&mut table, 1, at(11)), None);
    assert_eq!(lease(&mut table, 2, at(3609)), None);
    assert_eq!(lease(&mut table, 2, at(3610)), Some(address(1)));
}

#[test]
fn a_released_address_is_free_at_once_and_remembered() {
    let mut table = table(2);
    lease(&mut table, 1, at(0)).unwrap();
    table.put(record(1, address(1), LeaseState::Released, at(5), Duration::ZERO));
    assert_eq!(lease(&mut table, 2, at(6)), Some(address(2)));
    assert_eq!(lease(&mut table, 1, at(7)), Some(address(1)));
}

#[test]
fn what_did_not_reach_the_disk_is_taken_back_unless_it_was_replaced() {
    let mut table = table(1);
    let first = record(1, address(1), LeaseState::Bound, at(0), HOUR);
    let second = record(1, address(1), LeaseState::Bound, at(5), HOUR);
    table.put(first.clone());
    table.put(second.clone());
    table.revoke(&first);
    assert_eq!(table.record(address(1)), Some(&second));
    table.confirm(&second);
    assert_eq!(table.durable_until(address(1)), second.expires_at);
    table.revoke(&second);
    assert!(table.is_empty());
    assert_eq!(table.offer(at(6), &client(2), None, None).address(), Some(address(1)));
}

/// Whatever happens in whatever order, an address that is in force for one client is never offered to another.
#[test]
fn never_two_clients_on_one_address() {
    let mut table = table(20);
    let mut state = 0x9e37_79b9_u64;
    let mut now = at(0);
    for _ in 0..200_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let number = u8::try_from(state % 40).unwrap();
        now = now.after(Duration::from_secs((state >> 8) % 60));
        let wanted = (state >> 16).is_multiple_of(3).then(|| address(u8::try_from((state >> 20) % 25).unwrap()));
        match (state >> 32) % 6 {
            0..=3 => {
                let Some(offered) = table.offer(now, &client(number), None, wanted).address() else { continue };
                if let Some(holder) = table.record(offered) {
                    let in_force = holder.state != LeaseState::Released && holder.expires_at > now;
                    assert!(!in_force || holder.client == client(number));
                }
                if !(state >> 40).is_multiple_of(4) {
                    table.put(record(number, offered, LeaseState::Bound, now, HOUR));
                }
            }
            4 => {
                if let Some(held) = table.record_of(&client(number)).cloned() {
                    table.put(record(number, held.address, LeaseState::Released, now, Duration::ZERO));
                }
            }
            _ => {
                if let Some(held) = table.record_of(&client(number)).cloned() {
                    table.put(record(number, held.address, LeaseState::Declined, now, HOUR));
                }
            }
        }
        assert!(table.len() <= 20);
    }
    // Nothing has leaked: when all is over, every address can be had again.
    let end = now.after(HOUR * 24);
    let all: HashSet<_> = (100..120).filter_map(|number| table.offer(end, &client(number), None, None).address()).collect();
    assert_eq!(all.len(), 20);
}

fn big_client(number: u32) -> ClientId {
    ClientId::from_option(&[&[0xff], number.to_be_bytes().as_slice()].concat()).unwrap()
}

fn big_record(number: u32, address: Ipv4Addr, now: Timestamp) -> LeaseRecord {
    LeaseRecord { client: big_client(number), ..record(1, address, LeaseState::Bound, now, HOUR) }
}

#[test]
fn a_flood_of_invented_clients_keeps_no_known_client_from_its_address() {
    let mut table = table(200);
    for number in 0..100 {
        lease(&mut table, number, at(0)).unwrap();
    }
    // All leases have ended, so the flood is given the unused addresses and then theirs.
    for invented in 0..5000 {
        table.offer(at(7200), &big_client(invented), None, None);
    }
    assert_eq!(table.summary(at(7200)).offered, 200);
    assert_eq!(table.offer(at(7201), &big_client(5001), None, None), Choice::NoneFree);
    for number in 0..100 {
        assert_eq!(lease(&mut table, number, at(7201)), Some(address(number + 1)));
    }
    // When the offers have lapsed, nothing is lost.
    for number in 0..100 {
        assert!(table.offer(at(7240), &big_client(9000 + number), None, None).address().is_some());
    }
}

#[test]
fn a_known_client_whose_address_is_gone_gets_the_oldest_offer_of_an_unknown_one() {
    let mut table = table(2);
    lease(&mut table, 1, at(0)).unwrap();
    lease(&mut table, 2, at(0)).unwrap();
    // Client 1 has moved on to the address of client 2, whose lease had ended; both are known since.
    let now = at(7200);
    table.put(record(1, address(2), LeaseState::Bound, now, HOUR));
    assert_eq!(table.record_of(&client(1)).unwrap().address, address(2));
    assert_eq!(table.record_of(&client(2)), None);
    assert_eq!(table.offer(now, &big_client(1), None, None), Choice::Address(address(1)));
    assert_eq!(table.offer(now, &client(2), None, None), Choice::NoneFree);
    table.put(record(1, address(2), LeaseState::Declined, now, HOUR));
    assert_eq!(table.offer(now, &client(1), None, None), Choice::Address(address(1)));
    assert!(!table.is_free_for(now, &big_client(1), address(1)));
}

#[test]
fn of_the_offers_to_unknown_clients_the_oldest_is_given_up_first() {
    let mut table = table(200);
    for number in 1..=5 {
        assert_eq!(table.offer(at(0), &client(number), None, None), Choice::Address(address(number)));
    }
    assert_eq!(table.half_open(), 5);
    assert!(table.give_up_offer() && table.give_up_offer());
    assert_eq!((table.summary(at(0)).offered, table.half_open()), (3, 3));
    assert!(table.is_free_for(at(0), &client(99), address(2)));
    assert!(!table.is_free_for(at(0), &client(99), address(3)));
    // Whoever asks again keeps what it was offered.
    assert_eq!(table.offer(at(1), &client(4), None, None), Choice::Address(address(4)));
    assert_eq!(table.summary(at(1)).offered, 3);
    // The time that offers are held is a setting.
    table.set_offer_hold(Duration::from_secs(5));
    table.offer(at(2), &client(6), None, None);
    assert!(!table.is_free_for(at(6), &client(99), address(6)));
    assert!(table.is_free_for(at(7), &client(99), address(6)));
}

#[test]
fn a_reservation_on_offer_is_not_taken_back() {
    let reserved = HashSet::from([address(1)]);
    let mut table = LeaseTable::new(&[AddressRange::new(address(1), address(2)).unwrap()], &[], reserved);
    assert_eq!(table.offer(at(0), &client(1), Some(address(1)), None), Choice::Address(address(1)));
    assert_eq!(table.offer(at(0), &client(2), None, None), Choice::Address(address(2)));
    assert!(!table.is_first_offer(address(1)) && table.is_first_offer(address(2)), "it waits behind no flood either");
    assert!(table.give_up_offer() && !table.give_up_offer());
    assert_eq!(table.offer(at(0), &client(3), None, None), Choice::Address(address(2)));
    assert!(!table.is_free_for(at(0), &client(3), address(1)));
}

#[test]
fn rfc5227_new_clients_get_only_probed_addresses_when_told_so() {
    let mut table = table(4);
    lease(&mut table, 1, at(0)).unwrap();
    table.set_require_clear(true);
    assert_eq!(table.candidates(at(0), 9), [address(2), address(3), address(4)]);
    assert_eq!(table.offer(at(0), &client(2), None, None), Choice::NoneClear);
    assert_eq!(table.offer(at(0), &client(2), None, Some(address(3))), Choice::NeedsProbe(address(3)));
    assert_eq!(table.offer(at(0), &client(3), Some(address(9)), None), Choice::NeedsProbe(address(9)));
    table.mark_clear(address(9), at(60));
    assert_eq!(table.offer(at(0), &client(3), Some(address(9)), None), Choice::Address(address(9)));
    // The client that comes back has used its address all the time.
    assert_eq!(table.offer(at(0), &client(1), None, None), Choice::Address(address(1)));
    table.mark_in_use(address(2), at(600));
    assert_eq!(table.candidates(at(0), 1), [address(3)]);
    table.mark_clear(address(3), at(60));
    table.mark_clear(address(4), at(10));
    assert!(table.is_clear(at(9), address(4)) && !table.is_clear(at(10), address(4)));
    assert_eq!(table.offer(at(20), &client(2), None, None), Choice::Address(address(3)));
    // It is on offer to this client, so no other is told to probe for it, and the client needs no second probe.
    assert_eq!(table.offer(at(21), &client(2), None, None), Choice::Address(address(3)));
    assert_eq!(table.offer(at(22), &client(5), None, None), Choice::NoneClear);
    assert_eq!(table.candidates(at(22), 9), [address(4)]);
    // An ended lease is a candidate behind what is unused, and is given once it was probed.
    let candidates = table.candidates(at(4000), 9);
    assert_eq!((candidates.len(), candidates.last()), (4, Some(&address(1))));
    table.mark_clear(address(1), at(5000));
    assert_eq!(table.offer(at(4000), &client(6), None, None), Choice::Address(address(1)));
    assert_eq!(table.candidates(at(4000), 9).len(), 3);
}

#[test]
fn rfc5227_what_was_probed_for_an_offer_counts_when_the_offer_has_lapsed() {
    let mut table = table(4);
    table.set_require_clear(true);
    assert!(table.needs_probe(at(0), &client(1), address(1)));
    table.mark_clear(address(1), at(300));
    assert_eq!(table.offer(at(0), &client(1), None, None), Choice::Address(address(1)));
    // For who has the offer, and when it has lapsed for whoever is given the address next.
    assert!(!table.needs_probe(at(299), &client(1), address(1)));
    assert_eq!(table.offer(at(40), &client(2), None, None), Choice::Address(address(1)));
    assert!(!table.needs_probe(at(41), &client(2), address(1)));
    assert!(table.needs_probe(at(301), &client(2), address(1)));
    // Not by a clock that was set back, nor when somebody was found there.
    table.forget_clear();
    table.withdraw_offer(&client(2));
    assert!(table.needs_probe(at(42), &client(2), address(1)));
    table.mark_clear(address(1), at(400));
    assert_eq!(table.offer(at(100), &client(3), None, None), Choice::Address(address(1)));
    table.mark_in_use(address(1), at(130));
    table.withdraw_offer(&client(3));
    assert!(table.needs_probe(at(140), &client(3), address(1)));
}

#[test]
fn rfc5227_a_client_that_declined_its_address_has_it_again_after_a_probe_only() {
    let mut table = table(1);
    lease(&mut table, 1, at(0)).unwrap();
    table.set_require_clear(true);
    assert!(!table.needs_probe(at(1), &client(1), address(1)));
    table.put(record(1, address(1), LeaseState::Declined, at(2), HOUR));
    assert_eq!(table.offer(at(7200), &client(1), None, None), Choice::NeedsProbe(address(1)));
}

#[test]
fn addresses_that_are_known_to_be_clear_take_no_more_memory_than_a_bound() {
    let [first, last] = [0x0a01_0000_u32, 0x0a02_0000].map(Ipv4Addr::from);
    let mut table = LeaseTable::new(&[AddressRange::new(first, last).unwrap()], &[], HashSet::new());
    table.set_require_clear(true);
    for number in 0..50_000_u32 {
        table.mark_clear(Ipv4Addr::from(0x0a01_0000 + number), at(300));
    }
    let clear = (0..50_000_u32).filter(|number| table.is_clear(at(0), Ipv4Addr::from(0x0a01_0000 + number))).count();
    assert_eq!(clear, 32_768);
    assert_eq!(table.offer(at(0), &client(1), None, None), Choice::Address(Ipv4Addr::from(0x0a01_0000 + 50_000 - 32_768)));
}

#[test]
fn an_address_in_use_by_a_stranger_rests_and_comes_back() {
    let mut table = table(2);
    lease(&mut table, 1, at(0)).unwrap();
    table.mark_in_use(address(1), at(9000));
    table.mark_in_use(address(2), at(9000));
    assert!(table.is_free_for(at(1), &client(1), address(1)), "its own lease is in force");
    assert_eq!(table.offer(at(8999), &client(2), None, None), Choice::NoneFree);
    assert_eq!(table.offer(at(8999), &client(1), None, None), Choice::NoneFree);
    assert_eq!(table.offer(at(9000), &client(2), None, None), Choice::Address(address(2)));
    assert_eq!(table.offer(at(9000), &client(3), None, None), Choice::Address(address(1)));
}

#[test]
fn an_address_that_was_on_offer_when_a_stranger_was_found_rests_too() {
    let mut table = table(1);
    assert_eq!(table.offer(at(0), &client(1), None, None), Choice::Address(address(1)));
    table.mark_in_use(address(1), at(600));
    assert!(!table.is_free_for(at(1), &client(1), address(1)));
    table.withdraw_offer(&client(1));
    assert_eq!(table.offer(at(599), &client(2), None, None), Choice::NoneFree);
    assert_eq!(table.offer(at(600), &client(2), None, None), Choice::Address(address(1)));
}

#[test]
fn a_client_is_found_by_the_address_that_it_took_or_renewed_last() {
    let mut table = table(9);
    for (number, last) in [(1, 1), (1, 2), (2, 3), (1, 1), (2, 4), (1, 1)] {
        table.put(record(number, address(last), LeaseState::Bound, at(0), HOUR));
        assert_eq!(table.record_of(&client(number)).unwrap().address, address(last));
    }
    table.put(record(2, address(1), LeaseState::Bound, at(0), HOUR));
    assert_eq!(table.record_of(&client(1)), None);
    table.put(record(1, address(2), LeaseState::Bound, at(0), HOUR));
    assert_eq!(table.record_of(&client(1)).unwrap().address, address(2));
    table.forget(address(1));
    assert_eq!((table.record_of(&client(2)), table.len()), (None, 3));
}

#[test]
fn a_new_shape_keeps_records_and_offers() {
    let mut table = table(4);
    for number in 1..=3 {
        lease(&mut table, number, at(0)).unwrap();
    }
    assert_eq!(table.offer(at(0), &client(4), None, None), Choice::Address(address(4)));
    let range = |first, last| AddressRange::new(address(first), address(last)).unwrap();
    table.reshape(&[range(2, 9)], &[range(5, 7)], HashSet::from([address(8)]));
    assert_eq!(table.len(), 3);
    // Out of the pools: known, so that it is told no, and not given again.
    assert_eq!(table.record(address(1)).unwrap().client, client(1));
    assert!(!table.is_dynamic(address(1)) && table.is_free_for(at(1), &client(1), address(1)));
    assert_eq!(table.offer(at(1), &client(1), None, None), Choice::Address(address(9)));
    assert_eq!(table.offer(at(1), &client(2), None, None), Choice::Address(address(2)));
    assert_eq!(table.offer(at(1), &client(5), None, None), Choice::NoneFree);
    assert!(!table.is_free_for(at(1), &client(5), address(4)), "still on offer");
    assert_eq!(table.offer(at(31), &client(5), None, None), Choice::Address(address(4)));
    // Back again, the ended leases of all pools are reclaimed, the oldest first.
    table.reshape(&[range(1, 4)], &[], HashSet::new());
    let all: Vec<_> = (10..15).map(|number| table.offer(at(4000), &client(number), None, None).address()).collect();
    assert_eq!(all.iter().flatten().collect::<HashSet<_>>().len(), 4);
}

#[test]
fn an_offered_address_that_is_reserved_since_is_not_taken_back_for_another_client() {
    let mut table = table(3);
    assert_eq!(lease(&mut table, 1, at(0)), Some(address(1)));
    table.put(record(1, address(1), LeaseState::Declined, at(0), 24 * HOUR));
    assert_eq!(table.offer(at(1), &client(2), None, None).address(), Some(address(2)));
    table.reshape(&[AddressRange::new(address(1), address(3)).unwrap()], &[], HashSet::from([address(2)]));
    assert_eq!(table.offer(at(2), &client(3), None, None).address(), Some(address(3)));
    // Client 1 is known: it gets what was offered to a client that is not, and not the reservation.
    assert_eq!(table.offer(at(3), &client(1), None, None).address(), Some(address(3)));
    assert_eq!(table.offer(at(4), &client(9), Some(address(2)), None).address(), Some(address(2)));
}

#[test]
fn reclaims_in_the_exact_order_of_ends_whatever_was_renewed_and_released() {
    let mut state = 99_u64;
    let mut table = table(200);
    for number in 0..200 {
        lease(&mut table, number, at(u64::from(number))).unwrap();
    }
    let mut now = at(1000);
    for _ in 0..20_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        now = now.after(Duration::from_millis(state >> 54));
        let number = u8::try_from((state >> 33) % 200).unwrap();
        let (kind, time) = if (state >> 40) & 1 == 0 { (LeaseState::Bound, HOUR) } else { (LeaseState::Released, Duration::ZERO) };
        table.put(record(number, address(number + 1), kind, now, time));
    }
    assert!(table.expiry.len() <= 2 * 200 + 65, "{}", table.expiry.len());
    let mut expected: Vec<(Timestamp, Ipv4Addr)> = table.records().map(|record| (record.expires_at, record.address)).collect();
    expected.sort_unstable();
    let end = now.after(HOUR);
    let ends = |address: &Ipv4Addr| table.record(*address).unwrap().expires_at;
    let expected: Vec<Timestamp> = expected.into_iter().map(|(at, _)| at).collect();
    let wanted: Vec<Ipv4Addr> = {
        let mut table = table_of(&table);
        table.candidates(end, 200)
    };
    assert_eq!(wanted.iter().map(ends).collect::<Vec<_>>(), expected);
    for (number, at) in (0..).zip(&expected) {
        let given = table.offer(end, &big_client(number), None, None).address().unwrap();
        assert_eq!(table.record(given).unwrap().expires_at, *at);
    }
}

/// The same records in a table of their own.
fn table_of(other: &LeaseTable) -> LeaseTable {
    let mut table = table(200);
    other.records().for_each(|record| table.restore(record.clone()));
    table
}

#[test]
fn a_client_that_asks_and_never_takes_does_not_make_anything_grow() {
    let mut table = table(50);
    for round in 0..50_000_u64 {
        table.offer(at(round / 1000), &big_client(u32::try_from(round % 3).unwrap()), None, None);
        table.mark_clear(address(u8::try_from(round % 50).unwrap()), at(round));
    }
    assert!(table.offers.queued() <= 200, "{}", table.offers.queued());
    assert_eq!(table.summary(at(50)).offered, 3);
}

#[test]
fn many_leases_are_found_by_address_and_by_client() {
    let pool = AddressRange::new(Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 0, 255, 255)).unwrap();
    let mut table = LeaseTable::new(&[pool], &[], HashSet::new());
    for number in 0..65_536 {
        let given = table.offer(at(0), &big_client(number), None, None).address().unwrap();
        table.put(big_record(number, given, at(0)));
    }
    assert_eq!(table.offer(at(0), &client(1), None, None), Choice::NoneFree);
    for number in (0..65_536).step_by(997) {
        let record = table.record_of(&big_client(number)).unwrap();
        assert_eq!(record.address, Ipv4Addr::from(0x0a00_0000 + number));
        assert_eq!(table.record(record.address), Some(record));
    }
    table.forget(Ipv4Addr::new(10, 0, 7, 7));
    assert_eq!(table.len(), 65_535);
    assert_eq!(table.offer(at(0), &client(1), None, None), Choice::Address(Ipv4Addr::new(10, 0, 7, 7)));
    assert_eq!(table.record_of(&big_client(0x0707)), None);
}
