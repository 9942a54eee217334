use super::*;
use crate::cloud::machine_config::schema::Contract;
use crate::cloud::machine_config::yaml::{Budget, read, write};

fn schema(version: &str) -> &'static Schema {
    version.parse::<Contract>().unwrap().schema()
}

fn try_patch(version: &str, base: &str, patches: &[&str]) -> Result<String, String> {
    let mut documents = read(base.as_bytes(), 0, Budget::default()).unwrap();
    let schema = schema(version);
    check_config(&documents, schema).map_err(|error| error.to_string())?;
    for (index, patch) in patches.iter().enumerate() {
        let patch = read(patch.as_bytes(), u16::try_from(index + 1).unwrap(), Budget::default()).unwrap();
        let patch = Patch::of(patch, schema).map_err(|error| error.to_string())?;
        patch.apply(&mut documents, schema).map_err(|error| error.to_string())?;
    }
    Ok(write(&documents).text.to_string())
}

fn patch(base: &str, patches: &[&str]) -> String {
    try_patch("1.13", base, patches).unwrap()
}

fn refusal(base: &str, patches: &[&str]) -> String {
    try_patch("1.13", base, patches).unwrap_err()
}

#[test]
fn a_value_over_another_and_an_untouched_one_as_it_was() {
    let base = "machine:\n    sysctls: {a: 0600, b: no}\n    token: x\n";
    assert_eq!(
        patch(base, &["machine:\n  sysctls:\n    b: \"1\"\n    c: 1e3\n"]),
        "machine:\n    sysctls: {a: 0600, b: \"1\", c: 1e3}\n    token: x\n"
    );
}

#[test]
fn an_empty_text_changes_nothing_and_a_false_does() {
    let base = "debug: true\nmachine:\n    token: x\n    install:\n        disk: /dev/sda\n        wipe: true\n";
    assert_eq!(
        patch(base, &["debug: false\nmachine:\n  token: \"\"\n  install:\n    wipe: false\n"]),
        "debug: false\nmachine:\n    token: x\n    install:\n        disk: /dev/sda\n        wipe: false\n"
    );
}

#[test]
fn lists_append_but_for_those_that_are_replaced() {
    let base = "machine:\n    certSANs:\n        - a\ncluster:\n    network:\n        podSubnets:\n            - 10.244.0.0/16\n";
    assert_eq!(
        patch(base, &["machine:\n  certSANs: [b]\ncluster:\n  network:\n    podSubnets: [10.0.0.0/8]\n"]),
        "machine:\n    certSANs:\n        - a\n        - b\ncluster:\n    network:\n        podSubnets: [10.0.0.0/8]\n"
    );
}

#[test]
fn interfaces_and_vlans_merge_by_their_key() {
    let base = "machine:\n    network:\n        interfaces:\n            - interface: eth0\n              vlans:\n                - vlanId: 5\n                  mtu: 1400\n";
    let merged = patch(
        base,
        &[
            "machine:\n  network:\n    interfaces:\n      - interface: eth0\n        mtu: 1500\n        vlans:\n          - vlanId: 0x5\n            dhcp: true\n          - vlanId: 6\n      - deviceSelector: {driver: virtio}\n        dhcp: true\n      - deviceSelector: {driver: virtio}\n        mtu: 9000\n",
        ],
    );
    assert_eq!(
        merged,
        "machine:\n    network:\n        interfaces:\n            - interface: eth0\n              vlans:\n                  - vlanId: 0x5\n                    mtu: 1400\n                    dhcp: true\n                  - vlanId: 6\n              mtu: 1500\n            - deviceSelector: {driver: virtio}\n              dhcp: true\n              mtu: 9000\n"
    );
}

#[test]
fn a_certificate_takes_its_key_along() {
    let base = "machine:\n    ca:\n        crt: Q0E=\n        key: S0VZ\n";
    assert_eq!(patch(base, &["machine:\n  ca:\n    crt: TkVX\n"]), "machine:\n    ca:\n        crt: TkVX\n");
}

#[test]
fn documents_that_are_not_there_are_put_behind() {
    let base = "machine: {}\n---\napiVersion: v1alpha1\nkind: ExtensionServiceConfig\nname: a\nenvironment:\n    - A=1\n";
    let addition = "apiVersion: v1alpha1\nkind: ExtensionServiceConfig\nname: b\n---\napiVersion: v1alpha1\nkind: ExtensionServiceConfig\nname: a\nenvironment: [B=2]\n";
    assert_eq!(patch(base, &[addition]), format!("{base}    - B=2\n---\napiVersion: v1alpha1\nkind: ExtensionServiceConfig\nname: b\n"));
}

#[test]
fn delete_takes_out_fields_items_and_documents() {
    let base = "machine:\n    certSANs:\n        - a\n    network:\n        interfaces:\n            - interface: eth0\n            - interface: eth1\n---\napiVersion: v1alpha1\nkind: KmsgLogConfig\nname: k\nurl: tcp://a:1\n";
    let deletes = "machine:\n  certSANs:\n    $patch: delete\n  network:\n    interfaces:\n      - interface: eth0\n        $patch: delete\n---\napiVersion: v1alpha1\nkind: KmsgLogConfig\nname: k\n$patch: delete\n";
    assert_eq!(patch(base, &[deletes]), "machine:\n    network:\n        interfaces:\n            - interface: eth1\n");
}

#[test]
fn what_delete_cannot_do_is_told() {
    let base = "machine: {}\n";
    for (text, reason) in [
        ("machine:\n  network:\n    hostname: {$patch: delete}\n", "`machine.network.hostname`: there is nothing here"),
        ("$patch: delete\n", "can't take out the v1alpha1 document"),
        ("kind: KmsgLogConfig\n$patch: delete\n", "have to be there both"),
        ("apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: k\n$patch: delete\n", "there is no KmsgLogConfig `k`"),
        ("machine:\n  network:\n    interfaces:\n      - interface: a\n        addresses: {$patch: delete}\n", "nothing inside of one"),
        ("machine:\n  files:\n    - $patch: delete\n", "needs a key beside it"),
    ] {
        let message = refusal(base, &[text]);
        assert!(message.contains(reason), "{message} (expected {reason})");
    }
    let gone = "apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: k\n$patch: delete\n";
    assert_eq!(try_patch("1.14", base, &[gone]).unwrap(), base, "since 1.14 Talos passes over it");
}

#[test]
fn what_talos_does_not_know_is_refused() {
    for (text, reason) in [
        ("machine:\n  intsall: {}\n", "`machine`: Talos 1.13 knows no field `intsall` here"),
        ("machine:\n  instal: {}\n", "`install` perhaps?"),
        ("machine:\n  certSans: []\n", "`certSANs` perhaps?"),
        ("apiVersion: v1alpha1\nkind: Nonsense\n", "no document of kind `Nonsense`"),
        ("apiVersion: v2\nkind: HostnameConfig\n", "no document of kind `HostnameConfig`"),
        ("kind: HostnameConfig\nhostname: x\n", "`apiVersion` is missing"),
        ("name: x\nfoo: y\n", "neither `machine` nor `cluster`"),
        ("machine:\n  certSANs: x\n", "`machine.certSANs`: a list is wanted here"),
        ("machine:\n  install:\n    wipe: maybe\n", "true or false is wanted"),
        ("machine:\n  network:\n    interfaces:\n      - mtu: big\n", "a whole number is wanted"),
        ("machine:\n  ca: {crt: \"!\"}\n", "base 64 is wanted"),
        ("machine:\n  time:\n    bootTimeout: 10\n", "a duration"),
        ("apiVersion: v1alpha1\nkind: HostnameConfig\nauto: on\n", "one of off, talos-addr, stable"),
        ("machine: {}\n---\nmachine: {}\n", "the v1alpha1 document is there twice, first on line 1"),
    ] {
        let message = refusal("machine: {}\n", &[text]);
        assert!(message.contains(reason), "{message} (expected {reason})");
    }
    assert!(
        try_patch("1.11", "machine: {}\n", &["apiVersion: v1alpha1\nkind: HostnameConfig\nhostname: x\n"])
            .unwrap_err()
            .contains("Talos 1.11 knows no")
    );
}

#[test]
fn what_talos_fails_to_merge_is_refused() {
    let rule = "machine: {}\n---\napiVersion: v1alpha1\nkind: RoutingRuleConfig\nname: \"1\"\nsrc: 10.0.0.0/8\n";
    assert!(
        refusal(rule, &["apiVersion: v1alpha1\nkind: RoutingRuleConfig\nname: \"1\"\ntable: main\n"]).contains("`src`: Talos can't merge")
    );
    let plugins =
        "cluster:\n    apiServer:\n        admissionControl:\n            - name: P\n              configuration:\n                a: 1\n";
    let message = refusal(plugins, &["cluster:\n  apiServer:\n    admissionControl:\n      - name: P\n        configuration: {a: x}\n"]);
    assert!(message.contains("configuration.a`: the value is of another type"), "{message}");
}

#[test]
fn json_patches_change_one_document() {
    let base = "machine:\n    certSANs:\n        - a\n    token: x\n    files:\n        - permissions: 0600\n";
    let json = r#"[{"op": "add", "path": "/machine/certSANs/-", "value": "b"}, {"op": "test", "path": "/machine/token", "value": "x"},
        {"op": "remove", "path": "/machine/certSANs/0"}, {"op": "replace", "path": "/machine/token", "value": "y"},
        {"op": "copy", "from": "/machine/token", "path": "/machine/certSANs/0"}, {"op": "move", "from": "/machine/certSANs/1", "path": "/machine/certSANs/0"}]"#;
    assert_eq!(
        patch(base, &[json]),
        "machine:\n    certSANs:\n        - \"b\"\n        - \"y\"\n    token: \"y\"\n    files:\n        - permissions: 0600\n"
    );
    assert!(
        refusal("machine: {}\n---\napiVersion: v1alpha1\nkind: OOMConfig\n", &["- op: remove\n  path: /machine\n"])
            .contains("over a config of 2 documents")
    );
    assert!(
        refusal(base, &["- op: remove\n  path: /machine/nothing\n"]).contains("operation 1 of the JSON patch: its path leads to nothing")
    );
    assert!(refusal(base, &["- op: test\n  path: /machine/token\n  value: z\n"]).contains("the test failed"));
    assert!(refusal(base, &["- op: frobnicate\n  path: /x\n"]).contains("it is no JSON patch"));
    assert!(refusal(base, &["- op: add\n  path: x\n  value: 1\n"]).contains("begins with `/`"));
}
