//! Hot restart: a new process, perhaps of a new binary, takes the place of a running one
//! without a refused connection.
//!
//! Both are started with the same command line, its `--hot-restart-socket` among it. The new
//! one finds the other there, gets duplicates of its sockets, and accepts on them once its first
//! complete configuration is in force: no connection falls between closing and binding, as the
//! sockets are never closed. It then says so; the other accepts no more, drains and ends. A new
//! process that fails before changes nothing.

mod message;
mod sockets;

pub use sockets::{SocketKey, SocketKind, Sockets};

use message::{Message, Packets};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::oneshot;

/// For everything but the new process's own start.
const PATIENCE: Duration = Duration::from_secs(10);

/// The process whose place is taken.
pub struct Predecessor(Packets);

impl Predecessor {
    /// The process that listens at `path`, if any, and what it listens on besides.
    ///
    /// # Errors
    /// It is there and does not hand anything over.
    pub fn find(path: &Path, sockets: &Sockets) -> io::Result<Option<Self>> {
        let packets = match Packets::connect(path) {
            Ok(packets) => packets,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        packets.set_patience(Some(PATIENCE))?;
        loop {
            match packets.receive()? {
                Some((Message::Socket(key), descriptors)) => sockets.inherit(key, descriptors),
                Some((Message::End, _)) => return Ok(Some(Self(packets))),
                Some((Message::Live | Message::Released, _)) | None => {
                    return Err(io::Error::other(
                        "the running process ended while it handed its sockets over",
                    ));
                }
            }
        }
    }

    /// This process is live: waits until the other accepts no more.
    ///
    /// # Errors
    /// The other has gone, which is as good.
    pub fn release(self) -> io::Result<()> {
        self.0.send(&Message::Live, &[])?;
        self.0.receive().map(|_| ())
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

/// A successor is live, and waits to hear that this process accepts no more.
pub struct Succeeded(mpsc::Sender<()>);

impl Succeeded {
    pub fn confirm(self) {
        // A successor that went away has taken over all the same.
        let _ = self.0.send(());
    }
}

/// Waits for successors at `path` (mode 0600, only of the same user), on a thread of its own;
/// answers once, when one is live.
///
/// # Errors
/// The path cannot be bound.
pub fn offer(path: &Path, sockets: Sockets) -> io::Result<oneshot::Receiver<Succeeded>> {
    if std::fs::symlink_metadata(path).is_ok() {
        // Whoever listened there was asked already, or is gone.
        std::fs::remove_file(path)?;
    }
    let listener = Packets::listen(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let (sender, receiver) = oneshot::channel();
    let path = path.to_owned();
    std::thread::Builder::new()
        .name("hot-restart".to_owned())
        .spawn(move || {
            while let Ok(successor) = listener.accept() {
                match hand_over(&successor, &sockets) {
                    Ok(true) => return finish(&successor, &path, sender),
                    Ok(false) => tracing::warn!("a new process gave up taking over"),
                    Err(error) => tracing::warn!(%error, "a new process could not take over"),
                }
            }
        })?;
    Ok(receiver)
}

/// True when the successor is live.
fn hand_over(successor: &Packets, sockets: &Sockets) -> io::Result<bool> {
    if !successor.is_of_this_user()? {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    tracing::info!("a new process is starting to take over");
    successor.set_patience(Some(PATIENCE))?;
    for (key, descriptors) in sockets.duplicates()? {
        successor.send(&Message::Socket(key), &descriptors)?;
    }
    successor.send(&Message::End, &[])?;
    // It may wait for its control plane as long as it likes.
    successor.set_patience(None)?;
    Ok(matches!(successor.receive()?, Some((Message::Live, _))))
}

fn finish(successor: &Packets, path: &PathBuf, sender: oneshot::Sender<Succeeded>) {
    // The successor listens here next.
    let _ = std::fs::remove_file(path);
    let (confirm, confirmed) = mpsc::channel();
    if sender.send(Succeeded(confirm)).is_ok() {
        // An error says that the process is ending, and so accepts no more either.
        let _ = confirmed.recv();
    }
    if let Err(error) = successor.send(&Message::Released, &[]) {
        tracing::warn!(%error, "the process that took over has gone");
    }
}
