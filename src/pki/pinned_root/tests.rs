use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::pki::test_authority::{Authority, Server};

/// Connects to `127.0.0.1` over real sockets; returns what the client thinks of the server and the protocol version.
async fn connect(server: Server, pin: Digest) -> Result<Option<rustls::ProtocolVersion>, rustls::Error> {
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(server.chain, server.key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that refuses the server ends the handshake, which is not the server's failure.
        if let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await {
            drop(stream.write_all(b"ok").await);
            drop(stream.shutdown().await);
        }
    });
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(client_config(pin, None).unwrap()));
    let outcome = connector.connect(ServerName::IpAddress(address.ip().into()), stream).await;
    let outcome = match outcome {
        Ok(mut stream) => {
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "ok");
            Ok(stream.get_ref().1.protocol_version())
        }
        Err(error) => Err(error.get_ref().unwrap().downcast_ref::<rustls::Error>().unwrap().clone()),
    };
    serving.await.unwrap();
    outcome
}

const DAY: Duration = Duration::days(1);

#[tokio::test]
async fn chain_with_the_pinned_root_is_accepted_over_tls_1_3() {
    let cloud = Authority::new();
    let version = connect(cloud.server("127.0.0.1", DAY), cloud.fingerprint()).await.unwrap();
    assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_3));
}

#[tokio::test]
async fn chain_to_another_root_is_refused_and_the_error_names_both() {
    let (cloud, other) = (Authority::new(), Authority::new());
    let error = connect(other.server("127.0.0.1", DAY), cloud.fingerprint()).await.unwrap_err();
    let expected = RootNotPresented { pinned: cloud.fingerprint(), presented: Some(other.fingerprint()) };
    assert_eq!(RootNotPresented::inside(&error), Some(&expected));
}

#[tokio::test]
async fn pinned_root_that_is_shown_beside_a_foreign_chain_is_of_no_help() {
    let (cloud, other) = (Authority::new(), Authority::new());
    let mut server = other.server("127.0.0.1", DAY);
    server.chain.push(cloud.root.clone());
    let error = connect(server, cloud.fingerprint()).await.unwrap_err();
    // The two roots bear the same name, so the path is found and its signature is what fails.
    assert!(matches!(error, rustls::Error::InvalidCertificate(CertificateError::BadSignature)), "{error:?}");
}

#[tokio::test]
async fn chain_without_its_root_is_refused() {
    let cloud = Authority::new();
    let mut server = cloud.server("127.0.0.1", DAY);
    server.chain.pop();
    let error = connect(server, cloud.fingerprint()).await.unwrap_err();
    assert!(RootNotPresented::inside(&error).is_some(), "{error:?}");
}

#[tokio::test]
async fn certificate_for_another_name_is_refused() {
    let cloud = Authority::new();
    let error = connect(cloud.server("cloud.example", DAY), cloud.fingerprint()).await.unwrap_err();
    assert!(matches!(error, rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })), "{error:?}");
}

#[tokio::test]
async fn expired_certificate_is_refused() {
    let cloud = Authority::new();
    let error = connect(cloud.server("127.0.0.1", -DAY), cloud.fingerprint()).await.unwrap_err();
    assert!(matches!(error, rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. })), "{error:?}");
}

#[tokio::test]
async fn root_as_the_server_itself_is_refused() {
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pin = Digest::of(own.der());
    let server = Server { chain: vec![own.der().clone()], key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())) };
    let error = connect(server, pin).await.unwrap_err();
    assert!(RootNotPresented::inside(&error).is_some(), "{error:?}");
}

#[test]
fn client_certificate_with_a_foreign_key_is_refused() {
    let cloud = Authority::new();
    let certificate =
        ClientCertificate { chain: cloud.server("a", DAY).chain, key: Secret::new(KeyPair::generate().unwrap().serialize_der()) };
    assert!(client_config(cloud.fingerprint(), Some(certificate)).is_err());
}
