//! The lab: a site, a cloud and nodes on this machine, in network namespaces of their own.

pub(crate) mod cpio;
pub(crate) mod files;
pub(crate) mod log_file;
pub(crate) mod node_image;
pub(crate) mod packages;
pub(crate) mod process;
