//! The process's listening sockets: those that it inherited and nobody has asked for yet, and
//! duplicates of all in use, for a successor.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a socket is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SocketKey {
    kind: SocketKind,
    /// IP address and port, or a path.
    address: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SocketKind {
    /// In the workload's network namespace.
    Tcp,
    /// In the host's, where the workload has one of its own.
    Published,
    Udp,
    Unix,
}

impl SocketKey {
    pub fn ip(kind: SocketKind, address: SocketAddr) -> Self {
        Self {
            kind,
            address: address.to_string(),
        }
    }

    pub fn unix(path: &Path) -> Self {
        Self {
            kind: SocketKind::Unix,
            address: path.display().to_string(),
        }
    }
}

/// Cheap to clone. Keeps nothing unless it was made by [`Self::kept`].
#[derive(Clone, Default)]
pub struct Sockets {
    state: Arc<Mutex<State>>,
    /// A successor accepts in this process's place.
    handed_over: CancellationToken,
    /// Clients of the process's own servers.
    pub clients: TaskTracker,
}

#[derive(Default)]
struct State {
    inherited: HashMap<SocketKey, Vec<OwnedFd>>,
    /// `None`: there will be no successor.
    kept: Option<HashMap<SocketKey, Vec<OwnedFd>>>,
}

impl Sockets {
    /// Keeps duplicates for a successor.
    pub fn kept() -> Self {
        let sockets = Self::default();
        sockets.state().kept = Some(HashMap::new());
        sockets
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what a predecessor hands over.
    pub fn inherit(&self, key: SocketKey, descriptors: Vec<OwnedFd>) {
        let mut state = self.state();
        state.inherited.entry(key).or_default().extend(descriptors);
    }

    /// At least `count` sockets for `key`: the predecessor's, all of them, as connections wait
    /// in each, and for the rest what `make` makes. It is told whether it makes the first.
    ///
    /// # Errors
    /// Those of `make`, and when descriptors have run out.
    pub fn get<S: From<OwnedFd> + AsFd>(
        &self,
        key: &SocketKey,
        count: usize,
        mut make: impl FnMut(bool) -> io::Result<S>,
    ) -> io::Result<Vec<S>> {
        let inherited = self.state().inherited.remove(key).unwrap_or_default();
        let mut sockets: Vec<S> = inherited.into_iter().map(S::from).collect();
        while sockets.len() < count {
            sockets.push(make(sockets.is_empty())?);
        }
        if let Some(kept) = &mut self.state().kept {
            let duplicates = sockets
                .iter()
                .map(|socket| socket.as_fd().try_clone_to_owned());
            kept.insert(key.clone(), duplicates.collect::<io::Result<_>>()?);
        }
        Ok(sockets)
    }

    /// The place is served no more.
    pub fn forget(&self, key: &SocketKey) {
        if let Some(kept) = &mut self.state().kept {
            kept.remove(key);
        }
    }

    /// What the predecessor listened on and this process does not is closed.
    pub fn drop_unwanted(&self) {
        self.state().inherited.clear();
    }

    /// For a successor.
    ///
    /// # Errors
    /// Descriptors have run out.
    pub(super) fn duplicates(&self) -> io::Result<Vec<(SocketKey, Vec<OwnedFd>)>> {
        let state = self.state();
        let kept = state.kept.iter().flatten();
        kept.map(|(key, sockets)| {
            let copies: io::Result<_> = sockets.iter().map(OwnedFd::try_clone).collect();
            Ok((key.clone(), copies?))
        })
        .collect()
    }

    /// This process accepts no more: its own servers end, the sockets are the successor's.
    pub fn hand_over(&self) {
        self.handed_over.cancel();
        self.close();
    }

    /// Without a successor: duplicates would keep sockets open that nobody accepts on.
    pub fn close(&self) {
        let mut state = self.state();
        state.kept = None;
        state.inherited.clear();
    }

    pub fn are_handed_over(&self) -> bool {
        self.handed_over.is_cancelled()
    }

    /// Waits until a successor accepts in this process's place.
    pub async fn handed_over(&self) {
        self.handed_over.cancelled().await;
    }
}
