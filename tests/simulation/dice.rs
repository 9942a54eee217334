//! Randomness from a seed: the same seed, the same run.

/// A generator of random numbers (splitmix64): small, quick, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The generator of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not zero.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    /// A number from `least` to `most`, both included.
    pub const fn within(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// True once in `in_all` times.
    pub const fn once_in(&mut self, in_all: u64) -> bool {
        self.below(in_all) == 0
    }

    /// A duration whose order of magnitude is as random as its digits.
    pub fn of_any_order(&mut self, least: u64, most: u64) -> u64 {
        let mut bound = least;
        while bound < most && !self.once_in(4) {
            bound = bound.saturating_mul(3).min(most);
        }
        self.within(least, bound.max(least))
    }

    /// A waiting time around `mean`, with neither none nor endless ones.
    pub const fn around(&mut self, mean: u64) -> u64 {
        self.within(mean / 4, mean * 7 / 4)
    }

    /// Random octets.
    pub fn octets<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.number().to_le_bytes()[0])
    }
}
