//! The listeners around the planes.

mod listener;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cloud::boot::{BootService, Channel};
use crate::cloud::config::{CloudConfig, PlaneUrl};
use crate::cloud::site::{SiteChannel, SiteService};
use crate::cloud::state::CloudState;
use crate::failure::Failure;
use crate::firmware::SealedSet;
use crate::wire::Digest;

use listener::{Connection, Plane};

/// TLS towards firmware: 1.2 at the least, since no version of iPXE has 1.3.
static FIRMWARE_VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
/// TLS between our own programs.
static SITE_VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Serves both planes until the program is told to end; requests under way are finished.
///
/// Nothing is served unless both planes can be.
///
/// # Errors
/// When a listener can't be bound or the certificates can't be made.
pub async fn serve(config: CloudConfig, state: CloudState, firmware: Option<SealedSet>) -> Result<(), Failure> {
    let state = Arc::new(state);
    let boot_tls = server_tls(&state, &config.boot_plane.url, FIRMWARE_VERSIONS, false)?;
    let site_tls = server_tls(&state, &config.site_plane.url, SITE_VERSIONS, true)?;
    let boot_listener = bind("boot_plane", config.boot_plane.listen).await?;
    let site_listener = bind("site_plane", config.site_plane.listen).await?;

    let (stop, stopping) = watch::channel(false);
    let boot_router = BootService::new(config.boot_plane.clone(), Arc::clone(&state)).router();
    let site_router = SiteService::new(config.clone(), Arc::clone(&state), firmware).router();
    let boot_plane = Plane {
        name: "boot plane",
        listener: boot_listener,
        tls: boot_tls,
        router: move |connection: &Connection| {
            boot_router.clone().layer(Extension(Channel { peer: connection.peer, tls: connection.tls_in_words() }))
        },
    };
    let site_plane = Plane {
        name: "site plane",
        listener: site_listener,
        tls: site_tls,
        router: move |connection: &Connection| {
            let certificate = connection.certificate.as_ref().map(|certificate| Digest::of(certificate));
            site_router.clone().layer(Extension(SiteChannel { peer: connection.peer, certificate }))
        },
    };
    tracing::info!("boot plane listening on {} as {}", config.boot_plane.listen, config.boot_plane.url.as_str());
    tracing::info!("site plane listening on {} as {}", config.site_plane.listen, config.site_plane.url.as_str());
    let planes = [tokio::spawn(boot_plane.run(stopping.clone())), tokio::spawn(site_plane.run(stopping.clone()))];
    let clean_up = tokio::spawn(forget_expired(Arc::clone(&state), stopping));

    ended().await?;
    tracing::info!("ending: requests under way are finished");
    // Every receiver may have ended by itself already.
    let _ = stop.send(true);
    for task in planes.into_iter().chain([clean_up]) {
        if let Err(error) = task.await {
            tracing::error!(%error, "a part of the cloud ended badly");
        }
    }
    Ok(())
}

/// Waits until the program is told to end.
async fn ended() -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::new("cannot listen for signals").cause(&error);
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Once an hour, forgets tickets and tokens that can never matter again.
async fn forget_expired(state: Arc<CloudState>, mut stopping: watch::Receiver<bool>) {
    let mut hourly = tokio::time::interval(std::time::Duration::from_secs(3600));
    loop {
        tokio::select! {
            _ = hourly.tick() => {}
            _ = stopping.changed() => return,
        }
        match state.store.call(|tx| tx.forget_expired(crate::clock::now())).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "forgot tickets and tokens that are long past their time"),
            Err(error) => tracing::error!(error = error.in_full(), "cannot forget what has expired"),
        }
    }
}

fn server_tls(
    state: &CloudState,
    url: &PlaneUrl,
    versions: &[&'static SupportedProtocolVersion],
    asks_for_certificate: bool,
) -> Result<Arc<ServerConfig>, Failure> {
    let cannot = |error: &dyn std::error::Error| Failure::new(format!("cannot serve {}", url.as_str())).cause(error);
    // A new key at every start: nothing to steal from the disk, and the sealed root vouches for it all the same.
    let certificate = state.authority.server_certificate(&[url.host().to_owned()]).map_err(|error| cannot(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).map_err(|error| cannot(&error))?;
    let builder = if asks_for_certificate {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::clone(state.authority.root())).map_err(|error| cannot(&error))?;
        // A box that joins has no certificate yet: whether one is needed is for each route to say.
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| cannot(&error))?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let config = builder.with_single_cert(certificate.chain, certificate.key).map_err(|error| cannot(&error))?;
    Ok(Arc::new(config))
}

async fn bind(section: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let failure = Failure::new(format!("cannot listen on {address} ({section}.listen)")).cause(&error);
        match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                failure.hint(format!("another program has the port: `ss -ltnp 'sport = :{}'` names it", address.port()))
            }
            std::io::ErrorKind::PermissionDenied => failure.hint("ports below 1024 need root or CAP_NET_BIND_SERVICE"),
            std::io::ErrorKind::AddrNotAvailable => failure.hint("this machine has no such address: write one that it has, or 0.0.0.0"),
            _ => failure,
        }
    })
}
