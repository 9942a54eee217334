//! The durable spool of reports: what happened at the site waits here until the cloud has it for good.
//!
//! One append-only file of JSON lines, each a [`NumberedEvent`], beside `spool.json` with the spool's name and the number up to
//! which the cloud has confirmed. A line counts when its newline is there: a torn last line, left by a crash in the middle of a
//! write, was never numbered towards anyone and is cut off. Anything else that is not a line is damage, and is reported as such.
//!
//! The size is bounded: confirmed reports are dropped, the oldest first, when the file has grown; when the unconfirmed ones alone
//! fill it, new ones are dropped and counted, so that the story of a boot keeps its beginning and numbers stay without gaps.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable_file::{self, Access};
use crate::wire::Digest;
use crate::wire::uplink::{NumberedEvent, SiteEvent};

/// Which site's reports a spool holds: those of another are not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpoolOwner {
    /// SHA-256 of the cloud's root certificate.
    pub cloud_root: Digest,
    /// The site's number at that cloud.
    pub site_number: u32,
}

/// How large a spool may become.
#[derive(Clone, Copy, Debug)]
pub struct SpoolLimits {
    /// Octets of reports that the cloud has not confirmed; at this many, new ones are dropped.
    pub unconfirmed: u64,
    /// Octets of confirmed reports at which the file is rewritten without them.
    pub confirmed: u64,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        // A boot leaves about ten reports of 300 octets: room for some five thousand boots without a cloud.
        Self { unconfirmed: 16 << 20, confirmed: 1 << 20 }
    }
}

/// Why the spool can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// The file system refused.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file of the spool holds something that was never written there.
    #[error("`{}` is damaged: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where and how.
        what: String,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    spool: String,
    owner: SpoolOwner,
    confirmed: u64,
}

/// The spool of one site.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    limits: SpoolLimits,
    header: Header,
    file: File,
    file_length: u64,
    unconfirmed: VecDeque<Waiting>,
    unconfirmed_length: u64,
    next_number: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Waiting {
    event: NumberedEvent,
    length: u64,
}

impl Spool {
    /// Opens the spool in `folder`, which exists; begins one under the name `new_name` when there is none of this owner.
    ///
    /// # Errors
    /// When files can't be read or written, or hold what this program did not write.
    pub fn open(folder: &Path, owner: SpoolOwner, limits: SpoolLimits, new_name: &str) -> Result<Self, SpoolError> {
        let header_path = folder.join("spool.json");
        let header = match fs::read(&header_path) {
            Ok(bytes) => serde_json::from_slice::<Header>(&bytes)
                .map_err(|error| SpoolError::Corrupt { path: header_path, what: error.to_string() })?,
            Err(error) if error.kind() == ErrorKind::NotFound => begin(folder, owner, new_name, &[])?,
            Err(error) => return Err(io_error("read", &header_path, error)),
        };
        let header = if header.owner == owner {
            header
        } else {
            tracing::warn!(spool = header.spool, "the box belongs to another site now: the old site's unsent reports are dropped");
            begin(folder, owner, new_name, &[])?
        };
        remove_other_files(folder, &header.spool);
        Self::read(folder, header, limits)
    }

    fn read(folder: &Path, header: Header, limits: SpoolLimits) -> Result<Self, SpoolError> {
        let path = events_path(folder, &header.spool);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(io_error("read", &path, error)),
        };
        let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let torn = lines.pop_if(|line| !line.ends_with(b"\n")).map_or(0, <[u8]>::len);
        let mut unconfirmed = VecDeque::new();
        let mut previous = None;
        for (index, line) in lines.into_iter().enumerate() {
            let damaged =
                |what: String| SpoolError::Corrupt { path: path.clone(), what: format!("line {}: {what}", index.saturating_add(1)) };
            let event: NumberedEvent = serde_json::from_slice(line).map_err(|error| damaged(error.to_string()))?;
            if previous.is_some_and(|previous: u64| event.number != previous.saturating_add(1)) {
                return Err(damaged(format!("number {} does not follow the one before", event.number)));
            }
            previous = Some(event.number);
            if event.number > header.confirmed {
                unconfirmed.push_back(Waiting { event, length: length_of(line) });
            }
        }
        let file_length = length_of(&bytes).saturating_sub(u64::try_from(torn).unwrap_or(u64::MAX));
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(|error| io_error("open", &path, error))?;
        if torn > 0 {
            tracing::warn!(file = %path.display(), octets = torn, "cut off a report that was not wholly written before the box went down");
            file.set_len(file_length).and_then(|()| file.sync_all()).map_err(|error| io_error("cut", &path, error))?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            limits,
            unconfirmed_length: unconfirmed.iter().map(|waiting| waiting.length).sum(),
            next_number: previous.unwrap_or(0).max(header.confirmed).saturating_add(1),
            header,
            file,
            file_length,
            unconfirmed,
            dropped: 0,
        })
    }

    /// The spool's name, under which the cloud counts its reports.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.header.spool
    }

    /// How many reports wait for the cloud.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.unconfirmed.len()
    }

    /// How many reports were dropped since the spool was opened because it was full.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds reports; they are on the disk when this returns. Those for which there is no room are dropped and counted.
    ///
    /// # Errors
    /// When the disk refuses; none of the reports is in the spool then.
    pub fn append(&mut self, events: impl IntoIterator<Item = SiteEvent>) -> Result<(), SpoolError> {
        let mut bytes = Vec::new();
        let mut added = Vec::new();
        let mut number = self.next_number;
        let mut room = self.limits.unconfirmed.saturating_sub(self.unconfirmed_length);
        let mut dropped: u64 = 0;
        for event in events {
            let event = NumberedEvent { number, event };
            // A struct of strings and numbers always serialises.
            let mut line = serde_json::to_vec(&event).unwrap_or_default();
            line.push(b'\n');
            let length = length_of(&line);
            if length > room {
                // Once one is dropped, the ones behind it go too: a shorter one that fits would tell the story out of order.
                room = 0;
                dropped = dropped.saturating_add(1);
                continue;
            }
            room = room.saturating_sub(length);
            bytes.append(&mut line);
            added.push(Waiting { event, length });
            number = number.saturating_add(1);
        }
        if !bytes.is_empty() {
            self.write(&bytes)?;
        }
        self.next_number = number;
        self.unconfirmed_length = self.unconfirmed_length.saturating_add(length_of(&bytes));
        self.unconfirmed.extend(added);
        self.dropped = self.dropped.saturating_add(dropped);
        Ok(())
    }

    /// The oldest reports that the cloud does not have, at most `limit`.
    #[must_use]
    pub fn batch(&self, limit: usize) -> Vec<NumberedEvent> {
        self.unconfirmed.iter().take(limit).map(|waiting| waiting.event.clone()).collect()
    }

    /// Notes that the cloud has all reports up to `number` for good.
    ///
    /// A number that was never given out means that this folder was restored from an older copy: the cloud would take new reports
    /// for ones that it has. What waits is then moved to a new spool, named `new_name`, and sent again.
    ///
    /// # Errors
    /// When the disk refuses; the reports are sent again then, which the cloud recognises by their numbers.
    pub fn confirm(&mut self, number: u64, new_name: &str) -> Result<(), SpoolError> {
        if number >= self.next_number {
            return self.begin_anew(new_name);
        }
        if number <= self.header.confirmed {
            return Ok(());
        }
        let header = Header { confirmed: number, ..self.header.clone() };
        write_header(&self.folder, &header)?;
        self.header = header;
        while let Some(waiting) = self.unconfirmed.pop_front_if(|waiting| waiting.event.number <= number) {
            self.unconfirmed_length = self.unconfirmed_length.saturating_sub(waiting.length);
        }
        if self.file_length.saturating_sub(self.unconfirmed_length) > self.limits.confirmed {
            self.compact()?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        let path = events_path(&self.folder, &self.header.spool);
        if let Err(error) = self.file.write_all(bytes).and_then(|()| self.file.sync_data()) {
            // What was written of it must not stay: the next line would be glued to half of this one.
            let cut = self.file.set_len(self.file_length);
            return Err(io_error(if cut.is_ok() { "write to" } else { "write to, nor cut what was half written from," }, &path, error));
        }
        self.file_length = self.file_length.saturating_add(length_of(bytes));
        Ok(())
    }

    /// Rewrites the file without what is confirmed.
    fn compact(&mut self) -> Result<(), SpoolError> {
        let path = events_path(&self.folder, &self.header.spool);
        let events: Vec<&NumberedEvent> = self.unconfirmed.iter().map(|waiting| &waiting.event).collect();
        durable_file::replace(&path, &lines_of(&events), Access::Owner).map_err(|error| io_error("rewrite", &path, error))?;
        self.reopen(&path)
    }

    fn begin_anew(&mut self, new_name: &str) -> Result<(), SpoolError> {
        tracing::warn!(
            spool = self.header.spool,
            "the cloud has more reports of this spool than the box ever numbered, so its disk is an older copy: a new spool begins"
        );
        let mut renumbered: Vec<NumberedEvent> = self.batch(usize::MAX);
        for (event, number) in renumbered.iter_mut().zip(1..) {
            event.number = number;
        }
        let header = begin(&self.folder, self.header.owner, new_name, &renumbered)?;
        remove_other_files(&self.folder, &header.spool);
        let dropped = self.dropped;
        *self = Self::read(&self.folder, header, self.limits)?;
        self.dropped = dropped;
        Ok(())
    }

    fn reopen(&mut self, path: &Path) -> Result<(), SpoolError> {
        self.file = OpenOptions::new().append(true).open(path).map_err(|error| io_error("open", path, error))?;
        self.file_length = self.file.metadata().map_err(|error| io_error("measure", path, error))?.len();
        Ok(())
    }
}

/// Writes a new spool: its reports first, then the header that names them, so that a crash leaves the old spool or the new one.
fn begin(folder: &Path, owner: SpoolOwner, name: &str, events: &[NumberedEvent]) -> Result<Header, SpoolError> {
    let path = events_path(folder, name);
    let events: Vec<&NumberedEvent> = events.iter().collect();
    durable_file::replace(&path, &lines_of(&events), Access::Owner).map_err(|error| io_error("write", &path, error))?;
    let header = Header { spool: name.to_owned(), owner, confirmed: 0 };
    write_header(folder, &header)?;
    Ok(header)
}

fn write_header(folder: &Path, header: &Header) -> Result<(), SpoolError> {
    let path = folder.join("spool.json");
    // A struct of strings and numbers always serialises.
    let bytes = serde_json::to_vec(header).unwrap_or_default();
    durable_file::replace(&path, &bytes, Access::Owner).map_err(|error| io_error("write", &path, error))
}

/// Removes the reports of spools before this one; a crash between a new header and this leaves them behind.
fn remove_other_files(folder: &Path, name: &str) {
    let keep = events_path(folder, name);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).filter(|path| *path != keep && path.extension().is_some_and(|end| end == "jsonl")) {
        // What can't be removed costs room and nothing else.
        drop(fs::remove_file(path));
    }
}

fn events_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("events-{name}.jsonl"))
}

fn lines_of(events: &[&NumberedEvent]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in events {
        // A struct of strings and numbers always serialises.
        bytes.append(&mut serde_json::to_vec(event).unwrap_or_default());
        bytes.push(b'\n');
    }
    bytes
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> SpoolError {
    SpoolError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
