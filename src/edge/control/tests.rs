use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::*;
use crate::edge::test_folder::TestFolder;

/// Counts nothing, keeps nothing, and refuses to reload.
struct Box;

impl Handler for Box {
    async fn status(&self) -> Result<Status, Failure> {
        let drops = BTreeMap::from([("not for us".to_owned(), 3)]);
        Ok(Status { version: "1".to_owned(), started_at: Timestamp(5), subnets: Vec::new(), drops })
    }

    async fn reload(&self) -> Result<Reloaded, Failure> {
        Err(Failure::new("edge.toml is wrong").because("line 7").hint("put it right"))
    }

    async fn release_lease(&self, address: Ipv4Addr) -> Result<LeaseEntry, Failure> {
        Err(Failure::new(format!("{address} has no lease")))
    }

    async fn import_leases(&self, leases: Vec<LeaseEntry>) -> Result<Imported, Failure> {
        Ok(Imported { taken: leases.len(), refused: Vec::new() })
    }
}

/// Serves in a runtime of its own while `test` runs.
fn with_box(name: &str, test: impl FnOnce(&std::path::Path)) {
    let folder = TestFolder::new(name);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let socket = runtime.block_on(async { ControlSocket::bind(&folder.path().join(SOCKET)) }).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = runtime.spawn(socket.serve(Arc::new(Box), async { drop(stopped.await) }));
    test(folder.path());
    drop(stop);
    runtime.block_on(serving).unwrap();
    assert!(!folder.path().join(SOCKET).exists());
}

#[test]
fn a_command_asks_and_is_answered_also_with_a_failure() {
    with_box("control", |folder| {
        assert_eq!(std::fs::metadata(folder.join(SOCKET)).unwrap().permissions().mode() & 0o777, 0o600);
        let mut client = Client::connect(folder).unwrap().unwrap();
        let Answer::Status(status) = client.ask(&Request::Status).unwrap() else { panic!() };
        assert_eq!(status.drops["not for us"], 3);
        let Answer::Failed(failure) = client.ask(&Request::Reload).unwrap() else { panic!() };
        assert_eq!(failure.to_string(), "error: edge.toml is wrong\n  caused by: line 7\nhint: put it right");
        let Answer::Imported(imported) = client.ask(&Request::ImportLeases { leases: Vec::new() }).unwrap() else { panic!() };
        assert_eq!(imported, Imported::default());
        let address = Ipv4Addr::new(192, 0, 2, 1);
        let Answer::Failed(failure) = client.ask(&Request::ReleaseLease { address }).unwrap() else { panic!() };
        assert_eq!(failure.to_string(), "error: 192.0.2.1 has no lease");
    });
}

#[test]
fn what_is_no_request_is_told_and_one_without_end_is_not_waited_for() {
    with_box("control-bad", |folder| {
        let mut stream = UnixStream::connect(folder.join(SOCKET)).unwrap();
        stream.write_all(b"{\"request\":\"explode\"}\n[]\n\xff\n{}\n").unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
        for _ in 0..4 {
            assert!(answers.next().unwrap().unwrap().contains("can't be understood"));
        }
        stream.write_all(b"{\"request\":\"status\"}").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(answers.next().unwrap().unwrap().contains("cut short"));
        assert!(answers.next().is_none());
        let mut stream = UnixStream::connect(folder.join(SOCKET)).unwrap();
        // More than is taken; the box closes before all of it is written, or after.
        drop(stream.write_all(&vec![b' '; LONGEST_LINE]));
        let mut answer = String::new();
        drop(BufReader::new(stream).read_line(&mut answer));
        assert!(answer.is_empty() || answer.contains("can't be understood"), "{answer}");
    });
}

#[test]
fn a_socket_that_was_left_behind_is_replaced_and_nothing_else_is() {
    let folder = TestFolder::new("control-left");
    let path = folder.path().join(SOCKET);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(Client::connect(folder.path()).unwrap().is_none());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bind = || runtime.block_on(async { ControlSocket::bind(&path) });
    drop(bind().unwrap());
    std::fs::write(&path, "a file").unwrap();
    assert!(bind().unwrap_err().to_string().contains("is no socket"));
    assert_eq!(std::fs::read(&path).unwrap(), b"a file");
}
