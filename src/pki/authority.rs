//! The cloud's certificate authority: a root, an issuing CA below it, and what the issuing CA signs.
//!
//! All keys are P-256: iPXE 2.0 verifies ECDSA on P-256 and P-384 and RSA, but not Ed25519.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use time::macros::datetime;

use crate::clock::Timestamp;
use crate::secret::Secret;
use crate::wire::{Digest, Name};

/// Not before this moment: machines whose real-time clock lost its battery start years in the past, and the BIOS builds of iPXE
/// have no `ntp` to correct that.
const NOT_BEFORE: OffsetDateTime = datetime!(2000-01-01 0:00 UTC);
/// The last moment that a certificate can name as UTCTime (RFC 5280, section 4.1.2.5.1), which old firmware parsers know best.
const NOT_AFTER: OffsetDateTime = datetime!(2049-12-31 23:59:59 UTC);

/// Why the authority can't do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// A key or certificate could not be made or read.
    #[error("cannot make or read a key or certificate")]
    Certificate(#[from] rcgen::Error),
    /// A stored certificate is not PEM.
    #[error("a stored certificate is not PEM")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// A stored key is not text.
    #[error("a stored key is not PEM text")]
    KeyText,
    /// The request is no certificate signing request, or its proof of possession does not hold.
    #[error("not a valid certificate signing request")]
    Request(#[source] rcgen::Error),
    /// The request's key is of a kind that is not accepted.
    #[error("the certificate signing request must hold a P-256 key")]
    RequestKey,
    /// A name that can't stand in a certificate.
    #[error("`{0}` cannot stand in a certificate")]
    Name(String),
}

/// A certificate and its private key, in PEM.
#[derive(Clone, Debug)]
pub struct KeyedCertificate {
    /// The certificate.
    pub certificate: String,
    /// The private key (PKCS#8).
    pub key: Secret,
}

/// The root and the issuing CA, made once by `init`.
#[derive(Clone, Debug)]
pub struct NewAuthority {
    /// The root. Its key signs the issuing CA and nothing else, and can be moved off the machine afterwards.
    pub root: KeyedCertificate,
    /// The issuing CA.
    pub issuing: KeyedCertificate,
}

impl NewAuthority {
    /// Makes both.
    ///
    /// # Errors
    /// When the machine can't make keys.
    pub fn generate() -> Result<Self, AuthorityError> {
        let root_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let root_params = ca_params("Fairlead root", 1);
        let root = root_params.self_signed(&root_key)?;
        let root_key_pem = Secret::from(root_key.serialize_pem());
        let root_issuer = Issuer::new(root_params, root_key);

        let issuing_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let issuing = ca_params("Fairlead issuing CA", 0).signed_by(&issuing_key, &root_issuer)?;
        Ok(Self {
            root: KeyedCertificate { certificate: root.pem(), key: root_key_pem },
            issuing: KeyedCertificate { certificate: issuing.pem(), key: Secret::from(issuing_key.serialize_pem()) },
        })
    }
}

/// The issuing CA at work.
pub struct Authority {
    root: CertificateDer<'static>,
    issuing: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate that the authority signed for a site.
#[derive(Clone, Debug)]
pub struct SiteCertificate {
    /// The site's certificate and the issuing CA's, in PEM.
    pub chain: String,
    /// Digest of the certificate's DER: how the store knows it.
    pub fingerprint: Digest,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Authority {
    /// Reads what `init` made. The root's key is not needed.
    ///
    /// # Errors
    /// When a file is not what it should be.
    pub fn open(root: &str, issuing: &KeyedCertificate) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(issuing.key.expose_str().ok_or(AuthorityError::KeyText)?)?;
        Ok(Self {
            root: CertificateDer::from_pem_slice(root.as_bytes())?,
            issuing: CertificateDer::from_pem_slice(issuing.certificate.as_bytes())?,
            issuer: Issuer::from_ca_cert_pem(&issuing.certificate, key)?,
        })
    }

    /// SHA-256 of the root's DER: what is sealed into firmware and pinned by join tokens.
    #[must_use]
    pub fn root_fingerprint(&self) -> Digest {
        Digest::of(&self.root)
    }

    /// The root certificate.
    #[must_use]
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// A server certificate for `hosts` (DNS names and IP addresses) with a new key, and the chain to present: certificate,
    /// issuing CA, and the root, since iPXE holds only the root's fingerprint.
    ///
    /// # Errors
    /// When a host can't stand in a certificate.
    pub fn server_certificate(&self, hosts: &[String]) -> Result<ServerCertificate, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = leaf_params(hosts.first().map_or("fairlead-cloud", String::as_str), ExtendedKeyUsagePurpose::ServerAuth);
        params.subject_alt_names = hosts.iter().map(|host| subject_alt_name(host)).collect::<Result<_, _>>()?;
        params.not_before = NOT_BEFORE;
        params.not_after = NOT_AFTER;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(ServerCertificate {
            chain: vec![certificate.der().clone(), self.issuing.clone(), self.root.clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        })
    }

    /// Signs a site's request: only its key is taken, everything else is ours to say.
    ///
    /// # Errors
    /// When the request is malformed, its signature does not hold, or its key is not P-256.
    pub fn sign_site(&self, csr_pem: &str, site: &Name, now: Timestamp, lifetime: Duration) -> Result<SiteCertificate, AuthorityError> {
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem).map_err(AuthorityError::Request)?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(AuthorityError::RequestKey);
        }
        // A box whose clock is a little behind must be able to use it at once.
        let begins = Timestamp(now.0.saturating_sub(3_600_000));
        let expires_at = now.after(lifetime);
        let mut params = leaf_params(site.as_str(), ExtendedKeyUsagePurpose::ClientAuth);
        params.subject_alt_names = vec![subject_alt_name(site.as_str())?];
        params.not_before = moment(begins);
        params.not_after = moment(expires_at);
        request.params = params;
        let certificate: Certificate = request.signed_by(&self.issuer)?;
        let issuing = pem_of(&self.issuing);
        Ok(SiteCertificate { chain: format!("{}{issuing}", certificate.pem()), fingerprint: Digest::of(certificate.der()), expires_at })
    }

    /// The root certificate in PEM.
    #[must_use]
    pub fn root_pem(&self) -> String {
        pem_of(&self.root)
    }
}

/// A server certificate with its key, as rustls takes them.
#[derive(Debug)]
pub struct ServerCertificate {
    /// Certificate, issuing CA, root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The certificate's key.
    pub key: PrivateKeyDer<'static>,
}

fn ca_params(name: &str, path_length: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = NOT_BEFORE;
    params.not_after = NOT_AFTER;
    params
}

fn leaf_params(name: &str, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    distinguished_name
}

fn subject_alt_name(host: &str) -> Result<SanType, AuthorityError> {
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => host.try_into().map(SanType::DnsName).map_err(|_| AuthorityError::Name(host.to_owned())),
    }
}

fn moment(at: Timestamp) -> OffsetDateTime {
    i64::try_from(at.as_secs()).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok()).unwrap_or(NOT_AFTER)
}

fn pem_of(certificate: &CertificateDer<'_>) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let encoded = data_encoding::BASE64.encode(certificate);
    for line in encoded.as_bytes().chunks(64) {
        // Base64 is ASCII, and writing to a string can't fail.
        let _ = writeln!(text, "{}", String::from_utf8_lossy(line));
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    use super::*;

    fn authority() -> Authority {
        let made = NewAuthority::generate().unwrap();
        Authority::open(&made.root.certificate, &made.issuing).unwrap()
    }

    fn request() -> String {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.serialize_request(&key).unwrap().pem().unwrap()
    }

    #[test]
    fn server_chain_ends_with_the_root_and_verifies() {
        let authority = authority();
        let made = authority.server_certificate(&["198.51.100.10".to_owned(), "boot.example".to_owned()]).unwrap();
        let [leaf, issuing, root] = made.chain.as_slice() else { panic!("three certificates") };
        let parse = |der: &CertificateDer<'_>| X509Certificate::from_der(der).map(|(_, _certificate)| ()).is_ok();
        assert!(parse(leaf) && parse(issuing) && parse(root));
        let (_, leaf) = X509Certificate::from_der(leaf).unwrap();
        let (_, issuing) = X509Certificate::from_der(issuing).unwrap();
        let (_, root) = X509Certificate::from_der(root).unwrap();
        leaf.verify_signature(Some(issuing.public_key())).unwrap();
        issuing.verify_signature(Some(root.public_key())).unwrap();
        assert!(leaf.validity().not_before.timestamp() < 1_000_000_000, "valid on a machine whose clock starts in 2001");
    }

    #[test]
    fn site_request_gets_what_we_say_and_not_what_it_asks() {
        let authority = authority();
        let now = Timestamp::from_secs(1_800_000_000);
        let signed = authority.sign_site(&request(), &"plant-1".parse().unwrap(), now, Duration::from_secs(604_800)).unwrap();
        let der = CertificateDer::from_pem_slice(signed.chain.as_bytes()).unwrap();
        assert_eq!(Digest::of(&der), signed.fingerprint);
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        assert!(!certificate.is_ca());
        assert_eq!(certificate.subject().to_string(), "CN=plant-1");
        let names = format!("{:?}", certificate.subject_alternative_name().unwrap().unwrap().value);
        assert!(names.contains("plant-1") && !names.contains("evil"), "{names}");
        assert_eq!(certificate.validity().not_after.timestamp(), 1_800_604_800);
        assert_eq!(signed.chain.matches("BEGIN CERTIFICATE").count(), 2);
    }

    #[test]
    fn request_whose_proof_does_not_hold_is_refused() {
        let pem = request();
        let mut der = pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
        // The last octets are the signature.
        der.replace_range(der.len() - 8..der.len() - 4, "AAAA");
        let broken = format!("-----BEGIN CERTIFICATE REQUEST-----\n{der}\n-----END CERTIFICATE REQUEST-----\n");
        let outcome = authority().sign_site(&broken, &"a".parse().unwrap(), Timestamp::from_secs(1), Duration::from_secs(1));
        assert!(matches!(outcome, Err(AuthorityError::Request(_))), "{outcome:?}");
    }
}
