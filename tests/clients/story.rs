//! What every client goes through.

use std::time::Duration;

use fairlead::failure::{Failure, Result};
use fairlead_lab::process::Daemon;

use crate::packets::{ACK, DISCOVER, NAK, OFFER, Packet, RELEASE, read, wait_for};
use crate::site::{SERVER, Site};

/// A client program.
pub(crate) struct Client {
    /// Starts it; a second start finds what the first one left on the disk.
    pub(crate) start: fn(&Site) -> Result<Running>,
    /// How it begins when it remembers an address.
    pub(crate) reboot: Reboot,
    /// Makes it give its address back and ends it; `None` when the program never does.
    pub(crate) release: Option<fn(&Site, &mut Running) -> Result<()>>,
    /// Makes it renew now, where it does not heed the times that the server names.
    pub(crate) renew: Option<fn(&Site, &mut Running) -> Result<()>>,
}

/// What a client does first when it starts with an address in its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reboot {
    /// INIT-REBOOT.
    AsksForItsAddress,
    /// It begins anew and is offered what it had.
    BeginsAnew,
}

/// The client and what it needs beside it, stopped in this order.
pub(crate) struct Running {
    pub(crate) client: Daemon,
    pub(crate) beside: Vec<Daemon>,
}

impl Running {
    fn power_cut(mut self) {
        self.client.kill();
        for mut each in self.beside {
            each.kill();
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(75);

/// Lease, renewal, rebinding, reboot, release, and a lease again.
pub(crate) fn goes_through_all(client: &Client) -> Result<()> {
    let site = Site::build()?;
    goes_through_all_at(&site, client)?;
    site.discard();
    Ok(())
}

/// The same on a site that is there.
pub(crate) fn goes_through_all_at(site: &Site, client: &Client) -> Result<()> {
    let mut running = (client.start)(site)?;

    let (discover, offer, _) = wait_for(&site.capture, 0, "DISCOVER and OFFER", &|packet| packet.kind == DISCOVER, OFFER, PATIENCE)?;
    expect(discover.to == "255.255.255.255", || format!("the DISCOVER went to {}", discover.to))?;
    let address = offer.yiaddr;
    let (_, leased, mut seen) =
        wait_for(&site.capture, 0, "REQUEST and ACK of the offer", &|packet| packet.is_selection_of(&address), ACK, PATIENCE)?;
    is_whole(&leased, &address)?;

    if let Some(renew) = client.renew {
        renew(site, &mut running)?;
    }
    let renewed = wait_for(&site.capture, seen, "RENEWING by unicast", &|packet| packet.is_renewal_of(&address), ACK, PATIENCE)?;
    is_whole(&renewed.1, &address)?;
    expect(renewed.1.to == address, || format!("the renewal was answered to {}", renewed.1.to))?;
    seen = renewed.2;

    site.lose_unicast()?;
    if let Some(renew) = client.renew {
        renew(site, &mut running)?;
    }
    let rebound = wait_for(&site.capture, seen, "REBINDING by broadcast", &|packet| packet.is_rebinding_of(&address), ACK, PATIENCE)?;
    is_whole(&rebound.1, &address)?;
    seen = rebound.2;
    site.mend_unicast()?;

    running.power_cut();
    site.station.configure("addr flush dev eth0")?;
    let mut running = (client.start)(site)?;
    let is_first: &dyn Fn(&Packet) -> bool = match client.reboot {
        Reboot::AsksForItsAddress => &|packet| packet.is_reboot_with(&address),
        Reboot::BeginsAnew => &|packet| packet.is_selection_of(&address),
    };
    let rebooted = wait_for(&site.capture, seen, "the same address after a power cut", is_first, ACK, PATIENCE)?;
    is_whole(&rebooted.1, &address)?;
    seen = rebooted.2;

    if let Some(release) = client.release {
        // Until the client has set up what it was given it does not know what to give back.
        std::thread::sleep(Duration::from_secs(2));
        release(site, &mut running)?;
        let given_back =
            |packet: &Packet| packet.kind == RELEASE && packet.ciaddr == address && packet.to == SERVER && packet.server == SERVER;
        let released = wait_for(&site.capture, seen, "RELEASE by unicast", &given_back, RELEASE, PATIENCE)?;
        drop(running);
        site.station.configure("addr flush dev eth0")?;
        let mut again = (client.start)(site)?;
        let leased = wait_for(&site.capture, released.2, "the same address after the release", &|packet| packet.kind == 3, ACK, PATIENCE)?;
        is_whole(&leased.1, &address)?;
        again.client.stop();
    } else {
        running.client.stop();
    }
    let refusals = read(&site.capture)?.iter().filter(|packet| packet.kind == NAK).count();
    expect(refusals == 0, || format!("{refusals} requests were refused"))
}

/// An acknowledgement that says all that a client needs to know.
fn is_whole(acknowledged: &Packet, address: &str) -> Result<()> {
    expect(acknowledged.yiaddr == address, || format!("{} was acknowledged and not {address}", acknowledged.yiaddr))?;
    expect(acknowledged.server == SERVER, || format!("option 54 of the ACK is `{}`", acknowledged.server))?;
    let times: Vec<Option<u32>> =
        [&acknowledged.renewal, &acknowledged.rebinding, &acknowledged.lease].iter().map(|text| text.parse().ok()).collect();
    let are_in_order =
        matches!(times.as_slice(), [Some(renewal), Some(rebinding), Some(lease)] if renewal < rebinding && rebinding < lease);
    expect(are_in_order, || format!("options 58, 59 and 51 of the ACK are {times:?}"))
}

pub(crate) fn expect(is_so: bool, what: impl FnOnce() -> String) -> Result<()> {
    if is_so { Ok(()) } else { Err(Failure::new(what())) }
}
