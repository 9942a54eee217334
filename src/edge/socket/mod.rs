//! Sockets that the standard library has no safe interface for: UDP on one network interface, Ethernet frames, and what the
//! system says of its interfaces.
//!
//! System calls go through the safe wrappers of nix and socket2; what is `unsafe` all the same stands here, with its proof.

mod batch;
mod filter;
mod frame;
mod icmp;
mod interface;
mod link;
mod neighbour;
mod udp;

pub use batch::{BATCH, Message, ReceiveBatch, SendBatch};
pub use frame::FrameSocket;
pub use icmp::EchoSocket;
pub use interface::{InterfaceAddress, SystemInterface};
pub use link::{LinkSocket, SentToClient, arp_owner, arp_probe, sent_to_client};
pub use neighbour::neighbour;
pub use udp::{DeviceSocket, Received};
