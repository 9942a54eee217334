//! RFC 2132 and its successors: what goes into an answer, and how.

use std::net::Ipv4Addr;

use fairlead::failure::{Failure, Result};

use super::Case;
use crate::message::{Message, code, encoded};
use crate::server::Product::{Dnsmasq, Edge, Kea};
use crate::site::Profile::{Plain, Policy};
use crate::site::{LONG_VALUE, Site, expect, expect_eq};
use crate::wire::Path;

/// An Ethernet frame's room for a DHCP message: 1500 less the headers of IP and UDP.
const ETHERNET: [u8; 2] = 1472_u16.to_be_bytes();

pub(super) const CASES: &[Case] = &[
    Case::new("rfc2132_9_8_options_come_in_the_order_that_the_client_listed", Plain, |site| {
        let listed = [code::DOMAIN_NAME, code::TIME_SERVERS, code::NAME_SERVERS, code::ROUTERS, code::SUBNET_MASK];
        let offer = site.offer(&Message::discover(site.new_mac()).asks_for(&listed), Path::Broadcast)?;
        let found: Vec<u8> = offer.codes().into_iter().filter(|code| listed.contains(code)).collect();
        // RFC 2132, section 3.3: the mask before the routers, whatever the order.
        let place = |wanted: u8| found.iter().position(|code| *code == wanted);
        let others = |codes: &[u8]| codes.iter().copied().filter(|code| *code != code::SUBNET_MASK).collect::<Vec<u8>>();
        let is_in_order = others(&found) == others(&listed) && place(code::SUBNET_MASK) < place(code::ROUTERS);
        expect(is_in_order, || format!("{listed:?} were listed, and {found:?} came"))
    }),
    Case::new("rfc2132_9_8_option_that_the_client_did_not_list_is_left_out", Plain, |site| {
        let offer = site.offer(&Message::discover(site.new_mac()).asks_for(&[code::SUBNET_MASK, code::ROUTERS]), Path::Broadcast)?;
        for option in [code::NAME_SERVERS, code::DOMAIN_NAME, code::TIME_SERVERS] {
            expect_eq(&format!("option {option}"), offer.option(option), None)?;
        }
        Ok(())
    }),
    Case::new("rfc2132_9_8_option_listed_twice_comes_once", Plain, |site| {
        let offer = site.offer(&Message::discover(site.new_mac()).asks_for(&[1, 3, 6, 3, 1, 6, 6]), Path::Broadcast)?;
        let codes = offer.codes();
        for option in [1, 3, 6] {
            expect_eq(&format!("how often option {option} came"), codes.iter().filter(|code| **code == option).count(), 1)?;
        }
        Ok(())
    }),
    Case::new("rfc2131_4_1_message_type_comes_first_enough_to_be_found_before_any_overload", Plain, |site| {
        let offer = site.offer(&Message::discover(site.new_mac()), Path::Broadcast)?;
        expect_eq("the first option", offer.codes().first().copied(), Some(code::MESSAGE_TYPE))
    }),
    Case::new("rfc2132_9_3_options_in_the_file_field_of_a_request_are_read", Plain, |site| {
        let wanted = Ipv4Addr::new(192, 0, 2, 234);
        let mut discover = Message::discover(site.new_mac()).with(code::OVERLOAD, &[1]);
        discover.file = [encoded(&[(code::REQUESTED_ADDRESS, wanted.octets().to_vec())]), vec![code::END]].concat();
        expect_eq("the address", site.offer(&discover, Path::Broadcast)?.yiaddr, wanted)
    }),
    Case::new("rfc2132_9_3_options_in_the_sname_field_of_a_request_are_read", Plain, |site| {
        let wanted = Ipv4Addr::new(192, 0, 2, 236);
        let mut discover = Message::discover(site.new_mac()).with(code::OVERLOAD, &[2]);
        discover.sname = [encoded(&[(code::REQUESTED_ADDRESS, wanted.octets().to_vec())]), vec![code::END]].concat();
        expect_eq("the address", site.offer(&discover, Path::Broadcast)?.yiaddr, wanted)
    }),
    Case::new("rfc3396_5_option_over_both_fields_of_a_request_is_joined", Plain, |site| {
        let address = leased_to(site, b"\0first-second")?;
        let mut discover = Message::discover(site.new_mac()).with(code::OVERLOAD, &[3]);
        discover.file = [encoded(&[(code::CLIENT_IDENTIFIER, b"\0first-".to_vec())]), vec![code::END]].concat();
        discover.sname = [encoded(&[(code::CLIENT_IDENTIFIER, b"second".to_vec())]), vec![code::END]].concat();
        expect_eq("the address of that client", site.offer(&discover, Path::Broadcast)?.yiaddr, address)
    }),
    Case::new("rfc3396_7_split_option_of_a_request_is_joined", Plain, |site| {
        let address = leased_to(site, b"\0a-long-identifier")?;
        let mut discover = Message::discover(site.new_mac());
        discover.options.push((code::CLIENT_IDENTIFIER, b"\0a-long-".to_vec()));
        discover.options.push((code::CLIENT_IDENTIFIER, b"identifier".to_vec()));
        expect_eq("the address of that client", site.offer(&discover, Path::Broadcast)?.yiaddr, address)
    }),
    Case::new("rfc3396_5_option_over_255_octets_is_split", Policy, |site| {
        let discover = Message::discover(site.new_mac()).asks_for(&[code::LONG]).with(code::MAXIMUM_SIZE, &ETHERNET);
        let offer = site.offer(&discover, Path::Broadcast)?;
        expect_eq("option 230", offer.option(code::LONG), Some(LONG_VALUE.to_vec()))?;
        expect(offer.codes().iter().filter(|code| **code == code::LONG).count() >= 2, || "it came in one part".to_owned())
    })
    .only(&[Edge, Kea]),
    Case::new("rfc2132_9_10_answer_is_no_longer_than_576_octets_when_the_client_says_nothing", Policy, |site| {
        let discover = Message::discover(site.new_mac()).asks_for(&[1, 3, 6, 15, 42, 119, 121, 114, 230]);
        fits(&site.offer(&discover, Path::Broadcast)?, 576)
    }),
    Case::new("rfc2132_9_10_answer_is_no_longer_than_the_client_takes", Policy, |site| {
        let discover = Message::discover(site.new_mac())
            .asks_for(&[1, 3, 6, 15, 42, 119, 121, 114, 230])
            .with(code::MAXIMUM_SIZE, &600_u16.to_be_bytes());
        fits(&site.offer(&discover, Path::Broadcast)?, 600)
    }),
    Case::new("rfc2132_9_10_size_below_the_least_legal_one_is_taken_as_576", Policy, |site| {
        let discover = Message::discover(site.new_mac()).with(code::MAXIMUM_SIZE, &[0, 64]);
        let offer = site.offer(&discover, Path::Broadcast)?;
        fits(&offer, 576)?;
        for option in [code::SUBNET_MASK, code::ROUTERS, code::NAME_SERVERS, code::LEASE_TIME] {
            expect(offer.option(option).is_some(), || format!("option {option} is missing"))?;
        }
        Ok(())
    }),
    Case::new("rfc2131_4_1_what_does_not_fit_the_options_field_goes_into_file_and_sname", Policy, |site| {
        // One behind the other they would need some 60 octets more. The long one fits only into the options field.
        let listed = [code::LONG, 1, 3, 6, 15, 42, 119, 121, 114];
        let discover = Message::discover(site.new_mac()).asks_for(&listed).with(code::MAXIMUM_SIZE, &640_u16.to_be_bytes());
        let offer = site.offer(&discover, Path::Broadcast)?;
        fits(&offer, 640)?;
        expect(offer.option(code::OVERLOAD).is_some(), || "there is no option 52".to_owned())?;
        for option in listed {
            expect(offer.option(option).is_some(), || format!("option {option} is missing"))?;
        }
        Ok(())
    })
    .only(&[Edge, Dnsmasq]),
    Case::new("rfc3442_classless_routes_are_packed", Policy, |site| {
        let routes = one(site, code::CLASSLESS_ROUTES)?;
        expect_eq("option 121", routes, vec![8, 10, 192, 0, 2, 50, 0, 192, 0, 2, 1])
    }),
    Case::new("rfc3397_2_search_list_is_a_list_of_names", Policy, |site| {
        let names = domain_names(&one(site, code::DOMAIN_SEARCH)?).ok_or_else(|| Failure::new("option 119 can't be read"))?;
        expect_eq("option 119", names, vec!["site.example".to_owned(), "lab.site.example".to_owned()])
    }),
    Case::new("rfc8910_2_1_captive_portal_is_a_url_without_an_end", Policy, |site| {
        expect_eq("option 114", one(site, code::CAPTIVE_PORTAL)?, b"https://site.example/portal".to_vec())
    }),
    Case::new("rfc8925_3_3_ipv6_only_preferred_is_sent_to_a_client_that_lists_it", Policy, |site| {
        expect_eq("option 108", one(site, code::IPV6_ONLY)?, 1800_u32.to_be_bytes().to_vec())
    }),
    Case::new("rfc8925_3_3_ipv6_only_preferred_is_not_sent_unasked", Policy, |site| {
        expect_eq("option 108", site.offer(&Message::discover(site.new_mac()), Path::Broadcast)?.option(code::IPV6_ONLY), None)
    }),
    Case::new("rfc2132_9_13_vendor_class_decides_about_an_option", Policy, |site| {
        let ordinary = site.offer(&Message::discover(site.new_mac()), Path::Broadcast)?;
        let printer = site.offer(&Message::discover(site.new_mac()).with(code::VENDOR_CLASS, b"printer:mono"), Path::Broadcast)?;
        expect_eq("the domain of an ordinary client", ordinary.option(code::DOMAIN_NAME), Some(b"site.example".to_vec()))?;
        expect_eq("the domain of a printer", printer.option(code::DOMAIN_NAME), Some(b"printers.example".to_vec()))
    }),
];

/// The address of a new client with that identifier.
fn leased_to(site: &Site, identifier: &[u8]) -> Result<Ipv4Addr> {
    Ok(site.lease(&Message::discover(site.new_mac()).with(code::CLIENT_IDENTIFIER, identifier), Path::Broadcast)?.yiaddr)
}

/// The value of an option that a new client lists.
fn one(site: &Site, option: u8) -> Result<Vec<u8>> {
    let offer = site.offer(&Message::discover(site.new_mac()).asks_for(&[option]), Path::Broadcast)?;
    offer.option(option).ok_or_else(|| Failure::new(format!("there is no option {option}")))
}

/// Option 57 counts the headers of IP and UDP.
fn fits(answer: &Message, datagram: usize) -> Result<()> {
    let length = answer.length.saturating_add(28);
    expect(length <= datagram, || format!("the answer is a datagram of {length} octets, and the client takes {datagram}"))
}

/// Names as DNS writes them (RFC 1035, section 4.1.4), pointers into the option itself.
fn domain_names(octets: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut place = 0;
    while place < octets.len() {
        let (mut labels, mut at, mut end) = (Vec::new(), place, None);
        loop {
            let length = usize::from(*octets.get(at)?);
            if length == 0 {
                at = at.checked_add(1)?;
                break;
            }
            if length & 0xc0 == 0xc0 {
                end = end.or(at.checked_add(2));
                at = usize::from(*octets.get(at.checked_add(1)?)?) | (length & 0x3f) << 8;
                if at >= place {
                    return None;
                }
                continue;
            }
            let next = at.checked_add(length)?.checked_add(1)?;
            labels.push(String::from_utf8_lossy(octets.get(at.checked_add(1)?..next)?).into_owned());
            at = next;
        }
        names.push(labels.join("."));
        place = end.unwrap_or(at);
    }
    Some(names)
}
