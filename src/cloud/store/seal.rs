use std::fmt;

use data_encoding::HEXLOWER;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::secret::Secret;
use crate::wire::Hasher;

/// Length of a store key in octets.
pub(super) const KEY_LENGTH: usize = 32;
/// Begins every sealed value: the form of what follows.
const FORM: u8 = 1;

/// Tells one store key from another, and says nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId(pub(super) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Seals what must not stand in the database in clear: AES-256-GCM under a key that is kept outside of it.
///
/// Each value is bound to where it stands, so that one can't be moved into another's place, and names its key.
pub struct StoreKey {
    id: KeyId,
    key: LessSafeKey,
}

/// Why a value can't be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The key is not 32 octets.
    #[error("a store key must be 32 octets long")]
    KeyLength,
    /// The system has no randomness to give.
    #[error("the system gave no random numbers")]
    Randomness,
    /// The key that sealed it is not here.
    #[error("it was sealed with the store key {0}, which is not among those that this program was given")]
    UnknownKey(KeyId),
    /// Another key sealed it, or it was changed.
    #[error("it was sealed with another key, or changed since")]
    Open,
}

impl StoreKey {
    /// Takes a key of 32 octets.
    ///
    /// # Errors
    /// When it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new).map_err(|_| SealError::KeyLength)?;
        let mut hasher = Hasher::default();
        hasher.update(b"fairlead store key\0");
        hasher.update(bytes);
        let id = hasher.finish().0.first_chunk().copied().unwrap_or_default();
        Ok(Self { id: KeyId(id), key })
    }

    /// What tells it from others.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Seals `secret` for the place that `place` names.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn seal(&self, place: &str, secret: &Secret) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Randomness)?;
        let mut sealed = secret.expose().to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place.as_bytes()), &mut sealed)
            .map_err(|_| SealError::Randomness)?;
        Ok([&[FORM], self.id.0.as_slice(), &nonce, &sealed].concat())
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// When another key sealed it, it was sealed for another place, or it was changed.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Secret, SealError> {
        match key_of(sealed) {
            Some((id, rest)) if id == self.id => self.open_unnamed(place, rest),
            Some((id, _)) => Err(SealError::UnknownKey(id)),
            None => Err(SealError::Open),
        }
    }

    /// Opens what was sealed before sealed values named their keys.
    pub(super) fn open_unnamed(&self, place: &str, sealed: &[u8]) -> Result<Secret, SealError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Open)?;
        let mut bytes = sealed.to_vec();
        let opened = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place.as_bytes()), &mut bytes)
            .map_err(|_| SealError::Open)?;
        Ok(Secret::new(opened.to_vec()))
    }
}

/// The key that a sealed value names, and what follows.
pub(super) fn key_of(sealed: &[u8]) -> Option<(KeyId, &[u8])> {
    let (id, rest) = sealed.strip_prefix(&[FORM])?.split_first_chunk()?;
    Some((KeyId(*id), rest))
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreKey({}, not shown)", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_with_its_key_in_its_place_unchanged() {
        let key = StoreKey::from_bytes(&[1; 32]).unwrap();
        let secret = Secret::from("cluster secret".to_owned());
        let sealed = key.seal("cluster/1", &secret).unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"cluster"));
        assert_eq!(key.open("cluster/1", &sealed), Ok(secret));
        assert_eq!(key.open("cluster/2", &sealed), Err(SealError::Open));
        assert_eq!(StoreKey::from_bytes(&[2; 32]).unwrap().open("cluster/1", &sealed), Err(SealError::UnknownKey(key.id())));
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(key.open("cluster/1", &changed).is_err());
        }
        assert_eq!(StoreKey::from_bytes(&[1; 31]).unwrap_err(), SealError::KeyLength);
    }
}
