//! The one loader of configuration files: TOML in, a typed value and its source text out.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// The text of a configuration file, kept so that an error found later can still name file and line.
#[derive(Clone, Debug)]
pub struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Reads the file.
    ///
    /// # Errors
    /// When it can't be read; `kind` (as in "edge configuration") and the option that names another file are part of the message.
    pub fn read(path: &Path, kind: &str) -> Result<Self, Failure> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self { path: path.to_owned(), text }),
            Err(error) => Err(Failure::new(format!("cannot read the {kind} file `{}`", path.display()))
                .cause(&error)
                .hint("name the file with --config, or create it; `config/` in the source tree has commented examples")),
        }
    }

    /// A source that is not a file, for tests and defaults.
    #[must_use]
    pub fn from_text(name: &str, text: &str) -> Self {
        Self { path: PathBuf::from(name), text: text.to_owned() }
    }

    /// The file's path as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Parses the text into `T`; unknown keys and wrong types are refused with file, line and key.
    ///
    /// # Errors
    /// The first thing that does not fit, with the line it stands on.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        toml::from_str(&self.text).map_err(|error| {
            let place = error.span().map_or_else(|| self.path.display().to_string(), |span| self.place(&span));
            // The error's own text shows the line with carets and, for an unknown key, the keys that are allowed.
            Failure::new(without_passwords(&format!("{place}: {}", error.message())))
                .because(without_passwords(error.to_string().trim_end()))
                .hint("docs/configuration.md in the source tree names every key, its type and what it may be")
        })
    }

    /// An error about the value at `span`: `what` names the key and what is wrong, `hint` what is allowed.
    #[must_use]
    pub fn error(&self, span: &Range<usize>, what: &str, hint: &str) -> Failure {
        Failure::new(format!("{}: {what}", self.place(span))).hint(hint)
    }

    /// An error about what stands on a line; otherwise as [`Source::error`].
    #[must_use]
    pub fn error_on_line(&self, line: u32, what: &str, hint: &str) -> Failure {
        Failure::new(format!("{}: {what}", self.place_of_line(line))).hint(hint)
    }

    /// `file:line` of a line.
    #[must_use]
    pub fn place_of_line(&self, line: u32) -> String {
        format!("{}:{line}", self.path.display())
    }

    /// `file:line` of a span.
    #[must_use]
    pub fn place(&self, span: &Range<usize>) -> String {
        self.place_of_line(self.line(span))
    }

    /// The line on which a span begins, from 1.
    #[must_use]
    pub fn line(&self, span: &Range<usize>) -> u32 {
        let before = self.text.as_bytes().iter().take(span.start);
        u32::try_from(before.filter(|byte| **byte == b'\n').count().saturating_add(1)).unwrap_or(u32::MAX)
    }
}

/// The text without what stands for a password in a URL: an error shows the line that it is about, whatever is on it.
fn without_passwords(text: &str) -> String {
    let mut pieces = text.split("://");
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        shown.push_str("://");
        let end = piece.find(|letter: char| letter.is_whitespace() || letter == '/' || letter == '"').unwrap_or(piece.len());
        let (authority, rest) = piece.split_at_checked(end).unwrap_or((piece, ""));
        match authority.rsplit_once('@').map(|(user, host)| (user.split(':').next().unwrap_or_default(), host)) {
            Some((user, host)) => shown.push_str(&format!("{user}:...@{host}")),
            None => shown.push_str(authority),
        }
        shown.push_str(rest);
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::Source;

    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Example {
        #[expect(dead_code, reason = "read by the derive only")]
        port: u16,
    }

    #[test]
    fn unknown_key_names_file_line_and_key() {
        let error = Source::from_text("edge.toml", "port = 1\nprot = 2\n").parse::<Example>().unwrap_err().to_string();
        assert!(error.starts_with("error: edge.toml:2: unknown field `prot`"), "{error}");
    }

    #[test]
    fn a_password_on_the_line_of_an_error_is_not_shown() {
        for text in [
            "port = \"postgresql://fl:hunter2@db.example/x\"",
            "port = \"postgresql://fl:hunter2@db.example/x",
            "port = postgresql://fl:hunter2@h",
        ] {
            let error = Source::from_text("cloud.toml", text).parse::<Example>().unwrap_err().to_string();
            assert!(error.starts_with("error: cloud.toml:1: ") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn wrong_type_names_the_line() {
        let error = Source::from_text("edge.toml", "\nport = \"x\"\n").parse::<Example>().unwrap_err().to_string();
        assert!(error.starts_with("error: edge.toml:2: invalid type"), "{error}");
    }
}
