//! What each Talos release knows: its documents, their fields, and how fields of each type are merged.
//!
//! The tables beside this file are found by reflection in Talos' own packages (`tests/talos`), a line each:
//!
//! ```text
//! document KIND TYPE [named] [conflicts=KIND,...]
//! enumeration TYPE 0=NAME NAME ...         the name behind `0=` is the zero value
//! special TYPE KIND merges|resets|unmergeable   a type that reads a text of its own
//! struct TYPE
//!  FIELD TYPE [omitempty] [replace]        FIELD is `<<` where the type's fields stand among these
//! ```
//!
//! A type is a scalar's name, `*TYPE` a pointer, `[TYPE` a list, `{TYPE` a map, `#NAME` a struct, `@NAME` an enumeration or special type,
//! `&NAME<TYPE` a list or map that merges in its own way.

mod read;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// A Talos release as far as its machine config differs: the minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contract {
    minor: u16,
}

/// The releases whose fields are known here. 1.14 stands for what comes after it as well.
const KNOWN: [(u16, &str); 4] = [
    (11, include_str!("talos-1.11.fields")),
    (12, include_str!("talos-1.12.fields")),
    (13, include_str!("talos-1.13.fields")),
    (14, include_str!("talos-1.14.fields")),
];

/// A version that is none of Talos 1.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no Talos version from 1.11 on, such as `1.13` or `v1.13.9`")]
pub struct ContractError(String);

impl Contract {
    /// The newest release that is known here.
    pub const NEWEST: Self = Self { minor: 14 };

    /// The releases that are known here, oldest first.
    #[must_use]
    pub fn known() -> [Self; 4] {
        KNOWN.map(|(minor, _)| Self { minor })
    }

    /// What this release knows.
    #[must_use]
    pub fn schema(self) -> &'static Schema {
        static SCHEMAS: LazyLock<[Schema; 4]> = LazyLock::new(|| KNOWN.map(|(minor, table)| Schema::read(Contract { minor }, table)));
        let index = KNOWN.iter().rposition(|(minor, _)| *minor <= self.minor).unwrap_or_default();
        let [oldest, ..] = &*SCHEMAS;
        SCHEMAS.get(index).unwrap_or(oldest)
    }

    /// Whether this is Talos 1.`minor` or later.
    #[must_use]
    pub const fn is_at_least(self, minor: u16) -> bool {
        self.minor >= minor
    }
}

impl FromStr for Contract {
    type Err = ContractError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ContractError(text.chars().take(40).collect());
        let mut parts = text.strip_prefix('v').unwrap_or(text).splitn(3, '.');
        let (Some("1"), Some(minor)) = (parts.next(), parts.next()) else { return Err(error()) };
        let minor = minor.parse().map_err(|_| error())?;
        if minor < 11 { Err(error()) } else { Ok(Self { minor }) }
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.minor)
    }
}

/// The type of a field, as Talos has it in Go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text.
    String,
    /// True or false, where absent is false.
    Bool,
    /// A whole number within these bounds.
    Integer {
        /// The least.
        least: i128,
        /// The most.
        most: i128,
    },
    /// Any number.
    Float,
    /// `10s`, `1h30m`.
    Duration,
    /// Whatever stands there.
    Any,
    /// A value that may be absent.
    Pointer(Box<Type>),
    /// A list.
    List(Box<Type>),
    /// A map with text as keys.
    Map(Box<Type>),
    /// A list whose items are merged by a key.
    Keyed(Keyed, Box<Type>),
    /// Arguments of a program: a key's value is replaced whole.
    Arguments(Box<Type>),
    /// Fields: an index into [`Schema`]'s structs.
    Struct(usize),
    /// Names: an index into [`Schema`]'s enumerations.
    Enumeration(usize),
    /// A type that reads a text of its own.
    Special(Special),
}

/// Lists whose items are merged by a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyed {
    /// `machine.network.interfaces`, by `interface` or `deviceSelector`.
    Devices,
    /// `vlans` of an interface, by `vlanId`.
    Vlans,
    /// Admission plugins, by `name`.
    AdmissionPlugins,
    /// Files of an extension service, by `mountPath`.
    ConfigFiles,
    /// Rules of image verification: one for the same `image` is replaced whole.
    ImageRules,
}

/// Types that read a text of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// `10.0.0.0/8`.
    Prefix,
    /// `10.0.0.1`.
    Address,
    /// `10.0.0.1:80`.
    AddressPort,
    /// A URL.
    Url,
    /// `10GB`.
    ByteSize,
    /// `10GB` or `10%`.
    Size,
    /// `>= 10GB`.
    SizeMatcher,
    /// A CEL expression.
    Expression,
    /// One argument, or a list of it.
    Argument,
    /// `aa:bb:cc:dd:ee:ff`.
    HardwareAddress,
    /// `80` or `80-90`.
    PortRange,
    /// Base 64.
    Base64,
    /// A certificate and its key, both base 64.
    CertificateAndKey,
    /// A certificate, base 64.
    Certificate,
    /// A key, base 64.
    Key,
    /// A disk's size, as a number or `10GB`.
    DiskSize,
}

impl Special {
    /// Talos' own merge fails on two of these, even where the patch does not name them.
    #[must_use]
    pub const fn is_unmergeable(self) -> bool {
        matches!(self, Self::Prefix | Self::Address | Self::AddressPort | Self::SizeMatcher)
    }

    /// A patch sets this even where it does not name it, as long as it names something beside it: Talos' own merge of the type takes
    /// what is absent for a value.
    #[must_use]
    pub const fn is_reset(self) -> bool {
        matches!(self, Self::ByteSize | Self::Expression)
    }
}

/// A document that Talos knows.
#[derive(Debug)]
pub struct Document {
    /// Its fields.
    pub structure: usize,
    /// Whether there may be several, told apart by `name`.
    pub named: bool,
    /// Kinds that must not be there under the same name.
    pub conflicts: Vec<&'static str>,
}

/// Fields that stand together.
#[derive(Debug, Default)]
pub struct Struct {
    /// Talos' own name of the type.
    pub name: &'static str,
    /// The fields, in Talos' order.
    pub fields: Vec<Field>,
    /// The type of values under keys that are no fields, where such are taken.
    pub others: Option<Type>,
    /// The first field, through structs that are part of this one, that Talos can't merge.
    pub unmergeable: Option<&'static str>,
    /// Fields that a patch sets even where it does not name them: plain booleans, byte sizes and expressions, here or in structs that are part of this.
    pub resets: Vec<usize>,
}

/// A field.
#[derive(Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
    /// Whether Talos leaves it out when it is zero.
    pub omit_empty: bool,
    /// Whether a patch replaces it whole.
    pub replace: bool,
    /// Whether it is a field of a struct that Talos has among the fields of this one.
    pub inlined: bool,
}

/// Names of numbers.
#[derive(Debug)]
pub struct Enumeration {
    /// The names; of some types the texts are not to be listed, and this is empty.
    pub names: Vec<&'static str>,
    /// The name that stands for zero.
    pub zero: Option<&'static str>,
}

/// What one release knows.
#[derive(Debug)]
pub struct Schema {
    /// The release.
    pub contract: Contract,
    documents: HashMap<&'static str, Document>,
    structs: Vec<Struct>,
    enumerations: Vec<Enumeration>,
}

impl Schema {
    /// The document of a kind; `v1alpha1` is the one without a kind.
    #[must_use]
    pub fn document(&self, kind: &str) -> Option<&Document> {
        self.documents.get(kind)
    }

    /// All kinds, sorted.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.documents.keys().copied().collect();
        kinds.sort_unstable();
        kinds
    }

    /// The fields behind an index.
    #[must_use]
    pub fn structure(&self, index: usize) -> &Struct {
        static NOTHING: Struct = Struct { name: "", fields: Vec::new(), others: None, unmergeable: None, resets: Vec::new() };
        self.structs.get(index).unwrap_or(&NOTHING)
    }

    /// The names behind an index.
    #[must_use]
    pub fn enumeration(&self, index: usize) -> &Enumeration {
        static NOTHING: Enumeration = Enumeration { names: Vec::new(), zero: None };
        self.enumerations.get(index).unwrap_or(&NOTHING)
    }
}

impl Struct {
    /// A field by its key.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_and_without_their_patch_level() {
        for (text, minor) in [("1.11", 11), ("v1.13.9", 13), ("v1.14.0-alpha.2", 14), ("1.15", 15)] {
            assert_eq!(text.parse::<Contract>().unwrap(), Contract { minor });
        }
        for text in ["1.10", "2.0", "", "v1", "1.x"] {
            assert!(text.parse::<Contract>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_release_has_its_documents() {
        assert!(Contract { minor: 11 }.schema().document("HostnameConfig").is_none());
        for contract in Contract::known() {
            let schema = contract.schema();
            assert_eq!(schema.contract, contract);
            let config = schema.structure(schema.document("v1alpha1").unwrap().structure);
            assert!(matches!(config.field("machine").unwrap().ty, Type::Pointer(_)));
            assert!(schema.document("ExtensionServiceConfig").unwrap().named);
            assert!(schema.structs.iter().all(|structure| !structure.name.is_empty()));
        }
        assert_eq!(Contract { minor: 20 }.schema().contract, Contract::NEWEST);
    }

    #[test]
    fn what_replaces_and_what_cannot_be_merged_is_known() {
        let schema = Contract { minor: 13 }.schema();
        let replaced: Vec<_> = schema
            .structs
            .iter()
            .flat_map(|structure| structure.fields.iter())
            .filter(|field| field.replace)
            .map(|field| field.name)
            .collect();
        assert_eq!(replaced, ["ingress", "ports", "auditPolicy", "podSubnets", "serviceSubnets"]);
        let rule = schema.structure(schema.document("RoutingRuleConfig").unwrap().structure);
        assert_eq!(rule.unmergeable, Some("src"));
    }
}
