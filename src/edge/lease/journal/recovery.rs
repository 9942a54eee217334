use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::{JOURNAL, JournalError, OLD_JOURNAL, SNAPSHOT};
use crate::edge::lease::LeaseRecord;
use crate::edge::lease::codec::{FILE_HEADER, holds_a_frame, read_frame};

/// What the lease files hold.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The newest record of each address.
    records: Newest,
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
        self.records.records
    }
}

/// The newest record of each address. A million of them are read at start, so each is kept once.
#[derive(Debug, Default)]
struct Newest {
    records: Vec<LeaseRecord>,
    places: HashMap<Ipv4Addr, usize>,
}

impl Newest {
    fn put(&mut self, record: LeaseRecord) {
        match self.places.entry(record.address) {
            Entry::Occupied(place) => {
                if let Some(older) = self.records.get_mut(*place.get()) {
                    *older = record;
                }
            }
            Entry::Vacant(place) => {
                place.insert(self.records.len());
                self.records.push(record);
            }
        }
    }
}

/// What may stand behind a file's last whole frame.
#[derive(Clone, Copy)]
enum End {
    /// Nothing: it was renamed into place after it was synced.
    Whole,
    /// Zeros: its room was cut off before it was put aside, and a power cut may have undone that.
    MayHaveRoom,
    /// Zeros and a frame that is not whole: it was being appended to.
    MayBeTorn,
}

/// Reads all lease files without changing any.
pub(super) fn recover(folder: &Path) -> Result<Recovered, JournalError> {
    let mut records = Newest::default();
    let snapshot = read_into(&mut records, &folder.join(SNAPSHOT), End::Whole)?;
    let old_journal = read_into(&mut records, &folder.join(OLD_JOURNAL), End::MayHaveRoom)?;
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
pub(super) fn settled_records(folder: &Path) -> Result<Vec<LeaseRecord>, JournalError> {
    let mut records = Newest::default();
    read_into(&mut records, &folder.join(SNAPSHOT), End::Whole)?;
    read_into(&mut records, &folder.join(OLD_JOURNAL), End::MayHaveRoom)?;
    Ok(records.records)
}

/// How far a file is good.
struct Extent {
    /// Up to the end of its last whole frame.
    length: u64,
    /// Behind that stands something other than zeros.
    torn: bool,
}

/// How often the files may change under a reader's hands before it gives up. They do so once in many thousand leases.
const READING_ATTEMPTS: usize = 20;

/// Reads the newest record of each address while another process may write: what was on the disk at one moment.
pub(super) fn read_beside_a_writer(folder: &Path) -> Result<Vec<LeaseRecord>, JournalError> {
    let files =
        [(SNAPSHOT, End::Whole), (OLD_JOURNAL, End::MayHaveRoom), (JOURNAL, End::MayBeTorn)].map(|(name, end)| (folder.join(name), end));
    let mut attempt = 0_usize;
    loop {
        attempt = attempt.saturating_add(1);
        match read_at_one_moment(&files) {
            // What is being written can look like damage, and a snapshot that is made meanwhile takes the old journal away.
            Ok(None) | Err(JournalError::Damaged { .. }) if attempt < READING_ATTEMPTS => thread::sleep(Duration::from_millis(10)),
            Ok(None) => return Err(JournalError::InUse(folder.to_owned())),
            Ok(Some(records)) => return Ok(records),
            Err(error) => return Err(error),
        }
    }
}

/// Reads the files, or returns `None` when one was replaced meanwhile, so that they may not belong together.
fn read_at_one_moment(files: &[(PathBuf, End); 3]) -> Result<Option<Vec<LeaseRecord>>, JournalError> {
    let mut opened = Vec::with_capacity(files.len());
    for (path, end) in files {
        let file = match File::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(JournalError::io("open the lease file", path)(error)),
        };
        opened.push((path, *end, file));
    }
    let number = |metadata: io::Result<fs::Metadata>| metadata.map(|metadata| (metadata.dev(), metadata.ino())).ok();
    let is_the_same =
        |path: &PathBuf, file: &Option<File>| number(fs::metadata(path)) == file.as_ref().and_then(|file| number(file.metadata()));
    if !opened.iter().all(|(path, _, file)| is_the_same(path, file)) {
        return Ok(None);
    }
    let mut records = Newest::default();
    for (path, end, file) in opened {
        let Some(mut file) = file else { continue };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(JournalError::io("read the lease file", path))?;
        read_bytes_into(&mut records, path, &bytes, end)?;
    }
    Ok(Some(records.records))
}

/// Reads a file's records, or returns `None` when there is no such file.
fn read_into(records: &mut Newest, path: &Path, end: End) -> Result<Option<Extent>, JournalError> {
    match fs::read(path) {
        Ok(bytes) => read_bytes_into(records, path, &bytes, end).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(JournalError::io("read the lease file", path)(error)),
    }
}

fn read_bytes_into(records: &mut Newest, path: &Path, bytes: &[u8], end: End) -> Result<Extent, JournalError> {
    let mut rest = bytes.strip_prefix(FILE_HEADER).ok_or_else(|| JournalError::Foreign(path.to_owned()))?;
    while let Some(frame) = read_frame(rest) {
        for record in frame.records() {
            // Its checksum is right, so it is as it was written. To pass over it would lose a lease.
            records.put(record.ok_or_else(|| JournalError::Foreign(path.to_owned()))?);
        }
        rest = rest.get(frame.length()..).unwrap_or_default();
    }
    // The room that the file was given for later frames.
    let torn = rest.iter().any(|octet| *octet != 0);
    // Frames are synced one after the other: one that is whole proves that the one before it once was.
    let is_damage = match end {
        End::Whole => !rest.is_empty(),
        End::MayHaveRoom => torn,
        End::MayBeTorn => torn && holds_a_frame(rest),
    };
    if is_damage {
        return Err(JournalError::Damaged { path: path.to_owned(), offset: bytes.len().saturating_sub(rest.len()) });
    }
    let length = u64::try_from(bytes.len().saturating_sub(rest.len())).unwrap_or(u64::MAX);
    Ok(Extent { length, torn })
}
