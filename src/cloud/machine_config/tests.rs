use std::collections::BTreeMap;

use super::schema::Contract;
use super::*;
use crate::secret::Secret;
use crate::wire::Name;

const WORKER: &str = "version: v1alpha1 # comments stay
debug: no
machine:
    type: worker
    token: t0ken
    ca: {crt: Q0E=, key: \"\"}
    files:
        - permissions: 0600
          path: /a
          op: create
          content: x
    install:
        disk: /dev/vda
        image: ghcr.io/siderolabs/installer:v1.13.9
cluster:
    controlPlane:
        endpoint: https://100.64.0.10:6443
    ca:
        crt: Q0E=
";

fn layer(level: Level, name: &str, text: &str, template: bool) -> Layer {
    let source = Source { level, name: name.to_owned(), file: format!("{level}.yaml") };
    Layer { source, text: Secret::from(text.to_owned()), template }
}

fn base() -> Layer {
    layer(Level::Base, "", WORKER, false)
}

fn release(text: &str) -> Contract {
    text.parse().unwrap()
}

fn name() -> Name {
    "plant-1-ab".parse().unwrap()
}

fn plan(layers: &[Layer]) -> Result<Plan, String> {
    Plan::new(release("1.13"), layers).map_err(|error| error.to_string())
}

fn render(layers: &[Layer], facts: &Facts) -> Result<Rendered, String> {
    plan(layers)?.render(facts, &Additions::named(&name())).map_err(|error| error.to_string())
}

fn text(rendered: &Rendered) -> &str {
    rendered.text.expose_str().unwrap()
}

fn facts(pairs: &[(&str, &str)]) -> Facts {
    let mut facts = Facts::default();
    for (name, value) in pairs {
        facts.set_text(name, value);
    }
    facts
}

#[test]
fn without_a_patch_the_operators_bytes_come_through_unchanged() {
    for base in [WORKER.to_owned(), WORKER.trim_end().to_owned(), format!("{WORKER}...\n"), format!("{WORKER}---\n# nothing\n")] {
        let rendered = render(&[layer(Level::Base, "", &base, false)], &Facts::default()).unwrap();
        assert!(text(&rendered).starts_with(&base), "{}", text(&rendered));
        assert!(text(&rendered).ends_with("---\napiVersion: v1alpha1\nkind: HostnameConfig\nhostname: plant-1-ab\nauto: off\n"));
        yaml::read(rendered.text.expose(), 0, yaml::Budget::default()).unwrap();
    }
}

#[test]
fn with_a_patch_untouched_values_come_through_as_they_were_written() {
    let rendered = render(&[base(), layer(Level::Site, "berlin", "machine:\n  sysctls: {a: \"1\"}\n", false)], &Facts::default()).unwrap();
    for line in ["debug: no\n", "permissions: 0600\n", "ca: {crt: Q0E=, key: \"\"}\n", "sysctls: {a: \"1\"}\n"] {
        assert!(text(&rendered).contains(line), "{line} is not in {}", text(&rendered));
    }
}

#[test]
fn layers_lie_over_one_another_and_each_line_knows_its_own() {
    let layers = [
        base(),
        layer(Level::Cluster, "home", "machine:\n  nodeLabels:\n    a: cluster\n    b: cluster\n    c: cluster\n", false),
        layer(Level::Site, "berlin", "machine:\n  nodeLabels:\n    b: site\n    c: site\n", false),
        layer(Level::Node, "n7", "machine:\n  nodeLabels:\n    c: node\n  token: t0ken2\n", false),
    ];
    let rendered = render(&layers, &Facts::default()).unwrap();
    let lines: Vec<_> = explain(&rendered).into_iter().map(|line| format!("{} | {}", line.from, line.text.trim())).collect();
    for line in [
        "base, base.yaml:4 | type: worker",
        "node n7, node.yaml:4 | token: (secret)",
        "cluster home, cluster.yaml:3 | a: cluster",
        "site berlin, site.yaml:3 | b: site",
        "node n7, node.yaml:3 | c: node",
        "fairlead | hostname: plant-1-ab",
        " | ---",
    ] {
        assert!(lines.iter().any(|there| there == line), "{line} is not in {lines:#?}");
    }
    assert!(!lines.iter().any(|line| line.contains("t0ken")), "{lines:#?}");
}

#[test]
fn templates_are_filled_in_from_the_facts_of_a_node() {
    let template = "machine:\n  install:\n    diskSelector: {serial: \"{{ serial | upper }}\"}\n  nodeLabels:\n    \"{{ domain }}/rack\": \"{{ rack }}\"\n  network:\n    interfaces:\n      - interface: eth0\n        mtu: \"{{ mtu }}\"\n        dhcp: \"{{ dhcp }}\"\n";
    let known = [("serial", "ab\"c: d"), ("domain", "example.com"), ("rack", "0600"), ("mtu", "1400"), ("dhcp", "true")];
    let rendered = render(&[base(), layer(Level::Class, "nuc", template, true)], &facts(&known)).unwrap();
    for line in ["serial: \"AB\\\"C: D\"", "\"example.com/rack\": \"0600\"", "mtu: 1400\n", "dhcp: true\n"] {
        assert!(text(&rendered).contains(line), "{line} is not in {}", text(&rendered));
    }
}

#[test]
fn what_a_machine_says_of_itself_stays_one_value() {
    let template = "machine:\n  nodeAnnotations:\n    serial: \"{{ serial }}\"\n    lines: |\n      {{ serial }}\n";
    let hostile = "x\"\n  token: mine\nmachine: {type: controlplane}\n---\nkind: Evil # {{ 7 * 7 }}";
    let rendered = render(&[base(), layer(Level::Class, "nuc", template, true)], &facts(&[("serial", hostile)])).unwrap();
    let back = yaml::read(rendered.text.expose(), 0, yaml::Budget::default()).unwrap();
    assert_eq!(back.len(), 2);
    assert_eq!(back[0].text_at(&["machine", "token"]), Some("t0ken"));
    assert_eq!(back[0].text_at(&["machine", "nodeAnnotations", "serial"]), Some(hostile));
    assert_eq!(back[0].text_at(&["machine", "nodeAnnotations", "lines"]), Some(format!("{hostile}\n").as_str()));
}

#[test]
fn only_patches_that_are_templates_are_filled_in() {
    let config = WORKER.replace("t0ken", "\"{{ token }}\"");
    let patch = "machine:\n  nodeAnnotations: {a: \"{{ site }}\", b: \"{% if %}\"}\n";
    let layers = [layer(Level::Base, "", &config, false), layer(Level::Site, "", patch, false)];
    let rendered = render(&layers, &facts(&[("site", "berlin"), ("token", "expanded")])).unwrap();
    assert!(text(&rendered).contains("a: \"{{ site }}\", b: \"{% if %}\"") && text(&rendered).contains("token: \"{{ token }}\""));
    // Neither is what a template is filled in with.
    let template = "machine:\n  nodeAnnotations: {a: \"{{ site }}\"}\n";
    let rendered = render(&[base(), layer(Level::Site, "", template, true)], &facts(&[("site", "{{ token }}"), ("token", "x")])).unwrap();
    assert!(text(&rendered).contains("a: \"{{ token }}\""));
}

#[test]
fn a_template_that_cannot_be_filled_in_is_told_with_layer_file_and_line() {
    let cases = [
        (
            "{{ rak }}",
            "site berlin, site.yaml:3: `machine.nodeAnnotations.a`: the template names `rak`, and of this node only these are known: rack",
        ),
        ("{{ rack.x.y }}", "wants a part of a fact"),
        ("{{ rack | nofilter }}", "names a filter that does not exist"),
        ("{{ rack", "it is no good template"),
        ("{% for i in range(100000) %}{{ i }}{% endfor %}", "takes more than 20000 steps"),
        ("{{ nofunction() }}", "calls a function that does not exist"),
        ("{% include 'x' %}", "can't be filled in"),
        ("{{ 'x' * 100000 }}", "becomes longer than 65536 octets"),
    ];
    for (template, reason) in cases {
        let patch = format!("machine:\n  nodeAnnotations:\n    a: \"{template}\"\n");
        let message =
            render(&[base(), layer(Level::Site, "berlin", &patch, true)], &facts(&[("rack", "r7s3cret")])).map(|_| ()).unwrap_err();
        assert!(
            message.contains(reason) || (template.contains("include") && message.contains("no good template")),
            "{message} (expected {reason})"
        );
        assert!(!message.contains("r7s3cret"), "{message}");
    }
}

#[test]
fn a_dry_run_lists_every_node_that_would_get_no_config() {
    let plan = plan(&[base(), layer(Level::Site, "berlin", "machine:\n  nodeAnnotations: {a: \"{{ rack }}\"}\n", true)]).unwrap();
    let (good, bad, name) = (facts(&[("rack", "a")]), facts(&[("shelf", "a")]), name());
    let failures = plan.failures([&good, &bad, &good, &bad].map(|facts| (facts, Additions::named(&name))));
    let indices: Vec<_> = failures.iter().map(|(index, _)| *index).collect();
    assert_eq!(indices, [1, 3]);
    assert!(failures[0].1.to_string().contains("`rack`"));
}

#[test]
fn bad_input_is_told_with_layer_file_and_line() {
    let long = format!("a: {}\n", "x".repeat(5 << 20));
    let cases = [
        ("machine:\n  a: 1\n  a: 2\n", "site berlin, site.yaml:3: the key `a` is there twice"),
        ("machine:\n\ta: 1\n", "site berlin, site.yaml:2: there is a tab"),
        ("machine: {}\n---\nmachine: {}\n", "site berlin, site.yaml:3: the v1alpha1 document is there twice"),
        ("apiVersion: v1alpha1\nkind: OOMConfig\n$patch: delete\n", "site berlin, site.yaml:1: there is no OOMConfig"),
        (
            "machine:\n  nodeLabel: {}\n",
            "site berlin, site.yaml:2: `machine`: Talos 1.13 knows no field `nodeLabel` here; `nodeLabels` perhaps?",
        ),
        ("- op: remove\n  path: /machine/x\n", "site berlin, site.yaml:1: `machine.x`: operation 1"),
        (&long, "site berlin, site.yaml:1: it has more than 4194304 octets"),
    ];
    for (patch, reason) in cases {
        let message = plan(&[base(), layer(Level::Site, "berlin", patch, false)]).map(|_| ()).unwrap_err();
        assert!(message.contains(reason), "{message} (expected {reason})");
    }
    let message = plan(&[layer(Level::Base, "", "apiVersion: v1alpha1\nkind: OOMConfig\n", false)]).map(|_| ()).unwrap_err();
    assert!(message.contains("holds no v1alpha1 document"), "{message}");
    let message = plan(&[layer(Level::Base, "", &WORKER.replace("token: t0ken", "token: [t0ken"), false)]).map(|_| ()).unwrap_err();
    assert!(message.starts_with("base, base.yaml:") && !message.contains("t0ken"), "{message}");
}

#[test]
fn what_fairlead_adds_is_there_once() {
    let with_own = format!(
        "{WORKER}---\napiVersion: v1alpha1\nkind: HostnameConfig\nauto: stable\n---\napiVersion: v1alpha1\nkind: ExtensionServiceConfig\nname: tailscale\nenvironment:\n    - TS_AUTHKEY=old\n    - TS_ACCEPT_DNS=true\n"
    );
    let key = Secret::from("tskey-auth-new".to_owned());
    let (hostname, labels) = (name(), BTreeMap::from([("topology.kubernetes.io/zone".to_owned(), "berlin".to_owned())]));
    let taints = BTreeMap::from([("edge".to_owned(), "yes:NoSchedule".to_owned())]);
    let routes = ["10.1.0.0/16".to_owned()];
    let arguments = ["--accept-routes".to_owned()];
    let additions = Additions {
        root_pem: Some("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"),
        tailscale: Some(Tailscale {
            auth_key: Some(&key),
            login_server: Some("https://hs.example.com"),
            routes: &routes,
            extra_arguments: &arguments,
            accept_dns: false,
        }),
        kernel_log: Some("tcp://10.0.0.1:4001"),
        event_sink: Some("10.0.0.1:4002"),
        grub_use_uki_cmdline: true,
        installer_image: Some("factory.example.com/metal-installer/abc:v1.13.9"),
        node_labels: &labels,
        node_taints: &taints,
        ..Additions::named(&hostname)
    };
    let plan = plan(&[layer(Level::Base, "", &with_own, false)]).unwrap();
    let rendered = plan.render(&Facts::default(), &additions).unwrap();
    let text = text(&rendered);
    for part in [
        "kind: HostnameConfig\nauto: off\nhostname: plant-1-ab\n",
        "        image: factory.example.com/metal-installer/abc:v1.13.9\n",
        "        grubUseUKICmdline: true\n",
        "        topology.kubernetes.io/zone: berlin\n",
        "        edge: yes:NoSchedule\n",
        "kind: TrustedRootsConfig\nname: fairlead\ncertificates: |-\n    -----BEGIN CERTIFICATE-----\n",
        "kind: KmsgLogConfig\nname: fairlead\nurl: tcp://10.0.0.1:4001\n",
        "kind: EventSinkConfig\nendpoint: 10.0.0.1:4002\n",
        "environment:\n    - TS_ACCEPT_DNS=true\n    - TS_AUTHKEY=tskey-auth-new\n    - TS_HOSTNAME=plant-1-ab\n    - TS_AUTH_ONCE=true\n    - TS_ROUTES=10.1.0.0/16\n    - \"TS_EXTRA_ARGS=--login-server=https://hs.example.com --accept-routes\"\n",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(text.matches("TS_AUTHKEY").count(), 1);
}

#[test]
fn the_host_name_goes_where_the_release_and_the_config_have_it() {
    let hostname = name();
    let old = WORKER.replace("v1.13.9", "v1.11.6");
    let plan = Plan::new(release("1.11"), &[layer(Level::Base, "", &old, false)]).unwrap();
    let rendered = plan.render(&Facts::default(), &Additions::named(&hostname)).unwrap();
    assert!(text(&rendered).contains("    network:\n        hostname: plant-1-ab\n") && !text(&rendered).contains("HostnameConfig"));
    let named = WORKER.replace("    install:", "    network: {hostname: other}\n    install:");
    let rendered = render(&[layer(Level::Base, "", &named, false)], &Facts::default()).unwrap();
    assert!(text(&rendered).contains("network: {hostname: plant-1-ab}") && !text(&rendered).contains("HostnameConfig"));
}

#[test]
fn what_cannot_be_added_is_told() {
    let hostname = name();
    let labels = BTreeMap::from([("node-role.kubernetes.io/x".to_owned(), String::new())]);
    let additions = Additions { node_labels: &labels, ..Additions::named(&hostname) };
    let error = plan(&[base()]).unwrap().render(&Facts::default(), &additions).map(|_| ()).unwrap_err();
    assert!(error.to_string().starts_with("fairlead: the label `node-role.kubernetes.io/x` can't be set by a worker"), "{error}");
    let arguments = ["a b".to_owned()];
    let additions =
        Additions { tailscale: Some(Tailscale { extra_arguments: &arguments, ..Tailscale::default() }), ..Additions::named(&hostname) };
    let error = plan(&[base()]).unwrap().render(&Facts::default(), &additions).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("has a blank in it"), "{error}");
}

#[test]
fn a_diff_says_what_differs_and_no_secret() {
    let read = |text: &str| yaml::read(text.as_bytes(), 0, yaml::Budget::default()).unwrap();
    let other =
        WORKER.replace("t0ken", "t0ken2").replace("/dev/vda", "/dev/sda").replace("debug: no", "debug: false").replace("0600", "0o600");
    let shown: Vec<_> = diff(&read(WORKER), &read(&format!("{other}---\napiVersion: v1alpha1\nkind: OOMConfig\n")))
        .into_iter()
        .map(|one| format!("{} {}: {:?} {:?}", one.document, one.path, one.left, one.right))
        .collect();
    assert_eq!(
        shown,
        [
            "the v1alpha1 document debug: Some(\"no\") Some(\"false\")",
            "the v1alpha1 document machine.token: Some(\"(secret)\") Some(\"(secret)\")",
            "the v1alpha1 document machine.install.disk: Some(\"/dev/vda\") Some(\"/dev/sda\")",
            "OOMConfig : None Some(\"{apiVersion: v1alpha1, kind: OOMConfig}\")",
        ]
    );
}

#[test]
fn the_stored_base_config_renders_as_it_did() {
    let key = Secret::from("tskey-auth-x".to_owned());
    let hostname = name();
    let base = BaseConfig::parse(Secret::from(WORKER.to_owned()), true).unwrap();
    let tailscale = Some(Tailscale { auth_key: Some(&key), ..Tailscale::default() });
    let rendered = base.render(&Additions { root_pem: Some("PEM\n"), tailscale, ..Additions::named(&hostname) }).unwrap();
    let rendered = rendered.expose_str().unwrap();
    assert!(rendered.starts_with(WORKER));
    let kinds: Vec<_> = rendered.lines().filter(|line| line.starts_with("kind: ")).collect();
    assert_eq!(kinds, ["kind: HostnameConfig", "kind: TrustedRootsConfig", "kind: ExtensionServiceConfig"]);
    for text in ["", "machine: {}\n", "a: [\n"] {
        assert!(BaseConfig::parse(Secret::from(text.to_owned()), true).is_err(), "{text}");
    }
}
