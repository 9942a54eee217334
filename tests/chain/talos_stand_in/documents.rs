//! Talos machine configs: one YAML stream of several documents.

use fairlead::wire::Digest;
use serde_json::Value;

use crate::Result;

/// A config as it was received, and its documents.
pub(crate) struct MachineConfig {
    bytes: Vec<u8>,
    documents: Vec<Value>,
}

impl MachineConfig {
    /// Reads the YAML; the bytes are kept as they came.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let text = str::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| format!("not YAML: {error}"))?;
        let documents: Vec<Value> = documents.into_iter().filter(|document| !document.is_null()).collect();
        match documents.iter().find(|document| kind(document).is_none()) {
            Some(_) => Err("a document has neither `kind` nor `version: v1alpha1`".to_owned()),
            None => Ok(Self { bytes: bytes.to_vec(), documents }),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// Whether it has the document that ends the search for a config.
    pub(crate) fn has_v1alpha1(&self) -> bool {
        self.of_kind(V1ALPHA1).next().is_some()
    }

    /// The disk to install to.
    pub(crate) fn install_disk(&self) -> Option<&str> {
        self.of_kind(V1ALPHA1).find_map(|document| document.pointer("/machine/install/disk")?.as_str())
    }

    /// The certificates of all `TrustedRootsConfig` documents, in PEM.
    pub(crate) fn trusted_roots(&self) -> String {
        let certificates = self.of_kind("TrustedRootsConfig").filter_map(|document| document.get("certificates")?.as_str());
        certificates.collect::<Vec<_>>().join("\n")
    }

    /// What may stand on a console: digest, kinds of documents, name; never a secret.
    pub(crate) fn describe(&self) -> String {
        let kinds: Vec<&str> = self.documents.iter().filter_map(kind).collect();
        let hostname = self.of_kind("HostnameConfig").find_map(|document| document.get("hostname")?.as_str());
        let tailscale = self.of_kind("ExtensionServiceConfig").find(|document| named(document, "tailscale"));
        let key = tailscale.and_then(|document| document.get("environment")?.as_array()).into_iter().flatten();
        let has_key = key.filter_map(Value::as_str).any(|variable| variable.strip_prefix("TS_AUTHKEY=").is_some_and(|key| !key.is_empty()));
        format!(
            "sha256={} size={} documents={} hostname={} tailscale_key={}",
            Digest::of(&self.bytes),
            self.bytes.len(),
            kinds.join(","),
            hostname.unwrap_or("none"),
            if has_key { "present" } else { "none" },
        )
    }

    fn of_kind<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a Value> {
        self.documents.iter().filter(move |document| kind(document) == Some(wanted))
    }
}

/// The first and oldest kind of document has no `kind`, only a `version`.
const V1ALPHA1: &str = "v1alpha1";

fn kind(document: &Value) -> Option<&str> {
    match document.get("kind") {
        Some(kind) => kind.as_str(),
        None => document.get("version")?.as_str().filter(|version| *version == V1ALPHA1),
    }
}

fn named(document: &Value, name: &str) -> bool {
    document.get("name").and_then(Value::as_str) == Some(name)
}
