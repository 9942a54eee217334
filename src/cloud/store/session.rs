use super::sql::{Row, values};
use super::{StoreError, Tx, read_back};
use crate::clock::Timestamp;
use crate::wire::BootId;

/// How far a boot came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It waits for approval.
    Waiting,
    /// It was refused.
    Refused,
    /// It was sent to its disk.
    LocalBoot,
    /// It was handed a boot script.
    Booting,
    /// Its machine config was handed out.
    Configured,
}

impl Outcome {
    const ALL: [Self; 5] = [Self::Waiting, Self::Refused, Self::LocalBoot, Self::Booting, Self::Configured];

    /// The outcome's name, as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::LocalBoot => "local_boot",
            Self::Booting => "booting",
            Self::Configured => "configured",
        }
    }
}

impl std::str::FromStr for Outcome {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text).ok_or(())
    }
}

/// One boot of one node, as the cloud sees it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its number.
    pub id: i64,
    /// Site.
    pub site: u32,
    /// The boot, as its site named it.
    pub boot: BootId,
    /// The node.
    pub node: i64,
    /// When its ticket was accepted.
    pub started_at: Timestamp,
    /// How far it came.
    pub outcome: Outcome,
}

const COLUMNS: &str = "id, site, boot, node, started_at, outcome";

impl Tx<'_> {
    /// The session of this boot of this node, made when it is new.
    ///
    /// # Errors
    /// The database's own.
    pub fn session_for(&self, site: u32, boot: BootId, node: i64, now: Timestamp) -> Result<Session, StoreError> {
        self.execute(
            "INSERT INTO session (site, boot, node, started_at, outcome) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            values![site, boot.to_string(), node, now, Outcome::Waiting.as_str()],
        )?;
        let row = self
            .row(
                &format!("SELECT {COLUMNS} FROM session WHERE site = ?1 AND boot = ?2 AND node = ?3"),
                values![site, boot.to_string(), node],
            )?
            .ok_or_else(|| StoreError::Unreadable { what: "session", value: boot.to_string() })?;
        read(&row)
    }

    /// The session of that number.
    ///
    /// # Errors
    /// The database's own.
    pub fn session(&self, id: i64) -> Result<Option<Session>, StoreError> {
        self.row(&format!("SELECT {COLUMNS} FROM session WHERE id = ?1"), values![id])?.as_ref().map(read).transpose()
    }

    /// The newest sessions first, of one node or of all.
    ///
    /// # Errors
    /// The database's own.
    pub fn sessions(&self, node: Option<i64>, limit: u32) -> Result<Vec<Session>, StoreError> {
        let rows = match node {
            None => self.rows(&format!("SELECT {COLUMNS} FROM session ORDER BY id DESC LIMIT ?1"), values![limit]),
            Some(node) => {
                self.rows(&format!("SELECT {COLUMNS} FROM session WHERE node = ?2 ORDER BY id DESC LIMIT ?1"), values![limit, node])
            }
        };
        rows?.iter().map(read).collect()
    }

    /// Records how far the session came.
    ///
    /// # Errors
    /// The database's own.
    pub fn set_outcome(&self, session: i64, outcome: Outcome) -> Result<(), StoreError> {
        self.execute("UPDATE session SET outcome = ?2 WHERE id = ?1", values![session, outcome.as_str()])?;
        Ok(())
    }
}

fn read(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        id: row.get(0)?,
        site: row.get(1)?,
        boot: read_back("boot id", row.get(2)?)?,
        node: row.get(3)?,
        started_at: row.get(4)?,
        outcome: read_back("outcome", row.get(5)?)?,
    })
}
