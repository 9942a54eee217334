//! Fetches one package with the system's own package client, without touching the system's packages or lists.
//!
//! `apt-get` runs with a state folder of its own and one generated source that names the pinned suite, so a Debian 12 can fetch what only
//! the newest suite has. Debian's signature on the suite is checked as always; the digest in the manifest is checked on top of it.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, io};

use super::apt_sources;
use super::error::{ClientOutput, FirmwareError};

/// Debian's keys, under the names that its releases have had for the file.
const KEYRINGS: [&str; 2] = ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// A suite of the archive, ready to be asked for packages.
///
/// Its state is a temporary folder that goes away with it.
pub(super) struct Suite {
    name: String,
    folder: TemporaryFolder,
}

impl Suite {
    /// Downloads the package lists of `name` from `mirror`, or from the mirror that this machine's own sources name.
    ///
    /// # Errors
    /// When there is no package client or no keyring, or the suite can't be had.
    pub(super) fn open(name: &str, mirror: Option<&str>) -> Result<Self, FirmwareError> {
        let keyring = KEYRINGS.iter().find(|path| Path::new(path).exists()).ok_or(FirmwareError::NoKeyring(KEYRINGS[0]))?;
        let mirror = match mirror {
            Some(mirror) => mirror.to_owned(),
            None => apt_sources::mirror(Path::new("/etc/apt")).ok_or(FirmwareError::NoMirror)?,
        };
        let folder = TemporaryFolder::new(&env::temp_dir(), "fairlead-apt")?;
        let suite = Self { name: name.to_owned(), folder };
        for sub in ["lists/partial", "archives/partial", "download"] {
            suite.make_folder(sub)?;
        }
        suite.write("status", "", 0o644)?;
        suite.write("apt.conf", &suite.configuration(), 0o644)?;
        // A mirror's URI may hold a password.
        suite.write("sources.list", &format!("deb [signed-by={keyring}] {mirror} {name} main\n"), 0o600)?;
        suite.apt_get(&["update"], &format!("reading the package list of {name} from {}", without_password(&mirror)))?;
        Ok(suite)
    }

    /// The versions of `package` that the suite has.
    ///
    /// # Errors
    /// When the package client fails.
    pub(super) fn versions(&self, package: &str) -> Result<Vec<String>, FirmwareError> {
        let doing = format!("asking {} for {package}", self.name);
        let output = run(self.command("apt-cache").args(["madison", package]), "apt-cache", &doing)?;
        // ` ipxe | 2.0.0+dfsg-5 | URI sid/main amd64 Packages`
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().filter_map(|line| line.split('|').nth(1)).map(|version| version.trim().to_owned()).collect())
    }

    /// Downloads one version of `package` and returns the bytes of its .deb.
    ///
    /// # Errors
    /// When the package client fails, or the package can't be read.
    pub(super) fn download(&self, package: &str, version: &str) -> Result<Vec<u8>, FirmwareError> {
        self.apt_get(&["download", &format!("{package}={version}")], &format!("downloading {package} {version} from {}", self.name))?;
        let folder = self.folder.0.join("download");
        let mut entries = fs::read_dir(&folder).map_err(FirmwareError::io("read", &folder))?.flatten().map(|entry| entry.path());
        let deb = entries.find(|path| path.extension() == Some(OsStr::new("deb")));
        let deb = deb.ok_or_else(|| FirmwareError::FileNotInPackage(format!("{package} {version}")))?;
        fs::read(&deb).map_err(FirmwareError::io("read", &deb))
    }

    /// What keeps this run of apt apart from the machine's own.
    fn configuration(&self) -> String {
        let at = |name: &str| self.folder.0.join(name).display().to_string();
        format!(
            "// The machine's hooks are for its own lists.\n\
             #clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Post-Invoke;\n\
             Dir::State \"{state}\";\nDir::State::lists \"{lists}\";\nDir::State::status \"{status}\";\n\
             Dir::Cache \"{state}\";\nDir::Cache::archives \"{archives}\";\n\
             Dir::Etc::sourcelist \"{sources}\";\nDir::Etc::sourceparts \"/dev/null\";\nDir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
             // Signatures are what makes a mirror harmless.\n\
             APT::Get::AllowUnauthenticated \"false\";\nAcquire::AllowInsecureRepositories \"false\";\nAcquire::AllowDowngradeToInsecureRepositories \"false\";\n\
             // The package list alone: no translations, differences, file lists or icons.\n\
             Acquire::Languages \"none\";\nAcquire::PDiffs \"false\";\n#clear Acquire::IndexTargets;\n\
             Acquire::IndexTargets::deb::Packages {{ MetaKey \"$(COMPONENT)/binary-$(ARCHITECTURE)/Packages\"; flatMetaKey \"Packages\"; Description \"Packages\"; Optional \"false\"; }};\n\
             // Without this a mirror that can't be reached is a warning, and the suite looks empty.\n\
             APT::Update::Error-Mode \"any\";\n\
             Acquire::Retries \"2\";\nAcquire::http::Timeout \"30\";\nAcquire::https::Timeout \"30\";\n",
            state = self.folder.0.display(),
            lists = at("lists"),
            status = at("status"),
            archives = at("archives"),
            sources = at("sources.list"),
        )
    }

    fn apt_get(&self, arguments: &[&str], doing: &str) -> Result<Output, FirmwareError> {
        run(self.command("apt-get").args(["-q", "-y"]).args(arguments), "apt-get", doing)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // `download` writes to the folder it is run in.
        command.arg("-c").arg(self.folder.0.join("apt.conf")).current_dir(self.folder.0.join("download"));
        command
    }

    fn make_folder(&self, name: &str) -> Result<(), FirmwareError> {
        let path = self.folder.0.join(name);
        fs::create_dir_all(&path).map_err(FirmwareError::io("make", &path))
    }

    fn write(&self, name: &str, contents: &str, mode: u32) -> Result<(), FirmwareError> {
        let path = self.folder.0.join(name);
        let written = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        written.and_then(|mut file| io::Write::write_all(&mut file, contents.as_bytes())).map_err(FirmwareError::io("write", &path))
    }
}

/// Unpacks a .deb into the temporary folder that is returned.
///
/// # Errors
/// When `dpkg-deb` is missing or refuses the file.
pub(super) fn unpack(deb: &Path, below: &Path) -> Result<TemporaryFolder, FirmwareError> {
    let folder = TemporaryFolder::new(below, "unpacked")?;
    let doing = format!("unpacking {}", deb.display());
    run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&folder.0), "dpkg-deb", &doing)?;
    Ok(folder)
}

/// Name and version of a .deb, from its own control file.
///
/// # Errors
/// When `dpkg-deb` is missing or refuses the file.
pub(super) fn name_and_version(deb: &Path) -> Result<(String, String), FirmwareError> {
    let field = |name: &str| {
        let doing = format!("reading the {name} of {}", deb.display());
        let output = run(Command::new("dpkg-deb").arg("-f").arg(deb).arg(name), "dpkg-deb", &doing)?;
        Ok::<_, FirmwareError>(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    Ok((field("Package")?, field("Version")?))
}

fn run(command: &mut Command, program: &'static str, doing: &str) -> Result<Output, FirmwareError> {
    // The messages are looked at by people and, in `versions`, by us: always the same language.
    let output = command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => FirmwareError::NoPackageClient(program),
        _ => FirmwareError::io("run", Path::new(program))(error),
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let said = if lines.is_empty() { format!("it ended with {} and said nothing", output.status) } else { lines.join("\n") };
    Err(FirmwareError::PackageClient { command: program, doing: doing.to_owned(), output: ClientOutput(said) })
}

/// `scheme://user:password@host/path` as it may be shown.
fn without_password(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}/{path}")
}

/// A folder that is removed with all that is in it when it is dropped.
pub(super) struct TemporaryFolder(pub(super) PathBuf);

impl TemporaryFolder {
    fn new(below: &Path, purpose: &str) -> Result<Self, FirmwareError> {
        // A name that nobody could have made before us: `create` fails on one that is there, so a planted folder is never used.
        let mut random = [0; 8];
        let filled = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random);
        filled.map_err(|_error| FirmwareError::io("make", below)(io::Error::other("the system gives no random numbers")))?;
        let path = below.join(format!("{purpose}-{}", data_encoding::HEXLOWER.encode(&random)));
        fs::DirBuilder::new().mode(0o755).create(&path).map_err(FirmwareError::io("make", &path))?;
        let folder = Self(path);
        // apt downloads as a user of its own, who must get in whatever our umask is.
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).map_err(FirmwareError::io("make", &folder.0))?;
        Ok(folder)
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "a temporary folder could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_shown_without_its_password() {
        assert_eq!(without_password("http://user:secret@mirror.example/debian"), "http://mirror.example/debian");
        assert_eq!(without_password("http://mirror.example/a@b"), "http://mirror.example/a@b");
        assert_eq!(without_password("file:/srv/debian"), "file:/srv/debian");
    }

    #[test]
    fn a_program_that_fails_is_named_with_what_it_said() {
        let error = run(Command::new("sh").args(["-c", "echo bad news >&2; exit 3"]), "sh", "testing").unwrap_err();
        assert_eq!(error.to_string(), "`sh` failed while testing");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "bad news");
        assert!(matches!(
            run(&mut Command::new("fairlead-no-such-program"), "apt-get", "x"),
            Err(FirmwareError::NoPackageClient("apt-get"))
        ));
    }

    #[test]
    fn temporary_folders_go_away() {
        let folder = TemporaryFolder::new(&env::temp_dir(), "fairlead-test").unwrap();
        let path = folder.0.clone();
        fs::write(path.join("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
