use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::network::Ipv4Network;
use crate::edge::lease::AddressRange;
use crate::wire::MacAddr;

/// `[[interface]]`: one network interface of the box.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceSection {
    /// The system's name of the interface, such as `eth1`.
    pub name: Spanned<String>,
    /// What the box does there.
    pub mode: InterfaceMode,
    /// The box's own address there: the server identifier, and the host in boot URLs. Needed unless the mode is `off`.
    pub address: Option<Spanned<Ipv4Addr>>,
    /// Whether a server answers although another one was heard there.
    #[serde(default)]
    pub authoritative: bool,
}

/// What the box does on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InterfaceMode {
    /// It is the site's DHCP server there.
    Server,
    /// It tells machines what to boot, beside the DHCP server that gives them addresses.
    Proxy,
    /// It answers nothing and tells what a server would have said.
    Observe,
    /// Nothing.
    Off,
}

/// `[dhcp]`: what holds unless a subnet, class or reservation says otherwise.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DhcpSection {}

/// `[[class]]`: machines that have something in common.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSection {}

/// All of the file's sections that are about DHCP.
#[derive(Clone, Copy, Debug)]
pub struct Sections<'a> {
    /// `[[interface]]`.
    pub interfaces: &'a [Spanned<InterfaceSection>],
    /// `[dhcp]`.
    pub dhcp: &'a DhcpSection,
    /// `[[class]]`.
    pub classes: &'a [Spanned<ClassSection>],
    /// `[[subnet]]`.
    pub subnets: &'a [Spanned<SubnetSection>],
    /// `[boot]`.
    pub boot: &'a BootSection,
}

/// `[[subnet]]`: addresses to give out in `server` mode. It belongs to the interface whose address lies in it; others are
/// reached through relays.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetSection {
    /// The network, such as `192.0.2.0/24`.
    #[serde(deserialize_with = "from_text")]
    pub network: Spanned<Ipv4Network>,
    /// Ranges to give out, such as `192.0.2.100-192.0.2.199`.
    #[serde(default, deserialize_with = "list_from_text")]
    pub pools: Vec<Spanned<AddressRange>>,
    /// The clients' routers, the best one first (option 3).
    #[serde(default)]
    pub routers: Vec<Spanned<Ipv4Addr>>,
    /// Name servers (option 6).
    #[serde(default)]
    pub dns: Vec<Spanned<Ipv4Addr>>,
    /// Time servers (option 42). Firmware whose clock is years off refuses every certificate without one.
    #[serde(default)]
    pub ntp: Vec<Spanned<Ipv4Addr>>,
    /// The clients' domain (option 15).
    pub domain: Option<Spanned<String>>,
    /// How long a client has its address: `90s`, `30m`, `12h`, `7d`; from one minute to a year. An hour when left out.
    pub lease_time: Option<Spanned<String>>,
    /// `[[subnet.reservation]]`: addresses kept for one machine each.
    #[serde(default)]
    pub reservation: Vec<ReservationSection>,
}

/// `[[subnet.reservation]]`: an address that only one machine gets, inside or outside of the pools.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReservationSection {
    /// The machine's hardware address.
    pub mac: Spanned<MacAddr>,
    /// The address kept for it.
    pub address: Spanned<Ipv4Addr>,
}

/// `[boot]`: what machines are told to boot.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootSection {
    /// `[boot.files]`: boot files that differ from the built-in ones, by architecture: its name (`x64-uefi`) or its number in
    /// IANA's list (`7`). The value is a file that the box serves, a whole URL, or `""` for no boot file.
    #[serde(default)]
    pub files: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// A value that stands in the file as text. (`Spanned` wants to see the text itself; what it holds is parsed after that.)
struct Text<T>(T);

impl<'de, T: std::str::FromStr<Err: std::fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

fn unwrap_text<T>(spanned: Spanned<Text<T>>) -> Spanned<T> {
    let span = spanned.span();
    Spanned::new(span, spanned.into_inner().0)
}

fn from_text<'de, D, T>(deserializer: D) -> Result<Spanned<T>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    Spanned::<Text<T>>::deserialize(deserializer).map(unwrap_text)
}

fn list_from_text<'de, D, T>(deserializer: D) -> Result<Vec<Spanned<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    Vec::<Spanned<Text<T>>>::deserialize(deserializer).map(|list| list.into_iter().map(unwrap_text).collect())
}
