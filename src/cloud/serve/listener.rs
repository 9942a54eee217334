use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

/// More than this are made to wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 4096;
/// A handshake takes iPXE under emulation a third of a second.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// A request's head must be there within this time, also the next one on a kept connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection whose other side acknowledges nothing for this long is gone.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(60);
/// A client whose handshake failed gets this long, and may send this much, until it has read why.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
const FAREWELL_OCTETS: u64 = 1 << 20;
/// Requests under way get this long to finish when the program ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What TLS tells about a connection.
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) certificate: Option<CertificateDer<'static>>,
    version: Option<rustls::ProtocolVersion>,
    cipher: Option<rustls::CipherSuite>,
}

impl Connection {
    /// Version and cipher suite, such as `TLSv1_2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`.
    pub(super) fn tls_in_words(&self) -> String {
        let version = self.version.and_then(|version| version.as_str()).unwrap_or("TLS");
        let cipher = self.cipher.and_then(|cipher| cipher.as_str()).unwrap_or("unknown cipher");
        format!("{version} {cipher}")
    }
}

/// A listener, and what answers on it.
pub(super) struct Plane<R> {
    pub(super) name: &'static str,
    pub(super) listener: TcpListener,
    pub(super) tls: Arc<ServerConfig>,
    pub(super) router: R,
}

/// Closes a connection whose handshake failed so that the alert arrives: under TLS 1.3 a client has sent its request by the time its
/// certificate is refused, and closing on unread octets would reset the connection and take the alert along.
async fn say_farewell(mut stream: TcpStream) {
    let drain = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(FAREWELL_OCTETS), &mut tokio::io::sink()).await
    };
    // Whether it arrives is the other side's affair.
    drop(tokio::time::timeout(FAREWELL_TIMEOUT, drain).await);
}

impl<R: Fn(&Connection) -> Router + Send + Sync + 'static> Plane<R> {
    /// Accepts connections until told to stop, then lets those that are open finish.
    pub(super) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let plane = Arc::new(self);
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            let accepted = tokio::select! {
                accepted = plane.listener.accept() => accepted,
                _ = stopping.changed() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (plane, stopping) = (Arc::clone(&plane), stopping.clone());
                    connections.spawn(async move {
                        plane.serve(stream, peer, stopping).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: they come back when connections end.
                    tracing::warn!(plane = plane.name, %error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        let drained = tokio::time::timeout(DRAIN_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!(plane = plane.name, count = connections.len(), "connections were cut at the end");
        }
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr, mut stopping: watch::Receiver<bool>) {
        // Answers are written whole; waiting for more to fill a segment only delays them.
        drop(stream.set_nodelay(true));
        // A machine that lost its power says no farewell; what was sent to it must not be held for ever.
        drop(socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT)));
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls));
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream).into_fallible()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err((error, stream))) => {
                tracing::info!(plane = self.name, %peer, %error, "TLS handshake failed: a client that does not trust this cloud, or no TLS client");
                say_farewell(stream).await;
                return;
            }
            Err(_) => {
                tracing::info!(plane = self.name, %peer, "TLS handshake took too long");
                return;
            }
        };
        let (_, session) = stream.get_ref();
        let connection = Connection {
            peer,
            certificate: session
                .peer_certificates()
                .and_then(<[CertificateDer<'_>]>::first)
                .map(|certificate| certificate.clone().into_owned()),
            version: session.protocol_version(),
            cipher: session.negotiated_cipher_suite().map(|suite| suite.suite()),
        };
        let router = (self.router)(&connection);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let answer = router.clone().call(request.map(axum::body::Body::new));
            async move {
                let Ok(answer) = answer.await;
                Ok::<_, Infallible>(answer)
            }
        });
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service);
        let mut serving = std::pin::pin!(serving);
        let outcome = tokio::select! {
            outcome = serving.as_mut() => outcome,
            _ = stopping.changed() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(plane = self.name, %peer, %error, "connection ended early");
        }
    }
}
