use std::collections::{BTreeSet, HashMap};
use std::hint;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;

use super::super::packet::{Options, Refusal};
use super::super::{Answer, Ending, Limits, Reception, Transfer, TransferId};
use super::listener::Listener;
use super::lock;
use super::outlet::{Outlet, Sent};
use crate::clock::{self, Timestamp};
use crate::edge::boot_files::{BootFile, FileServed, Protocol, ServedFiles};

/// The thread that carries all transfers. It never waits for one of them, and nothing that it does for one takes long.
pub(super) struct Service {
    epoll: Epoll,
    stop: Arc<EventFd>,
    listeners: Vec<Listener>,
    reception: Arc<Mutex<Reception>>,
    served: Arc<dyn ServedFiles>,
    limits: Limits,
    running: HashMap<TransferId, Running>,
    /// When to look after a transfer: not later than its deadline. It is not moved for each block; what comes early is set again.
    timers: BTreeSet<(Timestamp, TransferId)>,
    started: (Timestamp, Instant),
    /// Since when the server is to end.
    stopping: Option<Timestamp>,
}

struct Running {
    transfer: Transfer,
    outlet: Outlet,
    peer: SocketAddrV4,
    begun: Timestamp,
    timer: Timestamp,
    /// Whether the reception knows that the reader follows.
    acknowledged: bool,
    /// Whether it waits for room in its socket's buffer.
    waits: bool,
}

/// How long transfers may go on after the shutdown.
const DRAIN: Duration = Duration::from_secs(5);
/// No request is longer (RFC 2347: 512 octets); what is cut here can't be read.
const REQUEST_LIMIT: usize = 1500;
/// So many requests of a port are taken before the transfers have their turn again.
const REQUESTS_AT_ONCE: usize = 64;
/// In lock step a transfer is as fast as an ACK is answered, and to wake a thread that sleeps takes longer than all else: for so long after the
/// last datagram the sockets are asked again before the thread sleeps.
const AWAKE: Duration = Duration::from_micros(50);

/// What epoll calls the stop; listeners follow downwards. Transfers count from zero.
const STOP: u64 = u64::MAX;

impl Service {
    pub(super) fn new(
        listeners: Vec<Listener>,
        reception: Arc<Mutex<Reception>>,
        served: Arc<dyn ServedFiles>,
        limits: Limits,
        stop: Arc<EventFd>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&*stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        for (listener, token) in listeners.iter().zip((0..STOP).rev()) {
            epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
            tracing::info!(address = %listener.endpoint, "serving TFTP");
        }
        let started = (clock::now(), Instant::now());
        let (running, timers) = (HashMap::new(), BTreeSet::new());
        Ok(Self { epoll, stop, listeners, reception, served, limits, running, timers, started, stopping: None })
    }

    /// Serves until the stop, and for a while beyond it.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); 256];
        let mut last_event = Instant::now();
        loop {
            let awake = !self.running.is_empty() && last_event.elapsed() < AWAKE;
            let count = match self.epoll.wait(&mut events, if awake { EpollTimeout::ZERO } else { self.patience() }) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            if count == 0 && awake {
                // Not a yield: that would give the processor away for a whole slice of the scheduler's, which is milliseconds.
                hint::spin_loop();
                continue;
            }
            let now = self.now();
            for event in events.iter().take(count) {
                self.on_event(now, event.data());
            }
            self.on_timers(now);
            if count > 0 {
                last_event = Instant::now();
            }
            if let Some(since) = self.stopping {
                if self.running.is_empty() {
                    return Ok(());
                }
                if now.since(since) >= DRAIN {
                    self.end_all();
                    return Ok(());
                }
            }
        }
    }

    /// The time for the engines: it does not jump when the box's clock is set, as happens at a site that has just got its network.
    fn now(&self) -> Timestamp {
        let (timestamp, instant) = self.started;
        timestamp.after(instant.elapsed())
    }

    /// How long there is nothing to do if nothing comes.
    fn patience(&self) -> EpollTimeout {
        let end = self.stopping.map(|since| since.after(DRAIN));
        let next = self.timers.first().map(|(at, _)| *at).into_iter().chain(end).min();
        // A millisecond more than it seems, or the last part of one would be spent asking.
        let left = next.map(|at| at.since(self.now()).saturating_add(Duration::from_millis(1)));
        left.map_or(EpollTimeout::NONE, |left| EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX))
    }

    fn on_event(&mut self, now: Timestamp, token: u64) {
        if token == STOP {
            let _drained = self.stop.read();
            self.stopping = Some(now);
            self.refuse_more();
        } else if let Some(place) = usize::try_from(STOP.wrapping_sub(token))
            .ok()
            .and_then(|back| back.checked_sub(1))
            .filter(|place| *place < self.listeners.len())
        {
            self.on_requests(now, place);
        } else {
            self.on_socket(now, TransferId::from_number(token));
        }
    }

    fn refuse_more(&mut self) {
        for listener in self.listeners.drain(..) {
            let _gone_anyway = self.epoll.delete(&listener);
        }
    }

    fn on_requests(&mut self, now: Timestamp, place: usize) {
        let mut buffer = [0; REQUEST_LIMIT];
        for _ in 0..REQUESTS_AT_ONCE {
            let Some(listener) = self.listeners.get(place) else { return };
            match listener.receive(&mut buffer) {
                Ok((length, peer, local)) => {
                    self.on_request(now, place, (local, peer), buffer.get(..length).unwrap_or_default());
                }
                Err(error) => {
                    if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
                        tracing::debug!(address = %listener.endpoint, %error, "cannot receive a TFTP request");
                    }
                    return;
                }
            }
        }
    }

    fn on_request(&mut self, now: Timestamp, place: usize, (local, peer): (Ipv4Addr, SocketAddrV4), datagram: &[u8]) {
        let Some(listener) = self.listeners.get(place) else { return };
        let answer = lock(&self.reception).handle(local, peer, datagram);
        match answer {
            Answer::Begin { id, file, options } => match listener.socket_to(local, peer) {
                Ok(socket) => self.begin(now, id, Outlet::new(socket), peer, file, options),
                Err(error) => {
                    tracing::warn!(%peer, %error, "cannot begin a TFTP transfer");
                    lock(&self.reception).ended(id, None);
                }
            },
            Answer::Again(id) => {
                if let Some(running) = self.running.get_mut(&id) {
                    running.transfer.on_repeated_request();
                    self.go_on(now, id);
                }
            }
            Answer::Refuse(refusal) => {
                if let Err(error) = listener.socket_to(local, peer).and_then(|socket| socket.send(&refusal.packet())) {
                    tracing::debug!(%peer, %error, "cannot send a TFTP error");
                }
            }
            Answer::Silence(reason) => tracing::debug!(%peer, %reason, "dropped a datagram to the TFTP port"),
        }
    }

    fn begin(&mut self, now: Timestamp, id: TransferId, outlet: Outlet, peer: SocketAddrV4, file: BootFile, options: Options) {
        if let Err(error) = self.epoll.add(&outlet, EpollEvent::new(EpollFlags::EPOLLIN, id.number())) {
            tracing::warn!(%peer, %error, "cannot begin a TFTP transfer");
            lock(&self.reception).ended(id, None);
            return;
        }
        let path_mtu = outlet.path_mtu();
        let transfer = Transfer::new(now, file, options, path_mtu, &self.limits);
        let (block_size, window) = transfer.agreed();
        tracing::debug!(%peer, file = transfer.file().name(), block_size, window, path_mtu, "TFTP transfer begins");
        let timer = transfer.deadline();
        self.timers.insert((timer, id));
        self.running.insert(id, Running { transfer, outlet, peer, begun: now, timer, acknowledged: false, waits: false });
        self.go_on(now, id);
    }

    /// Takes one datagram from the reader; epoll comes back for more. It also comes when there is room to send in.
    fn on_socket(&mut self, now: Timestamp, id: TransferId) {
        let Some(running) = self.running.get_mut(&id) else { return };
        let mut received = [0; 600];
        match running.outlet.receive(&mut received) {
            Ok(length) => running.transfer.handle(now, received.get(..length).unwrap_or_default()),
            Err(error) => on_socket_error(&mut running.transfer, &error),
        }
        if !running.acknowledged && running.transfer.is_acknowledged() {
            running.acknowledged = true;
            let superseded = lock(&self.reception).acknowledged(id);
            for old in superseded {
                if let Some(old) = self.running.get_mut(&old) {
                    // The reader follows the newer one and must not hear of this.
                    old.transfer.end(Ending::Superseded);
                }
                self.go_on(now, old);
            }
        }
        self.go_on(now, id);
    }

    /// Sends what is due, and ends the transfer when it is over.
    fn go_on(&mut self, now: Timestamp, id: TransferId) {
        let Some(running) = self.running.get_mut(&id) else { return };
        match running.outlet.send(now, &mut running.transfer) {
            Ok(sent) => {
                let waits = sent == Sent::Waits;
                if waits != running.waits {
                    let flags = if waits { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN };
                    match self.epoll.modify(&running.outlet, &mut EpollEvent::new(flags, id.number())) {
                        Ok(()) => running.waits = waits,
                        Err(error) => tracing::debug!(%error, "a TFTP socket can't be watched"),
                    }
                }
            }
            Err(error) => on_socket_error(&mut running.transfer, &error),
        }
        if running.transfer.ending().is_some() {
            if let Some(running) = self.running.remove(&id) {
                self.over(id, &running);
            }
        } else if running.transfer.deadline() < running.timer {
            self.timers.remove(&(running.timer, id));
            running.timer = running.transfer.deadline();
            self.timers.insert((running.timer, id));
        }
    }

    fn on_timers(&mut self, now: Timestamp) {
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            let Some(running) = self.running.get_mut(&id) else { continue };
            running.transfer.on_timeout(now);
            running.timer = running.transfer.deadline().max(now.after(Duration::from_millis(1)));
            self.timers.insert((running.timer, id));
            self.go_on(now, id);
        }
    }

    fn end_all(&mut self) {
        tracing::warn!(running = self.running.len(), "ending the TFTP transfers that still run");
        for (id, mut running) in std::mem::take(&mut self.running) {
            running.outlet.send_last(&Refusal::ShuttingDown.packet());
            running.transfer.end(Ending::Shutdown);
            self.over(id, &running);
        }
    }

    fn over(&mut self, id: TransferId, running: &Running) {
        self.timers.remove(&(running.timer, id));
        let Running { transfer, peer, begun, .. } = running;
        lock(&self.reception).ended(id, transfer.ending());
        let (block_size, window) = transfer.agreed();
        let file = transfer.file();
        let name = file.name();
        match transfer.ending() {
            Some(Ending::Whole) => {
                let milliseconds = u64::try_from(self.now().since(*begun).as_millis()).unwrap_or(u64::MAX);
                tracing::debug!(%peer, file = name, size = file.size(), block_size, window, milliseconds, "sent over TFTP");
                self.served.file_served(FileServed::whole(clock::now(), *peer.ip(), Protocol::Tftp, file));
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
}

fn on_socket_error(transfer: &mut Transfer, error: &io::Error) {
    match error.kind() {
        ErrorKind::ConnectionRefused => transfer.end(Ending::PortClosed),
        ErrorKind::WouldBlock | ErrorKind::Interrupted => {}
        // No route for a moment, no buffer, no answer to ARP: like a datagram that is lost, and the retransmission sees to it.
        _ => tracing::debug!(%error, "a TFTP datagram could not go out"),
    }
}
