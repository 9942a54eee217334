//! What must work: a machine with an empty disk comes to run from it.

use std::time::Duration;

use fairlead::failure::{Failure, Result};

use super::{NamedTrial, build, expect};
use crate::lab::capture::FinishedCapture;
use crate::lab::cloud::BOOT_PORT;
use crate::lab::edge::Mode;
use crate::lab::firmware::Firmware;
use crate::lab::network::CLOUD_ADDRESS;
use crate::lab::node::{BootOrder, Hardware, Node};
use crate::lab::session::Session;
use crate::lab::{Lab, Settings};
use crate::story::{Step, Story, follow};

pub(super) const TRIALS: &[NamedTrial] = &[
    ("uefi_pxe_in_server_mode_boots_to_its_disk_and_nothing_crosses_in_clear", || whole_chain(Firmware::Uefi, Mode::Server)),
    ("bios_pxe_in_server_mode_boots_to_its_disk_and_nothing_crosses_in_clear", || whole_chain(Firmware::Bios, Mode::Server)),
    ("uefi_http_boot_in_server_mode_boots_to_its_disk_and_nothing_crosses_in_clear", || whole_chain(Firmware::UefiHttp, Mode::Server)),
    ("uefi_pxe_in_proxy_mode_beside_dnsmasq_boots_to_its_disk_and_nothing_crosses_in_clear", || whole_chain(Firmware::Uefi, Mode::Proxy)),
    ("node_that_boots_from_the_network_after_its_installation_is_sent_to_its_disk", sent_to_its_disk),
    ("unapproved_node_shows_a_code_waits_and_goes_on_within_seconds_of_the_approval", waits_for_approval),
    ("cloud_down_at_boot_time_is_named_on_the_console_and_waited_for", waits_for_the_cloud),
    ("tampered_kernel_on_the_clouds_disk_is_never_started", tampered_kernel),
];

fn node(number: u8, firmware: Firmware, boot_order: BootOrder) -> Hardware {
    Hardware { number, firmware, boot_order }
}

fn whole_chain(firmware: Firmware, mode: Mode) -> Result<()> {
    let settings = Settings { mode, ..Settings::default() };
    let mut lab = build(&settings)?;
    let mut nodes = [lab.switch_on(node(1, firmware, BootOrder::DiskFirst))?];
    let stories = follow(&lab, &settings, &mut nodes, &|_, _| ())?;
    for story in &stories {
        fetched_by_its_own_protocol(firmware, story)?;
    }
    let capture = lab.capture.take().ok_or_else(|| Failure::new("there is no capture"))?.finish();
    nothing_in_clear(&capture, &nodes)?;
    lab.directory.discard();
    Ok(())
}

/// UEFI HTTP Boot that quietly fell back to TFTP would prove nothing.
fn fetched_by_its_own_protocol(firmware: Firmware, story: &Story) -> Result<()> {
    let expected = if firmware == Firmware::UefiHttp { " by http, " } else { " by tftp, " };
    let text = story.proof(Step::FirmwareFetched).map(|proof| proof.text.as_str()).unwrap_or_default();
    expect(text.contains(expected), || format!("iPXE was not fetched{expected}but: {text}"))
}

/// Boot file, autoexec.ipxe and DHCP cross the site in clear, as PXE wants it; of all that comes after, nobody may read a word.
fn nothing_in_clear(capture: &FinishedCapture, nodes: &[Node]) -> Result<()> {
    let mut secrets: Vec<(String, Vec<u8>)> = [
        ("kernel arguments", "slab_nomerge"),
        ("operator's kernel arguments, machine config, Tailscale key", "clear-text-marker"),
        ("the way to the machine config", "talos.config"),
        ("the way to kernel and initramfs", "/boot/v1/blob/"),
        ("machine config", "v1alpha1"),
    ]
    .map(|(what, text)| (what.to_owned(), text.as_bytes().to_vec()))
    .to_vec();
    for node in nodes {
        let line = node.console().find("downloading config from ").unwrap_or_default();
        let token = line.split("token=").nth(1).unwrap_or_default();
        expect(token.len() >= 16, || format!("the console names no token: {line}"))?;
        secrets.push((format!("one-time token of {}", node.name()), token.as_bytes().to_vec()));
    }
    for (what, octets) in &secrets {
        let frames = capture.frames_with(octets)?;
        expect(frames.is_empty(), || format!("{what} crossed the site in clear, in frames {frames:?}"))?;
    }
    // The capture must have been able to show it.
    let clear = capture.frames_with(b"autoexec.ipxe")?.len();
    expect(clear > 0, || "the capture lacks the first leg: it proves nothing".to_owned())?;
    let hellos = capture.count(&format!("tls.handshake.type == 1 && ip.dst == {CLOUD_ADDRESS}"))?;
    // Script, kernel and initramfs share a connection or not; the machine config has one of its own.
    expect(hellos >= 2, || format!("the capture has {hellos} TLS sessions with the cloud"))?;
    let beside = capture.count(&format!("ip.addr == {CLOUD_ADDRESS} && !(tcp.port == {BOOT_PORT})"))?;
    expect(beside == 0, || format!("{beside} frames went between site and cloud beside TLS"))
}

fn sent_to_its_disk() -> Result<()> {
    let settings = Settings::default();
    let mut lab = build(&settings)?;
    let mut nodes = [
        lab.switch_on(node(1, Firmware::Uefi, BootOrder::NetworkFirst))?,
        lab.switch_on(node(2, Firmware::Bios, BootOrder::NetworkFirst))?,
    ];
    // The last step is that it runs from its disk, and the network comes first here.
    follow(&lab, &settings, &mut nodes, &|_, _| ())?;
    for node in &nodes {
        let mac = node.hardware().mac();
        let newest = Session::newest_of(&lab.cloud, mac)?.ok_or_else(|| Failure::new("the cloud has no boot of the node"))?;
        expect(newest.outcome == "local_boot", || format!("the newest boot of {} ended as {}", node.name(), newest.outcome))?;
        let handed_out: usize = Session::all_of(&lab.cloud, mac)?.iter().map(|session| session.all("config_served").count()).sum();
        expect(handed_out == 1, || format!("{} machine configs were handed out to {}", handed_out, node.name()))?;
    }
    lab.directory.discard();
    Ok(())
}

fn waits_for_approval() -> Result<()> {
    let settings = Settings { admission: "approve", ..Settings::default() };
    let mut lab = build(&settings)?;
    let mut node = lab.switch_on(node(1, Firmware::Uefi, BootOrder::DiskFirst))?;
    let mac = node.hardware().mac();
    let waiting = Session::wait_for(&lab.cloud, mac, "waiting", Duration::from_mins(4))?;
    let code = waiting.detail("code");
    node.wait_for("the console shows the code", &code, Duration::from_secs(30))?;
    node.wait_for("the node asks again by itself", &format!("{code} still waits"), Duration::from_secs(30))?;
    let session = Session::newest_of(&lab.cloud, mac)?.ok_or_else(|| Failure::new("the cloud has no boot of the node"))?;
    for kind in ["script_served", "blob_served", "config_served"] {
        expect(session.first(kind).is_none(), || format!("{kind} before anybody approved the node"))?;
    }
    lab.cloud.run(&["node", "approve", &code])?;
    let approved = Session::wait_for(&lab.cloud, mac, "approved", Duration::from_secs(5))?;
    let served = Session::wait_for(&lab.cloud, mac, "script_served", Duration::from_secs(60))?;
    let seconds = served.at.since(approved.at).as_secs();
    expect(seconds <= 15, || format!("the node went on {seconds} s after the approval"))?;
    Session::wait_for(&lab.cloud, mac, "blob_served", Duration::from_mins(2))?;
    lab.directory.discard();
    Ok(())
}

fn waits_for_the_cloud() -> Result<()> {
    let mut lab = build(&Settings::default())?;
    lab.cloud.stop();
    let mut node = lab.switch_on(node(1, Firmware::Uefi, BootOrder::DiskFirst))?;
    node.wait_for("the node says that it tries again", "Fairlead: next attempt in", Duration::from_mins(4))?;
    names_the_cloud(&node)?;
    lab.cloud.start(&lab.network.cloud)?;
    Session::wait_for(&lab.cloud, node.hardware().mac(), "script_served", Duration::from_mins(3))?;
    lab.directory.discard();
    Ok(())
}

/// A line for the technician that names what can't be reached.
pub(super) fn names_the_cloud(node: &Node) -> Result<()> {
    let url = crate::lab::cloud::boot_url();
    let lines = node.console().lines();
    let named = lines.iter().any(|line| line.starts_with("Fairlead:") && line.contains(&url) && !line.contains("asking"));
    expect(named, || format!("no line on the console names {url} as what went wrong; it says:\n{}", lines.join("\n")))
}

fn tampered_kernel() -> Result<()> {
    let mut lab = build(&Settings::default())?;
    lab.cloud.tamper_with(lab.image().kernel_digest)?;
    let mut node = lab.switch_on(node(1, Firmware::Uefi, BootOrder::DiskFirst))?;
    let mac = node.hardware().mac();
    let alarm = Session::wait_for(&lab.cloud, mac, "blob_corrupt", Duration::from_mins(4))?;
    expect(alarm.alarm && alarm.detail("name") == "kernel", || format!("the alarm is not about the kernel: {}", alarm.summary))?;
    node.wait_for("the console says what went wrong", "did not arrive whole and unchanged", Duration::from_secs(60))?;
    // It gets another ticket and is refused the kernel again, and never runs what it got.
    node.wait_for("the node tries again", "Fairlead: next attempt in", Duration::from_secs(60))?;
    never_ran_a_kernel(&lab, &node)?;
    lab.directory.discard();
    Ok(())
}

/// Neither kernel nor stand-in has written to the console, and no config was handed out.
pub(super) fn never_ran_a_kernel(lab: &Lab, node: &Node) -> Result<()> {
    for trace in ["Linux version", "stand-in:"] {
        expect(node.console().find(trace).is_none(), || format!("the console has `{trace}`: a kernel ran"))?;
    }
    for session in Session::all_of(&lab.cloud, node.hardware().mac())? {
        expect(session.first("config_served").is_none(), || "a machine config was handed out".to_owned())?;
    }
    Ok(())
}
