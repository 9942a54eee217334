//! A site with both servers on free ports, and the clients' surroundings.

use std::net::{Ipv4Addr, SocketAddrV4};
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
pub(crate) struct Site {
    pub(crate) runtime: Option<Runtime>,
    pub(crate) stop: Option<[oneshot::Sender<()>; 2]>,
    pub(crate) tftp: u16,
    pub(crate) http: u16,
    pub(crate) counters: Box<dyn Fn() -> Counters + Send>,
    pub(crate) served: Arc<Mutex<Vec<FileServed>>>,
    pub(crate) folder: PathBuf,
}

impl Site {
    pub(crate) fn new(test: &str, files: &[(&str, Vec<u8>)]) -> Self {
        Self::at(test, files, Ipv4Addr::LOCALHOST, http::Limits::default())
    }

    pub(crate) fn at(test: &str, files: &[(&str, Vec<u8>)], address: Ipv4Addr, limits: http::Limits) -> Self {
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
    pub(crate) fn reports(&self, count: usize) -> Vec<String> {
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

    pub(crate) fn url(&self, path: &str) -> String {
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

pub(crate) fn eventually(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited 20 s in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a client; one that is not there fails the test with the package to install.
pub(crate) fn run(program: &str, package: &str, arguments: &[&str], folder: &Path) -> Output {
    match Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => panic!("cannot run `{program}` ({error}): install the package `{package}`"),
    }
}

pub(crate) fn curl(arguments: &[&str], folder: &Path) -> (Output, String) {
    let output = run("curl", "curl", &[&["-sS", "--max-time", "60"], arguments].concat(), folder);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

pub(crate) fn content(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    (0..size)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

pub(crate) fn report(protocol: &str, file: &str, content: &[u8]) -> String {
    format!("127.0.0.1 {protocol} {file} {} {}", content.len(), Digest::of(content))
}
