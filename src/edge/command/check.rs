//! `fairlead-edge check`.

use std::net::SocketAddrV4;
use std::path::Path;

use crate::clock;
use crate::command_line::say;
use crate::edge::config::EdgeConfig;
use crate::edge::dhcp::config::Mode;
use crate::edge::dhcp::server::check_interface;
use crate::edge::endpoint::Endpoint;
use crate::edge::identity::Identity;
use crate::edge::run::{TFTP_PORT, no_interface, not_joined};
use crate::edge::state::StateDir;
use crate::edge::uplink::firmware_cache::FirmwareCache;
use crate::failure::{Failure, Result};
use crate::pki::certificate::Validity;

pub(super) async fn check(path: &Path) -> Result<()> {
    let config = EdgeConfig::load(path)?;
    say(&format!("ok: configuration `{}`", path.display()))?;
    for warning in config.dhcp.warnings() {
        say(&warning.to_string())?;
    }
    let mut findings = Findings::default();
    let running = StateDir::existing(&config.state_dir).ok().flatten().is_some_and(|state| state.is_locked());
    if running {
        say("ok: fairlead-edge is running, so interfaces and ports are its own")?;
    } else {
        ports(&config, &mut findings)?;
    }
    state_folder(&config, &mut findings)?;
    findings.finish()
}

/// How many things are not in order; each is told in its place.
#[derive(Default)]
struct Findings(usize);

impl Findings {
    /// Says that something is in order, or what is wrong with it.
    fn note<T>(&mut self, outcome: Result<T>, in_words: impl FnOnce(&T) -> String) -> Result<Option<T>> {
        match outcome {
            Ok(value) => {
                say(&format!("ok: {}", in_words(&value)))?;
                Ok(Some(value))
            }
            Err(failure) => {
                self.0 = self.0.saturating_add(1);
                say(&failure.to_string())?;
                Ok(None)
            }
        }
    }

    fn finish(self) -> Result<()> {
        match self.0 {
            0 => say("ok: this box can run"),
            1 => Err(Failure::new("this box can't run: one thing is not in order").hint("it is told above, with what to do about it")),
            count => Err(Failure::new(format!("this box can't run: {count} things are not in order"))
                .hint("they are told above, with what to do about each")),
        }
    }
}

/// Takes every port as `run` would, and gives them back.
fn ports(config: &EdgeConfig, findings: &mut Findings) -> Result<()> {
    let interfaces = config.dhcp.interfaces();
    if interfaces.is_empty() {
        return findings.note::<()>(Err(no_interface()), |()| String::new()).map(drop);
    }
    for interface in interfaces {
        let in_words = |_: &()| {
            let mode = match interface.mode {
                Mode::Server => "gives addresses and boot files",
                Mode::Proxy => "gives boot files beside another DHCP server",
                Mode::Observe => "answers nothing and tells what it would have said",
            };
            format!("interface `{}`, {}: {mode}; its DHCP ports are free", interface.name, interface.address)
        };
        let usable = findings.note(check_interface(&config.dhcp, interface), in_words)?;
        if usable.is_none() {
            continue;
        }
        let endpoint = |port| Endpoint { address: SocketAddrV4::new(interface.address, port), device: Some(interface.name.clone()) };
        let (tftp, http) = (endpoint(TFTP_PORT), endpoint(config.http_port.get()));
        findings.note(tftp.bind_udp("TFTP").map(drop), |()| format!("TFTP on {tftp}: the port is free"))?;
        findings.note(http.listen_tcp("HTTP boot", 1).map(drop), |()| format!("HTTP boot on {http}: the port is free"))?;
    }
    Ok(())
}

fn state_folder(config: &EdgeConfig, findings: &mut Findings) -> Result<()> {
    let path = &config.state_dir;
    let Some(state) = findings.note(open_state(path), |state| format!("state folder `{}`", state.path().display()))? else { return Ok(()) };
    let identity = state.identity().map_err(Failure::from).and_then(|identity| identity.ok_or_else(not_joined));
    let in_words =
        |identity: &Identity| format!("identity: site `{}` (number {}) of {}", identity.site, identity.site_number, identity.url);
    let Some(identity) = findings.note(identity, in_words)? else { return Ok(()) };
    findings.note(certificate_life(identity.validity()), Clone::clone)?;
    match state.settings(&identity) {
        Ok(Some(settings)) => {
            let cache = FirmwareCache::new(&path.join("firmware"));
            let here = settings.firmware.iter().filter(|file| cache.look_up(file).is_some()).count();
            say(&format!("ok: settings: nodes go to {}; {here} of {} firmware files are here", settings.boot_url, settings.firmware.len()))
        }
        Ok(None) => say("note: no settings yet: `fairlead-edge run` fetches them, and until then machines get addresses and no boot file"),
        Err(error) => findings.note::<()>(Err(error.into()), |()| String::new()).map(drop),
    }
}

fn open_state(path: &Path) -> Result<StateDir> {
    match StateDir::existing(path) {
        Ok(Some(state)) => Ok(state),
        Ok(None) => Err(Failure::new(format!("the state folder `{}` does not exist", path.display()))
            .hint("`fairlead-edge join` makes it; `state_dir` in edge.toml names another")),
        Err(error) => Err(error.into()),
    }
}

fn certificate_life(validity: Validity) -> Result<String> {
    let now = clock::now();
    let left = validity.left(now);
    if left.is_zero() {
        return Err(Failure::new(format!("the site's certificate is over since {}", validity.not_after)).hint(
            "if this box's clock is right, make a new token with `fairlead-cloud site token NAME` and run `fairlead-edge join --replace`; \
             if not, set it (`timedatectl`)",
        ));
    }
    if now < validity.not_before {
        return Err(Failure::new(format!("the site's certificate begins at {}, but this box's clock says {now}", validity.not_before))
            .hint("set the clock (`timedatectl`) or give the box an NTP server that it can reach"));
    }
    let hours = left.as_secs() / 3600;
    Ok(format!(
        "certificate until {} ({} days {} hours left), renewed from {} on",
        validity.not_after,
        hours / 24,
        hours % 24,
        validity.half_life()
    ))
}
