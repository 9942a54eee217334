use std::fs::{self, File, OpenOptions};
use std::path::Path;

use super::recovery::settled_records;
use super::{JOURNAL, JournalError, OLD_JOURNAL, SNAPSHOT};
use crate::durable_file::{self, Access};
use crate::edge::lease::codec::{FILE_HEADER, MAX_FRAME_LENGTH, MAX_RECORD_LENGTH, write_frame};

/// Records in one frame of a snapshot.
const RECORDS_IN_A_FRAME: usize = MAX_FRAME_LENGTH / MAX_RECORD_LENGTH;

/// Makes an empty journal, durable under its name.
pub(super) fn create_journal(folder: &Path) -> Result<(), JournalError> {
    let path = folder.join(JOURNAL);
    durable_file::replace(&path, FILE_HEADER, Access::Owner).map_err(JournalError::io("create the lease file", &path))
}

/// Puts the journal aside, begins an empty one and opens that. After a crash in between there is only the old one, and the next
/// start makes the new one.
pub(super) fn change_journals(folder: &Path) -> Result<File, JournalError> {
    let (journal, old) = (folder.join(JOURNAL), folder.join(OLD_JOURNAL));
    fs::rename(&journal, &old).map_err(JournalError::io("rename the lease file", &journal))?;
    create_journal(folder).and_then(|()| open_journal(folder)).inspect_err(|_| {
        // Without room for a new journal the one there is goes on. Should even this fail, the next start reads it as the old one.
        drop(fs::rename(&old, &journal));
    })
}

/// Opens the journal to write to it.
pub(super) fn open_journal(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join(JOURNAL);
    OpenOptions::new().write(true).open(&path).map_err(JournalError::io("open the lease file", &path))
}

/// Makes a new snapshot of the last one and the old journal, which is then removed. Returns the snapshot's length.
pub(super) fn compact(folder: &Path) -> Result<u64, JournalError> {
    let records = settled_records(folder)?;
    let mut bytes = FILE_HEADER.to_vec();
    for chunk in records.chunks(RECORDS_IN_A_FRAME) {
        write_frame(&mut bytes, chunk);
    }
    let (snapshot, old) = (folder.join(SNAPSHOT), folder.join(OLD_JOURNAL));
    durable_file::replace(&snapshot, &bytes, Access::Owner).map_err(JournalError::io("write the lease file", &snapshot))?;
    fs::remove_file(&old).and_then(|()| durable_file::sync_folder_of(&old)).map_err(JournalError::io("remove the lease file", &old))?;
    Ok(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
}
