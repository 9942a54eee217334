//! What no sane client sends: it is not answered, or answered for what is whole in it, and the next client is served.

use fairlead::failure::Result;

use super::Case;
use super::boot::pxe;
use crate::message::{Message, code};
use crate::site::Profile::Plain;
use crate::site::{RELAY, Site, expect, expect_eq};
use crate::wire::Path;

/// Where the options begin.
const OPTIONS: usize = 240;

pub(super) const CASES: &[Case] = &[
    Case::new("rfc2131_2_hardware_address_longer_than_its_field_is_survived", Plain, |site| {
        for hlen in [17, 32, 255] {
            let mut discover = Message::discover(site.new_mac());
            discover.hlen = hlen;
            site.wire.expect_silence(&discover, Path::Broadcast)?;
        }
        serves(site)
    }),
    Case::new("rfc2131_2_hardware_address_of_no_octets_without_identifier_is_survived", Plain, |site| {
        let mut discover = Message::discover(site.new_mac());
        discover.hlen = 0;
        site.wire.send(&discover, Path::Broadcast)?;
        serves(site)
    }),
    Case::new("rfc2131_2_datagram_of_every_length_is_survived", Plain, |site| {
        let whole = pxe(site.new_mac(), 7).unpadded();
        for length in 0..whole.len() {
            site.wire.send_octets(whole.get(..length).unwrap_or_default(), site.new_mac(), Path::Broadcast)?;
        }
        serves(site)
    }),
    Case::new("rfc2131_3_wrong_magic_cookie_is_not_answered", Plain, |site| {
        let discover = Message::discover(site.new_mac());
        let mut octets = discover.octets();
        if let Some(octet) = octets.get_mut(OPTIONS - 1) {
            *octet ^= 1;
        }
        site.wire.send_octets(&octets, discover.mac(), Path::Broadcast)?;
        expect(site.wire.answer(&discover, std::time::Duration::from_millis(500)).is_none(), || "it was answered".to_owned())?;
        serves(site)
    }),
    Case::new("rfc2131_3_message_type_that_is_missing_or_unknown_is_not_answered", Plain, |site| {
        for value in [&[][..], &[0], &[99], &[255], &[1, 1]] {
            site.wire.send(&Message::discover(site.new_mac()).with(code::MESSAGE_TYPE, value), Path::Broadcast)?;
        }
        let mut none = Message::discover(site.new_mac());
        none.options.retain(|(code, _)| *code != code::MESSAGE_TYPE);
        site.wire.expect_silence(&none, Path::Broadcast)?;
        serves(site)
    }),
    Case::new("rfc2132_2_option_that_runs_past_the_end_is_survived", Plain, |site| {
        for code in [12, 50, 53, 55, 60, 61, 77, 82, 93, 97, 175] {
            let discover = Message::discover(site.new_mac());
            let mut octets = discover.unpadded();
            octets.pop();
            octets.extend_from_slice(&[code, 200, 1, 2, 3]);
            site.wire.send_octets(&octets, discover.mac(), Path::Broadcast)?;
            octets.truncate(octets.len().saturating_sub(4));
            site.wire.send_octets(&octets, discover.mac(), Path::Broadcast)?;
        }
        serves(site)
    }),
    Case::new("rfc2132_options_of_every_wrong_length_are_survived", Plain, |site| {
        // 80, 81, 94 and 152 to 155 of a wrong length end a well-known parser; the others have a length that they must have.
        for code in [50, 51, 52, 54, 55, 57, 58, 59, 60, 61, 66, 67, 77, 80, 81, 82, 93, 94, 97, 116, 118, 145, 152, 153, 154, 155, 175] {
            for length in [0, 1, 2, 3, 5, 7, 16, 18, 255] {
                let value = vec![0xa5; length];
                site.wire.send(&pxe(site.new_mac(), 7).with(code, &value), Path::Broadcast)?;
                site.wire.send(&pxe(site.new_mac(), 7).relayed_by(RELAY).with(code, &value), Path::Relay(RELAY))?;
            }
        }
        serves(site)
    }),
    Case::new("rfc2131_2_fields_without_an_end_are_survived", Plain, |site| {
        let mut discover = pxe(site.new_mac(), 7);
        discover.file = vec![b'f'; 128];
        discover.sname = vec![b's'; 64];
        site.wire.send(&discover, Path::Broadcast)?;
        for overload in [1, 2, 3, 4, 255] {
            site.wire.send(&discover.clone().with(code::OVERLOAD, &[overload]), Path::Broadcast)?;
        }
        serves(site)
    }),
    Case::new("rfc2132_9_3_overload_inside_an_overloaded_field_is_survived", Plain, |site| {
        let mut discover = Message::discover(site.new_mac()).with(code::OVERLOAD, &[1]);
        discover.file = vec![code::OVERLOAD, 1, 3, code::OVERLOAD, 1, 1];
        discover.sname = vec![code::OVERLOAD, 1, 3];
        site.wire.send(&discover, Path::Broadcast)?;
        serves(site)
    }),
    Case::new("rfc3046_2_relay_information_that_is_not_whole_is_survived", Plain, |site| {
        for agent in [&[][..], &[1], &[1, 200, 1], &[5, 3, 10, 2, 0], &[11, 0], &[5, 4, 0, 0, 0, 0], &[11, 4, 255, 255, 255, 255]] {
            let discover = Message::discover(site.new_mac()).relayed_by(RELAY).with(code::RELAY_INFORMATION, agent);
            site.wire.send(&discover, Path::Relay(RELAY))?;
        }
        serves(site)
    }),
    Case::new("rfc2131_random_octets_and_mutated_messages_are_survived", Plain, |site| {
        // A fixed sequence (xorshift), so that what fails once fails again.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let whole = pxe(site.new_mac(), 7).octets();
        let length = u64::try_from(whole.len()).unwrap_or(1);
        for _ in 0..1500 {
            let mut octets = whole.clone();
            for _ in 0..=random() % 6 {
                let place = usize::try_from(random() % length).unwrap_or(0);
                let [value, ..] = random().to_be_bytes();
                if let Some(octet) = octets.get_mut(place) {
                    *octet = value;
                }
            }
            // Not a message of another client or another type by chance: addresses must stay for the cases that follow.
            if let (Some(op), Some(chaddr)) = (octets.first().copied(), octets.get_mut(28..34))
                && op == 1
            {
                chaddr.copy_from_slice(&[2, 0xfd, 0, 0, 0, 1]);
            }
            if let Some(kind) = octets.get_mut(OPTIONS + 2) {
                *kind = 1;
            }
            site.wire.send_octets(&octets, site.new_mac(), Path::Broadcast)?;
        }
        serves(site)
    }),
];

/// A client that has sent nothing wrong is given an address.
fn serves(site: &Site) -> Result<()> {
    let discover = Message::discover(site.new_mac());
    // What was sent before may still wait in the server's socket.
    let mut offer = site.wire.ask(&discover, Path::Broadcast);
    for _ in 0..3 {
        if offer.is_ok() {
            break;
        }
        offer = site.wire.ask(&discover, Path::Broadcast);
    }
    expect_eq("the message type", offer?.message.kind(), Some(crate::message::OFFER))
}
