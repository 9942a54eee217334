//! `make demo`: the main job, shown.

use std::io::{self, Write as _};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fairlead::failure::{Failure, Result};

use crate::lab::edge::Mode;
use crate::lab::firmware::Firmware;
use crate::lab::node::{BootOrder, Hardware};
use crate::lab::{Lab, Settings, interrupt, workshop};
use crate::story::{Story, follow};

/// What the environment asks for.
struct Parameters {
    nodes: u8,
    firmware: Firmware,
    mode: Mode,
    keep: bool,
}

impl Parameters {
    fn from_environment() -> Result<Self> {
        let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let wrong =
            |name: &str, value: &str, allowed: &str| Failure::new(format!("{name}={value} is not known")).hint(format!("use {allowed}"));
        let nodes = match value("NODES") {
            None => 1,
            Some(text) => match text.parse() {
                Ok(count @ 1..=16) => count,
                _ => return Err(wrong("NODES", &text, "a number from 1 to 16")),
            },
        };
        let firmware = match value("FIRMWARE").as_deref() {
            None | Some("uefi") => Firmware::Uefi,
            Some("bios") => Firmware::Bios,
            Some("http") => Firmware::UefiHttp,
            Some(other) => return Err(wrong("FIRMWARE", other, "uefi, bios or http")),
        };
        let mode = match value("MODE").as_deref() {
            None | Some("server") => Mode::Server,
            Some("proxy") => Mode::Proxy,
            Some(other) => return Err(wrong("MODE", other, "server or proxy")),
        };
        let keep = match value("KEEP").as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(other) => return Err(wrong("KEEP", other, "0 or 1")),
        };
        Ok(Self { nodes, firmware, mode, keep })
    }
}

/// The last line, when every step happened.
const WELL: &str = "\nchain: ok";

/// Runs the demo; its last line says that all went well.
pub(crate) fn run() -> Result<()> {
    let parameters = Parameters::from_environment()?;
    let begin = Instant::now();
    let progress = |text: &str| say(&format!("{:6.1} s  {text}", begin.elapsed().as_secs_f64()));

    let workshop = workshop(&progress)?;
    progress(&workshop.acceleration);
    let settings = Settings { mode: parameters.mode, admission: "approve", ..Settings::default() };
    let mut lab = Lab::build(workshop, &settings, &progress)?;
    let mut nodes = Vec::new();
    for number in 1..=parameters.nodes {
        let hardware = Hardware { number, firmware: parameters.firmware, boot_order: BootOrder::DiskFirst };
        progress(&format!("node{number} ({}) is switched on, with an empty disk", hardware.mac()));
        nodes.push(lab.switch_on(hardware)?);
    }
    let stories = follow(&lab, &settings, &mut nodes, &|node, proof| progress(&format!("{}: {}", node.name(), proof.step.name())))?;

    for (node, story) in nodes.iter().zip(&stories) {
        say(&format!("\n{}, {}, {}", node.name(), node.hardware().mac(), node.hardware().serial()));
        tell(story);
    }
    if parameters.keep {
        tell_how_to_look_around(&lab, nodes.len());
        interrupt::await_interrupt();
        say(WELL);
        loop {
            sleep(Duration::from_secs(3600));
        }
    }
    drop(nodes);
    lab.directory.discard();
    drop(lab);
    say(WELL);
    Ok(())
}

fn tell(story: &Story) {
    let mut proofs = story.proofs.clone();
    proofs.sort_by_key(|proof| proof.at);
    let begin = proofs.first().map(|proof| proof.at).unwrap_or_default();
    for proof in proofs {
        say(&format!("  {:+8.2} s  {:28} {}", proof.at.since(begin).as_secs_f64(), proof.step.name(), proof.text));
    }
}

fn tell_how_to_look_around(lab: &Lab, nodes: usize) {
    let directory = lab.directory.path().display();
    say(&format!("\nthe lab stays up; Ctrl-C ends and removes it\n  {:28} {directory}", "logs, consoles, capture:"));
    say(&format!("  {:28} tail -f {directory}/node*/serial.log", format!("{nodes} consoles:")));
    say(&format!("  {:28} {} session list", "the cloud:", lab.cloud.shown_command()));
    for (what, namespace) in [("cloud", &lab.network.cloud), ("edge box", &lab.network.edge), ("site's switch", &lab.network.switch)] {
        let what = format!("a shell in the {what}:");
        say(&format!("  {what:28} ip netns exec {} bash", namespace.name()));
    }
}

fn say(text: &str) {
    // Whoever reads along may have gone; the exit code still tells.
    drop(writeln!(io::stdout(), "{text}"));
}
