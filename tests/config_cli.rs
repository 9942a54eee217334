//! What `fairlead-cloud config` makes of files, and what it says of bad ones.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its ground fails by ending")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

const LAYERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/talos/golden/layers");

/// Exit code, standard output, standard error.
fn config(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fairlead-cloud")).arg("config").args(arguments).current_dir(LAYERS).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("fairlead-config-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn render_writes_the_operators_text_where_there_is_no_patch() {
    let (good, text, _) = config(&["render", "--base", "worker-1.13.yaml", "--patch", "site=tailnet.yaml", "--hostname", "n7"]);
    assert!(good && text.contains("validSubnets: [100.64.0.0/10]") && text.contains("hostname: n7"), "{text}");
    let folder = Folder::new("plain");
    let base = fs::read_to_string(Path::new(LAYERS).join("worker-1.13.yaml"))
        .unwrap()
        .replace("HostnameConfig\nauto: stable", "HostnameConfig\nauto: stable # mine");
    let base = base.split("---\n").next().unwrap().replace("debug: false", "debug: no # mine");
    let (good, text, _) = config(&["render", "--base", &folder.file("worker.yaml", &base), "--hostname", "n7"]);
    assert!(good && text.starts_with(&base), "{text}");
}

#[test]
fn explain_names_the_layer_of_each_line_and_no_secret() {
    let facts = ["--set", "site=berlin", "--set", "rack=r12", "--set", "serial=pf3"];
    let mut arguments =
        vec!["render", "--base", "worker-1.13.yaml", "--patch", "cluster:home=tailnet.yaml", "--template", "site:berlin=berlin.yaml"];
    arguments.extend(facts);
    arguments.extend(["--hostname", "n7", "--explain"]);
    let (good, text, _) = config(&arguments);
    assert!(good);
    for (from, line) in [
        ("base, worker-1.13.yaml:5 ", "    type: worker"),
        ("cluster home, tailnet.yaml:5 ", "            validSubnets: [100.64.0.0/10]"),
        ("site berlin, berlin.yaml:5 ", "            serial: \"PF3\""),
        ("base, worker-1.13.yaml:6 ", "    token: (secret)"),
        ("fairlead ", "hostname: n7"),
    ] {
        assert!(text.lines().any(|there| there.starts_with(from) && there.ends_with(&format!("| {line}"))), "{from} {line}: {text}");
    }
}

#[test]
fn a_dry_run_names_every_node_without_a_config() {
    let folder = Folder::new("dry");
    let nodes = folder
        .file("nodes.yaml", "{hostname: n1, site: a, rack: b, serial: c}\n---\n{hostname: n2, site: a, serial: c}\n---\n{hostname: n3}\n");
    let (good, text, error) = config(&["dry-run", "--base", "worker-1.13.yaml", "--template", "site=berlin.yaml", "--nodes", &nodes]);
    assert!(!good && error.contains("2 nodes would get no config"), "{error}");
    assert!(text.starts_with("n2: site, berlin.yaml:8: `machine.nodeLabels.example.com/rack`: the template names `rack`"), "{text}");
    assert!(text.contains("\nn3: site, berlin.yaml:5: ") && text.ends_with("1 of 3 configs rendered for Talos 1.13\n"), "{text}");
}

#[test]
fn bad_files_are_told_with_their_place_and_a_remedy() {
    let folder = Folder::new("bad");
    let huge = folder.0.join("huge.yaml");
    // It has holes, and takes no disk.
    File::create(&huge).unwrap().set_len(100 << 20).unwrap();
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, of) in ('b'..='i').zip('a'..='h') {
        bomb.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 9].join(", ")));
    }
    let cases = [
        (huge.to_str().unwrap().to_owned(), "huge.yaml:1: it has more than 4194304 octets"),
        (folder.file("bomb.yaml", &bomb), "has more than 200000 values"),
        (
            folder.file("twice.yaml", "machine:\n  token: s3cret\n  token: s3cret\n"),
            "twice.yaml:3: the key `token` is there twice, first on line 2",
        ),
        (folder.file("tab.yaml", "machine:\n\ttoken: s3cret\n"), "tab.yaml:2: there is a tab"),
        (
            folder.file("unknown.yaml", "machine:\n  tokn: s3cret\n"),
            "unknown.yaml:2: `machine`: Talos 1.13 knows no field `tokn` here; `token` perhaps?",
        ),
        (folder.file("absent.yaml", "apiVersion: v1alpha1\nkind: OOMConfig\n$patch: delete\n"), "absent.yaml:1: there is no OOMConfig"),
        (
            folder.file("list.yaml", "- op: remove\n  path: /machine\n"),
            "list.yaml:1: a JSON patch (RFC 6902) can't be laid over a config of 2 documents",
        ),
    ];
    for (file, reason) in cases {
        let (good, _, error) = config(&["render", "--base", "worker-1.13.yaml", "--patch", &format!("node={file}"), "--hostname", "n7"]);
        assert!(!good && error.contains(reason) && error.contains("\nhint: "), "{error} (expected {reason})");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn inspect_and_diff_and_generate_read_what_talosctl_writes() {
    let (good, text, _) = config(&["inspect", "worker-1.13.yaml", "berlin.yaml"]);
    assert!(good && text.contains("worker-1.13.yaml: machine config of a worker") && text.contains("berlin.yaml: patch"), "{text}");
    assert!(text.contains("  unwise: worker-1.13.yaml:1: `machine.kubelet.nodeIP.validSubnets`"), "{text}");
    let (good, text, _) = config(&["diff", "../site-lyon.yaml", "../class-and-node.yaml"]);
    assert!(
        good && text.contains("the v1alpha1 document machine.nodeLabels.topology.kubernetes.io/zone\n  - lyon\n  + lyon-2\n"),
        "{text}"
    );
    let folder = Folder::new("generate");
    let secrets = folder.file(
        "secrets.yaml",
        "cluster: {id: a, secret: b}\nsecrets: {bootstraptoken: c.d}\ntrustdinfo: {token: e.f}\ncerts:\n  etcd: {crt: YQ==, key: YQ==}\n  k8s: {crt: YQ==, key: YQ==}\n  k8saggregator: {crt: YQ==, key: YQ==}\n  k8sserviceaccount: {key: YQ==}\n  os: {crt: YQ==, key: YQ==}\n",
    );
    let common = [
        "--cluster",
        "home",
        "--endpoint",
        "https://100.64.0.10:6443",
        "--talos",
        "1.13",
        "--kubernetes",
        "1.34.1",
        "--installer-image",
        "x:v1.13.9",
    ];
    let mut arguments = vec!["generate", "--secrets", &secrets];
    arguments.extend(common);
    let (good, worker, _) = config(&arguments);
    assert!(good && worker.contains("type: worker"), "{worker}");
    let base = folder.file("worker.yaml", &worker);
    let (good, text, error) = config(&["render", "--base", &base, "--hostname", "n7"]);
    assert!(good && text.contains("hostname: n7"), "{text}{error}");
}
