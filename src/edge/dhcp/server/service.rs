use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tokio::sync::{mpsc, oneshot};

use super::desk::{BatchId, Change, Desk, Disk, Place};
use super::mailbox::Mailbox;
use super::port::Port;
use super::segment::{Listeners, Segment};
use super::{LONGEST_DATAGRAM, Shared, bind};
use crate::clock;
use crate::edge::dhcp::config::DhcpConfig;
use crate::edge::dhcp::{InterfaceId, Outcome, Outgoing};
use crate::edge::lease::{Journal, RecordBatch};
use crate::edge::socket::{ReceiveBatch, SendBatch};
use crate::wire::uplink::SiteEvent;

/// What other threads tell the one that serves.
pub(super) enum Letter {
    /// The disk is done with a batch.
    Settled(BatchId, Outcome),
    /// Somebody changes leases.
    Change(Change),
    /// Serve by another configuration.
    Reload(Reload),
    /// Keep the promises under way, then end.
    Stop,
}

/// A configuration that was held against the machine, with its ports.
pub(super) struct Reload {
    pub(super) config: Arc<DhcpConfig>,
    pub(super) ports: Vec<Port>,
    pub(super) done: oneshot::Sender<()>,
}

/// The thread that serves: it alone receives, decides and sends, for all ports, in batches. Its work on a batch is short, and the
/// disk is waited for elsewhere, so no port waits for another one's clients.
pub(super) struct Service {
    shared: Arc<Shared>,
    desk: Desk<JournalDisk>,
    mailbox: Arc<Mailbox<Letter>>,
    ports: Vec<Port>,
    listeners: Listeners,
    /// Which port is served first: another one each time, so that a flood on one does not come before all others.
    first: usize,
    incoming: ReceiveBatch,
    sender: SendBatch,
    due: Vec<Outgoing>,
    /// Waits until all promises are kept: they name interfaces by their places in the configuration that made them.
    reloads: VecDeque<(Instant, Reload)>,
    stopping: Option<Instant>,
}

/// The journal, which tells the mailbox when it is done.
pub(super) struct JournalDisk {
    pub(super) journal: Journal,
    pub(super) mailbox: Arc<Mailbox<Letter>>,
}

/// What came in before the end is answered still; beyond so many batches of a port there is a flood that would never end.
const LAST_BATCHES: usize = 64;

/// How long the end waits for the disk and for the network's buffers.
const LAST_WAIT: Duration = Duration::from_secs(5);

impl Disk for JournalDisk {
    fn submit(&mut self, batch: BatchId, records: RecordBatch) {
        let mailbox = Arc::clone(&self.mailbox);
        self.journal.submit(records, move |outcome| {
            let outcome = match outcome {
                Ok(()) => Outcome::Durable,
                Err(error) => {
                    tracing::debug!("leases are not on the disk: {error}");
                    Outcome::Failed
                }
            };
            mailbox.post(Letter::Settled(batch, outcome));
        });
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Also when the thread breaks down.
        self.mailbox.close();
    }
}

/// Something that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    Mailbox,
    /// Requests at the port in this place.
    Requests(usize),
    /// What is heard on the segment in this place.
    Segment(usize),
    Echoes,
    /// Room to send in.
    Room,
}

impl Service {
    pub(super) fn new(
        shared: Arc<Shared>,
        disk: JournalDisk,
        ports: Vec<Port>,
        listeners: Listeners,
        reports: mpsc::Sender<SiteEvent>,
    ) -> Self {
        let mailbox = Arc::clone(&disk.mailbox);
        Self {
            desk: Desk::new(Arc::clone(&shared), disk, reports),
            shared,
            mailbox,
            ports,
            listeners,
            first: 0,
            incoming: ReceiveBatch::new(LONGEST_DATAGRAM),
            sender: SendBatch::default(),
            due: Vec::new(),
            reloads: VecDeque::new(),
            stopping: None,
        }
    }

    /// Serves until it is told to stop and its promises are kept.
    pub(super) fn run(mut self) -> io::Result<()> {
        while !self.is_done() {
            let ready = self.wait()?;
            self.read_mailbox();
            let now = clock::now();
            for watched in ready {
                match watched {
                    // What was found ready may have been read to its end by the last look.
                    Watched::Requests(place) if self.receives() => drop(self.receive(place, now)),
                    Watched::Segment(place) => self.listen(place, now),
                    Watched::Echoes => self.listen_for_echoes(now),
                    Watched::Requests(_) | Watched::Mailbox | Watched::Room => {}
                }
            }
            if self.receives() {
                // After what was heard, so that no answer is overlooked that came in time.
                self.desk.tick(now, &mut self.due);
            }
            self.desk.submit();
            self.send();
            self.reload_when_kept();
        }
        Ok(())
    }

    /// Whether requests are taken.
    fn receives(&self) -> bool {
        self.stopping.is_none() && self.reloads.is_empty()
    }

    /// Waits until there is something to do. Returns what has come in, in the order in which to take it.
    fn wait(&mut self) -> io::Result<Vec<Watched>> {
        let now = Instant::now();
        let receives = self.receives() && self.desk.has_room();
        let mut watched = vec![Watched::Mailbox];
        let listening: Vec<bool> = self.ports.iter_mut().map(|port| receives && port.receives(now)).collect();
        let timeout = self.timeout(now);
        let hears: Vec<bool> = self.listeners.segments.iter_mut().map(|segment| segment.listens(now)).collect();
        let mut sockets = vec![PollFd::new(self.mailbox.as_fd(), PollFlags::POLLIN)];
        for (place, (segment, hears)) in self.listeners.segments.iter().zip(hears).enumerate() {
            for socket in segment.sockets().into_iter().filter(|_| hears) {
                watched.push(Watched::Segment(place));
                sockets.push(PollFd::new(socket, PollFlags::POLLIN));
            }
        }
        if let Some(echoes) = &self.listeners.echoes {
            watched.push(Watched::Echoes);
            sockets.push(PollFd::new(echoes.as_fd(), PollFlags::POLLIN));
        }
        for socket in self.listeners.stuck() {
            watched.push(Watched::Room);
            sockets.push(PollFd::new(socket, PollFlags::POLLOUT));
        }
        // Ports come last: what was heard of an address counts before it is given out.
        for (place, (port, listens)) in self.ports.iter().zip(listening).enumerate() {
            if listens {
                watched.push(Watched::Requests(place));
                sockets.push(PollFd::new(port.socket.as_fd(), PollFlags::POLLIN));
            }
            if let Some(socket) = port.stuck() {
                watched.push(Watched::Room);
                sockets.push(PollFd::new(socket, PollFlags::POLLOUT));
            }
        }
        match ppoll(&mut sockets, timeout, None) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let is_ready = |socket: &PollFd<'_>| socket.any().unwrap_or(true);
        let ready = watched.iter().zip(&sockets).filter(|(_, socket)| is_ready(socket)).map(|(watched, _)| *watched);
        let (mut requests, mut ready): (Vec<Watched>, Vec<Watched>) = ready.partition(|watched| matches!(watched, Watched::Requests(_)));
        if !requests.is_empty() {
            let turn = self.first.checked_rem(requests.len()).unwrap_or(0);
            requests.rotate_left(turn);
            self.first = self.first.wrapping_add(1);
        }
        ready.dedup();
        ready.append(&mut requests);
        Ok(ready)
    }

    /// The time until something is due without anybody's doing.
    fn timeout(&self, now: Instant) -> Option<TimeSpec> {
        // The disk tells the mailbox when it is done; only the network must be given up on.
        let late = self.reloads.front().map(|(until, _)| *until).filter(|until| *until > now);
        let resting = self.ports.iter().filter_map(|port| port.resting_until);
        let not_hearing = self.listeners.segments.iter().filter_map(Segment::resting_until);
        let tick = self.desk.next_tick().filter(|_| self.receives()).and_then(|next| now.checked_add(next.since(clock::now())));
        let paced = self.ports.iter().filter_map(Port::resumes_at);
        let moments = resting.chain(not_hearing).chain(tick).chain(self.stopping).chain(late).chain(paced);
        moments.min().map(|moment| TimeSpec::from_duration(moment.saturating_duration_since(now)))
    }

    fn read_mailbox(&mut self) {
        let mut letters: VecDeque<Letter> = self.mailbox.collect();
        if letters.is_empty() {
            return;
        }
        let now = clock::now();
        for letter in letters.drain(..) {
            match letter {
                Letter::Settled(batch, outcome) => self.desk.settle(now, batch, outcome, &mut self.due),
                Letter::Change(change) => self.desk.change(now, change, &mut self.due),
                Letter::Reload(reload) => self.begin_reload(reload),
                Letter::Stop => self.stop(),
            }
        }
    }

    /// Takes a batch of requests from a port. Returns whether there may be more.
    fn receive(&mut self, place: usize, now: clock::Timestamp) -> bool {
        let Some(port) = self.ports.get_mut(place) else { return false };
        match self.incoming.receive(port.socket.as_fd()) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return false,
            Err(error) => {
                port.rest(Instant::now(), &error);
                return false;
            }
        }
        let place = Place { interface: port.interface, name: &port.name, port: port.number };
        self.desk.decide(now, place, self.incoming.datagrams(), &mut self.due);
        true
    }

    fn listen(&mut self, place: usize, now: clock::Timestamp) {
        let Self { desk, listeners, due, .. } = self;
        let Some(segment) = listeners.segments.get_mut(place) else { return };
        let interface = segment.interface;
        segment.receive(Instant::now(), |notice| desk.noticed(now, interface, &notice, due));
    }

    fn listen_for_echoes(&mut self, now: clock::Timestamp) {
        let Self { desk, listeners, due, .. } = self;
        let Some(echoes) = &listeners.echoes else { return };
        // Which interface it came by does not matter.
        echoes.receive(|notice| desk.noticed(now, InterfaceId(0), &notice, due));
    }

    fn send(&mut self) {
        for outgoing in self.due.drain(..) {
            let found = self.ports.iter_mut().find(|port| port.interface == outgoing.interface && port.number == outgoing.from_port);
            match found {
                Some(port) => port.queue(outgoing),
                None => tracing::warn!(to = ?outgoing.destination, "a DHCP answer has no port to leave by"),
            }
        }
        // Answers first: a question can wait for longer than a client.
        let now = Instant::now();
        for port in &mut self.ports {
            port.flush(now, &mut self.sender);
        }
        self.listeners.ask(self.desk.questions(), &mut self.sender);
    }

    /// Answers what has come in by now, and nothing that comes later.
    fn stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        for place in 0..self.ports.len() {
            self.receive_the_last(place);
        }
        self.stopping = Instant::now().checked_add(LAST_WAIT);
    }

    /// Takes what has come in at a port by now.
    fn receive_the_last(&mut self, place: usize) {
        let now = clock::now();
        for _ in 0..LAST_BATCHES {
            if !self.receive(place, now) {
                break;
            }
        }
    }

    /// Takes the last requests of ports that go, and no others until the promises under way are kept.
    fn begin_reload(&mut self, reload: Reload) {
        let stays = |port: &Port| reload.ports.iter().any(|new| Arc::ptr_eq(&new.socket, &port.socket));
        let going: Vec<usize> = self.ports.iter().enumerate().filter(|(_, port)| !stays(port)).map(|(place, _)| place).collect();
        let now = Instant::now();
        self.reloads.push_back((now.checked_add(LAST_WAIT).unwrap_or(now), reload));
        for place in going {
            self.receive_the_last(place);
        }
    }

    fn reload_when_kept(&mut self) {
        while let Some((until, _)) = self.reloads.front() {
            // A network that takes nothing must not keep the site from a configuration that may mend it; the disk must be waited for.
            let is_late = *until <= Instant::now() && self.desk.is_idle();
            if !self.keeps_nothing_waiting() && !is_late {
                return;
            }
            let Some((_, Reload { config, ports, done })) = self.reloads.pop_front() else { return };
            let mut engine = self.shared.engine();
            engine.reconfigure(Arc::clone(&config));
            self.listeners = bind::open_listeners(&config, &mut engine);
            drop(engine);
            self.shared.note_open(&ports);
            self.ports = ports;
            // Nobody may be waiting any more.
            let _ = done.send(());
        }
    }

    fn keeps_nothing_waiting(&self) -> bool {
        self.desk.is_idle() && self.ports.iter().all(Port::is_flushed)
    }

    fn is_done(&self) -> bool {
        let Some(until) = self.stopping else { return false };
        let all_kept = self.keeps_nothing_waiting();
        if !all_kept && until <= Instant::now() {
            tracing::warn!("the disk or the network was too slow for the last DHCP answers");
            return true;
        }
        all_kept
    }
}
