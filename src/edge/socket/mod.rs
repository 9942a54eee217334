//! Sockets that the standard library has no safe interface for: UDP on one network interface, Ethernet frames, and what the
//! system says of its interfaces.
//!
//! System calls go through the safe wrappers of nix and socket2; what is `unsafe` all the same stands here, with its proof.

mod batch;
mod frame;
mod interface;
mod neighbour;
mod udp;

pub use batch::{BATCH, Message, ReceiveBatch, SendBatch};
pub use frame::FrameSocket;
pub use interface::{InterfaceAddress, SystemInterface};
pub use neighbour::neighbour;
pub use udp::{DeviceSocket, Received};
