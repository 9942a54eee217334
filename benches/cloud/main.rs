//! How fast the cloud is: `make bench-cloud` prints complete boot sessions in a second, on SQLite and on PostgreSQL, beside what nginx does
//! with a static file in the same run; and how much a listing and a boot request cost with a million nodes.
//!
//! A session is two new TLS connections: one for the boot script (ticket checked, two capabilities signed, token made), one for the machine
//! config (token used up, audit line written). Both are on the disk before they are answered. Client and server share the machine's
//! processors, for nginx as for us. `QUICK=1` measures for a shorter time and with fewer nodes.

#![expect(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot be made fails by ending")]
#![expect(clippy::indexing_slicing, reason = "the figures are there, or the measurement ends")]
#![expect(clippy::print_stdout, reason = "the figures are its output")]

mod client;
mod nginx;
mod scale;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fairlead::clock;
use fairlead::cloud::config::CloudConfig;
use fairlead::cloud::state::{CloudState, Patience};
use fairlead::cloud::store::StoreError;
use fairlead::wire::{BootId, MacAddr, Nonce, Ticket};
use fairlead_lab::postgresql::{Durability, PostgresqlServer};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use client::Client;

/// How many machines boot at once.
const AT_ONCE: usize = 64;

fn quick() -> bool {
    std::env::var("QUICK").is_ok_and(|quick| quick == "1")
}

/// A cloud in a folder of its own, with a site of which the benchmark is the box.
struct Cloud {
    folder: PathBuf,
    config: CloudConfig,
    port: u16,
    site: u32,
    key: Ed25519KeyPair,
}

impl Cloud {
    fn new(name: &str, store: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("fairlead-bench-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).unwrap();
        let [port, site_port] = [client::free_port(), client::free_port()];
        let path = folder.join("cloud.toml");
        let text = format!(
            "state_dir = \"{}\"\n[boot_plane]\nlisten = \"127.0.0.1:{port}\"\nurl = \"https://127.0.0.1:{port}\"\n\
             [site_plane]\nlisten = \"127.0.0.1:{site_port}\"\nurl = \"https://127.0.0.1:{site_port}\"\n{store}",
            folder.join("state").display()
        );
        std::fs::write(&path, text).unwrap();
        for (name, contents) in [
            ("kernel", "k"),
            (
                "worker.yaml",
                "version: v1alpha1\nmachine:\n  type: worker\n  token: t\n  ca: {crt: Q0E=}\n  install: {disk: /dev/vda}\ncluster:\n  controlPlane: {endpoint: \"https://100.64.0.10:6443\"}\n",
            ),
        ] {
            std::fs::write(folder.join(name), contents).unwrap();
        }
        let config = CloudConfig::load(&path).unwrap();
        let key = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        let mut cloud = Self { folder, config, port, site: 0, key };
        let file = |name: &str| cloud.folder.join(name).display().to_string();
        let (kernel, worker) = (file("kernel"), file("worker.yaml"));
        cloud.run(&["init"]);
        let files = ["cluster", "add", "prod", "--kernel", &kernel, "--initramfs", &kernel, "--machine-config", &worker];
        cloud.run(&[&files[..], &["--kernel-args", "talos.platform=metal"]].concat());
        cloud.run(&["site", "add", "plant-1", "--cluster", "prod", "--admission", "auto"]);
        let public = cloud.key.public_key().as_ref().to_vec();
        cloud.site = cloud
            .state()
            .store
            .transaction(move |tx| {
                let site = tx.site_named(&"plant-1".parse().unwrap())?.unwrap().id;
                tx.replace_ticket_key(site, &public, clock::now())?;
                Ok::<_, StoreError>(site)
            })
            .unwrap();
        cloud
    }

    fn state(&self) -> CloudState {
        CloudState::open(&self.config.state_dir, &self.config.store, Patience::None).unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead-cloud"));
        command.arg("--config").arg(self.folder.join("cloud.toml")).args(["--log", "error"]).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) {
        let output = self.command().args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn ticket(&self, machine: u64) -> (MacAddr, String) {
        let octets = machine.to_be_bytes();
        let mac = MacAddr([2, octets[3], octets[4], octets[5], octets[6], octets[7]]);
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&octets);
        let ticket = Ticket { site: self.site, boot: BootId(octets), mac, uuid: None, issued_at: clock::now(), nonce: Nonce(nonce) };
        (mac, ticket.sign(&self.key))
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A program that is ended with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn main() {
    let (mut sqlite, mut postgresql) = (Cloud::new("sqlite", ""), None);
    let ceiling = nginx::connections_per_second(&sqlite);
    println!("also: tls_connections_per_second_nginx_static_file {ceiling:.0}");
    tell("boot_sessions_per_second_sqlite", &mut sqlite, ceiling);
    let server = PostgresqlServer::start(Durability::Full).unwrap_or_else(|failure| panic!("{failure}"));
    let url = server.create_database("bench").unwrap();
    let cloud = postgresql.insert(Cloud::new("postgresql", &format!("[store]\nurl = \"{url}\"\n")));
    tell("boot_sessions_per_second_postgresql", cloud, ceiling);
    scale::measure();
}

/// Two connections make a session: the ceiling is half of what nginx does.
fn tell(name: &str, cloud: &mut Cloud, ceiling: f64) {
    let _serving = Running(cloud.command().arg("serve").stdout(Stdio::null()).spawn().unwrap());
    let client = &Client::new(&cloud.folder.join("state/root.pem"), cloud.port);
    client.wait();
    let cloud = &*cloud;
    let machines = Arc::new(AtomicU64::new(0));
    let (rate, mut latencies) = client.load(AT_ONCE, seconds(), || {
        let (mac, ticket) = cloud.ticket(machines.fetch_add(1, Ordering::Relaxed));
        async move {
            let path = format!("/boot/v1/script?mac={mac}&uuid=&serial=&manufacturer=QEMU&product=Lab&arch=x86_64&platform=efi");
            let script = client.get(&path, &ticket).await;
            let url = script.split("talos.config=").nth(1).and_then(|rest| rest.split_whitespace().next());
            let url = url.unwrap_or_else(|| panic!("no config in: {script}"));
            let path = url.find("/boot/").map(|place| &url[place..]).expect("a path");
            let config = client.get(path, "").await;
            assert!(config.contains("machine:"), "{config}");
        }
    });
    latencies.sort_unstable();
    let p99 = latencies[latencies.len() * 99 / 100];
    println!("also: {name} p50={:.1}ms p99={:.1}ms", millis(latencies[latencies.len() / 2]), millis(p99));
    let sessions = ceiling / 2.0;
    println!("bench: {name} ours={rate:.0} peer=nginx_half:{sessions:.0} ratio={:.2}", rate / sessions);
}

fn seconds() -> Duration {
    Duration::from_secs(if quick() { 3 } else { 15 })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The time that one takes, each of some, from the shortest to the longest.
fn timed(count: usize, mut work: impl FnMut(usize)) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..count)
        .map(|number| {
            let begun = Instant::now();
            work(number);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times
}
