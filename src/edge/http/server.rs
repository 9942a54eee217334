//! The sockets of the HTTP boot server.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::Limits;
use super::response::{Content, answer};
use crate::clock;
use crate::edge::boot_files::{BootFile, BootFiles, FileServed, Protocol, ServedFiles};
use crate::edge::endpoint::Endpoint;
use crate::failure::{Failure, Result};

/// What the server is made from.
pub struct HttpServer {
    /// Where to take connections; usually port 80 of each address that serves nodes.
    pub listen: Vec<Endpoint>,
    /// What can be read.
    pub files: BootFiles,
    /// Who hears of files that went out whole.
    pub served: Arc<dyn ServedFiles>,
    /// What to take on at once.
    pub limits: Limits,
}

/// Serves until `shutdown`, and then up to five seconds more for the answers that are on their way.
///
/// # Errors
/// A [`Failure`] when a socket can't be had, or the server breaks down.
pub async fn run(server: HttpServer, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
    server.bind()?.run(shutdown).await
}

impl HttpServer {
    /// Takes the sockets. Only this needs the right to a port below 1024. To be called in a tokio runtime.
    ///
    /// # Errors
    /// A [`Failure`] that says which address can't be had, why, and what to do.
    pub fn bind(self) -> Result<BoundHttpServer> {
        let listeners: Vec<Listener> = self.listen.iter().map(Listener::bind).collect::<Result<_>>()?;
        let local_addresses = listeners.iter().map(|listener| listener.address).collect();
        let shared = Arc::new(Shared {
            files: self.files,
            served: self.served,
            limits: self.limits,
            places: Arc::new(Semaphore::new(self.limits.connections)),
            per_address: Mutex::default(),
        });
        Ok(BoundHttpServer { listeners, local_addresses, shared })
    }
}

/// A server that has its sockets and does not serve yet.
pub struct BoundHttpServer {
    listeners: Vec<Listener>,
    local_addresses: Vec<SocketAddrV4>,
    shared: Arc<Shared>,
}

impl BoundHttpServer {
    /// Where it listens, in the order of [`HttpServer::listen`], with the ports that were taken.
    #[must_use]
    pub fn local_addresses(&self) -> &[SocketAddrV4] {
        &self.local_addresses
    }

    /// Serves until `shutdown`, and then up to five seconds more for the answers that are on their way.
    ///
    /// # Errors
    /// A [`Failure`] when the server breaks down.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let (stop, stopped) = watch::channel(());
        let mut listeners = JoinSet::new();
        for listener in self.listeners {
            tracing::info!(address = %listener.endpoint, "serving HTTP boot");
            listeners.spawn(listener.serve(Arc::clone(&self.shared), stopped.clone()));
        }
        tokio::select! {
            () = shutdown => {}
            // A listener only ends by itself through a fault of this program.
            Some(ended) = listeners.join_next() => return Err(broken(ended)),
        }
        drop(stop);
        while let Some(ended) = listeners.join_next().await {
            if ended.is_err() {
                return Err(broken(ended));
            }
        }
        Ok(())
    }
}

fn broken(ended: Result<(), JoinError>) -> Failure {
    let failure = Failure::new("the HTTP boot server stopped by itself");
    let failure = match ended {
        Ok(()) => failure,
        Err(error) => failure.cause(&error),
    };
    failure.hint("this is a fault in fairlead-edge: restart it, and report it with the log")
}

/// How long connections may go on after the shutdown.
const DRAIN: Duration = Duration::from_secs(5);
/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;
/// Octets that hyper takes at a time.
const CHUNK: usize = 64 * 1024;
/// A longer head of a request is answered with 431.
const HEAD_LIMIT: usize = 16 * 1024;

struct Shared {
    files: BootFiles,
    served: Arc<dyn ServedFiles>,
    limits: Limits,
    places: Arc<Semaphore>,
    per_address: Mutex<HashMap<Ipv4Addr, usize>>,
}

impl Shared {
    fn per_address(&self) -> MutexGuard<'_, HashMap<Ipv4Addr, usize>> {
        self.per_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among those that are taken on.
struct Place {
    shared: Arc<Shared>,
    peer: Ipv4Addr,
    _in_all: OwnedSemaphorePermit,
}

impl Place {
    fn take(shared: &Arc<Shared>, peer: Ipv4Addr, in_all: OwnedSemaphorePermit) -> Option<Self> {
        let mut per_address = shared.per_address();
        let count = per_address.entry(peer).or_default();
        if *count >= shared.limits.connections_per_address {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Self { shared: Arc::clone(shared), peer, _in_all: in_all })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut per_address = self.shared.per_address();
        if let Some(count) = per_address.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                per_address.remove(&self.peer);
            }
        }
    }
}

struct Listener {
    endpoint: Endpoint,
    address: SocketAddrV4,
    socket: TcpListener,
}

impl Listener {
    fn bind(endpoint: &Endpoint) -> Result<Self> {
        let cannot = |error: io::Error| Failure::new(format!("cannot serve HTTP boot on {endpoint}")).cause(&error);
        let socket = endpoint.listen_tcp("HTTP boot", BACKLOG)?;
        let address = socket.local_addr().map_err(cannot)?.as_socket_ipv4().unwrap_or(endpoint.address);
        let socket = TcpListener::from_std(socket.into()).map_err(cannot)?;
        Ok(Self { endpoint: Endpoint { address, ..endpoint.clone() }, address, socket })
    }

    async fn serve(self, shared: Arc<Shared>, mut stopped: watch::Receiver<()>) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                // The sender is gone: shutdown.
                _ = stopped.changed() => break,
                Some(ended) = connections.join_next() => report_panic(ended),
                accepted = self.accept(&shared) => match accepted {
                    Ok((stream, peer, in_all)) => match Place::take(&shared, peer, in_all) {
                        Some(place) => {
                            connections.spawn(converse(place, stream, stopped.clone()));
                        }
                        None => tracing::debug!(%peer, "closed an HTTP connection: too many from this address"),
                    },
                    Err(error) => {
                        tracing::warn!(address = %self.endpoint, %error, "cannot accept HTTP connections");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                },
            }
        }
        drop(self.socket);
        let drained = timeout(DRAIN, async {
            while let Some(ended) = connections.join_next().await {
                report_panic(ended);
            }
        });
        if drained.await.is_err() {
            tracing::warn!(address = %self.endpoint, running = connections.len(), "cutting the HTTP connections that are still open");
        }
    }

    async fn accept(&self, shared: &Shared) -> io::Result<(TcpStream, Ipv4Addr, OwnedSemaphorePermit)> {
        let place = Arc::clone(&shared.places).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, peer) = self.socket.accept().await?;
        let peer = match peer.ip() {
            IpAddr::V4(address) => address,
            IpAddr::V6(address) => address.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED),
        };
        Ok((stream, peer, place))
    }
}

fn report_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "an HTTP connection broke down");
    }
}

/// Serves one connection to its end.
async fn converse(place: Place, stream: TcpStream, mut stopped: watch::Receiver<()>) {
    let (shared, peer) = (&place.shared, place.peer);
    let _best_effort = stream.set_nodelay(true);
    let _best_effort = SockRef::from(&stream).set_tcp_user_timeout(Some(shared.limits.stall_timeout));
    let handed_over = HandedOver::default();
    let service = service_fn(|request: Request<Incoming>| {
        // A client that asks for more has got what it asked before.
        handed_over.report(&*shared.served);
        std::future::ready(Ok::<_, Infallible>(respond(shared, peer, &request, &handed_over)))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.head_timeout)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    match ended {
        Ok(()) => handed_over.report(&*shared.served),
        // It idled for longer than the kernel waits for acknowledgements, so all that was sent has arrived.
        Err(error) if error.is_timeout() && shared.limits.head_timeout > shared.limits.stall_timeout => {
            handed_over.report(&*shared.served);
        }
        Err(error) => tracing::debug!(%peer, %error, "an HTTP connection ended early"),
    }
}

fn respond(shared: &Shared, peer: Ipv4Addr, request: &Request<Incoming>, handed_over: &HandedOver) -> Response<FileBody> {
    let path = request.uri().path();
    let answer = answer(&shared.files, request.method(), path, request.headers());
    let status = answer.head.status().as_u16();
    let shown = crate::edge::tftp::packet::printable(path.as_bytes());
    if answer.head.status().is_success() {
        tracing::debug!(%peer, method = %request.method(), path = %shown, status, "answered over HTTP");
    } else {
        let method: String = request.method().as_str().chars().take(16).collect();
        tracing::info!(%peer, method, path = %shown, status, "refused over HTTP");
    }
    let body = match answer.content {
        Content::None => FileBody::default(),
        Content::Text(line) => FileBody { rest: Bytes::from_static(line.as_bytes()), whole: None },
        Content::File(file, octets) => {
            let is_whole = octets.len() == file.bytes().len();
            let rest = file.bytes().get(octets).map(|part| file.bytes().slice_ref(part)).unwrap_or_default();
            FileBody { rest, whole: is_whole.then(|| Whole { file, peer, handed_over: handed_over.clone() }) }
        }
    };
    answer.head.map(|()| body)
}

/// Files of one connection that were handed to the kernel to the last octet, and of which the connection's further life has not shown yet that they went out.
///
/// That shows by the next request, by the end of the connection after the answer, or by an idle time longer than the kernel waits for
/// acknowledgements. A client that breaks off during the answer, or vanishes, is not reported. A reset right after the answer can't be told from an
/// end in order, because that is how EDK II ends its HTTP boot: what was in the kernel's send buffer at that time is taken for received.
#[derive(Clone, Default)]
struct HandedOver(Arc<Mutex<Vec<FileServed>>>);

impl HandedOver {
    fn add(&self, served: FileServed) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(served);
    }

    fn report(&self, to: &dyn ServedFiles) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for served in all {
            tracing::debug!(peer = %served.peer, file = %served.file, size = served.size, "sent over HTTP");
            to.file_served(served);
        }
    }
}

/// The body of an answer: octets in memory, shared with all who read the same file.
#[derive(Default)]
struct FileBody {
    rest: Bytes,
    whole: Option<Whole>,
}

struct Whole {
    file: BootFile,
    peer: Ipv4Addr,
    handed_over: HandedOver,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.rest.len().min(CHUNK);
        let chunk = self.rest.split_to(length);
        if self.rest.is_empty()
            && let Some(Whole { file, peer, handed_over }) = self.whole.take()
        {
            handed_over.add(FileServed::whole(clock::now(), peer, Protocol::Http, &file));
        }
        Poll::Ready((!chunk.is_empty()).then(|| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap_or(u64::MAX))
    }
}
