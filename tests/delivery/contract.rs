//! Every file name that DHCP hands out is there, over TFTP and over HTTP: asked for as firmware of each architecture, of the whole program.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use fairlead::edge::dhcp::BootFiles;
use fairlead::wire::{ClientArch, Digest};
use fairlead_lab::Programs;
use fairlead_lab::files::{RunDirectory, read, write};
use fairlead_lab::joined_box::JoinedBox;
use fairlead_lab::namespace::{self, Namespace};
use fairlead_lab::process::{Daemon, run};

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const RELAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Who asks.
#[derive(Clone, Copy, Debug)]
enum Asker {
    Pxe,
    Http,
    /// An iPXE that can go on to the cloud.
    Ipxe,
    /// A network card's own, which can't.
    OldIpxe,
}

/// A DISCOVER by a relay, which hears the answer on the servers' port.
fn discover(asker: Asker, arch: u8, number: u8) -> Vec<u8> {
    let mut packet = vec![0; 240];
    packet[..8].copy_from_slice(&[1, 1, 6, 1, 7, 7, 7, number]);
    packet[24..28].copy_from_slice(&RELAY.octets());
    packet[28..34].copy_from_slice(&[2, 0, 0xc0, 0, arch, number]);
    packet[236..].copy_from_slice(&[99, 130, 83, 99]);
    let class = match asker {
        Asker::Http => format!("HTTPClient:Arch:{arch:05}:UNDI:003001"),
        Asker::Pxe | Asker::Ipxe | Asker::OldIpxe => format!("PXEClient:Arch:{arch:05}:UNDI:003016"),
    };
    let mut option = |code: u8, value: &[u8]| {
        packet.extend([code, u8::try_from(value.len()).unwrap()]);
        packet.extend(value);
    };
    option(53, &[1]);
    option(55, &[1, 3, 6, 66, 67]);
    option(57, &1472_u16.to_be_bytes());
    option(60, class.as_bytes());
    option(93, &[0, arch]);
    match asker {
        Asker::Ipxe => {
            option(77, b"iPXE");
            option(175, &[0xeb, 3, 2, 0, 0, 0x13, 1, 1, 0x14, 1, 1]);
        }
        Asker::OldIpxe => {
            option(77, b"iPXE");
            option(175, &[0xeb, 3, 1, 0, 0, 0x13, 1, 1]);
        }
        Asker::Pxe | Asker::Http => {}
    }
    packet.push(255);
    packet
}

/// The boot file of an answer, from its field; what stands in option 67 must be the same.
fn boot_file(answer: &[u8]) -> String {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets.split(|octet| *octet == 0).next().unwrap_or_default()).into_owned();
    let field = text(&answer[108..236]);
    let mut options = &answer[240..];
    while let [code, rest @ ..] = options {
        match code {
            0 => options = rest,
            255 => break,
            _ => {
                let (length, rest) = rest.split_first().unwrap();
                let (value, rest) = rest.split_at(usize::from(*length));
                if *code == 67 {
                    assert_eq!(text(value), field);
                }
                options = rest;
            }
        }
    }
    field
}

#[test]
fn every_file_that_dhcp_names_is_there_over_tftp_and_http() {
    namespace::require_privileges().unwrap();
    let run_name = namespace::run_name();
    let mut directory = RunDirectory::create(&run_name).unwrap();
    let (servers, clients) = (Namespace::create(&run_name, "server").unwrap(), Namespace::create(&run_name, "clients").unwrap());
    servers.connect("lan0", &clients, "lan1").unwrap();
    servers.configure(&format!("addr add {SERVER}/24 dev lan0")).unwrap();
    clients.configure(&format!("addr add {RELAY}/24 dev lan1")).unwrap();
    let programs = Programs { edge: env!("CARGO_BIN_EXE_fairlead-edge").into(), cloud: env!("CARGO_BIN_EXE_fairlead-cloud").into() };
    let joined = JoinedBox::make(&programs, &run_name, &directory.path().join("joined")).unwrap();
    let (state, config) = (joined.state(), directory.path().join("edge.toml"));
    write(
        &config,
        format!(
            "state_dir = \"{}\"\n[[interface]]\nname = \"lan0\"\nmode = \"server\"\naddress = \"{SERVER}\"\nauthoritative = true\n\
             [[subnet]]\nnetwork = \"192.0.2.0/24\"\npools = [\"192.0.2.10-192.0.2.250\"]\n[dhcp]\nconflict_probe = false\n",
            state.display()
        ),
    )
    .unwrap();
    let mut command = servers.command(&programs.edge);
    let log = directory.path().join("edge.log");
    let mut edge = Daemon::start("fairlead-edge", command.arg("--config").arg(&config).arg("run"), &log).unwrap();
    edge.wait_for("the edge serves its site", "serves its site", Duration::from_secs(20)).unwrap();

    let named = clients.within(|| Ok(names())).unwrap();
    // Those of the table, and of no other architecture of IANA's list.
    let with_file: Vec<u16> = BootFiles::default().iter().map(|(arch, _)| arch.0).collect();
    let seen: Vec<u16> = named.keys().map(|arch| u16::from(*arch)).collect();
    assert_eq!(seen, with_file);

    let sealed = sealed_files(state);
    let mut fetched = 0;
    for name in named.values().flatten() {
        let (urls, file) = match name.strip_prefix(&format!("http://{SERVER}/")) {
            Some(file) => (vec![name.clone()], file),
            None => (vec![format!("tftp://{SERVER}/{name}"), format!("http://{SERVER}/{name}")], name.as_str()),
        };
        for url in urls {
            let got = directory.path().join("got");
            let mut curl = clients.command("curl");
            run(curl.args(["-sSf", "--max-time", "60", "-o"]).arg(&got).arg(&url)).unwrap();
            let found = Digest::of(&read(&got).unwrap());
            match sealed.get(file) {
                Some(expected) => assert_eq!(found, *expected, "{url}"),
                None => assert_eq!((file, found), ("autoexec.ipxe", Digest::of(include_bytes!("../../firmware/autoexec.ipxe"))), "{url}"),
            }
            fetched += 1;
        }
    }
    assert!(fetched >= 20, "only {fetched} were fetched: {named:?}");
    edge.stop();
    directory.discard();
}

/// What each architecture is named, by all who may ask.
fn names() -> BTreeMap<u8, Vec<String>> {
    let socket = UdpSocket::bind(SocketAddrV4::new(RELAY, 67)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut named: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    for arch in 0..=41 {
        for (number, asker) in [(1, Asker::Pxe), (2, Asker::Http), (3, Asker::Ipxe), (4, Asker::OldIpxe)] {
            // HTTP firmware and PXE firmware have numbers of their own.
            if ClientArch(u16::from(arch)).boots_from_http() != matches!(asker, Asker::Http) {
                continue;
            }
            let request = discover(asker, arch, number);
            socket.send_to(&request, SocketAddrV4::new(SERVER, 67)).unwrap();
            let mut answer = [0; 1500];
            let length = loop {
                let length = socket.recv(&mut answer).expect("DHCP answers");
                if answer[4..8] == request[4..8] && answer[28..34] == request[28..34] {
                    break length;
                }
            };
            let file = boot_file(&answer[..length]);
            // Whichever iPXE asks, our script needs no architecture.
            if !file.is_empty() && (!matches!(asker, Asker::Ipxe) || named.contains_key(&arch)) {
                named.entry(arch).or_default().push(file);
            }
        }
    }
    named
}

/// The firmware that the box's settings name, with its digests.
fn sealed_files(state: &std::path::Path) -> BTreeMap<String, Digest> {
    let stored: serde_json::Value = serde_json::from_slice(&read(&state.join("settings.json")).unwrap()).unwrap();
    let files = stored["settings"]["firmware"].as_array().unwrap();
    let file = |file: &serde_json::Value| (file["name"].as_str().unwrap().to_owned(), file["sha256"].as_str().unwrap().parse().unwrap());
    files.iter().map(file).collect()
}
