use crate::edge::lease::LeaseRecord;
use crate::edge::lease::codec::write_record;

/// Records that go to the disk together: all of them, or none. They are encoded as they come, so nothing is copied twice.
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    octets: Vec<u8>,
    records: usize,
}

impl RecordBatch {
    /// A batch without records.
    #[must_use]
    pub const fn new() -> Self {
        Self { octets: Vec::new(), records: 0 }
    }

    /// A batch of one record.
    #[must_use]
    pub fn of(record: &LeaseRecord) -> Self {
        let mut batch = Self::new();
        batch.push(record);
        batch
    }

    /// Adds a record; it counts over earlier ones of the same address.
    pub fn push(&mut self, record: &LeaseRecord) {
        write_record(&mut self.octets, record);
        self.records = self.records.saturating_add(1);
    }

    /// How many records it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records
    }

    /// Whether it has no record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The records as they stand in a frame.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }
}
