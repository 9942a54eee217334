//! The keys that a box makes for itself, and the proofs that it has them.
//!
//! Private keys are made where they are used and never leave the box; what crosses the wire is a PKCS#10 request and a signature.

use data_encoding::BASE64URL_NOPAD;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::certificate::{CertificateError, chain_from_pem};
use crate::secret::Secret;
use crate::wire::uplink::ticket_key_proof;

/// Why a key can't be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The system has no randomness, or the library can't make such a key.
    #[error("cannot make a private key")]
    Generate(#[source] rcgen::Error),
    /// The system gave no randomness for the ticket key.
    #[error("cannot make a private key: no randomness from the system")]
    NoRandomness,
    /// The stored bytes are no such key.
    #[error("not a private key in PKCS#8")]
    Malformed,
    /// The certificate request can't be made.
    #[error("cannot make a certificate request")]
    Request(#[source] rcgen::Error),
    /// The certificate that came back can't be read.
    #[error("the certificate that was issued can't be read")]
    Certificate(#[source] CertificateError),
    /// The certificate that came back is for another key.
    #[error("the certificate that was issued does not belong to this box's key")]
    Mismatch(#[source] rustls::Error),
}

/// A P-256 key for TLS.
#[derive(Debug)]
pub struct TlsKey {
    pkcs8: Secret,
}

impl TlsKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(KeyError::Generate)?;
        Ok(Self { pkcs8: Secret::new(pair.serialize_der()) })
    }

    /// Takes a stored key, PKCS#8 in DER.
    ///
    /// # Errors
    /// When it is no P-256 key.
    pub fn from_pkcs8(pkcs8: Secret) -> Result<Self, KeyError> {
        let key = Self { pkcs8 };
        key.pair().map(|_| key)
    }

    /// The key, PKCS#8 in DER.
    #[must_use]
    pub const fn pkcs8(&self) -> &Secret {
        &self.pkcs8
    }

    /// Asks for a certificate for this key: a PKCS#10 request in PEM. The cloud decides on every name in the certificate.
    ///
    /// # Errors
    /// When the key can't sign.
    pub fn certificate_request(&self) -> Result<String, KeyError> {
        let mut parameters = CertificateParams::new(Vec::<String>::new()).map_err(KeyError::Request)?;
        parameters.distinguished_name.push(DnType::CommonName, "fairlead-edge");
        let request = parameters.serialize_request(&self.pair()?).map_err(KeyError::Request)?;
        request.pem().map_err(KeyError::Request)
    }

    /// Checks that a chain that was issued is for this key, and returns it in DER.
    ///
    /// # Errors
    /// When it can't be read or belongs to another key.
    pub fn accept(&self, chain_pem: &str) -> Result<Vec<CertificateDer<'static>>, KeyError> {
        let chain = chain_from_pem(chain_pem).map_err(KeyError::Certificate)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.expose().to_vec()));
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain.clone(), key, &provider).map_err(KeyError::Mismatch)?;
        Ok(chain)
    }

    fn pair(&self) -> Result<KeyPair, KeyError> {
        let key = PrivatePkcs8KeyDer::from(self.pkcs8.expose());
        KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256).map_err(|_| KeyError::Malformed)
    }
}

/// The Ed25519 key with which a site signs boot tickets.
#[derive(Debug)]
pub struct TicketKey {
    pkcs8: Secret,
    pair: Ed25519KeyPair,
}

impl TicketKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::NoRandomness)?;
        Self::from_pkcs8(Secret::new(document.as_ref().to_vec()))
    }

    /// Takes a stored key, PKCS#8 version 2 in DER.
    ///
    /// # Errors
    /// When it is no Ed25519 key.
    pub fn from_pkcs8(pkcs8: Secret) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.expose()).map_err(|_| KeyError::Malformed)?;
        Ok(Self { pkcs8, pair })
    }

    /// The key, PKCS#8 in DER.
    #[must_use]
    pub const fn pkcs8(&self) -> &Secret {
        &self.pkcs8
    }

    /// The key pair that signs tickets.
    #[must_use]
    pub const fn pair(&self) -> &Ed25519KeyPair {
        &self.pair
    }

    /// The public key, base64url.
    #[must_use]
    pub fn public_text(&self) -> String {
        BASE64URL_NOPAD.encode(self.pair.public_key().as_ref())
    }

    /// Proves to the cloud that the sender of this certificate request has the ticket key; base64url.
    #[must_use]
    pub fn proof(&self, csr_pem: &str) -> String {
        BASE64URL_NOPAD.encode(self.pair.sign(&ticket_key_proof(csr_pem)).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn request_is_signed_by_the_key_and_carries_no_name_of_its_own() {
        let key = TlsKey::generate().unwrap();
        let request = rcgen::CertificateSigningRequestParams::from_pem(&key.certificate_request().unwrap()).unwrap();
        assert!(request.params.subject_alt_names.is_empty());
        let again = TlsKey::from_pkcs8(key.pkcs8().clone()).unwrap();
        assert_eq!(again.pair().unwrap().public_key_raw(), key.pair().unwrap().public_key_raw());
    }

    #[test]
    fn certificate_for_another_key_is_refused() {
        let (mine, other) = (TlsKey::generate().unwrap(), TlsKey::generate().unwrap());
        let parameters = CertificateParams::new(vec!["site".to_owned()]).unwrap();
        let pem = parameters.self_signed(&mine.pair().unwrap()).unwrap().pem();
        assert_eq!(mine.accept(&pem).unwrap().len(), 1);
        assert!(matches!(other.accept(&pem), Err(KeyError::Mismatch(_))));
        assert!(matches!(mine.accept("nothing"), Err(KeyError::Certificate(_))));
    }

    #[test]
    fn ticket_key_proof_is_bound_to_the_request() {
        let key = TicketKey::from_pkcs8(TicketKey::generate().unwrap().pkcs8().clone()).unwrap();
        let public = BASE64URL_NOPAD.decode(key.public_text().as_bytes()).unwrap();
        let proof = BASE64URL_NOPAD.decode(key.proof("csr").as_bytes()).unwrap();
        let verify = |csr| UnparsedPublicKey::new(&ED25519, &public).verify(&ticket_key_proof(csr), &proof).is_ok();
        assert!(verify("csr"));
        assert!(!verify("other csr"));
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        assert!(matches!(TlsKey::from_pkcs8(Secret::new(vec![0; 40])), Err(KeyError::Malformed)));
        assert!(matches!(TicketKey::from_pkcs8(Secret::new(vec![0; 40])), Err(KeyError::Malformed)));
    }
}
