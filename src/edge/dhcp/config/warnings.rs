//! What is legal in a configuration and unwise.

use super::{DhcpConfig, Warning};
use crate::config_file::Source;

/// All of it, in the order of the file.
pub(super) fn find(_source: &Source, _config: &DhcpConfig) -> Vec<Warning> {
    Vec::new()
}
