//! `fairlead-cloud firmware`: build, verify, show and pin from a console.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::{BuildOptions, FileKind, FirmwareError, Manifest, PinOptions, PinSource, SealedSet, build, default_cache, pin};
use crate::command_line::say;
use crate::failure::{Failure, Result};
use crate::wire::Digest;

/// What can be done with firmware.
#[derive(Debug, Subcommand)]
pub enum FirmwareCommand {
    /// Make the boot files that trust this cloud's root, and no other
    ///
    /// Takes the newest iPXE that the manifest names: from the cache, or from Debian's archive with this system's own apt-get (into a
    /// folder of its own; the system's packages and lists are not touched), or from files brought by hand. Every package and file must
    /// have the digest that the manifest gives. The files that were there before stay until the new ones are complete.
    #[command(after_help = BUILD_EXAMPLES)]
    Build(BuildArguments),
    /// Check the sealed files again: digests, root, and that no other way to trust a root is left in them
    Verify(SetArguments),
    /// Show the sealed files, or what a manifest names
    Show(ShowArguments),
    /// Check a new version of the package and add it to a manifest file
    ///
    /// A version is added only when every file that machines ask for is in it and a root can be sealed into each of them.
    #[command(after_help = PIN_EXAMPLES)]
    Pin(PinArguments),
}

const BUILD_EXAMPLES: &str = "Examples:\n  fairlead-cloud firmware build\n  fairlead-cloud firmware build --file ipxe_2.0.0+dfsg-5_all.deb\n  \
                              fairlead-cloud firmware build --root SHA256 --out ./firmware-of-another-cloud";
const PIN_EXAMPLES: &str = "Examples:\n  fairlead-cloud firmware pin --manifest firmware/manifest.toml --suite sid\n  \
                            fairlead-cloud firmware pin --manifest firmware/manifest.toml --deb ipxe_2.0.1-1_all.deb";

/// Arguments of `firmware build`.
#[derive(Debug, Args)]
pub struct BuildArguments {
    /// Manifest to use instead of the one that is built in
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// A .deb, or a single boot file, that was brought by hand; may be given more than once, and nothing is fetched then
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Folder for downloaded packages [default: $XDG_CACHE_HOME/fairlead, or ~/.cache/fairlead]
    #[arg(long, value_name = "FOLDER", env = "FAIRLEAD_CACHE")]
    cache: Option<PathBuf>,
    /// Mirror of Debian's archive to fetch from [default: the one in this machine's apt sources]
    #[arg(long, value_name = "URI")]
    mirror: Option<String>,
    #[command(flatten)]
    set: SetArguments,
}

/// Arguments that name a sealed set.
#[derive(Debug, Args)]
pub struct SetArguments {
    /// SHA-256 of the root certificate [default: this cloud's own]
    #[arg(long, value_name = "SHA256")]
    root: Option<Digest>,
    /// Folder of the sealed files [default: `firmware` in the cloud's state folder]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Arguments of `firmware show`.
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// Show the packages of a manifest instead: the built-in one, or the one in FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with = "out")]
    #[expect(clippy::option_option, reason = "absent, alone, and with a file are three different wishes")]
    manifest: Option<Option<PathBuf>>,
    /// Folder of the sealed files [default: `firmware` in the cloud's state folder]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// How to answer
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

/// How a command answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Arguments of `firmware pin`.
#[derive(Debug, Args)]
pub struct PinArguments {
    /// Manifest file to add the version to
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,
    /// Take the newest version of this suite of Debian
    #[arg(long, value_name = "SUITE", conflicts_with = "deb", required_unless_present = "deb")]
    suite: Option<String>,
    /// Take this .deb
    #[arg(long, value_name = "FILE")]
    deb: Option<PathBuf>,
    /// Folder for downloaded packages [default: $XDG_CACHE_HOME/fairlead, or ~/.cache/fairlead]
    #[arg(long, value_name = "FOLDER", env = "FAIRLEAD_CACHE")]
    cache: Option<PathBuf>,
    /// Mirror of Debian's archive to fetch from [default: the one in this machine's apt sources]
    #[arg(long, value_name = "URI")]
    mirror: Option<String>,
}

impl FirmwareCommand {
    /// Runs the command.
    ///
    /// `cloud` is the root and the firmware folder of the cloud on this machine, or why there is none: some commands do without.
    ///
    /// # Errors
    /// With what went wrong and what to do about it.
    pub fn run(self, cloud: Result<(Digest, PathBuf)>) -> Result<()> {
        match self {
            Self::Build(arguments) => arguments.run(cloud),
            Self::Verify(arguments) => arguments.verify(cloud),
            Self::Show(arguments) => arguments.run(cloud),
            Self::Pin(arguments) => arguments.run(),
        }
    }
}

impl BuildArguments {
    fn run(self, cloud: Result<(Digest, PathBuf)>) -> Result<()> {
        let (root, out) = self.set.resolve(cloud)?;
        let manifest = manifest(self.manifest.as_deref())?;
        let options = BuildOptions {
            manifest: &manifest,
            cache: &cache(self.cache)?,
            files: &self.files,
            mirror: self.mirror.as_deref(),
            root,
            out: &out,
            progress: &progress,
        };
        let set = build(&options).map_err(|error| error.into_failure("the firmware was not built"))?;
        say(&format!("sealed {} {} for the root {root} in `{}`", set.record().package, set.record().version, out.display()))?;
        table(&set)
    }
}

impl SetArguments {
    fn resolve(self, cloud: Result<(Digest, PathBuf)>) -> Result<(Digest, PathBuf)> {
        match self {
            Self { root: Some(root), out: Some(out) } => Ok((root, out)),
            Self { root, out } => {
                let (own_root, own_folder) = cloud?;
                Ok((root.unwrap_or(own_root), out.unwrap_or(own_folder)))
            }
        }
    }

    fn verify(self, cloud: Result<(Digest, PathBuf)>) -> Result<()> {
        let (root, folder) = self.resolve(cloud)?;
        let set = SealedSet::open(&folder, root).map_err(|error| error.into_failure("the firmware is not good"))?;
        for file in set.files() {
            let what = match file.kind {
                FileKind::Efi => "sealed, trusts this root alone",
                FileKind::Bios => "as shipped, gets the root by DHCP",
            };
            say(&format!("ok: {} {} {what}", file.name, file.sha256))?;
        }
        Ok(())
    }
}

impl ShowArguments {
    fn run(self, cloud: Result<(Digest, PathBuf)>) -> Result<()> {
        if let Some(path) = self.manifest {
            return show_manifest(&manifest(path.as_deref())?, self.output);
        }
        let folder = match self.out {
            Some(out) => out,
            None => cloud?.1,
        };
        let set = SealedSet::open_any(&folder).map_err(|error| error.into_failure("there is no firmware to show"))?;
        match self.output {
            Output::Json => json(set.record()),
            Output::Table => {
                say(&format!("root     {}", set.record().root))?;
                say(&format!("package  {} {} ({})", set.record().package, set.record().version, set.record().package_sha256))?;
                table(&set)
            }
        }
    }
}

impl PinArguments {
    fn run(self) -> Result<()> {
        let source = match (&self.suite, &self.deb) {
            (Some(name), _) => PinSource::Suite { name, mirror: self.mirror.as_deref() },
            (None, Some(deb)) => PinSource::File(deb),
            (None, None) => return Err(Failure::new("nothing to pin").hint("name a suite with --suite, or a package with --deb")),
        };
        let options = PinOptions { manifest: &self.manifest, source, cache: &cache(self.cache)?, progress: &progress };
        let package = pin(&options).map_err(|error| match error {
            FirmwareError::AlreadyPinned(version) => Failure::new(format!("{version} is pinned already")).hint("there is nothing to do"),
            error => error.into_failure("nothing was pinned"),
        })?;
        say(&format!("pinned {} {} ({}) in `{}`", package.name, package.version, package.sha256, self.manifest.display()))
    }
}

fn show_manifest(manifest: &Manifest, output: Output) -> Result<()> {
    if output == Output::Json {
        return json(manifest);
    }
    for package in manifest.newest_first() {
        let suites = if package.suites.is_empty() { "no suite".to_owned() } else { package.suites.join(", ") };
        say(&format!("{} {}  {}  {} bytes  from {suites}", package.name, package.version, package.sha256, package.size))?;
        for file in &package.files {
            say(&format!("  {:<16} {}  {} bytes", file.name, file.sha256, file.size))?;
        }
    }
    Ok(())
}

fn table(set: &SealedSet) -> Result<()> {
    for file in set.files() {
        say(&format!("{:<16} {}  {} bytes  {}", file.name, file.sha256, file.size, file.path.display()))?;
    }
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<()> {
    say(&serde_json::to_string_pretty(value).map_err(|error| Failure::new("cannot write the answer as JSON").cause(&error))?)
}

fn manifest(path: Option<&Path>) -> Result<Manifest> {
    path.map_or_else(Manifest::built_in, Manifest::read).map_err(|error| error.into_failure("the manifest can't be used"))
}

fn cache(option: Option<PathBuf>) -> Result<PathBuf> {
    option.or_else(default_cache).ok_or_else(|| {
        Failure::new("there is no folder for downloaded packages")
            .because("neither XDG_CACHE_HOME nor HOME is set")
            .hint("name one with --cache")
    })
}

/// Fetching takes long enough to wonder; standard output is kept for the answer.
fn progress(line: &str) {
    // Nobody is there to see it when standard error is closed.
    drop(writeln!(io::stderr(), "{line}"));
}
