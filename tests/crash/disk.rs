//! A disk that is full, and one that the system has made read-only, under the running server.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use dhcproto::{Decodable as _, Encodable as _};
use fairlead_lab::process::{Daemon, run};
use nix::sched::{CloneFlags, unshare};

use crate::PATIENCE;
use crate::site::{RELAY, SERVER, Site};

/// What the log says while nothing can be written.
const TROUBLE: &str = "No new lease is promised until it can be written";
/// Clients that have leases before the disk fails.
const HELD: u8 = 20;

/// Clients behind a relay; each is known by its number.
struct Clients {
    socket: UdpSocket,
    transactions: u32,
}

impl Clients {
    fn ask(&mut self, client: u8, kind: MessageType, fill: impl FnOnce(&mut Message)) -> Option<Message> {
        self.transactions += 1;
        let mut message = Message::default();
        message.set_xid(self.transactions).set_chaddr(&[2, 0xfc, 0, 0, 0, client]).set_giaddr(RELAY);
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        fill(&mut message);
        self.socket.send_to(&message.to_vec().unwrap(), SocketAddrV4::new(SERVER, 67)).unwrap();
        let mut buffer = [0; 1500];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let answer = Message::from_bytes(buffer.get(..length)?).unwrap();
            if answer.xid() == self.transactions {
                return Some(answer);
            }
        }
        None
    }

    /// All four messages.
    fn lease(&mut self, client: u8) -> Option<Ipv4Addr> {
        let offer = self.ask(client, MessageType::Discover, |_| ())?.yiaddr();
        let answer = self.ask(client, MessageType::Request, |message| {
            message.opts_mut().insert(DhcpOption::RequestedIpAddress(offer));
            message.opts_mut().insert(DhcpOption::ServerIdentifier(SERVER));
        })?;
        (answer.opts().msg_type() == Some(MessageType::Ack)).then(|| answer.yiaddr())
    }

    /// How long the renewed lease is.
    fn renew(&mut self, client: u8, address: Ipv4Addr) -> Option<Duration> {
        let answer = self.ask(client, MessageType::Request, |message| {
            message.set_ciaddr(address);
        })?;
        match answer.opts().get(OptionCode::AddressLeaseTime) {
            Some(DhcpOption::AddressLeaseTime(seconds)) if answer.yiaddr() == address => Some(Duration::from_secs(u64::from(*seconds))),
            _ => None,
        }
    }
}

/// From now on what this thread mounts is seen by its programs only, and gone with them.
fn mount_for_this_test_only() {
    unshare(CloneFlags::CLONE_NEWNS).expect("mounts of its own");
    run(Command::new("mount").args(["--make-rslave", "/"])).expect("mounts stay here");
}

fn start(site: &Site, clients: &mut Clients, log: &str) -> Daemon {
    let mut edge = site.start(log);
    edge.wait_for("the edge serves its site", "serves its site", PATIENCE).expect("the edge serves");
    for client in 0..HELD {
        clients.lease(client).unwrap_or_else(|| panic!("client {client} gets no lease"));
    }
    edge
}

/// No new client is told that it has a lease, those that have one keep it, and the log says why.
fn serves_only_those_it_has(site: &Site, edge: &Daemon, clients: &mut Clients) {
    let held: Vec<(u8, Ipv4Addr)> = site
        .leases()
        .iter()
        .filter_map(|lease| Some((*lease.hardware.octets().last()?, lease.address)))
        .filter(|(client, _)| *client < HELD)
        .collect();
    assert_eq!(held.len(), usize::from(HELD));
    for client in 250..=254 {
        assert_eq!(clients.lease(client), None, "client {client} was promised what is not on the disk");
    }
    for (client, address) in held {
        let time = clients.renew(client, address).unwrap_or_else(|| panic!("the lease of client {client} is not renewed"));
        assert!(time > Duration::ZERO && time <= Duration::from_secs(3600), "{time:?}");
    }
    assert!(edge.log().find(TROUBLE).is_some(), "the log does not say that the disk takes nothing");
}

fn fill(file: &Path) {
    let size = [4096_usize, 1].map(|size| vec![b'x'; size]);
    let mut out = fs::File::create(file).unwrap();
    for piece in &size {
        while std::io::Write::write_all(&mut out, piece).is_ok() {}
    }
}

#[test]
fn a_full_disk_promises_nothing_new_and_goes_on_when_there_is_room() {
    mount_for_this_test_only();
    let mut site = Site::build();
    let mut clients = Clients { socket: site.relay_socket(), transactions: 1 };
    let folder = site.state.join("leases");
    fs::create_dir_all(&folder).unwrap();
    // Less than the room that the journal likes to have ahead, so that it is full as soon as it is filled.
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&folder)).expect("a small disk");
    let mut edge = start(&site, &mut clients, "edge.log");
    let filler = folder.join("filler");
    fill(&filler);
    // The journal's last page still has room for some.
    let refused = (HELD..250).find(|client| clients.lease(*client).is_none());
    assert!(refused.is_some(), "the full disk goes on taking leases");
    serves_only_those_it_has(&site, &edge, &mut clients);
    site.witness.hold_against(&site.leases());

    fs::remove_file(&filler).unwrap();
    assert!(clients.lease(255).is_some(), "there is room again, and no new lease");
    edge.wait_for("the log says that leases are written again", "leases are written to", PATIENCE).expect("the log says so");
    edge.kill();
    site.witness.hold_against(&site.leases());
    site.discard();
}

#[test]
fn a_disk_that_became_read_only_promises_nothing_new() {
    mount_for_this_test_only();
    if !Path::new("/dev/loop-control").exists() {
        eprintln!("left out: this machine has no loop devices, and no other file system becomes read-only under its writer");
        return;
    }
    let mut site = Site::build();
    let mut clients = Clients { socket: site.relay_socket(), transactions: 1 };
    let (folder, image) = (site.state.join("leases"), site.path("disk"));
    fs::create_dir_all(&folder).unwrap();
    fs::File::create(&image).and_then(|file| file.set_len(16 << 20)).unwrap();
    run(Command::new("mkfs.ext4").arg("-q").arg(&image)).expect("a file system");
    run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&folder)).expect("a disk");
    let mut edge = start(&site, &mut clients, "edge.log");
    // As ext4 does when it finds its disk damaged; `remount,ro` is refused while the journal is open.
    run(Command::new("mount").args(["-o", "remount,abort"]).arg(&folder)).expect("a disk that takes nothing more");
    assert_eq!(clients.lease(HELD), None);
    serves_only_those_it_has(&site, &edge, &mut clients);
    site.witness.hold_against(&site.leases());
    edge.kill();

    // Mended, as at a start of the machine.
    run(Command::new("umount").arg(&folder)).expect("the disk is free");
    fairlead_lab::process::output(Command::new("e2fsck").arg("-fp").arg(&image)).expect("the disk is checked");
    run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&folder)).expect("the disk again");
    site.witness.hold_against(&site.leases());
    let mut edge = start(&site, &mut clients, "mended.log");
    assert!(clients.lease(255).is_some(), "the disk is mended, and no new lease");
    edge.kill();
    site.witness.hold_against(&site.leases());
    site.discard();
}
