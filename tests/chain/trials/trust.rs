pub(super) const TRIALS: &[super::NamedTrial] = &[];
