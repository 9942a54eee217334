//! Boot files over TFTP and HTTP, read by the clients that everyone has: tftp-hpa, atftp, curl, and sockets that behave as firmware does.
//!
//! All on high ports of the loopback interface; no rights needed.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed expectation is how a test reports"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fairlead::edge::boot_files::{BootFile, BootFiles, FileServed};
use fairlead::edge::endpoint::Endpoint;
use fairlead::edge::http::{self, server::HttpServer};
use fairlead::edge::tftp::{self, Counters, server::TftpServer};
use fairlead::wire::Digest;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// Both servers on free ports, and what they said of files served.
struct Site {
    runtime: Option<Runtime>,
    stop: Option<[oneshot::Sender<()>; 2]>,
    tftp: u16,
    http: u16,
    counters: Box<dyn Fn() -> Counters>,
    served: Arc<Mutex<Vec<FileServed>>>,
    folder: PathBuf,
}

impl Site {
    fn new(test: &str, files: &[(&str, Vec<u8>)]) -> Self {
        Self::at(test, files, Ipv4Addr::LOCALHOST, http::Limits::default())
    }

    fn at(test: &str, files: &[(&str, Vec<u8>)], address: Ipv4Addr, limits: http::Limits) -> Self {
        let runtime = Runtime::new().unwrap();
        let _inside = runtime.enter();
        let files = BootFiles::new(files.iter().map(|(name, content)| BootFile::new(name, content.clone()).unwrap()));
        let served = Arc::new(Mutex::new(Vec::new()));
        let hear = || {
            let served = Arc::clone(&served);
            Arc::new(move |report: FileServed| served.lock().unwrap().push(report))
        };
        let listen = vec![Endpoint { address: SocketAddrV4::new(address, 0), device: None }];
        let tftp_limits = tftp::Limits { transfers_per_address: 300, ..tftp::Limits::default() };
        let tftp = TftpServer { listen: listen.clone(), files: files.clone(), served: hear(), limits: tftp_limits }.bind().unwrap();
        let http = HttpServer { listen, files, served: hear(), limits }.bind().unwrap();
        let ports = (tftp.local_addresses()[0].port(), http.local_addresses()[0].port());
        let counters = Box::new(tftp.counters());
        let (stop_tftp, tftp_stopped) = oneshot::channel::<()>();
        let (stop_http, http_stopped) = oneshot::channel::<()>();
        runtime.spawn(async move { tftp.run(async { drop(tftp_stopped.await) }).await.unwrap() });
        runtime.spawn(async move { http.run(async { drop(http_stopped.await) }).await.unwrap() });
        let folder = std::env::temp_dir().join(format!("fairlead-delivery-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let stop = Some([stop_tftp, stop_http]);
        Self { tftp: ports.0, http: ports.1, stop, counters, served, folder, runtime: Some(runtime) }
    }

    /// What was reported, sorted, once there are `count` reports.
    fn reports(&self, count: usize) -> Vec<String> {
        eventually(|| self.served.lock().unwrap().len() >= count);
        let mut reports: Vec<String> = self
            .served
            .lock()
            .unwrap()
            .iter()
            .map(|report| format!("{} {} {} {} {}", report.peer, report.protocol, report.file, report.size, report.sha256))
            .collect();
        reports.sort();
        reports
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

fn eventually(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited 20 s in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a client; one that is not there fails the test with the package to install.
fn run(program: &str, package: &str, arguments: &[&str], folder: &Path) -> Output {
    match Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => panic!("cannot run `{program}` ({error}): install the package `{package}`"),
    }
}

fn curl(arguments: &[&str], folder: &Path) -> (Output, String) {
    let output = run("curl", "curl", &[&["-sS", "--max-time", "60"], arguments].concat(), folder);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

fn content(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    (0..size)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

fn report(protocol: &str, file: &str, content: &[u8]) -> String {
    format!("127.0.0.1 {protocol} {file} {} {}", content.len(), Digest::of(content))
}

#[test]
fn tftp_hpa_reads_files_of_every_ending_and_can_write_none() {
    let files: Vec<(&str, Vec<u8>)> = [("empty", 0), ("short", 511), ("one", 512), ("more", 513), ("snponly.efi", 296_448)]
        .map(|(name, size)| (name, content(size)))
        .into();
    let site = Site::new("hpa", &files);
    let port = site.tftp.to_string();
    for (name, content) in &files {
        let output = run("tftp", "tftp-hpa", &["-m", "binary", "127.0.0.1", &port, "-c", "get", name, "got"], &site.folder);
        assert!(output.status.success(), "{output:?}");
        assert!(std::fs::read(site.folder.join("got")).unwrap() == *content, "{name}");
    }
    let mut expected: Vec<String> = files.iter().map(|(name, content)| report("tftp", name, content)).collect();
    expected.sort();
    assert_eq!(site.reports(5), expected);

    let output = run("tftp", "tftp-hpa", &["-m", "binary", "127.0.0.1", &port, "-c", "get", "../../etc/passwd", "got"], &site.folder);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Error code 1: File not found\n");
    let output = run("tftp", "tftp-hpa", &["-m", "binary", "127.0.0.1", &port, "-c", "put", "got", "snponly.efi"], &site.folder);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Error code 2: This server is read only\n");
    let counters = (site.counters)();
    assert_eq!((counters.whole, counters.not_found, counters.writes_refused), (5, 1, 1));
}

#[test]
fn rfc2348_curl_reads_with_every_block_size_and_without_options() {
    let content = content(1_000_000);
    let site = Site::new("curl", &[("snponly.efi", content.clone())]);
    let url = format!("tftp://127.0.0.1:{}/snponly.efi", site.tftp);
    for options in [&["--tftp-blksize", "8"][..], &["--tftp-blksize", "1468"], &["--tftp-blksize", "65464"], &["--tftp-no-options"]] {
        // With blocks of 8 octets a megabyte rolls over once.
        let (output, _) = curl(&[options, &["-o", "got", &url]].concat(), &site.folder);
        assert!(output.status.success(), "{options:?}: {output:?}");
        assert!(std::fs::read(site.folder.join("got")).unwrap() == content, "{options:?}");
    }
    assert_eq!(site.reports(4), vec![report("tftp", "snponly.efi", &content); 4]);
}

#[test]
fn rfc7440_atftp_reads_with_windows() {
    let content = content(3_000_001);
    let site = Site::new("atftp", &[("vmlinuz", content.clone())]);
    let port = site.tftp.to_string();
    for window in ["1", "4", "16", "64"] {
        let window = format!("windowsize {window}");
        let arguments = [
            "--get",
            "--remote-file",
            "vmlinuz",
            "--local-file",
            "got",
            "--option",
            &window,
            "--option",
            "blksize 1428",
            "--option",
            "tsize 0",
            "127.0.0.1",
            &port,
        ];
        let output = run("atftp", "atftp", &arguments, &site.folder);
        assert!(output.status.success(), "{window}: {output:?}");
        assert!(std::fs::read(site.folder.join("got")).unwrap() == content, "{window}");
    }
    assert_eq!(site.reports(4).len(), 4);
}

#[test]
fn seventy_megabytes_in_blocks_of_512_come_whole() {
    let content = content(70_000_000);
    let site = Site::new("large", &[("initramfs", content.clone())]);
    let url = format!("tftp://127.0.0.1:{}/initramfs", site.tftp);
    let (output, _) = curl(&["--tftp-blksize", "512", "-o", "got", &url], &site.folder);
    assert!(output.status.success(), "{output:?}");
    assert!(std::fs::read(site.folder.join("got")).unwrap() == content);
}

#[test]
fn a_hundred_readers_at_once_all_get_their_file() {
    let content = content(1_000_000);
    let site = Site::new("storm", &[("snponly.efi", content.clone())]);
    let url = format!("tftp://127.0.0.1:{}/snponly.efi", site.tftp);
    let readers: Vec<_> = (0..100)
        .map(|number| {
            let name = format!("got{number}");
            let child = Command::new("curl").args(["-sS", "--max-time", "60", "-o", &name, &url]).current_dir(&site.folder).spawn();
            (name, child.expect("curl can't be run: install the package `curl`"))
        })
        .collect();
    for (name, mut child) in readers {
        assert!(child.wait().unwrap().success(), "{name}");
        assert!(std::fs::read(site.folder.join(&name)).unwrap() == content, "{name}");
    }
    assert_eq!(site.reports(100).len(), 100);
    let counters = (site.counters)();
    assert_eq!((counters.begun, counters.whole, counters.given_up), (100, 100, 0));
}

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
fn curl_reads_over_http_whole_and_in_ranges() {
    let content = content(1_000_000);
    let site = Site::new("http", &[("snponly.efi", content.clone()), ("autoexec.ipxe", b"#!ipxe\n".to_vec())]);
    let shown = "%{http_code} %{size_download} %header{content-length} %header{content-type} %header{content-range} %header{allow}";
    for (arguments, path, expected) in [
        (&[][..], "/snponly.efi", "200 1000000 1000000 application/efi  "),
        (&["-I"], "/snponly.efi", "200 0 1000000 application/efi  "),
        (&[], "/autoexec.ipxe", "200 7 7 text/plain; charset=utf-8  "),
        (&["-r", "10-19"], "/snponly.efi", "206 10 10 application/efi bytes 10-19/1000000 "),
        (&["-r", "-5"], "/snponly.efi", "206 5 5 application/efi bytes 999995-999999/1000000 "),
        (&["-r", "1000000-"], "/snponly.efi", "416 30 30 text/plain; charset=utf-8 bytes */1000000 "),
        (&[], "/nosuch", "404 27 27 text/plain; charset=utf-8  "),
        (&["--path-as-is"], "/../../etc/passwd", "404 27 27 text/plain; charset=utf-8  "),
        (&["-X", "PUT", "-d", "x"], "/snponly.efi", "405 29 29 text/plain; charset=utf-8  GET, HEAD"),
        (&["--http1.0"], "/snponly.efi", "200 1000000 1000000 application/efi  "),
    ] {
        let (output, text) = curl(&[arguments, &["-o", "got", "-w", shown, &site.url(path)]].concat(), &site.folder);
        assert!(output.status.success(), "{arguments:?} {path}: {output:?}");
        assert_eq!(text, expected, "{arguments:?} {path}");
    }
    curl(&["-r", "500-", "-o", "part", &site.url("/snponly.efi")], &site.folder);
    assert!(std::fs::read(site.folder.join("part")).unwrap() == content[500..]);
    let whole = report("http", "snponly.efi", &content);
    assert_eq!(site.reports(3), [report("http", "autoexec.ipxe", b"#!ipxe\n"), whole.clone(), whole], "parts and HEAD are no whole files");
}

#[test]
fn rfc9112_9_3_one_connection_carries_many_requests() {
    let site = Site::new("keep-alive", &[("snponly.efi", content(300_000))]);
    let url = site.url("/snponly.efi");
    let (output, text) = curl(
        &[
            "-I",
            "-w",
            "%{num_connects}\n",
            &url,
            "--next",
            "-sS",
            "-o",
            "got",
            "-w",
            "%{num_connects}\n",
            &url,
            "--next",
            "-sS",
            "-o",
            "got",
            "-w",
            "%{num_connects}\n",
            &url,
        ],
        &site.folder,
    );
    assert!(output.status.success(), "{output:?}");
    let connects: Vec<&str> = text.lines().filter(|line| line.len() == 1).collect();
    assert_eq!(connects, ["1", "0", "0"]);
    assert_eq!(site.reports(2).len(), 2);
}

#[test]
fn a_client_that_breaks_off_is_not_reported_to_have_the_file() {
    let content = content(30_000_000);
    let site = Site::new("break-off", &[("initramfs", content.clone())]);
    let mut stream = TcpStream::connect(("127.0.0.1", site.http)).unwrap();
    stream.write_all(b"GET /initramfs HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 100_000]).unwrap();
    drop(stream);
    let (output, _) = curl(&["-o", "got", &site.url("/initramfs")], &site.folder);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(site.reports(1), [report("http", "initramfs", &content)]);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(site.reports(1).len(), 1);
}

#[test]
fn http_gives_up_clients_that_say_nothing_or_rubbish_and_serves_on() {
    let limits = http::Limits {
        head_timeout: Duration::from_millis(300),
        stall_timeout: Duration::from_millis(200),
        connections_per_address: 2,
        ..http::Limits::default()
    };
    let site = Site::at("rubbish", &[("a.efi", b"efi".to_vec())], Ipv4Addr::LOCALHOST, limits);
    let talk = |said: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", site.http)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let _closed_early = stream.write_all(said);
        let mut heard = Vec::new();
        let ended = stream.read_to_end(&mut heard);
        assert!(ended.is_ok() || ended.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset), "{ended:?}");
        String::from_utf8_lossy(&heard).lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(talk(b"GET /a.efi HT"), "");
    assert_eq!(talk(b"\x16\x03\x01\x02\0\x01\0"), "HTTP/1.1 400 Bad Request");
    let long = [b"GET /a.efi HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 40_000], b"\r\n\r\n"].concat();
    assert_eq!(talk(&long), "HTTP/1.1 431 Request Header Fields Too Large");
    // A whole answer, and then the connection idles until the server closes it: the client had it all.
    assert_eq!(talk(b"GET /a.efi HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 200 OK");
    assert_eq!(site.reports(1), [report("http", "a.efi", b"efi")]);

    let _held: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(("127.0.0.1", site.http)).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(talk(b"GET /a.efi HTTP/1.1\r\nHost: x\r\n\r\n"), "", "a third connection from the same address");
}

#[test]
fn both_servers_say_at_once_why_they_cannot_have_their_port() {
    let site = Site::new("taken", &[]);
    let _inside = site.runtime.as_ref().unwrap().enter();
    let endpoint = |port| vec![Endpoint { address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), device: None }];
    let nobody = || Arc::new(|_: FileServed| ());
    let tftp = TftpServer { listen: endpoint(site.tftp), files: BootFiles::default(), served: nobody(), limits: tftp::Limits::default() };
    let text = tftp.bind().err().unwrap().to_string();
    assert!(text.contains(&format!("another program has UDP port {}", site.tftp)), "{text}");
    let http = HttpServer { listen: endpoint(site.http), files: BootFiles::default(), served: nobody(), limits: http::Limits::default() };
    let text = http.bind().err().unwrap().to_string();
    assert!(text.contains(&format!("another program has TCP port {}", site.http)), "{text}");
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
