//! The edge's configuration file, `edge.toml`.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::command_line::LogFormat;
use crate::config_file::Source;
use crate::edge::dhcp;
use crate::edge::dhcp::config::{BootSection, ClassSection, DhcpConfig, DhcpSection, InterfaceSection, Sections, SubnetSection};
use crate::failure::Failure;

/// Where the configuration is when nobody names another file.
pub const DEFAULT_PATH: &str = "/etc/fairlead/edge.toml";

/// The configuration of an edge box.
#[derive(Debug)]
pub struct EdgeConfig {
    /// The folder of identity, leases, firmware and reports.
    pub state_dir: PathBuf,
    /// What is logged, unless `--log` says otherwise.
    pub log: String,
    /// How it is logged, unless `--log-format` says otherwise.
    pub log_format: LogFormat,
    /// TCP port of HTTP boot, on each interface's address.
    pub http_port: NonZeroU16,
    /// Interfaces, subnets and boot files.
    pub dhcp: DhcpConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "default_state_dir")]
    state_dir: Spanned<PathBuf>,
    #[serde(default = "default_log")]
    log: Spanned<String>,
    #[serde(default)]
    log_format: Format,
    #[serde(default = "default_http_port")]
    http_port: NonZeroU16,
    #[serde(default)]
    interface: Vec<Spanned<InterfaceSection>>,
    #[serde(default)]
    dhcp: DhcpSection,
    #[serde(default)]
    class: Vec<Spanned<ClassSection>>,
    #[serde(default)]
    subnet: Vec<Spanned<SubnetSection>>,
    #[serde(default)]
    boot: BootSection,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Text,
    Json,
}

fn default_state_dir() -> Spanned<PathBuf> {
    Spanned::new(0..0, PathBuf::from("/var/lib/fairlead-edge"))
}

fn default_log() -> Spanned<String> {
    Spanned::new(0..0, "info".to_owned())
}

const fn default_http_port() -> NonZeroU16 {
    // The port of `http` URLs without one.
    NonZeroU16::MIN.saturating_add(79)
}

impl EdgeConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// The first thing that is wrong, with file, line, key and what is allowed.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        Self::from_source(&Source::read(path, "edge configuration")?)
    }

    /// Reads a configuration that may come from elsewhere than a file.
    ///
    /// # Errors
    /// As [`EdgeConfig::load`].
    pub fn from_source(source: &Source) -> Result<Self, Failure> {
        let file: File = source.parse()?;
        if !file.state_dir.get_ref().is_absolute() {
            let what = format!("`state_dir` is `{}`, which depends on where the program is started", file.state_dir.get_ref().display());
            return Err(source.error(&file.state_dir.span(), &what, "give a path that begins with `/`, such as /var/lib/fairlead-edge"));
        }
        if tracing_subscriber::EnvFilter::try_new(file.log.get_ref()).is_err() {
            let what = format!("`log` is `{}`, which is no log filter", file.log.get_ref());
            let hint = "use error, warn, info, debug or trace, or pairs such as \"info,fairlead::edge::dhcp=debug\"";
            return Err(source.error(&file.log.span(), &what, hint));
        }
        let File { interface, dhcp, class, subnet, boot, .. } = &file;
        let dhcp = dhcp::config::build(source, &Sections { interfaces: interface, dhcp, classes: class, subnets: subnet, boot })?;
        Ok(Self {
            state_dir: file.state_dir.into_inner(),
            log: file.log.into_inner(),
            log_format: match file.log_format {
                Format::Text => LogFormat::Text,
                Format::Json => LogFormat::Json,
            },
            http_port: file.http_port,
            dhcp,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<EdgeConfig, Failure> {
        EdgeConfig::from_source(&Source::from_text("edge.toml", text))
    }

    #[test]
    fn empty_file_has_the_documented_defaults() {
        let config = load("").unwrap();
        assert_eq!(config.state_dir, Path::new("/var/lib/fairlead-edge"));
        assert_eq!((config.log.as_str(), config.log_format, config.http_port.get()), ("info", LogFormat::Text, 80));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_what_is_allowed() {
        for (text, line, expected) in [
            ("state_dir = \"state\"", 1, "give a path that begins with `/`"),
            ("state_dir = 3", 1, "expected path string"),
            ("\nlog = \"fairlead=loud\"", 2, "use error, warn, info, debug or trace"),
            ("log_format = \"xml\"", 1, "expected `text` or `json`"),
            ("[[interface]]\nname = \"eth1\"\nmode = \"server\"\n", 1, "add the box's own address"),
            ("http_port = 0", 1, "nonzero u16"),
            ("http_port = 65536", 1, "nonzero u16"),
            ("http_port = \"80\"", 1, "nonzero u16"),
            ("\n\nhttp-port = 80", 3, "expected one of `state_dir`"),
            ("state_dir = ", 1, "string values must be quoted"),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("error: edge.toml:{line}: ")) && error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn commented_example_is_a_configuration() {
        let config = load(include_str!("../../config/edge.toml")).unwrap();
        assert_eq!(config.dhcp.interfaces().len(), 1);
        assert_eq!((config.state_dir, config.http_port.get()), (PathBuf::from("/var/lib/fairlead-edge"), 80));
    }
}
