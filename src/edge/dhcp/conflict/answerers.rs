//! Who answers probes, and who answers too many to be believed.

use std::collections::HashMap;

use crate::wire::MacAddr;

/// For so many addresses of a site one machine is believed. A host with several addresses has fewer; a router that answers for
/// all that it knows a way to (proxy ARP, RFC 1027), or somebody who wants the pools to run empty, has more.
const BELIEVED: u32 = 16;

/// So many machines are counted.
const MOST: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Answerers {
    answers: HashMap<MacAddr, u32>,
}

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belief {
    /// The machine uses the address.
    Believed,
    /// It is the first one that is not believed any more.
    NoLonger,
    /// It has not been believed for a while.
    NotBelieved,
}

impl Answerers {
    /// Counts an answer.
    pub(super) fn count(&mut self, mac: MacAddr) -> Belief {
        if self.answers.len() >= MOST && !self.answers.contains_key(&mac) {
            // Begin anew rather than grow. Whoever makes up so many hardware addresses is not stopped by counting them.
            self.answers.clear();
        }
        let answers = self.answers.entry(mac).or_default();
        *answers = answers.saturating_add(1);
        match *answers {
            0..=BELIEVED => Belief::Believed,
            count if count == BELIEVED.saturating_add(1) => Belief::NoLonger,
            _ => Belief::NotBelieved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_answers_for_everything_is_not_believed_for_long() {
        let mut answerers = Answerers::default();
        let told: Vec<Belief> = (0..18).map(|_| answerers.count(MacAddr([2; 6]))).collect();
        assert!(told[..16].iter().all(|belief| *belief == Belief::Believed));
        assert_eq!(told[16..], [Belief::NoLonger, Belief::NotBelieved]);
        assert_eq!(answerers.count(MacAddr([4; 6])), Belief::Believed);
    }

    #[test]
    fn made_up_machines_take_no_more_memory_than_a_bound() {
        let mut answerers = Answerers::default();
        for number in 0..5000_u32 {
            let [_, _, high, low] = number.to_be_bytes();
            answerers.count(MacAddr([2, 0, 0, 0, high, low]));
        }
        assert!(answerers.answers.len() <= MOST);
    }
}
