//! Tables for people and JSON for programs.

use serde::Serialize;

use crate::command_line::say;
use crate::failure::{Failure, Result};

/// Writes rows under a heading, columns as wide as they need to be.
pub(super) fn write(heading: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let widths: Vec<usize> = heading
        .iter()
        .enumerate()
        .map(|(column, name)| rows.iter().filter_map(|row| row.get(column)).map(String::len).chain([name.len()]).max().unwrap_or(0))
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    say(&line(&mut heading.iter().copied()))?;
    rows.iter().try_for_each(|row| say(&line(&mut row.iter().map(String::as_str))))
}

/// Writes a value as JSON.
pub(super) fn write_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new("cannot write the answer as JSON").cause(&error))?;
    say(&text)
}
