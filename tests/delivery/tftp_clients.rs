//! TFTP as the clients that everyone has speak it.

use std::process::Command;

use crate::site::{Site, content, curl, report, run};

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
fn busybox_reads_with_every_block_size_and_is_told_of_what_is_not_there() {
    let content = content(100_001);
    let site = Site::new("busybox", &[("snponly.efi", content.clone())]);
    let port = site.tftp.to_string();
    for size in ["512", "1428", "65464"] {
        let arguments = ["tftp", "-g", "-b", size, "-r", "snponly.efi", "-l", "got", "127.0.0.1", &port];
        let output = run("busybox", "busybox", &arguments, &site.folder);
        assert!(output.status.success(), "{size}: {output:?}");
        assert!(std::fs::read(site.folder.join("got")).unwrap() == content, "{size}");
    }
    let output = run("busybox", "busybox", &["tftp", "-g", "-r", "nosuch", "-l", "got", "127.0.0.1", &port], &site.folder);
    assert!(String::from_utf8_lossy(&output.stderr).contains("server error: (1) File not found"), "{output:?}");
    assert_eq!(site.reports(3), vec![report("tftp", "snponly.efi", &content); 3]);
}

#[test]
fn two_hundred_readers_at_once_all_get_their_file() {
    let content = content(1_000_000);
    let site = Site::new("storm", &[("snponly.efi", content.clone())]);
    let url = format!("tftp://127.0.0.1:{}/snponly.efi", site.tftp);
    let readers: Vec<_> = (0..200)
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
    assert_eq!(site.reports(200).len(), 200);
    let counters = (site.counters)();
    assert_eq!((counters.begun, counters.whole, counters.given_up), (200, 200, 0));
}
