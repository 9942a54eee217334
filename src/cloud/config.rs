//! `cloud.toml`: what the cloud must be told.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Uri;
use serde::Deserialize;
use toml::Spanned;

use crate::cloud::store::{KeySource, PostgresqlAddress, PostgresqlSettings};
use crate::config_file::Source;
use crate::failure::Failure;
use crate::secret::Secret;

/// Where the configuration file is when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/fairlead/cloud.toml";

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "default_state_dir")]
    state_dir: PathBuf,
    boot_plane: BootPlaneSection,
    site_plane: SitePlaneSection,
    #[serde(default)]
    store: StoreSection,
}

/// `[boot_plane]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BootPlaneSection {
    listen: SocketAddr,
    url: Spanned<String>,
    ticket_lifetime: Option<Spanned<Lifetime>>,
    clock_skew: Option<Spanned<Lifetime>>,
    config_token_lifetime: Option<Spanned<Lifetime>>,
    capability_lifetime: Option<Spanned<Lifetime>>,
    poll_interval: Option<Spanned<Lifetime>>,
}

/// `[site_plane]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SitePlaneSection {
    listen: SocketAddr,
    url: Spanned<String>,
    certificate_lifetime: Option<Spanned<Lifetime>>,
}

/// `[store]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreSection {
    url: Option<Spanned<SecretText>>,
    connections: Option<Spanned<u16>>,
    timeout: Option<Spanned<Lifetime>>,
    key_file: Option<Spanned<PathBuf>>,
    key_env: Option<Spanned<String>>,
    key_command: Option<Spanned<Vec<String>>>,
}

/// A text that does not print itself.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
struct SecretText(Secret);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Lifetime(#[serde(with = "humantime_serde")] Duration);

/// The cloud's configuration, checked.
#[derive(Clone, Debug)]
pub struct CloudConfig {
    /// The folder that holds keys, database, blobs and firmware.
    pub state_dir: PathBuf,
    /// The plane that nodes talk to.
    pub boot_plane: BootPlane,
    /// The plane that edge boxes talk to.
    pub site_plane: SitePlane,
    /// Where what is kept is kept.
    pub store: StoreSettings,
}

/// Settings of the store.
#[derive(Clone, Debug, Default)]
pub struct StoreSettings {
    /// PostgreSQL; without it the store is a SQLite file in the state folder.
    pub postgresql: Option<PostgresqlSettings>,
    /// Where the key is that seals secrets; without it, in `store.key` in the state folder.
    pub key: Option<KeySource>,
}

/// Settings of the boot plane.
#[derive(Clone, Debug)]
pub struct BootPlane {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// How nodes reach it.
    pub url: PlaneUrl,
    /// How long a boot ticket is good for after its site issued it.
    pub ticket_lifetime: Duration,
    /// How far a site's clock may be ahead of the cloud's.
    pub clock_skew: Duration,
    /// How long the one-time token of a machine config is good for: kernel start and DHCP must fit.
    pub config_token_lifetime: Duration,
    /// How long kernel and initramfs may be asked for.
    pub capability_lifetime: Duration,
    /// How often a waiting node asks again.
    pub poll_interval: Duration,
}

/// Settings of the site plane.
#[derive(Clone, Debug)]
pub struct SitePlane {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// How boxes reach it.
    pub url: PlaneUrl,
    /// How long a site's certificate is good for; the box renews it at half of that.
    pub certificate_lifetime: Duration,
}

/// An `https` URL of scheme, host and port only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaneUrl {
    text: String,
    host: String,
}

impl PlaneUrl {
    /// The URL, without a trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, as it must stand in the server's certificate.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let bare = uri.scheme_str() == Some("https") && matches!(uri.path(), "" | "/") && uri.query().is_none();
        let authority = uri.authority().filter(|authority| bare && !authority.as_str().contains('@'))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        (!host.is_empty()).then(|| Self { text: format!("https://{authority}"), host })
    }
}

impl CloudConfig {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// With file, line and key of what is wrong, and what is allowed.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        Self::from_source(&Source::read(path, "cloud configuration")?)
    }

    fn from_source(source: &Source) -> Result<Self, Failure> {
        let file: File = source.parse()?;
        let (boot, site) = (file.boot_plane, file.site_plane);
        let seconds = |value: Option<Spanned<Lifetime>>, key, default, least, most| lifetime(source, value, key, default, least, most);
        let config = Self {
            state_dir: file.state_dir,
            boot_plane: BootPlane {
                listen: boot.listen,
                url: plane_url(source, &boot.url, "boot_plane.url")?,
                ticket_lifetime: seconds(boot.ticket_lifetime, "boot_plane.ticket_lifetime", 300, 1, 3600)?,
                clock_skew: seconds(boot.clock_skew, "boot_plane.clock_skew", 60, 0, 600)?,
                config_token_lifetime: seconds(boot.config_token_lifetime, "boot_plane.config_token_lifetime", 900, 60, 86_400)?,
                capability_lifetime: seconds(boot.capability_lifetime, "boot_plane.capability_lifetime", 1800, 60, 86_400)?,
                poll_interval: seconds(boot.poll_interval, "boot_plane.poll_interval", 5, 1, 60)?,
            },
            site_plane: SitePlane {
                listen: site.listen,
                url: plane_url(source, &site.url, "site_plane.url")?,
                certificate_lifetime: seconds(site.certificate_lifetime, "site_plane.certificate_lifetime", 604_800, 60, 31_536_000)?,
            },
            store: store(source, file.store)?,
        };
        if config.boot_plane.listen == config.site_plane.listen {
            let hint = "the planes differ in TLS versions and client certificates: give each its own port";
            return Err(source.error(&site.url.span(), "site_plane.listen is the same as boot_plane.listen", hint));
        }
        Ok(config)
    }
}

/// The environment variable that goes before `store.url`, for those who keep passwords out of files.
const STORE_URL: &str = "FAIRLEAD_STORE_URL";

fn store(source: &Source, section: StoreSection) -> Result<StoreSettings, Failure> {
    let timeout = lifetime(source, section.timeout, "store.timeout", 10, 1, 300)?;
    let connections = match section.connections {
        None => 8,
        Some(count) if (1..=100).contains(count.get_ref()) => usize::from(*count.get_ref()),
        Some(count) => return Err(source.error(&count.span(), "store.connections is out of range", "write a number from 1 to 100")),
    };
    let hint = "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, for another machine with ?sslmode=verify-full&sslrootcert=FILE";
    let address = match (std::env::var(STORE_URL), section.url) {
        (Ok(url), _) => {
            let address = PostgresqlAddress::parse(&Secret::from(url), timeout);
            Some(address.map_err(|why| Failure::new(format!("{STORE_URL} can't be used")).because(why).hint(hint))?)
        }
        (Err(_), Some(url)) => {
            let address = PostgresqlAddress::parse(&url.get_ref().0, timeout);
            Some(address.map_err(|why| source.error(&url.span(), &format!("store.url can't be used: {why}"), hint))?)
        }
        (Err(_), None) => None,
    };
    let (file, env, command) = (section.key_file, section.key_env, section.key_command);
    let spans = [file.as_ref().map(Spanned::span), env.as_ref().map(Spanned::span), command.as_ref().map(Spanned::span)];
    if let [_, second, ..] = spans.iter().flatten().collect::<Vec<_>>().as_slice() {
        return Err(source.error(second, "the store's key can't come from two places", "keep one of key_file, key_env and key_command"));
    }
    if let Some(words) = command.as_ref().filter(|words| words.get_ref().is_empty()) {
        return Err(source.error(&words.span(), "store.key_command names no program", "write the program and its arguments as a list"));
    }
    let key = file
        .map(|path| KeySource::File(path.into_inner()))
        .or_else(|| env.map(|name| KeySource::Environment(name.into_inner())))
        .or_else(|| command.map(|words| KeySource::Command(words.into_inner())));
    let postgresql = address.map(|address| PostgresqlSettings { address, connections, timeout });
    Ok(StoreSettings { postgresql, key })
}

fn default_state_dir() -> PathBuf {
    PathBuf::from("/var/lib/fairlead-cloud")
}

fn plane_url(source: &Source, url: &Spanned<String>, key: &str) -> Result<PlaneUrl, Failure> {
    PlaneUrl::parse(url.get_ref()).ok_or_else(|| {
        let what = format!("{key} = {:?} is not a URL that a node or box can be sent to", url.get_ref());
        source.error(&url.span(), &what, "write https://HOST or https://HOST:PORT, nothing behind it")
    })
}

fn lifetime(
    source: &Source,
    value: Option<Spanned<Lifetime>>,
    key: &str,
    default: u64,
    least: u64,
    most: u64,
) -> Result<Duration, Failure> {
    let Some(value) = value else { return Ok(Duration::from_secs(default)) };
    let (span, duration) = (value.span(), value.into_inner().0);
    if (Duration::from_secs(least)..=Duration::from_secs(most)).contains(&duration) {
        return Ok(duration);
    }
    let hint = format!("write a duration from {least} s to {most} s, such as \"{default}s\"");
    Err(source.error(&span, &format!("{key} is out of range"), &hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[boot_plane]\nlisten = \"0.0.0.0:443\"\nurl = \"https://boot.example/\"\n\
                        [site_plane]\nlisten = \"0.0.0.0:8444\"\nurl = \"https://[2001:db8::1]:8444\"\n";

    fn load(text: &str) -> Result<CloudConfig, Failure> {
        CloudConfig::from_source(&Source::from_text("cloud.toml", text))
    }

    #[test]
    fn defaults_fill_what_is_not_said() {
        let config = load(GOOD).unwrap();
        assert_eq!(config.boot_plane.url.as_str(), "https://boot.example");
        assert_eq!(config.boot_plane.ticket_lifetime, Duration::from_secs(300));
        assert_eq!(config.site_plane.url.host(), "2001:db8::1");
    }

    #[test]
    fn bad_values_name_line_key_and_what_is_allowed() {
        let cases = [
            (GOOD.replace("https://boot.example/", "http://boot.example"), "cloud.toml:3: boot_plane.url", "https://HOST"),
            (GOOD.replace("0.0.0.0:443", "everywhere"), "cloud.toml:2: invalid socket address", ""),
            (GOOD.replace("0.0.0.0:443", "0.0.0.0:8444"), "cloud.toml:6: site_plane.listen", "its own port"),
            (format!("{GOOD}certificate_lifetime = \"5s\"\n"), "cloud.toml:7: site_plane.certificate_lifetime", "from 60 s"),
            (format!("{GOOD}certificate_lifetime = 5\n"), "cloud.toml:7: invalid type", ""),
            (format!("{GOOD}lifetime = \"5s\"\n"), "cloud.toml:7: unknown field `lifetime`", ""),
            (format!("sate_dir = \"/x\"\n{GOOD}"), "cloud.toml:1: unknown field `sate_dir`", "state_dir"),
        ];
        for (text, start, remedy) in cases {
            let message = load(&text).unwrap_err().to_string();
            assert!(message.contains(start) && message.contains(remedy), "{message}\n(expected {start} … {remedy})");
        }
    }

    #[test]
    fn the_example_loads() {
        let config = load(include_str!("../../config/cloud.toml")).unwrap();
        assert_eq!(config.state_dir, default_state_dir());
    }
}
