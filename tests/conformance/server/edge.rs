use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fairlead::failure::Result;
use fairlead_lab::Programs;
use fairlead_lab::files::write;
use fairlead_lab::joined_box;
use fairlead_lab::namespace::Namespace;
use fairlead_lab::process::{Daemon, run};

use crate::site::{LEASE, LEAST_LEASE, LONG_VALUE, LONGEST_LEASE, Profile, RESERVED_INSIDE, RESERVED_OUTSIDE, SERVER, SHARED};

fn programs() -> Programs {
    Programs { edge: env!("CARGO_BIN_EXE_fairlead-edge").into(), cloud: env!("CARGO_BIN_EXE_fairlead-cloud").into() }
}

pub(super) fn start(profile: Profile, namespace: &Namespace, directory: &Path) -> Result<Daemon> {
    start_with(&configuration(profile), namespace, directory)
}

/// Starts a joined box with this configuration, which names neither the place of its state nor what it logs.
pub(crate) fn start_with(configuration: &str, namespace: &Namespace, directory: &Path) -> Result<Daemon> {
    let (state, config) = (directory.join("state"), directory.join("edge.toml"));
    joined_box::copy_shared(&programs(), &state)?;
    write(&config, format!("state_dir = \"{}\"\nlog = \"debug\"\n{configuration}", state.display()))?;
    let mut command = namespace.command(programs().edge);
    let mut edge = Daemon::start("fairlead-edge", command.arg("--config").arg(&config).arg("run"), &directory.join("edge.log"))?;
    edge.wait_for("the edge serves its site", "serves its site", Duration::from_secs(20))?;
    Ok(edge)
}

/// What `fairlead-edge lease list` says of a box that [`start_with`] started in the directory.
pub(crate) fn lease_list(directory: &Path, words: &[&str]) -> Result<String> {
    run(Command::new(programs().edge).args(["lease", "list", "--config"]).arg(directory.join("edge.toml")).args(words))
}

fn configuration(profile: Profile) -> String {
    if profile == Profile::Proxy {
        return format!("[[interface]]\nname = \"lan0\"\nmode = \"proxy\"\naddress = \"{SERVER}\"\n");
    }
    let interface = format!("[[interface]]\nname = \"lan0\"\nmode = \"server\"\naddress = \"{SERVER}\"\nauthoritative = true\n");
    let dhcp = match profile {
        Profile::Probe => "[dhcp]\nconflict_probe = true\n",
        Profile::RapidCommit => "[dhcp]\nconflict_probe = false\nrapid_commit = true\n",
        Profile::Plain | Profile::Policy | Profile::Proxy => "[dhcp]\nconflict_probe = false\n",
    };
    let mut subnet = format!(
        "[[subnet]]\nnetwork = \"192.0.2.0/24\"\npools = [\"192.0.2.60-192.0.2.249\"]\nrouters = [\"{SERVER}\"]\ndns = [\"192.0.2.53\"]\n\
         ntp = [\"192.0.2.123\"]\ndomain = \"site.example\"\nlease_time = \"{LEASE}s\"\n"
    );
    let mut classes = String::new();
    if profile == Profile::Policy {
        subnet.push_str(&format!(
            "min_lease_time = \"{LEAST_LEASE}s\"\nmax_lease_time = \"{LONGEST_LEASE}s\"\n[subnet.options]\n\
             domain-search = [\"site.example\", \"lab.site.example\"]\n\
             classless-static-routes = [{{ to = \"10.0.0.0/8\", via = \"192.0.2.50\" }}, {{ to = \"0.0.0.0/0\", via = \"{SERVER}\" }}]\n\
             captive-portal = \"https://site.example/portal\"\nipv6-only-preferred = \"30m\"\n230 = \"text:{}\"\n",
            String::from_utf8_lossy(&LONG_VALUE)
        ));
        subnet.push_str("[[subnet.reservation]]\nclient_id = \"00:63:61:6d:2d:37\"\naddress = \"192.0.2.11\"\nhost_name = \"cam-7\"\n");
        classes
            .push_str("[[class]]\nname = \"printers\"\nvendor_class = [\"printer:*\"]\noptions = { domain-name = \"printers.example\" }\n");
        classes.push_str("[[class]]\nname = \"no-boot\"\nmac_prefix = [\"02:00:5e:ff\"]\nboot = false\n");
    }
    for (mac, address) in [RESERVED_OUTSIDE, RESERVED_INSIDE] {
        subnet.push_str(&format!("[[subnet.reservation]]\nmac = \"{mac}\"\naddress = \"{address}\"\n"));
    }
    let mut relayed = String::new();
    for second in [1, 2] {
        relayed.push_str(&format!("[[subnet]]\nnetwork = \"10.{second}.0.0/24\"\npools = [\"10.{second}.0.100-10.{second}.0.199\"]\n"));
        if second == 1 && profile == Profile::Policy {
            relayed.push_str("[[subnet.reservation]]\ncircuit_id = \"text:port-7\"\naddress = \"10.1.0.17\"\n");
        }
    }
    for second in 11..15 {
        relayed.push_str(&format!("[[subnet]]\nnetwork = \"10.{second}.0.0/24\"\npools = [\"10.{second}.0.100-10.{second}.0.101\"]\n"));
    }
    for (name, networks) in SHARED {
        for (network, prefix) in networks {
            let [a, b, c, _] = network.octets();
            relayed.push_str(&format!(
                "[[subnet]]\nnetwork = \"{network}/{prefix}\"\nshared_network = \"{name}\"\npools = [\"{a}.{b}.{c}.100-{a}.{b}.{c}.101\"]\n"
            ));
        }
    }
    format!("{interface}{dhcp}{subnet}{relayed}{classes}")
}
