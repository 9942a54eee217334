use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::{JOURNAL, JournalError, OLD_JOURNAL, SNAPSHOT};
use crate::edge::lease::LeaseRecord;
use crate::edge::lease::codec::{FILE_HEADER, holds_a_frame, read_frame};

/// What the lease files hold.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The newest record of each address.
    records: HashMap<Ipv4Addr, LeaseRecord>,
    /// The length of the journal up to its last whole frame; `None` when there is no journal.
    pub(super) journal_length: Option<u64>,
    /// Behind its last whole frame the journal has the remains of another, not just room.
    pub(super) torn: bool,
    /// The length of the snapshot.
    pub(super) snapshot_length: u64,
    /// A snapshot was being made of an old journal when the program ended.
    pub(super) has_old_journal: bool,
}

impl Recovered {
    pub(super) fn into_records(self) -> Vec<LeaseRecord> {
        self.records.into_values().collect()
    }
}

/// Whether a file may end in a frame that is not whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It was renamed into place after it was synced: every octet must be right.
    Whole,
    /// It was being appended to.
    MayBeTorn,
}

/// Reads all lease files without changing any.
pub(super) fn recover(folder: &Path) -> Result<Recovered, JournalError> {
    let mut records = HashMap::new();
    let snapshot = read_into(&mut records, &folder.join(SNAPSHOT), End::Whole)?;
    let old_journal = read_into(&mut records, &folder.join(OLD_JOURNAL), End::Whole)?;
    let journal = read_into(&mut records, &folder.join(JOURNAL), End::MayBeTorn)?;
    Ok(Recovered {
        records,
        journal_length: journal.as_ref().map(|journal| journal.length),
        torn: journal.is_some_and(|journal| journal.torn),
        snapshot_length: snapshot.map_or(0, |snapshot| snapshot.length),
        has_old_journal: old_journal.is_some(),
    })
}

/// The records of the snapshot and the old journal, for the next snapshot.
pub(super) fn settled_records(folder: &Path) -> Result<HashMap<Ipv4Addr, LeaseRecord>, JournalError> {
    let mut records = HashMap::new();
    read_into(&mut records, &folder.join(SNAPSHOT), End::Whole)?;
    read_into(&mut records, &folder.join(OLD_JOURNAL), End::Whole)?;
    Ok(records)
}

/// How far a file is good.
struct Extent {
    /// Up to the end of its last whole frame.
    length: u64,
    /// Behind that stands something other than zeros.
    torn: bool,
}

/// Reads a file's records, or returns `None` when there is no such file.
fn read_into(records: &mut HashMap<Ipv4Addr, LeaseRecord>, path: &PathBuf, end: End) -> Result<Option<Extent>, JournalError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(JournalError::io("read the lease file", path)(error)),
    };
    let mut rest = bytes.strip_prefix(FILE_HEADER).ok_or_else(|| JournalError::Foreign(path.clone()))?;
    while let Some((frame, length)) = read_frame(rest) {
        records.extend(frame.into_iter().map(|record| (record.address, record)));
        rest = rest.get(length..).unwrap_or_default();
    }
    // The room that the file was given for later frames.
    let torn = rest.iter().any(|octet| *octet != 0);
    // Frames are synced one after the other: one that is whole proves that the one before it once was.
    if (end == End::Whole && !rest.is_empty()) || (torn && holds_a_frame(rest)) {
        return Err(JournalError::Damaged { path: path.clone(), offset: bytes.len().saturating_sub(rest.len()) });
    }
    let length = u64::try_from(bytes.len().saturating_sub(rest.len())).unwrap_or(u64::MAX);
    Ok(Some(Extent { length, torn }))
}
