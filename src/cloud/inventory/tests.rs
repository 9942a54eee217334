//! Nodes as machines and people come to them, on both databases.

use super::*;
use crate::cloud::admission::{Hours, Limits, Policy};
use crate::cloud::store::tests::{Scratch, cluster};
use crate::cloud::store::{AllowedMachine, Class, ClassPattern, NodeFilter};
use crate::wire::{MacAddr, SystemUuid};

const HOUR: u64 = 3_600_000;

fn uuid(number: u8) -> Option<SystemUuid> {
    Some(SystemUuid([0x4c, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, number]))
}

fn facts(serial: &str) -> NodeFacts {
    NodeFacts { serial: serial.to_owned(), vendor: "Dell Inc.".to_owned(), product: "PowerEdge R650".to_owned(), arch: "x86_64".to_owned() }
}

/// A machine with these last octets of hardware address and UUID asks at a site.
fn ask(scratch: &Scratch, site: &'static str, mac: u8, uuid_number: u8, serial: &'static str, at: u64) -> Node {
    scratch
        .store
        .transaction(move |tx| {
            let site = tx.site_named(&site.parse().unwrap())?.unwrap();
            let key = NodeKey { site: site.id, mac: MacAddr([2, 0, 0, 0, 0, mac]), uuid: uuid(uuid_number).filter(|_| uuid_number > 0) };
            let count = tx.nodes(&NodeFilter::default(), 1000)?.len();
            let node = arrive(tx, &site, &key, &facts(serial), BootId([mac; 8]), &format!("CODE-{count}"), Timestamp(at))?;
            tx.session_for(site.id, BootId([mac; 8]), node.id, Timestamp(at))?;
            Ok::<_, StoreError>(node)
        })
        .unwrap()
}

fn with_sites(scratch: &Scratch, policy: Policy, limits: Limits) {
    scratch
        .store
        .transaction(move |tx| {
            let cluster = tx.add_cluster(&cluster("prod"), Timestamp(1))?;
            for name in ["here", "there"] {
                let site = tx.add_site(&name.parse().unwrap(), cluster, policy, Timestamp(1))?;
                tx.set_admission(site, policy, limits)?;
            }
            Ok::<_, StoreError>(())
        })
        .unwrap();
}

fn state(scratch: &Scratch, id: i64) -> NodeState {
    scratch.store.read(move |tx| tx.node(id)).unwrap().unwrap().state
}

fn move_to(scratch: &Scratch, id: i64, triggers: &'static [Trigger]) {
    scratch
        .store
        .transaction(move |tx| {
            for trigger in triggers {
                let node = tx.node_to_change(id)?.unwrap();
                step(tx, &Actor::Operator, &node, *trigger, "because", Timestamp(5))?.unwrap();
            }
            Ok::<_, StoreError>(())
        })
        .unwrap();
}

#[test]
fn a_machine_is_found_again_and_another_is_not_taken_for_it() {
    Scratch::on_both("found", |scratch| {
        with_sites(&scratch, Policy::Auto, Limits::default());
        let first = ask(&scratch, "here", 1, 1, "S1", HOUR);
        assert_eq!((first.state, first.held_for), (NodeState::Approved, None));
        assert_eq!(ask(&scratch, "here", 1, 1, "S1", 2 * HOUR).id, first.id);
        let elsewhere = ask(&scratch, "there", 1, 1, "S1", 3 * HOUR);
        assert_eq!((elsewhere.state, elsewhere.held_for), (NodeState::Pending, Some(first.id)));
        assert!(elsewhere.reason.contains("another site has the same UUID"), "{}", elsewhere.reason);
        assert_eq!(state(&scratch, first.id), NodeState::Approved, "an hour apart is not at once");
        let nobody = ask(&scratch, "here", 9, 0, "", 3 * HOUR);
        assert_eq!(nobody.state, NodeState::Approved, "machines without any identity but their address are new ones");
        let alarms = scratch.store.read(move |tx| tx.timeline(elsewhere.key.site, BootId([1; 8]), elsewhere.id)).unwrap();
        assert!(alarms.iter().any(|event| event.alarm && event.kind == "identity_conflict"));
    });
}

#[test]
fn an_identity_that_is_there_twice_at_once_gets_nothing() {
    Scratch::on_both("twice", |scratch| {
        with_sites(&scratch, Policy::Auto, Limits::default());
        let first = ask(&scratch, "here", 1, 1, "S1", HOUR);
        let twin = ask(&scratch, "here", 2, 1, "S1", HOUR + 60_000);
        assert_eq!((state(&scratch, first.id), twin.state), (NodeState::Pending, NodeState::Pending));
        assert_eq!(ask(&scratch, "here", 1, 1, "S1", HOUR + 120_000).state, NodeState::Pending, "until a person has decided");
    });
}

#[test]
fn another_serial_number_under_a_known_identity_is_held_once() {
    Scratch::on_both("serial", |scratch| {
        with_sites(&scratch, Policy::Auto, Limits::default());
        let first = ask(&scratch, "here", 1, 1, "S1", HOUR);
        let other = ask(&scratch, "here", 1, 1, "S2", 2 * HOUR);
        assert_eq!((other.id, other.state), (first.id, NodeState::Pending));
        assert!(other.reason.contains("S2") && other.reason.contains("S1"), "{}", other.reason);
        move_to(&scratch, first.id, &[Trigger::Approve]);
        assert_eq!(ask(&scratch, "here", 1, 1, "S2", 3 * HOUR).state, NodeState::Approved);
        assert_eq!(ask(&scratch, "here", 1, 1, "Default string", 4 * HOUR).state, NodeState::Approved, "a placeholder says nothing");
    });
}

#[test]
fn a_list_and_limits_let_in_whom_they_say_and_when() {
    Scratch::on_both("limits", |scratch| {
        let hours: Hours = "08:00-18:00".parse().unwrap();
        with_sites(&scratch, Policy::Allow, Limits { per_day: Some(2), hours: Some(hours) });
        scratch
            .store
            .transaction(|tx| {
                let site = tx.site_named(&"here".parse().unwrap())?.unwrap();
                let by_serial =
                    AllowedMachine { serial: Some("S1".to_owned()), hostname: "worker-1".parse().ok(), ..AllowedMachine::default() };
                let by_both = AllowedMachine { uuid: uuid(2), mac: Some(MacAddr([2, 0, 0, 0, 0, 2])), ..AllowedMachine::default() };
                let by_uuid = [3, 4].map(|number| AllowedMachine { uuid: uuid(number), ..AllowedMachine::default() });
                let [third, fourth] = by_uuid;
                assert_eq!(tx.allow(site.id, &[by_serial.clone(), by_both, third, fourth, by_serial], Timestamp(1))?, 4);
                Ok::<_, StoreError>(())
            })
            .unwrap();
        let early = ask(&scratch, "here", 1, 1, "S1", 7 * HOUR);
        assert_eq!((early.state, early.hostname.as_str()), (NodeState::Discovered, "worker-1"));
        assert!(early.reason.contains("08:00-18:00"), "{}", early.reason);
        let in_time = scratch
            .store
            .transaction(move |tx| {
                let site = tx.site(early.key.site)?.unwrap();
                ask_again(tx, &site, tx.node_to_change(early.id)?.unwrap(), Timestamp(8 * HOUR))
            })
            .unwrap();
        assert_eq!(in_time.state, NodeState::Approved);
        let not_listed = ask(&scratch, "here", 9, 9, "S9", 9 * HOUR);
        assert_eq!(not_listed.state, NodeState::Pending);
        assert!(not_listed.reason.contains("not on the site's list"), "{}", not_listed.reason);
        assert_eq!(ask(&scratch, "here", 5, 2, "", 9 * HOUR).state, NodeState::Pending, "UUID and address must both be as listed");
        assert_eq!(ask(&scratch, "here", 3, 3, "", 9 * HOUR).state, NodeState::Approved);
        let third = ask(&scratch, "here", 4, 4, "", 10 * HOUR);
        assert_eq!(third.state, NodeState::Discovered);
        assert!(third.reason.contains("2 nodes"), "{}", third.reason);
        assert_eq!(ask(&scratch, "here", 4, 4, "", 33 * HOUR).state, NodeState::Approved, "a day later there is room again");
    });
}

#[test]
fn two_replicas_that_meet_a_machine_at_once_make_one_node() {
    Scratch::on_both("meet", |scratch| {
        with_sites(&scratch, Policy::Auto, Limits { per_day: Some(8), hours: None });
        let replicas = [scratch.store.clone(), scratch.open().unwrap()];
        for machine in 1..=12_u8 {
            let threads: Vec<_> = (0..6_usize)
                .map(|thread| {
                    let store = replicas[thread % 2].clone();
                    std::thread::spawn(move || {
                        store.transaction(move |tx| {
                            let site = tx.site_named(&"here".parse().unwrap())?.unwrap();
                            let key = NodeKey { site: site.id, mac: MacAddr([2, 0, 0, 0, 1, machine]), uuid: uuid(machine) };
                            let code = format!("{machine}-{thread}");
                            arrive(tx, &site, &key, &facts(""), BootId([machine; 8]), &code, Timestamp(HOUR)).map(|node| node.id)
                        })
                    })
                })
                .collect();
            let ids: std::collections::BTreeSet<i64> = threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect();
            assert_eq!(ids.len(), 1, "machine {machine}");
        }
        let nodes = scratch.store.read(|tx| tx.nodes(&NodeFilter::default(), 100)).unwrap();
        let count = |state| nodes.iter().filter(|node| node.state == state).count();
        assert_eq!((count(NodeState::Approved), count(NodeState::Discovered)), (8, 4), "the limit holds across replicas");
    });
}

#[test]
fn a_new_machine_takes_an_old_ones_place_or_turns_out_to_be_it() {
    Scratch::on_both("replace", |scratch| {
        with_sites(&scratch, Policy::Approve, Limits::default());
        let old = ask(&scratch, "here", 1, 1, "S1", HOUR);
        move_to(&scratch, old.id, &[Trigger::Approve, Trigger::Boot, Trigger::Configure]);
        let new = ask(&scratch, "here", 2, 2, "S2", 2 * HOUR);
        let (old_id, new_id) = (old.id, new.id);
        scratch
            .store
            .transaction(move |tx| {
                let (old, new) = (tx.node_to_change(old_id)?.unwrap(), tx.node_to_change(new_id)?.unwrap());
                assert_eq!(replace(tx, &Actor::Operator, &new, &new, Timestamp(9))?, Err(ReplaceError::Same));
                replace(tx, &Actor::Operator, &old, &new, Timestamp(9))?.unwrap();
                Ok::<_, StoreError>(())
            })
            .unwrap();
        let new = scratch.store.read(move |tx| tx.node(new_id)).unwrap().unwrap();
        assert_eq!((new.state, new.hostname), (NodeState::Approved, old.hostname));
        assert_eq!(ask(&scratch, "here", 1, 1, "S1", 3 * HOUR).state, NodeState::Retired, "the old one is refused");

        let held = ask(&scratch, "here", 3, 2, "S2", 4 * HOUR);
        assert_eq!(held.held_for, Some(new_id));
        scratch
            .store
            .transaction(move |tx| {
                let (held, into) = (tx.node_to_change(held.id)?.unwrap(), tx.node_to_change(new_id)?.unwrap());
                merge(tx, &Actor::Operator, &held, &into, Timestamp(9))?.unwrap();
                Ok::<_, StoreError>(())
            })
            .unwrap();
        assert_eq!(ask(&scratch, "here", 3, 2, "S2", 5 * HOUR).id, new_id);
        assert_eq!(ask(&scratch, "here", 2, 2, "S2", 5 * HOUR).id, new_id);
    });
}

#[test]
fn nodes_are_selected_by_what_they_are() {
    Scratch::on_both("select", |scratch| {
        with_sites(&scratch, Policy::Approve, Limits::default());
        for (site, number) in [("here", 1), ("here", 2), ("there", 3)] {
            ask(&scratch, site, number, number, "", HOUR);
        }
        scratch
            .store
            .transaction(|tx| {
                let pattern = ClassPattern { product: "PowerEdge*".to_owned(), site: "he*".to_owned(), ..ClassPattern::default() };
                let labels = [("rack".to_owned(), "4".to_owned())].into();
                let class = Class { name: "storage".parse().unwrap(), pattern, labels };
                tx.add_class(&class, Timestamp(1))?;
                let node = tx.node(1)?.unwrap();
                assert!(class.has(&node, &"here".parse().unwrap()) && !class.has(&node, &"there".parse().unwrap()));
                Ok::<_, StoreError>(())
            })
            .unwrap();
        let ids = |text: &'static str| -> Vec<i64> {
            let filter = NodeFilter { selector: text.parse().unwrap(), after: 0 };
            scratch.store.read(move |tx| tx.nodes(&filter, 10)).unwrap().iter().map(|node| node.id).collect()
        };
        assert_eq!(ids(""), [1, 2, 3]);
        assert_eq!(ids("site=here"), [1, 2]);
        assert_eq!(ids("class=storage,mac=02-00-00-00-00-02"), [2]);
        assert_eq!(ids("label.rack=4"), [1, 2]);
        assert_eq!(ids("label.rack=5"), [] as [i64; 0]);
        assert_eq!(ids("vendor=Dell*,state=pending,arch=x86_64,site=there"), [3]);
        assert_eq!(ids("product=PowerEdge"), [] as [i64; 0]);
        let missing = NodeFilter { selector: "site=nowhere".parse().unwrap(), after: 0 };
        assert!(matches!(scratch.store.read(move |tx| tx.nodes(&missing, 10)), Err(StoreError::NotThere { kind: "site", .. })));
        assert!("colour=red".parse::<crate::cloud::store::Selector>().unwrap_err().contains("product"));
    });
}

#[test]
fn every_step_says_who_and_why_in_the_audit_log() {
    Scratch::on_both("who", |scratch| {
        with_sites(&scratch, Policy::Approve, Limits::default());
        let node = ask(&scratch, "here", 1, 1, "", HOUR);
        move_to(
            &scratch,
            node.id,
            &[Trigger::Approve, Trigger::Boot, Trigger::Configure, Trigger::Install, Trigger::Join, Trigger::Retire],
        );
        let filter = crate::cloud::store::AuditFilter { subject: Some(node.id.to_string()), ..Default::default() };
        let lines = scratch.store.transaction(move |tx| tx.read_audit(&Actor::Operator, &filter, 50, Timestamp(9))).unwrap();
        let told: Vec<String> = lines.iter().rev().map(|line| format!("{} {} {}", line.actor, line.action, line.detail)).collect();
        assert_eq!(told.len(), 8, "{told:?}");
        assert!(told[0].starts_with("site here node.discover 02:00:00:00:00:01 4c"), "{told:?}");
        assert_eq!(told[1], "cloud node.queue discovered -> pending: new; waits for a person's approval");
        assert_eq!(told[2], "operator node.approve pending -> approved: because");
        assert_eq!(told[7], "operator node.retire joined -> retired: because");
    });
}
