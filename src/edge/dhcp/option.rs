//! Numbers of DHCP options (RFC 2132 where nothing else is said) and of message types.

pub(super) const SUBNET_MASK: u8 = 1;
pub(super) const ROUTERS: u8 = 3;
pub(super) const DNS_SERVERS: u8 = 6;
pub(super) const HOST_NAME: u8 = 12;
pub(super) const DOMAIN_NAME: u8 = 15;
pub(super) const ROOT_PATH: u8 = 17;
pub(super) const BROADCAST_ADDRESS: u8 = 28;
pub(super) const NTP_SERVERS: u8 = 42;
pub(super) const VENDOR_SPECIFIC: u8 = 43;
pub(super) const REQUESTED_ADDRESS: u8 = 50;
pub(super) const LEASE_TIME: u8 = 51;
pub(super) const OVERLOAD: u8 = 52;
pub(super) const MESSAGE_TYPE: u8 = 53;
pub(super) const SERVER_IDENTIFIER: u8 = 54;
pub(super) const PARAMETER_REQUEST_LIST: u8 = 55;
pub(super) const MESSAGE: u8 = 56;
pub(super) const MAX_MESSAGE_SIZE: u8 = 57;
pub(super) const RENEWAL_TIME: u8 = 58;
pub(super) const REBINDING_TIME: u8 = 59;
pub(super) const VENDOR_CLASS: u8 = 60;
pub(super) const CLIENT_IDENTIFIER: u8 = 61;
pub(super) const TFTP_SERVER: u8 = 66;
pub(super) const BOOT_FILE: u8 = 67;
/// RFC 3004, which PXE clients and iPXE do not keep to: they send the bare text.
pub(super) const USER_CLASS: u8 = 77;
/// RFC 4039.
pub(super) const RAPID_COMMIT: u8 = 80;
/// RFC 4702.
pub(super) const CLIENT_FQDN: u8 = 81;
/// RFC 3046.
pub(super) const RELAY_AGENT: u8 = 82;
/// RFC 4578.
pub(super) const CLIENT_ARCH: u8 = 93;
/// RFC 4578.
pub(super) const MACHINE_UUID: u8 = 97;
/// RFC 8925.
pub(super) const IPV6_ONLY_PREFERRED: u8 = 108;
/// RFC 3011.
pub(super) const SUBNET_SELECTION: u8 = 118;
/// RFC 5859.
pub(super) const TFTP_SERVER_ADDRESS: u8 = 150;
/// iPXE's encapsulated options: features in requests, settings in answers.
pub(super) const IPXE: u8 = 175;

/// Sub-option of [`IPXE`] in a request: this build speaks HTTPS.
pub(super) const IPXE_HTTPS: u8 = 0x14;
/// Sub-option of [`IPXE`] in a request: the version, one octet each for major, minor and patch.
pub(super) const IPXE_VERSION: u8 = 0xeb;
/// Sub-option of [`IPXE`] in an answer: fingerprint of the root certificate to trust.
pub(super) const IPXE_TRUST: u8 = 90;

/// The value of [`VENDOR_SPECIFIC`] that keeps a PXE client from looking for boot servers: sub-option 6
/// (`PXE_DISCOVERY_CONTROL`) with bit 3, "download the boot file of this answer" (PXE 2.1, section 2.2.3).
pub(super) const PXE_BOOT_FROM_THIS_ANSWER: [u8; 3] = [6, 1, 8];
/// Sub-option of [`VENDOR_SPECIFIC`], `PXE_BOOT_ITEM`: what the client chose from a menu, and which layer of it.
pub(super) const PXE_BOOT_ITEM: u8 = 71;

/// What a client asks or a server answers (option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageType {
    Discover,
    Offer,
    Request,
    Decline,
    Ack,
    Nak,
    Release,
    Inform,
}

impl MessageType {
    pub(super) const fn from_octet(octet: u8) -> Option<Self> {
        Some(match octet {
            1 => Self::Discover,
            2 => Self::Offer,
            3 => Self::Request,
            4 => Self::Decline,
            5 => Self::Ack,
            6 => Self::Nak,
            7 => Self::Release,
            8 => Self::Inform,
            _ => return None,
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Discover => "DISCOVER",
            Self::Offer => "OFFER",
            Self::Request => "REQUEST",
            Self::Decline => "DECLINE",
            Self::Ack => "ACK",
            Self::Nak => "NAK",
            Self::Release => "RELEASE",
            Self::Inform => "INFORM",
        }
    }

    pub(super) const fn octet(self) -> u8 {
        match self {
            Self::Discover => 1,
            Self::Offer => 2,
            Self::Request => 3,
            Self::Decline => 4,
            Self::Ack => 5,
            Self::Nak => 6,
            Self::Release => 7,
            Self::Inform => 8,
        }
    }
}
