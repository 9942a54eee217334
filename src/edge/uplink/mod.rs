//! The uplink: the box's side of the site plane.
//!
//! Four things go on, none of which waits for another: settings and firmware come down ([`settings`]), the certificate is renewed
//! ([`renewal`]), reports go up from a durable spool ([`reports`], [`spool`]); and, once, the box joins ([`join`]). With the cloud
//! gone, all of them try again with growing pauses while the site is served from what is on the disk.

pub mod back_off;
pub mod client;
pub mod error;
pub mod firmware_cache;
pub mod join;
pub mod renewal;
pub mod reports;
pub mod settings;
pub mod spool;

use std::sync::{Arc, PoisonError, RwLock};

use client::Client;
use error::UplinkError;
use firmware_cache::FirmwareCache;

use super::identity::Identity;
use super::state::StateDir;
use crate::pki::pinned_root::client_config;

/// What the tasks of the uplink share: who the box is, and the client that proves it.
pub struct Uplink {
    state: StateDir,
    firmware: FirmwareCache,
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    identity: Arc<Identity>,
    client: Client,
}

impl Uplink {
    /// The uplink of a box that has joined.
    ///
    /// # Errors
    /// When the identity's certificate or URL can't be used.
    pub fn new(state: StateDir, firmware: FirmwareCache, identity: Identity) -> Result<Self, UplinkError> {
        Ok(Self { state, firmware, current: RwLock::new(Current::new(identity)?) })
    }

    /// Who the box is now.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).identity)
    }

    fn client(&self) -> Client {
        self.current.read().unwrap_or_else(PoisonError::into_inner).client.clone()
    }

    /// Uses a renewed identity from now on.
    fn adopt(&self, identity: Identity) -> Result<(), UplinkError> {
        let new = Current::new(identity)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

impl Current {
    fn new(identity: Identity) -> Result<Self, UplinkError> {
        let tls = client_config(identity.root(), Some(identity.client_certificate())).map_err(UplinkError::OwnCertificate)?;
        let client = Client::new(identity.url.parse()?, tls);
        Ok(Self { identity: Arc::new(identity), client })
    }
}

#[cfg(test)]
mod tests;
