//! A log or a serial console, and how to wait for a line in it.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fairlead::failure::{Failure, Result};

/// A text file that somebody else writes.
#[derive(Clone, Debug)]
pub struct LogFile {
    path: PathBuf,
    /// Octets that were there before; lines in them no longer count.
    skip: usize,
}

impl LogFile {
    /// The file at `path`, which need not exist yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), skip: 0 }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same file, with all that is in it now left out.
    pub fn later_lines(&self) -> Self {
        let skip = std::fs::metadata(&self.path).map_or(0, |data| usize::try_from(data.len()).unwrap_or(usize::MAX));
        Self { path: self.path.clone(), skip }
    }

    /// All lines so far, without what a terminal would have acted on.
    pub fn lines(&self) -> Vec<String> {
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        let text = without_escapes(&String::from_utf8_lossy(bytes.get(self.skip..).unwrap_or_default()));
        text.split(['\n', '\r']).map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// The first line that contains `pattern`.
    pub fn find(&self, pattern: &str) -> Option<String> {
        self.lines().into_iter().find(|line| line.contains(pattern))
    }

    /// Whether `pattern` is there, be it broken over two lines: a BIOS console has 80 columns.
    pub fn contains_wrapped(&self, pattern: &str) -> bool {
        self.lines().concat().contains(pattern)
    }

    /// Waits for a line that contains `pattern`, and no longer than `why_in_vain` says nothing; `step` is what the line proves, in words.
    pub fn wait_while(
        &self,
        step: &str,
        pattern: &str,
        patience: Duration,
        why_in_vain: &mut dyn FnMut() -> Option<String>,
    ) -> Result<String> {
        let deadline = Instant::now() + patience;
        loop {
            // Asked before the log is read: the last line of a program that has ended counts.
            let reason = why_in_vain().or_else(|| (Instant::now() > deadline).then(|| format!("not within {} s", patience.as_secs())));
            if let Some(line) = self.find(pattern) {
                return Ok(line);
            }
            if let Some(reason) = reason {
                return Err(self.did_not_happen(step, pattern, &reason));
            }
            sleep(Duration::from_millis(100));
        }
    }

    fn did_not_happen(&self, step: &str, pattern: &str, reason: &str) -> Failure {
        let lines = self.lines();
        let last = lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n");
        Failure::new(format!("did not happen: {step}"))
            .because(format!("{reason}: no line with `{pattern}`"))
            .because(if last.is_empty() { "the log is empty".to_owned() } else { format!("the last lines are:\n{last}") })
            .hint(format!("read {}", self.path.display()))
    }
}

/// Leaves out terminal escape sequences (ECMA-48 control sequences and two-character escapes).
fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            plain.push(character);
            continue;
        }
        if characters.next() == Some('[') {
            // Cursor positioning stands where a line would have ended.
            let end = characters.find(|each| ('@'..='~').contains(each));
            if matches!(end, Some('H' | 'J')) {
                plain.push('\n');
            }
        }
    }
    plain
}
