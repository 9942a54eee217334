//! RFC 4702: the name that a client has in the DNS.

use fairlead::failure::{Failure, Result};

use super::Case;
use crate::message::{Message, code};
use crate::site::Profile::Plain;
use crate::site::{Site, expect, expect_eq};
use crate::wire::Path;

/// Flags (section 2.1).
const SERVER_UPDATES: u8 = 1;
const OVERRIDDEN: u8 = 2;
const CANONICAL: u8 = 4;
const NO_UPDATES: u8 = 8;

/// `cam-9.site.example` in the DNS's own form, which clients should use (section 2.3.1).
const NAME: &[u8] = b"\x05cam-9\x04site\x07example\0";

pub(super) const CASES: &[Case] = &[
    Case::new("rfc4702_4_option_81_is_not_sent_to_a_client_that_sent_none", Plain, |site| {
        let offer = site.offer(&Message::discover(site.new_mac()).asks_for(&[1, 3, code::CLIENT_FQDN]), Path::Broadcast)?;
        expect_eq("option 81", offer.option(code::CLIENT_FQDN), None)
    }),
    Case::new("rfc4702_2_2_response_codes_are_255", Plain, |site| {
        let (_, codes, _) = answered(site, SERVER_UPDATES | CANONICAL)?;
        expect_eq("the response codes", codes, [255, 255])
    }),
    Case::new("rfc4702_4_name_is_answered_in_the_form_that_the_client_used", Plain, |site| {
        let (flags, _, name) = answered(site, SERVER_UPDATES | CANONICAL)?;
        expect_eq("the flag E", flags & CANONICAL, CANONICAL)?;
        // A server may say another domain, or leave it out.
        expect(name.starts_with(b"\x05cam-9"), || format!("the name is {name:?}"))
    }),
    Case::new("rfc4702_4_client_is_told_when_the_server_does_not_update_the_dns_as_it_wished", Plain, |site| {
        for wish in [SERVER_UPDATES | CANONICAL, CANONICAL, NO_UPDATES | CANONICAL] {
            let (flags, _, _) = answered(site, wish)?;
            let differs = (flags ^ wish) & SERVER_UPDATES != 0;
            expect_eq(&format!("whether flag O is set in {flags:04b} to {wish:04b}"), flags & OVERRIDDEN != 0, differs)?;
            expect(flags & (NO_UPDATES | SERVER_UPDATES) != NO_UPDATES | SERVER_UPDATES, || format!("{flags:04b} has both N and S"))?;
        }
        Ok(())
    }),
];

/// Flags, response codes and name in the answer to a client that has a name and these flags.
fn answered(site: &Site, flags: u8) -> Result<(u8, [u8; 2], Vec<u8>)> {
    let discover = Message::discover(site.new_mac()).with(code::CLIENT_FQDN, &[&[flags, 0, 0], NAME].concat());
    let acknowledged = site.lease(&discover, Path::Broadcast)?;
    match acknowledged.option(code::CLIENT_FQDN).as_deref() {
        Some([flags, first, second, name @ ..]) => Ok((*flags, [*first, *second], name.to_vec())),
        other => Err(Failure::new(format!("option 81 is {other:?}"))),
    }
}
