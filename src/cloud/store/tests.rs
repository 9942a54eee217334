//! The store as a whole, on both databases.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, OnceLock};
use std::time::Duration;

use fairlead_lab::postgresql::{Durability, PostgresqlServer};

use super::*;
use crate::cloud::actor::Actor;
use crate::secret::Secret;
use crate::wire::{Digest, Nonce};

/// A store of a test's own, gone when dropped.
pub(crate) struct Scratch {
    pub(crate) folder: PathBuf,
    pub(crate) location: Location,
    pub(crate) store: Store,
}

/// One server for all tests of the process, with a database for each.
fn server() -> &'static PostgresqlServer {
    static SERVER: OnceLock<PostgresqlServer> = OnceLock::new();
    SERVER.get_or_init(|| PostgresqlServer::start(Durability::None).unwrap_or_else(|failure| panic!("{failure}")))
}

/// A PostgreSQL database of a test's own.
pub(crate) fn postgresql(name: &str) -> PostgresqlSettings {
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let database = format!("{}_{}", name.replace('-', "_"), DATABASES.fetch_add(1, Ordering::Relaxed));
    settings(&server().create_database(&database).unwrap())
}

fn settings(url: &str) -> PostgresqlSettings {
    let timeout = Duration::from_secs(10);
    PostgresqlSettings { address: PostgresqlAddress::parse(&Secret::from(url.to_owned()), timeout).unwrap(), connections: 3, timeout }
}

fn folder(name: &str) -> PathBuf {
    static FOLDERS: AtomicU32 = AtomicU32::new(0);
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("fairlead-store-{name}-{}-{number}", std::process::id()));
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("store.key"), [7; 32]).unwrap();
    folder
}

impl Scratch {
    pub(crate) fn on_both(name: &str, test: impl Fn(Self)) {
        test(Self::sqlite(name));
        test(Self::postgresql(name));
    }

    pub(crate) fn sqlite(name: &str) -> Self {
        let folder = folder(name);
        let location = Location::Sqlite(folder.join("cloud.db"));
        Self::at(folder, location)
    }

    pub(crate) fn postgresql(name: &str) -> Self {
        Self::at(folder(name), Location::Postgresql(Box::new(postgresql(name))))
    }

    fn at(folder: PathBuf, location: Location) -> Self {
        let store = Store::create(&location, &keyring(&folder)).unwrap();
        Self { folder, location, store }
    }

    pub(crate) fn keys(&self) -> Arc<Keyring> {
        keyring(&self.folder)
    }

    /// Another replica.
    pub(crate) fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.location, &self.keys())
    }

    /// Runs statements past the store.
    pub(crate) fn meddle(&self, sql: &'static str) {
        self.store.transaction(move |tx| tx.ask(|connection| connection.batch(sql))).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn keyring(folder: &Path) -> Arc<Keyring> {
    Arc::new(Keyring::load(KeySource::File(folder.join("store.key"))).unwrap())
}

/// A cluster with secrets that are easily found again.
pub(crate) fn cluster(name: &str) -> NewCluster {
    let asset = Asset { digest: Digest::of(b""), size: 0 };
    NewCluster {
        name: name.parse().unwrap(),
        machine_config: Secret::from(format!("machine-secret-of-{name}")),
        tailscale_key: Some(Secret::from(format!("tailscale-secret-of-{name}"))),
        kernel_args: String::new(),
        kernel: asset,
        initramfs: asset,
    }
}

fn lines(store: &Store) -> i64 {
    store.read(|tx| tx.one("SELECT count(*) FROM audit", &[])).unwrap().unwrap_or(-1)
}

#[test]
fn a_missing_foreign_damaged_or_newer_file_is_refused_and_left_alone() {
    let scratch = Scratch::sqlite("refuse");
    let path = scratch.folder.join("other.db");
    let open = |path: &Path| Store::open(&Location::Sqlite(path.to_owned()), &scratch.keys()).map(drop);
    assert!(matches!(open(&path), Err(StoreError::Missing(_))));
    assert!(!path.exists());

    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    assert!(matches!(open(&path), Err(StoreError::Damaged { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), vec![b'x'; 8192]);

    std::fs::remove_file(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(open(&path), Err(StoreError::NotOurs(_))));

    let ours = scratch.folder.join("cloud.db");
    rusqlite::Connection::open(&ours).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(open(&ours), Err(StoreError::Newer { found: 99, .. })));
}

#[test]
fn a_missing_or_newer_postgresql_database_is_refused() {
    let empty = Location::Postgresql(Box::new(postgresql("empty")));
    let scratch = Scratch::postgresql("newer");
    assert!(matches!(Store::open(&empty, &scratch.keys()).map(drop), Err(StoreError::Missing(_))));
    assert!(matches!(empty.is_there(), Ok(false)));
    scratch.meddle("UPDATE fairlead_schema SET steps = 99");
    assert!(matches!(scratch.open().map(drop), Err(StoreError::Newer { found: 99, .. })));
}

#[test]
fn a_database_is_never_made_over_another() {
    Scratch::on_both("over", |scratch| {
        assert!(matches!(Store::create(&scratch.location, &scratch.keys()).map(drop), Err(StoreError::Exists { .. })));
        assert!(matches!(scratch.location.is_there(), Ok(true)));
    });
}

#[test]
fn what_fails_leaves_nothing_and_takes_nobody_along() {
    Scratch::on_both("rollback", |scratch| {
        let before = lines(&scratch.store);
        let together = Arc::new(Barrier::new(16));
        let threads: Vec<_> = (0..16_u64)
            .map(|number| {
                let (store, together) = (scratch.store.clone(), Arc::clone(&together));
                std::thread::spawn(move || {
                    together.wait();
                    store.transaction(move |tx| {
                        tx.audit(Timestamp(number), &Actor::Cloud, "b", "c", "d");
                        match number % 4 {
                            0 => Err(StoreError::Missing("nowhere".to_owned())),
                            1 => tx.execute("INSERT INTO no_such_table VALUES (1)", &[]).map(drop),
                            2 if number == 2 => panic!("in the middle of a change"),
                            _ => Ok(()),
                        }
                    })
                })
            })
            .collect();
        let kept = threads.into_iter().filter(|_| true).map(|thread| thread.join().unwrap()).filter(Result::is_ok).count();
        assert_eq!(kept, 7);
        assert_eq!(lines(&scratch.store), before + 7);
    });
}

#[test]
fn a_failed_question_can_not_be_passed_over() {
    Scratch::on_both("passed-over", |scratch| {
        let before = lines(&scratch.store);
        let outcome: Result<(), StoreError> = scratch.store.transaction(|tx| {
            tx.audit(Timestamp(1), &Actor::Cloud, "b", "c", "d");
            drop(tx.execute("INSERT INTO no_such_table VALUES (1)", &[]));
            Ok(())
        });
        assert!(matches!(outcome, Err(StoreError::Incomplete)));
        assert_eq!(lines(&scratch.store), before);
    });
}

#[test]
fn whoever_only_reads_can_not_write() {
    Scratch::on_both("read", |scratch| {
        let before = lines(&scratch.store);
        let outcome: Result<(), StoreError> = scratch.store.read(|tx| tx.execute("DELETE FROM cluster", &[]).map(drop));
        assert!(outcome.is_err());
        assert_eq!(lines(&scratch.store), before);
    });
}

#[test]
fn a_name_that_is_taken_is_said() {
    Scratch::on_both("taken", |scratch| {
        scratch.store.transaction(|tx| tx.add_cluster(&cluster("c"), Timestamp(1))).unwrap();
        let outcome = scratch.store.transaction(|tx| tx.add_cluster(&cluster("c"), Timestamp(1)));
        assert!(matches!(outcome, Err(StoreError::Exists { kind: "cluster", .. })));
    });
}

#[test]
fn of_many_who_use_one_ticket_at_two_replicas_one_is_first() {
    Scratch::on_both("nonce", |scratch| {
        let replicas = [scratch.store.clone(), scratch.open().unwrap()];
        for round in 0..20_u8 {
            let together = Arc::new(Barrier::new(16));
            let threads: Vec<_> = (0..16_usize)
                .map(|number| {
                    let (store, together) = (replicas[number % 2].clone(), Arc::clone(&together));
                    std::thread::spawn(move || {
                        together.wait();
                        store.transaction(move |tx| tx.use_nonce(1, Nonce([round; 12]), Timestamp(9))).unwrap()
                    })
                })
                .collect();
            let first = threads.into_iter().map(|thread| thread.join().unwrap()).filter(|first| *first).count();
            assert_eq!(first, 1, "round {round}");
        }
    });
}

#[test]
fn replicas_that_start_at_once_migrate_once() {
    let sqlite = Scratch::sqlite("start");
    let postgresql = Scratch::postgresql("start");
    for scratch in [sqlite, postgresql] {
        // Back to the first schema: the steps beyond it are to be taken again.
        let path = scratch.folder.join("cloud.db");
        match &scratch.location {
            Location::Sqlite(_) => {
                std::fs::remove_file(&path).unwrap();
                let old = rusqlite::Connection::open(&path).unwrap();
                old.execute_batch(include_str!("schema/0001.sql")).unwrap();
                old.pragma_update(None, "application_id", 0x464c_636c).unwrap();
                old.pragma_update(None, "user_version", 1).unwrap();
            }
            Location::Postgresql(_) => {
                scratch.meddle("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
                scratch.meddle("CREATE TABLE fairlead_schema (steps BIGINT NOT NULL); INSERT INTO fairlead_schema VALUES (0)");
            }
        }
        let together = Arc::new(Barrier::new(4));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (location, keys, together) = (scratch.location.clone(), scratch.keys(), Arc::clone(&together));
                std::thread::spawn(move || {
                    together.wait();
                    Store::open(&location, &keys).map(drop)
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
        let store = scratch.open().unwrap();
        assert_eq!(store.read(|tx| tx.one::<i64>("SELECT count(*) FROM store_key", &[])).unwrap(), Some(1));
    }
}

#[test]
fn secrets_of_the_first_schema_are_kept_and_name_their_key() {
    let scratch = Scratch::sqlite("first-schema");
    let path = scratch.folder.join("cloud.db");
    std::fs::remove_file(&path).unwrap();
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(include_str!("schema/0001.sql")).unwrap();
    old.pragma_update(None, "application_id", 0x464c_636c).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    let key = StoreKey::from_bytes(&[7; 32]).unwrap();
    let sealed = key.seal("cluster/prod/machine_config", &Secret::from("the config".to_owned())).unwrap();
    // The first form had no name of a key in front.
    let unnamed = sealed.get(9..).unwrap();
    old.execute("INSERT INTO cluster VALUES (1, 'prod', ?1, NULL, '', ?2, 0, ?2, 0, 1)", (unnamed, Digest::of(b"").to_string())).unwrap();
    old.execute("INSERT INTO site VALUES (1, 'plant', 1, 'auto', 1, NULL)", []).unwrap();
    let uuid = "4c4c4544-0042-3510-8052-b4c04f564231";
    let node = "INSERT INTO node VALUES (1, 1, '02:00:00:00:00:01', ?1, 'CODE', 'configured', 'r', 'h', 's', 'Dell R650', 'auto', 1, 2)";
    old.execute(node, [uuid]).unwrap();
    old.execute("INSERT INTO audit VALUES (1, 5, 'operator', 'cluster.add', 'prod', '')", []).unwrap();
    drop(old);
    let store = scratch.open().unwrap();
    let config = store
        .read(|tx| {
            let cluster = tx.cluster_named(&"prod".parse().unwrap())?.unwrap();
            tx.cluster_secrets(&cluster).map(|(config, _)| config)
        })
        .unwrap();
    assert_eq!(config.expose(), b"the config");
    let key = NodeKey { site: 1, mac: "02:00:00:00:00:01".parse().unwrap(), uuid: uuid.parse().ok() };
    let node = store.transaction(move |tx| tx.node_by_key(&key)).unwrap().unwrap();
    assert_eq!((node.id, node.facts.product.as_str(), node.last_seen), (1, "Dell R650", Timestamp(2)));
    let end = store.follow_audit(&Actor::Operator, "audit.verify", Timestamp(9), |_| Ok::<_, StoreError>(())).unwrap().unwrap();
    assert_eq!(end.line, 1);
}

#[test]
fn the_key_rotates_and_a_program_that_runs_finds_the_new_one() {
    Scratch::on_both("rotate", |scratch| {
        let running = scratch.open().unwrap();
        running.transaction(|tx| tx.add_cluster(&cluster("before"), Timestamp(1))).unwrap();
        let file = scratch.folder.join("store.key");
        let old = running.keys().first();
        // Both keys, as a rotation that was interrupted leaves them: nothing is lost, and the store's own key seals on.
        std::fs::write(&file, [[8; 32], [7; 32]].concat()).unwrap();
        let rotating = scratch.open().unwrap();
        let new = rotating.keys().first();
        assert_ne!(old, new);
        rotating.transaction(|tx| tx.add_cluster(&cluster("between"), Timestamp(1))).unwrap();
        assert_eq!(rotating.read(|tx| tx.store_key()).unwrap(), old);
        assert_eq!(rotating.transaction(move |tx| tx.seal_anew(new, Timestamp(2))).unwrap(), 4);
        std::fs::write(&file, [8; 32]).unwrap();
        running.transaction(|tx| tx.add_cluster(&cluster("after"), Timestamp(3))).unwrap();
        for store in [&running, &scratch.open().unwrap()] {
            for name in ["before", "between", "after"] {
                let (config, key) = store.read(move |tx| tx.cluster_secrets(&tx.cluster_named(&name.parse().unwrap())?.unwrap())).unwrap();
                assert_eq!(config.expose_str(), Some(format!("machine-secret-of-{name}").as_str()));
                assert_eq!(key.unwrap().expose_str(), Some(format!("tailscale-secret-of-{name}").as_str()));
            }
        }
        std::fs::write(&file, [7; 32]).unwrap();
        assert!(matches!(scratch.open().map(drop), Err(StoreError::Seal(SealError::UnknownKey(id))) if id == new));
    });
}

#[test]
fn a_database_that_went_away_is_waited_for_and_loses_nothing_that_was_answered() {
    let server = PostgresqlServer::start(Durability::Full).unwrap();
    let folder = folder("outage");
    let location = Location::Postgresql(Box::new(settings(&server.create_database("outage").unwrap())));
    let store = Store::create(&location, &keyring(&folder)).unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let threads: Vec<_> = (0..4_u64)
        .map(|thread| {
            let (store, stop) = (store.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut answered = Vec::new();
                for number in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("{thread}-{number}");
                    let line = name.clone();
                    let outcome = store.transaction(move |tx| {
                        tx.audit(Timestamp(number), &Actor::Cloud, "b", &line, "d");
                        Ok::<_, StoreError>(())
                    });
                    match outcome {
                        Ok(()) => answered.push(name),
                        Err(error) => assert!(matches!(error, StoreError::Unconfirmed | StoreError::Unreachable { .. }), "{error:?}"),
                    }
                }
                answered
            })
        })
        .collect();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(300));
        server.stop_at_once().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        server.start_again().unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    stop.store(true, Ordering::Relaxed);
    let answered: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let stored: Vec<String> = store.read(|tx| tx.rows("SELECT subject FROM audit", &[])?.iter().map(|row| row.get(0)).collect()).unwrap();
    let stored: std::collections::HashSet<&str> = stored.iter().map(String::as_str).collect();
    assert!(answered.len() > 50, "{}", answered.len());
    assert!(answered.iter().all(|name| stored.contains(name.as_str())));

    server.stop_at_once().unwrap();
    let quick = PostgresqlSettings { timeout: Duration::from_millis(500), ..settings("postgresql://fairlead@%2Fnonexistent/d") };
    let gone = Store::open(&Location::Postgresql(Box::new(quick)), &keyring(&folder)).map(drop);
    assert!(matches!(gone, Err(StoreError::Unreachable { .. })), "{gone:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A store is dropped by the last who holds it, and that may be a job on the store's own thread.
#[test]
fn the_last_to_hold_a_store_may_be_its_own_job() {
    Scratch::on_both("last", |scratch| {
        let store = scratch.open().unwrap();
        let held = store.clone();
        let (sender, receiver) = mpsc::channel();
        store.put(Job::new(
            queue::typed(
                move |tx: &Tx<'_>| {
                    let _held = &held;
                    std::thread::sleep(Duration::from_millis(100));
                    tx.one::<i64>("SELECT count(*) FROM cluster", &[])
                },
                move |answer: Result<_, StoreError>| sender.send(answer.is_ok()).unwrap(),
            ),
            false,
        ));
        drop(store);
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok(true));
    });
}
