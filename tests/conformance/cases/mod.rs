//! The battery: what each case is called, what it needs, and which servers can be asked at all.

mod addresses;
mod boot;
mod lease_time;
mod malformed;
mod options;
mod probe;
mod proxy;
mod relay;
mod reservation;
mod states;

use fairlead::failure::Result;

use crate::server::Product;
use crate::site::{Profile, Site};

/// One thing that a standard says about a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// The standard's section, and what it says.
    pub(crate) name: &'static str,
    /// The set-up that it needs.
    pub(crate) profile: Profile,
    /// The servers that have what it is about.
    pub(crate) applies_to: &'static [Product],
    /// What is sent, and what must come back.
    pub(crate) run: fn(&Site) -> Result<()>,
}

impl Case {
    const fn new(name: &'static str, profile: Profile, run: fn(&Site) -> Result<()>) -> Self {
        Self { name, profile, applies_to: &Product::ALL, run }
    }

    const fn only(mut self, products: &'static [Product]) -> Self {
        self.applies_to = products;
        self
    }
}

/// What `fairlead-edge` is still being taught: not run, and not in the table.
const AWAITED: &[&str] = &[
    "rfc5227_2_1_1_address_is_asked_for_by_arp_before_it_is_offered",
    "rfc2131_3_1_address_that_a_stranger_uses_is_not_offered",
    "rfc2132_9_2_lease_time_that_the_client_wants_is_granted_within_bounds",
    "rfc2132_9_2_lease_time_below_the_least_is_raised_to_it",
    "rfc2132_9_2_lease_time_above_the_longest_is_cut_to_it",
    "rfc2131_3_3_infinite_lease_is_cut_to_the_longest",
    "rfc4039_3_1_discover_with_rapid_commit_is_acknowledged_at_once",
    "rfc2131_4_4_5_times_of_a_wanted_lease_follow_its_length",
    "rfc2131_4_1_what_does_not_fit_the_options_field_goes_into_file_and_sname",
    "rfc2132_9_13_vendor_class_decides_about_an_option",
    "rfc2132_9_14_reservation_by_client_identifier_holds_for_any_hardware",
    "rfc2132_3_14_host_name_of_a_reservation_is_told_to_its_client",
    "rfc3046_3_1_reservation_by_circuit_holds_for_whoever_is_there",
    "node_that_may_not_boot_gets_an_address_and_no_boot_file_on_every_path",
    "rfc3527_2_link_selection_names_the_network_and_the_relay_gets_the_answer",
    "rfc3011_2_subnet_selection_names_the_network_and_is_repeated",
    "rfc5107_4_server_identifier_is_the_one_that_the_relay_asks_for",
];

/// All of them, in the order of the table.
pub(crate) fn all() -> Vec<Case> {
    [
        states::CASES,
        addresses::CASES,
        lease_time::CASES,
        options::CASES,
        relay::CASES,
        reservation::CASES,
        boot::CASES,
        proxy::CASES,
        probe::CASES,
        malformed::CASES,
    ]
    .concat()
    .into_iter()
    .filter(|case| !AWAITED.contains(&case.name))
    .collect()
}
