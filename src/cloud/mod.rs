//! The service in the cloud.
//!
//! - [`actor`]: who does something.
//! - [`admission`]: node states and who may boot; plain functions without I/O.
//! - [`asset`]: kernels and initramfs images, each stored once under its digest.
//! - [`boot`]: the boot plane, which iPXE and Talos talk to.
//! - [`inventory`]: what people, programs and machines do to nodes.
//! - [`machine_config`]: what a node is to become.
//! - [`site`]: the site plane, which edge boxes talk to.
//! - [`store`]: what is kept for good.
//! - [`serve`]: the listeners around the planes.
//! - [`command`]: what an operator types.

pub mod actor;
pub mod admission;
pub mod asset;
pub mod boot;
pub mod command;
pub mod config;
pub mod inventory;
pub mod machine_config;
pub mod serve;
pub mod site;
pub mod state;
pub mod store;
