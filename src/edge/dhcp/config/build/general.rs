use std::time::Duration;

use toml::Spanned;

use super::level::{self, Level};
use super::times;
use crate::config_file::Source;
use crate::edge::dhcp::config::policy::{General, Limits, Origin, Sourced};
use crate::edge::dhcp::config::section::{DhcpSection, LimitsSection};
use crate::edge::lease::OFFER_HOLD;
use crate::failure::Failure;

const DEFAULT_LEASE_TIME: u32 = 3600;
/// All machines of a large site that come on together: none must lose what it was offered before it has said that it takes it.
const DEFAULT_OFFERS: u32 = 16_384;
const DEFAULT_QUARANTINE: u64 = 86_400;

pub(super) fn build(source: &Source, section: &DhcpSection) -> Result<General, Failure> {
    let mut policy = level::build(source, Level::Dhcp, section.policy())?;
    policy.times.default.get_or_insert(Sourced { value: DEFAULT_LEASE_TIME, origin: Origin::BuiltIn });
    let quarantine = |text| times::duration(source, text, "decline_quarantine", 60, 30 * 86_400, "from \"1m\" to \"30d\": 1h, 24h");
    let hold = |text| times::duration(source, text, "offer_hold", 5, 600, "from \"5s\" to \"10m\": 30s, 2m");
    Ok(General {
        policy,
        conflict_probe: section.conflict_probe.as_ref().is_none_or(|flag| *flag.get_ref()),
        decline_quarantine: section.decline_quarantine.as_ref().map_or(Ok(Duration::from_secs(DEFAULT_QUARANTINE)), quarantine)?,
        offer_hold: section.offer_hold.as_ref().map_or(Ok(OFFER_HOLD), hold)?,
        relays: section.relays.iter().map(|relay| relay.get_ref().0).collect(),
        limits: limits(source, &section.limits)?,
    })
}

fn limits(source: &Source, section: &LimitsSection) -> Result<Limits, Failure> {
    let within = |value: &Spanned<i64>, key: &str, least: u32, most: u32, about: &str| {
        let number = u32::try_from(*value.get_ref()).ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| {
            let what = format!("`dhcp.limits.{key}` is {}; it may be {least} to {most}", value.get_ref());
            source.error(&value.span(), &what, about)
        })
    };
    let offers = section.offers.as_ref().map_or(Ok(DEFAULT_OFFERS), |value| {
        within(value, "offers", 16, 1_000_000, "offers that wait for their REQUEST, in all subnets; 16384 unless you say otherwise")
    })?;
    let rate = |value| within(value, "client_rate", 4, 100_000, "datagrams of one client in ten seconds; 20 unless you say otherwise");
    Ok(Limits { offers: usize::try_from(offers).unwrap_or(usize::MAX), client_rate: section.client_rate.as_ref().map_or(Ok(20), rate)? })
}
