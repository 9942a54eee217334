//! TFTP as firmware speaks it, with what a network and strangers do to it.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use fairlead::edge::http;

use crate::site::{Site, content, eventually, report};

/// A reader that says what a test tells it to.
struct Firmware {
    socket: UdpSocket,
    server: SocketAddrV4,
}

impl Firmware {
    fn new(site: &Site) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self { socket, server: SocketAddrV4::new(Ipv4Addr::LOCALHOST, site.tftp) }
    }

    fn ask(&self, request: &[u8]) {
        self.socket.send_to(request, self.server).unwrap();
    }

    fn hear(&self) -> (Vec<u8>, std::net::SocketAddr) {
        let mut buffer = [0; 2000];
        let (length, from) = self.socket.recv_from(&mut buffer).expect("no answer in 5 s");
        (buffer[..length].to_vec(), from)
    }

    fn hears_nothing(&self) -> bool {
        self.socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let silent = self.socket.recv_from(&mut [0; 2000]).is_err();
        self.socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        silent
    }
}

const PROBE: &[u8] = b"\0\x01snponly.efi\0octet\0tsize\x000\0blksize\x001468\0";

#[test]
fn firmware_probes_the_size_ends_with_an_error_and_asks_again_from_the_same_port() {
    let site = Site::new("probe", &[("snponly.efi", content(1000))]);
    let firmware = Firmware::new(&site);
    for round in 1..=3 {
        firmware.ask(PROBE);
        let (oack, transfer) = firmware.hear();
        assert_eq!(oack, b"\0\x06tsize\x001000\0blksize\x001468\0", "round {round}");
        firmware.socket.send_to(b"\0\x05\0\x08User aborted the transfer\0", transfer).unwrap();
        eventually(|| (site.counters)().ended_by_reader == round);
    }
    firmware.ask(PROBE);
    let (_, transfer) = firmware.hear();
    firmware.socket.send_to(b"\0\x04\0\0", transfer).unwrap();
    assert_eq!(firmware.hear().0[..4], [0, 3, 0, 1]);
    firmware.socket.send_to(b"\0\x04\0\x01", transfer).unwrap();
    assert_eq!(site.reports(1), [report("tftp", "snponly.efi", &content(1000))]);
}

#[test]
fn a_lost_oack_comes_again_from_the_same_port_when_the_request_is_repeated() {
    let site = Site::new("lost-oack", &[("snponly.efi", content(1000))]);
    let firmware = Firmware::new(&site);
    firmware.ask(PROBE);
    let first = firmware.hear();
    firmware.ask(PROBE);
    assert_eq!(firmware.hear(), first);
    let counters = (site.counters)();
    assert_eq!((counters.begun, counters.repeated), (1, 1));
}

#[test]
fn rfc1350_4_a_stranger_at_the_port_of_a_transfer_is_not_heard() {
    let site = Site::new("stranger", &[("snponly.efi", content(5000))]);
    let firmware = Firmware::new(&site);
    let stranger = Firmware::new(&site);
    firmware.ask(b"\0\x01snponly.efi\0octet\0");
    let (block, transfer) = firmware.hear();
    assert_eq!(block[..4], [0, 3, 0, 1]);
    stranger.socket.send_to(b"\0\x05\0\0gone\0", transfer).unwrap();
    stranger.socket.send_to(b"\0\x04\0\x01", transfer).unwrap();
    assert!(firmware.hears_nothing(), "a stranger's ACK counted");
    firmware.socket.send_to(b"\0\x04\0\x01", transfer).unwrap();
    assert_eq!(firmware.hear().0[..4], [0, 3, 0, 2]);
}

#[test]
fn rfc1350_4_forged_ports_and_addresses_neither_end_nor_advance_a_transfer() {
    let site = Site::new("forged", &[("snponly.efi", content(5000))]);
    let firmware = Firmware::new(&site);
    firmware.ask(b"\0\x01snponly.efi\0octet\0");
    let (block, transfer) = firmware.hear();
    assert_eq!(block[..4], [0, 3, 0, 1]);
    // The same port at other addresses, and other ports at the same address: to the transfer's port and to the well-known one.
    let port = firmware.socket.local_addr().unwrap().port();
    for last in 2..10 {
        for from in [SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), port), SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)] {
            let stranger = UdpSocket::bind(from).unwrap();
            for said in [b"\0\x05\0\0gone\0".as_slice(), b"\0\x04\0\x01", b"\0\x04\0\x0a", b"\0\x03\0\x01data"] {
                stranger.send_to(said, transfer).unwrap();
                stranger.send_to(said, firmware.server).unwrap();
            }
        }
    }
    assert!(firmware.hears_nothing(), "a stranger was heard");
    for number in 1..=10 {
        firmware.socket.send_to(&[0, 4, 0, number], transfer).unwrap();
        if number < 10 {
            assert_eq!(firmware.hear().0[..4], [0, 3, 0, number + 1]);
        }
    }
    assert_eq!(site.reports(1), [report("tftp", "snponly.efi", &content(5000))]);
}

#[test]
fn rfc1123_4_2_3_1_acks_that_come_twice_bring_each_block_once() {
    let site = Site::new("apprentice", &[("snponly.efi", content(20_000))]);
    let firmware = Firmware::new(&site);
    firmware.ask(b"\0\x01snponly.efi\0octet\0");
    let (_, transfer) = firmware.hear();
    let mut heard = 1;
    for number in 1..=39_u8 {
        for _ in 0..3 {
            firmware.socket.send_to(&[0, 4, 0, number], transfer).unwrap();
        }
        assert_eq!(firmware.hear().0[..4], [0, 3, 0, number + 1]);
        heard += 1;
    }
    assert!(firmware.hears_nothing(), "a copy of an ACK brought a copy of a block");
    firmware.socket.send_to(&[0, 4, 0, 40], transfer).unwrap();
    assert_eq!((heard, site.reports(1).len()), (40, 1));
    assert_eq!((site.counters)().given_up, 0);
}

#[test]
fn requests_that_no_reader_would_send_are_refused_or_dropped_and_the_server_serves_on() {
    let site = Site::new("bad-names", &[("snponly.efi", content(100))]);
    let firmware = Firmware::new(&site);
    let long = [b'a'; 1000];
    let names: [&[u8]; 9] =
        [b"../etc/passwd", b"/../../etc/passwd", b"snponly.efi/..", b"..\\snponly.efi", b"", b"\xff\xfe\x80", b"a/b", b".", &long];
    for name in names {
        firmware.ask(&[b"\0\x01", name, b"\0octet\0"].concat());
        assert_eq!(firmware.hear().0, b"\0\x05\0\x01File not found\0", "{}", name.escape_ascii());
    }
    // A NUL ends the name, so what stands behind it is the mode.
    firmware.ask(b"\0\x01snponly.efi\0.txt\0octet\0");
    assert_eq!(firmware.hear().0, b"\0\x05\0\0Only octet mode is served\0");
    for cut in [b"".as_slice(), b"\0", b"\0\x01", b"\0\x01snponly.efi", b"\0\x01snponly.efi\0octet", b"\x7f\xff"] {
        firmware.ask(cut);
        assert!(firmware.hears_nothing(), "{}", cut.escape_ascii());
    }
    // Options out of range are as if they had not been asked for (RFC 2347).
    firmware.ask(b"\0\x01snponly.efi\0octet\0blksize\x007\0windowsize\x000\0timeout\x00256\0");
    let (block, transfer) = firmware.hear();
    assert_eq!((block.len(), &block[..4]), (104, &[0, 3, 0, 1][..]));
    firmware.socket.send_to(&[0, 4, 0, 1], transfer).unwrap();
    assert_eq!(site.reports(1).len(), 1);
    let counters = (site.counters)();
    assert_eq!((counters.not_found, counters.modes_refused, counters.malformed), (9, 1, 6));
}

#[test]
fn a_lost_last_ack_does_not_make_the_server_claim_a_whole_transfer() {
    let site = Site::new("lost-ack", &[("snponly.efi", content(100))]);
    let firmware = Firmware::new(&site);
    firmware.ask(b"\0\x01snponly.efi\0octet\0");
    assert_eq!(firmware.hear().0.len(), 104);
    // The last block comes again; then the reader is gone, and the kernel says so in its place.
    assert_eq!(firmware.hear().0.len(), 104);
    drop(firmware);
    eventually(|| (site.counters)().given_up == 1);
    assert_eq!(site.reports(0), Vec::<String>::new());
}

#[test]
fn an_answer_comes_from_the_address_that_was_asked() {
    let site = Site::at("asked", &[("snponly.efi", content(600))], Ipv4Addr::UNSPECIFIED, http::Limits::default());
    for last in [1, 2, 77] {
        let asked = Ipv4Addr::new(127, 0, 0, last);
        let firmware = Firmware { server: SocketAddrV4::new(asked, site.tftp), ..Firmware::new(&site) };
        for request in [PROBE, b"\0\x01nosuch\0octet\0"] {
            firmware.ask(request);
            let (answer, from) = firmware.hear();
            assert_eq!((from.ip(), answer[1]), (asked.into(), if request == PROBE { 6 } else { 5 }));
        }
    }
}

#[test]
fn a_shutdown_lets_a_running_transfer_come_to_its_end() {
    let mut site = Site::new("drain", &[("snponly.efi", content(1000))]);
    let firmware = Firmware::new(&site);
    firmware.ask(b"\0\x01snponly.efi\0octet\0");
    let (_, transfer) = firmware.hear();
    drop(site.stop.take());
    std::thread::sleep(Duration::from_millis(100));
    firmware.socket.send_to(b"\0\x04\0\x01", transfer).unwrap();
    assert_eq!(firmware.hear().0.len(), 4 + 488);
    firmware.socket.send_to(b"\0\x04\0\x02", transfer).unwrap();
    assert_eq!(site.reports(1).len(), 1);
}
