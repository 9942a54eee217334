use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fairlead::failure::Result;
use fairlead_lab::files::write;
use fairlead_lab::namespace::Namespace;
use fairlead_lab::process::{Daemon, run};
use serde_json::{Value, json};

use crate::site::{LEASE, LEAST_LEASE, LONG_VALUE, LONGEST_LEASE, Profile, RESERVED_INSIDE, RESERVED_OUTSIDE, SERVER, SHARED};

pub(super) fn version() -> Result<String> {
    Ok(run(Command::new("kea-dhcp4").arg("-v"))?.trim().to_owned())
}

pub(super) fn start(profile: Profile, namespace: &Namespace, directory: &Path) -> Result<Daemon> {
    let config = directory.join("kea.json");
    write(&config, configuration(profile, directory).to_string())?;
    let mut command = namespace.command("kea-dhcp4");
    // Kea would write beside another Kea of this machine; later versions refuse any folder but those that they are told of.
    for variable in ["KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR", "KEA_DHCP_DATA_DIR", "KEA_LOG_FILE_DIR", "KEA_CONTROL_SOCKET_DIR"] {
        command.env(variable, directory);
    }
    let mut kea = Daemon::start("kea-dhcp4", command.arg("-c").arg(&config), &directory.join("kea.log"))?;
    kea.wait_for("Kea serves", "DHCP4_STARTED", Duration::from_secs(20))?;
    Ok(kea)
}

fn configuration(profile: Profile, directory: &Path) -> Value {
    let subnet = |id: u32, network: &str, pool: &str| json!({"id": id, "subnet": network, "pools": [{"pool": pool}]});
    let mut lan = subnet(1, "192.0.2.0/24", "192.0.2.60 - 192.0.2.249");
    let mut first = subnet(2, "10.1.0.0/24", "10.1.0.100 - 10.1.0.199");
    let mut reservations: Vec<Value> = [RESERVED_OUTSIDE, RESERVED_INSIDE]
        .iter()
        .map(|(mac, address)| json!({"hw-address": mac.to_string(), "ip-address": address}))
        .collect();
    let mut options = vec![
        json!({"name": "routers", "data": SERVER.to_string()}),
        json!({"name": "domain-name-servers", "data": "192.0.2.53"}),
        json!({"name": "ntp-servers", "data": "192.0.2.123"}),
    ];
    let mut classes = boot_classes();
    if profile == Profile::Policy {
        reservations.push(json!({"client-id": "0063616d2d37", "ip-address": "192.0.2.11", "hostname": "cam-7"}));
        set(&mut first, "reservations", json!([{"circuit-id": "'port-7'", "ip-address": "10.1.0.17"}]));
        options.push(json!({"name": "domain-search", "data": "site.example, lab.site.example"}));
        // Routes of RFC 3442 as octets: Debian's version of Kea has no other form for them.
        options.push(json!({"code": 121, "name": "routes", "csv-format": false, "data": "080ac000023200c0000201"}));
        options.push(json!({"name": "v4-captive-portal", "data": "https://site.example/portal"}));
        options.push(json!({"code": 108, "csv-format": false, "data": "00000708"}));
        options.push(json!({"code": 230, "name": "long", "csv-format": false, "data": "61".repeat(LONG_VALUE.len())}));
        classes.push(json!({"name": "printers", "test": "substring(option[60].hex,0,8) == 'printer:'",
            "option-data": [{"name": "domain-name", "data": "printers.example"}]}));
    }
    set(&mut lan, "reservations", Value::Array(reservations));
    set(&mut lan, "option-data", Value::Array(options));
    let mut subnets = vec![lan, first, subnet(3, "10.2.0.0/24", "10.2.0.100 - 10.2.0.199")];
    for second in 11..15 {
        subnets.push(subnet(second, &format!("10.{second}.0.0/24"), &format!("10.{second}.0.100 - 10.{second}.0.101")));
    }
    let mut shared = Vec::new();
    for (id, (name, networks)) in (100_u32..).step_by(10).zip(SHARED) {
        let members = (id..).zip(networks).map(|(id, (network, prefix))| {
            let [a, b, c, _] = network.octets();
            subnet(id, &format!("{network}/{prefix}"), &format!("{a}.{b}.{c}.100 - {a}.{b}.{c}.101"))
        });
        shared.push(json!({"name": name, "subnet4": members.collect::<Vec<_>>()}));
    }
    let mut dhcp = json!({
        "interfaces-config": {"interfaces": ["lan0"], "re-detect": false},
        "lease-database": {"type": "memfile", "persist": true, "name": directory.join("kea.leases"), "lfc-interval": 0},
        "host-reservation-identifiers": ["hw-address", "client-id", "circuit-id"],
        "valid-lifetime": LEASE, "renew-timer": LEASE / 2, "rebind-timer": LEASE / 8 * 7,
        "decline-probation-period": 86400,
        "option-def": [
            {"name": "routes", "code": 121, "type": "binary", "space": "dhcp4"},
            {"name": "long", "code": 230, "type": "binary", "space": "dhcp4"},
        ],
        // Kea lets what a subnet says go before what a class says.
        "option-data": [{"name": "domain-name", "data": "site.example"}],
        "client-classes": classes,
        "subnet4": subnets,
        "shared-networks": shared,
        "loggers": [{"name": "kea-dhcp4", "output_options": [{"output": "stdout"}], "severity": "INFO"}],
    });
    if profile == Profile::Policy {
        set(&mut dhcp, "min-valid-lifetime", json!(LEAST_LEASE));
        set(&mut dhcp, "max-valid-lifetime", json!(LONGEST_LEASE));
    }
    json!({"Dhcp4": dhcp})
}

fn boot_classes() -> Vec<Value> {
    let is_ipxe = "option[77].hex == 'iPXE'";
    let boot = |name: &str, test: String, file: &str| json!({"name": name, "test": test, "next-server": SERVER, "boot-file-name": file});
    let http = |name: &str, arch: &str, file: &str| {
        json!({"name": name, "test": format!("option[93].hex == 0x{arch}"), "boot-file-name": format!("http://{SERVER}/{file}"),
            "option-data": [{"name": "vendor-class-identifier", "data": "HTTPClient"}]})
    };
    vec![
        boot("ipxe", is_ipxe.to_owned(), &format!("http://{SERVER}/autoexec.ipxe")),
        boot("bios", format!("option[93].hex == 0x0000 and not ({is_ipxe})"), "undionly.kpxe"),
        boot(
            "uefi",
            format!(
                "(option[93].hex == 0x0007 or option[93].hex == 0x0009 or substring(option[60].hex,0,20) == 'PXEClient:Arch:00007') \
                 and not ({is_ipxe})"
            ),
            "snponly.efi",
        ),
        boot("arm", "option[93].hex == 0x000b".to_owned(), "ipxe-arm64.efi"),
        http("uefi-http", "0010", "snponly.efi"),
        http("arm-http", "0013", "ipxe-arm64.efi"),
    ]
}

fn set(value: &mut Value, key: &str, to: Value) {
    if let Some(object) = value.as_object_mut() {
        object.insert(key.to_owned(), to);
    }
}
