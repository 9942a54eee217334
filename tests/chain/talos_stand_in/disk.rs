//! Disks and partitions, found by the names in their GPT.

use std::fs;
use std::path::PathBuf;

use crate::Result;

/// The partition of that name, on whatever disk it is.
pub(crate) fn find_partition(name: &str) -> Result<Option<PathBuf>> {
    let entries = fs::read_dir("/sys/class/block").map_err(|error| format!("cannot list disks: {error}"))?;
    let wanted = format!("PARTNAME={name}");
    for entry in entries.flatten() {
        let attributes = fs::read_to_string(entry.path().join("uevent")).unwrap_or_default();
        if attributes.lines().any(|line| line == wanted) {
            return Ok(Some(PathBuf::from("/dev").join(entry.file_name())));
        }
    }
    Ok(None)
}
