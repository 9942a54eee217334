//! Why a request to the cloud failed, and what a person can do about it.

use std::io;

use http::StatusCode;
use rustls::{AlertDescription as Alert, CertificateError as Bad};

use crate::clock;
use crate::failure::Failure;
use crate::pki::pinned_root::RootNotPresented;

/// Why the cloud can't be asked, or what it refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UplinkError {
    /// The URL of the site plane is not one.
    #[error("`{0}` is not an https URL of a site plane")]
    BadUrl(String),
    /// The name is not known, or nobody answers there.
    #[error("cannot reach the cloud at {address}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// No answer in time.
    #[error("the cloud at {address} did not answer within {seconds} s")]
    TimedOut {
        /// Host and port.
        address: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Another cloud, or somebody else, answered.
    #[error("who answers at {address} is not the cloud that this box belongs to")]
    WrongRoot {
        /// Host and port.
        address: String,
        /// The roots.
        #[source]
        source: RootNotPresented,
    },
    /// The server's certificate is not good at this box's time.
    #[error("the certificate of the cloud at {address} is not valid at this box's time, {now}")]
    Clock {
        /// Host and port.
        address: String,
        /// The box's time.
        now: clock::Timestamp,
        /// What TLS says.
        #[source]
        source: rustls::Error,
    },
    /// The cloud does not accept the site's certificate.
    #[error("the cloud at {address} does not accept this site's certificate")]
    CertificateRefused {
        /// Host and port.
        address: String,
        /// What TLS says.
        #[source]
        source: rustls::Error,
    },
    /// TLS failed in another way.
    #[error("no secure connection to the cloud at {address}")]
    Tls {
        /// Host and port.
        address: String,
        /// What TLS says.
        #[source]
        source: io::Error,
    },
    /// The box's own certificate can't be used.
    #[error("the site's certificate can't be used for TLS")]
    OwnCertificate(#[source] rustls::Error),
    /// The connection broke or what came over it is not HTTP.
    #[error("the connection to the cloud at {address} broke")]
    Broken {
        /// Host and port.
        address: String,
        /// What HTTP says.
        #[source]
        source: hyper::Error,
    },
    /// The cloud refused, and said why.
    #[error("the cloud refused ({status}): {error}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// What was wrong.
        error: String,
        /// What to do about it.
        hint: String,
    },
    /// The answer is not what was asked for.
    #[error("the answer of the cloud at {address} can't be understood: {what}")]
    BadAnswer {
        /// Host and port.
        address: String,
        /// What is wrong with it.
        what: String,
    },
}

impl UplinkError {
    /// Sorts an error of the TLS handshake, or one that TLS reported later.
    pub(super) fn from_tls(address: &str, error: io::Error) -> Self {
        let address = address.to_owned();
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return Self::Tls { address, source: error };
        };
        if let Some(wrong) = RootNotPresented::inside(tls) {
            return Self::WrongRoot { address, source: wrong.clone() };
        }
        match tls {
            rustls::Error::InvalidCertificate(
                Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. },
            ) => Self::Clock { address, now: clock::now(), source: tls.clone() },
            rustls::Error::AlertReceived(
                Alert::BadCertificate
                | Alert::CertificateExpired
                | Alert::CertificateRevoked
                | Alert::CertificateUnknown
                | Alert::CertificateRequired
                | Alert::UnsupportedCertificate
                | Alert::UnknownCA
                | Alert::AccessDenied,
            ) => Self::CertificateRefused { address, source: tls.clone() },
            _ => Self::Tls { address, source: error },
        }
    }

    /// Sorts an error of HTTP: TLS 1.3 servers refuse a client's certificate only after the handshake.
    pub(super) fn from_http(address: &str, error: hyper::Error) -> Self {
        // A request that was cancelled by it holds the connection's error one level further down.
        let mut causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        let io = causes.find_map(|cause| cause.downcast_ref::<io::Error>());
        let tls = io.and_then(|error| error.get_ref()).and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned();
        match tls {
            Some(tls) => match Self::from_tls(address, io::Error::other(tls)) {
                Self::Tls { address, .. } => Self::Broken { address, source: error },
                sorted => sorted,
            },
            None => Self::Broken { address: address.to_owned(), source: error },
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::BadUrl(_) => "it must look like https://198.51.100.10:8444: `url` of `[site_plane]` in the cloud's configuration".to_owned(),
            Self::Unreachable { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => {
                "nothing listens there: is `fairlead-cloud serve` running, and is the address its site plane's?".to_owned()
            }
            Self::Unreachable { .. } => "check the box's WAN: address, route and DNS; and that a firewall lets it out to that port".to_owned(),
            Self::TimedOut { .. } => "check the box's WAN and that firewalls on the way let the connection through".to_owned(),
            Self::WrongRoot { .. } => {
                "compare with `fairlead-cloud init`'s root fingerprint; if the cloud was set up anew, the box must join again with a new token; \
                 if not, somebody is between the box and the cloud"
                    .to_owned()
            }
            Self::Clock { .. } => "set the box's clock (`timedatectl`, or an NTP server it can reach); if it is right, the cloud's certificate \
                                   is over and the cloud must renew it"
                .to_owned(),
            Self::CertificateRefused { .. } | Self::OwnCertificate(_) => {
                "if the certificate's life is over (`fairlead-edge check`) or the site was removed, make a new token with \
                 `fairlead-cloud site token NAME` and run `fairlead-edge join --replace`"
                    .to_owned()
            }
            Self::Tls { .. } => "is this the port of the site plane (https, TLS 1.3)?".to_owned(),
            Self::Refused { hint, .. } => hint.clone(),
            Self::Broken { .. } | Self::BadAnswer { .. } => "see the cloud's log; box and cloud may be of versions that don't fit".to_owned(),
        }
    }

    /// Whether it is certain that the cloud never saw the request.
    #[must_use]
    pub const fn was_not_sent(&self) -> bool {
        matches!(
            self,
            Self::BadUrl(_)
                | Self::Unreachable { .. }
                | Self::WrongRoot { .. }
                | Self::Clock { .. }
                | Self::Tls { .. }
                | Self::OwnCertificate(_)
        )
    }
}

impl From<UplinkError> for Failure {
    fn from(error: UplinkError) -> Self {
        let failure = Self::new(error.to_string()).hint(error.remedy());
        match std::error::Error::source(&error) {
            Some(source) => failure.cause(source),
            None => failure,
        }
    }
}

/// The error and its sources in one line, for logs.
#[must_use]
pub fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let source_text = source.to_string();
        if !text.ends_with(&source_text) {
            text.push_str(": ");
            text.push_str(&source_text);
        }
        next = source.source();
    }
    text
}
