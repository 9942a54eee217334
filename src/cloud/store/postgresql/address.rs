//! Which PostgreSQL, and how it is reached.

use std::fmt;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use postgres::config::{Host, SslMode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::tls::Tls;
use crate::secret::Secret;

/// A PostgreSQL database, from its URL. Shown without the password.
#[derive(Clone)]
pub struct PostgresqlAddress {
    pub(super) config: postgres::Config,
    /// None: in clear.
    pub(super) tls: Option<Tls>,
    shown: String,
}

impl PostgresqlAddress {
    /// Reads a URL such as `postgresql://user:password@host:5432/database?sslmode=verify-full&sslrootcert=/etc/fairlead/db.pem`.
    ///
    /// `sslmode` is `disable` or `verify-full`. Without it, a Unix socket and this machine are spoken to in clear, any other host is not.
    ///
    /// # Errors
    /// What is wrong with it, in words that don't repeat it: it may hold a password.
    pub fn parse(url: &Secret, timeout: Duration) -> Result<Self, String> {
        let text = url.expose_str().unwrap_or_default();
        let (bare, query) = text.split_once('?').unwrap_or((text, ""));
        if !bare.starts_with("postgresql://") && !bare.starts_with("postgres://") {
            return Err("it does not begin with postgresql://".to_owned());
        }
        let (mut rest, mut mode, mut roots) = (Vec::new(), None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => roots = Some(value.replace("%2F", "/").replace("%2f", "/")),
                _ => rest.push(pair),
            }
        }
        let plain = if rest.is_empty() { bare.to_owned() } else { format!("{bare}?{}", rest.join("&")) };
        let mut config = postgres::Config::from_str(&plain).map_err(|error| {
            // The inner error names the option or the part, never its value.
            std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)
        })?;
        let near = config.get_hosts().iter().all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
        });
        let secure = match mode {
            Some("disable") => false,
            Some("verify-full") => true,
            None => !near,
            Some(_) => return Err("sslmode is disable or verify-full: what is in between protects from nobody".to_owned()),
        };
        let tls = match (secure, roots) {
            (false, _) => None,
            (true, Some(path)) => Some(Tls(Arc::new(client_tls(Path::new(&path))?))),
            (true, None) => {
                return Err("TLS needs sslrootcert=FILE, the certificate in PEM that the server's own is checked against".to_owned());
            }
        };
        config.ssl_mode(if secure { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(timeout).tcp_user_timeout(timeout).application_name("fairlead-cloud");
        if config.get_hosts().is_empty() {
            return Err("it names no host".to_owned());
        }
        let shown = shown(&config);
        Ok(Self { config, tls, shown })
    }
}

fn shown(config: &postgres::Config) -> String {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| {
        let port = ports.get(index).or_else(|| ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(path) => path.display().to_string(),
        }
    });
    let database = config.get_dbname().or_else(|| config.get_user()).unwrap_or_default();
    format!("database `{database}` of PostgreSQL at {}", hosts.collect::<Vec<_>>().join(", "))
}

fn client_tls(roots: &Path) -> Result<ClientConfig, String> {
    let cannot = |error: &dyn fmt::Display| format!("sslrootcert `{}` can't be used: {error}", roots.display());
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(roots).map_err(|error| cannot(&error))? {
        store.add(certificate.map_err(|error| cannot(&error))?).map_err(|error| cannot(&error))?;
    }
    if store.is_empty() {
        return Err(cannot(&"it holds no certificate"));
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| cannot(&error))
        .map(|builder| builder.with_root_certificates(store).with_no_client_auth())
}

impl fmt::Display for PostgresqlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PostgresqlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<PostgresqlAddress, String> {
        PostgresqlAddress::parse(&Secret::from(url.to_owned()), Duration::from_secs(10))
    }

    #[test]
    fn a_password_is_never_shown() {
        let address = parse("postgresql://fl:hunter2@localhost:5433/fairlead").unwrap();
        assert_eq!(format!("{address} {address:?}").matches("hunter2").count(), 0);
        assert_eq!(address.to_string(), "database `fairlead` of PostgreSQL at localhost:5433");
        for bad in ["mysql://fl:hunter2@h/d", "postgresql://fl:hunter2@h:x/d", "postgresql://fl:hunter2@h/d?hunter2=x&port=hunter2"] {
            let why = parse(bad).unwrap_err();
            assert!(!why.is_empty() && !why.contains("hunter2@"), "{why}");
        }
    }

    #[test]
    fn another_machine_is_spoken_to_with_tls_or_not_at_all() {
        assert!(parse("postgresql://fl@%2Frun%2Fpostgresql/d").unwrap().tls.is_none());
        assert!(parse("postgresql://fl@localhost/d").unwrap().tls.is_none());
        assert!(parse("postgresql://fl@db.example/d?sslmode=disable").unwrap().tls.is_none());
        assert!(parse("postgresql://fl@db.example/d").unwrap_err().contains("sslrootcert"));
        assert!(parse("postgresql://fl@db.example/d?sslmode=prefer").unwrap_err().contains("verify-full"));
        assert!(parse("postgresql://fl@db.example/d?sslrootcert=/nonexistent").unwrap_err().contains("/nonexistent"));
    }
}
