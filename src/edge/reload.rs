//! Another configuration for the running box: read and checked whole, applied whole or not at all.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::config::EdgeConfig;
use super::control::Reloaded;
use super::dhcp::server::Handle;
use crate::failure::{Failure, Result};

/// Reads the configuration file again on request.
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    dhcp: Handle,
    /// What the box serves by. Held while it changes, so that one reload is compared with the one before it.
    current: Mutex<EdgeConfig>,
}

impl Reloader {
    /// One for a box that serves by this configuration, which was read from `path`.
    #[must_use]
    pub fn new(path: PathBuf, current: EdgeConfig, dhcp: Handle) -> Self {
        Self { path, dhcp, current: Mutex::new(current) }
    }

    /// Reads the file and serves by it from now on, or goes on as before. What is different is logged, and returned.
    ///
    /// # Errors
    /// What is wrong with the file, what of it can't change in a running box, or why it can't be applied. Nothing has changed then.
    pub async fn reload(&self) -> Result<Reloaded> {
        let outcome = self.apply().await;
        match &outcome {
            Ok(Reloaded { changes, warnings }) => {
                tracing::info!(changes = changes.len(), "the configuration `{}` was read again and is in use", self.path.display());
                for change in changes {
                    tracing::info!("{change}");
                }
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
            }
            Err(failure) => tracing::error!("the configuration was not changed, the one before goes on: {failure}"),
        }
        outcome
    }

    async fn apply(&self) -> Result<Reloaded> {
        let mut current = self.current.lock().await;
        let new = EdgeConfig::load(&self.path)?;
        refuse_what_needs_a_restart(&current, &new)?;
        let changes = current.dhcp.difference(&new.dhcp).iter().map(ToString::to_string).collect();
        let warnings = new.dhcp.warnings().iter().map(|warning| format!("{}: {}", warning.place, warning.what)).collect();
        self.dhcp.reload(Arc::new(new.dhcp.clone())).await?;
        *current = new;
        Ok(Reloaded { changes, warnings })
    }
}

/// The state folder is locked and in use, the log is set up once, and TFTP and HTTP listen on the interfaces' addresses.
fn refuse_what_needs_a_restart(current: &EdgeConfig, new: &EdgeConfig) -> Result<()> {
    let addresses = |config: &EdgeConfig| -> BTreeSet<(String, Ipv4Addr)> {
        config.dhcp.interfaces().iter().map(|interface| (interface.name.clone(), interface.address)).collect()
    };
    let shown = |config: &EdgeConfig| {
        let all: Vec<String> = addresses(config).iter().map(|(name, address)| format!("{name} {address}")).collect();
        all.join(", ")
    };
    let different = [
        ("state_dir", current.state_dir.display().to_string(), new.state_dir.display().to_string()),
        ("log", current.log.clone(), new.log.clone()),
        ("log_format", format!("{:?}", current.log_format).to_lowercase(), format!("{:?}", new.log_format).to_lowercase()),
        ("http_port", current.http_port.to_string(), new.http_port.to_string()),
        ("the interfaces that are not off, with their addresses,", shown(current), shown(new)),
    ];
    match different.into_iter().find(|(_, before, after)| before != after) {
        None => Ok(()),
        Some((key, before, after)) => {
            Err(Failure::new(format!("`{key}` can't change while the box runs: it is {before}, and {after} in the file"))
                .hint("restart fairlead-edge to take it (no lease is lost by that), or put the old value back and reload"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::Source;

    fn config(text: &str) -> EdgeConfig {
        EdgeConfig::from_source(&Source::from_text("edge.toml", text)).unwrap()
    }

    #[test]
    fn what_a_running_box_can_not_change_is_named_with_a_remedy() {
        let interface = |name: &str, mode: &str| format!("[[interface]]\nname = \"{name}\"\nmode = \"{mode}\"\naddress = \"192.0.2.1\"\n");
        let base = interface("eth1", "proxy");
        let before = config(&base);
        for (text, expected) in [
            (format!("http_port = 8080\n{base}"), "`http_port` can't change while the box runs: it is 80, and 8080 in the file"),
            (
                format!("state_dir = \"/srv\"\n{base}"),
                "`state_dir` can't change while the box runs: it is /var/lib/fairlead-edge, and /srv",
            ),
            (format!("log = \"debug\"\n{base}"), "`log` can't change while the box runs: it is info, and debug"),
            (format!("log_format = \"json\"\n{base}"), "`log_format` can't change while the box runs: it is text, and json"),
            (interface("eth2", "proxy"), "it is eth1 192.0.2.1, and eth2 192.0.2.1 in the file"),
        ] {
            let failure = refuse_what_needs_a_restart(&before, &config(&text)).unwrap_err().to_string();
            assert!(failure.contains(expected) && failure.contains("\nhint: restart fairlead-edge"), "{text}: {failure}");
        }
        refuse_what_needs_a_restart(&before, &config(&interface("eth1", "observe"))).unwrap();
    }
}
