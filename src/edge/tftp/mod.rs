//! The TFTP server: boot files for firmware, read only.
//!
//! RFC 1350 (TFTP revision 2), 2347 (options), 2348 (block size), 2349 (transfer size, timeout) and 7440 (window size, with go-back-N).
//!
//! - [`packet`]: bytes to requests and replies, and back.
//! - [`Reception`]: the well-known port. Who may read what, and is this request new or a repeated one?
//! - [`Transfer`]: one file on its way to one reader, on a port of its own.
//! - [`server`]: the sockets around them.
//!
//! `Reception` and `Transfer` have neither clock nor socket: packets and times go in, decisions and datagrams come out.

pub mod packet;
mod reception;
pub mod server;
mod transfer;

#[cfg(test)]
mod lossy_channel;

pub use reception::{Answer, Reception, Silence, TransferId};
pub use transfer::{Ending, Transfer};

/// What one box takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Transfers at once, from all addresses. A request above it gets no answer: firmware asks again, while an ERROR would end its boot.
    pub transfers: usize,
    /// Transfers at once from one address.
    pub transfers_per_address: usize,
    /// How often a datagram is sent again without progress before the reader is given up.
    pub retransmissions: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { transfers: 1024, transfers_per_address: 32, retransmissions: 8 }
    }
}

/// What came in and how it ended, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Read requests that began a transfer.
    pub begun: u64,
    /// Read requests that came again before anything was acknowledged.
    pub repeated: u64,
    /// Datagrams to the well-known port that are no request.
    pub malformed: u64,
    /// Write requests, all refused.
    pub writes_refused: u64,
    /// Read requests for a file that is not there.
    pub not_found: u64,
    /// Read requests in a mode that is neither `octet` nor `netascii`.
    pub modes_refused: u64,
    /// Requests left without answer because of [`Limits`].
    pub over_limit: u64,
    /// Transfers whose last block was acknowledged.
    pub whole: u64,
    /// Transfers that the reader ended with an ERROR, as firmware does that only asked for the size.
    pub ended_by_reader: u64,
    /// Transfers whose reader was given up.
    pub given_up: u64,
}
