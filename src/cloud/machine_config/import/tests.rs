use super::*;
use crate::cloud::machine_config::yaml::{Budget, read};

fn look(text: &str) -> (Found, Vec<String>) {
    let documents = read(text.as_bytes(), 0, Budget::default()).unwrap();
    let (found, findings) = inspect(&documents, None, true);
    (found, findings.into_iter().map(|finding| format!("{:?} {}: {}", finding.severity, finding.place.line, finding.text)).collect())
}

const WORKER: &str = "version: v1alpha1
machine:
    type: worker
    token: t.u
    ca: {crt: Q0E=, key: \"\"}
    kubelet:
        nodeIP: {validSubnets: [100.64.0.0/10]}
    install: {disk: /dev/sda, image: ghcr.io/siderolabs/installer:v1.13.9}
cluster:
    id: i
    secret: s
    token: t.u
    controlPlane: {endpoint: https://100.64.0.10:6443}
    network: {podSubnets: [10.244.0.0/16], serviceSubnets: [10.96.0.0/12]}
    ca: {crt: Q0E=, key: \"\"}
";

#[test]
fn a_good_worker_config_has_nothing_against_it() {
    let (found, findings) = look(WORKER);
    assert_eq!((found, findings), (Found::Worker, vec!["Note 1: it is for Talos 1.13".to_owned()]));
}

#[test]
fn what_is_wrong_or_unwise_is_told_with_its_line() {
    for (old, new, finding) in [
        ("key: \"\"}\n    kubelet", "key: S0VZ}\n    kubelet", "Wrong 5: `machine.ca.key`: a CA's private key"),
        ("    token: t.u\n    ca", "    ca", "Wrong 1: `machine.token` is missing"),
        ("100.64.0.10:6443", "10.0.0.1:6443", "Unwise 13: `cluster.controlPlane.endpoint` is no address of the tailnet"),
        ("100.64.0.10:6443", "cp.example.ts.net:6443", "Unwise 13: `cluster.controlPlane.endpoint` is a name of the tailnet"),
        ("[100.64.0.0/10]", "[10.0.0.0/8]", "does not name 100.64.0.0/10"),
        ("10.244.0.0/16", "100.100.0.0/16", "Unwise 14: the pod network lies in 100.64.0.0/10"),
        ("10.96.0.0/12", "100.0.0.0/8", "Unwise 14: the service network lies in 100.64.0.0/10"),
        ("disk: /dev/sda, ", "", "Wrong 8: `machine.install`: it names neither"),
        ("    install:", "    instal: {}\n    install:", "Wrong 8: `machine`: Talos 1.13 knows no field `instal`"),
        (
            "    kubelet:",
            "    network: {hostname: a, interfaces: [{interface: e, addresses: [100.64.1.1/24]}]}\n    kubelet:",
            "in 100.64.0.0/10, which is the tailnet's",
        ),
        (":v1.13.9", "", "Note 1: it does not say for which Talos release"),
    ] {
        let text = WORKER.replacen(old, new, 1);
        assert_ne!(text, WORKER, "{old}");
        let (_, findings) = look(&text);
        assert!(findings.iter().any(|told| told.contains(finding)), "{finding} is not among {findings:#?}");
    }
    let tailscale =
        format!("{WORKER}---\napiVersion: v1alpha1\nkind: ExtensionServiceConfig\nname: tailscale\nenvironment: [TS_AUTHKEY=tskey-x]\n");
    let (_, findings) = look(&tailscale);
    assert!(
        findings.iter().any(|told| told.contains("all nodes would share")) && !findings.iter().any(|told| told.contains("tskey")),
        "{findings:?}"
    );
}

#[test]
fn files_are_told_apart() {
    for (text, found) in [
        ("context: a\ncontexts: {a: {endpoints: []}}\n", Found::TalosConfig),
        ("apiVersion: v1\nkind: Config\nclusters: []\n", Found::KubeConfig),
        ("machine: {certSANs: [a]}\n", Found::Patch),
        ("- op: add\n  path: /a\n  value: 1\n", Found::Patch),
        ("apiVersion: v1alpha1\nkind: HostnameConfig\nhostname: a\n", Found::Patch),
        ("cluster: {id: a}\nsecrets: {bootstraptoken: a}\ntrustdinfo: {token: a}\ncerts: {os: {crt: a}}\n", Found::Secrets),
        ("a: 1\n", Found::Unknown),
        ("", Found::Unknown),
    ] {
        assert_eq!(look(text).0, found, "{text}");
    }
}

#[test]
fn a_bundle_that_lacks_something_is_refused() {
    let text = "cluster: {id: a, secret: b}\nsecrets: {bootstraptoken: a}\ntrustdinfo: {token: a}\ncerts: {os: {crt: a}}\n";
    let error = SecretsBundle::read(&read(text.as_bytes(), 0, Budget::default()).unwrap()).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "the secrets bundle has no `certs.etcd.crt`; `talosctl gen secrets` writes it");
    let error = SecretsBundle::read(&read(WORKER.as_bytes(), 0, Budget::default()).unwrap()).map(drop).unwrap_err();
    assert!(error.to_string().contains("no secrets bundle"));
}
