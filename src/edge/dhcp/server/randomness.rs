use ring::rand::{SecureRandom as _, SystemRandom};

use crate::edge::dhcp::Fresh;
use crate::wire::{BootId, Nonce};

/// Random octets, fetched from the system for many datagrams at once: a system call for each would cost more than the rest of
/// a renewal. No octet is given out twice.
#[derive(Debug)]
pub(super) struct Randomness {
    system: SystemRandom,
    pool: Box<[u8]>,
    used: usize,
}

const POOL: usize = 4000;

impl Randomness {
    pub(super) fn new() -> Self {
        Self { system: SystemRandom::new(), pool: vec![0; POOL].into(), used: POOL }
    }

    /// A number that is used once.
    pub(super) fn seed(&self) -> u64 {
        let mut octets = [0; 8];
        match self.system.fill(&mut octets) {
            Ok(()) => u64::from_be_bytes(octets),
            // Boxes that start together may look for each other in the same moment then, and do not find each other.
            Err(_) => 0,
        }
    }

    /// What one datagram needs, or `None` when the system has no randomness to give.
    pub(super) fn fresh(&mut self) -> Option<Fresh> {
        if let Some(fresh) = self.take() {
            return Some(fresh);
        }
        self.system.fill(&mut self.pool).ok()?;
        self.used = 0;
        self.take()
    }

    fn take(&mut self) -> Option<Fresh> {
        let (boot, rest) = self.pool.get(self.used..)?.split_first_chunk::<8>()?;
        let (nonce, rest) = rest.split_first_chunk::<12>()?;
        let fresh = Fresh { boot: BootId(*boot), nonce: Nonce(*nonce) };
        self.used = self.pool.len().saturating_sub(rest.len());
        Some(fresh)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_value_comes_twice_over_several_refills() {
        let mut randomness = Randomness::new();
        let fresh: Vec<Fresh> = (0..1000).map(|_| randomness.fresh().unwrap()).collect();
        assert_eq!(fresh.iter().map(|fresh| fresh.boot.0).collect::<HashSet<_>>().len(), 1000);
        assert_eq!(fresh.iter().map(|fresh| fresh.nonce.0).collect::<HashSet<_>>().len(), 1000);
    }
}
