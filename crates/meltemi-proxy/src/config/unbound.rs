//! Listeners whose address is taken.
//!
//! As in Envoy the update is refused and what is in force stays. The server does not send
//! it again by itself, so it is tried again here: the port of a process that ends comes free.

use super::record::Kind;
use super::state::{Incoming, State};
use crate::compile::Error;
use crate::model::Listener;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(2);

/// Whether a listener could listen on an address; the error says what is wrong, and what to
/// do.
pub type Probe = Arc<dyn Fn(std::net::SocketAddr) -> Result<(), String> + Send + Sync>;

#[derive(Default)]
pub struct Unbound {
    /// `None`: nobody can tell, and the workers try.
    pub probe: Option<Probe>,
    /// The last update of each name that was refused for its address.
    refused: BTreeMap<Arc<str>, Incoming>,
    next: Option<Instant>,
}

impl Unbound {
    /// When the next attempt is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.next.filter(|_| !self.refused.is_empty())
    }

    /// Another update of the listener, or its removal, decides.
    pub fn forget(&mut self, name: &str) {
        self.refused.remove(name);
    }
}

impl State {
    /// Whether the workers could bind the listener's addresses. Those that are in force
    /// already are the process's own.
    pub fn check_sockets(&mut self, incoming: &Incoming, listener: &Listener) -> Result<(), Error> {
        let Some(probe) = &self.unbound.probe else {
            return Ok(());
        };
        if incoming.fixed || !listener.bind {
            return Ok(());
        }
        let snapshot = self.snapshots.borrow().clone();
        let bound = &snapshot.listeners.by_address;
        let failure = listener
            .addresses
            .iter()
            .filter(|address| !bound.get(*address).is_some_and(|other| other.bind))
            .find_map(|address| Some((*address, probe(*address).err()?)));
        let Some((address, reason)) = failure else {
            return Ok(());
        };
        self.counters.listener_create_failure.inc();
        let again = Incoming {
            name: incoming.name.clone(),
            version: incoming.version.clone(),
            fixed: false,
            // What came is a slice of the whole response, which must not live on.
            body: Bytes::copy_from_slice(&incoming.body),
            hash: incoming.hash,
        };
        self.unbound.refused.insert(incoming.name.clone(), again);
        let due = Instant::now() + AGAIN;
        self.unbound.next.get_or_insert(due);
        Err(Error::new(format!("cannot bind {address}: {reason}")).at_field("address"))
    }

    /// Tries again what was refused, when it is time.
    pub fn retry_unbound(&mut self) {
        if self
            .unbound
            .deadline()
            .is_none_or(|due| Instant::now() < due)
        {
            return;
        }
        self.unbound.next = None;
        for (name, incoming) in std::mem::take(&mut self.unbound.refused) {
            match self.apply_listener(&incoming) {
                Ok(()) => tracing::info!(listener = %name, "its address is free now"),
                Err(error) => {
                    if self.last_failure(Kind::Listener, &name) != Some(error.to_string()) {
                        self.refuse(Kind::Listener, &name, &incoming.version, &error);
                    }
                }
            }
        }
    }

    fn last_failure(&self, kind: Kind, name: &str) -> Option<String> {
        let records = self.shared.records();
        let failure = records.get(kind, name)?.failure.as_ref()?;
        Some(failure.details.clone())
    }
}
