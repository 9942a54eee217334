//! Boot files over TFTP and HTTP, read by the clients that everyone has: tftp-hpa, atftp, curl, busybox, and sockets that behave as firmware does.
//!
//! Most of it is on high ports of the loopback interface. What needs a bad line or the whole program is in network namespaces and needs root.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed expectation is how a test reports"
)]

mod bad_cable;
mod bad_line;
mod contract;
mod http_boot;
mod ports;
mod site;
mod tftp_clients;
mod tftp_firmware;
