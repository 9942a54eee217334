/// A set of the numbers below a bound, with a fast answer to "which is the next one".
///
/// One bit for each number, and above each 64 words a word that says which of them have a bit: a million numbers take 128 KiB, and
/// the next one is found in four steps.
#[derive(Debug)]
pub(super) struct Vacancy {
    /// The numbers' own bits first.
    levels: Vec<Vec<u64>>,
}

const BITS: usize = 64;

impl Vacancy {
    /// A set of all numbers below `bound`.
    pub(super) fn full(bound: usize) -> Self {
        let mut levels = Vec::new();
        let mut bits = bound;
        loop {
            let mut words = vec![u64::MAX; bits / BITS];
            if !bits.is_multiple_of(BITS) {
                words.push((1 << (bits % BITS)) - 1);
            }
            bits = words.len();
            levels.push(words);
            if bits <= 1 {
                return Self { levels };
            }
        }
    }

    /// Adds a number below the bound.
    pub(super) fn insert(&mut self, number: usize) {
        let mut place = number;
        for level in &mut self.levels {
            let Some(word) = level.get_mut(place / BITS) else { return };
            *word |= 1 << (place % BITS);
            place /= BITS;
        }
    }

    pub(super) fn remove(&mut self, number: usize) {
        let mut place = number;
        for level in &mut self.levels {
            let Some(word) = level.get_mut(place / BITS) else { return };
            *word &= !(1 << (place % BITS));
            if *word != 0 {
                return;
            }
            place /= BITS;
        }
    }

    pub(super) fn contains(&self, number: usize) -> bool {
        self.levels.first().and_then(|words| words.get(number / BITS)).is_some_and(|word| word & (1 << (number % BITS)) != 0)
    }

    /// The smallest number of the set that is not below `from`.
    pub(super) fn next_from(&self, from: usize) -> Option<usize> {
        let mut place = from;
        for (height, level) in self.levels.iter().enumerate() {
            let at = place / BITS;
            let word = level.get(at)? & (u64::MAX << (place % BITS));
            if word != 0 {
                let below = self.levels.get(..height).unwrap_or_default();
                return below.iter().rev().try_fold(lowest(at, word), |place, level| Some(lowest(place, *level.get(place)?)));
            }
            place = at.saturating_add(1);
        }
        None
    }
}

/// The number of the lowest bit of the word at `place`.
fn lowest(place: usize, word: u64) -> usize {
    let bit = usize::try_from(word.trailing_zeros()).unwrap_or_default();
    place.saturating_mul(BITS).saturating_add(bit)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Vacancy;

    #[test]
    fn finds_what_a_plain_set_finds() {
        let mut state = 7_u64;
        for bound in [0, 1, 63, 64, 65, 4095, 4096, 4097, 300_000] {
            let mut vacancy = Vacancy::full(bound);
            let mut plain: BTreeSet<usize> = (0..bound).collect();
            for _ in 0..5000.min(bound * 4) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let number = usize::try_from(state >> 33).unwrap() % bound;
                if (state >> 32) & 3 == 0 {
                    vacancy.insert(number);
                    plain.insert(number);
                } else {
                    // A run, so that whole words become empty.
                    for number in number..bound.min(number + 500) {
                        vacancy.remove(number);
                        plain.remove(&number);
                    }
                }
                let from = usize::try_from(state >> 20).unwrap() % (bound + 2);
                assert_eq!(vacancy.next_from(from), plain.range(from..).next().copied(), "{bound} {from}");
                assert_eq!(vacancy.contains(number), plain.contains(&number));
            }
            assert_eq!(vacancy.next_from(bound), None);
        }
    }
}
