//! HTTP boot.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use fairlead::edge::http;

use crate::site::{Site, content, curl, report};

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
