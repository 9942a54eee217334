use std::fmt;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::wire::{BootId, Digest, MacAddr, Nonce, SystemUuid};

/// Signs boot tickets with the site's key.
pub trait TicketMinter: Send + Sync {
    /// Signs a ticket for this machine and boot and returns its text, or `None` when none can be signed now, as with a clock
    /// that can't be believed. The client is then named no boot file, since it could go no further with it.
    fn mint(&self, now: Timestamp, boot: BootId, mac: MacAddr, uuid: Option<SystemUuid>, nonce: Nonce) -> Option<String>;
}

/// What it takes to send a machine on to the cloud. Without it a machine is given an address and no boot file.
#[derive(Clone)]
pub struct BootSettings {
    /// SHA-256 of the root certificate, which goes out as iPXE's `trust` setting to BIOS machines: their iPXE can't be sealed.
    pub root: Digest,
    /// URL of the boot plane, without a trailing slash.
    pub boot_url: String,
    /// The port of this box's HTTP boot server, on each interface's address.
    pub http_port: u16,
    /// Signs tickets.
    pub minter: Arc<dyn TicketMinter>,
}

impl fmt::Debug for BootSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootSettings")
            .field("root", &self.root)
            .field("boot_url", &self.boot_url)
            .field("http_port", &self.http_port)
            .finish()
    }
}
