//! The site-specific DHCP options (RFC 3942: 224 to 254) with which the edge hands a boot to our iPXE script.

/// The boot ticket, as text. iPXE reads it as `${224:string}`.
pub const TICKET: u8 = 224;
/// The URL of the cloud's boot plane, without a trailing slash. iPXE reads it as `${225:string}`.
pub const BOOT_URL: u8 = 225;
