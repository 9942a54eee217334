//! What Talos' validation demands of a config as a whole, on metal and in strict mode.
//!
//! Not all of it: what can be seen without Kubernetes' and CEL's own parsers. `tests/talos` holds each rule against Talos' own.

use super::document::DocumentId;
use super::labels;
use super::layer::ConfigErrorKind;
use super::schema::Schema;
use super::yaml::{Node, Place, Resolved};

/// A rule that is broken: where, and how.
pub(super) struct Broken {
    pub(super) place: Place,
    pub(super) path: &'static str,
    pub(super) rule: &'static str,
}

impl Broken {
    pub(super) fn kind(&self) -> ConfigErrorKind {
        ConfigErrorKind::Rule { path: self.path.to_owned(), rule: self.rule.to_owned() }
    }
}

/// The first rule that the documents break.
pub(super) fn broken(documents: &[Node], schema: &Schema) -> Option<Broken> {
    let config = documents.iter().find(|document| DocumentId::of(document).is_v1alpha1());
    if let Some(broken) = config.and_then(|config| Config { config, schema }.broken()) {
        return Some(broken);
    }
    documents.iter().find_map(|document| in_document(document, config))
}

struct Config<'a> {
    config: &'a Node,
    schema: &'a Schema,
}

/// A node that says something.
fn said<'n>(node: &'n Node, path: &[&str]) -> Option<&'n Node> {
    node.at(path).filter(|value| !value.is_null())
}

fn text<'n>(node: &'n Node, path: &[&str]) -> &'n str {
    node.text_at(path).unwrap_or_default()
}

fn is_true(node: &Node, path: &[&str]) -> bool {
    match said(node, path).map(|value| (value.resolve(), value.as_str().unwrap_or_default())) {
        Some((Some(Resolved::Bool(value)), _)) => value,
        Some((_, word)) => matches!(word, "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON"),
        None => false,
    }
}

impl Config<'_> {
    fn rule(&self, at: &[&str], path: &'static str, rule: &'static str) -> Option<Broken> {
        let mut place = self.config.place;
        for length in 1..=at.len() {
            if let Some(node) = at.get(..length).and_then(|path| self.config.at(path)) {
                place = node.place;
            }
        }
        Some(Broken { place, path, rule })
    }

    fn broken(&self) -> Option<Broken> {
        let config = self.config;
        if said(config, &["machine"]).is_none() {
            return self.rule(&[], "machine", "it is missing");
        }
        if said(config, &["cluster"]).is_none() {
            return self.rule(&[], "cluster", "it is missing");
        }
        let kind = text(config, &["machine", "type"]);
        match kind {
            "worker" | "controlplane" | "init" => {}
            "" => return self.rule(&["machine", "type"], "machine.type", "it is missing: `worker` or `controlplane`"),
            _ => return self.rule(&["machine", "type"], "machine.type", "it is `worker`, `controlplane` or `init`"),
        }
        let by_type = if kind == "worker" { Self::worker } else { Self::control_plane };
        self.cluster().or_else(|| self.install()).or_else(|| by_type(self)).or_else(|| self.machine()).or_else(|| self.network())
    }

    fn cluster(&self) -> Option<Broken> {
        let path = ["cluster", "controlPlane", "endpoint"];
        let endpoint = text(self.config, &path);
        if endpoint.is_empty() {
            return self.rule(&path, "cluster.controlPlane.endpoint", "it is missing: the URL of the Kubernetes API");
        }
        let host =
            endpoint.split_once("://").filter(|(scheme, _)| !scheme.is_empty()).map(|(_, rest)| rest.split('/').next().unwrap_or_default());
        if host.is_none_or(|host| host.is_empty() || host.starts_with(':')) {
            return self.rule(&path, "cluster.controlPlane.endpoint", "it is no URL with a host, such as `https://100.64.0.10:6443`");
        }
        None
    }

    fn install(&self) -> Option<Broken> {
        let config = self.config;
        let Some(install) = said(config, &["machine", "install"]) else {
            return self.rule(&["machine"], "machine.install", "it is missing, and a machine boots from the network to be installed");
        };
        let selector = said(install, &["diskSelector"]).and_then(Node::as_mapping);
        let selects = selector
            .is_some_and(|selector| selector.entries.iter().any(|entry| entry.value.as_str().is_some_and(|value| !value.is_empty())));
        if text(install, &["disk"]).is_empty() && !selects {
            let rule = "it names neither `disk` nor `diskSelector`: the node could not install itself";
            return self.rule(&["machine", "install"], "machine.install", rule);
        }
        let arguments = install.at(&["extraKernelArgs"]).is_some_and(|arguments| !arguments.items().is_empty());
        if arguments && is_true(install, &["grubUseUKICmdline"]) {
            return self.rule(
                &["machine", "install", "extraKernelArgs"],
                "machine.install.extraKernelArgs",
                "it can't be beside `grubUseUKICmdline`",
            );
        }
        let images: Vec<_> =
            install.at(&["extensions"]).map(Node::items).unwrap_or_default().iter().map(|item| text(item, &["image"])).collect();
        if images.iter().enumerate().any(|(index, image)| images.iter().take(index).any(|other| other == image)) {
            return self.rule(&["machine", "install", "extensions"], "machine.install.extensions", "an image is there twice");
        }
        if !images.is_empty() {
            let rule = "strict validation refuses it: extensions come with the image of the Image Factory";
            return self.rule(&["machine", "install", "extensions"], "machine.install.extensions", rule);
        }
        None
    }

    fn has_ca(&self) -> bool {
        said(self.config, &["machine", "ca"]).is_some()
    }

    fn accepts_cas(&self) -> bool {
        self.config.at(&["machine", "acceptedCAs"]).is_some_and(|list| !list.items().is_empty())
    }

    fn worker(&self) -> Option<Broken> {
        let config = self.config;
        if !self.has_ca() && !self.accepts_cas() {
            return self.rule(&["machine"], "machine.ca", "it is missing, and `acceptedCAs` as well");
        }
        if !text(config, &["machine", "ca", "key"]).is_empty() {
            return self.rule(&["machine", "ca", "key"], "machine.ca.key", "it is set on a worker: Talos refuses a CA private key there");
        }
        if text(config, &["machine", "ca", "crt"]).is_empty() && !self.accepts_cas() {
            return self.rule(&["machine", "ca"], "machine.ca.crt", "it is missing, and `acceptedCAs` as well");
        }
        if !text(config, &["cluster", "ca", "key"]).is_empty() {
            return self.rule(&["cluster", "ca", "key"], "cluster.ca.key", "it is set on a worker: Talos refuses a CA private key there");
        }
        if said(config, &["cluster", "etcd"]).is_some() {
            return self.rule(&["cluster", "etcd"], "cluster.etcd", "it is for control-plane nodes, and this is a worker");
        }
        if is_true(config, &["machine", "features", "kubernetesTalosAPIAccess", "enabled"]) {
            let path = ["machine", "features", "kubernetesTalosAPIAccess"];
            return self.rule(&path, "machine.features.kubernetesTalosAPIAccess", "it is for control-plane nodes, and this is a worker");
        }
        let has_vip = |node: &Node| said(node, &["vip"]).is_some();
        let interfaces = config.at(&["machine", "network", "interfaces"]).map(Node::items).unwrap_or_default();
        let vip = interfaces
            .iter()
            .find(|interface| has_vip(interface) || interface.at(&["vlans"]).is_some_and(|vlans| vlans.items().iter().any(has_vip)));
        vip.map(|interface| Broken {
            place: interface.place,
            path: "machine.network.interfaces",
            rule: "a `vip` is for control-plane nodes, and this is a worker",
        })
    }

    fn control_plane(&self) -> Option<Broken> {
        if !self.has_ca() {
            return self.rule(&["machine"], "machine.ca", "it is missing");
        }
        if text(self.config, &["machine", "ca", "key"]).is_empty() {
            return self.rule(&["machine", "ca"], "machine.ca.key", "it is missing, and a control-plane node issues certificates");
        }
        None
    }

    fn machine(&self) -> Option<Broken> {
        let config = self.config;
        if said(config, &["persist"]).is_some() && !is_true(config, &["persist"]) {
            return self.rule(&["persist"], "persist", "it can't be false");
        }
        let dns = ["machine", "features", "hostDNS"];
        if let Some(dns_node) = said(config, &dns).filter(|_| self.schema.contract.is_at_least(13))
            && is_true(dns_node, &["forwardKubeDNSToHost"])
            && !is_true(dns_node, &["enabled"])
        {
            return self.rule(&dns, "machine.features.hostDNS.forwardKubeDNSToHost", "it needs `enabled: true` beside it");
        }
        for (key, path) in [("nodeLabels", "machine.nodeLabels"), ("nodeTaints", "machine.nodeTaints")] {
            let Some(mapping) = config.at(&["machine", key]).and_then(Node::as_mapping) else { continue };
            for entry in &mapping.entries {
                let value = entry.value.as_scalar().map(super::yaml::Scalar::value).unwrap_or_default();
                let good = match key {
                    "nodeLabels" => labels::is_value(value),
                    _ => value.split(':').all(labels::is_value),
                };
                if !labels::is_key(entry.key_text()) || !good {
                    return Some(Broken { place: entry.key.place, path, rule: "a key or value is not as Kubernetes has them" });
                }
            }
        }
        let subnets = config.at(&["machine", "kubelet", "nodeIP", "validSubnets"]).map(Node::items).unwrap_or_default();
        let is_subnet = |text: &str| {
            let text = text.strip_prefix('!').unwrap_or(text);
            text.parse::<std::net::IpAddr>().is_ok()
                || text.split_once('/').is_some_and(|(address, length)| {
                    let most = match address.parse() {
                        Ok(std::net::IpAddr::V4(_)) => 32,
                        Ok(std::net::IpAddr::V6(_)) => 128,
                        Err(_) => return false,
                    };
                    length.parse::<u8>().is_ok_and(|length| length <= most)
                })
        };
        subnets.iter().find(|subnet| !is_subnet(subnet.as_str().unwrap_or_default())).map(|subnet| Broken {
            place: subnet.place,
            path: "machine.kubelet.nodeIP.validSubnets",
            rule: "an entry is no network",
        })
    }

    fn network(&self) -> Option<Broken> {
        let interfaces = self.config.at(&["machine", "network", "interfaces"]).map(Node::items).unwrap_or_default();
        for interface in interfaces {
            let broken = |rule| Some(Broken { place: interface.place, path: "machine.network.interfaces", rule });
            let selected = said(interface, &["deviceSelector"]).is_some();
            match (text(interface, &["interface"]).is_empty(), selected) {
                (true, false) => return broken("an entry has neither `interface` nor `deviceSelector`"),
                (false, true) => return broken("an entry has both `interface` and `deviceSelector`"),
                _ => {}
            }
            if said(interface, &["bond"]).is_some() && said(interface, &["bridge"]).is_some() {
                return broken("an entry has both `bond` and `bridge`");
            }
        }
        if is_true(self.config, &["machine", "network", "kubespan", "enabled"]) {
            let path = ["machine", "network", "kubespan"];
            if !is_true(self.config, &["cluster", "discovery", "enabled"]) && self.schema.document("DiscoveryServiceConfig").is_none() {
                return self.rule(&path, "machine.network.kubespan", "it needs `cluster.discovery.enabled: true`");
            }
            if text(self.config, &["cluster", "id"]).is_empty() || text(self.config, &["cluster", "secret"]).is_empty() {
                return self.rule(&path, "machine.network.kubespan", "it needs `cluster.id` and `cluster.secret`");
            }
        }
        None
    }
}

fn in_document(document: &Node, config: Option<&Node>) -> Option<Broken> {
    let id = DocumentId::of(document);
    let broken = |path, rule| Some(Broken { place: document.place, path, rule });
    match id.kind.as_str() {
        "HostnameConfig" => {
            let (hostname, auto) = (text(document, &["hostname"]), text(document, &["auto"]));
            if hostname.is_empty() && auto.is_empty() {
                return broken("HostnameConfig", "it has neither `hostname` nor `auto`");
            }
            if !hostname.is_empty() && !matches!(auto, "" | "off") {
                return broken("HostnameConfig.auto", "it has to be `off` beside `hostname`");
            }
            let first = hostname.split('.').next().unwrap_or_default();
            if !hostname.is_empty() && (hostname.len() > 253 || first.is_empty() || first.len() > 63) {
                return broken("HostnameConfig.hostname", "it is longer than a host name may be");
            }
            if config.is_some_and(|config| !text(config, &["machine", "network", "hostname"]).is_empty()) {
                return broken("HostnameConfig", "`machine.network.hostname` is set as well");
            }
            None
        }
        "KmsgLogConfig" => {
            let url = text(document, &["url"]);
            let Some(rest) = url.strip_prefix("tcp://").or_else(|| url.strip_prefix("udp://")) else {
                return broken("KmsgLogConfig.url", "it begins with `tcp://` or `udp://`");
            };
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            if !path.is_empty() {
                return broken("KmsgLogConfig.url", "it has no path");
            }
            if port(authority).is_none() { broken("KmsgLogConfig.url", "it needs a port") } else { None }
        }
        "EventSinkConfig" if port(text(document, &["endpoint"])).is_none() => broken("EventSinkConfig.endpoint", "it is `HOST:PORT`"),
        "ExtensionServiceConfig" => {
            let list = |key: &str| document.at(&[key]).map(Node::items).unwrap_or_default();
            if id.name.is_empty() {
                return broken("ExtensionServiceConfig.name", "it is missing");
            }
            if list("configFiles").is_empty() && list("environment").is_empty() {
                return broken("ExtensionServiceConfig", "it has neither `configFiles` nor `environment`");
            }
            let empty = |file: &Node| text(file, &["content"]).is_empty() || text(file, &["mountPath"]).is_empty();
            if list("configFiles").iter().any(empty) {
                return broken("ExtensionServiceConfig.configFiles", "a file has no `content` or no `mountPath`");
            }
            None
        }
        _ => None,
    }
}

fn port(authority: &str) -> Option<&str> {
    let (_, port) = authority.rsplit_once(':')?;
    (!port.is_empty() && !port.ends_with(']') && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(port)
}
