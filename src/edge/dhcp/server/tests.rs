//! The desk with a disk that does what a test says, and the whole thread on loopback.

use std::net::{SocketAddrV4, UdpSocket};
use std::sync::mpsc as sync_mpsc;
use std::time::Duration;

use super::desk::{BatchId, Desk, Disk, Place, WAITING};
use super::*;
use crate::edge::dhcp::tests::packet::{Answer, Packet};
use crate::edge::dhcp::tests::site::{SERVER, SERVER_CONFIG, config, settings};
use crate::edge::dhcp::{Outgoing, PXE_PORT, SERVER_PORT};
use crate::edge::lease::RecordBatch;
use crate::edge::socket::{DeviceSocket, Received};
use crate::edge::test_folder::TestFolder;

const ETH1: Place<'_> = Place { interface: InterfaceId(0), name: "eth1", port: SERVER_PORT };
const BROADCAST: Received =
    Received { length: 0, truncated: false, source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68), destination: Ipv4Addr::BROADCAST };
/// Reserved for the machine whose hardware address ends in 99.
const RESERVED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 110);

/// Keeps what it was given until the test says what became of it.
#[derive(Clone, Default)]
struct PatientDisk(Arc<Mutex<Vec<(BatchId, usize)>>>);

impl Disk for PatientDisk {
    fn submit(&mut self, batch: BatchId, records: RecordBatch) {
        lock(&self.0).push((batch, records.len()));
    }
}

struct Bench {
    desk: Desk<PatientDisk>,
    disk: PatientDisk,
    shared: Arc<Shared>,
    now: Timestamp,
}

impl Bench {
    fn new(text: &str) -> Self {
        let shared = Arc::new(Shared::new(Engine::new(Arc::new(config(text)), Vec::new())).unwrap());
        let disk = PatientDisk::default();
        let desk = Desk::new(Arc::clone(&shared), disk.clone(), mpsc::channel(16).0);
        Self { desk, disk, shared, now: Timestamp::from_secs(1_800_000_000) }
    }

    /// Hears a batch of broadcasts; what is answered at once.
    fn hear(&mut self, packets: &[Packet]) -> Vec<Answer> {
        let octets: Vec<Vec<u8>> = packets.iter().map(Packet::build).collect();
        let mut due = Vec::new();
        self.desk.decide(self.now, ETH1, octets.iter().map(|octets| (BROADCAST, octets.as_slice())), &mut due);
        answers(&due)
    }

    /// The batches at the disk since the last call, with how many records they have.
    fn submitted(&mut self) -> Vec<(BatchId, usize)> {
        self.desk.submit();
        std::mem::take(&mut lock(&self.disk.0))
    }

    fn settle(&mut self, batch: BatchId, outcome: Outcome) -> Vec<Answer> {
        let mut due = Vec::new();
        self.desk.settle(self.now, batch, outcome, &mut due);
        answers(&due)
    }

    /// Offers to machines of these last octets; the requests with which they take them.
    fn requests(&mut self, macs: &[u8]) -> Vec<Packet> {
        let discovers: Vec<Packet> = macs.iter().map(|mac| Packet::discover().mac(*mac)).collect();
        let offers = self.hear(&discovers);
        assert_eq!(offers.len(), macs.len());
        let request = |(mac, offer): (&u8, &Answer)| Packet::request().mac(*mac).address(54, SERVER).address(50, offer.yiaddr());
        macs.iter().zip(&offers).map(request).collect()
    }
}

fn answers(due: &[Outgoing]) -> Vec<Answer> {
    due.iter().map(|outgoing| Answer::parse(&outgoing.payload)).collect()
}

fn macs(answers: &[Answer]) -> Vec<u8> {
    answers.iter().map(|answer| answer.chaddr()[5]).collect()
}

#[test]
fn a_batch_goes_to_the_disk_as_one_and_no_ack_leaves_before_it_is_there() {
    let mut bench = Bench::new(SERVER_CONFIG);
    let requests = bench.requests(&[1, 2, 3]);
    assert!(bench.hear(&requests).is_empty());
    let [(batch, 3)] = bench.submitted()[..] else { panic!("not one batch of three") };
    assert!(!bench.desk.is_idle());
    let acknowledged = bench.settle(batch, Outcome::Durable);
    assert_eq!(macs(&acknowledged), [1, 2, 3]);
    assert!(acknowledged.iter().all(|answer| answer.kind() == "ACK"));
    assert!(bench.desk.is_idle());
    assert!(bench.submitted().is_empty(), "nothing new, nothing to write");
    assert!(bench.settle(batch, Outcome::Durable).is_empty(), "a batch is settled once");
}

#[test]
fn a_batch_that_the_disk_refuses_at_once_overtakes_those_that_it_still_writes() {
    let mut bench = Bench::new(SERVER_CONFIG);
    let requests = bench.requests(&[1, 2]);
    bench.hear(&requests[..1]);
    let first = bench.submitted()[0].0;
    bench.hear(&requests[1..]);
    let second = bench.submitted()[0].0;
    assert!(bench.settle(second, Outcome::Failed).is_empty());
    assert_eq!(macs(&bench.settle(first, Outcome::Durable)), [1]);
    assert_eq!(lock(&bench.shared.drops).get(&DropReason::NotDurable), Some(&1));
    assert!(bench.desk.is_idle());
}

#[test]
fn a_failing_disk_gets_no_new_lease_acknowledged_and_offers_go_on() {
    let mut bench = Bench::new(SERVER_CONFIG);
    for _ in 0..3 {
        let requests = bench.requests(&[1, 2]);
        bench.hear(&requests);
        let [(batch, 2)] = bench.submitted()[..] else { panic!("not one batch of two") };
        assert!(bench.settle(batch, Outcome::Failed).is_empty());
    }
    let requests = bench.requests(&[1, 2]);
    bench.hear(&requests);
    let batch = bench.submitted()[0].0;
    assert_eq!(macs(&bench.settle(batch, Outcome::Durable)), [1, 2]);
}

#[test]
fn a_slow_disk_stops_the_taking_of_requests_before_memory_grows() {
    // One client stands for many, so its own limit must not be what stops it.
    let mut bench = Bench::new(&format!("{SERVER_CONFIG}\n[dhcp.limits]\nclient_rate = 10000\n"));
    let request = Packet::request().mac(0x99).address(50, RESERVED);
    let mut submitted = Vec::new();
    while bench.desk.has_room() {
        bench.hear(&vec![request.clone(); 64]);
        let batches = bench.submitted();
        assert!(!batches.is_empty(), "nothing reaches the disk, so it will never be full");
        submitted.extend(batches);
        assert!(submitted.len() <= WAITING / 64 + 1);
    }
    assert_eq!(submitted.iter().map(|(_, records)| records).sum::<usize>(), WAITING);
    assert_eq!(bench.settle(submitted[0].0, Outcome::Durable).len(), 64);
    assert!(bench.desk.has_room());
}

#[test]
fn datagrams_that_are_not_answered_are_counted_by_reason() {
    let mut bench = Bench::new(SERVER_CONFIG);
    let short = [0_u8; 100];
    let mut due = Vec::new();
    bench.desk.decide(bench.now, ETH1, [(BROADCAST, short.as_slice()); 3].into_iter(), &mut due);
    assert!(due.is_empty());
    bench.hear(&[Packet::request().mac(7).address(50, RESERVED)]);
    let handle = Handle(Arc::clone(&bench.shared));
    let drops = handle.drops();
    assert_eq!((drops.values().sum::<u64>(), drops.get(&DropReason::UnknownLease)), (4, Some(&1)));
}

#[test]
fn a_change_is_told_when_what_it_commits_is_on_the_disk() {
    let mut bench = Bench::new(SERVER_CONFIG);
    bench.hear(&[Packet::request().mac(0x99).address(50, RESERVED)]);
    let lease = bench.submitted()[0].0;
    bench.settle(lease, Outcome::Durable);
    let (done, mut outcome) = oneshot::channel();
    let seen_by = bench.now;
    let change = Change {
        change: Box::new(move |engine, now| {
            assert_eq!((now, engine.machine_at(now, RESERVED).is_some()), (seen_by, true));
            Vec::new()
        }),
        done,
    };
    bench.desk.change(bench.now, change, &mut Vec::new());
    let [(batch, 0)] = bench.submitted()[..] else { panic!("the asker waits for what is before it") };
    assert!(outcome.try_recv().is_err());
    bench.settle(batch, Outcome::Durable);
    assert_eq!(outcome.try_recv(), Ok(Outcome::Durable));
}

/// A thread that serves a loopback port that any user can have, as if it were `number` of an interface in `mode`.
struct Loopback {
    shared: Arc<Shared>,
    to: SocketAddrV4,
    client: UdpSocket,
    folder: TestFolder,
    socket: Arc<DeviceSocket>,
    ended: sync_mpsc::Receiver<std::io::Result<()>>,
    start: Option<Box<dyn FnOnce() + Send>>,
}

const BOX: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);

impl Loopback {
    fn new(name: &str, text: &str, number: u16) -> Self {
        let folder = TestFolder::new(name);
        let (journal, records) = Journal::open(folder.path()).unwrap();
        let mut engine = Engine::new(Arc::new(config(text)), records);
        engine.set_boot_settings(Some(Arc::new(settings())));
        let shared = Arc::new(Shared::new(engine).unwrap());
        let socket = Arc::new(DeviceSocket::bind("lo", 0).unwrap());
        let to = SocketAddrV4::new(BOX, socket.port().unwrap());
        let port = Port::new(InterfaceId(0), ("lo", None), BOX, number, Arc::clone(&socket), None);
        let disk = JournalDisk { journal, mailbox: Arc::clone(&shared.mailbox) };
        let (end, ended) = sync_mpsc::channel();
        let serving = Arc::clone(&shared);
        // Room for all the reports of the test, and nobody who reads them.
        let (reports, unread) = mpsc::channel(4096);
        let start = move || {
            let _unread = unread;
            end.send(Service::new(serving, disk, vec![port], Listeners::default(), reports).run()).unwrap();
        };
        let client = UdpSocket::bind("127.0.0.7:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { shared, to, client, folder, socket, ended, start: Some(Box::new(start)) }
    }

    fn start(&mut self) {
        thread::spawn(self.start.take().unwrap());
    }

    fn stop(&self) {
        self.shared.mailbox.post(Letter::Stop);
    }

    fn send(&self, packet: &Packet) {
        self.client.send_to(&packet.build(), self.to).unwrap();
    }

    fn receive(&self) -> Answer {
        let mut buffer = [0; 2048];
        let length = self.client.recv(&mut buffer).unwrap();
        Answer::parse(&buffer[..length])
    }

    fn join(&self) {
        self.ended.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    }
}

/// The engine's own idea of its address plays no part in how the port is reached.
const PROXY: &str = "[[interface]]\nname = \"lo\"\nmode = \"proxy\"\naddress = \"192.0.2.2\"\n";

fn boot_request(mac: u8, xid: u32) -> Packet {
    Packet::request().mac(mac).xid(xid).option(60, b"PXEClient:Arch:00007:UNDI:003016").option(93, &[0, 7])
}

#[test]
fn the_thread_answers_what_came_in_before_it_started_and_before_it_was_stopped() {
    let mut loopback = Loopback::new("dhcp-service-stop", PROXY, PXE_PORT);
    // More than one batch, and all of it before the thread runs: the socket keeps it.
    for number in 0..150_u8 {
        loopback.send(&boot_request(number, u32::from(number)));
    }
    loopback.stop();
    loopback.start();
    let heard: Vec<Vec<u8>> = (0..150).map(|_| loopback.receive().xid().to_vec()).collect();
    assert_eq!(heard, (0..150_u32).map(|number| number.to_be_bytes().to_vec()).collect::<Vec<_>>());
    loopback.join();
}

#[test]
fn the_thread_serves_on_after_malformed_datagrams_and_boot_at_knows_whom() {
    let mut loopback = Loopback::new("dhcp-service-serve", PROXY, PXE_PORT);
    loopback.start();
    loopback.client.send_to(&[0; 10], loopback.to).unwrap();
    loopback.client.send_to(&[0xff; 9000], loopback.to).unwrap();
    for number in 0..10 {
        loopback.send(&boot_request(2, number));
        assert_eq!(loopback.receive().kind(), "ACK");
    }
    let handle = Handle(Arc::clone(&loopback.shared));
    assert_eq!(handle.drops().values().sum::<u64>(), 2);
    assert!(handle.look(|engine| engine.boot_of_machine(clock::now(), MacAddr([0x52, 0x54, 0, 0x12, 0x34, 2]))).is_some());
    loopback.stop();
    loopback.join();
}

#[test]
fn leases_under_way_are_on_the_disk_when_the_thread_has_ended() {
    let mut loopback = Loopback::new("dhcp-service-promises", SERVER_CONFIG, SERVER_PORT);
    loopback.send(&Packet::request().mac(0x99).address(50, RESERVED));
    loopback.stop();
    loopback.start();
    loopback.join();
    let (_journal, records) = Journal::open(loopback.folder.path()).unwrap();
    let addresses: Vec<Ipv4Addr> = records.iter().map(|record| record.address).collect();
    assert_eq!(addresses, [RESERVED]);
}

#[test]
fn a_reload_keeps_what_waits_in_ports_that_stay_and_answers_it_by_the_new_configuration() {
    let mut loopback = Loopback::new("dhcp-service-reload", PROXY, PXE_PORT);
    for number in 0..100_u8 {
        // Each machine once: none may ask so often.
        loopback.send(&boot_request(number, number.into()));
    }
    // The same interface in another place, and another address of the box.
    let text = "[[interface]]\nname = \"eth9\"\nmode = \"proxy\"\naddress = \"198.51.100.2\"\n\
                [[interface]]\nname = \"lo\"\nmode = \"proxy\"\naddress = \"192.0.2.9\"\n";
    let port = Port::new(InterfaceId(1), ("lo", None), BOX, PXE_PORT, Arc::clone(&loopback.socket), None);
    let (done, applied) = oneshot::channel();
    loopback.shared.mailbox.post(Letter::Reload(Reload { config: Arc::new(config(text)), ports: vec![port], done }));
    loopback.start();
    for number in 0..100_u32 {
        let answer = loopback.receive();
        assert_eq!((answer.xid(), answer.addresses(54)), (number.to_be_bytes().as_slice(), vec![Ipv4Addr::new(192, 0, 2, 9)]));
    }
    applied.blocking_recv().unwrap();
    loopback.stop();
    loopback.join();
}

#[test]
fn a_reload_answers_what_waits_in_ports_that_go_by_the_old_configuration() {
    let mut loopback = Loopback::new("dhcp-service-reload-gone", PROXY, PXE_PORT);
    for number in 0..100_u8 {
        // Each machine once: none may ask so often.
        loopback.send(&boot_request(number, number.into()));
    }
    let text = "[[interface]]\nname = \"eth9\"\nmode = \"proxy\"\naddress = \"198.51.100.2\"\n";
    let (done, applied) = oneshot::channel();
    loopback.shared.mailbox.post(Letter::Reload(Reload { config: Arc::new(config(text)), ports: Vec::new(), done }));
    loopback.start();
    applied.blocking_recv().unwrap();
    for number in 0..100_u32 {
        let answer = loopback.receive();
        assert_eq!((answer.xid(), answer.addresses(54)), (number.to_be_bytes().as_slice(), vec![Ipv4Addr::new(192, 0, 2, 2)]));
    }
    assert!(lock(&loopback.shared.open).is_empty());
    loopback.stop();
    loopback.join();
}

#[test]
fn a_reload_waits_for_promises_that_are_under_way() {
    let mut loopback = Loopback::new("dhcp-service-reload-promise", SERVER_CONFIG, SERVER_PORT);
    loopback.send(&Packet::request().mac(0x99).address(50, RESERVED));
    let (done, applied) = oneshot::channel();
    let letter = Letter::Reload(Reload { config: Arc::new(config(PROXY)), ports: Vec::new(), done });
    loopback.shared.mailbox.post(letter);
    loopback.start();
    applied.blocking_recv().unwrap();
    loopback.stop();
    loopback.join();
    let (_journal, records) = Journal::open(loopback.folder.path()).unwrap();
    assert_eq!(records.iter().map(|record| record.address).collect::<Vec<_>>(), [RESERVED]);
}

#[tokio::test]
async fn whoever_asks_a_server_that_has_ended_is_told_so() {
    let mut loopback = Loopback::new("dhcp-service-ended", PROXY, PXE_PORT);
    let handle = Handle(Arc::clone(&loopback.shared));
    let early = tokio::spawn({
        let handle = handle.clone();
        async move { handle.change(|_, _| Vec::new()).await }
    });
    loopback.start();
    assert_eq!(early.await.unwrap().unwrap(), Outcome::Durable);
    loopback.stop();
    loopback.join();
    assert!(handle.change(|_, _| Vec::new()).await.is_err());
}
