//! Leases: who holds which address, durable before it is promised.
//!
//! - [`LeaseRecord`] is what is written down about one address.
//! - [`LeaseTable`] holds the leases and offers of one subnet in memory and picks addresses. It has no clock and does no I/O.
//! - [`Journal`] is the file behind it: a record is on the disk when its caller hears so.

mod client_id;
mod codec;
mod entry;
mod journal;
pub mod migration;
mod range;
mod record;
mod table;

pub use client_id::ClientId;
pub use entry::{EntryError, EntryState, LeaseEntry, Refused, octets_of_text};
pub use journal::{Journal, JournalError, RecordBatch};
pub use range::{AddressRange, RangeError};
pub use record::{HardwareAddress, LeaseRecord, LeaseState, host_name};
pub use table::{Choice, LeaseTable, OFFER_HOLD, Summary};
