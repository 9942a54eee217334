use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Timestamp;

/// Which lease ends first, exactly, although renewals do not touch it.
///
/// Every slot has one entry that counts, whose time is at most the lease's end: a renewal, which only moves the end on, leaves it as
/// it is. Whoever looks for the oldest lease finds the entries that lag behind at the top, and sets them right. What the heap
/// says then is exact, since all others end no earlier than their entries say.
#[derive(Debug, Default)]
pub(super) struct ExpiryQueue {
    heap: BinaryHeap<Reverse<(Timestamp, u32)>>,
}

/// The time of a slot's entry while it has none.
pub(super) const NOT_QUEUED: Timestamp = Timestamp(u64::MAX);

impl ExpiryQueue {
    pub(super) fn push(&mut self, at: Timestamp, slot: u32) {
        self.heap.push(Reverse((at, slot)));
    }

    pub(super) fn pop(&mut self) -> Option<(Timestamp, u32)> {
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    pub(super) fn peek(&self) -> Option<(Timestamp, u32)> {
        self.heap.peek().map(|Reverse(entry)| *entry)
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Keeps the entries that count.
    pub(super) fn retain(&mut self, mut counts: impl FnMut(Timestamp, u32) -> bool) {
        self.heap.retain(|Reverse((at, slot))| counts(*at, *slot));
    }

    pub(super) fn clear(&mut self) {
        self.heap.clear();
    }
}
