//! Puts the parts of the edge together: binds everything, and only then serves.

use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::boot_files::{BootFile, BootFiles};
use super::config::EdgeConfig;
use super::control::{self, ControlSocket, Desk};
use super::dhcp::BootSettings;
use super::dhcp::server::Server as DhcpServer;
use super::endpoint::Endpoint;
use super::http::server::HttpServer;
use super::identity::Identity;
use super::reload::Reloader;
use super::served::ServedReports;
use super::state::StateDir;
use super::tftp::server::TftpServer;
use super::ticket_minter::SiteMinter;
use super::uplink::firmware_cache::FirmwareCache;
use super::uplink::reports::{self, new_spool_name};
use super::uplink::settings::{self, CompleteSettings};
use super::uplink::spool::{Spool, SpoolError, SpoolLimits, SpoolOwner};
use super::uplink::{Uplink, renewal};
use super::{http, tftp};
use crate::clock;
use crate::failure::{Failure, Result};
use crate::firmware::AUTOEXEC;

/// Firmware knows no other.
pub(super) const TFTP_PORT: u16 = 69;
/// Servers get this long to finish what runs.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// Serves the site by this configuration, which was read from `path`, until SIGTERM or SIGINT. On SIGHUP the file is read again.
///
/// # Errors
/// When anything is not in order: nothing is served then. Later, when a part of the program breaks down.
pub async fn run(config: EdgeConfig, path: PathBuf) -> Result<()> {
    let mut signals = Signals::listen()?;
    let http_port = config.http_port.get();
    let addresses: Vec<(String, std::net::Ipv4Addr)> =
        config.dhcp.interfaces().iter().map(|interface| (interface.name.clone(), interface.address)).collect();
    if addresses.is_empty() {
        return Err(no_interface());
    }
    for warning in config.dhcp.warnings() {
        tracing::warn!(hint = warning.hint, "{}: {}", warning.place, warning.what);
    }
    let state = StateDir::open(&config.state_dir)?;
    let _lock = state.lock()?;
    let identity = state.identity()?.ok_or_else(not_joined)?;
    warn_of_certificate(&identity);
    let spool = open_spool(&state, &identity)?;
    let minter = Arc::new(SiteMinter::new(&identity)?);
    let (site, site_number, cloud) = (identity.site.clone(), identity.site_number, identity.url.clone());
    let uplink = Arc::new(Uplink::new(state.clone(), FirmwareCache::new(&state.folder("firmware")?), identity)?);
    let last = settings::last_good(&uplink)?;

    let files = BootFiles::default();
    let (boot, boot_changes) = watch::channel(None);
    let apply = {
        let files = files.clone();
        move |complete: CompleteSettings| {
            files.replace_all(served_files(&complete));
            let CompleteSettings { settings, .. } = complete;
            let minter = Arc::clone(&minter);
            // Nobody left to tell means that the program ends.
            drop(boot.send(Some(Arc::new(BootSettings { root: settings.root, boot_url: settings.boot_url, http_port, minter }))));
        }
    };
    match &last {
        Some(last) => {
            tracing::info!(boot_url = last.settings.boot_url, firmware = last.firmware.len(), "the last good settings are in use");
            warn_of_missing_firmware(last);
            apply(last.clone());
        }
        None => tracing::info!("no settings yet: machines get no boot file until the cloud was reached once"),
    }

    let (reports, queue) = reports::queue();
    let dhcp = DhcpServer::bind(config.dhcp.clone(), &state.folder("leases")?)?;
    let control = ControlSocket::bind(&state.path().join(control::SOCKET))?;
    let reloader = Arc::new(Reloader::new(path, config, dhcp.handle()));
    let desk = Arc::new(Desk::new(dhcp.handle(), Arc::clone(&reloader)));
    let served = Arc::new(ServedReports::new(dhcp.handle(), reports.clone()));
    let endpoints = |port| -> Vec<Endpoint> {
        let endpoint =
            |(device, address): &(String, _)| Endpoint { address: SocketAddrV4::new(*address, port), device: Some(device.clone()) };
        addresses.iter().map(endpoint).collect()
    };
    let tftp = TftpServer {
        listen: endpoints(TFTP_PORT),
        files: files.clone(),
        served: Arc::<ServedReports>::clone(&served),
        limits: tftp::Limits::default(),
    }
    .bind()?;
    let http = HttpServer { listen: endpoints(http_port), files, served, limits: http::Limits::default() }.bind()?;

    // Everything is bound: from here on the site is served.
    tracing::info!(%site, number = site_number, cloud, "this box serves its site");
    let (stop, stopping) = watch::channel(false);
    let stopped = |mut stopping: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which is an end as well.
        drop(stopping.wait_for(|stop| *stop).await);
    };
    let mut servers = JoinSet::new();
    servers.spawn(dhcp.run(boot_changes, reports.sender(), stopping.clone()));
    servers.spawn(tftp.run(stopped(stopping.clone())));
    servers.spawn(http.run(stopped(stopping.clone())));
    let control_stopped = stopped(stopping.clone());
    servers.spawn(async move {
        control.serve(desk, control_stopped).await;
        Ok(())
    });
    let (stop_spool, spool_stopping) = watch::channel(false);
    let spool = tokio::spawn(reports::follow(Arc::clone(&uplink), spool, queue, stopped(spool_stopping)));
    let mut uplinks = JoinSet::new();
    uplinks.spawn(settings::follow(Arc::clone(&uplink), last, apply));
    uplinks.spawn(renewal::follow(uplink));

    let reloads = follow_reloads(reloader)?;
    let broken = tokio::select! {
        name = signals.wait() => {
            tracing::info!("{name}: finishing what runs, then ending");
            None
        }
        Some(ended) = servers.join_next() => Some(part_ended(ended)),
        Some(ended) = uplinks.join_next() => Some(part_ended(ended.map(Ok))),
    };
    reloads.abort();
    uplinks.abort_all();
    stop.send_replace(true);
    let finish = async {
        let mut broken = broken;
        while let Some(ended) = servers.join_next().await {
            if let Ok(Err(failure)) = ended {
                broken.get_or_insert(failure);
            }
        }
        broken
    };
    let broken = match tokio::time::timeout(DRAIN_LIMIT, finish).await {
        Ok(broken) => broken,
        Err(_) => {
            tracing::warn!("gave up waiting for transfers that still run");
            None
        }
    };
    // Last, so that what the servers reported at their end is on the disk.
    stop_spool.send_replace(true);
    if tokio::time::timeout(DRAIN_LIMIT, spool).await.is_err() {
        tracing::warn!("the disk was too slow to take the last reports");
    }
    match broken {
        None => Ok(()),
        Some(failure) => Err(failure),
    }
}

fn part_ended(ended: std::result::Result<Result<()>, tokio::task::JoinError>) -> Failure {
    match ended {
        Ok(Err(failure)) => failure,
        Ok(Ok(())) => Failure::new("a part of the program ended by itself"),
        Err(error) => Failure::new("a part of the program broke down").cause(&error),
    }
}

/// What to tell about a box without an identity.
pub(super) fn not_joined() -> Failure {
    Failure::new("this box has not joined a cloud")
        .hint("make a token with `fairlead-cloud site add NAME` in the cloud, then run `fairlead-edge join --token-file FILE` here")
}

/// What to tell about a configuration that serves nobody.
pub(super) fn no_interface() -> Failure {
    Failure::new("no interface is served")
        .hint("add an `[[interface]]` section with `mode = \"server\"` or `mode = \"proxy\"` to edge.toml; config/edge.toml in the source tree has a commented example")
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

/// The firmware and our script. A name that no node could ask for is left out.
fn served_files(complete: &CompleteSettings) -> Vec<BootFile> {
    let firmware = complete.firmware.iter().map(|(file, bytes)| BootFile::new(&file.name, bytes.clone()));
    let autoexec = BootFile::new("autoexec.ipxe", AUTOEXEC.as_bytes());
    firmware
        .chain([autoexec])
        .filter_map(|file| file.inspect_err(|error| tracing::warn!("a firmware file is not served: {error}")).ok())
        .collect()
}

fn warn_of_missing_firmware(last: &CompleteSettings) {
    let here = |name: &str| last.firmware.iter().any(|(file, _)| file.name == name);
    for file in last.settings.firmware.iter().filter(|file| !here(&file.name)) {
        tracing::warn!(file = file.name, "a firmware file is missing from the cache until the cloud is reached");
    }
}

fn warn_of_certificate(identity: &Identity) {
    let (now, validity) = (clock::now(), identity.validity());
    if validity.left(now).is_zero() {
        tracing::error!(
            hint =
                "if the box's clock is right: `fairlead-cloud site token NAME`, then `fairlead-edge join --replace`; if not, set the clock",
            "the site's certificate is over since {}: the cloud will not speak with this box",
            validity.not_after
        );
    } else if now < validity.not_before {
        tracing::error!(
            hint = "set the clock (`timedatectl`) or give the box an NTP server that it can reach",
            "the box's clock says {now}, before the site's certificate was made ({}): no boot ticket is signed until it is right",
            validity.not_before
        );
    }
}

/// Reads the configuration again on each SIGHUP; how it went is in the log.
fn follow_reloads(reloader: Arc<Reloader>) -> Result<JoinHandle<()>> {
    let mut hang_up = signal(SignalKind::hangup()).map_err(|error| Failure::new("cannot listen for signals").cause(&error))?;
    Ok(tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            // Told in the log by itself.
            drop(reloader.reload().await);
        }
    }))
}

/// The signals that end the program.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new("cannot listen for signals").cause(&error));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
