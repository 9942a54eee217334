//! TLS towards a cloud that is known by the fingerprint of its root certificate alone.
//!
//! Neither the machine's own trust store nor a public CA has a say: the server sends its root along, the root's SHA-256 must be
//! the pinned one, and the rest of the chain is verified against exactly that root.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use crate::secret::Secret;
use crate::wire::Digest;

/// Accepts a server whose chain contains the pinned root and leads to it, for the name that was asked.
#[derive(Debug)]
pub struct PinnedRoot {
    fingerprint: Digest,
    provider: Arc<CryptoProvider>,
}

/// The server presented a chain without the pinned root: it belongs to another cloud, or somebody else answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's certificate chain does not contain the root certificate with SHA-256 {pinned}")]
pub struct RootNotPresented {
    /// The root that was asked for.
    pub pinned: Digest,
    /// Fingerprint of the last certificate that was presented, the presumed root of whoever answered.
    pub presented: Option<Digest>,
}

impl RootNotPresented {
    /// Finds this error inside a rustls error.
    #[must_use]
    pub fn inside(error: &rustls::Error) -> Option<&Self> {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => other.downcast_ref(),
            _ => None,
        }
    }
}

impl PinnedRoot {
    /// Pins the root certificate whose DER has this SHA-256.
    #[must_use]
    pub fn new(fingerprint: Digest) -> Self {
        Self { fingerprint, provider: Arc::new(rustls::crypto::ring::default_provider()) }
    }

    fn verifier(&self, chain: &[CertificateDer<'_>]) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
        let root = chain.iter().find(|certificate| Digest::of(certificate) == self.fingerprint).ok_or_else(|| {
            let presented = chain.last().map(|certificate| Digest::of(certificate));
            let error = RootNotPresented { pinned: self.fingerprint, presented };
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
        })?;
        let mut anchors = RootCertStore::empty();
        anchors.add(root.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(anchors), Arc::clone(&self.provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))
    }
}

impl ServerCertVerifier for PinnedRoot {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // Only what came behind the end entity can be the root: a server must not be its own anchor.
        self.verifier(intermediates)?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A certificate and its key, with which a client proves who it is.
#[derive(Debug)]
pub struct ClientCertificate {
    /// The certificate and its issuers, in DER.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key, PKCS#8 in DER.
    pub key: Secret,
}

/// A TLS client that trusts the pinned root alone: TLS 1.3 only, with a client certificate when there is one.
///
/// # Errors
/// When the client certificate and its key don't belong together or can't be used.
pub fn client_config(root: Digest, certificate: Option<ClientCertificate>) -> Result<ClientConfig, rustls::Error> {
    let verifier = PinnedRoot::new(root);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match certificate {
        None => Ok(builder.with_no_client_auth()),
        Some(ClientCertificate { chain, key }) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose().to_vec()));
            builder.with_client_auth_cert(chain, key)
        }
    }
}

#[cfg(test)]
mod tests;
