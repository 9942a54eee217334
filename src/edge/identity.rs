//! Who the box is: its site, its keys and its certificate, in one file so that a crash leaves either none or a whole one.

use data_encoding::BASE64;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::pki::certificate::{CertificateError, Validity, chain_from_pem};
use crate::pki::pinned_root::ClientCertificate;
use crate::pki::request::{KeyError, TicketKey, TlsKey};
use crate::secret::Secret;
use crate::wire::{Digest, Name};

/// What a box that has joined knows of itself.
#[derive(Debug)]
pub struct Identity {
    /// The site's name.
    pub site: Name,
    /// The site's number at the cloud.
    pub site_number: u32,
    /// URL of the cloud's site plane, without a trailing slash.
    pub url: String,
    /// The cloud's root certificate in PEM.
    pub root_pem: String,
    /// The site's certificate and the issuing CA's, in PEM.
    pub chain_pem: String,
    /// The key of that certificate.
    pub tls_key: TlsKey,
    /// Signs boot tickets.
    pub ticket_key: TicketKey,
    root: Digest,
    chain: Vec<CertificateDer<'static>>,
    validity: Validity,
}

/// Why bytes are no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Not the JSON that this program writes.
    #[error("not in the form that this program writes")]
    Json(#[from] serde_json::Error),
    /// A key is not base64.
    #[error("the key is not in base64")]
    Encoding,
    /// A key can't be used, or is not the certificate's.
    #[error("the key and the certificate can't be used")]
    Key(#[from] KeyError),
    /// A certificate can't be read.
    #[error("the certificate can't be read")]
    Certificate(#[from] CertificateError),
}

/// The parts of an identity that are not derived from others.
#[derive(Debug)]
pub struct Parts {
    /// See [`Identity::site`].
    pub site: Name,
    /// See [`Identity::site_number`].
    pub site_number: u32,
    /// See [`Identity::url`].
    pub url: String,
    /// See [`Identity::root_pem`].
    pub root_pem: String,
    /// See [`Identity::chain_pem`].
    pub chain_pem: String,
    /// See [`Identity::tls_key`].
    pub tls_key: TlsKey,
    /// See [`Identity::ticket_key`].
    pub ticket_key: TicketKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    site: Name,
    site_number: u32,
    url: String,
    root: String,
    certificate_chain: String,
    tls_key: String,
    ticket_key: String,
}

impl Identity {
    /// Puts an identity together; the certificate must be for the TLS key.
    ///
    /// # Errors
    /// When certificates can't be read or don't fit the key.
    pub fn new(parts: Parts) -> Result<Self, IdentityError> {
        let Parts { site, site_number, url, root_pem, chain_pem, tls_key, ticket_key } = parts;
        let root = chain_from_pem(&root_pem)?.first().map(|root| Digest::of(root)).ok_or(CertificateError::Empty)?;
        let chain = tls_key.accept(&chain_pem)?;
        let validity = Validity::of(chain.first().ok_or(CertificateError::Empty)?)?;
        Ok(Self { site, site_number, url, root_pem, chain_pem, tls_key, ticket_key, root, chain, validity })
    }

    /// Reads what [`Identity::to_bytes`] wrote.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        let file: File = serde_json::from_slice(bytes)?;
        Self::new(Parts {
            site: file.site,
            site_number: file.site_number,
            url: file.url,
            root_pem: file.root,
            chain_pem: file.certificate_chain,
            tls_key: TlsKey::from_pkcs8(key_from_text(file.tls_key)?)?,
            ticket_key: TicketKey::from_pkcs8(key_from_text(file.ticket_key)?)?,
        })
    }

    /// The identity as it is kept on disk. It holds the private keys.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let file = File {
            site: self.site.clone(),
            site_number: self.site_number,
            url: self.url.clone(),
            root: self.root_pem.clone(),
            certificate_chain: self.chain_pem.clone(),
            tls_key: key_to_text(self.tls_key.pkcs8()),
            ticket_key: key_to_text(self.ticket_key.pkcs8()),
        };
        // A struct of strings and numbers always serialises.
        Zeroizing::new(serde_json::to_vec_pretty(&file).unwrap_or_default())
    }

    /// SHA-256 of the root certificate's DER.
    #[must_use]
    pub const fn root(&self) -> Digest {
        self.root
    }

    /// From when until when the site's certificate is good.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The certificate with which the box proves itself to the cloud.
    #[must_use]
    pub fn client_certificate(&self) -> ClientCertificate {
        ClientCertificate { chain: self.chain.clone(), key: self.tls_key.pkcs8().clone() }
    }

    /// The same box with a new certificate and its key.
    ///
    /// # Errors
    /// When the certificate can't be read or is for another key.
    pub fn renewed(&self, tls_key: TlsKey, chain_pem: String) -> Result<Self, IdentityError> {
        Self::new(Parts {
            site: self.site.clone(),
            site_number: self.site_number,
            url: self.url.clone(),
            root_pem: self.root_pem.clone(),
            chain_pem,
            tls_key,
            ticket_key: TicketKey::from_pkcs8(self.ticket_key.pkcs8().clone())?,
        })
    }
}

/// Keys that were made for a join whose answer is not on disk yet.
///
/// They are durable before the token is spent: when the answer is lost, the box can repeat the very same request.
#[derive(Debug)]
pub struct PendingJoin {
    /// SHA-256 of the join token's secret: tells whether a token was sent before.
    pub token: Digest,
    /// The request in PEM, kept since another signature over it would make it another request.
    pub csr: String,
    /// The key of the certificate to come.
    pub tls_key: TlsKey,
    /// Will sign boot tickets.
    pub ticket_key: TicketKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PendingFile {
    token: Digest,
    csr: String,
    tls_key: String,
    ticket_key: String,
}

impl PendingJoin {
    /// Makes new keys for a token.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate(token: Digest) -> Result<Self, KeyError> {
        let tls_key = TlsKey::generate()?;
        Ok(Self { token, csr: tls_key.certificate_request()?, tls_key, ticket_key: TicketKey::generate()? })
    }

    /// Reads what [`PendingJoin::to_bytes`] wrote.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        let file: PendingFile = serde_json::from_slice(bytes)?;
        Ok(Self {
            token: file.token,
            csr: file.csr,
            tls_key: TlsKey::from_pkcs8(key_from_text(file.tls_key)?)?,
            ticket_key: TicketKey::from_pkcs8(key_from_text(file.ticket_key)?)?,
        })
    }

    /// The keys as they are kept on disk.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let file = PendingFile {
            token: self.token,
            csr: self.csr.clone(),
            tls_key: key_to_text(self.tls_key.pkcs8()),
            ticket_key: key_to_text(self.ticket_key.pkcs8()),
        };
        // A struct of strings always serialises.
        Zeroizing::new(serde_json::to_vec_pretty(&file).unwrap_or_default())
    }
}

fn key_to_text(key: &Secret) -> String {
    BASE64.encode(key.expose())
}

fn key_from_text(text: String) -> Result<Secret, IdentityError> {
    let text = Zeroizing::new(text);
    BASE64.decode(text.as_bytes()).map(Secret::new).map_err(|_| IdentityError::Encoding)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An identity whose certificate is its own root; good for a day around the year 2027.
    pub(crate) fn example(site: &str) -> Identity {
        let tls_key = TlsKey::generate().unwrap();
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
            &rustls::pki_types::PrivatePkcs8KeyDer::from(tls_key.pkcs8().expose()),
            &rcgen::PKCS_ECDSA_P256_SHA256,
        )
        .unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec![site.to_owned()]).unwrap();
        parameters.not_before = time::OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        parameters.not_after = time::OffsetDateTime::from_unix_timestamp(1_800_086_400).unwrap();
        let pem = parameters.self_signed(&pair).unwrap().pem();
        Identity::new(Parts {
            site: site.parse().unwrap(),
            site_number: 7,
            url: "https://198.51.100.10:8444".to_owned(),
            root_pem: pem.clone(),
            chain_pem: pem,
            tls_key,
            ticket_key: TicketKey::generate().unwrap(),
        })
        .unwrap()
    }

    #[test]
    fn comes_back_as_it_was_and_its_debug_shows_no_key() {
        let identity = example("plant-1");
        let again = Identity::from_bytes(&identity.to_bytes()).unwrap();
        assert_eq!(again.to_bytes(), identity.to_bytes());
        assert_eq!(again.root(), identity.root());
        assert_eq!(again.validity().half_life().as_secs(), 1_800_043_200);
        let shown = format!("{identity:?}");
        assert!(shown.contains("Secret(not shown)") && !shown.contains(&key_to_text(identity.tls_key.pkcs8())), "{shown}");
    }

    #[test]
    fn is_refused_when_cut_at_any_octet() {
        let bytes = example("plant-1").to_bytes();
        for length in 0..bytes.len() {
            assert!(Identity::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn is_refused_when_the_certificate_is_for_another_key() {
        let (one, other) = (example("plant-1"), example("plant-2"));
        let error = one.renewed(TlsKey::generate().unwrap(), other.chain_pem).unwrap_err();
        assert!(matches!(error, IdentityError::Key(KeyError::Mismatch(_))), "{error:?}");
    }

    #[test]
    fn keys_of_a_join_come_back_with_the_same_request() {
        let pending = PendingJoin::generate(Digest::of(b"token")).unwrap();
        let again = PendingJoin::from_bytes(&pending.to_bytes()).unwrap();
        assert_eq!((again.csr, again.token), (pending.csr, pending.token));
        assert_eq!(again.ticket_key.public_text(), pending.ticket_key.public_text());
    }
}
