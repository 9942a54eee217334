use std::error::Error as _;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Answer, LONGEST_LINE, Request, SOCKET};
use crate::failure::Failure;

/// How long a command waits for an answer; a reload or a slow disk may take its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A conversation with the running box.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

/// Why the running box can't be spoken with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The system refused.
    #[error("cannot speak with fairlead-edge over `{}`", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The answer makes no sense.
    #[error("fairlead-edge's answer over `{}` can't be understood", path.display())]
    Nonsense {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let hint = match &error {
            ControlError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run as the user that fairlead-edge runs as, or as root"
            }
            ControlError::Io { .. } => "see the log of the running fairlead-edge; it may be busy or ending",
            ControlError::Nonsense { .. } => "the program that runs may be of another version: restart it",
        };
        let failure = Self::new(error.to_string());
        match error.source() {
            Some(source) => failure.cause(source).hint(hint),
            None => failure.hint(hint),
        }
    }
}

impl Client {
    /// Connects to the box that uses the state folder, or returns `None` when none runs.
    ///
    /// # Errors
    /// When there is one that can't be spoken with.
    pub fn connect(state_folder: &Path) -> Result<Option<Self>, ControlError> {
        let path = state_folder.join(SOCKET);
        let io_error = |source| ControlError::Io { path: path.clone(), source };
        match UnixStream::connect(&path) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).map_err(io_error)?;
                stream.set_write_timeout(Some(PATIENCE)).map_err(io_error)?;
                Ok(Some(Self { stream: BufReader::new(stream), path }))
            }
            // A socket that nobody listens on was left by a run that was killed.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
            Err(error) => Err(io_error(error)),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// When the box does not answer in time, or not sensibly.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, ControlError> {
        let nonsense = |source| ControlError::Nonsense { path: self.path.clone(), source };
        let io_error = |source| ControlError::Io { path: self.path.clone(), source };
        let mut line = serde_json::to_vec(request).map_err(nonsense)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(io_error)?;
        line.clear();
        let limit = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
        (&mut self.stream).take(limit).read_until(b'\n', &mut line).map_err(io_error)?;
        if line.is_empty() {
            return Err(io_error(io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_slice(&line).map_err(nonsense)
    }
}
