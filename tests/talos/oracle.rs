//! The programs in Go, and how to ask them.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use fairlead::wire::Digest;
use serde::{Deserialize, Serialize};

/// The releases whose packages are asked.
pub(crate) const RELEASES: [&str; 4] = ["1.11", "1.12", "1.13", "1.14"];

#[derive(Default, Serialize)]
pub(crate) struct Question<'a> {
    pub(crate) config: &'a str,
    pub(crate) patches: Vec<String>,
    pub(crate) secrets: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) endpoint: &'a str,
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    pub(crate) contract: &'a str,
    pub(crate) disk: &'a str,
    pub(crate) image: &'a str,
    pub(crate) kubernetes: &'a str,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    /// As Talos writes it.
    pub(crate) config: String,
    /// Why it could not be read or patched; empty when it could.
    pub(crate) refused: String,
    /// What strict validation for metal says; empty when it is valid.
    pub(crate) invalid: String,
    #[serde(default)]
    pub(crate) warnings: Option<Vec<String>>,
}

/// Talos' packages of one release.
pub(crate) struct Oracle {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Oracle {
    pub(crate) fn of(release: &str) -> Self {
        let mut child =
            Command::new(program(release)).arg("answer").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the oracle starts");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { stdin: child.stdin.take(), stdout, child }
    }

    pub(crate) fn ask(&mut self, question: &Question<'_>) -> Answer {
        let mut line = serde_json::to_string(question).unwrap();
        line.push('\n');
        self.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        line.clear();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("the oracle said {line:?}: {error}"))
    }

    /// What Talos makes of a config alone.
    pub(crate) fn read(&mut self, config: &str) -> Answer {
        self.ask(&Question { config, ..Question::default() })
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        drop(self.stdin.take());
        drop(self.child.wait());
    }
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/talos")
}

/// Builds the program, unless the same sources were built before.
pub(crate) fn program(release: &str) -> PathBuf {
    let module = folder().join(format!("v{release}"));
    let mut inputs = Vec::new();
    for folder in [folder().join("oracle"), module.clone()] {
        let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            inputs.extend(file.file_name().unwrap().as_encoded_bytes());
            inputs.extend(fs::read(&file).unwrap());
        }
    }
    let version = go(&module, &["version"]).stderr(Stdio::inherit()).output().expect("tools/go starts");
    assert!(version.status.success(), "there is no Go: `tools/install lab` brings one");
    inputs.extend(version.stdout);
    let key: String = Digest::of(&inputs).to_string().chars().take(16).collect();
    let cache = cache().join("talos-oracle");
    let program = cache.join(format!("{release}-{key}"));
    if !program.exists() {
        fs::create_dir_all(&cache).unwrap();
        // Another test may be building the same: each writes a file of its own, and the last takes the name.
        let new = cache.join(format!("{release}-{key}.{}", std::process::id()));
        let built = go(&module, &["build", "-trimpath", "-o", new.to_str().unwrap(), "."]).status().unwrap();
        assert!(built.success(), "Talos' packages of {release} could not be built");
        fs::rename(&new, &program).unwrap();
    }
    program
}

fn go(module: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/go"));
    command.args(arguments).current_dir(module).env("GOFLAGS", "-mod=readonly");
    command
}

pub(crate) fn go_folder_command(release: &str, program: &Path) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/go"));
    command.arg("--with").arg(program).current_dir(folder().join(format!("v{release}")));
    command
}

fn cache() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("FAIRLEAD_CACHE")
        .or_else(|| Some(from("XDG_CACHE_HOME")?.join("fairlead")))
        .unwrap_or_else(|| from("HOME").unwrap_or_else(|| "/root".into()).join(".cache/fairlead"))
}
