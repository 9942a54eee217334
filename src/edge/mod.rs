//! The box at the site: DHCP and proxyDHCP, leases, TFTP, HTTP boot, and the uplink to the cloud.

pub mod boot_files;
pub mod command;
pub mod config;
pub mod control;
pub mod dhcp;
pub mod endpoint;
pub mod http;
pub mod identity;
pub mod lease;
pub mod reload;
pub mod run;
mod served;
pub mod socket;
pub mod state;
pub mod tftp;
mod ticket_minter;
pub mod uplink;

#[cfg(test)]
pub(crate) mod test_folder;
