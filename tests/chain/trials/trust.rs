//! Whom iPXE believes: the root that is sealed into it, and nobody else.

use std::time::Duration;

use fairlead::failure::Result;

use super::boots::{names_the_cloud, never_ran_a_kernel};
use super::{NamedTrial, build, expect};
use crate::lab::cloud::{self, Cloud};
use crate::lab::edge::Mode;
use crate::lab::firmware::Firmware;
use crate::lab::node::{BootOrder, Hardware, Node};
use crate::lab::session::Session;
use crate::lab::{Lab, Settings};

pub(super) const TRIALS: &[NamedTrial] = &[
    ("cloud_with_a_certificate_from_another_root_is_refused", another_root),
    ("rogue_trust_option_in_the_dhcp_answer_has_no_effect_on_efi", rogue_trust_option),
];

fn node(number: u8, firmware: Firmware) -> Hardware {
    Hardware { number, firmware, boot_order: BootOrder::DiskFirst }
}

/// Another cloud in the place of the lab's own: same address, same names, a root of its own.
fn rogue_cloud(lab: &Lab) -> Result<Cloud> {
    cloud::create(&lab.directory.path().join("rogue"), "", lab.image())
}

/// iPXE says that it may not, the console names the cloud, and the rogue has not seen a request.
fn refuses(node: &mut Node, rogue: &Cloud) -> Result<()> {
    node.wait_for("the node says that it tries again", "Fairlead: next attempt in", Duration::from_mins(4))?;
    let denied = "Permission denied (https://ipxe.org/0216eb";
    expect(node.console().contains_wrapped(denied), || format!("the console of {} has no `{denied}`", node.name()))?;
    names_the_cloud(node)?;
    let seen = rogue.ask(&["session", "list"])?;
    expect(seen.as_array().is_some_and(Vec::is_empty), || format!("the rogue cloud has seen {seen}"))?;
    for trace in ["/boot/v1/", "boot script"] {
        expect(rogue.log().find(trace).is_none(), || format!("the rogue cloud's log has `{trace}`"))?;
    }
    Ok(())
}

fn another_root() -> Result<()> {
    let mut lab = build(&Settings::default())?;
    let mut rogue = rogue_cloud(&lab)?;
    lab.cloud.stop();
    rogue.start(&lab.network.cloud)?;
    let mut nodes = [lab.switch_on(node(1, Firmware::Uefi))?, lab.switch_on(node(2, Firmware::Bios))?];
    for node in &mut nodes {
        refuses(node, &rogue)?;
        never_ran_a_kernel(&lab, node)?;
    }
    // With the real cloud back in its place both go on: nothing but the certificate stood in the way.
    rogue.stop();
    lab.cloud.start(&lab.network.cloud)?;
    for node in &nodes {
        Session::wait_for(&lab.cloud, node.hardware().mac(), "script_served", Duration::from_mins(3))?;
    }
    lab.directory.discard();
    Ok(())
}

fn rogue_trust_option() -> Result<()> {
    let mut lab = build(&Settings { mode: Mode::Proxy, ..Settings::default() })?;
    let mut rogue = rogue_cloud(&lab)?;
    let fingerprint = rogue.root_fingerprint()?;
    let octets: Vec<String> = fingerprint.0.iter().map(|octet| format!("{octet:02x}")).collect();
    lab.restart_dnsmasq(&[&format!("--dhcp-option-force=encap:175,90,{}", octets.join(":"))])?;

    // The rogue named its own root by DHCP, and is refused all the same.
    lab.cloud.stop();
    rogue.start(&lab.network.cloud)?;
    let mut node = lab.switch_on(node(1, Firmware::Uefi))?;
    refuses(&mut node, &rogue)?;
    never_ran_a_kernel(&lab, &node)?;
    // And the real cloud is believed, with the rogue's option still in every answer.
    rogue.stop();
    lab.cloud.start(&lab.network.cloud)?;
    Session::wait_for(&lab.cloud, node.hardware().mac(), "script_served", Duration::from_mins(3))?;

    if let Some(capture) = lab.capture.take() {
        let frames = capture.finish().frames_with(&fingerprint.0)?.len();
        expect(frames > 0, || "no DHCP answer carried the rogue's option: the test proves nothing".to_owned())?;
    }
    lab.directory.discard();
    Ok(())
}
