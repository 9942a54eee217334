//! A node's machine config: the operator's bytes, unchanged, and the documents that Fairlead adds behind them.

mod documents;
pub mod document;
pub mod patch;
pub mod schema;
pub mod structure;
pub mod yaml;

use serde::Deserialize;

use crate::secret::Secret;
use crate::wire::Name;

pub use documents::{hostname, tailscale, trusted_roots};

/// An operator's machine config, looked at but never rewritten.
#[derive(Debug)]
pub struct BaseConfig(Secret);

/// What is wrong with an operator's machine config.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseConfigError {
    /// It is not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
    /// It is not YAML.
    #[error("it is not valid YAML: {0}")]
    NotYaml(String),
    /// It holds no v1alpha1 document, or more than one.
    #[error("it holds {0} documents with `version: v1alpha1`; a machine config has exactly one")]
    NotOneMachineConfig(usize),
    /// `machine.type` is missing.
    #[error("`machine.type` is missing in the v1alpha1 document")]
    NoMachineType,
    /// No disk to install to.
    #[error("`machine.install` names neither `disk` nor `diskSelector`: the node could not install itself")]
    NoInstallDisk,
    /// A worker must not hold a CA key.
    #[error("`{0}` is set on a worker: Talos refuses a CA private key there")]
    CaKeyOnWorker(&'static str),
    /// A document that Fairlead adds is there already.
    #[error("it already holds a {0} document, which Fairlead adds for each node")]
    Collides(&'static str),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    version: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    machine: Option<Machine>,
    cluster: Option<Certified>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Machine {
    r#type: Option<String>,
    ca: Option<Ca>,
    install: Option<Install>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Certified {
    ca: Option<Ca>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Ca {
    key: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Install {
    disk: Option<String>,
    disk_selector: Option<serde::de::IgnoredAny>,
}

impl BaseConfig {
    /// Looks at an operator's config; `with_tailscale` when Fairlead is to add the Tailscale document.
    ///
    /// # Errors
    /// When no node could use it, or a document that Fairlead adds is there already.
    pub fn parse(bytes: Secret, with_tailscale: bool) -> Result<Self, BaseConfigError> {
        let text = bytes.expose_str().ok_or(BaseConfigError::NotText)?;
        let documents: Vec<Document> = serde_saphyr::from_multiple(text).map_err(|error| BaseConfigError::NotYaml(place_of(&error)))?;
        let mut machine_configs = documents.iter().filter(|document| document.version.as_deref() == Some("v1alpha1"));
        let (Some(machine_config), 0) = (machine_configs.next(), machine_configs.clone().count()) else {
            let count = documents.iter().filter(|document| document.version.as_deref() == Some("v1alpha1")).count();
            return Err(BaseConfigError::NotOneMachineConfig(count));
        };
        let machine = machine_config.machine.as_ref().ok_or(BaseConfigError::NoMachineType)?;
        let kind = machine.r#type.as_deref().ok_or(BaseConfigError::NoMachineType)?;
        let install = machine.install.as_ref().ok_or(BaseConfigError::NoInstallDisk)?;
        if install.disk.as_deref().unwrap_or_default().is_empty() && install.disk_selector.is_none() {
            return Err(BaseConfigError::NoInstallDisk);
        }
        if kind == "worker" {
            for (ca, place) in [
                (machine.ca.as_ref(), "machine.ca.key"),
                (machine_config.cluster.as_ref().and_then(|cluster| cluster.ca.as_ref()), "cluster.ca.key"),
            ] {
                if ca.and_then(|ca| ca.key.as_deref()).is_some_and(|key| !key.is_empty()) {
                    return Err(BaseConfigError::CaKeyOnWorker(place));
                }
            }
        }
        for document in &documents {
            match (document.kind.as_deref(), document.name.as_deref()) {
                (Some("HostnameConfig"), _) => return Err(BaseConfigError::Collides("HostnameConfig")),
                (Some("TrustedRootsConfig"), Some("fairlead")) => return Err(BaseConfigError::Collides("TrustedRootsConfig `fairlead`")),
                (Some("ExtensionServiceConfig"), Some("tailscale")) if with_tailscale => {
                    return Err(BaseConfigError::Collides("ExtensionServiceConfig `tailscale`"));
                }
                _ => {}
            }
        }
        Ok(Self(bytes))
    }

    /// Takes bytes that [`BaseConfig::parse`] accepted before they were stored.
    #[must_use]
    pub const fn from_store(bytes: Secret) -> Self {
        Self(bytes)
    }

    /// The config of one node: the operator's bytes, then the documents that Fairlead adds.
    #[must_use]
    pub fn render(&self, additions: &Additions<'_>) -> Secret {
        let mut config = self.0.expose().to_vec();
        if !config.ends_with(b"\n") {
            config.push(b'\n');
        }
        let mut append = |document: &str| {
            config.extend_from_slice(b"---\n");
            config.extend_from_slice(document.as_bytes());
        };
        append(&hostname(additions.hostname));
        append(&trusted_roots(additions.root_pem));
        if let Some(key) = additions.tailscale_key.and_then(Secret::expose_str) {
            append(&tailscale(key, additions.hostname));
        }
        Secret::new(config)
    }
}

/// What Fairlead adds to a node's config.
#[derive(Debug)]
pub struct Additions<'a> {
    /// The node's host name.
    pub hostname: &'a Name,
    /// The cloud's root certificate in PEM.
    pub root_pem: &'a str,
    /// The Tailscale key, when the cluster has one.
    pub tailscale_key: Option<&'a Secret>,
}

/// Line and column of a YAML error. Its own text may quote the config, which holds secrets.
fn place_of(error: &serde_saphyr::Error) -> String {
    match error.location() {
        Some(location) => format!("line {}, column {}", location.line(), location.column()),
        None => "its structure is not that of a machine config".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKER: &str = "version: v1alpha1 # comments stay\ndebug: no\nmachine:\n    type: worker\n    token: t0ken\n    ca: {crt: \
                          Q0E=, key: \"\"}\n    files:\n        - permissions: 0600\n    install:\n        disk: /dev/vda\ncluster:\n    ca:\n        crt: Q0E=\n";

    fn parse(text: &str) -> Result<BaseConfig, BaseConfigError> {
        BaseConfig::parse(Secret::from(text.to_owned()), true)
    }

    #[test]
    fn the_operators_bytes_come_through_unchanged() {
        let hostname: Name = "plant-1-ab".parse().unwrap();
        for text in [WORKER.to_owned(), WORKER.trim_end().to_owned(), format!("{WORKER}...\n"), format!("{WORKER}---\nkind: Other\n")] {
            let base = parse(&text).unwrap();
            let key = Secret::from("tskey-auth-x".to_owned());
            let rendered = base.render(&Additions { hostname: &hostname, root_pem: "PEM\n", tailscale_key: Some(&key) });
            let rendered = rendered.expose_str().unwrap();
            assert!(rendered.starts_with(&text));
            let documents: Vec<Document> = serde_saphyr::from_multiple(rendered).unwrap();
            let kinds: Vec<_> = documents.iter().filter_map(|document| document.kind.as_deref()).filter(|kind| *kind != "Other").collect();
            assert_eq!(kinds, ["HostnameConfig", "TrustedRootsConfig", "ExtensionServiceConfig"]);
        }
    }

    #[test]
    fn a_config_that_no_node_could_use_is_refused() {
        let cases = [
            (String::new(), "0 documents"),
            (format!("{WORKER}---\n{WORKER}"), "2 documents"),
            (WORKER.replace("    type: worker\n", ""), "machine.type"),
            (WORKER.replace("disk: /dev/vda", "wipe: true"), "diskSelector"),
            (WORKER.replace("key: \"\"", "key: c2VjcmV0"), "machine.ca.key"),
            (format!("{WORKER}    # end\n        key: c2VjcmV0\n"), "cluster.ca.key"),
            (format!("{WORKER}---\napiVersion: v1alpha1\nkind: HostnameConfig\nauto: stable\n"), "HostnameConfig"),
            (format!("{WORKER}---\nkind: ExtensionServiceConfig\nname: tailscale\n"), "tailscale"),
            (format!("{WORKER}version: v1alpha1\n"), "not valid YAML"),
        ];
        for (text, reason) in cases {
            let message = parse(&text).map(|_| ()).unwrap_err().to_string();
            assert!(message.contains(reason), "{message} (expected {reason})");
        }
    }

    #[test]
    fn an_error_never_quotes_the_config() {
        let message = parse(&WORKER.replace("token: t0ken", "token: [t0ken")).map(|_| ()).unwrap_err().to_string();
        assert!(!message.contains("t0ken"), "{message}");
    }
}
