//! What Fairlead adds to a node's config.

use std::collections::BTreeMap;

use super::document::{DocumentId, V1ALPHA1};
use super::labels;
use super::schema::{Contract, Schema};
use super::yaml::{Node, Place, Scalar, Value};
use crate::secret::Secret;
use crate::wire::Name;

/// What Fairlead adds to a node's config: nothing that nobody asked for, but for the host name and the root.
#[derive(Debug)]
pub struct Additions<'a> {
    /// The node's host name.
    pub hostname: &'a Name,
    /// The cloud's root certificate in PEM, where the boot plane has a CA of its own.
    pub root_pem: Option<&'a str>,
    /// How the node joins a tailnet.
    pub tailscale: Option<Tailscale<'a>>,
    /// `tcp://HOST:PORT` or `udp://HOST:PORT`, where the installed system sends its kernel log.
    pub kernel_log: Option<&'a str>,
    /// `HOST:PORT`, where the installed system sends its events.
    pub event_sink: Option<&'a str>,
    /// Whether GRUB takes the command line of the image rather than that of this boot, which holds a token.
    pub grub_use_uki_cmdline: bool,
    /// The installer image of the release that the cluster pins.
    pub installer_image: Option<&'a str>,
    /// Labels of the Kubernetes node.
    pub node_labels: &'a BTreeMap<String, String>,
    /// Taints of the Kubernetes node, `VALUE:EFFECT` by key.
    pub node_taints: &'a BTreeMap<String, String>,
}

/// How a node joins a tailnet: the environment of the Tailscale extension.
#[derive(Debug, Default)]
pub struct Tailscale<'a> {
    /// The key, made for this node.
    pub auth_key: Option<&'a Secret>,
    /// The control server, where it is not Tailscale's own.
    pub login_server: Option<&'a str>,
    /// Networks that the node offers a way to.
    pub routes: &'a [String],
    /// Further arguments of `tailscale up`.
    pub extra_arguments: &'a [String],
    /// Whether the node takes its DNS from the tailnet.
    pub accept_dns: bool,
}

impl<'a> Additions<'a> {
    /// Nothing but the host name.
    #[must_use]
    pub fn named(hostname: &'a Name) -> Self {
        static NOTHING: BTreeMap<String, String> = BTreeMap::new();
        Self {
            hostname,
            root_pem: None,
            tailscale: None,
            kernel_log: None,
            event_sink: None,
            grub_use_uki_cmdline: false,
            installer_image: None,
            node_labels: &NOTHING,
            node_taints: &NOTHING,
        }
    }

    /// The documents to be laid over the config, for a release and a node's type.
    ///
    /// # Errors
    /// When one would not be taken; in words.
    pub(super) fn documents(
        &self,
        contract: Contract,
        is_control_plane: bool,
        named_the_old_way: bool,
        place: Place,
    ) -> Result<Vec<Node>, String> {
        let text = |text: &str| Node::string(text, place);
        let mut documents = Vec::new();
        let mut machine: Vec<(&str, Node)> = Vec::new();
        let mut install = Vec::new();
        if self.grub_use_uki_cmdline {
            // 1.12 and later know it; before there is nothing to set.
            if contract.is_at_least(12) {
                install.push(("grubUseUKICmdline", Node::scalar(Scalar::plain("true"), place)));
            }
        }
        if let Some(image) = self.installer_image {
            install.push(("image", text(image)));
        }
        if !install.is_empty() {
            machine.push(("install", Node::mapping(install, place)));
        }
        let has_document = contract.is_at_least(12) && !named_the_old_way;
        if !has_document {
            machine.push(("network", Node::mapping(vec![("hostname", text(self.hostname.as_str()))], place)));
        }
        labels::check(self.node_labels, self.node_taints, is_control_plane)?;
        for (key, pairs) in [("nodeLabels", self.node_labels), ("nodeTaints", self.node_taints)] {
            if !pairs.is_empty() {
                machine.push((key, Node::mapping(pairs.iter().map(|(key, value)| (key.as_str(), text(value))).collect(), place)));
            }
        }
        if !machine.is_empty() {
            documents.push(Node::mapping(vec![("version", text(V1ALPHA1)), ("machine", Node::mapping(machine, place))], place));
        }
        let document = |kind: &str, rest: Vec<(&str, Node)>| {
            let mut entries = vec![("apiVersion", text(V1ALPHA1)), ("kind", text(kind))];
            entries.extend(rest);
            Node::mapping(entries, place)
        };
        if has_document {
            // `auto: off` is needed beside `hostname`: configs generated since 1.12 carry `auto: stable`.
            documents.push(document(
                "HostnameConfig",
                vec![("hostname", text(self.hostname.as_str())), ("auto", Node::scalar(Scalar::plain("off"), place))],
            ));
        }
        if let Some(pem) = self.root_pem {
            // Without it Talos would not believe a boot plane with a private CA.
            documents.push(document("TrustedRootsConfig", vec![("name", text("fairlead")), ("certificates", text(pem.trim_end()))]));
        }
        if let Some(url) = self.kernel_log {
            documents.push(document("KmsgLogConfig", vec![("name", text("fairlead")), ("url", text(url))]));
        }
        if let Some(endpoint) = self.event_sink {
            documents.push(document("EventSinkConfig", vec![("endpoint", text(endpoint))]));
        }
        if let Some(tailscale) = &self.tailscale {
            let environment = tailscale.environment(self.hostname)?;
            let environment = Node::sequence(environment.iter().map(|pair| text(pair)).collect(), place);
            documents.push(document("ExtensionServiceConfig", vec![("name", text("tailscale")), ("environment", environment)]));
        }
        Ok(documents)
    }
}

impl Tailscale<'_> {
    /// `TS_AUTH_ONCE`: without it every restart logs in again, and a key that has expired since locks the node out.
    fn environment(&self, hostname: &Name) -> Result<Vec<String>, String> {
        let mut environment = Vec::new();
        if let Some(key) = self.auth_key {
            let key = key.expose_str().filter(|key| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic()));
            environment.push(format!("TS_AUTHKEY={}", key.ok_or("the Tailscale key is no key: it is empty, or has blanks in it")?));
        }
        environment.push(format!("TS_HOSTNAME={hostname}"));
        environment.push("TS_AUTH_ONCE=true".to_owned());
        if !self.routes.is_empty() {
            environment.push(format!("TS_ROUTES={}", self.routes.join(",")));
        }
        if self.accept_dns {
            environment.push("TS_ACCEPT_DNS=true".to_owned());
        }
        let mut arguments = Vec::new();
        if let Some(server) = self.login_server {
            arguments.push(format!("--login-server={server}"));
        }
        arguments.extend(self.extra_arguments.iter().cloned());
        if arguments.iter().chain(self.routes).any(|argument| argument.contains(char::is_whitespace)) {
            return Err(
                "an argument, route or login server of Tailscale has a blank in it, and the extension would take it for two".to_owned()
            );
        }
        if !arguments.is_empty() {
            environment.push(format!("TS_EXTRA_ARGS={}", arguments.join(" ")));
        }
        Ok(environment)
    }
}

/// Of variables that an extension service has twice, as after a merge, the last: which of two counts is the container runtime's affair.
pub(super) fn settle_environment(documents: &mut [Node], schema: &Schema) {
    for document in documents {
        let id = DocumentId::of(document).identity(schema);
        if id.kind != "ExtensionServiceConfig" || id.name != "tailscale" {
            continue;
        }
        let Some(Value::Sequence(environment)) =
            document.as_mapping_mut().and_then(|mapping| mapping.get_mut("environment")).map(|node| &mut node.value)
        else {
            continue;
        };
        let name = |node: &Node| node.as_scalar().and_then(|scalar| scalar.value().split_once('=')).map(|(name, _)| name.to_owned());
        let mut seen: Vec<String> = Vec::new();
        let mut kept: Vec<Node> = Vec::new();
        for item in environment.items.drain(..).rev() {
            match name(&item) {
                Some(name) if seen.contains(&name) => {}
                Some(name) => {
                    seen.push(name);
                    kept.push(item);
                }
                None => kept.push(item),
            }
        }
        kept.reverse();
        environment.items = kept;
    }
}
