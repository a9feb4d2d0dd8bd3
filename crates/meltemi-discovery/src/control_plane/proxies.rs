//! The connected proxies, and how current each of them is.

use super::translations::Served;
use crate::proxy::Proxy;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// All connections by a number of their own: a proxy that reconnects has two for a moment.
#[derive(Default)]
pub(super) struct Proxies {
    connections: Mutex<BTreeMap<u64, Arc<Connection>>>,
    next: AtomicU64,
}

impl Proxies {
    pub fn add(&self, proxy: Proxy) -> Arc<Connection> {
        let connection = Arc::new(Connection {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            proxy,
            since: Instant::now(),
            types: Mutex::default(),
            served: Mutex::default(),
        });
        lock(&self.connections).insert(connection.number, connection.clone());
        connection
    }

    pub fn remove(&self, connection: &Connection) {
        lock(&self.connections).remove(&connection.number);
    }

    /// All, oldest first.
    pub fn all(&self) -> Vec<Arc<Connection>> {
        lock(&self.connections).values().cloned().collect()
    }

    /// The newest connection of a pod.
    pub fn of(&self, namespace: &str, pod: &str) -> Option<Arc<Connection>> {
        lock(&self.connections)
            .values()
            .rev()
            .find(|connection| {
                connection.proxy.namespace == namespace && connection.proxy.pod == pod
            })
            .cloned()
    }
}

/// One proxy's stream.
pub(super) struct Connection {
    number: u64,
    pub proxy: Proxy,
    pub since: Instant,
    types: Mutex<BTreeMap<String, Sync>>,
    pub served: Mutex<Option<Served>>,
}

/// How current a proxy is in one type.
#[derive(Clone, Debug, Default)]
pub(super) struct Sync {
    /// Generation of the World that was last compared with what the proxy has.
    generation: u64,
    sent: Option<(String, Instant)>,
    acknowledged: Option<String>,
    rejection: Option<Rejection>,
}

/// A response the proxy refused.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Rejection {
    /// `CDS`, `LDS` ...
    #[serde(rename = "type")]
    pub kind: String,
    /// The proxy's words: resource, field and reason.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum SyncState {
    Synced,
    /// Something is on its way, or about to be.
    Stale,
    /// The proxy refused the newest; its last good configuration is in force there.
    Nack,
}

impl Connection {
    pub fn compared(&self, type_url: &str, generation: u64) {
        self.types()
            .entry(type_url.to_owned())
            .or_default()
            .generation = generation;
    }

    pub fn sent(&self, type_url: &str, version: &str) {
        let mut types = self.types();
        types.entry(type_url.to_owned()).or_default().sent =
            Some((version.to_owned(), Instant::now()));
    }

    pub fn acknowledged(&self, type_url: &str, version: &str) {
        let mut types = self.types();
        let sync = types.entry(type_url.to_owned()).or_default();
        sync.acknowledged = Some(version.to_owned());
        sync.rejection = None;
    }

    pub fn rejected(&self, type_url: &str, version: &str, message: &str) {
        let mut types = self.types();
        let sync = types.entry(type_url.to_owned()).or_default();
        sync.acknowledged = Some(version.to_owned());
        sync.rejection = Some(Rejection {
            kind: meltemi_xds::type_url::short_name(type_url).to_owned(),
            message: message.to_owned(),
        });
    }

    /// State by short type name, as of the World `generation`.
    pub fn states(&self, generation: u64) -> BTreeMap<String, SyncState> {
        self.types()
            .iter()
            .map(|(type_url, sync)| {
                let state = if sync.rejection.is_some() {
                    SyncState::Nack
                } else if sync.generation >= generation
                    && sync.sent.as_ref().map(|(version, _)| version) == sync.acknowledged.as_ref()
                {
                    SyncState::Synced
                } else {
                    SyncState::Stale
                };
                (
                    meltemi_xds::type_url::short_name(type_url).to_owned(),
                    state,
                )
            })
            .collect()
    }

    pub fn rejections(&self) -> Vec<Rejection> {
        let types = self.types();
        types
            .values()
            .filter_map(|sync| sync.rejection.clone())
            .collect()
    }

    fn types(&self) -> MutexGuard<'_, BTreeMap<String, Sync>> {
        lock(&self.types)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
