use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fairlead::failure::{Failure, Result};
use fairlead_lab::files::write;
use fairlead_lab::namespace::Namespace;
use fairlead_lab::process::{Daemon, run};

use crate::site::{LEASE, LONG_VALUE, LONGEST_LEASE, Profile, RESERVED_INSIDE, RESERVED_OUTSIDE, SERVER, SHARED};

/// As in `Dnsmasq version 2.90  Copyright ...`.
pub(super) fn version() -> Result<String> {
    let text = run(Command::new("dnsmasq").arg("--version"))?;
    let word = text.split_ascii_whitespace().nth(2).map(str::to_owned);
    word.ok_or_else(|| Failure::new(format!("`dnsmasq --version` says {text}")))
}

pub(super) fn start(profile: Profile, namespace: &Namespace, directory: &Path) -> Result<Daemon> {
    let config = directory.join("dnsmasq.conf");
    write(&config, configuration(profile, directory))?;
    let mut command = namespace.command("dnsmasq");
    command.args(["--no-daemon", "--user=root"]).arg(format!("--conf-file={}", config.display()));
    let mut dnsmasq = Daemon::start("dnsmasq", &mut command, &directory.join("dnsmasq.log"))?;
    let ready = if profile == Profile::Proxy { "DHCP, proxy on subnet" } else { "DHCP, IP range 192.0.2.60" };
    dnsmasq.wait_for("dnsmasq serves", ready, Duration::from_secs(20))?;
    Ok(dnsmasq)
}

fn configuration(profile: Profile, directory: &Path) -> String {
    let mut lines = vec![
        "port=0".to_owned(),
        "interface=lan0".to_owned(),
        "bind-interfaces".to_owned(),
        "log-dhcp".to_owned(),
        format!("dhcp-leasefile={}", directory.join("dnsmasq.leases").display()),
    ];
    for (arch, tag) in [("0", "bios"), ("7", "uefi"), ("9", "uefi"), ("11", "arm"), ("16", "uefi-http"), ("19", "arm-http")] {
        lines.push(format!("dhcp-match=set:{tag},option:client-arch,{arch}"));
    }
    lines.push("dhcp-vendorclass=set:uefi,PXEClient:Arch:00007".to_owned());
    lines.push("dhcp-userclass=set:ipxe,iPXE".to_owned());
    if profile == Profile::Proxy {
        lines.push("dhcp-range=192.0.2.0,proxy".to_owned());
        for (system, file) in [("x86PC", "undionly.kpxe"), ("X86-64_EFI", "snponly.efi"), ("BC_EFI", "snponly.efi")] {
            lines.push(format!("pxe-service={system},\"Network boot\",{file},{SERVER}"));
        }
        lines.push("pxe-prompt=\"Network boot\",0".to_owned());
        lines.push(String::new());
        return lines.join("\n");
    }
    for (tag, file) in [("bios", "undionly.kpxe"), ("uefi", "snponly.efi"), ("arm", "ipxe-arm64.efi")] {
        lines.push(format!("dhcp-boot=tag:{tag},tag:!ipxe,{file},,{SERVER}"));
    }
    for (tag, file) in [("uefi-http", "snponly.efi"), ("arm-http", "ipxe-arm64.efi")] {
        lines.push(format!("dhcp-boot=tag:{tag},http://{SERVER}/{file}"));
        lines.push(format!("dhcp-option-force=tag:{tag},60,HTTPClient"));
    }
    lines.push(format!("dhcp-boot=tag:ipxe,http://{SERVER}/autoexec.ipxe"));
    if profile != Profile::Probe {
        lines.push("no-ping".to_owned());
    }
    if profile == Profile::RapidCommit {
        lines.push("dhcp-rapid-commit".to_owned());
    }
    // dnsmasq gives a client what it asks for up to this, from two minutes on.
    let lease = if profile == Profile::Policy { LONGEST_LEASE } else { LEASE };
    lines.push(format!("dhcp-range=set:lan,192.0.2.60,192.0.2.249,255.255.255.0,{lease}"));
    for second in [1, 2] {
        lines.push(format!("dhcp-range=10.{second}.0.100,10.{second}.0.199,255.255.255.0,{LEASE}"));
    }
    for second in 11..15 {
        lines.push(format!("dhcp-range=10.{second}.0.100,10.{second}.0.101,255.255.255.0,{LEASE}"));
    }
    for (_, networks) in SHARED {
        for (network, prefix) in networks {
            let ([a, b, c, _], mask) = (network.octets(), Ipv4Addr::from(u32::MAX << (32 - prefix)));
            lines.push(format!("dhcp-range={a}.{b}.{c}.100,{a}.{b}.{c}.101,{mask},{LEASE}"));
        }
        // For what comes by the relay of the first.
        let [relay, other] = networks.map(|(network, _)| Ipv4Addr::from(u32::from(network) + 1));
        lines.push(format!("shared-network={relay},{other}"));
    }
    for (mac, address) in [RESERVED_OUTSIDE, RESERVED_INSIDE] {
        lines.push(format!("dhcp-host={mac},{address}"));
    }
    for option in ["3,192.0.2.1", "6,192.0.2.53", "42,192.0.2.123", "15,site.example"] {
        lines.push(format!("dhcp-option=tag:lan,{option}"));
    }
    if profile == Profile::Policy {
        lines.push("dhcp-host=id:00:63:61:6d:2d:37,192.0.2.11,cam-7".to_owned());
        lines.push("dhcp-circuitid=set:port7,port-7".to_owned());
        lines.push("dhcp-range=tag:port7,10.1.0.17,10.1.0.17,255.255.255.0".to_owned());
        lines.push("dhcp-option=tag:lan,119,site.example,lab.site.example".to_owned());
        lines.push(format!("dhcp-option=tag:lan,121,10.0.0.0/8,192.0.2.50,0.0.0.0/0,{SERVER}"));
        lines.push("dhcp-option=tag:lan,114,https://site.example/portal".to_owned());
        lines.push("dhcp-option=tag:lan,108,1800i".to_owned());
        // It has one octet for the length of an option.
        lines.push(format!("dhcp-option=tag:lan,230,{}", String::from_utf8_lossy(&LONG_VALUE[..255])));
        lines.push("dhcp-vendorclass=set:printers,printer:".to_owned());
        lines.push("dhcp-option=tag:printers,15,printers.example".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}
