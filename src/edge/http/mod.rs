//! UEFI HTTP boot: boot files over plain HTTP/1.1 (RFC 9110, RFC 9112).
//!
//! Firmware asks with HEAD for the size and then with GET; some asks for ranges. Nothing but the boot files can be read, and nothing written.
//! This leg is not authenticated, as PXE's is not.
//!
//! - `response`: which answer a request gets, without I/O.
//! - [`server`]: the sockets.

mod range;
mod response;
pub mod server;

use std::time::Duration;

/// What one box takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. More wait in the kernel's queue.
    pub connections: usize,
    /// Connections at once from one address. More are closed.
    pub connections_per_address: usize,
    /// How long a client may take for the head of a request, and how long a connection may idle between two.
    pub head_timeout: Duration,
    /// How long sent data may stay without acknowledgement, or the client's window closed, before the connection is given up.
    pub stall_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_address: 32,
            head_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(20),
        }
    }
}
