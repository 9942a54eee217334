//! `fairlead-edge run`: puts the parts of the edge together, binds everything, and only then serves.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::config::EdgeConfig;
use super::identity::Identity;
use super::state::StateDir;
use super::uplink::error::in_one_line;
use super::uplink::firmware_cache::FirmwareCache;
use super::uplink::reports::{self, new_spool_name};
use super::uplink::settings::{self, CompleteSettings};
use super::uplink::spool::{Spool, SpoolError, SpoolLimits, SpoolOwner};
use super::uplink::{Uplink, renewal};
use crate::clock;
use crate::failure::{Failure, Result};

/// Serves the site until SIGTERM or SIGINT.
///
/// # Errors
/// When anything is not in order: nothing is served then.
pub async fn run(config: EdgeConfig) -> Result<()> {
    let state = StateDir::open(&config.state_dir)?;
    let _lock = state.lock()?;
    let identity = state.identity()?.ok_or_else(not_joined)?;
    let spool = open_spool(&state, &identity)?;
    let firmware = FirmwareCache::new(&state.folder("firmware")?);
    let uplink = Arc::new(Uplink::new(state.clone(), firmware, identity)?);
    let last = settings::last_good(&uplink)?;
    let _ = (spool, last);
    Ok(())
}

/// What to tell about a box without an identity.
pub(super) fn not_joined() -> Failure {
    Failure::new("this box has not joined a cloud")
        .hint("make a token with `fairlead-cloud site add NAME` in the cloud, then run `fairlead-edge join --token-file FILE` here")
}

fn open_spool(state: &StateDir, identity: &Identity) -> Result<Spool> {
    let owner = SpoolOwner { cloud_root: identity.root(), site_number: identity.site_number };
    Spool::open(&state.folder("spool")?, owner, SpoolLimits::default(), &new_spool_name()).map_err(|error| {
        let failure = Failure::new(error.to_string());
        match &error {
            SpoolError::Io { source, .. } => failure.cause(source).hint("the state folder's disk must be writable and have room"),
            SpoolError::Corrupt { .. } => {
                failure.hint("move the folder `spool` away to start without it: reports in it that the cloud does not have are lost then")
            }
        }
    })
}
