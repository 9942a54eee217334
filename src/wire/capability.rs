use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

use super::Digest;
use crate::clock::Timestamp;

/// The right to fetch one blob until a moment, signed by the cloud: whoever has the cloud's public key can check it without
/// asking anyone.
///
/// Its text form stands in a path; `session` tells in which boot it was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The blob.
    pub digest: Digest,
    /// The boot session it was made for, a number at the cloud.
    pub session: u64,
    /// The last moment at which a request with it may begin; whole seconds.
    pub expires_at: Timestamp,
}

/// Why a capability is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapabilityError {
    /// Not base64url, or not of a capability's length.
    #[error("not a capability")]
    Malformed,
    /// Not signed by this cloud, or for another blob.
    #[error("capability is not signed for this blob")]
    BadSignature,
    /// Its time is over.
    #[error("capability expired {} s ago", .0.as_secs())]
    Expired(Duration),
}

const CONTEXT: &[u8] = b"fairlead capability\0";
const FIELDS_LENGTH: usize = 16;

impl Capability {
    /// Signs the capability and returns its text form.
    #[must_use]
    pub fn sign(&self, key: &Ed25519KeyPair) -> String {
        let mut bytes = self.fields().to_vec();
        let signature = key.sign(&self.message());
        bytes.extend_from_slice(signature.as_ref());
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// Reads the capability that a request for `digest` shows at `now`.
    ///
    /// # Errors
    /// When the text is no capability, was made for another blob or by another key, or has expired.
    pub fn verify(text: &str, digest: Digest, key: &[u8], now: Timestamp) -> Result<Self, CapabilityError> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| CapabilityError::Malformed)?;
        let (fields, signature) = bytes.split_first_chunk::<FIELDS_LENGTH>().ok_or(CapabilityError::Malformed)?;
        let (session, expiry) = fields.split_first_chunk::<8>().ok_or(CapabilityError::Malformed)?;
        let expiry: [u8; 8] = expiry.try_into().map_err(|_| CapabilityError::Malformed)?;
        let capability =
            Self { digest, session: u64::from_be_bytes(*session), expires_at: Timestamp::from_secs(u64::from_be_bytes(expiry)) };
        UnparsedPublicKey::new(&ED25519, key).verify(&capability.message(), signature).map_err(|_| CapabilityError::BadSignature)?;
        match now.since(capability.expires_at) {
            late if late > Duration::ZERO => Err(CapabilityError::Expired(late)),
            _ => Ok(capability),
        }
    }

    fn fields(&self) -> [u8; FIELDS_LENGTH] {
        let mut fields = [0; FIELDS_LENGTH];
        let numbers = self.session.to_be_bytes().into_iter().chain(self.expires_at.as_secs().to_be_bytes());
        for (to, from) in fields.iter_mut().zip(numbers) {
            *to = from;
        }
        fields
    }

    fn message(&self) -> Vec<u8> {
        [CONTEXT, &self.digest.0, &self.fields()].concat()
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::KeyPair as _;

    use super::*;

    #[test]
    fn opens_one_blob_until_its_time_is_over() {
        let key = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
        let public = key.public_key().as_ref().to_vec();
        let blob = Digest::of(b"kernel");
        let capability = Capability { digest: blob, session: 12, expires_at: Timestamp::from_secs(1000) };
        let text = capability.sign(&key);
        let at = |digest, seconds| Capability::verify(&text, digest, &public, Timestamp::from_secs(seconds));
        assert_eq!(at(blob, 1000), Ok(capability));
        assert_eq!(at(blob, 1003), Err(CapabilityError::Expired(Duration::from_secs(3))));
        assert_eq!(at(Digest::of(b"other"), 1000), Err(CapabilityError::BadSignature));
        assert_eq!(Capability::verify("AAAA", blob, &public, Timestamp::from_secs(1)), Err(CapabilityError::Malformed));
    }

    #[test]
    fn is_refused_when_any_bit_is_flipped() {
        let key = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
        let blob = Digest::of(b"kernel");
        let text = Capability { digest: blob, session: 12, expires_at: Timestamp::from_secs(1000) }.sign(&key);
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let outcome = Capability::verify(&BASE64URL_NOPAD.encode(&changed), blob, key.public_key().as_ref(), Timestamp::from_secs(1));
            assert!(outcome.is_err(), "octet {place}");
        }
    }
}
