//! perfdhcp, and what it says.

use std::time::Duration;

use fairlead::failure::{Failure, Result};
use fairlead_lab::process::output;

use super::site::{CLIENT_INTERFACE, SERVER, Site};

/// What a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Four-way exchanges begun per second.
    pub(crate) rate: u32,
    /// Renewals per second beside them.
    pub(crate) renewals: u32,
    /// Different clients.
    pub(crate) clients: u32,
    pub(crate) duration: Duration,
}

/// One kind of exchange.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchanges {
    pub(crate) sent: u32,
    pub(crate) received: u32,
    /// Each answer's time in milliseconds, where it was asked for.
    pub(crate) times: Vec<f64>,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// DISCOVER to OFFER.
    pub(crate) offers: Exchanges,
    /// REQUEST to ACK.
    pub(crate) acks: Exchanges,
    /// A renewing REQUEST to its ACK.
    pub(crate) renewals: Exchanges,
}

impl Exchanges {
    /// The part that was not answered.
    pub(crate) fn drops(&self) -> f64 {
        if self.sent == 0 { 0.0 } else { f64::from(self.sent.saturating_sub(self.received)) / f64::from(self.sent) }
    }
}

impl Outcome {
    /// The part that was not answered, of the kind that had it worst.
    pub(crate) fn drops(&self) -> f64 {
        self.offers.drops().max(self.acks.drops()).max(self.renewals.drops())
    }
}

/// Runs a load to its end. With `times`, each answer's time is kept.
pub(crate) fn run(site: &Site, load: Load, times: bool) -> Result<Outcome> {
    let mut command = site.client_command("perfdhcp");
    command.args(["-4", "-l", CLIENT_INTERFACE, "-W", "1000000"]);
    command.args(["-r", &load.rate.to_string(), "-R", &load.clients.to_string(), "-p", &load.duration.as_secs().to_string()]);
    if load.renewals > 0 {
        command.args(["-f", &load.renewals.to_string()]);
    }
    if times {
        command.args(["-x", "t"]);
    }
    let said = output(command.arg(SERVER.to_string()))?;
    read(&String::from_utf8_lossy(&said.stdout))
}

/// Runs the boot storm: all clients at once, each asking again until it has an address. Returns how long that took.
pub(crate) fn avalanche(site: &Site, clients: u32) -> Result<Duration> {
    let mut command = site.client_command("perfdhcp");
    command.args(["-4", "-l", CLIENT_INTERFACE, "--scenario", "avalanche", "-R", &clients.to_string(), &SERVER.to_string()]);
    let said = output(&mut command)?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let taken = said.lines().find_map(|line| line.strip_prefix("It took ")?.split(' ').next().and_then(duration));
    taken.ok_or_else(|| not_understood(&said))
}

/// A duration as perfdhcp writes it: `00:00:02.003333`.
fn duration(text: &str) -> Option<Duration> {
    let seconds = text.split(':').map(|part| part.parse::<f64>().ok()).try_fold(0.0, |sum, part| Some(sum * 60.0 + part?))?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn read(said: &str) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut kind = None;
    for line in said.lines() {
        if let Some(rest) = line.strip_prefix("***Statistics for: ") {
            kind = Some(rest.trim_end_matches('*').to_owned());
        } else if let Some(rest) = line.strip_prefix("***Timestamps for packets: ") {
            kind = Some(rest.trim_end_matches('*').to_owned());
        }
        let Some(kind) = kind.as_deref() else { continue };
        let exchanges = match kind {
            "DISCOVER-OFFER" => &mut outcome.offers,
            "REQUEST-ACK" => &mut outcome.acks,
            _ if kind.starts_with("REQUEST-ACK") => &mut outcome.renewals,
            _ => continue,
        };
        if let Some(rest) = line.strip_prefix("sent packets: ") {
            exchanges.sent = rest.trim().parse().map_err(|_| not_understood(said))?;
        } else if let Some(rest) = line.strip_prefix("received packets: ") {
            exchanges.received = rest.trim().parse().map_err(|_| not_understood(said))?;
        } else if let Some(moment) = line.strip_prefix("sent / received:").map(milliseconds) {
            exchanges.times.extend(moment);
        }
    }
    // Its own rate counts the time that it waited at the end, too.
    if outcome.offers.sent == 0 { Err(not_understood(said)) } else { Ok(outcome) }
}

/// The milliseconds between the two moments of a line, which are in seconds.
fn milliseconds(rest: &str) -> Option<f64> {
    let mut moments = rest.split_ascii_whitespace().filter_map(|word| word.parse::<f64>().ok());
    let (sent, received) = (moments.next()?, moments.next()?);
    Some((received - sent) * 1000.0)
}

fn not_understood(said: &str) -> Failure {
    Failure::new("perfdhcp did not say what was expected").because(said.trim().to_owned())
}
