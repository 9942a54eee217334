//! A boot, step by step, from the first DHCP message to a node that runs from its disk: what proves each step, and what is
//! likely when it does not happen.

use std::collections::HashMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fairlead::clock::{self, Timestamp};
use fairlead::failure::{Failure, Result};
use fairlead::wire::Digest;

use crate::lab::edge::Mode;
use crate::lab::files::{find_file, read};
use crate::lab::firmware::Firmware;
use crate::lab::node::Node;
use crate::lab::session::Session;
use crate::lab::{Lab, Settings};

/// A step of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    AddressLeased,
    ProxyAnswered,
    FirmwareFetched,
    TlsEstablished,
    TicketAccepted,
    WaitedForApproval,
    Approved,
    KernelFetched,
    InitramfsFetched,
    ConfigFetched,
    ConfigComplete,
    Installed,
    RunsFromDisk,
}

impl Step {
    /// All steps, in the order in which they happen.
    const ALL: [Self; 13] = [
        Self::AddressLeased,
        Self::ProxyAnswered,
        Self::FirmwareFetched,
        Self::TlsEstablished,
        Self::TicketAccepted,
        Self::WaitedForApproval,
        Self::Approved,
        Self::KernelFetched,
        Self::InitramfsFetched,
        Self::ConfigFetched,
        Self::ConfigComplete,
        Self::Installed,
        Self::RunsFromDisk,
    ];

    /// The steps of a boot in a lab with these settings.
    fn of(settings: &Settings) -> Vec<Self> {
        let is_part = |step: &Self| match step {
            Self::ProxyAnswered => settings.mode == Mode::Proxy,
            Self::WaitedForApproval | Self::Approved => settings.admission == "approve",
            _ => true,
        };
        Self::ALL.into_iter().filter(is_part).collect()
    }

    /// What happened, in words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AddressLeased => "address leased",
            Self::ProxyAnswered => "proxyDHCP answer",
            Self::FirmwareFetched => "iPXE fetched",
            Self::TlsEstablished => "TLS to the cloud",
            Self::TicketAccepted => "boot ticket accepted",
            Self::WaitedForApproval => "waits for approval",
            Self::Approved => "approved",
            Self::KernelFetched => "kernel fetched",
            Self::InitramfsFetched => "initramfs fetched",
            Self::ConfigFetched => "machine config fetched",
            Self::ConfigComplete => "config complete on the node",
            Self::Installed => "installed",
            Self::RunsFromDisk => "runs from its disk",
        }
    }

    /// Why it may not have happened.
    fn likely_reason(self) -> &'static str {
        match self {
            Self::AddressLeased => "the firmware did not ask, or no DHCP server answered; the console shows what it tried",
            Self::ProxyAnswered => "the edge did not hear the firmware, or answered too late; its log says which",
            Self::FirmwareFetched => "the DHCP answer named no boot file for this firmware, or TFTP and HTTP of the edge did not answer",
            Self::TlsEstablished => {
                "iPXE did not get autoexec.ipxe or a ticket, can't reach the cloud, or does not trust its certificate; the console says which"
            }
            Self::TicketAccepted => "the cloud refused the ticket: clocks that differ, or a site that it does not know; its log says which",
            Self::WaitedForApproval => "the cloud let the node in without asking: look at the site's admission",
            Self::Approved => "`fairlead-cloud node approve` failed",
            Self::KernelFetched => "the node did not ask again after the approval, or the kernel in the cloud is damaged",
            Self::InitramfsFetched => "the download broke off, or the node has too little memory",
            Self::ConfigFetched => {
                "the kernel did not start, got no address, or does not trust the cloud's certificate; the console says which"
            }
            Self::ConfigComplete => "what the node got is not what the cloud handed out, or is no machine config",
            Self::Installed => "the disk in the machine config is not there, or is too small",
            Self::RunsFromDisk => "the firmware does not boot the disk, or iPXE did not give up its place to it",
        }
    }

    /// How long it may take after the step before it, under emulation on a busy machine.
    fn patience(self) -> Duration {
        match self {
            Self::AddressLeased | Self::ProxyAnswered | Self::FirmwareFetched | Self::TlsEstablished | Self::RunsFromDisk => {
                Duration::from_mins(4)
            }
            _ => Duration::from_mins(3),
        }
    }
}

/// A step that happened.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    pub(crate) step: Step,
    pub(crate) at: Timestamp,
    /// What proves it.
    pub(crate) text: String,
}

/// The boot of one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    pub(crate) proofs: Vec<Proof>,
}

impl Story {
    /// The proof of a step.
    pub(crate) fn proof(&self, step: Step) -> Option<&Proof> {
        self.proofs.iter().find(|proof| proof.step == step)
    }
}

/// Follows the boots of these nodes to their end, and lets them in when they wait for a person.
///
/// # Errors
/// The first step that did not happen, with the likely reason and the logs.
pub(crate) fn follow(lab: &Lab, settings: &Settings, nodes: &mut [Node], progress: &dyn Fn(&Node, &Proof)) -> Result<Vec<Story>> {
    let steps = Step::of(settings);
    let mut stories = vec![Story::default(); nodes.len()];
    let mut since: HashMap<usize, Instant> = HashMap::new();
    loop {
        let mut all_done = true;
        for (index, (node, story)) in nodes.iter_mut().zip(stories.iter_mut()).enumerate() {
            let Some(&step) = steps.get(story.proofs.len()) else { continue };
            all_done = false;
            let begin = *since.entry(index).or_insert_with(Instant::now);
            if let Some((at, text)) = look_for(lab, settings, node, step)? {
                let proof = Proof { step, at, text };
                progress(node, &proof);
                story.proofs.push(proof);
                since.insert(index, Instant::now());
            } else if let Some(end) = node.has_ended() {
                return Err(missing(lab, node, step, &end));
            } else if begin.elapsed() > step.patience() {
                return Err(missing(lab, node, step, &format!("not within {} s", step.patience().as_secs())));
            }
        }
        if all_done {
            for (node, story) in nodes.iter().zip(stories.iter_mut()) {
                settle(lab, settings, node, story)?;
            }
            return Ok(stories);
        }
        sleep(Duration::from_millis(200));
    }
}

/// Puts the edge's reports, as the cloud has them, in the place of what its log said before the cloud knew of the boot.
fn settle(lab: &Lab, settings: &Settings, node: &Node, story: &mut Story) -> Result<()> {
    for proof in &mut story.proofs {
        let is_the_edges = match proof.step {
            Step::AddressLeased => settings.mode == Mode::Server,
            Step::ProxyAnswered | Step::FirmwareFetched => true,
            _ => false,
        };
        if is_the_edges {
            let found = look_for(lab, settings, node, proof.step)?;
            (proof.at, proof.text) = found.ok_or_else(|| missing(lab, node, proof.step, "the edge did not report it to the cloud"))?;
        }
    }
    Ok(())
}

fn missing(lab: &Lab, node: &Node, step: Step, reason: &str) -> Failure {
    let console = node.console().lines();
    let last = console.get(console.len().saturating_sub(8)..).unwrap_or_default().join("\n");
    Failure::new(format!("did not happen on {}: {}", node.name(), step.name()))
        .because(reason)
        .because(format!("likely: {}", step.likely_reason()))
        .because(format!("the console's last lines:\n{last}"))
        .hint(format!(
            "read {} (console), {} (edge), {} (cloud); all logs are in {}",
            node.console().path().display(),
            lab.edge.log().path().display(),
            lab.cloud.log().path().display(),
            lab.directory.path().display()
        ))
}

/// When and by what a step is proved, or nothing as long as it is not.
fn look_for(lab: &Lab, settings: &Settings, node: &Node, step: Step) -> Result<Option<(Timestamp, String)>> {
    match step {
        Step::ConfigComplete => return config_complete(lab, node),
        Step::Installed => return Ok(on_console(node, "stand-in: installed ").map(said)),
        Step::RunsFromDisk => return runs_from_disk(node),
        Step::AddressLeased if settings.mode == Mode::Proxy => return Ok(leased_by_dnsmasq(lab, node)),
        _ => {}
    }
    // Later boots of the node are sent to its disk; the story is that of the first.
    let Some(session) = Session::all_of(&lab.cloud, node.hardware().mac())?.pop() else { return Ok(from_the_edges_log(lab, node, step)) };
    let found = |kind: &str| session.first(kind).map(|event| (event.at, event.summary.clone()));
    Ok(match step {
        Step::AddressLeased => found("leased"),
        Step::ProxyAnswered => found("proxy_answered"),
        Step::FirmwareFetched => firmware_fetched(lab, node, &session)?,
        Step::TlsEstablished => match session.first("ticket_accepted") {
            Some(event) => Some((event.at, format!("{}; {}", event.detail("tls"), trusted_root(lab, node)?))),
            None => None,
        },
        Step::TicketAccepted => found("ticket_accepted"),
        Step::WaitedForApproval => found("waiting"),
        Step::Approved => {
            if node.console().find(&session.node_field("code")).is_some() && session.first("approved").is_none() {
                lab.cloud.run(&["node", "approve", &node.hardware().mac().to_string()])?;
            }
            found("approved")
        }
        Step::KernelFetched => blob_fetched(&session, "kernel", lab.image().kernel_digest)?,
        Step::InitramfsFetched => blob_fetched(&session, "initramfs", lab.image().initramfs_digest)?,
        Step::ConfigFetched => found("config_served"),
        Step::ConfigComplete | Step::Installed | Step::RunsFromDisk => None,
    })
}

/// What the edge says of a boot that the cloud does not know yet.
fn from_the_edges_log(lab: &Lab, node: &Node, step: Step) -> Option<(Timestamp, String)> {
    let pattern = match step {
        Step::AddressLeased => "leased ".to_owned(),
        Step::ProxyAnswered => "answered beside ".to_owned(),
        Step::FirmwareFetched => format!("took {} over ", firmware_file(node)),
        _ => return None,
    };
    let mac = node.hardware().mac().to_string();
    let line = lab.edge.log().lines().into_iter().find(|line| line.contains(&pattern) && line.contains(&mac))?;
    Some((clock::now(), line))
}

fn firmware_file(node: &Node) -> &'static str {
    match node.hardware().firmware {
        Firmware::Bios => "undionly.kpxe",
        Firmware::Uefi | Firmware::UefiHttp => "snponly.efi",
    }
}

/// When a line was first seen, and the line; a console has no clock of its own.
fn on_console(node: &Node, pattern: &str) -> Option<(Timestamp, String)> {
    node.console().find(pattern).map(|line| (clock::now(), line))
}

fn leased_by_dnsmasq(lab: &Lab, node: &Node) -> Option<(Timestamp, String)> {
    let log = lab.dnsmasq.as_ref()?.log();
    let mac = node.hardware().mac().to_string();
    let line = log.lines().into_iter().find(|line| line.contains("DHCPACK") && line.contains(&mac))?;
    Some((clock::now(), line))
}

fn firmware_fetched(lab: &Lab, node: &Node, session: &Session) -> Result<Option<(Timestamp, String)>> {
    let name = firmware_file(node);
    let Some(event) = session.all("file_served").find(|event| event.detail("file") == name) else { return Ok(None) };
    let sealed = find_file(&lab.cloud.directory().join("state"), &|path| path.ends_with(name))
        .ok_or_else(|| Failure::new(format!("the cloud has no {name}")))?;
    let digest = Digest::of(&read(&sealed)?).to_string();
    if event.detail("sha256") != digest {
        return Err(Failure::new(format!("the edge served {name} {}, and the cloud sealed {digest}", event.detail("sha256"))));
    }
    Ok(Some((event.at, format!("{name} by {}, {} octets, sha256 {digest}", event.detail("protocol"), event.detail("size")))))
}

fn trusted_root(lab: &Lab, node: &Node) -> Result<String> {
    let root = lab.cloud.root_fingerprint()?;
    Ok(match node.hardware().firmware {
        Firmware::Bios => format!("checked against root {root} from DHCP option 175.90"),
        Firmware::Uefi | Firmware::UefiHttp => format!("checked against root {root}, sealed into iPXE"),
    })
}

fn blob_fetched(session: &Session, name: &str, digest: Digest) -> Result<Option<(Timestamp, String)>> {
    let Some(event) = session.all("blob_served").find(|event| event.detail("name") == name) else { return Ok(None) };
    let served = event.detail("sha256");
    if served != digest.to_string() {
        return Err(Failure::new(format!("the cloud served a {name} of digest {served}, and the operator brought {digest}")));
    }
    Ok(Some((event.at, format!("{} octets, sha256 {served}", event.detail("size")))))
}

/// The node's own word on what it got, held against the cloud's.
fn config_complete(lab: &Lab, node: &Node) -> Result<Option<(Timestamp, String)>> {
    let Some((at, line)) = on_console(node, "stand-in: config complete ") else { return Ok(None) };
    let Some(session) = Session::all_of(&lab.cloud, node.hardware().mac())?.pop() else { return Ok(None) };
    let served = session.first("config_served").map(|event| event.detail("sha256")).unwrap_or_default();
    let hostname = session.node_field("hostname");
    for wanted in [
        "source=talos.config ".to_owned(),
        format!("sha256={served} "),
        format!("hostname={hostname} "),
        "tailscale_key=present".to_owned(),
    ] {
        if !line.contains(&wanted) {
            return Err(Failure::new(format!("the node's config is not what the cloud handed out: no `{wanted}` in `{line}`")));
        }
    }
    let documents = line.split(' ').find(|word| word.starts_with("documents=")).unwrap_or_default();
    Ok(Some((at, format!("sha256 {served}, as the cloud handed it out; {documents} hostname={hostname}"))))
}

fn runs_from_disk(node: &Node) -> Result<Option<(Timestamp, String)>> {
    let Some((at, line)) = on_console(node, "stand-in: booted from ") else { return Ok(None) };
    let first = node.console().find("stand-in: config complete ").unwrap_or_default();
    let digest = |line: &str| line.split(' ').find(|word| word.starts_with("sha256=")).map(str::to_owned);
    if !line.contains("booted from disk source=STATE") || digest(&line) != digest(&first) {
        return Err(Failure::new(format!("the node does not run what it installed: `{line}` after `{first}`")));
    }
    Ok(Some((at, format!("the console says: booted from disk, config from STATE, {}", digest(&line).unwrap_or_default()))))
}

/// What the stand-in said, without its name.
fn said((at, line): (Timestamp, String)) -> (Timestamp, String) {
    (at, format!("the console says: {}", line.trim_start_matches("stand-in: ")))
}
