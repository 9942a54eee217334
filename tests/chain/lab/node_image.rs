//! The test nodes' operating system: Debian's cloud kernel and an initramfs whose first program is the stand-in for Talos.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fairlead::failure::{Failure, Result};
use fairlead::wire::{Digest, Hasher};

use super::cpio::Archive;
use super::files::{create_directory, find_file, read, write};
use super::packages::{Package, PackageCache, cache_directory};
use super::process::run;

/// Kernel and initramfs, as a cluster's operator would bring them.
#[derive(Clone, Debug)]
pub(crate) struct NodeImage {
    /// The kernel.
    pub(crate) kernel: PathBuf,
    /// The initramfs, with all that an installation puts on a disk.
    pub(crate) initramfs: PathBuf,
    /// What they are, for whoever gets them over a network.
    pub(crate) kernel_digest: Digest,
    pub(crate) initramfs_digest: Digest,
}

/// What the kernel needs before it can reach a network and a disk.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_net", "virtio_blk", "virtio_rng"];

/// A BusyBox DHCP client tells this script what it got.
const UDHCPC_SCRIPT: &str = r#"#!/bin/busybox sh
case "$1" in
deconfig)
    busybox ip addr flush dev "$interface"
    busybox ip link set "$interface" up
    ;;
bound | renew)
    busybox ip addr add "$ip/$mask" dev "$interface"
    for hop in $router; do
        busybox ip route add default via "$hop" dev "$interface"
        break
    done
    echo "$ip/$mask" >/run/address
    ;;
esac
"#;

const DISK_KERNEL_ARGUMENTS: &str = "talos.platform=metal slab_nomerge pti=on console=ttyS0 stand_in.boot=disk";

impl NodeImage {
    /// The image for this state of the tree, from the cache or made now.
    pub(crate) fn obtain(progress: &dyn Fn(&str)) -> Result<Self> {
        let mut packages = PackageCache::open()?;
        let ingredients = Ingredients {
            kernel: packages.package_behind("linux-image-cloud-amd64")?,
            busybox: packages.package("busybox-static")?,
            systemd_boot: packages.package("systemd-boot-efi")?,
            syslinux: packages.package("syslinux")?,
            syslinux_files: packages.package("syslinux-common")?,
            mtools: packages.package("mtools")?,
            stand_in: build_stand_in(progress)?,
        };
        let directory = cache_directory()?.join("node-image").join(ingredients.key());
        let (kernel, initramfs) = (directory.join("vmlinuz"), directory.join("initramfs"));
        // The initramfs is written last and under another name first, so its presence says that all is there.
        if !initramfs.exists() {
            progress("making the test nodes' operating system");
            create_directory(&directory)?;
            ingredients.make(&directory, &kernel, &initramfs)?;
            remove_old(&cache_directory()?.join("node-image"));
        }
        let (kernel_digest, initramfs_digest) = (Digest::of(&read(&kernel)?), Digest::of(&read(&initramfs)?));
        Ok(Self { kernel, initramfs, kernel_digest, initramfs_digest })
    }
}

/// Removes images that were made more than a week ago; another tree may still use a younger one.
fn remove_old(images: &Path) {
    const WEEK: Duration = Duration::from_hours(7 * 24);
    for entry in std::fs::read_dir(images).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|made| made.elapsed().ok());
        if age.is_some_and(|age| age > WEEK) {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}

/// All that goes into an image.
struct Ingredients {
    kernel: Package,
    busybox: Package,
    systemd_boot: Package,
    syslinux: Package,
    syslinux_files: Package,
    mtools: Package,
    stand_in: Vec<u8>,
}

impl Ingredients {
    /// Names this set of ingredients and the recipe.
    fn key(&self) -> String {
        let mut hasher = Hasher::default();
        let packages = [&self.kernel, &self.busybox, &self.systemd_boot, &self.syslinux, &self.syslinux_files, &self.mtools];
        for package in packages {
            hasher.update(package.file_name.as_bytes());
            hasher.update(b"\0");
        }
        hasher.update(&self.stand_in);
        // The recipe is this file.
        hasher.update(include_bytes!("node_image.rs"));
        let mut key = hasher.finish().to_string();
        key.truncate(16);
        key
    }

    fn make(&self, directory: &Path, kernel: &Path, initramfs: &Path) -> Result<()> {
        std::fs::copy(self.kernel.file_beginning("vmlinuz-")?, kernel)
            .map_err(|error| Failure::new("cannot copy the kernel").cause(&error))?;
        let small = directory.join("initramfs-disk");
        write(&small, compress(&self.base_archive()?.finish())?)?;

        let boot_partition = self.boot_partition(directory, kernel, &small)?;
        let mut archive = self.base_archive()?;
        archive.directory("install");
        archive.file("install/boot.fat.size", boot_partition.len().to_string().as_bytes());
        archive.file("install/boot.fat.zst", &compress(&boot_partition)?);
        archive.file("install/gptmbr.bin", &read(&self.syslinux_files.file_ending("syslinux/mbr/gptmbr.bin")?)?);
        let unfinished = directory.join("initramfs.new");
        write(&unfinished, compress(&archive.finish())?)?;
        for name in ["boot.fat", "initramfs-disk", "loader.conf", "stand-in.conf", "syslinux.cfg"] {
            drop(std::fs::remove_file(directory.join(name)));
        }
        std::fs::rename(&unfinished, initramfs).map_err(|error| Failure::new("cannot put the initramfs in place").cause(&error))
    }

    /// What is in the initramfs both from the network and from the disk.
    fn base_archive(&self) -> Result<Archive> {
        let mut archive = Archive::default();
        for directory in ["bin", "dev", "modules", "proc", "run", "sys", "tmp"] {
            archive.directory(directory);
        }
        archive.character_device("dev/console", 5, 1);
        archive.file("init", &self.stand_in);
        archive.file("bin/busybox", &read(&self.busybox.file_ending("bin/busybox")?)?);
        archive.file("bin/udhcpc-script", UDHCPC_SCRIPT.as_bytes());
        let modules = self.modules()?;
        let mut order = String::new();
        for (name, bytes) in modules {
            archive.file(&format!("modules/{name}.ko"), &bytes);
            order.push_str(&format!("{name}.ko\n"));
        }
        archive.file("modules/order", order.as_bytes());
        Ok(archive)
    }

    /// The wanted modules and what they depend on, dependencies first.
    ///
    /// A module that is nowhere in the package is built into the kernel.
    fn modules(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        let mut known: BTreeMap<String, bool> = BTreeMap::new();
        for name in MODULES {
            self.add_module(name, &mut found, &mut known)?;
        }
        Ok(found)
    }

    fn add_module(&self, name: &str, found: &mut Vec<(String, Vec<u8>)>, known: &mut BTreeMap<String, bool>) -> Result<()> {
        if known.insert(name.to_owned(), true).is_some() {
            return Ok(());
        }
        let Ok(path) = self.module_file(name) else { return Ok(()) };
        let bytes = if path.extension().is_some_and(|extension| extension == "ko") {
            read(&path)?
        } else {
            // Debian 13 packs its modules with xz; BusyBox can unpack them without a program more on this machine.
            let output = Command::new(self.busybox.file_ending("bin/busybox")?).arg("xzcat").arg(&path).output();
            output.map_err(|error| Failure::new(format!("cannot unpack `{}`", path.display())).cause(&error))?.stdout
        };
        for dependency in dependencies(&bytes) {
            self.add_module(&dependency, found, known)?;
        }
        found.push((name.to_owned(), bytes));
        Ok(())
    }

    /// File names use `-` or `_` for the same module.
    fn module_file(&self, name: &str) -> Result<PathBuf> {
        let spellings = [name.to_owned(), name.replace('_', "-")];
        let mut tried = spellings.iter().map(|spelling| self.kernel.file_beginning(&format!("{spelling}.ko")));
        let first = tried.next().unwrap_or_else(|| Err(Failure::new("no name")));
        first.or_else(|error| tried.next().unwrap_or(Err(error)))
    }

    /// A FAT that boots by systemd-boot under UEFI and by SYSLINUX under a BIOS.
    fn boot_partition(&self, directory: &Path, kernel: &Path, initramfs: &Path) -> Result<Vec<u8>> {
        const MEBIBYTE: u64 = 1 << 20;
        let image = directory.join("boot.fat");
        let content = read(kernel)?.len().saturating_add(read(initramfs)?.len());
        let size = u64::try_from(content).unwrap_or_default().next_multiple_of(MEBIBYTE).saturating_add(4 * MEBIBYTE);
        let file = std::fs::File::create(&image).map_err(|error| Failure::new("cannot make the boot partition").cause(&error))?;
        file.set_len(size).map_err(|error| Failure::new("cannot make the boot partition").cause(&error))?;

        let loader = directory.join("loader.conf");
        write(&loader, "timeout 0\n")?;
        let entry = directory.join("stand-in.conf");
        write(&entry, format!("title talos-stand-in\nlinux /vmlinuz\ninitrd /initramfs\noptions {DISK_KERNEL_ARGUMENTS}\n"))?;
        let syslinux = directory.join("syslinux.cfg");
        write(&syslinux, format!("DEFAULT node\nLABEL node\nLINUX /vmlinuz\nINITRD /initramfs\nAPPEND {DISK_KERNEL_ARGUMENTS}\n"))?;

        // The partition begins at sector 2048; SYSLINUX reads the number when the code before it does not pass it on.
        let sectors = (size / 512).to_string();
        self.mtool("mformat", &image, &["-T", &sectors, "-h", "255", "-s", "63", "-H", "2048", "::"])?;
        self.mtool("mmd", &image, &["::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries"])?;
        let systemd_boot = self.systemd_boot.file("systemd-bootx64.efi")?;
        let copies: [(&Path, &str); 6] = [
            (&systemd_boot, "::/EFI/BOOT/BOOTX64.EFI"),
            (&loader, "::/loader/loader.conf"),
            (&entry, "::/loader/entries/stand-in.conf"),
            (&syslinux, "::/syslinux.cfg"),
            (kernel, "::/vmlinuz"),
            (initramfs, "::/initramfs"),
        ];
        for (from, to) in copies {
            self.mtool("mcopy", &image, &[&from.to_string_lossy(), to])?;
        }
        let mut install = Command::new(self.syslinux.file_ending("bin/syslinux")?);
        run(install.arg("--install").arg(&image).env("PATH", self.path_with_mtools()?))?;
        read(&image)
    }

    fn mtool(&self, name: &str, image: &Path, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(self.mtools_directory()?.join(name));
        run(command.arg("-i").arg(image).args(arguments).env("MTOOLS_SKIP_CHECK", "1")).map(drop)
    }

    fn mtools_directory(&self) -> Result<PathBuf> {
        let program = self.mtools.file("mtools")?;
        program.parent().map(Path::to_owned).ok_or_else(|| Failure::new("mtools lies nowhere"))
    }

    fn path_with_mtools(&self) -> Result<OsString> {
        let mut path = self.mtools_directory()?.into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        Ok(path)
    }
}

/// The names in a module's `depends=` field.
fn dependencies(module: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let Some(start) = module.windows(FIELD.len()).position(|window| window == FIELD) else { return Vec::new() };
    let names = module.get(start.saturating_add(FIELD.len())..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(names).split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn compress(bytes: &[u8]) -> Result<Vec<u8>> {
    zstd::encode_all(bytes, 9).map_err(|error| Failure::new("cannot compress").cause(&error))
}

/// Builds the stand-in as a static program, in a target folder of its own: its flags would make all else be built again.
fn build_stand_in(progress: &dyn Fn(&str)) -> Result<Vec<u8>> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target_directory = tree.join("target/stand-in");
    progress("building talos-stand-in");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo
        .current_dir(tree)
        .args(["build", "--quiet", "--locked", "--example", "talos-stand-in", "--no-default-features", "--profile", "stand-in"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target_directory)
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("RUSTFLAGS");
    run(&mut cargo)?;
    let program = target_directory.join(TARGET).join("stand-in/examples");
    let program = find_file(&program, &|path| path.ends_with("talos-stand-in"));
    read(&program.ok_or_else(|| Failure::new("cargo built no talos-stand-in"))?)
}
