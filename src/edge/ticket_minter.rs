//! Signs boot tickets with the key that never leaves the box.

use std::sync::atomic::{AtomicBool, Ordering};

use super::dhcp::TicketMinter;
use super::identity::Identity;
use crate::clock::Timestamp;
use crate::failure::{Failure, Result};
use crate::pki::request::TicketKey;
use crate::wire::{BootId, MacAddr, Nonce, SystemUuid, Ticket};

/// The site's pen.
pub(super) struct SiteMinter {
    site: u32,
    key: TicketKey,
    /// The box joined after this moment: a clock that says otherwise is wrong.
    joined_after: Timestamp,
    told: AtomicBool,
}

impl SiteMinter {
    /// Signs for the site of this identity.
    ///
    /// # Errors
    /// When the ticket key can't be used.
    pub(super) fn new(identity: &Identity) -> Result<Self> {
        let key = TicketKey::from_pkcs8(identity.ticket_key.pkcs8().clone())
            .map_err(|error| Failure::new("the box's ticket key can't be used").cause(&error))?;
        Ok(Self { site: identity.site_number, key, joined_after: identity.validity().not_before, told: AtomicBool::new(false) })
    }
}

impl TicketMinter for SiteMinter {
    fn mint(&self, now: Timestamp, boot: BootId, mac: MacAddr, uuid: Option<SystemUuid>, nonce: Nonce) -> Option<String> {
        if now < self.joined_after {
            if !self.told.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    hint = "set the clock (`timedatectl`) or give the box an NTP server that it can reach",
                    "the box's clock says {now}, before its certificate was made: no boot ticket is signed, so no machine can boot from here"
                );
            }
            return None;
        }
        self.told.store(false, Ordering::Relaxed);
        Some(Ticket { site: self.site, boot, mac, uuid, issued_at: now, nonce }.sign(self.key.pair()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::identity::tests::example;

    #[test]
    fn ticket_bears_the_sites_number_and_signature_unless_the_clock_is_from_before_the_join() {
        let identity = example("plant-1");
        let minter = SiteMinter::new(&identity).unwrap();
        let mint = |seconds| minter.mint(Timestamp::from_secs(seconds), BootId([1; 8]), MacAddr([2; 6]), None, Nonce([3; 12]));
        let text = mint(1_800_000_001).unwrap();
        let public = data_encoding::BASE64URL_NOPAD.decode(identity.ticket_key.public_text().as_bytes()).unwrap();
        let ticket = Ticket::verify(&text, |site| if site == 7 { vec![public.clone()] } else { Vec::new() }).unwrap();
        assert_eq!((ticket.site, ticket.issued_at), (7, Timestamp::from_secs(1_800_000_001)));
        assert_eq!(mint(1_700_000_000), None);
    }
}
