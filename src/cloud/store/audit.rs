//! The audit log: lines that are only ever added, each chained to the one before.

use data_encoding::HEXLOWER;
use serde::Serialize;
use serde::ser::SerializeStruct as _;

use super::sql::{Row, Value, values};
use super::{Store, StoreError, Tx};
use crate::clock::Timestamp;
use crate::cloud::actor::Actor;
use crate::wire::{Digest, Hasher};

/// How many lines are read at once.
const PAGE: u32 = 1000;

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// Its number, from 1, without gaps.
    pub line: u64,
    /// When, by the cloud's clock.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What was done: a noun and a verb, such as `node.approve`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// The rest, in words. Never a secret.
    pub detail: String,
    /// SHA-256 of the fields above and of the hash of the line before.
    pub hash: Digest,
}

/// The end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Number of the last line; 0 when there is none.
    pub line: u64,
    /// Its hash.
    pub hash: Digest,
}

/// Where the log is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenChain {
    /// The line is not there.
    #[error("line {0} is missing")]
    Missing(u64),
    /// The line, or one before it, is another one than was written.
    #[error("line {line} of {at} ({actor} {action} {subject}) was changed, or does not belong there")]
    Changed {
        /// Its number.
        line: u64,
        /// When it says it was written.
        at: Timestamp,
        /// Who.
        actor: String,
        /// What.
        action: String,
        /// To what.
        subject: String,
    },
    /// There is a line behind the end.
    #[error("line {0} was added past the end of the log")]
    Added(u64),
    /// The end is another one than was noted elsewhere.
    #[error("line {line} has the hash {found}, and {noted} was noted")]
    Another {
        /// The line.
        line: u64,
        /// Its hash.
        found: Digest,
        /// The one that was noted.
        noted: Digest,
    },
}

/// Which lines to read.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Only those of this actor.
    pub actor: Option<String>,
    /// Only actions that begin so.
    pub action: Option<String>,
    /// Only those about this.
    pub subject: Option<String>,
    /// Only those since then.
    pub since: Option<Timestamp>,
}

/// A line that is to be written.
#[derive(Debug)]
pub(super) struct NewLine {
    at: Timestamp,
    actor: String,
    action: String,
    subject: String,
    detail: String,
}

impl AuditHead {
    /// The end of an empty log.
    const EMPTY: Self = Self { line: 0, hash: Digest([0; 32]) };

    /// The end of the log when `new` is added to it.
    fn with(self, new: &NewLine) -> Self {
        let line = self.line.saturating_add(1);
        let mut hasher = Hasher::default();
        hasher.update(b"fairlead audit 1\0");
        hasher.update(&self.hash.0);
        hasher.update(&line.to_be_bytes());
        hasher.update(&new.at.0.to_be_bytes());
        for field in [&new.actor, &new.action, &new.subject, &new.detail] {
            // With their lengths, so that nothing can be moved from one field into the next.
            hasher.update(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(field.as_bytes());
        }
        Self { line, hash: hasher.finish() }
    }

    /// Follows the log by one line.
    fn follow(self, next: &AuditLine) -> Result<Self, BrokenChain> {
        let head = self.with(&NewLine {
            at: next.at,
            actor: next.actor.clone(),
            action: next.action.clone(),
            subject: next.subject.clone(),
            detail: next.detail.clone(),
        });
        if next.line > head.line {
            return Err(BrokenChain::Missing(head.line));
        }
        if (next.line, next.hash) == (head.line, head.hash) {
            return Ok(head);
        }
        Err(BrokenChain::Changed {
            line: next.line,
            at: next.at,
            actor: next.actor.clone(),
            action: next.action.clone(),
            subject: next.subject.clone(),
        })
    }
}

const COLUMNS: &str = "id, at, actor, action, subject, detail, hash";

impl Tx<'_> {
    /// Adds a line to the audit log. It is written at the end of the transaction, together with what it tells of.
    pub fn audit(&self, at: Timestamp, actor: &Actor, action: &str, subject: &str, detail: &str) {
        // A NUL would come back as another character, and the line would look changed.
        let text = |text: &str| text.replace('\0', "\u{fffd}");
        let (actor, action, subject, detail) = (actor.to_string(), text(action), text(subject), text(detail));
        self.lines.borrow_mut().push(NewLine { at, actor, action, subject, detail });
    }

    /// Writes the lines. The log's end is locked as late as can be: everyone who decides something waits for it.
    pub(super) fn write_audit(&self) -> Result<(), StoreError> {
        let lines = self.lines.take();
        if lines.is_empty() {
            return Ok(());
        }
        let row = self.row(&self.locked("SELECT line, hash FROM audit_head"), &[])?;
        let mut head = head(row.as_ref())?;
        for line in lines {
            head = head.with(&line);
            self.execute(
                "INSERT INTO audit (id, at, actor, action, subject, detail, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                values![head.line, line.at, line.actor, line.action, line.subject, line.detail, head.hash.0],
            )?;
        }
        self.execute("UPDATE audit_head SET line = ?1, hash = ?2", values![head.line, head.hash.0])?;
        Ok(())
    }

    /// The end of the log, as it was when the transaction began.
    ///
    /// # Errors
    /// The database's own.
    pub fn audit_head(&self) -> Result<AuditHead, StoreError> {
        head(self.row("SELECT line, hash FROM audit_head", &[])?.as_ref())
    }

    /// Lines of the log, the newest first. That it was read is a line of its own.
    ///
    /// # Errors
    /// The database's own.
    pub fn read_audit(&self, actor: &Actor, filter: &AuditFilter, limit: u32, now: Timestamp) -> Result<Vec<AuditLine>, StoreError> {
        let mut wanted = vec!["1 = 1".to_owned()];
        let mut values: Vec<Value> = Vec::new();
        let mut want = |condition: &str, value: Value| {
            values.push(value);
            wanted.push(condition.replace('?', &format!("?{}", values.len())));
        };
        if let Some(actor) = &filter.actor {
            want("actor = ?", actor.into());
        }
        if let Some(action) = &filter.action {
            want("substr(action, 1, length(?)) = ?", action.into());
        }
        if let Some(subject) = &filter.subject {
            want("subject = ?", subject.into());
        }
        if let Some(since) = filter.since {
            want("at >= ?", since.into());
        }
        values.push(limit.into());
        let question = format!("SELECT {COLUMNS} FROM audit WHERE {} ORDER BY id DESC LIMIT ?{}", wanted.join(" AND "), values.len());
        let lines: Vec<AuditLine> = self.rows(&question, &values)?.iter().map(read).collect::<Result<_, _>>()?;
        let detail = format!("{} lines{}", lines.len(), filter.in_words());
        self.audit(now, actor, "audit.read", "audit", &detail);
        Ok(lines)
    }

    fn audit_page(&self, after: u64, up_to: u64) -> Result<Vec<AuditLine>, StoreError> {
        let question = format!("SELECT {COLUMNS} FROM audit WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT {PAGE}");
        self.rows(&question, values![after, up_to])?.iter().map(read).collect()
    }

    /// A step of the schema: chains the lines that were written before there was a chain.
    pub(super) fn chain_audit(&self) -> Result<(), StoreError> {
        let mut head = AuditHead::EMPTY;
        for row in self.rows("SELECT id, at, actor, action, subject, detail FROM audit ORDER BY id", &[])? {
            let old: u64 = row.get(0)?;
            let (actor, action, subject, detail) = (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
            head = head.with(&NewLine { at: row.get(1)?, actor, action, subject, detail });
            // From the lowest number on, so that none is taken yet.
            self.execute("UPDATE audit SET id = ?2, hash = ?3 WHERE id = ?1", values![old, head.line, head.hash.0])?;
        }
        self.execute("INSERT INTO audit_head (one, line, hash) VALUES (1, ?1, ?2)", values![head.line, head.hash.0])?;
        Ok(())
    }
}

impl AuditFilter {
    fn in_words(&self) -> String {
        let named = [("actor", &self.actor), ("action", &self.action), ("subject", &self.subject)];
        let said = named.into_iter().filter_map(|(name, value)| Some(format!(", {name} {}", value.as_ref()?)));
        let since = self.since.map(|since| format!(", since {since}"));
        said.chain(since).collect()
    }
}

impl Store {
    /// Reads the log from one end to the other and hands each line on, once it is seen to be what was written; returns its end.
    ///
    /// That it was read is a line of its own, behind that end.
    ///
    /// # Errors
    /// Those of `each`, and the database's own; where the chain is broken is the inner error.
    pub fn follow_audit<E: From<StoreError>>(
        &self,
        actor: &Actor,
        action: &'static str,
        now: Timestamp,
        mut each: impl FnMut(&AuditLine) -> Result<(), E>,
    ) -> Result<Result<AuditHead, BrokenChain>, E> {
        let actor = actor.clone();
        let end = self.transaction(move |tx| {
            let end = tx.audit_head()?;
            tx.audit(now, &actor, action, "audit", &format!("up to line {}", end.line));
            Ok::<_, StoreError>(end)
        })?;
        let mut head = AuditHead::EMPTY;
        loop {
            let after = head.line;
            let page = self.read(move |tx| tx.audit_page(after, end.line))?;
            if page.is_empty() {
                break;
            }
            for line in &page {
                match head.follow(line) {
                    Ok(next) => head = next,
                    Err(broken) => return Ok(Err(broken)),
                }
                each(line)?;
            }
        }
        if head.line < end.line {
            return Ok(Err(BrokenChain::Missing(head.line.saturating_add(1))));
        }
        let behind: Option<u64> = self.read(|tx| {
            let last: u64 = tx.audit_head()?.line;
            tx.one("SELECT id FROM audit WHERE id > ?1 ORDER BY id LIMIT 1", values![last])
        })?;
        if let Some(line) = behind {
            return Ok(Err(BrokenChain::Added(line)));
        }
        if head == end { Ok(Ok(head)) } else { Ok(Err(BrokenChain::Another { line: end.line, found: head.hash, noted: end.hash })) }
    }
}

fn head(row: Option<&Row>) -> Result<AuditHead, StoreError> {
    let row = row.ok_or_else(|| StoreError::Unreadable { what: "end of the audit log", value: "no row".to_owned() })?;
    Ok(AuditHead { line: row.get(0)?, hash: digest(row, 1)? })
}

fn digest(row: &Row, column: usize) -> Result<Digest, StoreError> {
    // A hash of another length, or none, is no reason to stop: it is not the right one, and the chain says so.
    let bytes: Option<Vec<u8>> = row.get(column)?;
    Ok(Digest(bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()))
}

fn read(row: &Row) -> Result<AuditLine, StoreError> {
    Ok(AuditLine {
        line: row.get(0)?,
        at: row.get(1)?,
        actor: row.get(2)?,
        action: row.get(3)?,
        subject: row.get(4)?,
        detail: row.get(5)?,
        hash: digest(row, 6)?,
    })
}

impl Serialize for AuditLine {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_struct("AuditLine", 8)?;
        line.serialize_field("line", &self.line)?;
        line.serialize_field("at", &self.at.to_string())?;
        line.serialize_field("at_ms", &self.at)?;
        line.serialize_field("actor", &self.actor)?;
        line.serialize_field("action", &self.action)?;
        line.serialize_field("subject", &self.subject)?;
        line.serialize_field("detail", &self.detail)?;
        line.serialize_field("hash", &HEXLOWER.encode(&self.hash.0))?;
        line.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::store::tests::Scratch;

    fn verify(store: &Store) -> Result<AuditHead, BrokenChain> {
        store.follow_audit(&Actor::Operator, "audit.verify", Timestamp(99), |_| Ok::<_, StoreError>(())).unwrap()
    }

    fn filled(scratch: &Scratch) {
        for number in 1..=30_u64 {
            scratch
                .store
                .transaction(move |tx| {
                    tx.audit(Timestamp(number), &Actor::Operator, "node.approve", &number.to_string(), "a\0b");
                    Ok::<_, StoreError>(())
                })
                .unwrap();
        }
    }

    #[test]
    fn a_line_that_is_changed_removed_moved_or_added_is_named() {
        Scratch::on_both("chain", |scratch| {
            filled(&scratch);
            assert_eq!(verify(&scratch.store).unwrap().line, 30);
            let named = |number| BrokenChain::Changed {
                line: number,
                at: Timestamp(number),
                actor: "operator".to_owned(),
                action: "node.approve".to_owned(),
                subject: number.to_string(),
            };
            let tries: [(&str, BrokenChain, &str); 4] = [
                ("UPDATE audit SET detail = 'x' WHERE id = 7", named(7), "UPDATE audit SET detail = 'a\u{fffd}b' WHERE id = 7"),
                ("UPDATE audit SET id = -1 WHERE id = 9", BrokenChain::Missing(9), "UPDATE audit SET id = 9 WHERE id = -1"),
                (
                    "UPDATE audit SET id = -1 WHERE id = 4; UPDATE audit SET id = 4 WHERE id = 5; UPDATE audit SET id = 5 WHERE id = -1",
                    BrokenChain::Changed {
                        line: 4,
                        at: Timestamp(5),
                        subject: "5".to_owned(),
                        actor: "operator".to_owned(),
                        action: "node.approve".to_owned(),
                    },
                    "UPDATE audit SET id = -1 WHERE id = 4; UPDATE audit SET id = 4 WHERE id = 5; UPDATE audit SET id = 5 WHERE id = -1",
                ),
                ("UPDATE audit SET hash = NULL WHERE id = 2", named(2), "SELECT 1"),
            ];
            for (damage, expected, repair) in tries {
                scratch.meddle(damage);
                assert_eq!(verify(&scratch.store).unwrap_err(), expected, "{damage}");
                scratch.meddle(repair);
            }
        });
    }

    #[test]
    fn lines_cut_off_at_the_end_or_added_behind_it_are_named() {
        Scratch::on_both("end", |scratch| {
            filled(&scratch);
            scratch.meddle("DELETE FROM audit WHERE id >= 29");
            assert_eq!(verify(&scratch.store).unwrap_err(), BrokenChain::Missing(29));
        });
        Scratch::on_both("behind", |scratch| {
            filled(&scratch);
            scratch.meddle("INSERT INTO audit (id, at, actor, action, subject, detail) VALUES (99, 1, 'x', 'x', 'x', 'x')");
            assert_eq!(verify(&scratch.store).unwrap_err(), BrokenChain::Added(99));
        });
        Scratch::on_both("head", |scratch| {
            filled(&scratch);
            scratch.meddle("UPDATE audit_head SET hash = (SELECT hash FROM audit WHERE id = 1)");
            assert!(matches!(verify(&scratch.store), Err(BrokenChain::Another { line: 30, .. })));
        });
    }

    #[test]
    fn two_replicas_and_many_threads_make_one_chain() {
        Scratch::on_both("one-chain", |scratch| {
            let replicas = [scratch.store.clone(), scratch.open().unwrap()];
            let threads: Vec<_> = (0..8_usize)
                .map(|thread| {
                    let store = replicas[thread % 2].clone();
                    std::thread::spawn(move || {
                        for number in 0..20_u64 {
                            store
                                .transaction(move |tx| {
                                    tx.audit(Timestamp(number), &Actor::Cloud, "a", "b", "");
                                    tx.audit(Timestamp(number), &Actor::Cloud, "c", "d", "");
                                    if number % 5 == 0 { Err(StoreError::Busy) } else { Ok(()) }
                                })
                                .ok();
                        }
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(verify(&scratch.store).unwrap().line, 8 * 16 * 2);
        });
    }

    #[test]
    fn reading_the_log_is_a_line_of_it() {
        Scratch::on_both("read-log", |scratch| {
            filled(&scratch);
            let filter = AuditFilter { subject: Some("3".to_owned()), action: Some("node.".to_owned()), ..AuditFilter::default() };
            let read = scratch.store.transaction(move |tx| tx.read_audit(&Actor::Operator, &filter, 10, Timestamp(50))).unwrap();
            assert_eq!(read.iter().map(|line| line.line).collect::<Vec<_>>(), [3]);
            let filter = AuditFilter { since: Some(Timestamp(30)), ..AuditFilter::default() };
            let read = scratch.store.transaction(move |tx| tx.read_audit(&Actor::Operator, &filter, 10, Timestamp(51))).unwrap();
            assert_eq!(read.len(), 2);
            assert_eq!((read[0].action.as_str(), read[0].detail.as_str()), ("audit.read", "1 lines, action node., subject 3"));
        });
    }
}
