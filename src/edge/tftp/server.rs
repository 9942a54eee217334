//! The sockets of the TFTP server.
//!
//! Requests come to the well-known port; each transfer has a socket of its own, bound to the address that was asked and connected to the reader, as
//! TFTP's transfer identifiers want it (RFC 1350, section 4). Firmware drops answers from any other address.

use std::collections::HashMap;
use std::future::Future;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, getsockopt, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::packet::{Options, Refusal};
use super::{Answer, Counters, Ending, Limits, Reception, Transfer, TransferId};
use crate::clock::{self, Timestamp};
use crate::edge::boot_files::{BootFile, BootFiles, FileServed, Protocol, ServedFiles};
use crate::edge::endpoint::Endpoint;
use crate::failure::{Failure, Result};

/// What the server is made from.
pub struct TftpServer {
    /// Where to take requests; usually port 69 of each address that serves nodes.
    pub listen: Vec<Endpoint>,
    /// What can be read.
    pub files: BootFiles,
    /// Who hears of whole transfers.
    pub served: Arc<dyn ServedFiles>,
    /// What to take on at once.
    pub limits: Limits,
}

/// Serves until `shutdown`, and then up to five seconds more for the transfers that run.
///
/// # Errors
/// A [`Failure`] when a socket can't be had, or the server breaks down.
pub async fn run(server: TftpServer, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
    server.bind()?.run(shutdown).await
}

impl TftpServer {
    /// Takes the sockets. Only this needs the right to a port below 1024. To be called in a tokio runtime.
    ///
    /// # Errors
    /// A [`Failure`] that says which address can't be had, why, and what to do.
    pub fn bind(self) -> Result<BoundTftpServer> {
        let listeners: Vec<Listener> = self.listen.iter().map(Listener::bind).collect::<Result<_>>()?;
        let local_addresses = listeners.iter().map(|listener| listener.address).collect();
        let started = (clock::now(), Instant::now());
        let shared = Arc::new(Shared {
            state: Mutex::new(State { reception: Reception::new(self.files, self.limits), notices: HashMap::new() }),
            served: self.served,
            limits: self.limits,
            started,
        });
        Ok(BoundTftpServer { listeners, local_addresses, shared })
    }
}

/// A server that has its sockets and does not serve yet.
pub struct BoundTftpServer {
    listeners: Vec<Listener>,
    local_addresses: Vec<SocketAddrV4>,
    shared: Arc<Shared>,
}

impl BoundTftpServer {
    /// Where it listens, in the order of [`TftpServer::listen`], with the ports that were taken.
    #[must_use]
    pub fn local_addresses(&self) -> &[SocketAddrV4] {
        &self.local_addresses
    }

    /// Reads the counters, now and while the server runs.
    pub fn counters(&self) -> impl Fn() -> Counters + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.state().reception.counters()
    }

    /// Serves until `shutdown`, and then up to five seconds more for the transfers that run.
    ///
    /// # Errors
    /// A [`Failure`] when the server breaks down.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let (stop, stopped) = watch::channel(());
        let mut listeners = JoinSet::new();
        for listener in self.listeners {
            tracing::info!(address = %listener.endpoint, "serving TFTP");
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
    let failure = Failure::new("the TFTP server stopped by itself");
    let failure = match ended {
        Ok(()) => failure,
        Err(error) => failure.cause(&error),
    };
    failure.hint("this is a fault in fairlead-edge: restart it, and report it with the log")
}

/// How long transfers may go on after the shutdown.
const DRAIN: Duration = Duration::from_secs(5);
/// No request is longer (RFC 2347: 512 octets); what is cut here can't be read.
const REQUEST_LIMIT: usize = 1500;

struct Shared {
    state: Mutex<State>,
    served: Arc<dyn ServedFiles>,
    limits: Limits,
    started: (Timestamp, Instant),
}

struct State {
    reception: Reception,
    notices: HashMap<TransferId, mpsc::Sender<Notice>>,
}

/// What the reception tells a transfer that runs.
enum Notice {
    RequestRepeated,
    End(Ending),
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time for the engines: it does not jump when the box's clock is set, as happens at a site that has just got its network.
    fn now(&self) -> Timestamp {
        let (timestamp, instant) = self.started;
        timestamp.after(instant.elapsed())
    }

    fn instant(&self, at: Timestamp) -> Instant {
        let (timestamp, instant) = self.started;
        instant + at.since(timestamp)
    }

    fn acknowledged(&self, id: TransferId) {
        let mut state = self.state();
        for old in state.reception.acknowledged(id) {
            if let Some(transfer) = state.notices.get(&old) {
                let _full_or_gone = transfer.try_send(Notice::End(Ending::Superseded));
            }
        }
    }
}

/// A socket at the well-known port.
struct Listener {
    endpoint: Endpoint,
    address: SocketAddrV4,
    socket: UdpSocket,
}

impl Listener {
    fn bind(endpoint: &Endpoint) -> Result<Self> {
        let cannot = |error: io::Error| Failure::new(format!("cannot serve TFTP on {endpoint}")).cause(&error);
        let socket = endpoint.bind_udp("TFTP")?;
        // Room for the requests of a whole site that comes up at once; the kernel holds it to its own limit.
        let _at_most = socket.set_recv_buffer_size(1 << 20);
        // The address that a request was sent to, which is the one to answer from.
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).map_err(io::Error::from).map_err(cannot)?;
        let address = socket.local_addr().map_err(cannot)?.as_socket_ipv4().unwrap_or(endpoint.address);
        let socket = UdpSocket::from_std(socket.into()).map_err(cannot)?;
        Ok(Self { endpoint: Endpoint { address, ..endpoint.clone() }, address, socket })
    }

    async fn serve(self, shared: Arc<Shared>, mut stopped: watch::Receiver<()>) {
        let mut transfers = JoinSet::new();
        let mut buffer = [0; REQUEST_LIMIT];
        loop {
            tokio::select! {
                biased;
                // The sender is gone: shutdown.
                _ = stopped.changed() => break,
                Some(ended) = transfers.join_next() => report_panic(ended),
                received = self.receive(&mut buffer) => match received {
                    Ok((length, peer, local)) => {
                        let datagram = buffer.get(..length).unwrap_or_default();
                        self.answer(&shared, &mut transfers, local, peer, datagram);
                    }
                    Err(error) => {
                        tracing::warn!(address = %self.endpoint, %error, "cannot receive TFTP requests");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                },
            }
        }
        let drained = timeout(DRAIN, drain(&mut transfers)).await;
        if drained.is_err() {
            tracing::warn!(address = %self.endpoint, running = transfers.len(), "ending the TFTP transfers that still run");
            let running: Vec<_> = shared.state().notices.values().cloned().collect();
            for transfer in running {
                let _full_or_gone = transfer.try_send(Notice::End(Ending::Shutdown));
            }
            let _gone_anyway = timeout(Duration::from_secs(1), drain(&mut transfers)).await;
        }
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddrV4, Ipv4Addr)> {
        self.socket
            .async_io(Interest::READABLE, || {
                let mut parts = [IoSliceMut::new(buffer)];
                let mut control = nix::cmsg_space!(nix::libc::in_pktinfo);
                let message = recvmsg::<SockaddrIn>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
                let asked = message.cmsgs()?.find_map(|part| match part {
                    ControlMessageOwned::Ipv4PacketInfo(info) => Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr))),
                    _ => None,
                });
                let peer = message.address.map_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), SocketAddrV4::from);
                Ok((message.bytes, peer, asked.unwrap_or(*self.address.ip())))
            })
            .await
    }

    fn answer(&self, shared: &Arc<Shared>, transfers: &mut JoinSet<()>, local: Ipv4Addr, peer: SocketAddrV4, datagram: &[u8]) {
        let mut state = shared.state();
        match state.reception.handle(local, peer, datagram) {
            Answer::Begin { id, file, options } => {
                let (notices, to_transfer) = mpsc::channel(4);
                state.notices.insert(id, notices);
                drop(state);
                let place = Place { shared: Arc::clone(shared), id, ending: None };
                match self.socket_to(local, peer).and_then(|socket| UdpSocket::from_std(socket.into())) {
                    Ok(socket) => {
                        transfers.spawn(carry(place, socket, peer, file, options, to_transfer));
                    }
                    Err(error) => tracing::warn!(%peer, %error, "cannot begin a TFTP transfer"),
                }
            }
            Answer::Again(id) => {
                if let Some(transfer) = state.notices.get(&id) {
                    let _full_or_gone = transfer.try_send(Notice::RequestRepeated);
                }
            }
            Answer::Refuse(refusal) => {
                drop(state);
                if let Err(error) = self.socket_to(local, peer).and_then(|socket| socket.send(&refusal.packet())) {
                    tracing::debug!(%peer, %error, "cannot send a TFTP error");
                }
            }
            Answer::Silence(reason) => tracing::debug!(%peer, %reason, "dropped a datagram to the TFTP port"),
        }
    }

    /// A new port of `local`, for `peer` alone.
    fn socket_to(&self, local: Ipv4Addr, peer: SocketAddrV4) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        if let Some(device) = &self.endpoint.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        socket.bind(&SocketAddrV4::new(local, 0).into())?;
        socket.connect(&peer.into())?;
        Ok(socket)
    }
}

async fn drain(transfers: &mut JoinSet<()>) {
    while let Some(ended) = transfers.join_next().await {
        report_panic(ended);
    }
}

fn report_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a TFTP transfer broke down");
    }
}

/// A transfer's place in the reception, given back however the transfer ends.
struct Place {
    shared: Arc<Shared>,
    id: TransferId,
    ending: Option<Ending>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.notices.remove(&self.id);
        state.reception.ended(self.id, self.ending.as_ref());
    }
}

/// Carries one file to one reader.
async fn carry(
    mut place: Place,
    socket: UdpSocket,
    peer: SocketAddrV4,
    file: BootFile,
    options: Options,
    mut notices: mpsc::Receiver<Notice>,
) {
    let shared = Arc::clone(&place.shared);
    // What the kernel knows of the path; without it, what every Ethernet carries.
    let path_mtu = getsockopt(&socket, sockopt::IpMtu).ok().and_then(|mtu| u32::try_from(mtu).ok()).unwrap_or(1500);
    let begun = shared.now();
    let mut transfer = Transfer::new(begun, file, options, path_mtu, &shared.limits);
    let (block_size, window) = transfer.agreed();
    tracing::debug!(%peer, file = transfer.file().name(), block_size, window, path_mtu, "TFTP transfer begins");

    let mut datagram = Vec::with_capacity(transfer.largest_datagram());
    let mut received = [0; 600];
    let mut acknowledged = false;
    let mut armed_for = transfer.deadline();
    let timer = sleep_until(shared.instant(armed_for));
    tokio::pin!(timer);
    loop {
        while transfer.poll_transmit(shared.now(), &mut datagram) {
            send(&socket, &mut transfer, &datagram).await;
        }
        if transfer.ending().is_some() {
            break;
        }
        // The timer is not moved for each block: when it fires early, `on_timeout` does nothing and it is set again.
        if transfer.deadline() < armed_for || timer.is_elapsed() {
            armed_for = transfer.deadline();
            timer.as_mut().reset(shared.instant(armed_for));
        }
        tokio::select! {
            biased;
            result = socket.recv(&mut received) => match result {
                Ok(length) => {
                    transfer.handle(shared.now(), received.get(..length).unwrap_or_default());
                    if !acknowledged && transfer.is_acknowledged() {
                        acknowledged = true;
                        shared.acknowledged(place.id);
                    }
                }
                Err(error) => on_socket_error(&mut transfer, &error),
            },
            () = &mut timer => transfer.on_timeout(shared.now()),
            Some(notice) = notices.recv() => match notice {
                Notice::RequestRepeated => transfer.on_repeated_request(),
                Notice::End(ending) => {
                    // A reader that follows a newer transfer must not hear of the old one; one that waits for more should know.
                    if ending == Ending::Shutdown {
                        let _best_effort = socket.try_send(&Refusal::ShuttingDown.packet());
                    }
                    transfer.end(ending);
                }
            },
        }
    }
    report(&shared, peer, &transfer, begun);
    place.ending = transfer.ending().cloned();
}

async fn send(socket: &UdpSocket, transfer: &mut Transfer, datagram: &[u8]) {
    if let Err(error) = socket.send(datagram).await {
        on_socket_error(transfer, &error);
    }
}

fn on_socket_error(transfer: &mut Transfer, error: &io::Error) {
    if error.kind() == ErrorKind::ConnectionRefused {
        transfer.end(Ending::PortClosed);
    } else {
        // No route for a moment, no buffer, no answer to ARP: like a datagram that is lost, and the retransmission sees to it.
        tracing::debug!(%error, "a TFTP datagram could not go out");
    }
}

fn report(shared: &Shared, peer: SocketAddrV4, transfer: &Transfer, begun: Timestamp) {
    let (block_size, window) = transfer.agreed();
    let file = transfer.file();
    let name = file.name();
    match transfer.ending() {
        Some(Ending::Whole) => {
            let now = clock::now();
            let milliseconds = u64::try_from(shared.now().since(begun).as_millis()).unwrap_or(u64::MAX);
            tracing::debug!(%peer, file = name, size = file.size(), block_size, window, milliseconds, "sent over TFTP");
            shared.served.file_served(FileServed::whole(now, *peer.ip(), Protocol::Tftp, file));
        }
        Some(Ending::ByReader(error)) => {
            // Firmware asks for the size this way, so it is no fault.
            tracing::debug!(%peer, file = name, code = error.code, text = %error.text, "the reader ended its TFTP transfer");
        }
        Some(Ending::Silent) => tracing::info!(%peer, file = name, "gave up a TFTP transfer: the reader is silent"),
        Some(Ending::PortClosed) => tracing::info!(%peer, file = name, "gave up a TFTP transfer: the reader closed its port"),
        Some(ending @ (Ending::Superseded | Ending::Shutdown)) => tracing::debug!(%peer, file = name, ?ending, "ended a TFTP transfer"),
        None => {}
    }
}
