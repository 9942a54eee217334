//! The boot plane as a node sees it: requests in, answers out, on a store of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tower_service::Service as _;

use super::*;
use crate::clock;
use crate::cloud::admission::{NodeState, Policy};
use crate::cloud::config::{CloudConfig, StoreSettings};
use crate::cloud::state::Patience;
use crate::cloud::store::tests::postgresql;
use crate::cloud::store::{Asset, NewCluster, Node, NodeFilter};
use crate::secret::Secret;
use crate::wire::{BootId, MacAddr, Nonce, SystemUuid, Ticket};

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
const BASE: &str = "version: v1alpha1\nmachine:\n  type: worker\n  ca: {crt: Q0E=}\n  install: {disk: /dev/vda}\ncluster:\n  controlPlane: {endpoint: \
                    \"https://100.64.0.10:6443\"}\n";

/// Every test runs on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Database {
    Sqlite,
    Postgresql,
}

macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test] async fn $test() { super::$test(super::Database::Sqlite).await; })*
        }
        mod on_postgresql {
            $(#[tokio::test] async fn $test() { super::$test(super::Database::Postgresql).await; })*
        }
    };
}

on_both! {
    an_unapproved_node_waits_and_goes_on_after_approval,
    a_ticket_works_once_for_its_machine_in_its_time,
    the_machine_config_is_handed_out_once,
    a_newer_boot_takes_back_the_older_ones_token,
    a_rejected_node_gets_nothing_even_with_a_token_in_hand,
    a_known_uuid_with_another_address_is_held_even_at_an_automatic_site,
    a_placeholder_uuid_is_no_identity,
    blobs_need_their_capability_and_a_changed_one_never_arrives_whole,
    malformed_requests_are_refused_in_words,
    of_many_that_race_at_two_replicas_one_wins,
}

/// A cloud with one cluster and one site, and the site's key.
struct Lab {
    folder: PathBuf,
    state: Arc<CloudState>,
    settings: StoreSettings,
    router: Router,
    site: u32,
    key: Ed25519KeyPair,
    nonces: std::cell::Cell<u8>,
}

struct Reply {
    status: StatusCode,
    text: String,
    broken: bool,
}

fn router(folder: &std::path::Path, state: &Arc<CloudState>) -> Router {
    let example = include_str!("../../../config/cloud.toml");
    let path = folder.join("cloud.toml");
    std::fs::write(&path, example).unwrap();
    let settings = CloudConfig::load(&path).unwrap().boot_plane;
    let channel = Channel { peer: "127.0.0.1:1".parse().unwrap(), tls: "TLSv1_2 test".to_owned() };
    BootService::new(settings, Arc::clone(state)).router().layer(Extension(channel))
}

impl Lab {
    fn new(database: Database, name: &str, policy: Policy) -> Self {
        let folder = std::env::temp_dir().join(format!("fairlead-boot-{name}-{database:?}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&folder));
        let postgresql = (database == Database::Postgresql).then(|| postgresql(name));
        let settings = StoreSettings { postgresql, key: None };
        CloudState::init(&folder, &settings).unwrap();
        let state = Arc::new(CloudState::open(&folder, &settings, Patience::None).unwrap());
        std::fs::write(folder.join("kernel"), vec![b'k'; 300_000]).unwrap();
        let stored = state.blobs().import(&folder.join("kernel")).unwrap();
        let asset = Asset { digest: stored.digest, size: stored.size };
        let cluster = NewCluster {
            name: "prod".parse().unwrap(),
            machine_config: Secret::from(BASE.to_owned()),
            tailscale_key: Some(Secret::from("tskey-auth-1".to_owned())),
            kernel_args: "talos.platform=metal slab_nomerge pti=on".to_owned(),
            kernel: asset,
            initramfs: asset,
        };
        let key = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        let public_key = key.public_key().as_ref().to_vec();
        let site = state
            .store
            .transaction(move |tx| {
                let cluster = tx.add_cluster(&cluster, clock::now())?;
                let site = tx.add_site(&"plant-1".parse().unwrap(), cluster, policy, clock::now())?;
                tx.replace_ticket_key(site, &public_key, clock::now())?;
                Ok::<_, StoreError>(site)
            })
            .unwrap();
        let router = router(&folder, &state);
        Self { folder, state, settings, router, site, key, nonces: std::cell::Cell::new(0) }
    }

    /// Another replica: the same keys and database, connections of its own.
    fn replica(&self) -> (Arc<CloudState>, Router) {
        let state = Arc::new(CloudState::open(&self.folder, &self.settings, Patience::None).unwrap());
        let router = router(&self.folder, &state);
        (state, router)
    }

    fn ticket(&self) -> Ticket {
        self.nonces.set(self.nonces.get() + 1);
        let uuid = "4c4c4544-0042-3510-8052-b4c04f564231".parse().ok();
        Ticket { site: self.site, boot: BootId([1; 8]), mac: MAC, uuid, issued_at: clock::now(), nonce: Nonce([self.nonces.get(); 12]) }
    }

    async fn get(&self, path: &str, bearer: &str) -> Reply {
        let path = path.trim_start_matches("https://boot.example.com");
        let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {bearer}")).body(Body::empty()).unwrap();
        let answer = self.router.clone().call(request).await.unwrap();
        let status = answer.status();
        match answer.into_body().collect().await {
            Ok(body) => Reply { status, text: String::from_utf8_lossy(&body.to_bytes()).into_owned(), broken: false },
            Err(_) => Reply { status, text: String::new(), broken: true },
        }
    }

    async fn script(&self, bearer: &str) -> Reply {
        self.script_as(bearer, MAC, "4c4c4544-0042-3510-8052-b4c04f564231").await
    }

    async fn script_as(&self, bearer: &str, mac: MacAddr, uuid: &str) -> Reply {
        self.get(&format!("/boot/v1/script?mac={mac}&uuid={uuid}&serial=S1&platform=efi"), bearer).await
    }

    fn node(&self) -> Node {
        self.state.store.transaction(|tx| tx.nodes(&NodeFilter::default(), 10)).unwrap().into_iter().next().unwrap()
    }

    fn set_state(&self, state: NodeState) {
        self.state.store.transaction(move |tx| tx.set_node_state(1, state, "test", clock::now())).unwrap();
    }

    fn alarms(&self) -> Vec<String> {
        let site = self.site;
        let timeline = self.state.store.read(move |tx| tx.timeline(site, BootId([1; 8]), 1)).unwrap();
        timeline.into_iter().filter(|event| event.alarm).map(|event| event.kind).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// The word of the script that begins with `start`.
fn word<'a>(script: &'a str, start: &str) -> &'a str {
    script.split_whitespace().find(|word| word.starts_with(start)).unwrap_or_else(|| panic!("no {start} in {script}"))
}

async fn an_unapproved_node_waits_and_goes_on_after_approval(database: Database) {
    let lab = Lab::new(database, "wait", Policy::Approve);
    let first = lab.script(&lab.ticket().sign(&lab.key)).await;
    assert_eq!(first.status, StatusCode::OK);
    assert!(first.text.contains(&lab.node().code), "{}", first.text);
    let continuation = word(&first.text, "c.");
    let second = lab.script(continuation).await;
    assert!(second.text.contains("still waits"), "{}", second.text);
    assert_eq!(lab.script(continuation).await.status, StatusCode::FORBIDDEN, "a continuation works once");
    lab.set_state(NodeState::Approved);
    let third = lab.script(word(&second.text, "c.")).await;
    assert!(third.text.contains("talos.config=https://boot.example.com/boot/v1/config?token="), "{}", third.text);
}

async fn a_ticket_works_once_for_its_machine_in_its_time(database: Database) {
    let lab = Lab::new(database, "ticket", Policy::Auto);
    let ticket = lab.ticket();
    let other = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
    let uuid = "4c4c4544-0042-3510-8052-b4c04f564231";
    let refused = |reply: Reply, line: &str| {
        assert_eq!((reply.status, reply.text.trim()), (StatusCode::FORBIDDEN, line));
        assert!(line.len() <= 32, "Talos and iPXE show 32 octets: {line}");
    };
    refused(lab.script_as(&ticket.sign(&lab.key), other, uuid).await, "ticket is for another machine");
    refused(lab.script_as(&ticket.sign(&lab.key), MAC, "4c4c4544-0042-3510-8052-000000000000").await, "ticket is for another machine");
    refused(lab.script_as(&ticket.sign(&lab.key), MAC, "").await, "ticket is for another machine");
    assert_eq!(lab.script(&ticket.sign(&lab.key)).await.status, StatusCode::OK, "being shown by another did not use it up");
    refused(lab.script(&ticket.sign(&lab.key)).await, "ticket already used");

    let at = |issued_at| Ticket { issued_at, ..lab.ticket() }.sign(&lab.key);
    let now = clock::now();
    refused(lab.script(&at(Timestamp(now.0 - 310_000))).await, "ticket expired");
    refused(lab.script(&at(now.after(Duration::from_secs(120)))).await, "ticket is from the future");
    let strange = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    refused(lab.script(&lab.ticket().sign(&strange)).await, "ticket not signed by known site");
    refused(lab.script(&Ticket { site: 99, ..lab.ticket() }.sign(&lab.key)).await, "ticket not signed by known site");
    refused(lab.script("nonsense").await, "not a boot ticket");
    assert_eq!(lab.alarms(), ["ticket_for_other_machine", "ticket_for_other_machine", "ticket_for_other_machine", "ticket_replayed"]);
}

async fn the_machine_config_is_handed_out_once(database: Database) {
    let lab = Lab::new(database, "once", Policy::Auto);
    let script = lab.script(&lab.ticket().sign(&lab.key)).await.text;
    let url = word(&script, "talos.config=").trim_start_matches("talos.config=").to_owned();
    let config = lab.get(&url, "").await;
    assert_eq!(config.status, StatusCode::OK);
    assert!(config.text.starts_with(BASE) && config.text.contains("TS_AUTHKEY=tskey-auth-1"), "{}", config.text);
    assert!(config.text.contains("hostname: plant-1-525400000001"), "{}", config.text);
    let again = lab.get(&url, "").await;
    assert_eq!((again.status, again.text.trim()), (StatusCode::FORBIDDEN, "config token already used"));
    assert_eq!(lab.alarms(), ["config_refused"]);
    assert_eq!(lab.node().state, NodeState::Configured);

    let next = lab.script(&lab.ticket().sign(&lab.key)).await.text;
    assert!(next.contains("set next sanboot") && !next.contains("talos.config"), "{next}");
    lab.set_state(NodeState::Rearmed);
    assert!(lab.script(&lab.ticket().sign(&lab.key)).await.text.contains("talos.config="));
}

async fn a_newer_boot_takes_back_the_older_ones_token(database: Database) {
    let lab = Lab::new(database, "newer", Policy::Auto);
    let old = lab.script(&lab.ticket().sign(&lab.key)).await.text;
    let new = lab.script(&lab.ticket().sign(&lab.key)).await.text;
    let fetch = |script: &str| word(script, "talos.config=").trim_start_matches("talos.config=").to_owned();
    assert_eq!(lab.get(&fetch(&old), "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(lab.get(&fetch(&new), "").await.status, StatusCode::OK);
}

async fn a_rejected_node_gets_nothing_even_with_a_token_in_hand(database: Database) {
    let lab = Lab::new(database, "reject", Policy::Auto);
    let script = lab.script(&lab.ticket().sign(&lab.key)).await.text;
    lab.set_state(NodeState::Rejected);
    let config = lab.get(word(&script, "talos.config=").trim_start_matches("talos.config="), "").await;
    assert_eq!((config.status, config.text.trim()), (StatusCode::FORBIDDEN, "node may not be configured"));
    assert!(lab.script(&lab.ticket().sign(&lab.key)).await.text.contains("refused by its operator"));
}

async fn a_known_uuid_with_another_address_is_held_even_at_an_automatic_site(database: Database) {
    let lab = Lab::new(database, "collide", Policy::Auto);
    lab.script(&lab.ticket().sign(&lab.key)).await;
    let other = MacAddr([0x52, 0x54, 0, 0, 0, 2]);
    let ticket = Ticket { mac: other, boot: BootId([2; 8]), ..lab.ticket() };
    let reply = lab.script_as(&ticket.sign(&lab.key), other, "4c4c4544-0042-3510-8052-b4c04f564231").await;
    assert!(reply.text.contains("waits for approval"), "{}", reply.text);
    let nodes = lab.state.store.transaction(|tx| tx.nodes(&NodeFilter::default(), 10)).unwrap();
    assert!(nodes.last().unwrap().reason.starts_with("held:"));
}

async fn a_placeholder_uuid_is_no_identity(database: Database) {
    let lab = Lab::new(database, "placeholder", Policy::Auto);
    let uuid: SystemUuid = "03000200-0400-0500-0006-000700080009".parse().unwrap();
    let ticket = Ticket { uuid: Some(uuid), ..lab.ticket() };
    lab.script_as(&ticket.sign(&lab.key), MAC, &uuid.to_string()).await;
    assert_eq!(lab.node().key.uuid, None);
}

async fn blobs_need_their_capability_and_a_changed_one_never_arrives_whole(database: Database) {
    let lab = Lab::new(database, "blob", Policy::Auto);
    let script = lab.script(&lab.ticket().sign(&lab.key)).await.text;
    let url = script.split_whitespace().find(|word| word.ends_with("/kernel")).unwrap().to_owned();
    let kernel = lab.get(&url, "").await;
    assert_eq!((kernel.status, kernel.text.len()), (StatusCode::OK, 300_000));
    let digest = crate::wire::Digest::of(&vec![b'k'; 300_000]).to_string();
    let other = url.replace(&digest, &crate::wire::Digest::of(b"other").to_string());
    assert_eq!(lab.get(&other, "").await.status, StatusCode::FORBIDDEN);

    let path = lab.state.blobs().path(digest.parse().unwrap());
    let mut changed = std::fs::read(&path).unwrap();
    changed[150_000] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    assert!(lab.get(&url, "").await.broken);
    for _ in 0..100 {
        if lab.alarms() == ["blob_corrupt"] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no alarm: {:?}", lab.alarms());
}

async fn malformed_requests_are_refused_in_words(database: Database) {
    let lab = Lab::new(database, "malformed", Policy::Auto);
    for query in
        ["", "?mac=x", "?mac=52-54-00-00-00-01", "?mac=52-54-00-00-00-01&platform=efi&uuid=x", "?mac=%ff&platform=efi", "?mac=1&mac=2"]
    {
        let reply = lab.get(&format!("/boot/v1/script{query}"), "x").await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(!reply.text.trim().is_empty(), "{query}");
    }
    assert_eq!(lab.get("/boot/v1/config", "").await.text.trim(), "config token unknown");
    assert_eq!(lab.get("/boot/v1/config?token=x", "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(lab.get("/boot/v1/blob/x/y/kernel", "").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(lab.get("/boot/v1/nothing", "").await.status, StatusCode::NOT_FOUND);
}

/// How many race.
const RACERS: usize = 64;

/// All of them ask at once, half of them at each replica; returns the answers that are not refusals.
async fn race(routers: &[Router; 2], path: &str, bearer: &str) -> Vec<String> {
    let together = Arc::new(tokio::sync::Barrier::new(RACERS));
    let mut racers = tokio::task::JoinSet::new();
    for number in 0..RACERS {
        let (mut router, together) = (routers[number % 2].clone(), Arc::clone(&together));
        let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {bearer}")).body(Body::empty()).unwrap();
        racers.spawn(async move {
            together.wait().await;
            let answer = router.call(request).await.unwrap();
            let status = answer.status();
            let text = String::from_utf8_lossy(&answer.into_body().collect().await.unwrap().to_bytes()).into_owned();
            assert!(status == StatusCode::OK || status == StatusCode::FORBIDDEN, "{status} {text}");
            (status == StatusCode::OK).then_some(text)
        });
    }
    racers.join_all().await.into_iter().flatten().collect()
}

async fn of_many_that_race_at_two_replicas_one_wins(database: Database) {
    let rounds: u64 = std::env::var("FAIRLEAD_RACES").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4);
    let lab = Lab::new(database, "race", Policy::Approve);
    let (other, other_router) = lab.replica();
    let routers = [lab.router.clone(), other_router];
    for round in 0..rounds {
        let octets = (round + 1).to_be_bytes();
        let mac = MacAddr([2, 0, 0, octets[5], octets[6], octets[7]]);
        let nonces = [[1; 4].as_slice(), &octets].concat().try_into().unwrap();
        let ticket = Ticket { mac, uuid: None, boot: BootId(octets), nonce: Nonce(nonces), ..lab.ticket() };
        let asked = format!("/boot/v1/script?mac={mac}&uuid=&platform=efi");
        let waiting = race(&routers, &asked, &ticket.sign(&lab.key)).await;
        assert_eq!(waiting.len(), 1, "one ticket, round {round}");

        let node = i64::try_from(round).unwrap() + 1;
        let approvals: Vec<_> = (0..RACERS)
            .map(|number| {
                let store = if number % 2 == 0 { lab.state.store.clone() } else { other.store.clone() };
                tokio::spawn(async move {
                    store
                        .call(move |tx| {
                            let node = tx.node_to_change(node)?.unwrap();
                            let before = node.state;
                            let actor = crate::cloud::actor::Actor::Operator;
                            let trigger = crate::cloud::admission::Trigger::Approve;
                            let after = crate::cloud::inventory::step(tx, &actor, &node, trigger, "race", clock::now())?;
                            Ok::<_, StoreError>((before, after))
                        })
                        .await
                        .unwrap()
                })
            })
            .collect();
        let mut first = 0;
        for approval in approvals {
            let (before, after) = approval.await.unwrap();
            assert_eq!(after, Ok(NodeState::Approved));
            first += usize::from(before == NodeState::Pending);
        }
        assert_eq!(first, 1, "one approval, round {round}");

        let continuation = waiting[0].split("Bearer ").nth(1).unwrap().split_whitespace().next().unwrap();
        let scripts = race(&routers, &asked, continuation).await;
        assert_eq!(scripts.len(), 1, "one continuation, round {round}");
        let url = word(&scripts[0], "talos.config=").trim_start_matches("talos.config=").trim_start_matches("https://boot.example.com");
        let configs = race(&routers, url, "").await;
        assert_eq!(configs.len(), 1, "one token, round {round}");
        assert!(configs[0].starts_with(BASE));
    }
    let end = other.store.follow_audit(&crate::cloud::actor::Actor::Operator, "audit.verify", clock::now(), |_| Ok::<_, StoreError>(()));
    end.unwrap().unwrap();
}
