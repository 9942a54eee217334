//! The site plane: what edge boxes ask for. The messages are those of [`crate::wire::uplink`].

mod join;

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use data_encoding::BASE64URL_NOPAD;

use crate::clock;
use crate::cloud::actor::Actor;
use crate::cloud::config::CloudConfig;
use crate::cloud::state::CloudState;
use crate::cloud::store::{Site, StoreError};
use crate::firmware::SealedSet;
use crate::wire::Digest;
use crate::wire::uplink::{EventBatch, EventReceipt, FirmwareFile, Refusal, RenewAnswer, RenewRequest, SiteSettings};

/// A batch of reports is the largest body: some 200 octets a report.
const BODY_LIMIT: usize = 1 << 20;

/// What the site plane works with.
pub struct SiteService {
    config: CloudConfig,
    state: Arc<CloudState>,
    firmware: Option<SealedSet>,
}

/// What the site plane is told about a request's connection.
#[derive(Clone, Debug)]
pub struct SiteChannel {
    /// The other side's address, for logs only.
    pub peer: std::net::SocketAddr,
    /// Digest of the client certificate that the other side proved to hold, if it showed one.
    pub certificate: Option<Digest>,
}

impl SiteService {
    /// Takes what it needs from the state.
    #[must_use]
    pub const fn new(config: CloudConfig, state: Arc<CloudState>, firmware: Option<SealedSet>) -> Self {
        Self { config, state, firmware }
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/site/v1/join", post(join::serve))
            .route("/site/v1/renew", post(renew))
            .route("/site/v1/settings", get(settings))
            .route("/site/v1/firmware/{digest}", get(firmware))
            .route("/site/v1/events", post(events))
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .with_state(Arc::new(self))
    }

    /// The site that the connection's certificate stands for.
    async fn site(&self, channel: &SiteChannel) -> Result<Site, Response> {
        let Some(certificate) = channel.certificate else {
            return Err(refuse(StatusCode::UNAUTHORIZED, "no client certificate", "join this box first: fairlead-edge join"));
        };
        match self.state.store.call_read(move |tx| tx.site_of_certificate(certificate)).await {
            Ok(Some(site)) => Ok(site),
            Ok(None) => {
                tracing::warn!(peer = %channel.peer, %certificate, "refused a box whose certificate is not good any longer");
                Err(revoked())
            }
            Err(error) => Err(unavailable(&error)),
        }
    }
}

/// The certificate under which a site asks is good no longer: it was cut off since the connection was made.
enum RenewError {
    Revoked,
    Store(StoreError),
}

impl From<StoreError> for RenewError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

async fn renew(
    State(service): State<Arc<SiteService>>,
    Extension(channel): Extension<SiteChannel>,
    request: Result<Json<RenewRequest>, JsonRejection>,
) -> Result<Json<RenewAnswer>, Response> {
    let site = service.site(&channel).await?;
    let Json(request) = request.map_err(|rejection| unreadable(&rejection))?;
    let now = clock::now();
    let signed = service
        .state
        .authority
        .sign_site(&request.csr, &site.name, now, service.config.site_plane.certificate_lifetime)
        .map_err(|error| refuse(StatusCode::BAD_REQUEST, &error.to_string(), "send a PKCS#10 request with a P-256 key"))?;
    let (fingerprint, expires_at, renewing) = (signed.fingerprint, signed.expires_at, site.clone());
    let shown = channel.certificate;
    service
        .state
        .store
        .call(move |tx| {
            // Nobody may get a new certificate after the site was cut off, and be it in the same moment.
            let known = tx.site_to_change(renewing.id)?.is_some_and(|site| site.revoked_at.is_none());
            if !known || shown.map(|shown| tx.site_of_certificate(shown)).transpose()?.flatten().is_none() {
                return Err(RenewError::Revoked);
            }
            tx.add_certificate(renewing.id, fingerprint, now, expires_at)?;
            let detail = format!("certificate {fingerprint} until {expires_at}");
            tx.audit(now, &Actor::Site(renewing.name.clone()), "site.renew", renewing.name.as_str(), &detail);
            Ok(())
        })
        .await
        .map_err(|error| match error {
            RenewError::Revoked => revoked(),
            RenewError::Store(error) => unavailable(&error),
        })?;
    tracing::info!(site = %site.name, until = %expires_at, "certificate renewed");
    Ok(Json(RenewAnswer { certificate_chain: signed.chain }))
}

async fn settings(
    State(service): State<Arc<SiteService>>,
    Extension(channel): Extension<SiteChannel>,
) -> Result<Json<SiteSettings>, Response> {
    service.site(&channel).await?;
    let files = service.firmware.iter().flat_map(SealedSet::files);
    Ok(Json(SiteSettings {
        boot_url: service.config.boot_plane.url.as_str().to_owned(),
        root: service.state.authority.root_fingerprint(),
        capability_key: BASE64URL_NOPAD.encode(service.state.capability_public_key()),
        firmware: files.map(|file| FirmwareFile { name: file.name.clone(), sha256: file.sha256, size: file.size }).collect(),
        now: clock::now(),
    }))
}

async fn firmware(
    State(service): State<Arc<SiteService>>,
    Extension(channel): Extension<SiteChannel>,
    Path(digest): Path<String>,
) -> Result<Response, Response> {
    service.site(&channel).await?;
    let not_there = || refuse(StatusCode::NOT_FOUND, "there is no such firmware file", "ask for the settings again: they name the files");
    let digest: Digest = digest.parse().map_err(|_| not_there())?;
    let file = service.firmware.iter().flat_map(SealedSet::files).find(|file| file.sha256 == digest).ok_or_else(not_there)?;
    let bytes = tokio::fs::read(&file.path).await.map_err(|error| {
        tracing::error!(path = %file.path.display(), %error, "a firmware file can't be read: run `fairlead-cloud firmware build`");
        refuse(StatusCode::SERVICE_UNAVAILABLE, "the firmware file can't be read", "the cloud's operator must build it again")
    })?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

async fn events(
    State(service): State<Arc<SiteService>>,
    Extension(channel): Extension<SiteChannel>,
    batch: Result<Json<EventBatch>, JsonRejection>,
) -> Result<Json<EventReceipt>, Response> {
    let site = service.site(&channel).await?;
    let Json(batch) = batch.map_err(|rejection| unreadable(&rejection))?;
    if batch.spool.is_empty() || batch.spool.len() > 64 {
        return Err(refuse(StatusCode::BAD_REQUEST, "`spool` must have 1 to 64 octets", "name the spool by a short random text"));
    }
    let stored_up_to =
        service.state.store.call(move |tx| tx.add_site_events(site.id, &batch)).await.map_err(|error| unavailable(&error))?;
    Ok(Json(EventReceipt { stored_up_to }))
}

/// A body that is not what the request needs; the rejection names the field.
fn unreadable(rejection: &JsonRejection) -> Response {
    refuse(rejection.status(), &rejection.body_text(), "use a `fairlead-edge` of this cloud's version")
}

fn refuse(status: StatusCode, error: &str, hint: &str) -> Response {
    (status, Json(Refusal { error: error.to_owned(), hint: hint.to_owned() })).into_response()
}

fn revoked() -> Response {
    let hint = "another box has joined for this site since, or the site was cut off: join again with a new token";
    refuse(StatusCode::FORBIDDEN, "this certificate is not good any longer", hint)
}

fn unavailable(error: &StoreError) -> Response {
    tracing::error!(error = error.in_full(), "the store could not answer a request on the site plane");
    refuse(StatusCode::SERVICE_UNAVAILABLE, "the cloud cannot answer now", "ask again in a while")
}
