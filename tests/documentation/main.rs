//! Holds the documents against the programs: what a reader is told must be what is there.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a failed expectation is how a test reports")]

mod commands;
mod configuration;
mod ports;

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the source tree.
fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    let path = tree(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read `{}`: {error}", path.display()))
}

/// The lines of the document's code blocks in this language.
fn code(document: &str, language: &str) -> Vec<String> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in document.lines() {
        match line.strip_prefix("```") {
            Some(fence) => inside = fence == language,
            None if inside => lines.push(line.to_owned()),
            None => {}
        }
    }
    lines
}

/// The part of a document below the heading, up to the next one of the same level or above.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let level = heading.chars().take_while(|letter| *letter == '#').count();
    let start = document.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("there is no heading `{heading}`"));
    let rest = &document[start + heading.len() + 2..];
    let end = rest.match_indices("\n#").find_map(|(place, _)| {
        let hashes = rest[place + 1..].chars().take_while(|letter| *letter == '#').count();
        (hashes <= level).then_some(place)
    });
    &rest[..end.unwrap_or(rest.len())]
}

/// What stands between backquotes in the first cell of each row of the tables.
fn first_cells(text: &str) -> Vec<String> {
    let row = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    text.lines().filter_map(row).collect()
}
