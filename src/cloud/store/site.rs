use super::sql::{Row, values};
use super::{StoreError, Tx, read_back};
use crate::clock::Timestamp;
use crate::cloud::admission::{Limits, Policy};
use crate::secret::Secret;
use crate::wire::{Digest, Name};

/// A site.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its number, which its tickets carry.
    pub id: u32,
    /// Its name.
    pub name: Name,
    /// The cluster that its nodes join.
    pub cluster: i64,
    /// How it lets new nodes in.
    pub policy: Policy,
    /// How many it lets in by itself, and when.
    pub limits: Limits,
    /// When its box joined.
    pub joined_at: Option<Timestamp>,
    /// When it was cut off, if it was.
    pub revoked_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, name, cluster, policy, joined_at, most_per_day, hours, revoked_at";

impl Tx<'_> {
    /// Adds a site and returns its number.
    ///
    /// # Errors
    /// When there is one of that name, or the database's own.
    pub fn add_site(&self, name: &Name, cluster: i64, policy: Policy, now: Timestamp) -> Result<u32, StoreError> {
        let id = self
            .one(
                "INSERT INTO site (name, cluster, policy, created_at) VALUES (?1, ?2, ?3, ?4) RETURNING id",
                values![name.as_str(), cluster, policy.as_str(), now],
            )
            .map_err(|error| error.exists_already("site", name.as_str()))?;
        Ok(id.unwrap_or_default())
    }

    /// All sites, by name.
    ///
    /// # Errors
    /// The database's own.
    pub fn sites(&self) -> Result<Vec<Site>, StoreError> {
        self.rows(&format!("SELECT {COLUMNS} FROM site ORDER BY name"), &[])?.iter().map(read).collect()
    }

    /// The site of that number.
    ///
    /// # Errors
    /// The database's own.
    pub fn site(&self, id: u32) -> Result<Option<Site>, StoreError> {
        self.row(&format!("SELECT {COLUMNS} FROM site WHERE id = ?1"), values![id])?.as_ref().map(read).transpose()
    }

    /// The site of that name.
    ///
    /// # Errors
    /// The database's own.
    pub fn site_named(&self, name: &Name) -> Result<Option<Site>, StoreError> {
        self.row(&format!("SELECT {COLUMNS} FROM site WHERE name = ?1"), values![name.as_str()])?.as_ref().map(read).transpose()
    }

    /// Changes how the site lets new nodes in.
    ///
    /// # Errors
    /// The database's own.
    pub fn set_admission(&self, site: u32, policy: Policy, limits: Limits) -> Result<(), StoreError> {
        let hours = limits.hours.map(|hours| hours.to_string()).unwrap_or_default();
        self.execute(
            "UPDATE site SET policy = ?2, most_per_day = ?3, hours = ?4 WHERE id = ?1",
            values![site, policy.as_str(), limits.per_day, hours],
        )?;
        Ok(())
    }

    /// Cuts the site off: its box's certificates and ticket keys, its join tokens, and what its nodes were handed to ask with.
    ///
    /// # Errors
    /// The database's own.
    pub fn revoke_site(&self, site: u32, now: Timestamp) -> Result<(), StoreError> {
        // The site first: whoever joins for it at the same time waits here or is seen below.
        self.execute("UPDATE site SET revoked_at = ?2 WHERE id = ?1", values![site, now])?;
        self.execute("DELETE FROM site_ticket_key WHERE site = ?1", values![site])?;
        self.execute("DELETE FROM site_certificate WHERE site = ?1", values![site])?;
        self.execute("DELETE FROM join_token WHERE site = ?1", values![site])?;
        self.execute("DELETE FROM token WHERE used_at IS NULL AND node IN (SELECT id FROM node WHERE site = ?1)", values![site])?;
        Ok(())
    }

    /// Lets a site that was cut off join again.
    ///
    /// # Errors
    /// The database's own.
    pub fn reinstate_site(&self, site: u32) -> Result<(), StoreError> {
        self.execute("UPDATE site SET revoked_at = NULL WHERE id = ?1", values![site])?;
        Ok(())
    }

    /// The site of that number. Nobody else changes it until this transaction ends.
    ///
    /// # Errors
    /// The database's own.
    pub fn site_to_change(&self, id: u32) -> Result<Option<Site>, StoreError> {
        self.row(&self.locked(&format!("SELECT {COLUMNS} FROM site WHERE id = ?1")), values![id])?.as_ref().map(read).transpose()
    }

    /// Records a join token by the digest of its secret.
    ///
    /// # Errors
    /// The database's own.
    pub fn add_join_token(&self, site: u32, secret: &Secret, expires_at: Timestamp) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO join_token (secret_hash, site, expires_at) VALUES (?1, ?2, ?3)",
            values![Digest::of(secret.expose()).0, site, expires_at],
        )?;
        Ok(())
    }

    /// Uses up the join token: the site that it is for, if it is good and this is its first use.
    ///
    /// A box that lost the answer asks again with the same keys, and is answered again: `ticket_key` is the one that it proved to hold.
    ///
    /// # Errors
    /// The database's own.
    pub fn use_join_token(&self, secret: &Secret, ticket_key: &[u8], now: Timestamp) -> Result<Result<Site, JoinTokenRefusal>, StoreError> {
        let hash = Digest::of(secret.expose()).0;
        let question = self.locked("SELECT site, expires_at, used_at FROM join_token WHERE secret_hash = ?1");
        let Some(row) = self.row(&question, values![hash])? else { return Ok(Err(JoinTokenRefusal::Unknown)) };
        let (site, expires_at, used_at): (u32, Timestamp, Option<Timestamp>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if used_at.is_some() && !self.ticket_keys(site)?.iter().any(|known| known == ticket_key) {
            return Ok(Err(JoinTokenRefusal::Used));
        }
        if used_at.is_none() && expires_at < now {
            return Ok(Err(JoinTokenRefusal::Expired));
        }
        // Cut off at this moment, maybe: the site's row tells.
        if self.site_to_change(site)?.is_none_or(|site| site.revoked_at.is_some()) {
            return Ok(Err(JoinTokenRefusal::Revoked));
        }
        self.execute("UPDATE join_token SET used_at = ?2 WHERE secret_hash = ?1 AND used_at IS NULL", values![hash, now])?;
        self.execute("UPDATE site SET joined_at = ?2 WHERE id = ?1", values![site, now])?;
        self.site(site)?.map(Ok).ok_or_else(|| StoreError::Unreadable { what: "site", value: site.to_string() })
    }

    /// Gives the site's box a ticket key; those of a box that it replaces are good no longer, nor are its certificates.
    ///
    /// # Errors
    /// The database's own.
    pub fn replace_ticket_key(&self, site: u32, public_key: &[u8], now: Timestamp) -> Result<(), StoreError> {
        self.execute("DELETE FROM site_ticket_key WHERE site = ?1", values![site])?;
        self.execute("DELETE FROM site_certificate WHERE site = ?1", values![site])?;
        self.execute("INSERT INTO site_ticket_key (site, public_key, added_at) VALUES (?1, ?2, ?3)", values![site, public_key, now])?;
        Ok(())
    }

    /// The keys that the site may sign tickets with.
    ///
    /// # Errors
    /// The database's own.
    pub fn ticket_keys(&self, site: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        self.rows("SELECT public_key FROM site_ticket_key WHERE site = ?1", values![site])?.iter().map(|row| row.get(0)).collect()
    }

    /// Records a certificate that was signed for the site.
    ///
    /// # Errors
    /// The database's own.
    pub fn add_certificate(&self, site: u32, fingerprint: Digest, now: Timestamp, expires_at: Timestamp) -> Result<(), StoreError> {
        self.execute("DELETE FROM site_certificate WHERE site = ?1 AND expires_at < ?2", values![site, now])?;
        self.execute(
            "INSERT INTO site_certificate (fingerprint, site, issued_at, expires_at) VALUES (?1, ?2, ?3, ?4)",
            values![fingerprint.to_string(), site, now, expires_at],
        )?;
        Ok(())
    }

    /// The site that a client certificate stands for, if it is good.
    ///
    /// # Errors
    /// The database's own.
    pub fn site_of_certificate(&self, fingerprint: Digest) -> Result<Option<Site>, StoreError> {
        let site: Option<u32> = self.one("SELECT site FROM site_certificate WHERE fingerprint = ?1", values![fingerprint.to_string()])?;
        site.map(|site| self.site(site)).transpose().map(Option::flatten)
    }
}

/// Why a join token does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinTokenRefusal {
    /// This cloud did not make it.
    #[error("this cloud knows no such join token")]
    Unknown,
    /// It was used.
    #[error("the join token was used before")]
    Used,
    /// Its time is over.
    #[error("the join token has expired")]
    Expired,
    /// Its site was cut off.
    #[error("the site of this join token was cut off")]
    Revoked,
}

fn read(row: &Row) -> Result<Site, StoreError> {
    let hours: String = row.get(6)?;
    let hours = if hours.is_empty() { None } else { Some(read_back("hours of a site", hours)?) };
    Ok(Site {
        id: row.get(0)?,
        name: read_back("site name", row.get(1)?)?,
        cluster: row.get(2)?,
        policy: read_back("admission policy", row.get(3)?)?,
        limits: Limits { per_day: row.get(5)?, hours },
        joined_at: row.get(4)?,
        revoked_at: row.get(7)?,
    })
}
