use super::sql::values;
use super::{StoreError, Tx};
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
        self.execute(
            "INSERT INTO token (hash, purpose, session, node, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            values![Digest::of(token.expose()).0, purpose.as_str(), owner.session, owner.node, expires_at],
        )?;
        Ok(())
    }

    /// Uses up a token.
    ///
    /// # Errors
    /// The database's own; that the token does not work is the inner error.
    pub fn use_token(&self, token: &Secret, purpose: Purpose, now: Timestamp) -> Result<Result<TokenUse, TokenError>, StoreError> {
        let hash = Digest::of(token.expose()).0;
        let question = self.locked("SELECT session, node, expires_at, used_at FROM token WHERE hash = ?1 AND purpose = ?2");
        let Some(row) = self.row(&question, values![hash, purpose.as_str()])? else { return Ok(Err(TokenError::Unknown)) };
        let owner = TokenUse { session: row.get(0)?, node: row.get(1)? };
        if row.get::<Option<Timestamp>>(3)?.is_some() {
            return Ok(Err(TokenError::Used(owner)));
        }
        if row.get::<Timestamp>(2)? < now {
            return Ok(Err(TokenError::Expired(owner)));
        }
        self.execute("UPDATE token SET used_at = ?2 WHERE hash = ?1", values![hash, now])?;
        Ok(Ok(owner))
    }

    /// Takes back the node's tokens that nobody has used.
    ///
    /// # Errors
    /// The database's own.
    pub fn revoke_tokens(&self, node: i64, purpose: Purpose) -> Result<(), StoreError> {
        self.execute("DELETE FROM token WHERE node = ?1 AND purpose = ?2 AND used_at IS NULL", values![node, purpose.as_str()])?;
        Ok(())
    }

    /// Uses up a ticket's nonce: false when it was used before.
    ///
    /// # Errors
    /// The database's own.
    pub fn use_nonce(&self, site: u32, nonce: Nonce, expires_at: Timestamp) -> Result<bool, StoreError> {
        let added = self.execute(
            "INSERT INTO used_ticket (site, nonce, expires_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            values![site, nonce.0, expires_at],
        )?;
        Ok(added == 1)
    }
}
