//! A client that makes a new TLS connection for each request.

use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

/// A port that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) struct Client {
    tls: TlsConnector,
    port: u16,
    runtime: Runtime,
}

impl Client {
    pub(crate) fn new(root: &Path, port: u16) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            // As iPXE does it.
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Each machine is another one.
        config.resumption = rustls::client::Resumption::disabled();
        Self { tls: TlsConnector::from(Arc::new(config)), port, runtime: Runtime::new().unwrap() }
    }

    /// Waits until the server accepts connections.
    pub(crate) fn wait(&self) {
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the server does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The whole answer.
    pub(crate) async fn get(&self, path: &str, bearer: &str) -> String {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = self.tls.connect(name, stream).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {bearer}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A server that closes without saying so at the TLS level has still sent all.
        drop(stream.read_to_end(&mut answer).await);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }

    /// Does `work` again and again, by some at once, and returns how often in a second, and how long each took.
    pub(crate) fn load<F: Future<Output = ()>>(&self, at_once: usize, time: Duration, work: impl Fn() -> F + Sync) -> (f64, Vec<Duration>) {
        let times = Mutex::new(Vec::new());
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    while begun.elapsed() < time {
                        let since = Instant::now();
                        self.runtime.block_on(work());
                        times.lock().unwrap().push(since.elapsed());
                    }
                });
            }
        });
        let elapsed = begun.elapsed();
        let times = times.into_inner().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = times.len() as f64 / elapsed.as_secs_f64();
        (rate, times)
    }
}
