use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Output, table};
use crate::cloud::machine_config::import::{Generated, NodeType, SecretsBundle, Severity, inspect};
use crate::cloud::machine_config::schema::Contract;
use crate::cloud::machine_config::yaml::{self, Budget, Node, write};
use crate::cloud::machine_config::{
    Additions, ConfigError, Fact, Facts, Layer, Level, Plan, Rendered, Source, Tailscale, contract_of_text, diff, explain, hide_secrets,
};
use crate::command_line::say;
use crate::failure::{Failure, Result};
use crate::secret::Secret;
use crate::wire::Name;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Render a node's machine config from a base config and patches
    Render(Render),
    /// Render the configs of many nodes, and say which of them can't be
    DryRun(DryRun),
    /// Say what differs between two machine configs
    Diff {
        /// A machine config
        left: PathBuf,
        /// Another one
        right: PathBuf,
        /// How to answer
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Look at machine configs, secrets bundles and patches, and say what is missing or unwise
    Inspect(Inspect),
    /// Write the base config that `talosctl gen config` makes of a secrets bundle
    Generate(Generate),
}

/// The layers of a config.
#[derive(Debug, Args)]
struct Layers {
    /// Machine config of a worker or control-plane node, as `talosctl gen config` writes it
    #[arg(long, value_name = "FILE")]
    base: PathBuf,
    /// A patch, strategic merge or RFC 6902, and its level: cluster, site, class or node. A name may follow the level: site:berlin=FILE
    #[arg(long = "patch", value_name = "LEVEL=FILE", value_parser = layer_argument)]
    patches: Vec<LayerArgument>,
    /// A patch in whose values `{{ name }}` stands for a fact of the node
    #[arg(long = "template", value_name = "LEVEL=FILE", value_parser = layer_argument)]
    templates: Vec<LayerArgument>,
    /// Talos release, such as 1.13 [default: that of the base's installer image, else the newest known]
    #[arg(long, value_name = "RELEASE")]
    talos: Option<Contract>,
}

/// What Fairlead adds.
#[derive(Debug, Args)]
struct Added {
    /// Root certificate in PEM that the node is to trust
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// File that holds a Tailscale auth key
    #[arg(long, value_name = "FILE")]
    tailscale_auth_key_file: Option<PathBuf>,
    /// Control server of the tailnet, where it is not Tailscale's own
    #[arg(long, value_name = "URL", requires = "tailscale_auth_key_file")]
    login_server: Option<String>,
    /// A network that the node offers the tailnet a way to
    #[arg(long = "route", value_name = "NETWORK", requires = "tailscale_auth_key_file")]
    routes: Vec<String>,
    /// A further argument of `tailscale up`
    #[arg(long = "tailscale-argument", value_name = "ARGUMENT", requires = "tailscale_auth_key_file", allow_hyphen_values = true)]
    arguments: Vec<String>,
    /// Take DNS from the tailnet
    #[arg(long, requires = "tailscale_auth_key_file")]
    accept_dns: bool,
    /// Where the kernel log goes: tcp://HOST:PORT or udp://HOST:PORT
    #[arg(long, value_name = "URL")]
    kernel_log: Option<String>,
    /// Where events go: HOST:PORT
    #[arg(long, value_name = "HOST:PORT")]
    event_sink: Option<String>,
    /// Let GRUB take the command line of the image
    #[arg(long)]
    grub_use_uki_cmdline: bool,
    /// Installer image
    #[arg(long, value_name = "IMAGE")]
    installer_image: Option<String>,
    /// A label of the Kubernetes node
    #[arg(long = "node-label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// A taint of the Kubernetes node
    #[arg(long = "node-taint", value_name = "KEY=VALUE:EFFECT", value_parser = pair)]
    taints: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(super) struct Render {
    #[command(flatten)]
    layers: Layers,
    #[command(flatten)]
    added: Added,
    /// Host name [default: the fact `hostname`]
    #[arg(long, value_name = "NAME")]
    hostname: Option<Name>,
    /// Facts of the node: a YAML file with a name and a value a line
    #[arg(long = "node", value_name = "FILE")]
    node: Option<PathBuf>,
    /// One fact of the node
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    facts: Vec<(String, String)>,
    /// Say for every line which layer gave it; secrets are hidden
    #[arg(long)]
    explain: bool,
    /// Hide secrets
    #[arg(long, conflicts_with = "explain")]
    hide_secrets: bool,
}

#[derive(Debug, Args)]
pub(super) struct DryRun {
    #[command(flatten)]
    layers: Layers,
    #[command(flatten)]
    added: Added,
    /// Facts of the nodes: YAML, one document a node, with a name and a value a line
    #[arg(long, value_name = "FILE")]
    nodes: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Machine configs, secrets bundles, patches, talosconfig, kubeconfig
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Talos release, such as 1.13 [default: that of the installer image]
    #[arg(long, value_name = "RELEASE")]
    talos: Option<Contract>,
    /// The nodes join no tailnet
    #[arg(long)]
    no_tailnet: bool,
    /// How to answer
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Generate {
    /// Secrets bundle, as `talosctl gen secrets` writes it
    #[arg(long, value_name = "FILE")]
    secrets: PathBuf,
    /// The cluster's name
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// URL of the Kubernetes API; on a tailnet, the control plane's address there
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// Write the config of a control-plane node, and not of a worker
    #[arg(long)]
    control_plane: bool,
    /// Talos release
    #[arg(long, value_name = "RELEASE")]
    talos: Contract,
    /// Kubernetes release, such as 1.34.1
    #[arg(long, value_name = "VERSION")]
    kubernetes: String,
    /// Disk to install to
    #[arg(long, value_name = "DEVICE", default_value = "/dev/sda")]
    install_disk: String,
    /// Installer image
    #[arg(long, value_name = "IMAGE")]
    installer_image: String,
}

/// `LEVEL=FILE` or `LEVEL:NAME=FILE`.
#[derive(Clone, Debug)]
struct LayerArgument {
    level: Level,
    name: String,
    file: PathBuf,
}

fn layer_argument(text: &str) -> Result<LayerArgument, String> {
    let (level, file) = text.split_once('=').ok_or("write LEVEL=FILE")?;
    let (level, name) = level.split_once(':').unwrap_or((level, ""));
    let level = [Level::Cluster, Level::Site, Level::Class, Level::Node]
        .into_iter()
        .find(|known| known.as_str() == level)
        .ok_or("the level is cluster, site, class or node")?;
    Ok(LayerArgument { level, name: name.to_owned(), file: file.into() })
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl ConfigCommand {
    pub(super) fn run(self) -> Result<()> {
        match self {
            Self::Render(render) => render.run(),
            Self::DryRun(run) => run.run(),
            Self::Diff { left, right, output } => run_diff(&left, &right, output),
            Self::Inspect(inspect) => inspect.run(),
            Self::Generate(generate) => generate.run(),
        }
    }
}

impl Layers {
    fn plan(&self) -> Result<Plan> {
        let base = read(&self.base)?;
        let base_source = Source { level: Level::Base, name: String::new(), file: self.base.display().to_string() };
        let contract = match self.talos {
            Some(contract) => contract,
            None => contract_of_text(&base, &base_source).map_err(|error| failure(&error))?,
        };
        let mut layers = vec![Layer { source: base_source, text: base, template: false }];
        let arguments = self.patches.iter().map(|patch| (patch, false)).chain(self.templates.iter().map(|patch| (patch, true)));
        for (argument, template) in arguments {
            let source = Source { level: argument.level, name: argument.name.clone(), file: argument.file.display().to_string() };
            layers.push(Layer { source, text: read(&argument.file)?, template });
        }
        // Of one level, as they were named.
        layers.sort_by_key(|layer| layer.source.level);
        Plan::new(contract, &layers).map_err(|error| failure(&error))
    }
}

/// What is read from files for [`Additions`], which borrow it.
struct Read {
    root: Option<String>,
    key: Option<Secret>,
    labels: BTreeMap<String, String>,
    taints: BTreeMap<String, String>,
}

impl Added {
    fn read(&self) -> Result<Read> {
        let root = match &self.root {
            Some(path) => Some(
                read(path)?
                    .expose_str()
                    .map(str::to_owned)
                    .ok_or_else(|| Failure::new(format!("`{}` is not text", path.display())).hint("name a certificate in PEM"))?,
            ),
            None => None,
        };
        let key = match &self.tailscale_auth_key_file {
            Some(path) => Some(Secret::from(read(path)?.expose_str().unwrap_or_default().trim().to_owned())),
            None => None,
        };
        Ok(Read { root, key, labels: self.labels.iter().cloned().collect(), taints: self.taints.iter().cloned().collect() })
    }

    fn additions<'a>(&'a self, read: &'a Read, hostname: &'a Name) -> Additions<'a> {
        Additions {
            hostname,
            root_pem: read.root.as_deref(),
            tailscale: read.key.as_ref().map(|key| Tailscale {
                auth_key: Some(key),
                login_server: self.login_server.as_deref(),
                routes: &self.routes,
                extra_arguments: &self.arguments,
                accept_dns: self.accept_dns,
            }),
            kernel_log: self.kernel_log.as_deref(),
            event_sink: self.event_sink.as_deref(),
            grub_use_uki_cmdline: self.grub_use_uki_cmdline,
            installer_image: self.installer_image.as_deref(),
            node_labels: &read.labels,
            node_taints: &read.taints,
        }
    }
}

impl Render {
    fn run(self) -> Result<()> {
        let plan = self.layers.plan()?;
        let mut facts = match &self.node {
            Some(path) => nodes(path)?.into_iter().next().unwrap_or_default(),
            None => Facts::default(),
        };
        for (name, value) in &self.facts {
            facts.set(name, Fact::Text(value.clone()));
        }
        let hostname = hostname(self.hostname.as_ref(), &facts)?;
        facts.set_text("hostname", hostname.as_str());
        let read = self.added.read()?;
        let rendered = plan.render(&facts, &self.added.additions(&read, &hostname)).map_err(|error| failure(&error))?;
        self.show(rendered)
    }

    fn show(&self, mut rendered: Rendered) -> Result<()> {
        if self.explain {
            let lines = explain(&rendered);
            let widest = lines.iter().map(|line| line.from.len()).max().unwrap_or_default();
            return lines.iter().try_for_each(|line| say(format!("{:widest$}  | {}", line.from, line.text).trim_end()));
        }
        if self.hide_secrets {
            rendered.documents.iter_mut().for_each(hide_secrets);
            return say(write(&rendered.documents).text.trim_end());
        }
        say(rendered.text.expose_str().unwrap_or_default().trim_end())
    }
}

impl DryRun {
    fn run(self) -> Result<()> {
        let plan = self.layers.plan()?;
        let nodes = nodes(&self.nodes)?;
        let names = nodes.iter().map(|facts| hostname(None, facts)).collect::<Result<Vec<_>>>()?;
        let read = self.added.read()?;
        let each = nodes.iter().zip(&names).map(|(facts, name)| (facts, self.added.additions(&read, name)));
        let failures = plan.failures(each);
        for (index, error) in &failures {
            let name = names.get(*index).map(Name::as_str).unwrap_or_default();
            say(&format!("{name}: {error}"))?;
        }
        say(&format!("{} of {} configs rendered for Talos {}", nodes.len().saturating_sub(failures.len()), nodes.len(), plan.contract()))?;
        if failures.is_empty() {
            return Ok(());
        }
        Err(Failure::new(format!("{} nodes would get no config", failures.len())).hint("each is named above, with the layer at fault"))
    }
}

fn run_diff(left: &Path, right: &Path, output: Output) -> Result<()> {
    let differences = diff(&documents(left)?, &documents(right)?);
    if output == Output::Json {
        let values: Vec<_> = differences
            .iter()
            .map(|difference| {
                json!({
                    "document": difference.document.to_string(), "path": difference.path, "left": difference.left, "right": difference.right,
                })
            })
            .collect();
        return table::write_json(&values);
    }
    for difference in &differences {
        say(format!("{} {}", difference.document, difference.path).trim_end())?;
        for (sign, value) in [('-', &difference.left), ('+', &difference.right)] {
            if let Some(value) = value {
                say(&format!("  {sign} {value}"))?;
            }
        }
    }
    if differences.is_empty() { say("they say the same") } else { Ok(()) }
}

impl Inspect {
    fn run(self) -> Result<()> {
        let mut wrong = 0_usize;
        let mut values = Vec::new();
        for file in &self.files {
            let (found, findings) = inspect(&documents(file)?, self.talos, !self.no_tailnet);
            wrong = wrong.saturating_add(findings.iter().filter(|finding| finding.severity == Severity::Wrong).count());
            if self.output == Output::Json {
                for finding in &findings {
                    values.push(json!({
                        "file": file, "found": format!("{found:?}"), "severity": format!("{:?}", finding.severity).to_lowercase(),
                        "line": finding.place.line, "text": finding.text,
                    }));
                }
                continue;
            }
            let name = file.display();
            say(&format!("{name}: {}", described(found)))?;
            for finding in &findings {
                let severity = match finding.severity {
                    Severity::Note => "note",
                    Severity::Unwise => "unwise",
                    Severity::Wrong => "wrong",
                };
                let place = if finding.place.line > 0 { format!("{name}:{}", finding.place.line) } else { name.to_string() };
                say(&format!("  {severity}: {place}: {}", finding.text))?;
            }
        }
        if self.output == Output::Json {
            table::write_json(&values)?;
        }
        if wrong == 0 { Ok(()) } else { Err(Failure::new(format!("{wrong} things are wrong")).hint("each is named above")) }
    }
}

const fn described(found: crate::cloud::machine_config::import::Found) -> &'static str {
    use crate::cloud::machine_config::import::Found;
    match found {
        Found::Worker => "machine config of a worker",
        Found::ControlPlane => "machine config of a control-plane node",
        Found::Secrets => "secrets bundle",
        Found::TalosConfig => "talosconfig, the way to the Talos API",
        Found::KubeConfig => "kubeconfig, the way to the Kubernetes API",
        Found::Patch => "patch",
        Found::Unknown => "nothing that is known here",
    }
}

impl Generate {
    fn run(self) -> Result<()> {
        let file = self.secrets.display();
        let bundle = SecretsBundle::read(&documents(&self.secrets)?)
            .map_err(|error| Failure::new(format!("cannot use `{file}`")).cause(&error).hint("write one with `talosctl gen secrets`"))?;
        let generated = Generated {
            contract: self.talos,
            cluster: &self.cluster,
            endpoint: &self.endpoint,
            kubernetes: &self.kubernetes,
            install_disk: &self.install_disk,
            install_image: &self.installer_image,
        };
        let node_type = if self.control_plane { NodeType::ControlPlane } else { NodeType::Worker };
        say(write(&bundle.config(&generated, node_type)).text.trim_end())
    }
}

/// The one that was given, or the fact.
fn hostname(given: Option<&Name>, facts: &Facts) -> Result<Name> {
    if let Some(name) = given {
        return Ok(name.clone());
    }
    let text = facts
        .text("hostname")
        .ok_or_else(|| Failure::new("a node has no host name").hint("give it with --hostname, or as the fact `hostname`"))?;
    text.parse().map_err(|error| Failure::new("a host name is none").cause(&error))
}

/// The facts of nodes, a document each.
fn nodes(path: &Path) -> Result<Vec<Facts>> {
    let documents = documents(path)?;
    let facts = |document: &Node| {
        Facts::read(document).map_err(|place| {
            Failure::new(format!("{}:{}: the facts of a node are a mapping of names and values", path.display(), place.line))
                .hint("write a line such as `rack: r12` for each fact, and `---` between nodes")
        })
    };
    documents.iter().map(facts).collect()
}

fn documents(path: &Path) -> Result<Vec<Node>> {
    let text = read(path)?;
    yaml::read(text.expose(), 0, Budget::default()).map_err(|error| {
        Failure::new(format!("{}:{}:{}: {error}", path.display(), error.place.line, error.place.column))
            .hint("put the file in order; `talosctl gen config` writes a good one")
    })
}

fn failure(error: &ConfigError) -> Failure {
    Failure::new(error.to_string()).hint(error.hint())
}

/// Reads a file up to a little more than is taken, so that one of any size is refused and not read into memory.
fn read(path: &Path) -> Result<Secret> {
    let most = u64::try_from(Budget::default().octets).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    read.map_err(|error| Failure::new(format!("cannot read `{}`", path.display())).cause(&error))?;
    Ok(Secret::new(bytes))
}
