use rusqlite::OptionalExtension as _;

use super::{StoreError, Tx, stored};
use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::wire::{Digest, Nonce};

/// What a one-time token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A waiting node asks again.
    Continuation,
    /// Talos fetches its machine config.
    Config,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Continuation => "continuation",
            Self::Config => "config",
        }
    }
}

/// Whom a token that was just used up stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenUse {
    /// The session in which it was handed out.
    pub session: i64,
    /// The node that it was handed to.
    pub node: i64,
}

/// Why a token does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// This cloud did not make it for this purpose, or has taken it back.
    #[error("unknown token")]
    Unknown,
    /// It was used.
    #[error("token already used")]
    Used(TokenUse),
    /// Its time is over.
    #[error("token expired")]
    Expired(TokenUse),
}

impl Tx<'_> {
    /// Records a token by its digest.
    ///
    /// # Errors
    /// The database's own.
    pub fn add_token(&self, token: &Secret, purpose: Purpose, owner: TokenUse, expires_at: Timestamp) -> Result<(), StoreError> {
        self.sql.prepare_cached("INSERT INTO token (hash, purpose, session, node, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)")?.execute((
            Digest::of(token.expose()).0,
            purpose.as_str(),
            owner.session,
            owner.node,
            stored(expires_at),
        ))?;
        Ok(())
    }

    /// Uses up a token.
    ///
    /// # Errors
    /// The database's own; that the token does not work is the inner error.
    pub fn use_token(&self, token: &Secret, purpose: Purpose, now: Timestamp) -> Result<Result<TokenUse, TokenError>, StoreError> {
        let hash = Digest::of(token.expose()).0;
        let found = self
            .sql
            .prepare_cached("SELECT session, node, expires_at, used_at FROM token WHERE hash = ?1 AND purpose = ?2")?
            .query_row((hash, purpose.as_str()), |row| {
                let owner = TokenUse { session: row.get(0)?, node: row.get(1)? };
                Ok((owner, row.get::<_, i64>(2)?, row.get::<_, Option<i64>>(3)?))
            })
            .optional()?;
        let owner = match found {
            None => return Ok(Err(TokenError::Unknown)),
            Some((owner, _, Some(_))) => return Ok(Err(TokenError::Used(owner))),
            Some((owner, expires_at, None)) if expires_at < stored(now) => return Ok(Err(TokenError::Expired(owner))),
            Some((owner, _, None)) => owner,
        };
        self.sql.prepare_cached("UPDATE token SET used_at = ?2 WHERE hash = ?1")?.execute((hash, stored(now)))?;
        Ok(Ok(owner))
    }

    /// Takes back the node's tokens that nobody has used.
    ///
    /// # Errors
    /// The database's own.
    pub fn revoke_tokens(&self, node: i64, purpose: Purpose) -> Result<(), StoreError> {
        self.sql
            .prepare_cached("DELETE FROM token WHERE node = ?1 AND purpose = ?2 AND used_at IS NULL")?
            .execute((node, purpose.as_str()))?;
        Ok(())
    }

    /// Uses up a ticket's nonce: false when it was used before.
    ///
    /// # Errors
    /// The database's own.
    pub fn use_nonce(&self, site: u32, nonce: Nonce, expires_at: Timestamp) -> Result<bool, StoreError> {
        let added = self
            .sql
            .prepare_cached("INSERT INTO used_ticket (site, nonce, expires_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
            .execute((site, nonce.0, stored(expires_at)))?;
        Ok(added == 1)
    }
}
