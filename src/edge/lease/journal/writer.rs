use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use nix::fcntl::{FallocateFlags, fallocate};

use super::compaction::{change_journals, compact, create_journal, open_journal};
use super::queue::{ClosedAtEnd, Queue};
use super::recovery::Recovered;
use super::{JOURNAL, JournalError, LONGEST_QUEUE};
use crate::edge::lease::codec::{FILE_HEADER, MAX_FRAME_LENGTH, MAX_RECORD_LENGTH, write_encoded_frame};

/// A journal of less than this is not worth a new snapshot: it is read in well under a second, and while journals are changed,
/// leases wait for the disk. Tests see one sooner.
const SMALLEST_JOURNAL_TO_COMPACT: u64 = if cfg!(test) { 4 << 20 } else { 32 << 20 };

/// The journal is given room on the disk in steps of this: a sync that need not write the file's new length and place too
/// takes half the time on ext4. The room holds zeros, which no frame begins with. Making it is slow, some 50 ms on a virtual disk,
/// so it is made rarely: the first at the start, then once for some hundred thousand leases.
const ROOM: u64 = 8 << 20;

/// All that may wait fits in one frame.
const _: () = assert!(LONGEST_QUEUE * MAX_RECORD_LENGTH <= MAX_FRAME_LENGTH);

/// What the journal is written to; tests put a failing disk in its place.
pub(super) trait Medium: Send {
    /// Writes all of `bytes` at `offset`. After an error any part of them may be there.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Returns when all that was written is on the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `length`.
    fn cut(&mut self, length: u64) -> io::Result<()>;
    /// Prolongs the file to `length` with zeros that have their place on the disk.
    fn make_room(&mut self, length: u64) -> io::Result<()>;
}

impl Medium for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn make_room(&mut self, length: u64) -> io::Result<()> {
        let written = self.metadata()?.len();
        let signed = i64::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        fallocate(&*self, FallocateFlags::empty(), 0, signed)?;
        // What is reserved and never written is a change of the file's map at its first write, for which a sync waits until the file
        // system's own journal is on the disk, with all that other programs have written by then.
        let zeros = [0; 64 << 10];
        let mut place = written;
        while place < length {
            let left = usize::try_from(length.saturating_sub(place)).unwrap_or(usize::MAX);
            let piece = zeros.get(..left).unwrap_or(&zeros);
            self.write_all_at(piece, place)?;
            place = place.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        Ok(())
    }
}

/// The end of a file up to which all is synced, and what may stand behind it.
pub(super) struct Tail<M> {
    medium: M,
    length: u64,
    /// Up to where the file has room, as far as is known.
    room: u64,
    /// A write or a sync failed: what stands behind `length` is unknown and must go before anything is written there, or a
    /// later frame would make it look like damage in the middle.
    tainted: bool,
}

impl<M: Medium> Tail<M> {
    pub(super) const fn new(medium: M, length: u64) -> Self {
        Self { medium, length, room: length, tainted: false }
    }

    /// Appends a frame and syncs it.
    pub(super) fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.tainted {
            self.clean()?;
        }
        let end = self.length.saturating_add(u64::try_from(frame.len()).unwrap_or(u64::MAX));
        if end > self.room {
            self.make_room(end);
        }
        let outcome = self.medium.write_at(frame, self.length).and_then(|()| self.medium.sync());
        match &outcome {
            Ok(()) => self.length = end,
            Err(_) => {
                self.tainted = true;
                // If this fails too, the next append tries it again first.
                drop(self.clean());
            }
        }
        outcome
    }

    /// Makes room behind `end`, if it can be had: not every file system can, and a full one may still take the frame itself.
    fn make_room(&mut self, end: u64) {
        let room = end.saturating_add(ROOM);
        self.room = self.medium.make_room(room).map_or(self.room, |()| room);
    }

    /// Makes the first room, before anyone waits for the disk.
    pub(super) fn prepare(mut self) -> Self {
        self.make_room(self.length);
        // What can't be synced now is told when a lease can't be.
        drop(self.medium.sync());
        self
    }

    #[cfg(test)]
    pub(super) const fn medium_mut(&mut self) -> &mut M {
        &mut self.medium
    }

    fn clean(&mut self) -> io::Result<()> {
        self.room = self.length;
        self.medium.cut(self.length)?;
        self.medium.sync()?;
        self.tainted = false;
        Ok(())
    }

    /// Gives back the room that is not used, so that the file ends with its last frame.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.tainted || self.room > self.length { self.clean() } else { Ok(()) }
    }
}

/// The one that writes.
pub(super) struct Writer {
    folder: PathBuf,
    tail: Tail<File>,
    snapshot_length: u64,
    compaction: Option<JoinHandle<Result<u64, JournalError>>>,
    /// A compaction failed; it is tried again at the next start, not at every write.
    compaction_failed: bool,
    failing: bool,
    _lock: File,
}

impl Writer {
    /// Opens the journal for appending behind its last whole frame; a torn end is cut off.
    pub(super) fn open(folder: &Path, recovered: &Recovered, lock: File) -> Result<Self, JournalError> {
        let length = match recovered.journal_length {
            Some(length) => length,
            None => {
                create_journal(folder)?;
                header_length()
            }
        };
        let file = open_journal(folder)?;
        let path = folder.join(JOURNAL);
        let found = file.metadata().map_err(JournalError::io("read the lease file", &path))?.len();
        if found != length {
            if recovered.torn {
                tracing::warn!(
                    "the last write to `{}` was cut short; what it left behind octet {length} was promised to nobody and is dropped",
                    path.display()
                );
            }
            file.set_len(length).and_then(|()| file.sync_all()).map_err(JournalError::io("cut the lease file", &path))?;
        }
        let mut writer = Self {
            folder: folder.to_owned(),
            tail: Tail::new(file, length).prepare(),
            snapshot_length: recovered.snapshot_length,
            compaction: None,
            compaction_failed: false,
            failing: false,
            _lock: lock,
        };
        if recovered.has_old_journal {
            writer.start_compaction();
        }
        Ok(writer)
    }

    /// Writes what is submitted until nobody can submit any more.
    pub(super) fn run(mut self, queue: &Queue) {
        let _closed = ClosedAtEnd(queue);
        let (mut taken, mut frame) = (Vec::new(), Vec::new());
        while queue.take_all(&mut taken) {
            let parts: Vec<&[u8]> =
                taken.iter().map(|submission| submission.records.octets()).filter(|octets| !octets.is_empty()).collect();
            let mut outcome = Ok(());
            if !parts.is_empty() {
                frame.clear();
                write_encoded_frame(&mut frame, &parts);
                outcome = self.tail.append(&frame).map_err(JournalError::io("write the lease file", &self.folder.join(JOURNAL)));
                self.note(&outcome);
            }
            for submission in taken.drain(..) {
                (submission.done)(outcome.clone());
            }
            self.compact_when_due();
        }
        if let Some(compaction) = self.compaction.take() {
            drop(compaction.join());
        }
        // Zeros at the end do no harm: the next start cuts them off.
        drop(self.tail.finish());
    }

    fn note(&mut self, outcome: &Result<(), JournalError>) {
        match outcome {
            Ok(()) if self.failing => tracing::info!("leases are written to `{}` again", self.folder.display()),
            Err(error) if !self.failing => {
                let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(
                    "{error}: {source}. No new lease is promised until it can be written; renewals go on. Free space on the disk or replace it."
                );
            }
            _ => {}
        }
        self.failing = outcome.is_err();
    }

    fn compact_when_due(&mut self) {
        if self.compaction.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(compaction) = self.compaction.take()
        {
            match compaction.join() {
                Ok(Ok(length)) => self.snapshot_length = length,
                Ok(Err(error)) => {
                    self.compaction_failed = true;
                    tracing::warn!("{error}; the lease journal grows until the next start");
                }
                Err(_) => self.compaction_failed = true,
            }
        }
        let worth_it = self.tail.length > SMALLEST_JOURNAL_TO_COMPACT.max(self.snapshot_length.saturating_mul(2));
        if !worth_it || self.compaction.is_some() || self.compaction_failed || self.tail.tainted {
            return;
        }
        // Once it is the old journal, every octet of it must be a frame's.
        let finished = self.tail.finish().map_err(JournalError::io("cut the lease file", &self.folder.join(JOURNAL)));
        match finished.and_then(|()| change_journals(&self.folder)) {
            Ok(file) => {
                self.tail = Tail::new(file, header_length()).prepare();
                self.start_compaction();
            }
            Err(error) => {
                self.compaction_failed = true;
                tracing::warn!("{error}; the lease journal grows until the next start");
            }
        }
    }

    fn start_compaction(&mut self) {
        let folder = self.folder.clone();
        match thread::Builder::new().name("lease-snapshot".to_owned()).spawn(move || compact(&folder)) {
            Ok(thread) => self.compaction = Some(thread),
            Err(error) => {
                self.compaction_failed = true;
                tracing::warn!("cannot start a thread that compacts the leases: {error}");
            }
        }
    }
}

fn header_length() -> u64 {
    u64::try_from(FILE_HEADER.len()).unwrap_or_default()
}
