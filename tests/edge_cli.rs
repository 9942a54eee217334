//! What `fairlead-edge` says, word for word: every message names the thing, the cause and the remedy.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its ground fails by ending")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::thread::sleep;
use std::time::Duration;

use fairlead::clock::Timestamp;
use fairlead::edge::identity::{Identity, Parts};
use fairlead::edge::state::StateDir;
use fairlead::pki::request::{TicketKey, TlsKey};
use fairlead::secret::Secret;
use fairlead::wire::{Digest, JoinToken};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A folder with a configuration and a state folder, removed at the end of the test.
struct Edge {
    folder: PathBuf,
}

impl Edge {
    fn new(name: &str, config: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("fairlead-cli-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        let edge = Self { folder };
        fs::write(edge.path("edge.toml"), format!("state_dir = \"{}\"\n{config}", edge.path("state").display())).unwrap();
        edge
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead-edge"));
        command.args(arguments).env_clear().env("FAIRLEAD_EDGE_CONFIG", self.path("edge.toml")).env("FAIRLEAD_LOG", "error");
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.told(&self.command(arguments).output().unwrap())
    }

    /// Exit code, standard output and standard error, with the folder's name taken out.
    fn told(&self, output: &Output) -> (i32, String, String) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().replace(self.folder.to_str().unwrap(), "FOLDER");
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    fn refuses(&self, arguments: &[&str], expected: &str) {
        assert_eq!(self.run(arguments), (1, String::new(), format!("{expected}\n")), "{arguments:?}");
    }

    fn state(&self) -> StateDir {
        StateDir::open(&self.path("state")).unwrap()
    }

    /// Joins the box to a cloud that is not there.
    fn with_identity(self, days: i64) -> Self {
        let tls_key = TlsKey::generate().unwrap();
        let der = rustls::pki_types::PrivatePkcs8KeyDer::from(tls_key.pkcs8().expose());
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["plant-1".to_owned()]).unwrap();
        parameters.not_before = time::OffsetDateTime::now_utc() - time::Duration::days(30);
        parameters.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(days);
        let pem = parameters.self_signed(&pair).unwrap().pem();
        let parts = Parts {
            site: "plant-1".parse().unwrap(),
            site_number: 7,
            url: "https://127.0.0.1:1".to_owned(),
            root_pem: pem.clone(),
            chain_pem: pem,
            tls_key,
            ticket_key: TicketKey::generate().unwrap(),
        };
        self.state().store_identity(&Identity::new(parts).unwrap()).unwrap();
        self
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn token(url: &str, expires: u64) -> String {
    JoinToken { url: url.to_owned(), secret: Secret::new(vec![7; 32]), root: Digest([1; 32]), expires_at: Timestamp::from_secs(expires) }
        .expose()
}

const NOBODY_THERE: &str = "[[interface]]\nname = \"fl-none0\"\nmode = \"proxy\"\naddress = \"192.0.2.1\"\n";

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let edge = Edge::new("help", "");
    let (code, help, _) = edge.run(&["--help"]);
    assert_eq!(code, 0);
    for word in ["join", "check", "run", "completions", "man", "--config", "FAIRLEAD_EDGE_CONFIG", "First steps:", "Exit code: 0"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    let (code, _, error) = edge.run(&["serve"]);
    assert!(code == 2 && error.starts_with("error: unrecognized subcommand 'serve'"), "{error}");
}

#[test]
fn completions_and_man_page_are_written() {
    let edge = Edge::new("completions", "");
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = edge.run(&["completions", shell]);
        assert!(code == 0 && script.contains("fairlead-edge") && script.contains("token-file"), "{shell}");
    }
    let (code, page, _) = edge.run(&["man"]);
    assert!(code == 0 && page.contains(".TH fairlead-edge 1") && page.contains("fairlead\\-edge\\-join"), "{page}");
}

#[test]
fn missing_configuration_is_named() {
    let edge = Edge::new("no-config", "");
    fs::remove_file(edge.path("edge.toml")).unwrap();
    for command in ["run", "check"] {
        edge.refuses(
            &[command],
            "error: cannot read the edge configuration file `FOLDER/edge.toml`\n  caused by: No such file or directory (os error 2)\n\
             hint: name the file with --config, or create it; `config/` in the source tree has commented examples",
        );
    }
}

#[test]
fn wrong_configuration_is_told_with_file_line_and_what_is_allowed() {
    let edge = Edge::new("bad-config", "log_format = \"xml\"\n");
    edge.refuses(
        &["check"],
        "error: FOLDER/edge.toml:2: unknown variant `xml`, expected `text` or `json`\n  caused by: TOML parse error at line 2, column 14\n      \
         |\n    2 | log_format = \"xml\"\n      |              ^^^^^\n    unknown variant `xml`, expected `text` or `json`\n\
         hint: docs/configuration.md in the source tree names every key, its type and what it may be",
    );
}

#[test]
fn join_without_a_usable_token_says_what_is_wrong_with_it() {
    let edge = Edge::new("token", "");
    edge.refuses(
        &["join"],
        "error: there is no join token\nhint: make one with `fairlead-cloud site add` in the cloud and give it with --token-file FILE, --token TOKEN or \
         FAIRLEAD_JOIN_TOKEN",
    );
    edge.refuses(
        &["join", "--token", "fairlead-join-1.abc"],
        "error: the join token is malformed\n  caused by: this is not a join token: it must begin with `fairlead-join-1.` and be copied whole\n\
         hint: copy it whole, on one line, as `fairlead-cloud site add` or `fairlead-cloud site token` printed it",
    );
    edge.refuses(
        &["join", "--token-file", "/nonexistent/token"],
        "error: cannot read the join token from `/nonexistent/token`\n  caused by: No such file or directory (os error 2)\n\
         hint: name the file that holds what `fairlead-cloud site add` printed",
    );
    let (code, _, error) = edge.run(&["join", "--token", &token("https://127.0.0.1:1", 1_000_000_000)]);
    let expected = "error: the join token expired at 2001-09-09T01:46:40Z; this box's clock says ";
    assert!(code == 1 && error.starts_with(expected) && error.contains("\nhint: if the box's clock is right, make a new token"), "{error}");
    assert!(!edge.path("state/identity.json").exists() && !edge.path("state/joining.json").exists());
}

#[test]
fn join_says_that_nobody_answers_and_takes_the_token_from_file_or_environment() {
    let edge = Edge::new("unreachable", "");
    let token = token("https://127.0.0.1:1", 4_000_000_000);
    let expected = "error: cannot reach the cloud at 127.0.0.1:1\n  caused by: Connection refused (os error 111)\n\
                    hint: nothing listens there: is `fairlead-cloud serve` running, and is the address its site plane's?";
    fs::write(edge.path("token"), format!("{token}\n")).unwrap();
    edge.refuses(&["join", "--token-file", edge.path("token").to_str().unwrap()], expected);
    let output = edge.command(&["join"]).env("FAIRLEAD_JOIN_TOKEN", &token).output().unwrap();
    assert_eq!(edge.told(&output), (1, String::new(), format!("{expected}\n")));
    assert!(!edge.path("state/joining.json").exists(), "keys for a token that was never shown are of no use");
}

#[test]
fn box_that_has_joined_is_not_joined_over() {
    let edge = Edge::new("joined", "").with_identity(30);
    let before = fs::read(edge.path("state/identity.json")).unwrap();
    edge.refuses(
        &["join", "--token", &token("https://127.0.0.1:1", 4_000_000_000)],
        "error: this box has joined already: it is site `plant-1` of https://127.0.0.1:1\n\
         hint: to give the box a new identity on purpose, add --replace",
    );
    assert_eq!(fs::read(edge.path("state/identity.json")).unwrap(), before);
}

#[test]
fn run_needs_an_interface_and_an_identity() {
    let edge = Edge::new("bare", "");
    edge.refuses(
        &["run"],
        "error: no interface is served\nhint: add an `[[interface]]` section with `mode = \"server\"` or `mode = \"proxy\"` to edge.toml; config/edge.toml in \
         the source tree has a commented example",
    );
    let edge = Edge::new("bare", NOBODY_THERE);
    edge.refuses(
        &["run"],
        "error: this box has not joined a cloud\nhint: make a token with `fairlead-cloud site add NAME` in the cloud, then run \
         `fairlead-edge join --token-file FILE` here",
    );
}

#[test]
fn run_on_an_interface_that_does_not_exist_starts_nothing() {
    let edge = Edge::new("interface", NOBODY_THERE).with_identity(30);
    edge.refuses(
        &["run"],
        "error: network interface `fl-none0` does not exist\nhint: `ip link` lists the interfaces; put the right name into `[[interface]]`, or set its mode to \
         \"off\"",
    );
}

#[test]
fn damaged_state_is_named_and_not_started_over() {
    let edge = Edge::new("damaged", NOBODY_THERE).with_identity(30);
    let damage = |file: &str, start: &str, hint: &str| {
        let path = edge.path(file);
        let whole = fs::read(&path).ok();
        fs::create_dir_all(path.parent().unwrap_or_else(|| Path::new("/"))).unwrap();
        fs::write(&path, "{\"spool\": 1}\n").unwrap();
        let (code, _, error) = edge.run(&["run"]);
        assert!(code == 1 && error.starts_with(start) && error.contains(hint), "{file}: {error}");
        assert_eq!(fs::read(&path).unwrap(), b"{\"spool\": 1}\n");
        match whole {
            Some(whole) => fs::write(&path, whole).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    };
    damage("state/identity.json", "error: `FOLDER/state/identity.json` is damaged\n", "hint: restore the file from a backup, or");
    damage("state/settings.json", "error: `FOLDER/state/settings.json` is damaged\n", "hint: move the file away: the box fetches");
    damage("state/spool/spool.json", "error: `FOLDER/state/spool/spool.json` is damaged: ", "hint: move the folder `spool` away");
}

#[test]
fn second_run_on_one_state_folder_is_refused() {
    let edge = Edge::new("locked", NOBODY_THERE).with_identity(30);
    let _held = edge.state().lock().unwrap();
    edge.refuses(
        &["run"],
        "error: another fairlead-edge uses the state folder `FOLDER/state`\nhint: stop the other one first (`systemctl stop fairlead-edge`, or end its process)",
    );
}

#[test]
fn check_tells_what_is_in_order_and_what_is_not() {
    let edge = Edge::new("check", NOBODY_THERE);
    let (code, out, error) = edge.run(&["check"]);
    assert_eq!(code, 1);
    assert!(out.starts_with("ok: configuration `FOLDER/edge.toml`\nerror: network interface `fl-none0` does not exist\n"), "{out}");
    assert!(out.contains("\nerror: the state folder `FOLDER/state` does not exist\nhint: `fairlead-edge join` makes it"), "{out}");
    assert_eq!(error, "error: this box can't run: 2 things are not in order\nhint: they are told above, with what to do about each\n");

    let edge = Edge::new("check", NOBODY_THERE).with_identity(-1);
    let (code, out, _) = edge.run(&["check"]);
    assert_eq!(code, 1);
    assert!(
        out.contains("\nok: identity: site `plant-1` (number 7) of https://127.0.0.1:1\nerror: the site's certificate is over since "),
        "{out}"
    );

    let edge = Edge::new("check", NOBODY_THERE).with_identity(10);
    let (_, out, _) = edge.run(&["check"]);
    assert!(out.contains("\nok: certificate until ") && out.contains("(9 days 23 hours left)"), "{out}");
    assert!(out.contains("\nnote: no settings yet: `fairlead-edge run` fetches them"), "{out}");
}

const WITH_A_SUBNET: &str = "[[interface]]\nname = \"fl-none0\"\nmode = \"server\"\naddress = \"192.0.2.1\"\n\
    [[subnet]]\nnetwork = \"192.0.2.0/24\"\npools = [\"192.0.2.100-192.0.2.199\"]\n";

/// Until 2100; the last line frees what the first leased.
const KEA_LEASES: &str = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n\
    192.0.2.100,52:54:00:00:00:64,01:52:54:00:00:00:64,3600,4102444800,1,0,0,,0,\n\
    192.0.2.101,52:54:00:00:00:65,ff:00:11:22:33:00:01,3600,4102444800,1,0,0,node-65,0,\n\
    192.0.2.102,52:54:00:00:00:66,,3600,4102444800,1,0,0,,0,\n\
    192.0.2.103,52:54:00:00:00:67,,3600,1700000000,1,0,0,,0,\n\
    198.51.100.7,52:54:00:00:00:07,,3600,4102444800,2,0,0,,0,\n\
    192.0.2.100,52:54:00:00:00:64,01:52:54:00:00:00:64,0,4102444800,1,0,0,,0,\n";

#[test]
fn leases_of_kea_are_taken_over_listed_shown_and_released() {
    let edge = Edge::new("lease", WITH_A_SUBNET);
    fs::write(edge.path("kea.csv"), KEA_LEASES).unwrap();
    let file = edge.path("kea.csv").display().to_string();
    assert_eq!(edge.run(&["lease", "list"]), (0, "no leases\n".to_owned(), String::new()));
    let import = ["lease", "import", "--from", "kea-csv", &file];
    let left_out = "left out: FOLDER/kea.csv:2: 192.0.2.100: a later entry of the address counts\n\
        left out: FOLDER/kea.csv:5: 192.0.2.103: the lease is over\n\
        left out: FOLDER/kea.csv:7: 192.0.2.100: the lease is over\n\
        left out: FOLDER/kea.csv:6: 198.51.100.7: the address is outside of every `[[subnet]]` of edge.toml\n";
    let dry = edge.run(&[import.as_slice(), &["--dry-run"]].concat());
    assert_eq!(dry, (0, format!("{left_out}2 leases would be taken over; nothing was written; 4 entries left out\n"), String::new()));
    assert_eq!(edge.run(&["lease", "list"]).1, "no leases\n");
    assert_eq!(edge.run(&import), (0, format!("{left_out}2 leases are taken over; 4 entries left out\n"), String::new()));
    let list = "ADDRESS      STATE   UNTIL                 HARDWARE           HOST NAME  CLIENT\n\
        192.0.2.101  active  2100-01-01T00:00:00Z  52:54:00:00:00:65  node-65    ff001122330001\n\
        192.0.2.102  active  2100-01-01T00:00:00Z  52:54:00:00:00:66\n";
    assert_eq!(edge.run(&["lease", "list"]), (0, list.to_owned(), String::new()));
    let show = "address           192.0.2.101\nstate             active\nhardware          52:54:00:00:00:65\nclient id         ff001122330001\n\
        host name         node-65\nleased or renewed 2099-12-31T23:00:00Z\nuntil             2100-01-01T00:00:00Z\n";
    for what in ["192.0.2.101", "52:54:00:00:00:65", "52-54-00-00-00-65", "ff001122330001"] {
        assert_eq!(edge.run(&["lease", "show", what]), (0, show.to_owned(), String::new()));
    }
    // The same again changes nothing.
    let (_, again, _) = edge.run(&import);
    assert!(
        again.contains("kea.csv:3: 192.0.2.101: the client has it here already") && again.contains("\n0 leases are taken over; 6 entries"),
        "{again}"
    );
    let (code, released, _) = edge.run(&["lease", "release", "192.0.2.101"]);
    assert_eq!(
        (code, released.as_str()),
        (0, "192.0.2.101 is free now; it was active, of 52:54:00:00:00:65, until 2100-01-01T00:00:00Z\n")
    );
    let (_, csv, _) =
        edge.run(&["lease", "list", "--csv", "--state", "released", "--subnet", "192.0.2.0/25", "--mac", "52:54:00:00:00:65"]);
    assert!(
        csv.starts_with("address,state,") && csv.contains("\n192.0.2.101,released,1,52:54:00:00:00:65,ff001122330001,node-65,"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 2);
    // What one box exports, another takes.
    let (_, json, _) = edge.run(&["lease", "export", "--format", "json"]);
    assert_eq!(json.lines().count(), 4, "{json}");
    let other = Edge::new("lease-other", WITH_A_SUBNET);
    fs::write(other.path("leases.json"), json).unwrap();
    let (_, out, _) = other.run(&["lease", "import", "--from", "json", &other.path("leases.json").display().to_string()]);
    assert_eq!(out, "left out: FOLDER/leases.json:2: 192.0.2.101: the lease is over\n1 leases are taken over; 1 entries left out\n");
}

#[test]
fn a_lease_file_that_is_not_understood_changes_nothing_and_says_where() {
    let edge = Edge::new("lease-bad", WITH_A_SUBNET);
    let good = edge.path("good.csv").display().to_string();
    let bad = edge.path("bad.csv").display().to_string();
    fs::write(&good, KEA_LEASES).unwrap();
    fs::write(&bad, format!("{KEA_LEASES}192.0.2.1,oops\n")).unwrap();
    edge.refuses(
        &["lease", "import", "--from", "kea-csv", &good, &bad],
        "error: cannot understand `FOLDER/bad.csv`\n  caused by: line 8: 2 fields where the header names 11\n\
         hint: nothing was taken over; put the line right or take it out, and see that `--from` names the right kind of file",
    );
    assert_eq!(edge.run(&["lease", "list"]).1, "no leases\n");
    edge.refuses(
        &["lease", "release", "192.0.2.100"],
        "error: 192.0.2.100 has no lease\nhint: `fairlead-edge lease list` shows those there are",
    );
    edge.refuses(
        &["lease", "show", "me"],
        "error: `me` is no address, hardware address or client identifier\nhint: for example 192.0.2.117, 52:54:00:12:34:56 or 01525400123456",
    );
    edge.refuses(
        &["lease", "show", "192.0.2.100"],
        "error: nothing is known of `192.0.2.100`\nhint: `fairlead-edge lease list` shows all leases",
    );
    // A server that does not listen, as one that is just starting.
    let _held = edge.state().lock().unwrap();
    edge.refuses(
        &["lease", "import", "--from", "kea-csv", &good],
        "error: another fairlead-edge uses the state folder `FOLDER/state`\nhint: stop the other one first (`systemctl stop fairlead-edge`, or end its process)",
    );
}

#[test]
fn status_of_a_box_that_does_not_run_is_told() {
    let edge = Edge::new("status", WITH_A_SUBNET);
    edge.refuses(
        &["status"],
        "error: no fairlead-edge runs with the state folder `FOLDER/state`\n\
         hint: start it (`systemctl start fairlead-edge`), or name its configuration with `--config`",
    );
}

/// A box that runs in a network namespace of its own, stopped when it is dropped.
struct Running(Child);

impl Running {
    fn start(edge: &Edge) -> Self {
        let script = "ip link add fl-none0 type veth peer name fl-none1 && ip link set fl-none1 up && ip addr add 192.0.2.1/24 dev fl-none0 && ip link set fl-none0 up && exec \"$0\" run";
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "sh", "-c", script, env!("CARGO_BIN_EXE_fairlead-edge")]);
        command.env("FAIRLEAD_EDGE_CONFIG", edge.path("edge.toml")).env("FAIRLEAD_LOG", "info");
        command.stderr(fs::File::create(edge.path("log")).unwrap());
        let mut running = Self(command.spawn().unwrap());
        for _ in 0..300 {
            let ended = running.0.try_wait().unwrap();
            assert!(ended.is_none(), "{}", fs::read_to_string(edge.path("log")).unwrap());
            if edge.run(&["status"]).0 == 0 {
                return running;
            }
            sleep(Duration::from_millis(100));
        }
        assert_eq!(fs::read_to_string(edge.path("log")).unwrap(), "", "it does not answer");
        running
    }

    fn stop(mut self) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn commands_change_leases_through_the_box_that_runs() {
    let edge = Edge::new("control", WITH_A_SUBNET).with_identity(30);
    fs::write(edge.path("kea.csv"), KEA_LEASES).unwrap();
    let file = edge.path("kea.csv").display().to_string();
    let running = Running::start(&edge);
    let (_, status, _) = edge.run(&["status"]);
    assert!(status.contains("\nsubnet 192.0.2.0/24: 0 leases of 100 addresses in pools; "), "{status}");
    let (_, out, error) = edge.run(&["lease", "import", "--from", "kea-csv", &file]);
    assert!(out.ends_with("\n2 leases are taken over; 4 entries left out\n"), "{out}{error}");
    // They are on the disk, and the server knows them.
    assert_eq!(edge.run(&["lease", "list"]).1.lines().count(), 3);
    let (_, status, _) = edge.run(&["status", "--json"]);
    assert!(status.contains("\"active\":2,"), "{status}");
    let (_, out, error) = edge.run(&["lease", "release", "192.0.2.101"]);
    assert!(out.starts_with("192.0.2.101 is free now; it was active, of 52:54:00:00:00:65"), "{out}{error}");
    edge.refuses(
        &["lease", "release", "192.0.2.150"],
        "error: 192.0.2.150 has no lease\nhint: `fairlead-edge lease list` shows those there are",
    );
    running.stop();
    assert!(!edge.path("state/control.sock").exists());
    let (_, list, _) = edge.run(&["lease", "list"]);
    assert!(list.contains("192.0.2.101  released") && list.contains("192.0.2.102  active"), "{list}");
    // And back in the server after its start.
    let running = Running::start(&edge);
    let (_, status, _) = edge.run(&["status", "--json"]);
    assert!(status.contains("\"active\":1,") && status.contains("\"released\":1,"), "{status}");
    running.stop();
}

#[test]
fn every_lease_command_has_examples_in_its_help() {
    let edge = Edge::new("lease-help", WITH_A_SUBNET);
    for command in [&["lease", "--help"][..], &["lease", "list", "--help"], &["lease", "show", "--help"], &["lease", "release", "--help"]] {
        assert!(edge.run(command).1.contains("Example"), "{command:?}");
    }
    let (_, help, _) = edge.run(&["lease", "import", "--help"]);
    for word in ["kea-csv", "isc", "dnsmasq", "json", "csv", "--dry-run", "Examples:"] {
        assert!(help.contains(word), "{help}");
    }
    let (_, page, _) = edge.run(&["man"]);
    assert!(
        page.contains("fairlead\\-edge\\-lease\\-import") || page.contains("fairlead-edge-lease-import"),
        "the man page has no lease import"
    );
}

const SITE: &str = "[[interface]]
name = \"fl-none0\"
mode = \"server\"
address = \"192.0.2.1\"
[[subnet]]
network = \"192.0.2.0/24\"
pools = [\"192.0.2.100-192.0.2.199\"]
ntp = [\"192.0.2.1\"]
[[class]]
name = \"kiosks\"
arch = [\"x64-uefi\"]
lease_time = \"2h\"
boot = false
";

#[test]
fn explain_says_what_a_machine_would_be_answered_and_which_line_says_so() {
    let edge = Edge::new("explain", SITE);
    let (code, out, error) = edge.run(&["explain", "--mac", "52:54:00:00:00:01", "--arch", "x64-uefi"]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    for expected in [
        "note: there is no state folder `FOLDER/state`: explained without leases, and no boot file is named before the cloud was reached\n",
        "\ninterface `fl-none0` (server)\n",
        "\n  subnet       192.0.2.0/24  (the interface's address is 192.0.2.1) [FOLDER/edge.toml:7]\n",
        "\n  class        kiosks  [FOLDER/edge.toml:11]\n",
        "\n  lease time   2h  (asked for none; lease_time, class) [FOLDER/edge.toml:13]\n",
        "\n  boot file    none  (it may not boot from the network: `boot = false`) [FOLDER/edge.toml:14]\n",
        "\n  option 42    ntp-servers = 192.0.2.1  (subnet) [FOLDER/edge.toml:9]\n",
        "\n  answer       OFFER of 192.0.2.1",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    let (code, out, _) = edge.run(&["explain", "--mac", "52:54:00:00:00:01", "--relay", "10.0.0.1", "--json"]);
    assert_eq!(code, 0);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["interface"], "fl-none0");
    assert!(told["answers"].as_array().unwrap().is_empty() && !told["silent"].as_array().unwrap().is_empty(), "{told}");
}

#[test]
fn explain_reads_captures_and_messages() {
    let edge = Edge::new("explain-pcap", SITE);
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dhcp/uefi-ovmf-then-ipxe2.pcap");
    let (code, out, error) = edge.run(&["explain", "--json", "--pcap", capture.to_str().unwrap()]);
    assert_eq!((code, error.as_str()), (0, ""));
    let told: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(told.len() >= 4 && told.iter().all(|one| one["packet"].as_u64().is_some()), "{out}");
    assert_eq!(told[0]["answers"][0]["message"], "OFFER");

    edge.refuses(&["explain", "--hex", "01:0"], "error: that is no message in hexadecimal digits\nhint: write two digits an octet, with colons or nothing between them, from the octet `op` (01) on");
    let toml = edge.path("edge.toml");
    let (code, _, error) = edge.run(&["explain", "--pcap", toml.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(error.contains("can't be read as a capture\n  caused by: it is neither pcap nor pcapng\nhint: tcpdump -w FILE"), "{error}");
    let (code, out, _) = edge.run(&["explain", "--hex", "010203"]);
    assert_eq!(code, 0);
    assert!(out.contains("  no answer    "), "{out}");
}

#[test]
fn reload_says_what_is_wrong_with_the_file_or_that_nothing_runs() {
    let edge = Edge::new("reload", SITE);
    edge.refuses(
        &["reload"],
        "error: no fairlead-edge runs with the state folder `FOLDER/state`\nhint: start it with `fairlead-edge run`; it reads its configuration then",
    );
    let edge = Edge::new("reload-wrong", &format!("{SITE}lease = 1\n"));
    let (code, _, error) = edge.run(&["reload"]);
    assert_eq!(code, 1);
    assert!(error.starts_with("error: FOLDER/edge.toml:15: unknown field `lease`"), "{error}");
}

#[test]
fn check_warns_of_what_is_unwise_with_its_line_and_remedy() {
    let edge = Edge::new("unwise", SITE);
    let (_, out, _) = edge.run(&["check"]);
    assert!(out.contains("\nwarning: FOLDER/edge.toml:7: subnet 192.0.2.0/24 names no router\nhint: set `routers`"), "{out}");
}
