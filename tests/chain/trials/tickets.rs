//! Tickets and tokens: shown by a station that poses as iPXE, and judged by the real cloud.

use std::thread::sleep;
use std::time::Duration;

use fairlead::failure::{Failure, Result};
use fairlead::wire::{Digest, MacAddr, SystemUuid};

use super::{NamedTrial, build, expect};
use crate::lab::dhcp_client::Impostor;
use crate::lab::session::Session;
use crate::lab::{Lab, Settings};

pub(super) const TRIALS: &[NamedTrial] = &[
    ("replayed_ticket_is_refused_and_an_alarm", replayed),
    ("ticket_shown_with_another_mac_is_refused_and_an_alarm", with_another_mac),
    ("expired_ticket_is_refused", expired),
    ("second_fetch_of_a_config_is_refused_and_an_alarm", second_fetch),
];

const MAC: MacAddr = MacAddr([0x52, 0x54, 0x00, 0x1a, 0xb0, 0x01]);
const OTHER_MAC: MacAddr = MacAddr([0x52, 0x54, 0x00, 0x1a, 0xb0, 0x02]);
const UUID: SystemUuid = SystemUuid([0x7a, 0x11, 0xaf, 0x0e, 0x5e, 0xed, 0x4b, 0x07, 0x80, 0x00, 0xfa, 0x12, 0x1e, 0xad, 0x01, 0x01]);

/// Asks for a boot script as iPXE on EFI does, with the ticket in a header.
fn ask_for_script(lab: &Lab, station: &Impostor, boot_url: &str, ticket: &str, mac: MacAddr) -> Result<(u16, String)> {
    let root = lab.cloud.root_certificate();
    let mac = mac.to_string().replace(':', "-");
    let url = format!(
        "{boot_url}/boot/v1/script?mac={mac}&uuid={}&serial=LAB-0099&manufacturer=Fairlead&product=Impostor&arch=x86_64&platform=efi",
        station.uuid()
    );
    station.curl(&["--cacert", &root.to_string_lossy(), "--header", &format!("Authorization: Bearer {ticket}"), &url])
}

fn refused(answer: &(u16, String), reason: &str) -> Result<()> {
    let (status, body) = answer;
    expect(*status == 403 && body.trim() == reason, || format!("the cloud answered {status} `{}`, and not 403 `{reason}`", body.trim()))
}

fn alarmed(lab: &Lab, kind: &str) -> Result<()> {
    let event = Session::wait_for(&lab.cloud, MAC, kind, Duration::from_secs(10))?;
    expect(event.alarm, || format!("{kind} is no alarm: {}", event.summary))
}

fn replayed() -> Result<()> {
    let mut lab = build(&Settings::default())?;
    let station = Impostor::plug_in(&lab.network, "imp", MAC, UUID)?;
    let answer = station.ask()?;
    expect(answer.boot_file.ends_with("/autoexec.ipxe"), || format!("iPXE with HTTPS was named {}", answer.boot_file))?;
    let first = ask_for_script(&lab, &station, &answer.boot_url, &answer.ticket, MAC)?;
    expect(first.0 == 200 && first.1.starts_with("#!ipxe\n"), || format!("the first use was answered {first:?}"))?;
    refused(&ask_for_script(&lab, &station, &answer.boot_url, &answer.ticket, MAC)?, "ticket already used")?;
    alarmed(&lab, "ticket_replayed")?;
    lab.directory.discard();
    Ok(())
}

fn with_another_mac() -> Result<()> {
    let mut lab = build(&Settings::default())?;
    let station = Impostor::plug_in(&lab.network, "imp", MAC, UUID)?;
    let answer = station.ask()?;
    refused(&ask_for_script(&lab, &station, &answer.boot_url, &answer.ticket, OTHER_MAC)?, "ticket is for another machine")?;
    // The machine itself is not harmed by it: a fresh ticket boots it, and its timeline has the alarm.
    let fresh = station.ask()?;
    let own = ask_for_script(&lab, &station, &fresh.boot_url, &fresh.ticket, MAC)?;
    expect(own.0 == 200, || format!("the machine's own use was answered {own:?}"))?;
    alarmed(&lab, "ticket_for_other_machine")?;
    let nodes = lab.cloud.ask(&["node", "list"])?.to_string();
    expect(!nodes.contains(&OTHER_MAC.to_string()), || format!("the other machine became a node: {nodes}"))?;
    lab.directory.discard();
    Ok(())
}

fn expired() -> Result<()> {
    let mut lab = build(&Settings { boot_plane: "ticket_lifetime = \"2s\"", ..Settings::default() })?;
    let station = Impostor::plug_in(&lab.network, "imp", MAC, UUID)?;
    let answer = station.ask()?;
    sleep(Duration::from_secs(4));
    refused(&ask_for_script(&lab, &station, &answer.boot_url, &answer.ticket, MAC)?, "ticket expired")?;
    let fresh = station.ask()?;
    let own = ask_for_script(&lab, &station, &fresh.boot_url, &fresh.ticket, MAC)?;
    expect(own.0 == 200, || format!("a fresh ticket was answered {own:?}"))?;
    lab.directory.discard();
    Ok(())
}

fn second_fetch() -> Result<()> {
    let mut lab = build(&Settings::default())?;
    let station = Impostor::plug_in(&lab.network, "imp", MAC, UUID)?;
    let answer = station.ask()?;
    let (status, script) = ask_for_script(&lab, &station, &answer.boot_url, &answer.ticket, MAC)?;
    expect(status == 200, || format!("no script: {status} {script}"))?;
    let url = script.split_ascii_whitespace().find_map(|word| word.strip_prefix("talos.config="));
    let url = url.ok_or_else(|| Failure::new("the script names no machine config"))?;
    let root = lab.cloud.root_certificate();
    let fetch = || station.curl(&["--cacert", &root.to_string_lossy(), url]);
    let (status, config) = fetch()?;
    expect(status == 200, || format!("the first fetch was answered {status}"))?;
    let served = Session::wait_for(&lab.cloud, MAC, "config_served", Duration::from_secs(10))?;
    let digest = Digest::of(config.as_bytes()).to_string();
    expect(served.detail("sha256") == digest, || format!("the cloud says it served {}, and {digest} came", served.detail("sha256")))?;
    expect(config.starts_with(crate::lab::cloud::WORKER_CONFIG.trim_end()), || "the operator's bytes were changed".to_owned())?;
    expect(config.contains(crate::lab::cloud::TAILSCALE_KEY), || "the Tailscale key is missing".to_owned())?;
    refused(&fetch()?, "config token already used")?;
    alarmed(&lab, "config_refused")?;
    lab.directory.discard();
    Ok(())
}
