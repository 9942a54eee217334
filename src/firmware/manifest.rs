//! The manifest: which builds of iPXE are known, and the digest of each of their files.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::FirmwareError;
use super::pe::Machine;
use crate::durable_file::{self, Access};
use crate::wire::Digest;

const BUILT_IN: &str = include_str!("../../firmware/manifest.toml");
const BUILT_IN_ORIGIN: &str = "firmware/manifest.toml (built in)";

/// Every build of iPXE that may be handed to machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The packages, oldest first: the last that can be had is used.
    #[serde(rename = "package")]
    pub packages: Vec<Package>,
}

/// One version of a distribution's package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// The package's name in the distribution.
    pub name: String,
    /// Its version, exactly.
    pub version: String,
    /// The suites that are known to have had it, in the order in which they are asked.
    pub suites: Vec<String>,
    /// The digest of the .deb.
    pub sha256: Digest,
    /// The size of the .deb in bytes.
    pub size: u64,
    /// The files in it that machines ask for.
    #[serde(rename = "file")]
    pub files: Vec<PackageFile>,
}

/// One file of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageFile {
    /// Where it is inside the package, without a leading slash.
    pub path: String,
    /// Under which machines ask for it.
    pub name: String,
    /// What is done to it.
    pub kind: FileKind,
    /// What an EFI file runs on; unset for BIOS.
    pub machine: Option<Machine>,
    /// Its digest, before sealing.
    pub sha256: Digest,
    /// Its size in bytes, which sealing does not change.
    pub size: u64,
}

/// What a boot file is, and so how it comes to trust our root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A UEFI program: the root is sealed into it.
    Efi,
    /// A BIOS boot file, compressed: it passes unchanged, and learns the root from DHCP option 175.90.
    Bios,
}

impl Manifest {
    /// The manifest that is compiled in.
    ///
    /// # Errors
    /// None that a tested build can have: the text is a part of the program.
    pub fn built_in() -> Result<Self, FirmwareError> {
        Self::parse(BUILT_IN, BUILT_IN_ORIGIN)
    }

    /// Reads a manifest file.
    ///
    /// # Errors
    /// When it can't be read, or is no manifest.
    pub fn read(path: &Path) -> Result<Self, FirmwareError> {
        let text = std::fs::read_to_string(path).map_err(FirmwareError::io("read", path))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads a manifest from text; `origin` is what errors name.
    ///
    /// # Errors
    /// Unknown keys, wrong types, names that would leave their folder, the same thing twice.
    pub fn parse(text: &str, origin: &str) -> Result<Self, FirmwareError> {
        let refuse = |reason: String| FirmwareError::Manifest { origin: origin.to_owned(), reason };
        let manifest: Self = toml::from_str(text).map_err(|error| refuse(error.to_string().trim_end().to_owned()))?;
        manifest.check().map_err(refuse)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let mut digests = BTreeSet::new();
        for package in &self.packages {
            let of = format!("{} {}", package.name, package.version);
            // These become words of a command line and names of folders.
            if !is_word(&package.name) || !is_word(&package.version) {
                return Err(format!("`{of}` is not a package name and a version"));
            }
            if let Some(suite) = package.suites.iter().find(|suite| !is_word(suite)) {
                return Err(format!("`{suite}` of {of} is not the name of a suite"));
            }
            if !digests.insert(package.sha256) {
                return Err(format!("{of} is there twice (sha256 {})", package.sha256));
            }
            if package.files.is_empty() {
                return Err(format!("{of} names no file"));
            }
            let mut names = BTreeSet::new();
            for file in &package.files {
                file.check().map_err(|reason| format!("{of}: {reason}"))?;
                if !names.insert(&file.name) {
                    return Err(format!("{of} names `{}` twice", file.name));
                }
            }
        }
        if self.packages.is_empty() { Err("it names no package".to_owned()) } else { Ok(()) }
    }

    /// The packages in the order in which they are tried: newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().rev()
    }

    /// Adds `package` to the end of the manifest file at `path`, which keeps its comments.
    ///
    /// # Errors
    /// When the package is already in it, or the file can't be read or written.
    pub fn append(path: &Path, package: &Package) -> Result<(), FirmwareError> {
        let mut text = std::fs::read_to_string(path).map_err(FirmwareError::io("read", path))?;
        let origin = path.display().to_string();
        let before = Self::parse(&text, &origin)?;
        if before.packages.iter().any(|known| known.sha256 == package.sha256) {
            return Err(FirmwareError::AlreadyPinned(format!("{} {}", package.name, package.version)));
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&package.to_toml());
        // The file is what the next build believes, so it is read back before it is written.
        let after = Self::parse(&text, &origin)?;
        if after.packages.last() != Some(package) {
            return Err(FirmwareError::Manifest { origin, reason: "the new entry would not be read back as it was written".to_owned() });
        }
        durable_file::replace(path, text.as_bytes(), Access::Everyone).map_err(FirmwareError::io("write", path))
    }
}

impl Package {
    /// The entry as it stands in a manifest file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Every value here has been checked to be a word or a path of words, so none needs escaping.
        let suites: Vec<String> = self.suites.iter().map(|suite| format!("\"{suite}\"")).collect();
        let mut text = format!(
            "[[package]]\nname = \"{}\"\nversion = \"{}\"\nsuites = [{}]\nsha256 = \"{}\"\nsize = {}\n",
            self.name,
            self.version,
            suites.join(", "),
            self.sha256,
            self.size
        );
        for file in &self.files {
            let kind = match file.kind {
                FileKind::Efi => "efi",
                FileKind::Bios => "bios",
            };
            let machine = file.machine.map(|machine| format!("machine = \"{machine}\"\n")).unwrap_or_default();
            text.push_str(&format!(
                "\n[[package.file]]\npath = \"{}\"\nname = \"{}\"\nkind = \"{kind}\"\n{machine}sha256 = \"{}\"\nsize = {}\n",
                file.path, file.name, file.sha256, file.size
            ));
        }
        text
    }
}

impl PackageFile {
    fn check(&self) -> Result<(), String> {
        if !is_file_name(&self.name) {
            return Err(format!("`{}` is not a file name", self.name));
        }
        if self.path.is_empty() || !self.path.split('/').all(is_file_name) {
            return Err(format!("`{}` is not a path inside a package", self.path));
        }
        match (self.kind, self.machine) {
            (FileKind::Efi, None) => Err(format!("`{}` is of kind efi and names no machine", self.name)),
            (FileKind::Bios, Some(_)) => Err(format!("`{}` is of kind bios, which has no machine to name", self.name)),
            _ => Ok(()),
        }
    }
}

/// A name that stays in its folder, and that firmware can put into a TFTP request as it is.
pub(super) fn is_file_name(text: &str) -> bool {
    !text.starts_with('.') && is_word(text)
}

/// Text that is one harmless word of a command line and of an apt source.
fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".+-_~:".contains(&byte);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Package {
        let mut package = Manifest::built_in().unwrap().packages.pop().unwrap();
        package.version = "2.0.1-1".to_owned();
        package.sha256 = Digest::of(b"another package");
        package
    }

    #[test]
    fn built_in_manifest_has_a_file_for_every_kind_of_machine() {
        let manifest = Manifest::built_in().unwrap();
        for package in &manifest.packages {
            let names: Vec<&str> = package.files.iter().map(|file| file.name.as_str()).collect();
            for name in ["snponly.efi", "ipxe-amd64.efi", "ipxe-arm64.efi", "undionly.kpxe"] {
                assert!(names.contains(&name), "{} lacks {name}", package.version);
            }
        }
    }

    #[test]
    fn what_can_not_be_right_is_refused_with_its_reason() {
        let refused = |from: &str, to: &str| {
            let text = BUILT_IN.replacen(from, to, 1);
            assert_ne!(text, BUILT_IN);
            Manifest::parse(&text, "m.toml").unwrap_err().to_string()
        };
        assert!(refused("suites =", "suite =").contains("unknown field `suite`"));
        assert!(refused("name = \"snponly.efi\"", "name = \"../snponly.efi\"").contains("`../snponly.efi` is not a file name"));
        assert!(refused("path = \"usr/", "path = \"../usr/").contains("is not a path inside a package"));
        assert!(refused("name = \"ipxe-amd64.efi\"", "name = \"snponly.efi\"").contains("names `snponly.efi` twice"));
        assert!(refused("machine = \"x86_64\"\n", "").contains("names no machine"));
        assert!(refused("kind = \"bios\"", "kind = \"bios\"\nmachine = \"x86_64\"").contains("no machine to name"));
        assert!(refused("\"forky\"", "\"forky main\\ndeb http://x\"").contains("is not the name of a suite"));
        assert!(refused("version = \"2", "version = \"--2").contains("is not a package name and a version"));
        assert!(Manifest::parse("package = []", "m.toml").unwrap_err().to_string().contains("names no package"));
        let twice = format!("{BUILT_IN}\n{}", Manifest::built_in().unwrap().packages[0].to_toml());
        assert!(Manifest::parse(&twice, "m.toml").unwrap_err().to_string().contains("is there twice"));
    }

    #[test]
    fn a_new_version_goes_to_the_end_and_comments_stay() {
        let path = std::env::temp_dir().join(format!("fairlead-manifest-{}.toml", std::process::id()));
        std::fs::write(&path, BUILT_IN).unwrap();
        Manifest::append(&path, &example()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(BUILT_IN));
        let manifest = Manifest::read(&path).unwrap();
        assert_eq!(manifest.newest_first().next(), Some(&example()));
        assert!(matches!(Manifest::append(&path, &example()), Err(FirmwareError::AlreadyPinned(_))));
        std::fs::remove_file(&path).unwrap();
    }
}
