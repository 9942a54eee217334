//! The uplink against a site plane over real sockets and TLS, with a client certificate where one is due.

use std::sync::Mutex;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use ring::signature::{ED25519, UnparsedPublicKey};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::join::{JoinError, join};
use super::spool::{Spool, SpoolLimits, SpoolOwner};
use super::*;
use crate::clock::{self, Timestamp};
use crate::edge::test_folder::TestFolder;
use crate::pki::test_authority::Authority;
use crate::secret::Secret;
use crate::wire::uplink::{
    EventBatch, EventReceipt, FirmwareFile, JoinAnswer, JoinRequest, NumberedEvent, Refusal, RenewAnswer, RenewRequest, SiteEvent,
    SiteEventKind, SiteSettings, ticket_key_proof,
};
use crate::wire::{BootId, Digest, JoinToken, MacAddr};

/// What a cloud holds between requests.
#[derive(Default)]
struct Store {
    used: bool,
    requests: Vec<(String, bool, Bytes)>,
    firmware: Vec<(FirmwareFile, Bytes)>,
    events: Vec<NumberedEvent>,
    certificate_days: i64,
    lose_answers: bool,
    down: bool,
}

#[derive(Clone)]
struct Cloud {
    authority: Arc<Authority>,
    store: Arc<Mutex<Store>>,
    url: String,
}

impl Cloud {
    async fn start() -> Self {
        let authority = Arc::new(Authority::new());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut anchors = RootCertStore::empty();
        anchors.add(authority.root.clone()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), Arc::clone(&provider)).allow_unauthenticated();
        let server = authority.server("127.0.0.1", time::Duration::days(1));
        let tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(server.chain, server.key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let cloud = Self { authority, store: Arc::new(Mutex::new(Store { certificate_days: 7, ..Store::default() })), url };
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let serving = cloud.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if serving.store.lock().unwrap().down {
                    continue;
                }
                let (acceptor, cloud) = (acceptor.clone(), serving.clone());
                tokio::spawn(async move {
                    // A client that refuses us is what some of the tests are about.
                    let stream = match acceptor.accept(stream).into_fallible().await {
                        Ok(stream) => stream,
                        Err((_, mut stream)) => {
                            // As the cloud does: closing on an unread request would reset the connection and take the alert along.
                            drop(tokio::io::AsyncWriteExt::shutdown(&mut stream).await);
                            drop(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await);
                            return;
                        }
                    };
                    let certified = stream.get_ref().1.peer_certificates().is_some();
                    let service = hyper::service::service_fn(move |request| cloud.clone().serve(request, certified));
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        cloud
    }

    async fn serve(self, request: Request<Incoming>, certified: bool) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut store = self.store.lock().unwrap();
        store.requests.push((path.clone(), certified, body.clone()));
        let outcome = self.answer(&mut store, &path, certified, &body);
        if store.lose_answers {
            return Err(std::io::Error::other("the answer is lost on purpose"));
        }
        let (status, body) = match outcome {
            Ok(body) => (StatusCode::OK, body),
            Err(error) => {
                let refusal = Refusal { error: error.to_owned(), hint: "do something else".to_owned() };
                (StatusCode::FORBIDDEN, serde_json::to_vec(&refusal).unwrap())
            }
        };
        Ok(Response::builder().status(status).body(Full::from(body)).unwrap())
    }

    fn answer(&self, store: &mut Store, path: &str, certified: bool, body: &[u8]) -> Result<Vec<u8>, &'static str> {
        if path == "/site/v1/join" {
            let request: JoinRequest = serde_json::from_slice(body).unwrap();
            if store.used || request.secret != BASE64URL_NOPAD.encode(b"secret") {
                return Err("join token already used");
            }
            store.used = true;
            let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
            UnparsedPublicKey::new(&ED25519, decode(&request.ticket_key))
                .verify(&ticket_key_proof(&request.csr), &decode(&request.ticket_key_proof))
                .map_err(|_| "no proof")?;
            return Ok(json(&JoinAnswer {
                site: "plant-1".parse().unwrap(),
                site_number: 7,
                certificate_chain: self.certificate(&request.csr, store.certificate_days),
                root: self.authority.root_pem.clone(),
            }));
        }
        if !certified {
            return Err("no client certificate");
        }
        match path {
            "/site/v1/renew" => {
                let request: RenewRequest = serde_json::from_slice(body).unwrap();
                Ok(json(&RenewAnswer { certificate_chain: self.certificate(&request.csr, 7) }))
            }
            "/site/v1/settings" => Ok(json(&SiteSettings {
                boot_url: "https://198.51.100.10:8443".to_owned(),
                root: self.authority.fingerprint(),
                capability_key: String::new(),
                firmware: store.firmware.iter().map(|(file, _)| file.clone()).collect(),
                now: clock::now(),
            })),
            "/site/v1/events" => {
                let batch: EventBatch = serde_json::from_slice(body).unwrap();
                store.events.extend(batch.events);
                Ok(json(&EventReceipt { stored_up_to: store.events.last().unwrap().number }))
            }
            _ => {
                let found = store.firmware.iter().find(|(file, _)| path == format!("/site/v1/firmware/{}", file.sha256));
                found.map(|(_, bytes)| bytes.to_vec()).ok_or("no such file")
            }
        }
    }

    fn certificate(&self, csr: &str, days: i64) -> String {
        self.authority.sign(csr, time::Duration::days(-5), time::Duration::days(days))
    }

    fn token(&self) -> JoinToken {
        JoinToken {
            url: self.url.clone(),
            secret: Secret::new(b"secret".to_vec()),
            root: self.authority.fingerprint(),
            expires_at: clock::now().after(Duration::from_secs(60)),
        }
    }

    fn requests(&self) -> Vec<(String, bool, Bytes)> {
        self.store.lock().unwrap().requests.clone()
    }

    async fn joined(&self, state: &StateDir) -> Arc<Uplink> {
        let identity = join(state, &self.token(), false).await.unwrap();
        let firmware = FirmwareCache::new(&state.folder("firmware").unwrap());
        Arc::new(Uplink::new(state.clone(), firmware, identity).unwrap())
    }

    fn publish(&self, content: &'static [u8], sha256: Digest) {
        let file = FirmwareFile { name: "snponly.efi".to_owned(), sha256, size: u64::try_from(content.len()).unwrap() };
        self.store.lock().unwrap().firmware = vec![(file, Bytes::from_static(content))];
    }
}

fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

fn state(folder: &TestFolder) -> StateDir {
    StateDir::open(folder.path()).unwrap()
}

/// Waits until something is so; fails the test when it does not come about.
async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come about: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn join_spends_the_token_once_and_stores_a_whole_identity() {
    let (cloud, folder) = (Cloud::start().await, TestFolder::new("join"));
    let state = state(&folder);
    let identity = join(&state, &cloud.token(), false).await.unwrap();
    assert_eq!((identity.site.as_str(), identity.site_number, identity.url.as_str()), ("plant-1", 7, cloud.url.as_str()));
    assert_eq!(state.identity().unwrap().unwrap().to_bytes(), identity.to_bytes());
    assert!(state.pending_join().unwrap().is_none());
    assert!(matches!(join(&state, &cloud.token(), false).await, Err(JoinError::AlreadyJoined(_))));
    let refused = join(&state, &cloud.token(), true).await.unwrap_err();
    assert!(matches!(refused, JoinError::TokenRefused { sent_before: false, .. }), "{refused:?}");
    assert_eq!(state.identity().unwrap().unwrap().to_bytes(), identity.to_bytes(), "the old identity stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answer_is_told_as_such_and_the_repeat_is_the_same_request() {
    let (cloud, folder) = (Cloud::start().await, TestFolder::new("join-lost"));
    let state = state(&folder);
    cloud.store.lock().unwrap().lose_answers = true;
    let lost = join(&state, &cloud.token(), false).await.unwrap_err();
    assert!(matches!(lost, JoinError::AnswerLost(_)), "{lost:?}");
    assert!(state.identity().unwrap().is_none());
    cloud.store.lock().unwrap().lose_answers = false;
    let repeated = join(&state, &cloud.token(), false).await.unwrap_err();
    assert!(matches!(repeated, JoinError::TokenRefused { sent_before: true, .. }), "{repeated:?}");
    assert!(crate::failure::Failure::from(repeated).to_string().contains("this box sent this token before"));
    let requests = cloud.requests();
    assert_eq!(requests[0], requests[1]);
    // A token that was never spent works with the keys that are there.
    cloud.store.lock().unwrap().used = false;
    assert!(join(&state, &cloud.token(), false).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cloud_is_never_shown_the_token() {
    let (cloud, folder) = (Cloud::start().await, TestFolder::new("join-other"));
    let state = state(&folder);
    let token = JoinToken { root: Digest([9; 32]), ..cloud.token() };
    let error = join(&state, &token, false).await.unwrap_err();
    assert!(matches!(error, JoinError::Uplink(UplinkError::WrongRoot { .. })), "{error:?}");
    assert!(cloud.requests().is_empty() && state.pending_join().unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_token_and_cloud_that_is_not_there_are_told_apart() {
    let (cloud, folder) = (Cloud::start().await, TestFolder::new("join-errors"));
    let state = state(&folder);
    let expired = JoinToken { expires_at: Timestamp::from_secs(1_000_000), ..cloud.token() };
    assert!(matches!(join(&state, &expired, false).await, Err(JoinError::TokenExpired { .. })));
    let nobody = JoinToken { url: "https://127.0.0.1:1".to_owned(), ..cloud.token() };
    let error = crate::failure::Failure::from(join(&state, &nobody, false).await.unwrap_err()).to_string();
    assert!(error.starts_with("error: cannot reach the cloud at 127.0.0.1:1\n") && error.contains("nothing listens there"), "{error}");
    let nonsense = JoinToken { url: "cloud".to_owned(), ..cloud.token() };
    assert!(matches!(join(&state, &nonsense, false).await, Err(JoinError::Uplink(UplinkError::BadUrl(_)))));
    assert!(cloud.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_used_once_their_firmware_is_here_and_stay_when_the_cloud_is_gone() {
    let (cloud, folder) = (Cloud::start().await, TestFolder::new("settings"));
    let state = state(&folder);
    let uplink = cloud.joined(&state).await;
    assert!(settings::last_good(&uplink).unwrap().is_none());
    // First a file that is not what its digest says: the settings must not be used.
    cloud.publish(b"tampered", Digest::of(b"original"));
    let applied = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&applied);
    let following = tokio::spawn(settings::follow(Arc::clone(&uplink), None, move |settings| seen.lock().unwrap().push(settings)));
    let firmware_path = format!("/site/v1/firmware/{}", Digest::of(b"original"));
    until("the tampered file is fetched", || cloud.requests().iter().any(|(path, _, _)| *path == firmware_path)).await;
    assert!(applied.lock().unwrap().is_empty() && settings::last_good(&uplink).unwrap().is_none());
    cloud.publish(b"original", Digest::of(b"original"));
    until("the settings are used", || !applied.lock().unwrap().is_empty()).await;
    assert_eq!(applied.lock().unwrap()[0].firmware[0].1, Bytes::from_static(b"original"));
    following.abort();
    assert!(cloud.requests().iter().all(|(path, certified, _)| *certified || path == "/site/v1/join"));

    cloud.store.lock().unwrap().down = true;
    let identity = state.identity().unwrap().unwrap();
    let restarted = Uplink::new(state.clone(), FirmwareCache::new(&state.folder("firmware").unwrap()), identity).unwrap();
    let last = settings::last_good(&restarted).unwrap().unwrap();
    assert_eq!(last.settings.boot_url, "https://198.51.100.10:8443");
    assert_eq!(last.firmware[0].1, Bytes::from_static(b"original"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_reach_the_cloud_in_order_after_it_was_down() {
    let (cloud, folder) = (Cloud::start().await, TestFolder::new("reports"));
    let state = state(&folder);
    let uplink = cloud.joined(&state).await;
    let owner = SpoolOwner { cloud_root: cloud.authority.fingerprint(), site_number: 7 };
    let open = || Spool::open(&state.folder("spool").unwrap(), owner, SpoolLimits::default(), "first").unwrap();
    let (reports, queue) = reports::queue();
    cloud.store.lock().unwrap().down = true;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let following = tokio::spawn(reports::follow(Arc::clone(&uplink), open(), queue, async move { drop(stopped.await) }));
    let event = |seconds| SiteEvent {
        at: Timestamp::from_secs(seconds),
        boot: Some(BootId([1; 8])),
        mac: Some(MacAddr([0x52, 0x54, 0, 0, 0, 1])),
        what: SiteEventKind::ProxyAnswered { arch: None },
    };
    for seconds in 1..=300 {
        reports.report(event(seconds));
    }
    until("the reports are on the disk", || open_waiting(&state) == 300).await;
    cloud.store.lock().unwrap().down = false;
    until("the reports are at the cloud", || cloud.store.lock().unwrap().events.len() == 300).await;
    let numbers: Vec<u64> = cloud.store.lock().unwrap().events.iter().map(|event| event.number).collect();
    assert_eq!(numbers, (1..=300).collect::<Vec<u64>>());
    reports.report(event(301));
    stop.send(()).unwrap();
    following.await.unwrap();
    // What was reported before the end is kept, whether or not the cloud has it yet; a batch before it may wait too, if the cloud's word
    // that it arrived came too late.
    let waiting: Vec<u64> = open().batch(400).iter().map(|event| event.number).collect();
    let kept = waiting.last() == Some(&301) && waiting.len() <= 101;
    assert!(kept || cloud.store.lock().unwrap().events.len() == 301, "{waiting:?}");
}

fn open_waiting(state: &StateDir) -> usize {
    std::fs::read_to_string(state.path().join("spool/events-first.jsonl")).map_or(0, |text| text.lines().count())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_past_half_of_its_life_is_renewed_and_used() {
    let (cloud, folder) = (Cloud::start().await, TestFolder::new("renewal"));
    let state = state(&folder);
    // Five days old, one day left.
    cloud.store.lock().unwrap().certificate_days = 1;
    let uplink = cloud.joined(&state).await;
    let before = uplink.identity();
    let following = tokio::spawn(renewal::follow(Arc::clone(&uplink)));
    until("the certificate is renewed", || uplink.identity().chain_pem != before.chain_pem).await;
    following.abort();
    let after = uplink.identity();
    assert!(after.validity().not_after > before.validity().not_after);
    assert_ne!(after.tls_key.pkcs8(), before.tls_key.pkcs8());
    assert_eq!(after.ticket_key.public_text(), before.ticket_key.public_text());
    assert_eq!(state.identity().unwrap().unwrap().to_bytes(), after.to_bytes());
    assert!(uplink.client().get::<SiteSettings>("/site/v1/settings").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_that_is_over_is_told_as_refused_by_the_cloud() {
    let (cloud, folder) = (Cloud::start().await, TestFolder::new("renewal-late"));
    let state = state(&folder);
    cloud.store.lock().unwrap().certificate_days = -1;
    let uplink = cloud.joined(&state).await;
    let error = uplink.client().get::<SiteSettings>("/site/v1/settings").await.unwrap_err();
    assert!(matches!(error, UplinkError::CertificateRefused { .. }), "{error:?}");
}
