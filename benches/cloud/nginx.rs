//! nginx with a static file, as the ceiling: the same client, the same kind of certificate, the same machine.

use std::fs;
use std::process::{Command, Stdio};

use data_encoding::BASE64_MIME;
use rustls::pki_types::PrivateKeyDer;

use super::client::{Client, free_port};
use super::{AT_ONCE, Cloud, Running, seconds};

/// New TLS connections in a second, each with one request.
pub(crate) fn connections_per_second(cloud: &Cloud) -> f64 {
    let folder = cloud.folder.join("nginx");
    fs::create_dir_all(&folder).unwrap();
    let certificate = cloud.state().authority.server_certificate(&["127.0.0.1".to_owned()]).unwrap();
    let chain: String = certificate.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect();
    let PrivateKeyDer::Pkcs8(key) = &certificate.key else { panic!("the key is PKCS #8") };
    fs::write(folder.join("chain.pem"), chain).unwrap();
    fs::write(folder.join("key.pem"), pem("PRIVATE KEY", key.secret_pkcs8_der())).unwrap();
    // As long as a boot script.
    fs::write(folder.join("file"), vec![b'x'; 2048]).unwrap();
    let (port, path) = (free_port(), folder.display().to_string());
    let config = format!(
        "daemon off;\npid {path}/pid;\nerror_log {path}/error.log;\nworker_processes auto;\nuser root;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; client_body_temp_path {path}; proxy_temp_path {path}; fastcgi_temp_path {path}; uwsgi_temp_path {path};\n\
         scgi_temp_path {path}; server {{ listen 127.0.0.1:{port} ssl backlog=4096; ssl_certificate {path}/chain.pem;\n\
         ssl_certificate_key {path}/key.pem; ssl_protocols TLSv1.2; ssl_session_cache off; ssl_session_tickets off; root {path}; }} }}\n"
    );
    fs::write(folder.join("nginx.conf"), config).unwrap();
    let nginx = Command::new("nginx").arg("-c").arg(folder.join("nginx.conf")).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _running = Running(nginx.expect("nginx is there: tools/install bench brings it"));
    let client = Client::new(&cloud.folder.join("state/root.pem"), port);
    client.wait();
    let (rate, _) = client.load(AT_ONCE, seconds(), || async {
        client.get("/file", "").await;
    });
    rate
}

fn pem(label: &str, der: &[u8]) -> String {
    // RFC 7468, section 2: lines of 64; longer ones are read as well.
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_MIME.encode(der).trim_end().replace('\r', ""))
}
