use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use fairlead::edge::boot_files::{BootFiles, FileServed};
use fairlead::edge::endpoint::Endpoint;
use fairlead::edge::http::{self, server::HttpServer};
use fairlead::edge::tftp::{self, server::TftpServer};

use crate::site::Site;

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
