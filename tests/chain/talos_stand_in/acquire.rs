//! The search for a machine config, in Talos' order: embedded, `talos.config.early`, `talos.config`, `talos.config.inline`.
//!
//! `STATE`, the first source of all, is looked at before the kernel arguments are.

use std::fs;

use crate::Result;
use crate::console::say;
use crate::documents::MachineConfig;
use crate::download::Download;
use crate::kernel_arguments::KernelArguments;
use crate::network;

/// Where an image would have its config built in.
const EMBEDDED: &str = "/embedded.yaml";

/// The first config that has a v1alpha1 document, and the name of its source; nothing when no source has one.
///
/// Documents of the sources before it count until it is found: trusted roots from `talos.config.early` are in force for the download.
pub(crate) fn machine_config(arguments: &KernelArguments) -> Result<Option<(&'static str, MachineConfig)>> {
    let mut so_far: Option<MachineConfig> = None;
    let local: [(&'static str, Option<Vec<u8>>); 2] =
        [("embedded", fs::read(EMBEDDED).ok()), ("talos.config.early", encoded(arguments, "talos.config.early")?)];
    for (source, bytes) in local {
        let Some(bytes) = bytes else { continue };
        let config = MachineConfig::parse(&bytes).map_err(|error| format!("{source}: {error}"))?;
        say(&format!("config source={source} {}", config.describe()));
        if config.has_v1alpha1() {
            return Ok(Some((source, config)));
        }
        so_far = Some(config);
    }
    if let Some(url) = arguments.first("talos.config") {
        let link = network::configure()?;
        let roots = so_far.as_ref().map(MachineConfig::trusted_roots).unwrap_or_default();
        let config = Download::new(url, &link, &roots)?.run()?;
        if config.has_v1alpha1() {
            return Ok(Some(("talos.config", config)));
        }
    }
    match encoded(arguments, "talos.config.inline")? {
        Some(bytes) => {
            let config = MachineConfig::parse(&bytes).map_err(|error| format!("talos.config.inline: {error}"))?;
            Ok(config.has_v1alpha1().then_some(("talos.config.inline", config)))
        }
        None => Ok(None),
    }
}

/// A config that stands in the kernel arguments: standard base64 of zstd, split over as many arguments as it takes.
fn encoded(arguments: &KernelArguments, key: &str) -> Result<Option<Vec<u8>>> {
    let Some(text) = arguments.concatenated(key) else { return Ok(None) };
    let packed = data_encoding::BASE64.decode(text.as_bytes()).map_err(|error| format!("{key} is not base64: {error}"))?;
    zstd::decode_all(packed.as_slice()).map(Some).map_err(|error| format!("{key} is not zstd: {error}"))
}
