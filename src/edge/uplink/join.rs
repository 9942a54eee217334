//! How a box becomes its site's: it makes its keys, spends the join token, and stores who it is.

use http::StatusCode;

use super::client::Client;
use super::error::UplinkError;
use crate::clock::{self, Timestamp};
use crate::edge::identity::{Identity, IdentityError, Parts, PendingJoin};
use crate::edge::state::{StateDir, StateError};
use crate::failure::Failure;
use crate::pki::certificate::chain_from_pem;
use crate::pki::pinned_root::client_config;
use crate::pki::request::KeyError;
use crate::wire::uplink::{JoinAnswer, JoinRequest};
use crate::wire::{Digest, JoinToken};

/// Why a box could not join.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The box has an identity, which is not replaced unless that is asked for.
    #[error("this box has joined already: {0}")]
    AlreadyJoined(String),
    /// The token's time is over, by this box's clock.
    #[error("the join token expired at {expired}; this box's clock says {now}")]
    TokenExpired {
        /// When.
        expired: Timestamp,
        /// The box's time.
        now: Timestamp,
    },
    /// The cloud did not take the token.
    #[error("the cloud did not accept the join token: {error}")]
    TokenRefused {
        /// What the cloud says.
        error: String,
        /// What the cloud recommends.
        hint: String,
        /// Whether this box sent this token before, and its answer may have been lost.
        sent_before: bool,
    },
    /// The request went out and no answer came back: the token may be spent.
    #[error("no answer to the join request came back, so the token may be spent")]
    AnswerLost(#[source] UplinkError),
    /// The cloud can't be asked.
    #[error(transparent)]
    Uplink(#[from] UplinkError),
    /// The cloud answered with a root that is not the token's.
    #[error("the cloud answered with root certificate {answered}, but the token names {pinned}")]
    OtherRoot {
        /// The token's.
        pinned: Digest,
        /// The answer's.
        answered: Digest,
    },
    /// The cloud's answer is no identity.
    #[error("the cloud's answer can't be used")]
    BadAnswer(#[from] IdentityError),
    /// The box can't make keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The state folder can't be used.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Joins with `token` and stores the identity; `replace` allows it to take the place of another.
///
/// The keys are on the disk before the token is sent, so that a crash or a lost answer leaves a box that can repeat the same request.
///
/// # Errors
/// When the token is not good, the cloud can't be reached or is another one, or the disk refuses. The box has its old identity, or
/// none, then.
pub async fn join(state: &StateDir, token: &JoinToken, replace: bool) -> Result<Identity, JoinError> {
    if !replace && state.has_identity_file() {
        let who = match state.identity()? {
            Some(identity) => format!("it is site `{}` of {}", identity.site, identity.url),
            None => format!("see `{}`", state.path().display()),
        };
        return Err(JoinError::AlreadyJoined(who));
    }
    let now = clock::now();
    if now > token.expires_at {
        return Err(JoinError::TokenExpired { expired: token.expires_at, now });
    }
    let tls = client_config(token.root, None).map_err(UplinkError::OwnCertificate)?;
    let client = Client::new(token.url.parse()?, tls);
    let fingerprint = Digest::of(token.secret.expose());
    let (pending, sent_before) = match state.pending_join()? {
        Some(pending) if pending.token == fingerprint => (pending, true),
        _ => (PendingJoin::generate(fingerprint)?, false),
    };
    state.store_pending_join(&pending)?;
    let request = JoinRequest {
        secret: data_encoding::BASE64URL_NOPAD.encode(token.secret.expose()),
        ticket_key: pending.ticket_key.public_text(),
        ticket_key_proof: pending.ticket_key.proof(&pending.csr),
        csr: pending.csr.clone(),
    };
    let answer: JoinAnswer = match client.post("/site/v1/join", &request).await {
        Ok(answer) => answer,
        Err(UplinkError::Refused { status, error, hint }) if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
            // A token that was refused at first sight is not spent by us: a repeat must not speak of a lost answer.
            if !sent_before {
                state.remove_pending_join()?;
            }
            return Err(JoinError::TokenRefused { error, hint, sent_before });
        }
        Err(error @ UplinkError::Refused { .. }) => return Err(error.into()),
        Err(error) if error.was_not_sent() => {
            // The token was not shown to anyone: these keys are of no further use, and a later refusal must not blame a lost answer.
            if !sent_before {
                state.remove_pending_join()?;
            }
            return Err(error.into());
        }
        Err(error) => return Err(JoinError::AnswerLost(error)),
    };
    let answered = chain_from_pem(&answer.root).ok().and_then(|chain| chain.first().map(|root| Digest::of(root)));
    match answered {
        Some(answered) if answered != token.root => return Err(JoinError::OtherRoot { pinned: token.root, answered }),
        _ => {}
    }
    let identity = Identity::new(Parts {
        site: answer.site,
        site_number: answer.site_number,
        url: token.url.trim_end_matches('/').to_owned(),
        root_pem: answer.root,
        chain_pem: answer.certificate_chain,
        tls_key: pending.tls_key,
        ticket_key: pending.ticket_key,
    })?;
    state.store_identity(&identity)?;
    state.remove_pending_join()?;
    Ok(identity)
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        let summary = error.to_string();
        let failure = Self::new(summary);
        const NEW_TOKEN: &str = "make a new token with `fairlead-cloud site token NAME` in the cloud";
        match error {
            JoinError::AlreadyJoined(_) => failure.hint("to give the box a new identity on purpose, add --replace"),
            JoinError::TokenExpired { .. } => failure.hint(format!("if the box's clock is right, {NEW_TOKEN}; if not, set it (`timedatectl`)")),
            JoinError::TokenRefused { hint, sent_before: true, .. } => failure
                .because(
                    "this box sent this token before and never stored an answer: the answer was lost on the way, or the box went down before \
                     it was on the disk",
                )
                .hint(format!("{hint}; {NEW_TOKEN} and run `fairlead-edge join` again: nothing else is lost")),
            JoinError::TokenRefused { hint, .. } => failure.hint(hint),
            JoinError::AnswerLost(source) => failure
                .cause(&source)
                .hint(format!("run the same `fairlead-edge join` again, it repeats the same request; if the token is refused then, {NEW_TOKEN}")),
            JoinError::Uplink(source) => source.into(),
            JoinError::State(source) => source.into(),
            JoinError::OtherRoot { .. } => failure.hint("the cloud is not set up right, or is not the one that made the token: do not use this box"),
            JoinError::BadAnswer(source) => failure.cause(&source).hint(format!("see the cloud's log, then {NEW_TOKEN}")),
            JoinError::Key(source) => match std::error::Error::source(&source) {
                Some(cause) => failure.cause(cause),
                None => failure,
            }
            .hint("the system must offer randomness (getrandom)"),
        }
    }
}
