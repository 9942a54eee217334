//! Options that the configuration gives values to.

use super::policy::Origin;

/// An option and its value, ready for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionValue {
    /// Its number.
    pub code: u8,
    /// Its octets; more than 255 are split in the answer (RFC 3396).
    pub octets: Vec<u8>,
    /// Where it stands.
    pub origin: Origin,
}

/// The options of one level of the configuration, each once, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionSet(Vec<OptionValue>);

impl OptionSet {
    /// Sets an option, replacing what was said of it before.
    pub fn set(&mut self, value: OptionValue) {
        match self.0.binary_search_by_key(&value.code, |known| known.code) {
            Ok(place) => {
                if let Some(known) = self.0.get_mut(place) {
                    *known = value;
                }
            }
            Err(place) => self.0.insert(place, value),
        }
    }

    /// The option of this number.
    #[must_use]
    pub fn find(&self, code: u8) -> Option<&OptionValue> {
        self.0.binary_search_by_key(&code, |known| known.code).ok().and_then(|place| self.0.get(place))
    }

    /// All of them, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &OptionValue> {
        self.0.iter()
    }
}
