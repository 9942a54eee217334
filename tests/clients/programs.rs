//! The clients of operating systems.

use std::process::Command;
use std::time::Duration;

use fairlead::failure::{Failure, Result};
use fairlead_lab::files::{create_directory, write};
use fairlead_lab::process::{Daemon, run};
use nix::sys::signal::Signal;

use crate::NamedTrial;
use crate::site::{INTERFACE, Site};
use crate::story::{Client, Reboot, Running, goes_through_all};

pub(super) const TRIALS: &[NamedTrial] = &[
    ("dhclient_leases_renews_rebinds_reboots_and_releases", || goes_through_all(&DHCLIENT)),
    ("udhcpc_leases_renews_rebinds_reboots_and_releases", || goes_through_all(&UDHCPC)),
    ("dhcpcd_leases_renews_rebinds_reboots_and_releases", || goes_through_all(&DHCPCD)),
    ("systemd_networkd_leases_renews_rebinds_and_reboots", || goes_through_all(&NETWORKD)),
    ("network_manager_leases_renews_rebinds_and_reboots", || goes_through_all(&NETWORK_MANAGER)),
];

/// Its own script would write this machine's resolver configuration.
const DHCLIENT_SCRIPT: &str = "#!/bin/sh
case $reason in
BOUND | RENEW | REBIND | REBOOT)
    ip address replace \"$new_ip_address/24\" dev \"$interface\"
    [ -z \"$new_routers\" ] || ip route replace default via \"${new_routers%% *}\" dev \"$interface\"
    ;;
PREINIT) ip link set \"$interface\" up ;;
esac
exit 0
";

const UDHCPC_SCRIPT: &str = "#!/bin/sh
case $1 in
bound | renew) ip address replace \"$ip/24\" dev \"$interface\" ;;
deconfig) ip link set \"$interface\" up ;;
esac
";

pub(super) const DHCLIENT: Client = Client {
    start: |site| {
        let script = script(site, "dhclient-script", DHCLIENT_SCRIPT)?;
        write(&site.directory().join("dhclient.conf"), "initial-interval 1;\nbackoff-cutoff 2;\n")?;
        let path = |name: &str| site.directory().join(name);
        let mut command = site.station.command("dhclient");
        command.args(["-4", "-d", "-v", "-sf", &script, "-lf"]).arg(path("dhclient.leases"));
        command.arg("-pf").arg(path("dhclient.pid")).arg("-cf").arg(path("dhclient.conf")).arg(INTERFACE);
        alone(site, "dhclient", &mut command)
    },
    reboot: Reboot::AsksForItsAddress,
    release: Some(|site, _| {
        let script = site.directory().join("dhclient-script");
        let path = |name: &str| site.directory().join(name);
        let mut command = site.station.command("dhclient");
        command.args(["-4", "-r", "-sf"]).arg(script).arg("-lf").arg(path("dhclient.leases"));
        run(command.arg("-pf").arg(path("dhclient.pid")).arg("-cf").arg(path("dhclient.conf")).arg(INTERFACE)).map(drop)
    }),
    renew: None,
};

const UDHCPC: Client = Client {
    start: |site| {
        let script = script(site, "udhcpc-script", UDHCPC_SCRIPT)?;
        let mut command = site.station.command("udhcpc");
        command.args(["-f", "-t", "20", "-T", "2", "-i", INTERFACE, "-s", &script]);
        alone(site, "udhcpc", &mut command)
    },
    reboot: Reboot::BeginsAnew,
    release: Some(|_, running| {
        running.client.signal(Signal::SIGUSR2);
        Ok(())
    }),
    // It does not heed options 58 and 59.
    renew: Some(|_, running| {
        std::thread::sleep(Duration::from_secs(1));
        running.client.signal(Signal::SIGUSR1);
        Ok(())
    }),
};

pub(super) fn start_dhcpcd(site: &Site, more: &str) -> Result<Running> {
    let (database, config) = (site.directory().join("dhcpcd"), site.directory().join("dhcpcd.conf"));
    create_directory(&database)?;
    write(&config, format!("noarp\nnodelay\noption domain_name_servers, routers\n{more}"))?;
    let places = format!("mount --bind {} /var/lib/dhcpcd && mount -t tmpfs tmpfs /run/dhcpcd", database.display());
    let program = format!("dhcpcd -4 -B -d -c /bin/true -f {} {INTERFACE}", config.display());
    in_places_of_its_own(site, "dhcpcd", &format!("mkdir -p /var/lib/dhcpcd /run/dhcpcd && {places}"), &program)
}

const DHCPCD: Client = Client {
    start: |site| start_dhcpcd(site, ""),
    reboot: Reboot::AsksForItsAddress,
    release: Some(|_, running| {
        // dhcpcd(8): releases its leases, then ends.
        running.client.signal(Signal::SIGALRM);
        Ok(())
    }),
    renew: None,
};

pub(super) const NETWORKD: Client = Client {
    start: |site| {
        let (config, leases) = (site.directory().join("networkd"), site.directory().join("netif"));
        create_directory(&config)?;
        create_directory(&leases)?;
        write(
            &config.join("lab.network"),
            format!("[Match]\nName={INTERFACE}\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"),
        )?;
        // Without the system's bus, which belongs to this machine's own networkd. With /sys read only it does not wait for udev, which
        // does not know the namespace's interfaces.
        let places = format!(
            "mkdir -p /run/systemd/network /run/systemd/netif /run/dbus && chown systemd-network: {leases} && \
             mount --bind {config} /run/systemd/network && mount --bind {leases} /run/systemd/netif && \
             mount -t tmpfs tmpfs /run/dbus && mount -o remount,ro /sys",
            config = config.display(),
            leases = leases.display()
        );
        in_places_of_its_own(site, "systemd-networkd", &places, "env SYSTEMD_LOG_LEVEL=debug /lib/systemd/systemd-networkd")
    },
    // What it remembers is in /run.
    reboot: Reboot::BeginsAnew,
    // Only on a command over the bus.
    release: None,
    renew: None,
};

const NETWORK_MANAGER: Client = Client {
    start: |site| {
        let base = site.directory().join("nm");
        for name in ["lib", "run", "connections", "dbus"] {
            create_directory(&base.join(name))?;
        }
        let config = base.join("NetworkManager.conf");
        write(&config, "[main]\nplugins=keyfile\ndhcp=internal\ndns=none\nno-auto-default=*\n[logging]\nlevel=DEBUG\n")?;
        let connection = base.join("connections/lab.nmconnection");
        write(
            &connection,
            format!(
                "[connection]\nid=lab\nuuid=7a11af0e-5eed-4b07-8000-fa121ead0007\ntype=ethernet\ninterface-name={INTERFACE}\n[ipv4]\nmethod=auto\n[ipv6]\nmethod=disabled\n"
            ),
        )?;
        run(Command::new("chmod").arg("600").arg(&connection))?;
        let places = format!(
            "mkdir -p /run/NetworkManager /run/dbus && mount --bind {base}/lib /var/lib/NetworkManager && mount --bind {base}/run /run/NetworkManager && \
             mount --bind {base}/connections /etc/NetworkManager/system-connections && mount --bind {base}/dbus /run/dbus && mount -o remount,ro /sys",
            base = base.display()
        );
        let bus = in_places_of_its_own(site, "dbus-daemon", &places, "dbus-daemon --system --nofork --nopidfile")?;
        let socket = base.join("dbus/system_bus_socket");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !socket.exists() {
            if std::time::Instant::now() > deadline {
                return Err(Failure::new("the bus of NetworkManager did not come up"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let program = format!("NetworkManager --no-daemon --config {} --config-dir {}/none", config.display(), base.display());
        let manager = in_places_of_its_own(site, "NetworkManager", &places, &program)?;
        Ok(Running { client: manager.client, beside: vec![bus.client] })
    },
    reboot: Reboot::AsksForItsAddress,
    // Since version 1.48 only, and only when told to.
    release: None,
    renew: None,
};

fn script(site: &Site, name: &str, text: &str) -> Result<String> {
    let path = site.directory().join(name);
    write(&path, text)?;
    run(Command::new("chmod").arg("755").arg(&path))?;
    Ok(path.display().to_string())
}

fn alone(site: &Site, name: &str, command: &mut Command) -> Result<Running> {
    let client = Daemon::start(name, command, &site.directory().join(format!("{name}.log")))?;
    Ok(Running { client, beside: Vec::new() })
}

/// Runs a program that has its places built in: they are mounted over, for it alone.
fn in_places_of_its_own(site: &Site, name: &str, mount: &str, program: &str) -> Result<Running> {
    // `ip netns exec` has made a mount namespace already, of which nothing gets out.
    let mut command = site.station.command("sh");
    alone(site, name, command.args(["-ec", &format!("{mount}\nexec {program}")]))
}
