//! Reads certificate chains: PEM to DER, and how long a certificate is good for.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::clock::Timestamp;

/// Why text is no certificate chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not PEM.
    #[error("not certificates in PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// No certificate in it.
    #[error("no certificate in it")]
    Empty,
    /// Not X.509.
    #[error("not an X.509 certificate")]
    X509(#[source] x509_parser::nom::Err<x509_parser::error::X509Error>),
}

/// The certificates of a chain in PEM, in order; at least one.
///
/// # Errors
/// When the text is not PEM or holds no certificate.
pub fn chain_from_pem(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(CertificateError::Pem)?;
    if chain.is_empty() { Err(CertificateError::Empty) } else { Ok(chain) }
}

/// From when until when a certificate is good (RFC 5280, section 4.1.2.5), whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: Timestamp,
    /// The last moment.
    pub not_after: Timestamp,
}

impl Validity {
    /// Reads the validity of one certificate in DER.
    ///
    /// # Errors
    /// When it is no certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let (_, certificate) = X509Certificate::from_der(certificate).map_err(CertificateError::X509)?;
        let moment = |time: x509_parser::time::ASN1Time| Timestamp::from_secs(u64::try_from(time.timestamp()).unwrap_or(0));
        let validity = certificate.validity();
        Ok(Self { not_before: moment(validity.not_before), not_after: moment(validity.not_after) })
    }

    /// When half of its life is over.
    #[must_use]
    pub fn half_life(&self) -> Timestamp {
        self.not_before.after(self.not_after.since(self.not_before) / 2)
    }

    /// What is left of its life at `now`, zero when it is over.
    #[must_use]
    pub const fn left(&self, now: Timestamp) -> Duration {
        self.not_after.since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_and_half_life_are_read_from_the_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["site".to_owned()]).unwrap();
        parameters.not_before = time::OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        parameters.not_after = time::OffsetDateTime::from_unix_timestamp(1_800_001_000).unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        let chain = chain_from_pem(&pem).unwrap();
        let validity = Validity::of(&chain[0]).unwrap();
        assert_eq!(validity.half_life(), Timestamp::from_secs(1_800_000_500));
        assert_eq!(validity.left(Timestamp::from_secs(1_800_000_900)), Duration::from_secs(100));
        assert_eq!(validity.left(Timestamp::from_secs(1_800_002_000)), Duration::ZERO);
    }

    #[test]
    fn text_without_a_certificate_is_refused() {
        assert!(matches!(chain_from_pem("hello"), Err(CertificateError::Empty)));
        assert!(matches!(chain_from_pem("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"), Err(CertificateError::Pem(_))));
        assert!(Validity::of(&CertificateDer::from(vec![1, 2, 3])).is_err());
    }
}
