use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::Digest;
use crate::clock::Timestamp;
use crate::secret::Secret;

/// What an operator carries from the cloud to a new box: where the cloud is, how to know it, and a secret that works once.
///
/// Its text form is `fairlead-join-1.` and base64url of a JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// The URL of the cloud's site plane, without a trailing slash.
    pub url: String,
    /// Proves to the cloud that the box was invited.
    pub secret: Secret,
    /// SHA-256 of the DER of the cloud's root certificate.
    pub root: Digest,
    /// The last moment at which it works.
    pub expires_at: Timestamp,
}

/// Text that is no join token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a join token: it must begin with `{PREFIX}` and be copied whole")]
pub struct JoinTokenError;

const PREFIX: &str = "fairlead-join-1.";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    url: String,
    secret: String,
    root: Digest,
    expires: u64,
}

impl JoinToken {
    /// The text to hand to the box. It holds the secret: show it once, to the operator who asked for it.
    #[must_use]
    pub fn expose(&self) -> String {
        let body = Body {
            url: self.url.clone(),
            secret: BASE64URL_NOPAD.encode(self.secret.expose()),
            root: self.root,
            expires: self.expires_at.as_secs(),
        };
        // A struct of strings and numbers always serialises.
        format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&serde_json::to_vec(&body).unwrap_or_default()))
    }
}

impl FromStr for JoinToken {
    type Err = JoinTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(JoinTokenError)?;
        let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| JoinTokenError)?;
        let body: Body = serde_json::from_slice(&bytes).map_err(|_| JoinTokenError)?;
        let secret = BASE64URL_NOPAD.decode(body.secret.as_bytes()).map_err(|_| JoinTokenError)?;
        Ok(Self { url: body.url, secret: Secret::new(secret), root: body.root, expires_at: Timestamp::from_secs(body.expires) })
    }
}

impl fmt::Display for JoinToken {
    /// What may be logged of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "join token for {} (root {}, until {})", self.url, self.root, self.expires_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was_and_never_shows_its_secret() {
        let token = JoinToken {
            url: "https://cloud.example:8444".to_owned(),
            secret: Secret::new(b"hunter2hunter2".to_vec()),
            root: Digest::of(b"root"),
            expires_at: Timestamp::from_secs(1_800_000_000),
        };
        let text = token.expose();
        assert_eq!(format!("{text}\n").parse(), Ok(token.clone()));
        assert!(text.get(..text.len() - 3).unwrap().parse::<JoinToken>().is_err());
        let secret = BASE64URL_NOPAD.encode(b"hunter2hunter2");
        assert!(!format!("{token} {token:?}").contains(&secret));
    }
}
