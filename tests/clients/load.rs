//! perfdhcp: many clients behind a relay.

use fairlead::failure::{Failure, Result};
use fairlead_lab::process::output;

use crate::NamedTrial;
use crate::packets::{ACK, NAK, OFFER, read};
use crate::site::{INTERFACE, Site};
use crate::story::expect;

pub(super) const TRIALS: &[NamedTrial] = &[("perfdhcp_leases_and_renews_for_forty_clients_without_a_drop", perfdhcp)];

fn perfdhcp() -> Result<()> {
    let site = Site::build()?;
    // It plays a relay with the interface's own address.
    site.station.configure(&format!("addr add 192.0.2.9/24 dev {INTERFACE}"))?;
    let mut command = site.station.command("perfdhcp");
    command.args(["-4", "-l", INTERFACE, "-R", "40", "-r", "20", "-f", "5", "-n", "60", "-W", "500000", "-s", "7", "192.0.2.1"]);
    let output = output(&mut command)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // 3 stands for drops.
    if !output.status.success() {
        return Err(Failure::new(format!("perfdhcp ended with {}", output.status)).because(said));
    }
    let packets = read(&site.capture)?;
    let count = |kind: u8| packets.iter().filter(|packet| packet.kind == kind).count();
    expect(count(OFFER) >= 40 && count(ACK) >= 40 && count(NAK) == 0, || {
        format!("{} offers, {} acknowledgements, {} refusals:\n{said}", count(OFFER), count(ACK), count(NAK))
    })?;
    let renewals = packets.iter().filter(|packet| packet.kind == 3 && packet.ciaddr != crate::packets::NOBODY).count();
    expect(renewals > 0, || format!("there is no renewal:\n{said}"))?;
    site.discard();
    Ok(())
}
