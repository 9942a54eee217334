//! A certificate authority of two levels, as the cloud's, for tests.

use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::wire::Digest;

pub(crate) struct Authority {
    pub(crate) root: CertificateDer<'static>,
    pub(crate) root_pem: String,
    issuing: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// What a server presents.
pub(crate) struct Server {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let ca = |name: &str| {
            let mut parameters = CertificateParams::new(Vec::<String>::new()).unwrap();
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
            parameters
        };
        let (root_key, issuing_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = ca("root").self_signed(&root_key).unwrap();
        let root_issuer = Issuer::new(ca("root"), root_key);
        let issuing = ca("issuing").signed_by(&issuing_key, &root_issuer).unwrap();
        Self { root: root.der().clone(), root_pem: root.pem(), issuing, issuer: Issuer::new(ca("issuing"), issuing_key) }
    }

    pub(crate) fn fingerprint(&self) -> Digest {
        Digest::of(&self.root)
    }

    /// A server's chain and key, good until `until` from now.
    pub(crate) fn server(&self, name: &str, until: Duration) -> Server {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        parameters.not_before = OffsetDateTime::now_utc() - Duration::days(2);
        parameters.not_after = OffsetDateTime::now_utc() + until;
        let leaf = parameters.signed_by(&key, &self.issuer).unwrap();
        Server {
            chain: vec![leaf.der().clone(), self.issuing.der().clone(), self.root.clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        }
    }

    /// Signs a request for a site's certificate; the chain in PEM.
    pub(crate) fn sign(&self, csr: &str, from: Duration, until: Duration) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr).unwrap();
        request.params.not_before = OffsetDateTime::now_utc() + from;
        request.params.not_after = OffsetDateTime::now_utc() + until;
        request.params.use_authority_key_identifier_extension = true;
        request.params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = request.signed_by(&self.issuer).unwrap();
        format!("{}{}", leaf.pem(), self.issuing.pem())
    }
}
