//! Clients that reach the box another way than over a cable in four messages: tagged, through a relay, in two messages.

use std::fs;
use std::time::{Duration, Instant};

use fairlead::failure::{Failure, Result};

use crate::NamedTrial;
use crate::packets::{ACK, DISCOVER, OFFER, REQUEST, read, wait_for};
use crate::programs::{DHCLIENT, NETWORKD, start_dhcpcd};
use crate::site::{Link, SERVER, Site};
use crate::story::{expect, goes_through_all_at};

pub(super) const TRIALS: &[NamedTrial] = &[
    ("ieee8021q_dhclient_on_a_vlan_leases_renews_rebinds_reboots_and_releases", on_a_vlan),
    ("rfc3046_dhclient_behind_dhcrelay_leases_renews_rebinds_reboots_and_releases", behind_a_relay),
    ("rfc4039_dhcpcd_has_its_lease_in_two_messages", in_two_messages),
    ("rfc4039_dhcpcd_has_its_lease_in_four_messages_where_two_are_not_allowed", in_four_messages),
    ("rfc2132_systemd_networkd_takes_name_and_time_servers", names_and_time),
];

fn on_a_vlan() -> Result<()> {
    let site = Site::build_with(Link::Vlan, "")?;
    goes_through_all_at(&site, &DHCLIENT)?;
    let captured = site.at_box.so_far();
    let (tagged, all) = (captured.count("dhcp && vlan.id == 7")?, captured.count("dhcp")?);
    expect(tagged == all && all > 10, || format!("{tagged} of {all} messages on the cable have the tag"))?;
    site.discard();
    Ok(())
}

fn behind_a_relay() -> Result<()> {
    let site = Site::build_with(Link::Relay, "")?;
    goes_through_all_at(&site, &DHCLIENT)?;
    let relayed = site.at_box.so_far();
    let fields = ["dhcp.option.dhcp", "dhcp.ip.relay", "dhcp.option.agent_information_option.agent_circuit_id", "ip.dst"];
    let messages = relayed.fields("dhcp && !icmp && dhcp.ip.relay == 10.7.0.1", &fields)?;
    let of_kind = |kind: u8| messages.iter().filter(move |cells| cells.first().is_some_and(|cell| *cell == kind.to_string()));
    for (kind, to) in [(DISCOVER, SERVER), (OFFER, "10.7.0.1"), (REQUEST, SERVER), (ACK, "10.7.0.1")] {
        let wrong = of_kind(kind).find(|cells| {
            let [_, _, circuit, destination] = cells.as_slice() else { return true };
            circuit.is_empty() || destination != to
        });
        expect(of_kind(kind).count() > 0 && wrong.is_none(), || {
            format!("a message of type {kind} is without option 82, or none was relayed: {messages:?}")
        })?;
    }
    let circuits: std::collections::BTreeSet<&String> = messages.iter().filter_map(|cells| cells.get(2)).collect();
    expect(circuits.len() == 1, || format!("option 82 is not echoed as it came: {circuits:?}"))?;
    site.discard();
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(45);

fn in_two_messages() -> Result<()> {
    let site = Site::build_with(Link::Cable, "rapid_commit = true")?;
    let mut running = start_dhcpcd(&site, "option rapid_commit\n")?;
    let (_, acknowledged, _) = wait_for(&site.capture, 0, "DISCOVER and ACK", &|packet| packet.kind == DISCOVER, ACK, PATIENCE)?;
    expect(acknowledged.server == SERVER && !acknowledged.lease.is_empty(), || format!("the ACK is {acknowledged:?}"))?;
    // The client believes in it: it renews.
    let address = acknowledged.yiaddr;
    wait_for(&site.capture, 0, "RENEWING by unicast", &|packet| packet.is_renewal_of(&address), ACK, PATIENCE)?;
    let others = read(&site.capture)?.iter().filter(|packet| packet.kind == OFFER || packet.is_selection_of(&address)).count();
    expect(others == 0, || format!("there were {others} offers and selections besides"))?;
    running.client.stop();
    site.discard();
    Ok(())
}

fn in_four_messages() -> Result<()> {
    let site = Site::build()?;
    let mut running = start_dhcpcd(&site, "option rapid_commit\n")?;
    let (_, offer, _) = wait_for(&site.capture, 0, "DISCOVER and OFFER", &|packet| packet.kind == DISCOVER, OFFER, PATIENCE)?;
    wait_for(&site.capture, 0, "REQUEST and ACK", &|packet| packet.is_selection_of(&offer.yiaddr), ACK, PATIENCE)?;
    running.client.stop();
    site.discard();
    Ok(())
}

/// What it keeps of its lease is what it tells the system's resolver and time service.
fn names_and_time() -> Result<()> {
    let site = Site::build()?;
    let mut running = (NETWORKD.start)(&site)?;
    let leases = site.directory().join("netif/leases");
    let deadline = Instant::now() + PATIENCE;
    let lease = loop {
        let kept = fs::read_dir(&leases).into_iter().flatten().flatten().find_map(|file| fs::read_to_string(file.path()).ok());
        match kept {
            Some(lease) if lease.contains("ADDRESS=") => break lease,
            _ if Instant::now() > deadline => return Err(Failure::new("systemd-networkd keeps no lease")),
            _ => std::thread::sleep(Duration::from_millis(200)),
        }
    };
    for said in ["DNS=192.0.2.53", "NTP=192.0.2.123", "DOMAINNAME=site.example", "ROUTER=192.0.2.1", "SERVER_ADDRESS=192.0.2.1"] {
        expect(lease.lines().any(|line| line == said), || format!("`{said}` is not in the lease that it keeps:\n{lease}"))?;
    }
    running.client.stop();
    site.discard();
    Ok(())
}
