use crate::cloud::machine_config::schema::Contract;
use crate::cloud::machine_config::yaml::{Node, Place, Scalar};

/// What a node is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeType {
    /// Runs work.
    Worker,
    /// Runs the control plane.
    ControlPlane,
}

impl NodeType {
    /// As `machine.type` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::ControlPlane => "controlplane",
        }
    }
}

/// The secrets of a cluster, as `talosctl gen secrets` writes them. It does not print them.
#[derive(Debug)]
pub struct SecretsBundle(Node);

/// What a base config is generated from, beside the secrets.
#[derive(Clone, Debug)]
pub struct Generated<'a> {
    /// The release that the config is for.
    pub contract: Contract,
    /// The cluster's name.
    pub cluster: &'a str,
    /// The URL of the Kubernetes API.
    pub endpoint: &'a str,
    /// The Kubernetes release, such as `1.34.1`.
    pub kubernetes: &'a str,
    /// The disk to install to.
    pub install_disk: &'a str,
    /// The installer image.
    pub install_image: &'a str,
}

/// Why no base config can be made of a bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// It lacks a secret.
    #[error("the secrets bundle has no `{0}`; `talosctl gen secrets` writes it")]
    Missing(&'static str),
    /// It is no bundle.
    #[error("it is no secrets bundle: `talosctl gen secrets` writes one")]
    NotABundle,
}

/// Paths of a bundle's secrets, with the dots that an error has.
const SECRETS: [(&str, [&str; 3]); 11] = [
    ("cluster.id", ["cluster", "id", ""]),
    ("cluster.secret", ["cluster", "secret", ""]),
    ("secrets.bootstraptoken", ["secrets", "bootstraptoken", ""]),
    ("trustdinfo.token", ["trustdinfo", "token", ""]),
    ("certs.etcd.crt", ["certs", "etcd", "crt"]),
    ("certs.k8s.crt", ["certs", "k8s", "crt"]),
    ("certs.k8s.key", ["certs", "k8s", "key"]),
    ("certs.k8saggregator.crt", ["certs", "k8saggregator", "crt"]),
    ("certs.k8sserviceaccount.key", ["certs", "k8sserviceaccount", "key"]),
    ("certs.os.crt", ["certs", "os", "crt"]),
    ("certs.os.key", ["certs", "os", "key"]),
];

impl SecretsBundle {
    /// Takes the one document of a bundle.
    ///
    /// # Errors
    /// When it lacks something that a config needs.
    pub fn read(documents: &[Node]) -> Result<Self, GenerateError> {
        let [bundle] = documents else { return Err(GenerateError::NotABundle) };
        if !is_bundle(bundle) {
            return Err(GenerateError::NotABundle);
        }
        for (name, path) in SECRETS {
            let path: Vec<&str> = path.into_iter().filter(|step| !step.is_empty()).collect();
            if bundle.text_at(&path).is_none_or(str::is_empty) {
                return Err(GenerateError::Missing(name));
            }
        }
        Ok(Self(bundle.clone()))
    }

    /// The base config that `talosctl gen config` makes of these secrets. For 1.14 and later it is that of 1.13, which they take.
    #[must_use]
    pub fn config(&self, of: &Generated<'_>, node_type: NodeType) -> Vec<Node> {
        let build = Build { bundle: &self.0, of, modern: of.contract.is_at_least(12) };
        let is_control_plane = node_type == NodeType::ControlPlane;
        let mut config = vec![
            ("version", build.text("v1alpha1")),
            ("debug", build.plain("false")),
            ("persist", build.plain("true")),
            ("machine", build.machine(node_type)),
        ];
        config.push(("cluster", if is_control_plane { build.control_plane_cluster() } else { build.worker_cluster() }));
        let mut documents = vec![Node::mapping(config, PLACE)];
        if build.modern {
            documents.push(Node::mapping(
                vec![("apiVersion", build.text("v1alpha1")), ("kind", build.text("HostnameConfig")), ("auto", build.text("stable"))],
                PLACE,
            ));
        }
        documents
    }
}

pub(super) fn is_bundle(document: &Node) -> bool {
    ["trustdinfo", "certs", "secrets"].iter().all(|key| document.at(&[key]).is_some_and(|value| value.as_mapping().is_some()))
}

const PLACE: Place = Place { source: 0, line: 0, column: 0 };

struct Build<'a> {
    bundle: &'a Node,
    of: &'a Generated<'a>,
    /// 1.12 and later: host name in a document of its own, and defaults left out.
    modern: bool,
}

impl Build<'_> {
    fn text(&self, text: &str) -> Node {
        Node::string(text, PLACE)
    }

    fn plain(&self, text: &str) -> Node {
        Node::scalar(Scalar::plain(text), PLACE)
    }

    fn secret(&self, path: &[&str]) -> Node {
        self.text(self.bundle.text_at(path).unwrap_or_default())
    }

    fn pair(&self, name: &str, with_key: bool) -> Node {
        let key = if with_key { self.secret(&["certs", name, "key"]) } else { self.text("") };
        Node::mapping(vec![("crt", self.secret(&["certs", name, "crt"])), ("key", key)], PLACE)
    }

    fn list(&self, texts: &[&str]) -> Node {
        Node::sequence(texts.iter().map(|text| self.text(text)).collect(), PLACE)
    }

    fn image(&self, name: &str) -> Node {
        Node::mapping(vec![("image", self.text(&format!("{name}:v{}", self.of.kubernetes.trim_start_matches('v'))))], PLACE)
    }

    fn machine(&self, node_type: NodeType) -> Node {
        let is_control_plane = node_type == NodeType::ControlPlane;
        let kubelet = Node::mapping(
            vec![
                ("image", self.text(&format!("ghcr.io/siderolabs/kubelet:v{}", self.of.kubernetes.trim_start_matches('v')))),
                ("defaultRuntimeSeccompProfileEnabled", self.plain("true")),
                ("disableManifestsDirectory", self.plain("true")),
            ],
            PLACE,
        );
        let mut install =
            vec![("disk", self.text(self.of.install_disk)), ("image", self.text(self.of.install_image)), ("wipe", self.plain("false"))];
        let mut features = vec![("diskQuotaSupport", self.plain("true"))];
        if self.modern {
            install.push(("grubUseUKICmdline", self.plain("true")));
        } else {
            features.extend([
                ("rbac", self.plain("true")),
                ("stableHostname", self.plain("true")),
                ("apidCheckExtKeyUsage", self.plain("true")),
            ]);
        }
        features.push(("kubePrism", Node::mapping(vec![("enabled", self.plain("true")), ("port", self.plain("7445"))], PLACE)));
        let dns = vec![("enabled", self.plain("true")), ("forwardKubeDNSToHost", self.plain("true"))];
        features.push(("hostDNS", Node::mapping(dns, PLACE)));
        let mut machine = vec![
            ("type", self.text(node_type.as_str())),
            ("token", self.secret(&["trustdinfo", "token"])),
            ("ca", self.pair("os", is_control_plane)),
            ("certSANs", self.list(&[])),
            ("kubelet", kubelet),
            ("install", Node::mapping(install, PLACE)),
            ("features", Node::mapping(features, PLACE)),
        ];
        if !self.of.contract.is_at_least(13) {
            machine.push(("network", Node::mapping(Vec::new(), PLACE)));
        }
        if is_control_plane {
            machine.push((
                "nodeLabels",
                Node::mapping(vec![("node.kubernetes.io/exclude-from-external-load-balancers", self.text(""))], PLACE),
            ));
        }
        Node::mapping(machine, PLACE)
    }

    fn cluster(&self) -> Vec<(&'static str, Node)> {
        let network = vec![
            ("dnsDomain", self.text("cluster.local")),
            ("podSubnets", self.list(&["10.244.0.0/16"])),
            ("serviceSubnets", self.list(&["10.96.0.0/12"])),
        ];
        let registries = Node::mapping(
            vec![
                ("kubernetes", Node::mapping(vec![("disabled", self.plain("true"))], PLACE)),
                ("service", Node::mapping(Vec::new(), PLACE)),
            ],
            PLACE,
        );
        vec![
            ("id", self.secret(&["cluster", "id"])),
            ("secret", self.secret(&["cluster", "secret"])),
            ("controlPlane", Node::mapping(vec![("endpoint", self.text(self.of.endpoint))], PLACE)),
            ("clusterName", self.text(self.of.cluster)),
            ("network", Node::mapping(network, PLACE)),
            ("token", self.secret(&["secrets", "bootstraptoken"])),
            ("discovery", Node::mapping(vec![("enabled", self.plain("true")), ("registries", registries)], PLACE)),
        ]
    }

    fn worker_cluster(&self) -> Node {
        let mut cluster = self.cluster();
        cluster.push(("ca", self.pair("k8s", false)));
        Node::mapping(cluster, PLACE)
    }

    fn control_plane_cluster(&self) -> Node {
        let mut cluster = self.cluster();
        if let Some(secretbox) = self.bundle.text_at(&["secrets", "secretboxencryptionsecret"]) {
            cluster.push(("secretboxEncryptionSecret", self.text(secretbox)));
        }
        cluster.push(("ca", self.pair("k8s", true)));
        cluster.push(("aggregatorCA", self.pair("k8saggregator", true)));
        cluster.push(("serviceAccount", Node::mapping(vec![("key", self.secret(&["certs", "k8sserviceaccount", "key"]))], PLACE)));
        cluster.push(("apiServer", self.api_server()));
        cluster.push(("controllerManager", self.image("registry.k8s.io/kube-controller-manager")));
        cluster.push(("proxy", self.image("registry.k8s.io/kube-proxy")));
        cluster.push(("scheduler", self.image("registry.k8s.io/kube-scheduler")));
        cluster.push(("etcd", Node::mapping(vec![("ca", self.pair("etcd", true))], PLACE)));
        cluster.push(("extraManifests", self.list(&[])));
        cluster.push(("inlineManifests", self.list(&[])));
        Node::mapping(cluster, PLACE)
    }

    fn api_server(&self) -> Node {
        let mut server =
            vec![("image", self.text(&format!("registry.k8s.io/kube-apiserver:v{}", self.of.kubernetes.trim_start_matches('v'))))];
        if !self.modern {
            let host = self.of.endpoint.split_once("://").map_or(self.of.endpoint, |(_, rest)| rest);
            let host = host.split('/').next().unwrap_or_default();
            let host = match host.strip_prefix('[') {
                Some(rest) => rest.split(']').next().unwrap_or_default(),
                None => host.split(':').next().unwrap_or_default(),
            };
            server.push(("certSANs", self.list(&[host])));
            server.push(("disablePodSecurityPolicy", self.plain("true")));
        }
        let levels = ["enforce", "audit", "warn"].map(|mode| (mode, if mode == "enforce" { "baseline" } else { "restricted" }));
        let mut defaults = Vec::new();
        for (mode, level) in levels {
            defaults.push((mode, self.text(level)));
        }
        for version in ["enforce-version", "audit-version", "warn-version"] {
            defaults.push((version, self.text("latest")));
        }
        let exemptions =
            vec![("namespaces", self.list(&["kube-system"])), ("runtimeClasses", self.list(&[])), ("usernames", self.list(&[]))];
        let configuration = vec![
            ("apiVersion", self.text("pod-security.admission.config.k8s.io/v1alpha1")),
            ("kind", self.text("PodSecurityConfiguration")),
            ("defaults", Node::mapping(defaults, PLACE)),
            ("exemptions", Node::mapping(exemptions, PLACE)),
        ];
        let plugin = Node::mapping(vec![("name", self.text("PodSecurity")), ("configuration", Node::mapping(configuration, PLACE))], PLACE);
        server.push(("admissionControl", Node::sequence(vec![plugin], PLACE)));
        let rule = Node::mapping(vec![("level", self.text("Metadata"))], PLACE);
        let policy =
            vec![("apiVersion", self.text("audit.k8s.io/v1")), ("kind", self.text("Policy")), ("rules", Node::sequence(vec![rule], PLACE))];
        server.push(("auditPolicy", Node::mapping(policy, PLACE)));
        Node::mapping(server, PLACE)
    }
}
