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
    LeaseTable::new(&[AddressRange::new(address(1), address(last)).unwrap()], HashSet::new())
}

fn record(number: u8, address: Ipv4Addr, state: LeaseState, starts_at: Timestamp, time: Duration) -> LeaseRecord {
    let hardware = HardwareAddress::new(1, &[2, 0, 0, 0, 0, number]).unwrap();
    LeaseRecord { address, client: client(number), hardware, state, starts_at, expires_at: starts_at.after(time) }
}

fn lease(table: &mut LeaseTable, number: u8, now: Timestamp) -> Option<Ipv4Addr> {
    let address = table.offer(now, &client(number), None, None)?;
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
    assert_eq!(table.offer(at(0), &client(1), None, None), Some(address(1)));
    assert_eq!(table.offer(at(1), &client(2), None, None), None);
    assert_eq!(table.offer(at(2), &client(1), None, None), Some(address(1)));
    assert_eq!(table.offer(at(31), &client(2), None, None), None);
    assert_eq!(table.offer(at(32), &client(2), None, None), Some(address(1)));
    assert!(!table.is_free_for(at(33), &client(1), address(1)));
    table.withdraw_offer(&client(2));
    assert_eq!(table.offer(at(34), &client(1), None, None), Some(address(1)));
}

#[test]
fn the_wanted_address_is_given_when_it_is_free_and_in_a_pool() {
    let mut table = table(9);
    assert_eq!(table.offer(at(0), &client(1), None, Some(address(7))), Some(address(7)));
    assert_eq!(table.offer(at(0), &client(2), None, Some(address(7))), Some(address(1)));
    assert_eq!(table.offer(at(0), &client(3), None, Some(address(77))), Some(address(2)));
}

#[test]
fn reserved_addresses_go_to_nobody_else() {
    let reserved = HashSet::from([address(1)]);
    let mut table = LeaseTable::new(&[AddressRange::new(address(1), address(2)).unwrap()], reserved);
    assert_eq!(table.offer(at(0), &client(1), None, Some(address(1))), Some(address(2)));
    assert_eq!(table.offer(at(0), &client(2), None, None), None);
    assert_eq!(table.offer(at(0), &client(3), Some(address(1)), None), Some(address(1)));
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
    assert_eq!(table.offer(at(6), &client(2), None, None), Some(address(1)));
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
                let Some(offered) = table.offer(now, &client(number), None, wanted) else { continue };
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
    let all: HashSet<_> = (100..120).filter_map(|number| table.offer(end, &client(number), None, None)).collect();
    assert_eq!(all.len(), 20);
}
