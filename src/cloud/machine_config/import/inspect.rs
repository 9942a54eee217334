use std::net::IpAddr;

use super::generate::is_bundle;
use crate::cloud::machine_config::document::DocumentId;
use crate::cloud::machine_config::patch::check_config;
use crate::cloud::machine_config::render::contract_of;
use crate::cloud::machine_config::rules;
use crate::cloud::machine_config::schema::Contract;
use crate::cloud::machine_config::yaml::{Node, Place};

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A machine config of a worker.
    Worker,
    /// A machine config of a control-plane node.
    ControlPlane,
    /// A secrets bundle.
    Secrets,
    /// A talosconfig: it says how to reach the cluster's Talos API.
    TalosConfig,
    /// A kubeconfig: it says how to reach the cluster's Kubernetes API.
    KubeConfig,
    /// Documents without the v1alpha1 one, or operations of RFC 6902: a patch.
    Patch,
    /// None of these.
    Unknown,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Note,
    /// It works, and will hurt.
    Unwise,
    /// Talos will refuse it, or the node will never join.
    Wrong,
}

/// Something to tell about a file. It names fields, and quotes no secret.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Where; of line 0 for what is not there.
    pub place: Place,
    /// What, and what to do.
    pub text: String,
}

/// What a file is, and what there is to tell about it. `tailnet` says whether nodes are to join one.
#[must_use]
pub fn inspect(documents: &[Node], contract: Option<Contract>, tailnet: bool) -> (Found, Vec<Finding>) {
    let mut inspection = Inspection { findings: Vec::new(), tailnet };
    let config = documents.iter().find(|document| DocumentId::of(document).is_v1alpha1() && document.at(&["machine"]).is_some());
    let found = match (config, documents.first()) {
        (Some(config), _) => match config.text_at(&["machine", "type"]) {
            Some("controlplane" | "init") => Found::ControlPlane,
            Some(_) => Found::Worker,
            None => Found::Patch,
        },
        (None, Some(first)) if is_bundle(first) => Found::Secrets,
        (None, Some(first)) if first.at(&["contexts"]).is_some_and(|contexts| contexts.as_mapping().is_some()) => Found::TalosConfig,
        (None, Some(first)) if first.text_at(&["kind"]) == Some("Config") && first.at(&["clusters"]).is_some() => Found::KubeConfig,
        (None, Some(first)) if !first.items().is_empty() || DocumentId::of(first).api_version == "v1alpha1" => Found::Patch,
        _ => Found::Unknown,
    };
    if let (Found::Worker | Found::ControlPlane, Some(config)) = (found, config) {
        inspection.machine_config(documents, config, contract, found == Found::ControlPlane);
    }
    if found == Found::Unknown {
        inspection.tell(Severity::Wrong, Place::default(), "it is no machine config, secrets bundle, patch, talosconfig or kubeconfig");
    }
    (found, inspection.findings)
}

struct Inspection {
    findings: Vec<Finding>,
    tailnet: bool,
}

impl Inspection {
    fn tell(&mut self, severity: Severity, place: Place, text: impl Into<String>) {
        self.findings.push(Finding { severity, place, text: text.into() });
    }

    fn machine_config(&mut self, documents: &[Node], config: &Node, contract: Option<Contract>, is_control_plane: bool) {
        let release = contract.or_else(|| contract_of(documents));
        match release {
            Some(release) => self.tell(Severity::Note, config.place, format!("it is for Talos {release}")),
            None => {
                self.tell(
                    Severity::Note,
                    config.place,
                    "it does not say for which Talos release it is: `machine.install.image` has no tag",
                );
            }
        }
        let schema = release.unwrap_or(Contract::NEWEST).schema();
        if let Err(error) = check_config(documents, schema) {
            self.tell(Severity::Wrong, error.place, error.to_string());
        }
        if let Some(broken) = rules::broken(documents, schema) {
            self.tell(Severity::Wrong, broken.place, format!("`{}`: {}", broken.path, broken.rule));
        }
        self.ca_keys(config, is_control_plane);
        if self.tailnet {
            self.tailnet(documents, config, is_control_plane);
        }
        for (path, what) in [(["cluster", "network", "podSubnets"], "pod"), (["cluster", "network", "serviceSubnets"], "service")] {
            for subnet in config.at(&path).map(Node::items).unwrap_or_default() {
                if subnet.as_str().is_some_and(overlaps_tailnet) {
                    self.tell(
                        Severity::Unwise,
                        subnet.place,
                        format!("the {what} network lies in 100.64.0.0/10, which is the tailnet's: choose another"),
                    );
                }
            }
        }
        self.addresses(config);
    }

    fn ca_keys(&mut self, config: &Node, is_control_plane: bool) {
        for path in [["machine", "ca", "key"], ["cluster", "ca", "key"], ["cluster", "aggregatorCA", "key"]] {
            if let Some(key) = config.at(&path).filter(|key| !is_control_plane && key.as_str().is_some_and(|key| !key.is_empty())) {
                let text = format!(
                    "`{}`: a CA's private key is in a worker's config, and every worker would have it: take it out",
                    path.join(".")
                );
                self.tell(Severity::Wrong, key.place, text);
            }
        }
        for path in [["machine", "token"], ["cluster", "token"], ["cluster", "id"], ["cluster", "secret"]] {
            if config.text_at(&path).is_none_or(str::is_empty) {
                self.tell(Severity::Wrong, config.place, format!("`{}` is missing: the node could not join", path.join(".")));
            }
        }
    }

    fn tailnet(&mut self, documents: &[Node], config: &Node, is_control_plane: bool) {
        let endpoint = config.at(&["cluster", "controlPlane", "endpoint"]);
        if let Some((node, host)) = endpoint.and_then(|node| Some((node, host_of(node.as_str()?)))) {
            match host.parse::<IpAddr>() {
                Ok(address) if !in_tailnet(address) => {
                    let text = "`cluster.controlPlane.endpoint` is no address of the tailnet: a node at another site reaches the control plane only if it is routed there";
                    self.tell(Severity::Unwise, node.place, text);
                }
                Err(_) if host.ends_with(".ts.net") => {
                    let text = "`cluster.controlPlane.endpoint` is a name of the tailnet, which a node can't resolve before it is in there: use the control plane's tailnet address";
                    self.tell(Severity::Unwise, node.place, text);
                }
                _ => {}
            }
        }
        let lists = |path: &[&str]| {
            config
                .at(path)
                .is_some_and(|list| list.items().iter().any(|item| item.as_str().is_some_and(|text| text.starts_with("100.64."))))
        };
        if !lists(&["machine", "kubelet", "nodeIP", "validSubnets"]) {
            let text = "`machine.kubelet.nodeIP.validSubnets` does not name 100.64.0.0/10: the kubelet may register with an address that the cluster can't reach";
            self.tell(Severity::Unwise, config.place, text);
        }
        if is_control_plane && !lists(&["cluster", "etcd", "advertisedSubnets"]) {
            let text =
                "`cluster.etcd.advertisedSubnets` does not name 100.64.0.0/10: etcd may advertise an address that its peers can't reach";
            self.tell(Severity::Unwise, config.place, text);
        }
        for document in documents {
            let id = DocumentId::of(document);
            if id.kind == "ExtensionServiceConfig" && id.name == "tailscale" {
                let variables = document.at(&["environment"]).map(Node::items).unwrap_or_default();
                if let Some(key) = variables.iter().find(|variable| variable.as_str().is_some_and(|text| text.starts_with("TS_AUTHKEY="))) {
                    self.tell(
                        Severity::Unwise,
                        key.place,
                        "it holds a Tailscale key that all nodes would share; the one that Fairlead adds takes its place",
                    );
                }
            }
        }
    }

    fn addresses(&mut self, config: &Node) {
        for interface in config.at(&["machine", "network", "interfaces"]).map(Node::items).unwrap_or_default() {
            for address in interface.at(&["addresses"]).map(Node::items).unwrap_or_default() {
                self.tell(
                    Severity::Unwise,
                    address.place,
                    "a fixed address stands in a config that all nodes share: put it into a patch for one node",
                );
                if address.as_str().is_some_and(overlaps_tailnet) {
                    self.tell(Severity::Unwise, address.place, "an interface has an address in 100.64.0.0/10, which is the tailnet's");
                }
            }
        }
        if let Some(hostname) = config.at(&["machine", "network", "hostname"]).filter(|hostname| !hostname.is_null()) {
            self.tell(
                Severity::Unwise,
                hostname.place,
                "a host name stands in a config that all nodes share; Fairlead gives each node its own",
            );
        }
    }
}

fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default().to_owned(),
        None => host.split(':').next().unwrap_or_default().to_owned(),
    }
}

/// 100.64.0.0/10 and Tailscale's own fd7a:115c:a1e0::/48.
fn in_tailnet(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            first == 100 && (64..128).contains(&second)
        }
        IpAddr::V6(address) => matches!(address.segments(), [0xfd7a, 0x115c, 0xa1e0, ..]),
    }
}

/// Whether a network shares addresses with 100.64.0.0/10.
fn overlaps_tailnet(network: &str) -> bool {
    let (address, length) = network.split_once('/').unwrap_or((network, "32"));
    let (Ok(IpAddr::V4(address)), Ok(length)) = (address.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let mask = |length: u32| u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
    let shorter = mask(length.min(10));
    (u32::from(address) & shorter) == (u32::from(std::net::Ipv4Addr::new(100, 64, 0, 0)) & shorter)
}
