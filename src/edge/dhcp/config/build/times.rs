//! Lease times: of one level, and whether those of all levels that hold for a machine fit together.

use std::time::Duration;

use toml::Spanned;

use super::sourced;
use crate::config_file::Source;
use crate::edge::dhcp::config::Subnet;
use crate::edge::dhcp::config::option_value::seconds;
use crate::edge::dhcp::config::policy::{Class, General, LeaseTimes, Origin, Sourced};
use crate::edge::dhcp::config::section::PolicyKeys;
use crate::failure::Failure;

const LEAST_LEASE_TIME: u32 = 60;
const LONGEST_LEASE_TIME: u32 = 365 * 86_400;

pub(super) fn build(source: &Source, keys: &PolicyKeys<'_>) -> Result<LeaseTimes, Failure> {
    let time = |text: Option<&Spanned<String>>, least: u32, what: &str, hint: &str| -> Result<Option<Sourced<u32>>, Failure> {
        let Some(text) = text else { return Ok(None) };
        let value = seconds(text.get_ref()).filter(|seconds| (least..=LONGEST_LEASE_TIME).contains(seconds));
        let value = value.ok_or_else(|| source.error(&text.span(), &format!("`{}` is not a {what}", text.get_ref()), hint))?;
        Ok(Some(sourced(source, &text.span(), value)))
    };
    let lease =
        |text| time(text, LEAST_LEASE_TIME, "lease time", "write a number and its unit, from \"1m\" to \"365d\": 90s, 30m, 12h, 7d");
    let part = |text| time(text, 1, "time", "write a number and its unit, less than the lease time: 30s, 30m, 12h");
    Ok(LeaseTimes {
        default: lease(keys.lease_time)?,
        min: lease(keys.min_lease_time)?,
        max: lease(keys.max_lease_time)?,
        renewal: part(keys.renewal_time)?,
        rebinding: part(keys.rebinding_time)?,
    })
}

/// A duration of a key of `[dhcp]`.
pub(super) fn duration(
    source: &Source,
    text: &Spanned<String>,
    key: &str,
    least: u32,
    most: u32,
    allowed: &str,
) -> Result<Duration, Failure> {
    let value = seconds(text.get_ref()).filter(|seconds| (least..=most).contains(seconds));
    value.map(|seconds| Duration::from_secs(u64::from(seconds))).ok_or_else(|| {
        let what = format!("`{key}` is `{}`, which is no duration that it can be", text.get_ref());
        source.error(&text.span(), &what, &format!("write a number and its unit, {allowed}"))
    })
}

/// Checks the times of every combination of levels that a machine can meet.
pub(super) fn check(source: &Source, general: &General, subnets: &[Subnet], classes: &[Class]) -> Result<(), Failure> {
    let outer = &general.policy.times;
    check_levels(source, &[outer])?;
    for class in classes {
        check_levels(source, &[&class.policy.times, outer])?;
    }
    for subnet in subnets {
        let own = &subnet.policy.times;
        check_levels(source, &[own, outer])?;
        for class in classes {
            check_levels(source, &[&class.policy.times, own, outer])?;
        }
        for reservation in subnet.reservations() {
            check_levels(source, &[&reservation.policy.times, own, outer])?;
        }
    }
    Ok(())
}

/// Checks what the first level that says something about each time makes of them together.
fn check_levels(source: &Source, levels: &[&LeaseTimes]) -> Result<(), Failure> {
    let first = |part: fn(&LeaseTimes) -> Option<Sourced<u32>>| levels.iter().find_map(|times| part(times));
    let default = first(|times| times.default);
    let (min, max) = (first(|times| times.min), first(|times| times.max));
    let (renewal, rebinding) = (first(|times| times.renewal), first(|times| times.rebinding));
    ordered(source, min, default, "min_lease_time", "lease_time", true)?;
    ordered(source, default, max, "lease_time", "max_lease_time", true)?;
    ordered(source, min, max, "min_lease_time", "max_lease_time", true)?;
    let half = default.map(|lease| Sourced { value: lease.value / 2, origin: lease.origin });
    let late = default.map(|lease| Sourced { value: lease.value.saturating_sub(lease.value / 8), origin: lease.origin });
    ordered(source, renewal.or(half), rebinding.or(late), "renewal_time", "rebinding_time", false)?;
    ordered(source, rebinding.or(late), default, "rebinding_time", "lease_time", false)?;
    Ok(())
}

fn ordered(
    source: &Source,
    less: Option<Sourced<u32>>,
    more: Option<Sourced<u32>>,
    less_key: &str,
    more_key: &str,
    may_be_equal: bool,
) -> Result<(), Failure> {
    let (Some(less), Some(more)) = (less, more) else { return Ok(()) };
    if less.value < more.value || (may_be_equal && less.value == more.value) {
        return Ok(());
    }
    let shown = |time: Sourced<u32>| {
        let value = humantime_serde::re::humantime::format_duration(Duration::from_secs(u64::from(time.value)));
        match time.origin {
            Origin::Line(line) => format!("{value} (line {line})"),
            Origin::BuiltIn => format!("{value} (built in)"),
        }
    };
    let line = [less.origin, more.origin].into_iter().filter_map(Origin::line);
    let relation = if may_be_equal { "is more than" } else { "is not less than" };
    Err(source.error_on_line(
        line.max().unwrap_or(1),
        &format!("`{less_key}` of {} {relation} `{more_key}` of {}", shown(less), shown(more)),
        "keep to min_lease_time <= lease_time <= max_lease_time, and to renewal_time < rebinding_time < lease_time, among the times that \
         hold for a machine; the two in between are a half and seven eighths of the lease time when left out",
    ))
}
