//! TFTP over bad lines, to clients that nobody here wrote: each transfer ends byte-exact or with an error, and none hangs.

use std::process::Stdio;
use std::time::{Duration, Instant};

use fairlead::edge::http;

use crate::bad_cable::{BadCable, Harm, SERVER};
use crate::site::{Site, content};

const NONE: [&str; 0] = [];
/// A transfer that has not ended by then hangs.
const PATIENCE: Duration = Duration::from_secs(150);

/// Four clients at once read `size` octets over a cable that does such harm. Returns which did not get the whole file for
/// another reason than a weakness of their own, and what they said.
fn read_over(test: &str, size: usize, harm: Harm) -> Vec<String> {
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
    let mut failed = Vec::new();
    for (program, mut child) in running {
        while child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "{test}: {program} hangs");
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let got = std::fs::read(site.folder.join(program)).unwrap_or_default();
        if got != content {
            assert!(content.starts_with(&got), "{test}: {program} has wrong octets");
            assert!(!output.status.success() || !said.is_empty(), "{test}: {program} takes {} octets for the file", got.len());
            // atftp gives up when an OACK comes a second time, as one does whose ACK was lost: an error, and not the server's.
            if program == "atftp" && String::from_utf8_lossy(&said).contains("unexpected OACK") {
                continue;
            }
            failed.push(format!("{program} with {} octets: {}", got.len(), String::from_utf8_lossy(&said)));
        }
    }
    assert!(harm.lost == 0 || cable.lost() > 0, "nothing was lost");
    // The server is done with all of them as well, in its own time.
    let counters = || (site.counters)();
    while counters().begun > counters().whole + counters().given_up + counters().ended_by_reader {
        assert!(begun.elapsed() < PATIENCE, "{test}: the server still sends: {:?}", counters());
        std::thread::sleep(Duration::from_millis(20));
    }
    failed
}

#[test]
fn of_a_hundred_packets_one_is_lost() {
    assert_eq!(read_over("loss-1", 60_000, Harm { lost: 10, ..Harm::default() }), NONE);
}

#[test]
fn of_a_hundred_packets_five_are_lost() {
    assert_eq!(read_over("loss-5", 60_000, Harm { lost: 50, ..Harm::default() }), NONE);
}

#[test]
fn of_a_hundred_packets_twenty_are_lost() {
    let failed = read_over("loss-20", 12_000, Harm { lost: 200, ..Harm::default() });
    assert!(failed.len() <= 2, "{failed:?}");
}

#[test]
fn packets_come_late_and_twice() {
    assert_eq!(read_over("disorder", 60_000, Harm { late: 250, doubled: 50, ..Harm::default() }), NONE);
}

#[test]
fn every_packet_takes_200_milliseconds_and_some_are_lost() {
    assert_eq!(read_over("delay", 30_000, Harm { delay: Duration::from_millis(200), lost: 10, ..Harm::default() }), NONE);
}
