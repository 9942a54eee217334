use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::network::{AddressOrNetwork, AddressOrRange, Ipv4Network};
use super::value::Value;
use crate::edge::lease::AddressRange;
use crate::wire::{MacAddr, SystemUuid};

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
    pub authoritative: Option<Spanned<bool>>,
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

/// A list with its place, each item with its own.
type SpannedList<T> = Spanned<Vec<Spanned<T>>>;

/// Options by name or number.
pub(super) type OptionTable = BTreeMap<Spanned<String>, Spanned<Value>>;

/// Boot files by architecture.
pub(super) type BootFileTable = BTreeMap<Spanned<String>, Spanned<String>>;

/// The keys that every level has, in whichever section they stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct PolicyKeys<'a> {
    pub(super) lease_time: Option<&'a Spanned<String>>,
    pub(super) min_lease_time: Option<&'a Spanned<String>>,
    pub(super) max_lease_time: Option<&'a Spanned<String>>,
    pub(super) renewal_time: Option<&'a Spanned<String>>,
    pub(super) rebinding_time: Option<&'a Spanned<String>>,
    pub(super) rapid_commit: Option<&'a Spanned<bool>>,
    pub(super) always_send: &'a [Spanned<Value>],
    pub(super) options: &'a OptionTable,
    pub(super) boot: Option<&'a Spanned<bool>>,
    pub(super) boot_files: &'a BootFileTable,
}

/// A section with keys of its own and the keys of every level. (serde's `flatten` would take the lines from them.)
macro_rules! level {
    ($(#[$about:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$about])*
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($own)*
            /// Life of a lease whose client asks for no particular time: `90s`, `30m`, `12h`, `7d`; from one minute to a year.
            pub lease_time: Option<Spanned<String>>,
            /// The least that a client gets by asking (option 51).
            pub min_lease_time: Option<Spanned<String>>,
            /// The most that a client gets by asking.
            pub max_lease_time: Option<Spanned<String>>,
            /// T1 (option 58).
            pub renewal_time: Option<Spanned<String>>,
            /// T2 (option 59).
            pub rebinding_time: Option<Spanned<String>>,
            /// RFC 4039: an address in one step, for clients that ask for it.
            pub rapid_commit: Option<Spanned<bool>>,
            /// Options that are sent to clients that did not list them, too; names or numbers.
            #[serde(default)]
            pub always_send: Vec<Spanned<Value>>,
            /// Options.
            #[serde(default)]
            pub options: OptionTable,
            /// Whether machines are told a boot file.
            pub boot: Option<Spanned<bool>>,
            /// Boot files that differ from `[boot.files]`.
            #[serde(default)]
            pub boot_files: BootFileTable,
        }

        impl $name {
            pub(super) fn policy(&self) -> PolicyKeys<'_> {
                PolicyKeys {
                    lease_time: self.lease_time.as_ref(),
                    min_lease_time: self.min_lease_time.as_ref(),
                    max_lease_time: self.max_lease_time.as_ref(),
                    renewal_time: self.renewal_time.as_ref(),
                    rebinding_time: self.rebinding_time.as_ref(),
                    rapid_commit: self.rapid_commit.as_ref(),
                    always_send: &self.always_send,
                    options: &self.options,
                    boot: self.boot.as_ref(),
                    boot_files: &self.boot_files,
                }
            }
        }
    };
}

level! {
/// `[dhcp]`: what holds unless a subnet, class or reservation says otherwise.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct DhcpSection {
    /// Whether an address is probed before a new client is given it.
    pub conflict_probe: Option<Spanned<bool>>,
    /// How long nobody gets an address that a client declined or a probe found in use.
    pub decline_quarantine: Option<Spanned<String>>,
    /// How long an offered address is kept for its client.
    pub offer_hold: Option<Spanned<String>>,
    /// The relays that may ask: addresses and networks.
    #[serde(default, deserialize_with = "list_from_text")]
    pub relays: Vec<Spanned<AddressOrNetwork>>,
    /// `[dhcp.limits]`.
    #[serde(default)]
    pub limits: LimitsSection,
}
}

/// `[dhcp.limits]`: what the box does at most.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsSection {
    /// Offers to machines without a lease that wait for their REQUEST, in all subnets.
    pub offers: Option<Spanned<i64>>,
    /// Datagrams of one client in ten seconds.
    pub client_rate: Option<Spanned<i64>>,
}

level! {
/// `[[class]]`: machines that have something in common. All keys that are given must match, any value of each.
#[derive(Clone, Debug, Deserialize)]
pub struct ClassSection {
    /// What `explain` and the log call it.
    pub name: Spanned<String>,
    /// Architectures (option 93), by name or number.
    pub arch: Option<SpannedList<Value>>,
    /// Vendor class identifiers (option 60); a `*` at the end stands for anything.
    pub vendor_class: Option<SpannedList<String>>,
    /// User classes (option 77), likewise.
    pub user_class: Option<SpannedList<String>>,
    /// First octets of the hardware address.
    pub mac_prefix: Option<SpannedList<String>>,
    /// Relays (`giaddr`): addresses and networks.
    #[serde(default, deserialize_with = "optional_list_from_text")]
    pub relay: Option<SpannedList<AddressOrNetwork>>,
}
}

level! {
/// `[[subnet]]`: addresses to give out in `server` mode. It belongs to the interface whose address lies in it; others are
/// reached through relays.
#[derive(Clone, Debug, Deserialize)]
pub struct SubnetSection {
    /// The network, such as `192.0.2.0/24`.
    #[serde(deserialize_with = "from_text")]
    pub network: Spanned<Ipv4Network>,
    /// Ranges to give out, such as `192.0.2.100-192.0.2.199`.
    #[serde(default, deserialize_with = "list_from_text")]
    pub pools: Vec<Spanned<AddressRange>>,
    /// Addresses and ranges inside the pools that are not given out.
    #[serde(default, deserialize_with = "list_from_text")]
    pub exclude: Vec<Spanned<AddressOrRange>>,
    /// Relays that serve this subnet although their address lies outside of it.
    #[serde(default, deserialize_with = "list_from_text")]
    pub relays: Vec<Spanned<AddressOrNetwork>>,
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
    /// The name by which it shares its link with other subnets: a client there is given an address of the first one that has room.
    pub shared_network: Option<Spanned<String>>,
    /// The classes for which the pools are, by name; for all machines when it is not there.
    pub classes: Option<SpannedList<String>>,
    /// Whether an address is probed before a new client is given it.
    pub conflict_probe: Option<Spanned<bool>>,
    /// `[[subnet.reservation]]`: addresses kept for one machine each.
    #[serde(default)]
    pub reservation: Vec<Spanned<ReservationSection>>,
}
}

level! {
/// `[[subnet.reservation]]`: an address that only one machine gets, inside or outside of the pools. One of the four keys
/// names the machine.
#[derive(Clone, Debug, Deserialize)]
pub struct ReservationSection {
    /// The machine's hardware address.
    pub mac: Option<Spanned<MacAddr>>,
    /// The octets of option 61 in hex, or `text:` and what the client sends behind a type octet of zero, or bare.
    pub client_id: Option<Spanned<String>>,
    /// The machine's UUID (option 97).
    pub uuid: Option<Spanned<SystemUuid>>,
    /// The relay agent's circuit ID (option 82, sub-option 1) in hex, or `text:` and the text.
    pub circuit_id: Option<Spanned<String>>,
    /// The address kept for it.
    pub address: Spanned<Ipv4Addr>,
    /// The host name that the machine is told (option 12).
    pub host_name: Option<Spanned<String>>,
}
}

/// `[boot]`: what machines are told to boot.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootSection {
    /// `[boot.files]`: boot files that differ from the built-in ones, by architecture: its name (`x64-uefi`) or its number in
    /// IANA's list (`7`). The value is a file that the box serves, a whole URL, or `""` for no boot file.
    #[serde(default)]
    pub files: BootFileTable,
}

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

fn optional_list_from_text<'de, D, T>(deserializer: D) -> Result<Option<SpannedList<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let list = Spanned::<Vec<Spanned<Text<T>>>>::deserialize(deserializer)?;
    let span = list.span();
    Ok(Some(Spanned::new(span, list.into_inner().into_iter().map(unwrap_text).collect())))
}
