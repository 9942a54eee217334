//! The `STATE` partition: the machine config as it was served, and a digest by which a torn write is known.

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::Path;

use fairlead::wire::Digest;

use crate::Result;

/// Talos' own name for it.
pub(crate) const PARTITION_NAME: &str = "STATE";

const MAGIC: &[u8; 16] = b"stand-in STATE 1";
const LARGEST: u64 = 16 << 20;

/// The config on the partition, or nothing when none was ever written there.
pub(crate) fn read(partition: &Path) -> Result<Option<Vec<u8>>> {
    let fail = |error: std::io::Error| format!("cannot read {}: {error}", partition.display());
    let mut file = File::open(partition).map_err(fail)?;
    let (mut magic, mut length, mut digest) = ([0; 16], [0; 8], [0; 32]);
    file.read_exact(&mut magic).map_err(fail)?;
    if magic != *MAGIC {
        return Ok(None);
    }
    file.read_exact(&mut length).map_err(fail)?;
    file.read_exact(&mut digest).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(u64::from_be_bytes(length).min(LARGEST)).read_to_end(&mut bytes).map_err(fail)?;
    if Digest::of(&bytes) == Digest(digest) {
        Ok(Some(bytes))
    } else {
        Err(format!("{}: the config does not match its digest", partition.display()))
    }
}

/// Writes the config where `partition` stands.
pub(crate) fn write(partition: &mut impl Write, config: &[u8]) -> std::io::Result<()> {
    partition.write_all(MAGIC)?;
    partition.write_all(&u64::try_from(config.len()).unwrap_or(u64::MAX).to_be_bytes())?;
    partition.write_all(&Digest::of(config).0)?;
    partition.write_all(config)
}
