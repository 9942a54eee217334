//! RFC 2131, sections 4.3.1 and 4.4.5, RFC 2132, sections 9.2 and 9.11: how long a lease is.

use fairlead::failure::{Failure, Result};

use super::Case;
use crate::message::{Message, code};
use crate::server::Product::{Edge, Kea};
use crate::site::Profile::{Plain, Policy};
use crate::site::{LEASE, LEAST_LEASE, LONGEST_LEASE, Site, expect, expect_eq};
use crate::wire::Path;

pub(super) const CASES: &[Case] = &[
    Case::new("rfc2131_4_4_5_t1_is_before_t2_and_t2_before_the_end", Plain, |site| {
        let offer = site.offer(&Message::discover(site.new_mac()), Path::Broadcast)?;
        let times = [code::RENEWAL_TIME, code::REBINDING_TIME, code::LEASE_TIME].map(|option| offer.option_number(option));
        let [Some(renewal), Some(rebinding), Some(lease)] = times else { return Err(Failure::new(format!("the times are {times:?}"))) };
        expect(0 < renewal && renewal < rebinding && rebinding < lease, || format!("the times are {times:?}"))
    }),
    Case::new("rfc2132_9_2_lease_time_that_the_client_wants_is_granted_within_bounds", Policy, |site| {
        expect_eq("the lease time", asked(site, 1200)?, 1200)
    }),
    Case::new("rfc2132_9_2_lease_time_below_the_least_is_raised_to_it", Policy, |site| {
        expect_eq("the lease time", asked(site, 30)?, LEAST_LEASE)
    })
    .only(&[Edge, Kea]),
    Case::new("rfc2132_9_2_lease_time_above_the_longest_is_cut_to_it", Policy, |site| {
        expect_eq("the lease time", asked(site, 7 * 86_400)?, LONGEST_LEASE)
    }),
    Case::new("rfc2131_3_3_infinite_lease_is_cut_to_the_longest", Policy, |site| {
        expect_eq("the lease time", asked(site, u32::MAX)?, LONGEST_LEASE)
    }),
    Case::new("rfc2131_4_3_1_client_that_asks_for_no_lease_time_has_the_default", Plain, |site| {
        let offer = site.offer(&Message::discover(site.new_mac()), Path::Broadcast)?;
        expect_eq("the lease time", offer.option_number(code::LEASE_TIME), Some(LEASE))
    }),
    Case::new("rfc2131_4_4_5_times_of_a_wanted_lease_follow_its_length", Policy, |site| {
        let discover = Message::discover(site.new_mac()).with(code::LEASE_TIME, &1200_u32.to_be_bytes());
        let offer = site.offer(&discover, Path::Broadcast)?;
        // Either may be left out: half and seven eighths of the lease then.
        let times = [code::RENEWAL_TIME, code::REBINDING_TIME].map(|option| offer.option_number(option));
        let [renewal, rebinding] = [times[0].unwrap_or(600), times[1].unwrap_or(1050)];
        expect(renewal < rebinding && rebinding < 1200, || format!("T1 and T2 of 1200 are {times:?}"))
    }),
];

/// The lease time for a new client that asks for that one.
fn asked(site: &Site, seconds: u32) -> Result<u32> {
    let discover = Message::discover(site.new_mac()).with(code::LEASE_TIME, &seconds.to_be_bytes());
    let acknowledged = site.lease(&discover, Path::Broadcast)?;
    acknowledged.option_number(code::LEASE_TIME).ok_or_else(|| Failure::new("the acknowledgement has no lease time"))
}
