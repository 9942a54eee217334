//! How our server behaves on a network that is not its own alone: on the wire, with its log and its list of leases.

mod lan;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use fairlead::failure::Result;
use fairlead::wire::MacAddr;
use fairlead_lab::process::Daemon;

use self::lan::{Lan, RIVAL};
use crate::message::{ACK, INFORM, Message, NAK, code};
use crate::site::{RELAY, SERVER, expect, expect_eq};
use crate::wire::Path;

type NamedTrial = (&'static str, fn() -> Result<()>);

pub(crate) const TRIALS: &[NamedTrial] = &[
    ("server_is_silent_and_alarmed_beside_another_one_and_serves_when_that_is_gone", beside_a_rival),
    ("authoritative_server_is_alarmed_and_answers_beside_another_one", authoritative),
    ("rfc5227_2_1_1_host_with_a_static_address_in_the_pool_keeps_it_and_is_reported", static_host),
    ("rfc5227_2_1_1_reservation_that_a_stranger_uses_is_reported_and_its_client_is_served", squatted_reservation),
    ("rfc5227_2_1_1_init_reboot_into_a_reservation_waits_for_the_probe_and_is_refused_when_a_stranger_uses_it", reboot_into_reservation),
    ("client_in_the_second_subnet_of_the_boxs_own_link_leases_renews_and_is_probed_for", second_subnet),
    ("forged_messages_of_another_server_have_it_looked_for_and_silence_nobody", forged_rival),
    ("rfc2131_3_1_address_behind_a_relay_that_answers_pings_is_not_offered", behind_a_relay),
    ("observing_server_answers_nothing_and_says_what_it_would_have_answered", observing),
];

const SQUATTER: MacAddr = MacAddr([2, 0x5e, 0, 0, 0, 0x66]);
const RELAYED: Path = Path::Relay(RELAY);
/// What is in the log is written before the answer goes out, or soon behind it.
const SOON: Duration = Duration::from_secs(10);
/// How long a server that must not answer is watched: longer than it may wait for a probe.
const SILENCE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);

const SERVES: &str = "mode = \"server\"";
const SERVES_AT_ONCE: &str = "mode = \"server\"\nauthoritative = true";
const SUBNET: &str = "[[subnet]]\nnetwork = \"192.0.2.0/24\"\n";

fn static_host() -> Result<()> {
    let lan = Lan::lay()?;
    let host = Ipv4Addr::new(192, 0, 2, 101);
    lan.wire.takes(host, SQUATTER);
    let mut edge = lan.start(SERVES_AT_ONCE, &format!("{SUBNET}pools = [\"192.0.2.100-192.0.2.103\"]\n"))?;
    let mut leased = BTreeSet::new();
    for _ in 0..3 {
        // Each asks for it by name.
        let discover = Message::discover(lan.new_mac()).with_address(code::REQUESTED_ADDRESS, host);
        leased.insert(lan.lease(&discover, Path::Broadcast)?);
    }
    let others = [100, 102, 103].map(|last| Ipv4Addr::new(192, 0, 2, last));
    expect_eq("what three clients have", leased, BTreeSet::from(others))?;
    let late = Message::discover(lan.new_mac()).with_address(code::REQUESTED_ADDRESS, host);
    expect_eq("what a fourth is offered", lan.answer_of(SERVER, &late, Path::Broadcast, SILENCE)?.map(|offer| offer.yiaddr), None)?;
    says(&mut edge, "an address of the pools is used by a machine that has no lease of it", &[&host.to_string(), &SQUATTER.to_string()])?;
    let declined = lan.declined()?;
    expect(declined.contains(&host.to_string()) && !declined.contains("192.0.2.100"), || format!("the list of leases says:\n{declined}"))?;
    drop(edge);
    lan.discard();
    Ok(())
}

fn squatted_reservation() -> Result<()> {
    let lan = Lan::lay()?;
    let (owner, reserved) = (lan.new_mac(), Ipv4Addr::new(192, 0, 2, 10));
    lan.wire.takes(reserved, SQUATTER);
    let rest = format!(
        "{SUBNET}pools = [\"192.0.2.100-192.0.2.103\"]\n[[subnet.reservation]]\nmac = \"{owner}\"\naddress = \"{reserved}\"\n\
         [[subnet.reservation]]\nmac = \"02:fc:00:00:00:99\"\naddress = \"192.0.2.11\"\n"
    );
    let mut edge = lan.start(SERVES_AT_ONCE, &rest)?;
    let address = lan.lease(&Message::discover(owner), Path::Broadcast)?;
    expect((100..=103).contains(&address.octets()[3]), || format!("the owner of the reservation has {address}"))?;
    let said = "is used by another machine; its client is given an address of the pools";
    says(&mut edge, said, &[&reserved.to_string(), &owner.to_string(), &SQUATTER.to_string()])?;
    // A reservation that nobody else uses is probed too, and then given.
    let other = Message::discover(MacAddr([2, 0xfc, 0, 0, 0, 0x99]));
    expect_eq("another reservation", lan.lease(&other, Path::Broadcast)?, Ipv4Addr::new(192, 0, 2, 11))?;
    drop(edge);
    lan.discard();
    Ok(())
}

fn reboot_into_reservation() -> Result<()> {
    let lan = Lan::lay()?;
    let (free, squatted) = (Ipv4Addr::new(192, 0, 2, 10), Ipv4Addr::new(192, 0, 2, 11));
    let owners = [lan.new_mac(), lan.new_mac()];
    lan.wire.takes(squatted, SQUATTER);
    let reservations: String = owners
        .iter()
        .zip([free, squatted])
        .map(|(owner, address)| format!("[[subnet.reservation]]\nmac = \"{owner}\"\naddress = \"{address}\"\n"))
        .collect();
    let mut edge = lan.start(SERVES_AT_ONCE, &format!("{SUBNET}pools = [\"192.0.2.100-192.0.2.103\"]\n{reservations}"))?;
    // Both remember an address that this server never gave them.
    let reboot = |place: usize, address| {
        let owner = owners.get(place).copied().unwrap_or(SQUATTER);
        lan.answer_of(SERVER, &Message::request(owner).with_address(code::REQUESTED_ADDRESS, address), Path::Broadcast, SILENCE)
    };
    expect_eq("what is said to the one", reboot(0, free)?.map(|answer| (answer.kind(), answer.yiaddr)), Some((Some(ACK), free)))?;
    expect(lan.wire.was_asked_for(free), || "nobody asked whether the address is free".to_owned())?;
    expect_eq("what is said to the other", reboot(1, squatted)?.map(|answer| answer.kind()), Some(Some(NAK)))?;
    says(&mut edge, "is used by another machine", &[&squatted.to_string(), &SQUATTER.to_string()])?;
    drop(edge);
    lan.discard();
    Ok(())
}

/// The box has no address in the second subnet, and its system no route there.
fn second_subnet() -> Result<()> {
    let lan = Lan::lay()?;
    let stranger = Ipv4Addr::new(203, 0, 113, 100);
    lan.wire.takes(stranger, SQUATTER);
    let shared = "shared_network = \"floor\"\n";
    let second = format!("[[subnet]]\nnetwork = \"203.0.113.0/24\"\n{shared}pools = [\"203.0.113.100-203.0.113.103\"]\n");
    let mut edge = lan.start(SERVES_AT_ONCE, &format!("{SUBNET}{shared}pools = [\"192.0.2.100-192.0.2.100\"]\n{second}"))?;
    let first = lan.lease(&Message::discover(lan.new_mac()), Path::Broadcast)?;
    expect_eq("what the first client has", first, Ipv4Addr::new(192, 0, 2, 100))?;
    let mac = lan.new_mac();
    let address = lan.lease(&Message::discover(mac), Path::Broadcast)?;
    expect((101..=103).contains(&address.octets()[3]) && address.octets()[0] == 203, || format!("the second client has {address}"))?;
    says(&mut edge, "an address of the pools is used by a machine that has no lease of it", &[&stranger.to_string()])?;
    for path in [Path::Unicast(address), Path::Broadcast] {
        let answer = lan.answer_of(SERVER, &Message::request(mac).at_address(address), path, PATIENCE)?;
        expect_eq("a renewal", answer.map(|answer| (answer.kind(), answer.yiaddr)), Some((Some(ACK), address)))?;
    }
    drop(edge);
    lan.discard();
    Ok(())
}

fn forged_rival() -> Result<()> {
    let lan = Lan::lay()?;
    let mut edge = lan.start(SERVES, &format!("{SUBNET}pools = [\"192.0.2.100-192.0.2.103\"]\n"))?;
    says(&mut edge, "no other DHCP server answers", &["lan0"])?;
    let forged = Message::request(lan.new_mac())
        .with_address(code::SERVER_IDENTIFIER, RIVAL)
        .with_address(code::REQUESTED_ADDRESS, Ipv4Addr::new(192, 0, 2, 200));
    lan.wire.expect_silence(&forged, Path::Broadcast)?;
    lan.lease(&Message::discover(lan.new_mac()), Path::Broadcast)?;
    edge.wait_for("the server that nobody else hears", "which does not answer this box", Duration::from_secs(20))?;
    lan.lease(&Message::discover(lan.new_mac()), Path::Broadcast)?;
    drop(edge);
    lan.discard();
    Ok(())
}

fn behind_a_relay() -> Result<()> {
    let lan = Lan::lay()?;
    let host = Ipv4Addr::new(10, 1, 0, 100);
    lan.wire.is_behind_relay(host);
    let relayed = "[[subnet]]\nnetwork = \"10.1.0.0/24\"\npools = [\"10.1.0.100-10.1.0.102\"]\n";
    let mut edge = lan.start(SERVES_AT_ONCE, &format!("{SUBNET}pools = [\"192.0.2.100-192.0.2.103\"]\n{relayed}"))?;
    let discover = || Message::discover(lan.new_mac()).relayed_by(RELAY).with_address(code::REQUESTED_ADDRESS, host);
    let leased = BTreeSet::from([lan.lease(&discover(), RELAYED)?, lan.lease(&discover(), RELAYED)?]);
    expect_eq("what two clients have", leased, BTreeSet::from([101, 102].map(|last| Ipv4Addr::new(10, 1, 0, last))))?;
    expect_eq("what a third is offered", lan.answer_of(SERVER, &discover(), RELAYED, SILENCE)?.map(|offer| offer.yiaddr), None)?;
    says(&mut edge, "an address of the pools is used by a machine that has no lease of it", &[&host.to_string(), "behind a relay"])?;
    let declined = lan.declined()?;
    expect(declined.contains(&host.to_string()), || format!("the list of leases says:\n{declined}"))?;
    drop(edge);
    lan.discard();
    Ok(())
}

fn beside_a_rival() -> Result<()> {
    let lan = Lan::lay()?;
    let mut rival = lan.start_rival()?;
    let mut edge = lan.start(SERVES, &format!("{SUBNET}pools = [\"192.0.2.100-192.0.2.103\"]\n"))?;
    says(&mut edge, "another DHCP server answers on this segment: no address is given out here", &[&RIVAL.to_string(), "lan0"])?;
    // Asked together, so that silence means something: the other one does answer.
    let discover = Message::discover(lan.new_mac());
    let silent = lan.answer_of(SERVER, &discover, Path::Broadcast, SILENCE)?;
    expect_eq("what is offered beside the other server", silent.map(|offer| offer.yiaddr), None)?;
    let again = Message::discover(discover.mac());
    expect(lan.answer_of(RIVAL, &again, Path::Broadcast, SILENCE)?.is_some(), || "the other server is silent too".to_owned())?;

    rival.stop();
    // Three looks, and the one in which it was heard last.
    edge.wait_for("the other server is missed", "the other DHCP server is gone; addresses are given out again", Duration::from_secs(40))?;
    let address = lan.lease(&Message::discover(discover.mac()), Path::Broadcast)?;
    expect((100..=103).contains(&address.octets()[3]), || format!("the client has {address}"))?;
    drop(edge);
    lan.discard();
    Ok(())
}

fn authoritative() -> Result<()> {
    let lan = Lan::lay()?;
    let rival = lan.start_rival()?;
    let mut edge = lan.start(SERVES_AT_ONCE, &format!("{SUBNET}pools = [\"192.0.2.100-192.0.2.103\"]\n"))?;
    says(&mut edge, "the interface is authoritative, so addresses are given out all the same", &[&RIVAL.to_string(), "lan0"])?;
    let address = lan.lease(&Message::discover(lan.new_mac()), Path::Broadcast)?;
    expect((100..=103).contains(&address.octets()[3]), || format!("the client has {address}"))?;
    drop((edge, rival));
    lan.discard();
    Ok(())
}

fn observing() -> Result<()> {
    let lan = Lan::lay()?;
    let mut edge = lan.start("mode = \"observe\"", &format!("{SUBNET}pools = [\"192.0.2.100-192.0.2.103\"]\n"))?;
    let mac = lan.new_mac();
    let elsewhere = Message::request(mac).with_address(code::REQUESTED_ADDRESS, Ipv4Addr::new(198, 51, 100, 7));
    let inform = Message::new(INFORM, mac).at_address(Ipv4Addr::new(192, 0, 2, 77));
    for message in [Message::discover(mac), elsewhere, inform] {
        lan.wire.expect_silence(&message, Path::Broadcast)?;
    }
    says(&mut edge, "would send OFFER of 192.0.2.10", &[&format!("DISCOVER of {mac}")])?;
    says(&mut edge, "would send NAK", &[&format!("REQUEST of {mac}")])?;
    let asked = (100..=103).map(|last| Ipv4Addr::new(192, 0, 2, last)).find(|address| lan.wire.was_asked_for(*address));
    expect_eq("the address that it probed", asked, None)?;
    drop(edge);
    lan.discard();
    Ok(())
}

/// Waits for what the log should say, and for all that the line must name.
fn says(edge: &mut Daemon, what: &str, names: &[&str]) -> Result<()> {
    let line = edge.wait_for(what, what, SOON)?;
    names.iter().try_for_each(|name| expect(line.contains(name), || format!("`{name}` is not in the line: {line}")))
}
