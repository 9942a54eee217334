//! A box that joins by curl, and the tickets that it signs.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use data_encoding::BASE64URL_NOPAD;
use fairlead::clock;
use fairlead::wire::uplink::{JoinAnswer, JoinRequest, ticket_key_proof};
use fairlead::wire::{BootId, JoinToken, MacAddr, Nonce, Ticket};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::program::{Answer, Cloud};

static BOXES: AtomicU32 = AtomicU32::new(1);

pub(crate) struct SiteBox {
    tls_key: KeyPair,
    ticket_key: Ed25519KeyPair,
    site: u32,
    certificate: PathBuf,
    key: PathBuf,
}

impl SiteBox {
    pub(crate) fn join(cloud: &Cloud) -> Self {
        Self::join_with(cloud, &cloud.join_token())
    }

    pub(crate) fn join_with(cloud: &Cloud, token: &str) -> Self {
        let number = BOXES.fetch_add(1, Ordering::Relaxed);
        let tls_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let ticket_key = Ed25519KeyPair::from_seed_unchecked(&[u8::try_from(number).expect("few boxes"); 32]).expect("a key");
        let answer = request(cloud, token, &tls_key, &ticket_key);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let joined: JoinAnswer = serde_json::from_str(&answer.body).expect("a join answer");
        let (certificate, key) = (cloud.folder().join(format!("box{number}.pem")), cloud.folder().join(format!("box{number}.key")));
        fs::write(&certificate, joined.certificate_chain).expect("written");
        fs::write(&key, tls_key.serialize_pem()).expect("written");
        Self { tls_key, ticket_key, site: joined.site_number, certificate, key }
    }

    /// The status and the text of the answer to a join that may be refused.
    pub(crate) fn try_join(cloud: &Cloud, token: &str) -> (u16, String) {
        let tls_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let ticket_key = Ed25519KeyPair::from_seed_unchecked(&[255; 32]).expect("a key");
        let answer = request(cloud, token, &tls_key, &ticket_key);
        (answer.status, answer.body)
    }

    /// Sends the join request once more, with the same keys.
    pub(crate) fn ask_again(&self, cloud: &Cloud, token: &str) -> Answer {
        request(cloud, token, &self.tls_key, &self.ticket_key)
    }

    pub(crate) fn settings(&self, cloud: &Cloud) -> Answer {
        let (certificate, key) = (self.certificate.display().to_string(), self.key.display().to_string());
        cloud.curl_site("/site/v1/settings", &["--cert", &certificate, "--key", &key])
    }

    pub(crate) fn ticket(&self, nonce: u8) -> String {
        Ticket {
            site: self.site,
            boot: BootId([nonce; 8]),
            mac: MacAddr([0x52, 0x54, 0, 0, 0, 1]),
            uuid: None,
            issued_at: clock::now(),
            nonce: Nonce([nonce; 12]),
        }
        .sign(&self.ticket_key)
    }
}

pub(crate) fn script_url() -> String {
    "/boot/v1/script?mac=52-54-00-00-00-01&uuid=4c4c4544-0042-3510-8052-b4c04f564231&platform=efi".to_owned()
}

fn request(cloud: &Cloud, token: &str, tls_key: &KeyPair, ticket_key: &Ed25519KeyPair) -> Answer {
    let token: JoinToken = token.parse().expect("a join token");
    let csr = CertificateParams::default().serialize_request(tls_key).expect("a request").pem().expect("PEM");
    let request = JoinRequest {
        secret: BASE64URL_NOPAD.encode(token.secret.expose()),
        ticket_key: BASE64URL_NOPAD.encode(ticket_key.public_key().as_ref()),
        ticket_key_proof: BASE64URL_NOPAD.encode(ticket_key.sign(&ticket_key_proof(&csr)).as_ref()),
        csr,
    };
    let body = serde_json::to_string(&request).expect("JSON");
    cloud.curl_site("/site/v1/join", &["-H", "Content-Type: application/json", "--data", &body])
}
