//! The serial console, which is all that the lab sees of a node.

use std::io::{self, Write as _};

/// Writes one line, with the prefix by which the lab finds it.
pub(crate) fn say(line: &str) {
    // The kernel writes to the same console: a line break first keeps its half-written lines apart from ours.
    let text = format!("\r\nstand-in: {line}\r\n");
    let mut out = io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}
