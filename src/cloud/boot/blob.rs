//! Kernel and initramfs, behind a capability.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{BootService, Channel, Refusal};
use crate::clock;
use crate::cloud::asset::{Progress, stream};
use crate::cloud::store::{EventKind, NewEvent};
use crate::wire::{Capability, CapabilityError, Digest};

pub(super) async fn serve(
    State(service): State<Arc<BootService>>,
    Extension(channel): Extension<Channel>,
    method: Method,
    Path((digest, capability, name)): Path<(String, String, String)>,
) -> Response {
    let name = match name.as_str() {
        "kernel" => "kernel",
        "initramfs" => "initramfs",
        _ => return Refusal { status: StatusCode::NOT_FOUND, line: "no such blob" }.into_response(),
    };
    let Ok(digest) = digest.parse::<Digest>() else {
        return Refusal::bad_request("not a SHA-256 digest").into_response();
    };
    let capability = match Capability::verify(&capability, digest, service.state.capability_public_key(), clock::now()) {
        Ok(capability) => capability,
        Err(error) => {
            tracing::warn!(peer = %channel.peer, %digest, %error, "refused a request for a blob");
            let line = match error {
                CapabilityError::Expired(_) => "capability expired",
                _ => "capability is not for this blob",
            };
            return Refusal::forbidden(line).into_response();
        }
    };
    let session = i64::try_from(capability.session).unwrap_or_default();
    let path = service.blobs.path(digest);
    let opened = match tokio::fs::File::open(&path).await {
        Ok(file) => file.metadata().await.map(|metadata| (file, metadata.len())),
        Err(error) => Err(error),
    };
    let (file, size) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(%digest, path = %path.display(), %error, "a blob that a cluster names can't be read: import it again");
            return Refusal { status: StatusCode::NOT_FOUND, line: "blob is not there" }.into_response();
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, size.to_string()),
        (header::ETAG, format!("\"{digest}\"")),
    ];
    if method == Method::HEAD {
        return (headers, Body::empty()).into_response();
    }
    let runtime = tokio::runtime::Handle::current();
    let body = stream(file, size, digest, move |progress| {
        let event = match progress {
            Progress::Whole => NewEvent {
                kind: EventKind::BlobServed,
                summary: format!("{name} fetched, {size} octets, sha256 {digest} checked"),
                detail: json!({"name": name, "sha256": digest, "size": size}),
            },
            Progress::Corrupt { found } => {
                tracing::error!(%digest, %found, path = %path.display(), "a blob was changed on disk; its end was not served: import it again");
                NewEvent {
                    kind: EventKind::BlobCorrupt,
                    summary: format!("{name} on the cloud's disk is not {digest} but {found}: broken off before its end"),
                    detail: json!({"name": name, "sha256": digest, "found": found}),
                }
            }
            Progress::Broken => {
                tracing::warn!(peer = %channel.peer, %digest, session, "{name} was not fetched to its end");
                return;
            }
        };
        runtime.spawn(async move { service.record(session, clock::now(), event).await });
    });
    (headers, Body::new(body)).into_response()
}
