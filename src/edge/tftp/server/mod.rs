//! The sockets of the TFTP server.
//!
//! Requests come to the well-known port; each transfer has a socket of its own, bound to the address that was asked and connected to the reader, as
//! TFTP's transfer identifiers want it (RFC 1350, section 4). Firmware drops answers from any other address.
//!
//! - `listener`: a socket at the well-known port.
//! - `outlet`: a transfer's socket, which sends a window with one system call.
//! - `service`: the thread that carries all transfers.

mod listener;
mod outlet;
mod service;

use std::future::Future;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;

use super::{Counters, Limits, Reception};
use crate::edge::boot_files::{BootFiles, ServedFiles};
use crate::edge::endpoint::Endpoint;
use crate::failure::{Failure, Result};

use listener::Listener;
use service::Service;

/// What the server is made from.
pub struct TftpServer {
    /// Where to take requests; usually port 69 of each address that serves nodes.
    pub listen: Vec<Endpoint>,
    /// What can be read.
    pub files: BootFiles,
    /// Who hears of whole transfers.
    pub served: Arc<dyn ServedFiles>,
    /// What to take on at once.
    pub limits: Limits,
}

/// Serves until `shutdown`, and then up to five seconds more for the transfers that run.
///
/// # Errors
/// A [`Failure`] when a socket can't be had, or the server breaks down.
pub async fn run(server: TftpServer, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
    server.bind()?.run(shutdown).await
}

impl TftpServer {
    /// Takes the sockets. Only this needs the right to a port below 1024.
    ///
    /// # Errors
    /// A [`Failure`] that says which address can't be had, why, and what to do.
    pub fn bind(self) -> Result<BoundTftpServer> {
        let listeners: Vec<Listener> = self.listen.iter().map(Listener::bind).collect::<Result<_>>()?;
        let local_addresses = listeners.iter().map(|listener| listener.address).collect();
        let reception = Arc::new(Mutex::new(Reception::new(self.files, self.limits)));
        Ok(BoundTftpServer { listeners, local_addresses, reception, served: self.served, limits: self.limits })
    }
}

/// A server that has its sockets and does not serve yet.
pub struct BoundTftpServer {
    listeners: Vec<Listener>,
    local_addresses: Vec<SocketAddrV4>,
    reception: Arc<Mutex<Reception>>,
    served: Arc<dyn ServedFiles>,
    limits: Limits,
}

impl BoundTftpServer {
    /// Where it listens, in the order of [`TftpServer::listen`], with the ports that were taken.
    #[must_use]
    pub fn local_addresses(&self) -> &[SocketAddrV4] {
        &self.local_addresses
    }

    /// Reads the counters, now and while the server runs.
    pub fn counters(&self) -> impl Fn() -> Counters + Send + Sync + 'static {
        let reception = Arc::clone(&self.reception);
        move || lock(&reception).counters()
    }

    /// Serves until `shutdown`, and then up to five seconds more for the transfers that run.
    ///
    /// # Errors
    /// A [`Failure`] when the server breaks down.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let cannot = |error: &dyn std::error::Error| Failure::new("cannot begin to serve TFTP").cause(error);
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(|error| cannot(&error))?);
        let service = Service::new(self.listeners, self.reception, self.served, self.limits, Arc::clone(&stop));
        let service = service.map_err(|error| cannot(&error))?;
        let (done, mut ended) = oneshot::channel();
        thread::Builder::new().name("tftp".to_owned()).spawn(move || drop(done.send(service.run()))).map_err(|error| cannot(&error))?;
        tokio::select! {
            () = shutdown => {}
            // The thread only ends by itself through a fault of this program.
            outcome = &mut ended => return Err(broken(outcome)),
        }
        stop.write(1).map_err(|error| Failure::new("cannot end the TFTP server").cause(&error))?;
        match ended.await {
            Ok(Ok(())) => Ok(()),
            outcome => Err(broken(outcome)),
        }
    }
}

fn lock(reception: &Mutex<Reception>) -> MutexGuard<'_, Reception> {
    reception.lock().unwrap_or_else(PoisonError::into_inner)
}

fn broken(ended: std::result::Result<std::io::Result<()>, oneshot::error::RecvError>) -> Failure {
    let failure = Failure::new("the TFTP server stopped by itself");
    let failure = match ended {
        Ok(Ok(())) | Err(_) => failure,
        Ok(Err(error)) => failure.cause(&error),
    };
    failure.hint("this is a fault in fairlead-edge: restart it, and report it with the log")
}
