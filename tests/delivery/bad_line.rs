//! TFTP over bad lines, to clients that nobody here wrote: each transfer ends byte-exact or with an error, and none hangs.

use std::process::Stdio;
use std::time::{Duration, Instant};

use fairlead::edge::http;

use crate::bad_cable::{BadCable, Harm, SERVER};
use crate::site::{Site, content};

/// A transfer that has not ended by then hangs.
const PATIENCE: Duration = Duration::from_secs(150);

/// Four clients at once read `size` octets over a cable that does such harm. Returns how many had the whole file.
fn read_over(test: &str, size: usize, harm: Harm) -> usize {
    let cable = BadCable::lay(harm).unwrap();
    let content = content(size);
    let files = [("snponly.efi", content.clone())];
    // Its threads, and so its sockets, are where it is made.
    let site = cable.server.within(|| Ok(Site::at(test, &files, SERVER, http::Limits::default()))).unwrap();
    let port = site.tftp.to_string();
    let (address, url) = (SERVER.to_string(), format!("tftp://{SERVER}:{port}/snponly.efi"));
    let clients: [(&str, Vec<&str>); 4] = [
        ("tftp", vec!["-m", "binary", &address, &port, "-c", "get", "snponly.efi", "tftp"]),
        ("curl", vec!["-sS", "--tftp-blksize", "1428", "-o", "curl", &url]),
        ("busybox", vec!["tftp", "-g", "-b", "1024", "-r", "snponly.efi", "-l", "busybox", &address, &port]),
        (
            "atftp",
            vec![
                "--get",
                "--remote-file",
                "snponly.efi",
                "--local-file",
                "atftp",
                "--option",
                "windowsize 8",
                "--option",
                "blksize 512",
                &address,
                &port,
            ],
        ),
    ];
    let begun = Instant::now();
    let running: Vec<_> = clients
        .iter()
        .map(|(program, arguments)| {
            let mut command = cable.clients.command(program);
            command.args(arguments).current_dir(&site.folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            (*program, command.spawn().expect("`tools/install build lab` installs what is missing"))
        })
        .collect();
    let mut whole = 0;
    for (program, mut child) in running {
        while child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "{test}: {program} hangs");
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let got = std::fs::read(site.folder.join(program)).unwrap_or_default();
        if got == content {
            whole += 1;
        } else {
            assert!(content.starts_with(&got), "{test}: {program} has wrong octets");
            assert!(!output.status.success() || !said.is_empty(), "{test}: {program} takes {} octets for the file", got.len());
        }
    }
    assert!(harm.lost == 0 || cable.lost() > 0, "nothing was lost");
    // The server is done with all of them as well, in its own time.
    let counters = || (site.counters)();
    while counters().begun > counters().whole + counters().given_up + counters().ended_by_reader {
        assert!(begun.elapsed() < PATIENCE, "{test}: the server still sends: {:?}", counters());
        std::thread::sleep(Duration::from_millis(20));
    }
    whole
}

#[test]
fn of_a_hundred_packets_one_is_lost() {
    assert_eq!(read_over("loss-1", 60_000, Harm { lost: 10, ..Harm::default() }), 4);
}

#[test]
fn of_a_hundred_packets_five_are_lost() {
    assert_eq!(read_over("loss-5", 60_000, Harm { lost: 50, ..Harm::default() }), 4);
}

#[test]
fn of_a_hundred_packets_twenty_are_lost() {
    let whole = read_over("loss-20", 12_000, Harm { lost: 200, ..Harm::default() });
    assert!(whole >= 2, "only {whole} of 4 came through");
}

#[test]
fn packets_come_late_and_twice() {
    assert_eq!(read_over("disorder", 60_000, Harm { late: 250, doubled: 50, ..Harm::default() }), 4);
}

#[test]
fn every_packet_takes_200_milliseconds_and_some_are_lost() {
    assert_eq!(read_over("delay", 30_000, Harm { delay: Duration::from_millis(200), lost: 10, ..Harm::default() }), 4);
}
