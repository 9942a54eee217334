//! The boot plane: what iPXE and Talos ask for, over TLS that the sealed root vouches for.
//!
//! | request | credential | answer |
//! |---|---|---|
//! | `GET /boot/v1/script?mac=…&uuid=…` | boot ticket or continuation, as bearer token (EFI) or in the query (BIOS) | an iPXE script |
//! | `GET /boot/v1/blob/{sha256}/{capability}/{name}` | the capability in the path | kernel or initramfs |
//! | `GET /boot/v1/config?token=…` | the one-time token | the machine config |
//!
//! A credential that is not good is answered with 403 and one short line; what a good one earns is said by the node's state.

mod blob;
mod config;
mod decision;
mod script;
mod shown;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::clock::Timestamp;
use crate::cloud::asset::Blobs;
use crate::cloud::config::BootPlane;
use crate::cloud::state::CloudState;
use crate::cloud::store::{NewEvent, StoreError};

pub use script::kernel_command_line;

/// What the boot plane works with.
pub struct BootService {
    settings: BootPlane,
    state: Arc<CloudState>,
    blobs: Blobs,
    root_pem: String,
}

/// What the boot plane is told about a request's connection.
#[derive(Clone, Debug)]
pub struct Channel {
    /// The other side's address, as seen here; for logs only, never for a decision.
    pub peer: std::net::SocketAddr,
    /// TLS version and cipher suite, in words.
    pub tls: String,
}

impl BootService {
    /// Takes what it needs from the state.
    #[must_use]
    pub fn new(settings: BootPlane, state: Arc<CloudState>) -> Self {
        let blobs = state.blobs();
        let root_pem = state.authority.root_pem();
        Self { settings, state, blobs, root_pem }
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/boot/v1/script", get(script::serve))
            .route("/boot/v1/blob/{digest}/{capability}/{name}", get(blob::serve))
            .route("/boot/v1/config", get(config::serve))
            .with_state(Arc::new(self))
    }

    /// Adds a line to the timeline of a session, after the answer is gone.
    async fn record(&self, session: i64, at: Timestamp, event: NewEvent) {
        let outcome = self
            .state
            .store
            .call(move |tx| match tx.session(session)? {
                Some(session) => tx.add_event(session.site, session.boot, Some(session.node), at, &event),
                None => Ok(()),
            })
            .await;
        if let Err(error) = outcome {
            let error: StoreError = error;
            tracing::error!(session, error = error.in_full(), "cannot record what happened in a boot");
        }
    }
}

/// A request that earns nothing, and the line that says why.
///
/// Talos shows the first 32 octets of it on the console, so the lines are short.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    line: &'static str,
}

impl Refusal {
    const fn forbidden(line: &'static str) -> Self {
        Self { status: StatusCode::FORBIDDEN, line }
    }

    const fn bad_request(line: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, line }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{}\n", self.line)).into_response()
    }
}

/// The answer when the store can't be read or written: the node asks again later.
fn unavailable(error: &StoreError) -> Response {
    tracing::error!(error = error.in_full(), "the store could not answer a request on the boot plane");
    let line = "the cloud cannot answer now\n";
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5"), (header::CONTENT_TYPE, "text/plain; charset=utf-8")], line)
        .into_response()
}
