use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Answer, Handler, LEASES_IN_A_REQUEST, LONGEST_LINE, Request};
use crate::failure::Failure;

/// How long a command may take to say what it wants, or to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many commands are served at a time; more wait.
const CONNECTIONS: usize = 8;

/// The box's side of the control socket. Its file goes when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Makes the socket at `path`, for its owner alone. What an earlier run left there is replaced: the caller holds the state
    /// folder's lock, so nobody listens on it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When there is something else than a socket, or the file system refuses.
    pub fn bind(path: &Path) -> Result<Self, Failure> {
        let failed = |error: &io::Error| {
            Failure::new(format!("cannot make the control socket `{}`", path.display())).cause(error).hint(match error.kind() {
                // The system's struct has room for 108 octets.
                io::ErrorKind::InvalidInput => "its path is too long for a Unix socket: set `state_dir` in edge.toml to a shorter one",
                _ => "the state folder must be on a working disk, and writable",
            })
        };
        if fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
            return Err(Failure::new(format!("`{}` is no socket", path.display()))
                .hint("move it away: fairlead-edge makes its control socket there"));
        }
        // Under another name until nobody else can use it.
        let temporary = path.with_extension("new");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&error)),
            _ => {}
        }
        let listener = UnixListener::bind(&temporary).map_err(|error| failed(&error))?;
        fs::set_permissions(&temporary, Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&temporary, path))
            .map_err(|error| failed(&error))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves commands until `stop` is done.
    pub async fn serve(self, handler: Arc<impl Handler>, stop: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(converse(stream, Arc::clone(&handler)));
                    }
                    Err(error) => {
                        tracing::warn!("cannot take a command on the control socket: {error}");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                },
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // A socket that is left behind is replaced at the next start.
        drop(fs::remove_file(&self.path));
    }
}

/// Answers requests until there are no more.
async fn converse(stream: UnixStream, handler: Arc<impl Handler>) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let limit = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
        let received = timeout(PATIENCE, (&mut read).take(limit).read_until(b'\n', &mut line)).await;
        if !matches!(received, Ok(Ok(1..))) {
            return;
        }
        let whole = line.ends_with(b"\n");
        let answer = match serde_json::from_slice(&line) {
            Ok(request) if whole => answer(request, &*handler).await,
            Ok(_) => Answer::Failed(Failure::new("a request on the control socket is cut short")),
            Err(error) => Answer::Failed(Failure::new("a request on the control socket can't be understood").cause(&error)),
        };
        let Ok(mut octets) = serde_json::to_vec(&answer) else { return };
        octets.push(b'\n');
        if !matches!(timeout(PATIENCE, write.write_all(&octets)).await, Ok(Ok(()))) || !whole {
            return;
        }
    }
}

async fn answer(request: Request, handler: &impl Handler) -> Answer {
    let answer = match request {
        Request::Status => handler.status().await.map(Answer::Status),
        Request::Reload => handler.reload().await.map(Answer::Reloaded),
        Request::ReleaseLease { address } => handler.release_lease(address).await.map(|lease| Answer::Released { lease }),
        Request::ImportLeases { leases } if leases.len() > LEASES_IN_A_REQUEST => {
            Err(Failure::new(format!("an import holds more than {LEASES_IN_A_REQUEST} leases")))
        }
        Request::ImportLeases { leases } => handler.import_leases(leases).await.map(Answer::Imported),
    };
    answer.unwrap_or_else(Answer::Failed)
}
