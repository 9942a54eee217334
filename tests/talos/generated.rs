//! Base configs of a secrets bundle are those that Talos generates.

use std::fs;

use fairlead::cloud::machine_config::import::{Generated, NodeType, SecretsBundle};
use fairlead::cloud::machine_config::yaml::{Budget, read, write};

use super::oracle::{Oracle, Question, RELEASES};

/// As `talosctl gen secrets` writes it; its secrets are none.
const BUNDLE: &str = "cluster:
    id: aWQ=
    secret: c2VjcmV0
secrets:
    bootstraptoken: abcdef.0123456789abcdef
    secretboxencryptionsecret: c2VjcmV0Ym94
trustdinfo:
    token: fedcba.fedcba9876543210
certs:
    etcd: {crt: ZXRjZA==, key: ZXRjZEtleQ==}
    k8s: {crt: azhz, key: azhzS2V5}
    k8saggregator: {crt: YWdn, key: YWdnS2V5}
    k8sserviceaccount: {key: c2FLZXk=}
    os: {crt: b3M=, key: b3NLZXk=}
";

#[test]
fn base_configs_are_those_that_talos_generates() {
    let file = std::env::temp_dir().join(format!("fairlead-secrets-{}.yaml", std::process::id()));
    fs::write(&file, BUNDLE).unwrap();
    let bundle = SecretsBundle::read(&read(BUNDLE.as_bytes(), 0, Budget::default()).unwrap()).unwrap();
    for release in RELEASES {
        let mut oracle = Oracle::of(release);
        for (node_type, name) in [(NodeType::Worker, "worker"), (NodeType::ControlPlane, "controlplane")] {
            // For 1.14 we take what 1.13 generates.
            let contract = if release == "1.14" { "1.13" } else { release };
            let theirs = oracle.ask(&Question {
                secrets: file.to_str().unwrap(),
                cluster: "home",
                endpoint: "https://100.64.0.10:6443",
                kind: name,
                contract: &format!("v{contract}"),
                disk: "/dev/sda",
                image: "ghcr.io/siderolabs/installer:v1.13.9",
                kubernetes: "1.34.1",
                ..Question::default()
            });
            assert_eq!(theirs.refused, "");
            let generated = Generated {
                contract: contract.parse().unwrap(),
                cluster: "home",
                endpoint: "https://100.64.0.10:6443",
                kubernetes: "1.34.1",
                install_disk: "/dev/sda",
                install_image: "ghcr.io/siderolabs/installer:v1.13.9",
            };
            let ours = oracle.read(&write(&bundle.config(&generated, node_type)).text);
            assert_eq!(ours.refused, "", "{name} for Talos {release}");
            assert!(
                ours.config == theirs.config,
                "{name} for Talos {release}: Talos generates\n{}\nand we\n{}",
                theirs.config,
                ours.config
            );
            assert_eq!((ours.invalid.as_str(), theirs.invalid.as_str()), ("", ""), "{name} for Talos {release}");
        }
    }
    fs::remove_file(&file).unwrap();
}
