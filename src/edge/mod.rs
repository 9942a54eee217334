//! The box at the site: DHCP and proxyDHCP, leases, TFTP, HTTP boot, and the uplink to the cloud.

pub mod boot_files;
pub mod dhcp;
pub mod endpoint;
pub mod http;
pub mod lease;
pub mod socket;
pub mod tftp;
