//! From manifest to sealed set, over packages made here and over the real one.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::pe::tests::efi_application;
use super::seal::tests::{ROOT, stock_body};
use super::*;
use crate::failure::Failure;

/// A folder for one test.
struct Lab(PathBuf);

impl Lab {
    fn new(test: &str) -> Self {
        let folder = env::temp_dir().join(format!("fairlead-firmware-{test}-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A package of that version with one UEFI and one BIOS file.
    fn package(&self, version: &str, efi: &[u8]) -> PathBuf {
        let tree = self.at(&format!("tree-{version}"));
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        fs::create_dir_all(tree.join("boot")).unwrap();
        let control =
            format!("Package: ipxe\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: test\n");
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        fs::write(tree.join("boot/x.efi"), efi).unwrap();
        fs::write(tree.join("boot/x.kpxe"), b"packed").unwrap();
        let deb = self.at(&format!("ipxe_{version}.deb"));
        let output = Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(&deb).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        deb
    }

    fn build(&self, manifest: &Manifest, files: &[PathBuf]) -> Result<SealedSet, FirmwareError> {
        build(&BuildOptions {
            manifest,
            cache: &self.at("cache"),
            files,
            mirror: None,
            root: ROOT,
            out: &self.at("out"),
            progress: &|_line| {},
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A manifest with the one package `deb`, in a suite that no mirror has.
fn manifest_of(deb: &Path, version: &str, efi: &[u8]) -> Manifest {
    let (deb, size) = (Digest::of(&fs::read(deb).unwrap()), fs::metadata(deb).unwrap().len());
    let text = format!(
        "[[package]]\nname = \"ipxe\"\nversion = \"{version}\"\nsuites = []\nsha256 = \"{deb}\"\nsize = {size}\n\
         [[package.file]]\npath = \"boot/x.efi\"\nname = \"x.efi\"\nkind = \"efi\"\nmachine = \"x86_64\"\nsha256 = \"{}\"\nsize = {}\n\
         [[package.file]]\npath = \"boot/x.kpxe\"\nname = \"x.kpxe\"\nkind = \"bios\"\nsha256 = \"{}\"\nsize = 6\n",
        Digest::of(efi),
        efi.len(),
        Digest::of(b"packed"),
    );
    Manifest::parse(&text, "test.toml").unwrap()
}

fn stock() -> Vec<u8> {
    efi_application(0x8664, &stock_body())
}

#[test]
fn a_package_brought_by_hand_becomes_a_sealed_set_and_stays_in_the_cache() {
    let lab = Lab::new("by-hand");
    let deb = lab.package("2.0.0-1", &stock());
    let manifest = manifest_of(&deb, "2.0.0-1", &stock());
    let set = lab.build(&manifest, &[deb]).unwrap();
    assert_eq!(set.record().root, ROOT);
    let efi = set.file("x.efi").unwrap();
    assert_eq!(efi.input_sha256, Digest::of(&stock()));
    assert_ne!(efi.sha256, efi.input_sha256);
    assert_eq!(set.read(efi).unwrap(), seal::seal(&stock(), ROOT).unwrap().bytes);
    assert_eq!(set.read(set.file("x.kpxe").unwrap()).unwrap(), b"packed");
    // The second build needs neither the file nor a network.
    assert_eq!(lab.build(&manifest, &[]).unwrap(), set);
    assert_eq!(SealedSet::open(&lab.at("out"), ROOT).unwrap(), set);
}

#[test]
fn single_files_are_taken_by_their_digest_and_unknown_ones_refused() {
    let lab = Lab::new("single");
    let deb = lab.package("2.0.0-1", &stock());
    let manifest = manifest_of(&deb, "2.0.0-1", &stock());
    fs::write(lab.at("whatever-name"), stock()).unwrap();
    let set = lab.build(&manifest, &[lab.at("whatever-name")]).unwrap();
    assert_eq!(set.files().iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["x.efi"]);
    fs::write(lab.at("other"), b"other").unwrap();
    let error = lab.build(&manifest, &[lab.at("other")]).unwrap_err();
    assert!(matches!(error, FirmwareError::UnknownFile { found, .. } if found == Digest::of(b"other")));
    // The refused build left the set of the one before.
    assert_eq!(SealedSet::open(&lab.at("out"), ROOT).unwrap(), set);
}

#[test]
fn a_package_that_no_suite_has_is_named_with_its_remedies() {
    let lab = Lab::new("left");
    let deb = lab.package("2.0.0-1", &stock());
    let error = lab.build(&manifest_of(&deb, "2.0.0-1", &stock()), &[]).unwrap_err();
    let text = error.into_failure("no firmware was built").to_string();
    assert!(text.contains("no pinned version of iPXE can be had") && text.contains("firmware pin") && text.contains("--file"), "{text}");
}

#[test]
fn a_damaged_package_in_the_cache_is_not_used() {
    let lab = Lab::new("damaged");
    let deb = lab.package("2.0.0-1", &stock());
    let manifest = manifest_of(&deb, "2.0.0-1", &stock());
    lab.build(&manifest, &[deb]).unwrap();
    let cached = acquire::cached(&lab.at("cache"), &manifest.packages[0]);
    fs::write(&cached, b"half a package").unwrap();
    assert!(matches!(lab.build(&manifest, &[]), Err(FirmwareError::LeftItsSuite { .. })));
}

#[test]
fn a_set_is_checked_when_it_is_opened() {
    let lab = Lab::new("open");
    let out = lab.at("out");
    assert!(matches!(SealedSet::open(&out, ROOT), Err(FirmwareError::NoSet(_))));
    let deb = lab.package("2.0.0-1", &stock());
    let set = lab.build(&manifest_of(&deb, "2.0.0-1", &stock()), &[deb]).unwrap();
    let other = Digest([0x22; 32]);
    assert!(matches!(SealedSet::open(&out, other), Err(FirmwareError::OtherRoot { expected, .. }) if expected == other));
    let path = set.file("x.efi").unwrap().path.clone();
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&path, &bad).unwrap();
    assert!(matches!(SealedSet::open(&out, ROOT), Err(FirmwareError::Digest { .. })));
    fs::write(&path, &good).unwrap();
    let record = fs::read_to_string(out.join(RECORD)).unwrap();
    for (from, to) in [("\"format\": 1", "\"format\": 2"), ("/x.efi", "/../../x.efi"), ("{", "")] {
        fs::write(out.join(RECORD), record.replacen(from, to, 1)).unwrap();
        assert!(matches!(SealedSet::open(&out, ROOT), Err(FirmwareError::Record { .. })), "{to}");
    }
    // A record that vouches for a stock file: the digest fits, the seal is missing.
    fs::write(&path, stock()).unwrap();
    let sealed = set.file("x.efi").unwrap().sha256.to_string();
    fs::write(out.join(RECORD), record.replace(&sealed, &Digest::of(&stock()).to_string())).unwrap();
    assert!(matches!(SealedSet::open(&out, ROOT), Err(FirmwareError::Seal { .. })));
}

#[test]
fn a_new_version_is_pinned_only_when_it_can_be_sealed() {
    let lab = Lab::new("pin");
    let deb = lab.package("2.0.0-1", &stock());
    let path = lab.at("manifest.toml");
    fs::write(&path, manifest_of(&deb, "2.0.0-1", &stock()).packages[0].to_toml()).unwrap();
    let lines = RefCell::new(Vec::new());
    let pin_file = |deb: &Path| {
        pin(&PinOptions {
            manifest: &path,
            source: PinSource::File(deb),
            cache: &lab.at("cache"),
            progress: &|line| lines.borrow_mut().push(line.to_owned()),
        })
    };
    fs::create_dir_all(lab.at("cache")).unwrap();
    assert!(matches!(pin_file(&deb), Err(FirmwareError::AlreadyPinned(version)) if version == "ipxe 2.0.0-1"));
    let closed = lab.package("2.0.1-1", &efi_application(0x8664, b"built with trust of its own"));
    assert!(matches!(pin_file(&closed), Err(FirmwareError::Seal { .. })));
    assert_eq!(Manifest::read(&path).unwrap().packages.len(), 1);
    let mut newer = stock();
    newer.extend_from_slice(b"newer");
    let open = lab.package("2.0.2-1", &newer);
    let package = pin_file(&open).unwrap();
    assert_eq!((package.version.as_str(), package.files[0].sha256), ("2.0.2-1", Digest::of(&newer)));
    assert_eq!(*lines.borrow(), ["x.efi: every pattern is there once"]);
    // The pinned version is in the cache now, and the first to be used.
    assert_eq!(lab.build(&Manifest::read(&path).unwrap(), &[]).unwrap().record().version, "2.0.2-1");
}

/// The real package, from the cache or fetched with apt: a machine that can do neither can't build firmware, and fails here.
#[test]
fn debian_ipxe_2_is_sealed_from_the_cache_or_the_archive() {
    let lab = Lab::new("debian");
    let cache = default_cache().expect("XDG_CACHE_HOME or HOME is set");
    let manifest = Manifest::built_in().unwrap();
    let options = BuildOptions {
        manifest: &manifest,
        cache: &cache,
        files: &[],
        mirror: None,
        root: ROOT,
        out: &lab.at("out"),
        progress: &|line| println!("{line}"),
    };
    let set = build(&options)
        .map_err(|error| error.into_failure("the firmware of the manifest was not built"))
        .unwrap_or_else(|failure: Failure| panic!("{failure}"));
    for name in ["snponly.efi", "ipxe-amd64.efi", "ipxe-arm64.efi"] {
        let file = set.file(name).unwrap();
        assert_ne!(file.sha256, file.input_sha256);
        seal::verify(&set.read(file).unwrap(), ROOT).unwrap();
    }
    let bios = set.file("undionly.kpxe").unwrap();
    assert_eq!(bios.sha256, bios.input_sha256);
}

/// A line that fails ends the script and leaves a machine at a dead console, so what can be told from the text is checked.
#[test]
fn autoexec_names_labels_that_exist_and_takes_every_branch_as_success() {
    let lines: Vec<&str> = AUTOEXEC.lines().collect();
    assert_eq!(lines[0], "#!ipxe");
    let labels: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(':')).collect();
    let code: Vec<&str> = lines.iter().copied().filter(|line| !line.is_empty() && !line.starts_with(['#', ':'])).collect();
    for line in &code {
        let words: Vec<&str> = line.split(' ').collect();
        for pair in words.windows(2).filter(|pair| pair[0] == "goto") {
            assert!(labels.contains(&pair[1]), "no label for: {line}");
        }
        // A test that is not met must not end the script.
        let may_fail = ["isset", "iseq", "chain", "dhcp", "ntp", "sleep", "sanboot", "shell"].contains(&words[0]);
        assert!(!may_fail || words.contains(&"||"), "would end the script: {line}");
        assert!(words.windows(2).all(|pair| pair[0] != "&&" || words.contains(&"||")), "would end the script: {line}");
    }
    for label in &labels {
        assert!(code.iter().any(|line| line.contains(&format!("goto {label}"))), "nothing goes to :{label}");
    }
    // What is not in a BIOS build is asked for on UEFI only.
    assert!(code.iter().filter(|line| line.contains("ntp ")).all(|line| line.starts_with("iseq ${platform} efi &&")));
    let (params, guard) =
        (code.iter().position(|line| *line == "params"), code.iter().position(|line| *line == "iseq ${platform} efi || goto ask_bios"));
    assert!(guard < params && guard.is_some());
}
