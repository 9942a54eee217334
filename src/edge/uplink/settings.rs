//! Keeps the site's settings and firmware as the cloud has them; the last good ones stay in use while the cloud is away.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Uplink;
use super::back_off::{BackOff, random_octet};
use super::error::{UplinkError, in_one_line};
use super::firmware_cache::FirmwareError;
use crate::clock::{self, Timestamp};
use crate::edge::state::StateError;
use crate::wire::uplink::{FirmwareFile, SiteSettings};

/// Settings that can be served: every firmware file that they name is here.
#[derive(Clone, Debug)]
pub struct CompleteSettings {
    /// What the cloud says.
    pub settings: SiteSettings,
    /// The files that the settings name, in that order.
    pub firmware: Vec<(FirmwareFile, Bytes)>,
}

/// Why new settings are not in use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The cloud can't be asked.
    #[error("cannot fetch the site's settings")]
    Fetch(#[source] UplinkError),
    /// A firmware file is missing.
    #[error("the new settings are not used yet")]
    Firmware(#[source] FirmwareError),
    /// The disk refuses.
    #[error("the new settings are not used, since they can't be kept")]
    Store(#[source] StateError),
}

impl SettingsError {
    fn remedy(&self) -> String {
        match self {
            Self::Fetch(source) => source.remedy(),
            Self::Firmware(FirmwareError::Fetch { source, .. }) => source.remedy(),
            Self::Firmware(FirmwareError::Store { .. }) | Self::Store(_) => {
                "make room on the state folder's disk, and see that it is writable".to_owned()
            }
            Self::Firmware(_) => "see the cloud's log, and build its firmware again: `fairlead-cloud firmware build`".to_owned(),
        }
    }
}

const INTERVAL: Duration = Duration::from_secs(60);
const BACK_OFF: BackOff = BackOff::new(Duration::from_secs(2), Duration::from_secs(120));
/// A ticket that is further in the future is refused by the cloud.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Reads the last good settings from the disk, with those of their files that are whole.
///
/// # Errors
/// When the settings can't be read or are damaged.
pub fn last_good(uplink: &Uplink) -> Result<Option<CompleteSettings>, StateError> {
    let Some(settings) = uplink.state.settings(&uplink.identity())? else { return Ok(None) };
    let firmware = settings.firmware.iter().filter_map(|file| Some((file.clone(), uplink.firmware.look_up(file)?))).collect();
    Ok(Some(CompleteSettings { settings, firmware }))
}

/// Fetches the settings for ever and hands each change to `apply`, once all that it needs is on the disk.
pub async fn follow(uplink: Arc<Uplink>, last: Option<CompleteSettings>, apply: impl Fn(CompleteSettings) + Send) {
    let mut current = last.map(|last| (last.settings, last.firmware.len()));
    let mut back_off = BACK_OFF;
    let mut clock_warned = false;
    let mut failing = false;
    loop {
        let pause = match fetch(&uplink, current.as_ref()).await {
            Ok(answer) => {
                if failing {
                    tracing::info!("the cloud answers again");
                    failing = false;
                }
                clock_warned = warn_of_clock(answer.cloud_time, clock_warned);
                if let Some(changed) = answer.changed {
                    tracing::info!(
                        boot_url = changed.settings.boot_url,
                        firmware = changed.firmware.len(),
                        "site settings from the cloud are in use"
                    );
                    if changed.firmware.is_empty() {
                        tracing::warn!(
                            hint = "run `fairlead-cloud firmware build` in the cloud",
                            "the cloud has no firmware for this site: machines will ask for boot files that are not here"
                        );
                    }
                    uplink.firmware.keep_only(&changed.settings.firmware);
                    current = Some((changed.settings.clone(), changed.firmware.len()));
                    apply(changed);
                }
                back_off.succeeded();
                INTERVAL
            }
            Err(error) => {
                let pause = back_off.failed(random_octet());
                let remedy = error.remedy();
                // Once in words for the operator; the repeats are for who looks closer.
                if failing {
                    tracing::debug!(error = in_one_line(&error), "still no settings; next try in {} s", pause.as_secs());
                } else {
                    tracing::warn!(
                        hint = remedy,
                        "{}; {}; next try in {} s",
                        in_one_line(&error),
                        if current.is_some() {
                            "the last good ones stay in use"
                        } else {
                            "machines can't boot from here until they are there"
                        },
                        pause.as_secs()
                    );
                }
                failing = true;
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

struct Fetched {
    /// The cloud's clock, and the box's at the same moment.
    cloud_time: (Timestamp, Timestamp),
    changed: Option<CompleteSettings>,
}

async fn fetch(uplink: &Uplink, current: Option<&(SiteSettings, usize)>) -> Result<Fetched, SettingsError> {
    let client = uplink.client();
    let asked = clock::now();
    let settings: SiteSettings = client.get("/site/v1/settings").await.map_err(SettingsError::Fetch)?;
    // The answer was made somewhere between question and arrival.
    let cloud_time = (settings.now, asked.after(clock::now().since(asked) / 2));
    let same = |(current, files): &(SiteSettings, usize)| {
        *files == current.firmware.len() && SiteSettings { now: current.now, ..settings.clone() } == *current
    };
    if current.is_some_and(same) {
        return Ok(Fetched { cloud_time, changed: None });
    }
    let mut firmware = Vec::with_capacity(settings.firmware.len());
    for file in &settings.firmware {
        firmware.push((file.clone(), uplink.firmware.fetch(&client, file).await.map_err(SettingsError::Firmware)?));
    }
    uplink.state.store_settings(&uplink.identity(), &settings).map_err(SettingsError::Store)?;
    Ok(Fetched { cloud_time, changed: Some(CompleteSettings { settings, firmware }) })
}

/// Says so when the two clocks differ by more than tickets can bear; returns whether they do. Repeated only after they agreed again.
fn warn_of_clock((cloud, own): (Timestamp, Timestamp), warned: bool) -> bool {
    let (ahead, behind) = (own.since(cloud), cloud.since(own));
    let difference = ahead.max(behind);
    if difference <= CLOCK_TOLERANCE {
        if warned {
            tracing::info!("the box's clock agrees with the cloud's again");
        }
        return false;
    }
    if !warned {
        tracing::error!(
            hint = "set the clock (`timedatectl`) or give the box an NTP server that it can reach",
            "the box's clock is {} s {} the cloud's: boot tickets that it signs will be refused",
            difference.as_secs(),
            if ahead > behind { "ahead of" } else { "behind" }
        );
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_by_more_than_a_minute_are_told_once() {
        let at = |cloud, own, warned| warn_of_clock((Timestamp::from_secs(cloud), Timestamp::from_secs(own)), warned);
        assert!(!at(1000, 1060, false));
        assert!(!at(1060, 1000, true));
        assert!(at(1000, 1061, false));
        assert!(at(1061, 1000, true));
    }
}
