//! The download from `talos.config`, with Talos' statuses, back-off and URL variables.

use std::io::Read as _;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fairlead::wire::Digest;
use flate2::read::MultiGzDecoder;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::Result;
use crate::console::say;
use crate::documents::MachineConfig;
use crate::network::{Link, read_trimmed};

/// Talos gives up after this.
const PATIENCE: Duration = Duration::from_hours(3);
const ATTEMPT: Duration = Duration::from_mins(3);
/// How much of an error's body reaches the console.
const ERROR_EXCERPT: usize = 32;
const LARGEST_CONFIG: u64 = 16 << 20;

/// A download that is tried until it gives a config.
pub(crate) struct Download {
    url: String,
    agent: Agent,
}

/// How one attempt ended.
enum Attempt {
    Config(MachineConfig),
    /// The controller starts over: no body, or one that is no config.
    StartOver(String),
    /// The download is retried with its growing back-off.
    Retry(String),
}

impl Download {
    /// Prepares the download; `roots` are the only certificate authorities that count, in PEM.
    pub(crate) fn new(url: &str, link: &Link, roots: &str) -> Result<Self> {
        let mut certificates: Vec<Certificate<'static>> = Vec::new();
        for item in parse_pem(roots.as_bytes()) {
            match item.map_err(|error| format!("TrustedRootsConfig: {error}"))? {
                PemItem::Certificate(certificate) => certificates.push(certificate),
                _ => return Err("TrustedRootsConfig: not a certificate".to_owned()),
            }
        }
        for certificate in &certificates {
            say(&format!("trusted root sha256={}", Digest::of(certificate.der())));
        }
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&certificates))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(10)
            .timeout_global(Some(ATTEMPT))
            .user_agent("talos-stand-in")
            .build()
            .new_agent();
        Ok(Self { url: substitute_variables(url, &link.mac), agent })
    }

    /// Tries until there is a config, or until Talos would give up.
    pub(crate) fn run(&self) -> Result<MachineConfig> {
        let begin = Instant::now();
        let (mut retries, mut restarts) = (0_u32, 0_u32);
        while begin.elapsed() < PATIENCE {
            // Talos logs the URL as it stands, token and all.
            say(&format!("downloading config from {}", self.url));
            let pause = match self.attempt() {
                Attempt::Config(config) => return Ok(config),
                Attempt::StartOver(reason) => {
                    say(&format!("no config: {reason}"));
                    restarts = restarts.saturating_add(1);
                    Duration::from_millis(500).saturating_mul(restarts.min(60))
                }
                Attempt::Retry(reason) => {
                    say(&format!("error downloading config: {reason}"));
                    // 0, 1, 3, 7, 15, 31 ... 4,095 s.
                    let seconds = 1_u64.checked_shl(retries.min(12)).unwrap_or(1).saturating_sub(1);
                    retries = retries.saturating_add(1);
                    Duration::from_secs(seconds)
                }
            };
            sleep(pause);
        }
        Err(format!("no config from {} in {} h", self.url, PATIENCE.as_secs() / 3600))
    }

    fn attempt(&self) -> Attempt {
        let mut response = match self.agent.get(&self.url).call() {
            Ok(response) => response,
            Err(error) => return Attempt::Retry(error.to_string()),
        };
        let status = response.status().as_u16();
        let body = match response.body_mut().with_config().limit(LARGEST_CONFIG).read_to_vec() {
            Ok(body) => body,
            Err(error) => return Attempt::Retry(format!("status {status}, body cut short: {error}")),
        };
        match status {
            200 => {}
            204 => return Attempt::StartOver("status 204".to_owned()),
            _ => {
                let excerpt = body.get(..ERROR_EXCERPT).unwrap_or(&body);
                return Attempt::Retry(format!("status {status}: {}", String::from_utf8_lossy(excerpt).trim_end()));
            }
        }
        let body = match unpack(body) {
            Ok(body) => body,
            Err(reason) => return Attempt::StartOver(reason),
        };
        match MachineConfig::parse(&body) {
            Ok(config) if config.is_empty() => Attempt::StartOver("an empty body".to_owned()),
            Ok(config) => Attempt::Config(config),
            Err(reason) => Attempt::StartOver(reason),
        }
    }
}

/// A body may be gzip, whatever its headers say.
fn unpack(body: Vec<u8>) -> Result<Vec<u8>> {
    if !body.starts_with(&[0x1f, 0x8b]) {
        return Ok(body);
    }
    let mut plain = Vec::new();
    let decoder = MultiGzDecoder::new(body.as_slice());
    decoder.take(LARGEST_CONFIG).read_to_end(&mut plain).map_err(|error| format!("broken gzip: {error}"))?;
    Ok(plain)
}

/// Replaces `${uuid}`, `${serial}`, `${mac}` and `${hostname}` in the values of the query, and nowhere else.
fn substitute_variables(url: &str, mac: &str) -> String {
    let Some((before, query)) = url.split_once('?') else { return url.to_owned() };
    let dmi = |name: &str| read_trimmed(&format!("/sys/class/dmi/id/{name}")).unwrap_or_default();
    let hostname = read_trimmed("/proc/sys/kernel/hostname").unwrap_or_default();
    let known =
        [("${uuid}", dmi("product_uuid")), ("${serial}", dmi("product_serial")), ("${mac}", mac.to_owned()), ("${hostname}", hostname)];
    let pairs: Vec<String> = query.split('&').map(|pair| substitute_value(pair, &known)).collect();
    format!("{before}?{}", pairs.join("&"))
}

fn substitute_value(pair: &str, known: &[(&str, String)]) -> String {
    let Some((name, value)) = pair.split_once('=') else { return pair.to_owned() };
    let mut value = value.replace("%7B", "{").replace("%7D", "}").replace("%24", "$");
    for (variable, replacement) in known {
        value = value.replace(variable, &percent_encode(replacement));
    }
    format!("{name}={value}")
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
