//! What we refuse, Talos' own validation refuses as well; and what we pass, it passes.

use fairlead::cloud::machine_config::schema::Contract;
use fairlead::cloud::machine_config::{Additions, Facts, Layer, Level, Plan, Source};
use fairlead::secret::Secret;
use fairlead::wire::Name;

use super::oracle::{Oracle, RELEASES};

const WORKER: &str = "version: v1alpha1
machine:
    type: worker
    token: t.u
    ca: {crt: Q0E=, key: \"\"}
    certSANs: []
    kubelet: {image: ghcr.io/siderolabs/kubelet:v1.34.1}
    install: {disk: /dev/sda, image: ghcr.io/siderolabs/installer:v1.13.9, wipe: false}
    network: {}
    features: {rbac: true}
cluster:
    id: i
    secret: s
    token: t.u
    controlPlane: {endpoint: https://100.64.0.10:6443}
    clusterName: home
    network: {dnsDomain: cluster.local, podSubnets: [10.244.0.0/16], serviceSubnets: [10.96.0.0/12]}
    ca: {crt: Q0E=, key: \"\"}
    discovery: {enabled: true}
";

fn document(text: &str) -> String {
    format!("{WORKER}---\napiVersion: v1alpha1\n{text}")
}

/// What we say to a config that comes without patches; none when we take it.
fn ours(release: &str, text: &str) -> Option<String> {
    let contract: Contract = release.parse().unwrap();
    let source = Source { level: Level::Base, name: String::new(), file: "base.yaml".to_owned() };
    let hostname: Name = "n".parse().unwrap();
    let layer = Layer { source, text: Secret::from(text.to_owned()), template: false };
    let plan = Plan::new(contract, &[layer]).map_err(|error| error.to_string());
    plan.and_then(|plan| plan.render(&Facts::default(), &Additions::named(&hostname)).map_err(|error| error.to_string())).err()
}

#[test]
fn what_we_refuse_talos_refuses() {
    let replaced = |old: &str, new: &str| {
        assert!(WORKER.contains(old), "{old}");
        WORKER.replacen(old, new, 1)
    };
    let long = "a".repeat(64);
    let cases = [
        ("a CA key on a worker", replaced("key: \"\"}\n    certSANs", "key: S0VZ}\n    certSANs")),
        ("a Kubernetes CA key on a worker", replaced("key: \"\"}\n    discovery", "key: S0VZ}\n    discovery")),
        ("no CA", replaced("    ca: {crt: Q0E=, key: \"\"}\n    certSANs", "    certSANs")),
        ("an empty CA", replaced("ca: {crt: Q0E=, key: \"\"}\n    certSANs", "ca: {crt: \"\", key: \"\"}\n    certSANs")),
        ("an unknown field", replaced("    token: t.u\n    ca", "    tokens: t.u\n    ca")),
        ("an unknown field deep down", replaced("wipe: false", "wype: false")),
        ("a document twice", format!("{WORKER}---\n{WORKER}")),
        (
            "a document with a kind twice",
            document(
                "kind: KmsgLogConfig\nname: a\nurl: tcp://a:1\n---\napiVersion: v1alpha1\nkind: KmsgLogConfig\nname: a\nurl: tcp://a:1\n",
            ),
        ),
        ("an unknown kind", document("kind: Nonsense\nname: a\n")),
        ("no kind", format!("{WORKER}---\napiVersion: v1alpha1\nname: a\n")),
        ("no disk", replaced("disk: /dev/sda, ", "")),
        ("no install", replaced("    install: {disk: /dev/sda, image: ghcr.io/siderolabs/installer:v1.13.9, wipe: false}\n", "")),
        ("no endpoint", replaced("    controlPlane: {endpoint: https://100.64.0.10:6443}\n", "")),
        ("an endpoint without a host", replaced("https://100.64.0.10:6443", "https://")),
        ("an endpoint that is no URL", replaced("https://100.64.0.10:6443", "100.64.0.10:6443")),
        ("no cluster", WORKER.split("cluster:").next().unwrap().to_owned()),
        ("no machine", "version: v1alpha1\ncluster: {controlPlane: {endpoint: https://a:1}}\n".to_owned()),
        ("no type", replaced("    type: worker\n", "")),
        ("an unknown type", replaced("type: worker", "type: labourer")),
        ("an old name of a type", replaced("type: worker", "type: join")),
        ("a control plane without a key", replaced("type: worker", "type: controlplane")),
        ("persist off", format!("persist: false\n{WORKER}")),
        ("etcd on a worker", format!("{WORKER}    etcd: {{}}\n")),
        (
            "a virtual address on a worker",
            replaced("network: {}", "network: {interfaces: [{interface: eth0, dhcp: true, vip: {ip: 10.0.0.1}}]}"),
        ),
        ("an interface without a name", replaced("network: {}", "network: {interfaces: [{dhcp: true}]}")),
        (
            "an interface with a name and a selector",
            replaced("network: {}", "network: {interfaces: [{interface: a, deviceSelector: {driver: b}, dhcp: true}]}"),
        ),
        (
            "bond and bridge",
            replaced(
                "network: {}",
                "network: {interfaces: [{interface: a, bond: {interfaces: [b], mode: 802.3ad}, bridge: {interfaces: [c]}}]}",
            ),
        ),
        (
            "kernel arguments beside those of the image",
            replaced("wipe: false", "wipe: false, extraKernelArgs: [a], grubUseUKICmdline: true"),
        ),
        ("an extension twice", replaced("wipe: false", "wipe: false, extensions: [{image: a}, {image: a}]")),
        ("an extension, in strict mode", replaced("wipe: false", "wipe: false, extensions: [{image: a}]")),
        ("the Talos API on a worker", replaced("rbac: true", "rbac: true, kubernetesTalosAPIAccess: {enabled: true}")),
        ("a label that is none", replaced("    network: {}\n", "    nodeLabels: {\"a b\": c}\n")),
        ("a taint that is none", replaced("    network: {}\n", "    nodeTaints: {a: \"-:NoSchedule\"}\n")),
        ("a subnet that is none", replaced("kubelet: {", "kubelet: {nodeIP: {validSubnets: [nowhere]}, ")),
        ("a kernel log without a port", document("kind: KmsgLogConfig\nname: a\nurl: tcp://a\n")),
        ("a kernel log over HTTP", document("kind: KmsgLogConfig\nname: a\nurl: http://a:1\n")),
        ("a kernel log with a path", document("kind: KmsgLogConfig\nname: a\nurl: tcp://a:1/b\n")),
        ("an event sink without a port", document("kind: EventSinkConfig\nendpoint: a\n")),
        ("an extension service without anything", document("kind: ExtensionServiceConfig\nname: a\n")),
        ("an extension service without a name", document("kind: ExtensionServiceConfig\nenvironment: [A=1]\n")),
        ("a file without content", document("kind: ExtensionServiceConfig\nname: a\nconfigFiles: [{mountPath: /a}]\n")),
        ("a key twice", replaced("    token: t.u\n    ca", "    token: t.u\n    token: t.u\n    ca")),
        ("a tab", replaced("    token: t.u\n    ca", "\ttoken: t.u\n    ca")),
        ("text for true or false", replaced("wipe: false", "wipe: maybe")),
        ("a list for text", replaced("disk: /dev/sda", "disk: [/dev/sda]")),
        ("a CA that is no base 64", replaced("crt: Q0E=, key: \"\"}\n    certSANs", "crt: \"?\", key: \"\"}\n    certSANs")),
    ];
    let modern = [
        ("a host name beside auto", document("kind: HostnameConfig\nhostname: a\nauto: stable\n")),
        ("no host name", document("kind: HostnameConfig\n")),
        ("a host name that is too long", document(&format!("kind: HostnameConfig\nhostname: {long}\nauto: off\n"))),
        (
            "a host name twice",
            format!(
                "{}---\napiVersion: v1alpha1\nkind: HostnameConfig\nhostname: a\nauto: off\n",
                replaced("network: {}", "network: {hostname: b}")
            ),
        ),
        ("links that conflict", document("kind: LinkConfig\nname: a\n---\napiVersion: v1alpha1\nkind: DummyLinkConfig\nname: a\n")),
    ];
    let forwards = ("DNS forwarded that is off", replaced("rbac: true", "rbac: true, hostDNS: {forwardKubeDNSToHost: true}"));
    let mut wrong = Vec::new();
    for release in RELEASES {
        let mut oracle = Oracle::of(release);
        let answer = oracle.read(WORKER);
        assert_eq!(
            (answer.refused.as_str(), answer.invalid.as_str()),
            ("", ""),
            "the config that the others are made from is good for Talos {release}"
        );
        assert_eq!(ours(release, WORKER), None);
        let since_1_12 = modern.iter().filter(|_| release != "1.11");
        let since_1_13 = std::iter::once(&forwards).filter(|_| !matches!(release, "1.11" | "1.12"));
        for (what, text) in cases.iter().chain(since_1_12).chain(since_1_13) {
            let answer = oracle.read(text);
            let theirs = !answer.refused.is_empty() || !answer.invalid.is_empty();
            // A host name of ours is laid over theirs before we look, which mends these.
            let mended = matches!(*what, "a host name beside auto" | "no host name" | "a host name that is too long");
            match (ours(release, text), theirs) {
                (Some(_), true) => {}
                (None, true) if mended => {}
                (None, true) => wrong.push(format!("Talos {release} refuses {what} and we do not: {}{}", answer.refused, answer.invalid)),
                (Some(error), false) => wrong.push(format!("we refuse {what} and Talos {release} does not: {error}")),
                (None, false) => wrong.push(format!("nobody refuses {what} for Talos {release}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
