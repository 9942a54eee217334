use std::collections::HashMap;

use super::{Contract, Document, Enumeration, Field, Keyed, Schema, Special, Struct, Type};

impl Schema {
    /// Reads a table that is part of the program; a line that it does not know is left out, and a test finds that.
    pub(super) fn read(contract: Contract, table: &'static str) -> Self {
        let words = |line: &'static str| line.split(' ').filter(|word| !word.is_empty());
        let mut names = Names::default();
        for line in table.lines() {
            let mut words = words(line);
            match (words.next(), words.next()) {
                (Some("struct"), Some(name)) if !line.starts_with(' ') => {
                    names.structs.insert(name, names.structs.len());
                }
                (Some("enumeration"), Some(name)) if !line.starts_with(' ') => {
                    names.enumerations.insert(name, names.enumerations.len());
                }
                _ => {}
            }
        }

        let mut schema = Self { contract, documents: HashMap::new(), structs: Vec::new(), enumerations: Vec::new() };
        for line in table.lines() {
            let mut words = words(line);
            let (Some(first), Some(second)) = (words.next(), words.next()) else { continue };
            if line.starts_with(' ') {
                let Some(ty) = names.read(second) else { continue };
                let flags: Vec<_> = words.collect();
                let field = Field {
                    name: first,
                    ty,
                    omit_empty: flags.contains(&"omitempty"),
                    replace: flags.contains(&"replace"),
                    inlined: false,
                };
                if let Some(structure) = schema.structs.last_mut() {
                    structure.fields.push(field);
                }
                continue;
            }
            match first {
                "struct" => schema.structs.push(Struct { name: second, ..Struct::default() }),
                "enumeration" => schema.enumerations.push(enumeration(words)),
                "document" => {
                    let structure = words.next().and_then(|ty| names.read(ty));
                    let Some(Type::Struct(structure)) = structure else { continue };
                    let mut document = Document { structure, named: false, conflicts: Vec::new() };
                    for word in words {
                        match word.strip_prefix("conflicts=") {
                            Some(kinds) => document.conflicts = kinds.split(',').collect(),
                            None => document.named |= word == "named",
                        }
                    }
                    schema.documents.insert(second, document);
                }
                _ => {}
            }
        }
        schema.inline_fields();
        for index in 0..schema.structs.len() {
            let (unmergeable, resets) = (schema.unmergeable(index), schema.resets(index));
            if let Some(structure) = schema.structs.get_mut(index) {
                structure.unmergeable = unmergeable;
                structure.resets = resets;
            }
        }
        schema
    }

    /// Puts the fields of inlined structs among those of the struct that inlines them.
    fn inline_fields(&mut self) {
        for index in 0..self.structs.len() {
            let fields = self.structs.get_mut(index).map(|structure| std::mem::take(&mut structure.fields)).unwrap_or_default();
            let (mut flat, mut others) = (Vec::new(), None);
            for field in fields {
                match (field.name, field.ty) {
                    ("<<", Type::Map(inner)) => others = Some(*inner),
                    ("<<", Type::Struct(inner)) => {
                        let inner = self.structure(inner);
                        others = others.or_else(|| inner.others.clone());
                        flat.extend(inner.fields.iter().map(|field| Field { ty: field.ty.clone(), inlined: true, ..*field }));
                    }
                    (_, ty) => flat.push(Field { ty, ..field }),
                }
            }
            if let Some(structure) = self.structs.get_mut(index) {
                structure.fields = flat;
                structure.others = others;
            }
        }
    }

    fn unmergeable(&self, index: usize) -> Option<&'static str> {
        self.structure(index).fields.iter().find_map(|field| match &field.ty {
            Type::Special(special) if special.is_unmergeable() => Some(field.name),
            Type::Struct(inner) if !field.replace => self.unmergeable(*inner).map(|_| field.name),
            _ => None,
        })
    }

    fn resets(&self, index: usize) -> Vec<usize> {
        let fields = self.structure(index).fields.iter().enumerate();
        let resets = fields.filter(|(_, field)| match &field.ty {
            Type::Bool => true,
            Type::Special(special) => special.is_reset(),
            Type::Struct(inner) => !field.replace && !self.resets(*inner).is_empty(),
            _ => false,
        });
        resets.map(|(index, _)| index).collect()
    }
}

fn enumeration(words: impl Iterator<Item = &'static str>) -> Enumeration {
    let mut enumeration = Enumeration { names: Vec::new(), zero: None };
    for word in words {
        let name = match word.strip_prefix("0=") {
            Some(zero) => {
                enumeration.zero = Some(zero);
                zero
            }
            None => word,
        };
        enumeration.names.push(name);
    }
    enumeration
}

#[derive(Default)]
struct Names {
    structs: HashMap<&'static str, usize>,
    enumerations: HashMap<&'static str, usize>,
}

impl Names {
    fn read(&self, text: &'static str) -> Option<Type> {
        let boxed = |text| self.read(text).map(Box::new);
        let signed = |bits: u32| Type::Integer { least: -(1_i128 << bits.saturating_sub(1)), most: (1_i128 << bits.saturating_sub(1)) - 1 };
        let unsigned = |bits: u32| Type::Integer { least: 0, most: (1_i128 << bits) - 1 };
        if let Some((sign, rest)) = text.split_at_checked(1) {
            match sign {
                "*" => return boxed(rest).map(Type::Pointer),
                "[" => return boxed(rest).map(Type::List),
                "{" => return boxed(rest).map(Type::Map),
                "#" => return self.structs.get(rest).copied().map(Type::Struct),
                "@" => return special(rest).map(Type::Special).or_else(|| self.enumerations.get(rest).copied().map(Type::Enumeration)),
                "&" => {
                    let (name, inner) = rest.split_once('<')?;
                    return match keyed(name) {
                        Some(keyed) => boxed(inner).map(|inner| Type::Keyed(keyed, inner)),
                        None => boxed(inner).map(Type::Arguments),
                    };
                }
                _ => {}
            }
        }
        Some(match text {
            "string" => Type::String,
            "bool" => Type::Bool,
            "i8" => signed(8),
            "i16" => signed(16),
            "i32" => signed(32),
            "i64" => signed(64),
            "u8" => unsigned(8),
            "u16" => unsigned(16),
            "u32" => unsigned(32),
            "u64" => unsigned(64),
            "float" => Type::Float,
            "duration" => Type::Duration,
            "any" => Type::Any,
            _ => return None,
        })
    }
}

fn keyed(name: &str) -> Option<Keyed> {
    Some(match name {
        "v1alpha1.NetworkDeviceList" => Keyed::Devices,
        "v1alpha1.VlanList" => Keyed::Vlans,
        "v1alpha1.AdmissionPluginConfigList" => Keyed::AdmissionPlugins,
        "extensions.ConfigFileList" => Keyed::ConfigFiles,
        "security.ImageVerificationRules" => Keyed::ImageRules,
        _ => return None,
    })
}

fn special(name: &str) -> Option<Special> {
    Some(match name {
        "meta.Prefix" | "network.Prefix" | "netip.Prefix" => Special::Prefix,
        "meta.Addr" | "network.Addr" | "netip.Addr" => Special::Address,
        "meta.AddrPort" | "network.AddrPort" | "netip.AddrPort" => Special::AddressPort,
        "meta.URL" | "v1alpha1.Endpoint" => Special::Url,
        "block.ByteSize" => Special::ByteSize,
        "block.Size" => Special::Size,
        "v1alpha1.InstallDiskSizeMatcher" => Special::SizeMatcher,
        "cel.Expression" => Special::Expression,
        "meta.ArgValue" | "v1alpha1.ArgValue" => Special::Argument,
        "nethelpers.HardwareAddr" => Special::HardwareAddress,
        "network.PortRange" => Special::PortRange,
        "v1alpha1.Base64Bytes" => Special::Base64,
        "x509.PEMEncodedCertificateAndKey" => Special::CertificateAndKey,
        "x509.PEMEncodedCertificate" => Special::Certificate,
        "x509.PEMEncodedKey" => Special::Key,
        "v1alpha1.DiskSize" => Special::DiskSize,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{KNOWN, Type};
    use super::*;

    /// A line that this reader does not know would be a field or document that is refused without cause.
    #[test]
    fn every_line_of_the_tables_is_read() {
        for (minor, table) in KNOWN {
            let schema = Schema::read(Contract { minor }, table);
            let lines = |start: &str| table.lines().filter(|line| line.starts_with(start)).count();
            assert_eq!(schema.documents.len(), lines("document "));
            assert_eq!(schema.structs.len(), lines("struct "));
            assert_eq!(schema.enumerations.len(), lines("enumeration "));
            for line in table.lines().filter(|line| line.starts_with("special ")) {
                let words: Vec<_> = line.split(' ').collect();
                let special = special(words[1]).unwrap_or_else(|| panic!("{line}"));
                // An argument stands in a map that merges in its own way.
                assert!(special.is_unmergeable() == (words[3] == "unmergeable") || special == Special::Argument, "{line}");
                assert_eq!(special.is_reset(), words[3] == "resets", "{line}");
            }
            let mut names = Names::default();
            for (kind, index) in [("struct ", &mut names.structs), ("enumeration ", &mut names.enumerations)] {
                for line in table.lines().filter_map(|line| line.strip_prefix(kind)) {
                    index.insert(line.split(' ').next().unwrap(), 0);
                }
            }
            for line in table.lines().filter(|line| line.starts_with(' ')) {
                let ty = names.read(line.split(' ').nth(2).unwrap());
                assert!(ty.is_some(), "{line}");
                let argument = matches!(&ty, Some(Type::Arguments(inner)) if **inner != Type::Special(Special::Argument));
                assert!(!argument, "{line}");
            }
        }
    }
}
