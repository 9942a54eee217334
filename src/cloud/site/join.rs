//! A box becomes its site's.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use data_encoding::BASE64URL_NOPAD;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::{SiteChannel, SiteService, refuse, unavailable, unreadable};
use crate::clock::{self, Timestamp};
use crate::cloud::actor::Actor;
use crate::cloud::store::{JoinTokenRefusal, Site, StoreError, Tx};
use crate::pki::authority::{AuthorityError, SiteCertificate};
use crate::secret::Secret;
use crate::wire::uplink::{JoinAnswer, JoinRequest, ticket_key_proof};

pub(super) async fn serve(
    State(service): State<Arc<SiteService>>,
    Extension(channel): Extension<SiteChannel>,
    request: Result<Json<JoinRequest>, JsonRejection>,
) -> Result<Json<JoinAnswer>, Response> {
    let Json(request) = request.map_err(|rejection| unreadable(&rejection))?;
    let bad = |error: &str| refuse(StatusCode::BAD_REQUEST, error, "use a `fairlead-edge` of this cloud's version");
    let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes());
    let secret = decode(&request.secret).map(Secret::new).map_err(|_| bad("`secret` is not base64url"))?;
    let ticket_key = decode(&request.ticket_key).map_err(|_| bad("`ticket_key` is not base64url"))?;
    let proof = decode(&request.ticket_key_proof).map_err(|_| bad("`ticket_key_proof` is not base64url"))?;
    UnparsedPublicKey::new(&ED25519, &ticket_key)
        .verify(&ticket_key_proof(&request.csr), &proof)
        .map_err(|_| bad("`ticket_key_proof` does not prove that the box holds `ticket_key`"))?;

    let now = clock::now();
    let joining = Arc::clone(&service);
    let csr = request.csr;
    // The token is used up in the same transaction that records the keys: a request that fails leaves it good.
    let outcome = service.state.store.call(move |tx| join(tx, &joining, &secret, &csr, &ticket_key, now)).await;
    match outcome {
        Ok((site, signed)) => {
            tracing::info!(site = %site.name, peer = %channel.peer, until = %signed.expires_at, "a box joined");
            Ok(Json(JoinAnswer {
                site: site.name,
                site_number: site.id,
                certificate_chain: signed.chain,
                root: service.state.authority.root_pem(),
            }))
        }
        Err(JoinError::Token(refusal)) => {
            tracing::warn!(peer = %channel.peer, reason = %refusal, "refused a join");
            Err(refuse(StatusCode::FORBIDDEN, &refusal.to_string(), "have a new one made: fairlead-cloud site token NAME"))
        }
        Err(JoinError::Request(error)) => Err(bad(&error.to_string())),
        Err(JoinError::Store(error)) => Err(unavailable(&error)),
    }
}

fn join(
    tx: &Tx<'_>,
    service: &SiteService,
    secret: &Secret,
    csr: &str,
    ticket_key: &[u8],
    now: Timestamp,
) -> Result<(Site, SiteCertificate), JoinError> {
    let site = tx.use_join_token(secret, ticket_key, now)?.map_err(JoinError::Token)?;
    let signed = service
        .state
        .authority
        .sign_site(csr, &site.name, now, service.config.site_plane.certificate_lifetime)
        .map_err(JoinError::Request)?;
    tx.replace_ticket_key(site.id, ticket_key, now)?;
    tx.add_certificate(site.id, signed.fingerprint, now, signed.expires_at)?;
    tx.audit(
        now,
        &Actor::Site(site.name.clone()),
        "site.join",
        site.name.as_str(),
        &format!("certificate {} until {}", signed.fingerprint, signed.expires_at),
    );
    Ok((site, signed))
}

enum JoinError {
    Token(JoinTokenRefusal),
    Request(AuthorityError),
    Store(StoreError),
}

impl From<StoreError> for JoinError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
