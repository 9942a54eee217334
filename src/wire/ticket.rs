use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

use super::{MacAddr, ParseError, SystemUuid, serde_as_text};
use crate::clock::Timestamp;

/// Names one boot of one machine at its site: made by the edge when the firmware first asks, carried by the ticket and by
/// the edge's reports, so that both land in one timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub [u8; 8]);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl FromStr for BootId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| ParseError::new(text, "a boot id of 16 hexadecimal digits"))
    }
}

serde_as_text!(BootId);

/// What makes a ticket usable once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nonce(pub [u8; 12]);

/// A boot ticket: a site vouches that a machine with this hardware address asked to boot at this moment.
///
/// On the wire it is base64url text of 161 characters or less, small enough for one DHCP option:
///
/// | octets | field |
/// |---|---|
/// | 1 | version, 1 |
/// | 4 | site number at the cloud, big-endian |
/// | 8 | boot id |
/// | 6 | hardware address |
/// | 16 | SMBIOS UUID, zero when the firmware sent none |
/// | 5 | issued at, seconds since the Unix epoch, big-endian |
/// | 12 | nonce |
/// | 64 | Ed25519 signature over `fairlead boot ticket\0` and all of the above |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The number under which the cloud knows the site.
    pub site: u32,
    /// The boot it belongs to.
    pub boot: BootId,
    /// The machine's hardware address, as its DHCP request shows.
    pub mac: MacAddr,
    /// The machine's UUID, when its firmware sent option 97.
    pub uuid: Option<SystemUuid>,
    /// When the site issued it; whole seconds.
    pub issued_at: Timestamp,
    /// Makes it usable once.
    pub nonce: Nonce,
}

/// Why a ticket is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// Not base64url, or not of a ticket's length.
    #[error("not a boot ticket")]
    Malformed,
    /// A version that this program does not know.
    #[error("boot ticket of unknown version {0}")]
    UnknownVersion(u8),
    /// The signature is not by the site that it names.
    #[error("boot ticket is not signed by its site")]
    BadSignature,
    /// Issued too long ago.
    #[error("boot ticket expired {} s ago", .0.as_secs())]
    Expired(Duration),
    /// Issued in the future, further than clocks may differ.
    #[error("boot ticket is from {} s in the future", .0.as_secs())]
    NotYetValid(Duration),
}

const VERSION: u8 = 1;
const BODY_LENGTH: usize = 52;
const CONTEXT: &[u8] = b"fairlead boot ticket\0";

impl Ticket {
    /// Signs the ticket with the site's key and returns its text form.
    #[must_use]
    pub fn sign(&self, key: &Ed25519KeyPair) -> String {
        let mut bytes = self.body();
        let signature = key.sign(&signed_message(&bytes));
        bytes.extend_from_slice(signature.as_ref());
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Reads a ticket; `site_key` gives the Ed25519 public keys that the named site may have signed with.
    ///
    /// The age is not judged here: see [`Ticket::check_age`].
    ///
    /// # Errors
    /// When the text is no ticket, or no key of its site has signed it.
    pub fn verify<K: AsRef<[u8]>>(text: &str, site_keys: impl FnOnce(u32) -> Vec<K>) -> Result<Self, TicketError> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| TicketError::Malformed)?;
        match bytes.first() {
            Some(&VERSION) => {}
            Some(&version) => return Err(TicketError::UnknownVersion(version)),
            None => return Err(TicketError::Malformed),
        }
        let (body, signature) = bytes.split_at_checked(BODY_LENGTH).ok_or(TicketError::Malformed)?;
        let ticket = Self::parse_body(body).ok_or(TicketError::Malformed)?;
        let message = signed_message(body);
        let signed = site_keys(ticket.site).iter().any(|key| UnparsedPublicKey::new(&ED25519, key).verify(&message, signature).is_ok());
        if signed { Ok(ticket) } else { Err(TicketError::BadSignature) }
    }

    /// Judges the ticket's age at `now`: it is good for `lifetime` after it was issued, and clocks may differ by `skew`.
    ///
    /// # Errors
    /// When it has expired or is from the future.
    pub fn check_age(&self, now: Timestamp, lifetime: Duration, skew: Duration) -> Result<(), TicketError> {
        let age = now.since(self.issued_at);
        if age > lifetime {
            return Err(TicketError::Expired(age.saturating_sub(lifetime)));
        }
        let ahead = self.issued_at.since(now);
        if ahead > skew {
            return Err(TicketError::NotYetValid(ahead));
        }
        Ok(())
    }

    fn body(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BODY_LENGTH.saturating_add(64));
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.site.to_be_bytes());
        bytes.extend_from_slice(&self.boot.0);
        bytes.extend_from_slice(&self.mac.0);
        bytes.extend_from_slice(&self.uuid.map_or([0; 16], |uuid| uuid.0));
        let [_, _, _, seconds @ ..] = self.issued_at.as_secs().to_be_bytes();
        bytes.extend_from_slice(&seconds);
        bytes.extend_from_slice(&self.nonce.0);
        bytes
    }

    fn parse_body(body: &[u8]) -> Option<Self> {
        let (_version, rest) = body.split_first()?;
        let (site, rest) = rest.split_first_chunk::<4>()?;
        let (boot, rest) = rest.split_first_chunk::<8>()?;
        let (mac, rest) = rest.split_first_chunk::<6>()?;
        let (uuid, rest) = rest.split_first_chunk::<16>()?;
        let (&[a, b, c, d, e], rest) = rest.split_first_chunk::<5>()?;
        let nonce: &[u8; 12] = rest.try_into().ok()?;
        Some(Self {
            site: u32::from_be_bytes(*site),
            boot: BootId(*boot),
            mac: MacAddr(*mac),
            uuid: (*uuid != [0; 16]).then_some(SystemUuid(*uuid)),
            issued_at: Timestamp::from_secs(u64::from_be_bytes([0, 0, 0, a, b, c, d, e])),
            nonce: Nonce(*nonce),
        })
    }
}

fn signed_message(body: &[u8]) -> Vec<u8> {
    [CONTEXT, body].concat()
}

#[cfg(test)]
mod tests {
    use ring::signature::KeyPair as _;

    use super::*;

    fn key(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn ticket() -> Ticket {
        Ticket {
            site: 7,
            boot: BootId([1, 2, 3, 4, 5, 6, 7, 8]),
            mac: MacAddr([0x52, 0x54, 0, 0, 0, 1]),
            uuid: "4c4c4544-0042-3510-8052-b4c04f564231".parse().ok(),
            issued_at: Timestamp::from_secs(1_800_000_000),
            nonce: Nonce([9; 12]),
        }
    }

    fn verify(text: &str, seed: u8) -> Result<Ticket, TicketError> {
        Ticket::verify(text, |_| vec![key(seed).public_key().as_ref().to_vec()])
    }

    #[test]
    fn comes_back_as_it_was_and_fits_a_dhcp_option() {
        let text = ticket().sign(&key(1));
        assert!(text.len() <= 255, "{}", text.len());
        assert_eq!(verify(&text, 1), Ok(ticket()));
    }

    #[test]
    fn is_refused_when_another_key_signed_it() {
        assert_eq!(verify(&ticket().sign(&key(2)), 1), Err(TicketError::BadSignature));
    }

    #[test]
    fn is_refused_when_any_bit_is_flipped() {
        let bytes = BASE64URL_NOPAD.decode(ticket().sign(&key(1)).as_bytes()).unwrap();
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << bit;
                assert!(verify(&BASE64URL_NOPAD.encode(&changed), 1).is_err(), "octet {place}, bit {bit}");
            }
        }
    }

    #[test]
    fn is_refused_when_cut_or_prolonged() {
        let text = ticket().sign(&key(1));
        for length in 0..text.len() {
            assert!(verify(&text[..length], 1).is_err(), "{length}");
        }
        assert!(verify(&format!("{text}AAAA"), 1).is_err());
    }

    #[test]
    fn has_minutes_of_life() {
        let (lifetime, skew) = (Duration::from_secs(300), Duration::from_secs(60));
        let at = |seconds: i64| ticket().check_age(Timestamp::from_secs(1_800_000_000_u64.saturating_add_signed(seconds)), lifetime, skew);
        assert_eq!(at(0), Ok(()));
        assert_eq!(at(300), Ok(()));
        assert_eq!(at(310), Err(TicketError::Expired(Duration::from_secs(10))));
        assert_eq!(at(-60), Ok(()));
        assert_eq!(at(-61), Err(TicketError::NotYetValid(Duration::from_secs(61))));
    }
}
