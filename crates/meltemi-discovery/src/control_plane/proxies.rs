//! The connected proxies, and how current each of them is.

use super::lock::lock;
use super::translations::Served;
use crate::proxy::Proxy;
use meltemi_api::ObjectKey;
use meltemi_xds::type_url;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use tokio::sync::Notify;

/// All connections by a number of their own: a proxy that reconnects has two for a moment.
#[derive(Default)]
pub(super) struct Proxies {
    connections: Mutex<BTreeMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    changed: Arc<Notify>,
}

impl Proxies {
    /// Tells `changed` when a proxy comes, goes or answers.
    pub fn new(changed: Arc<Notify>) -> Self {
        Self {
            changed,
            ..Self::default()
        }
    }

    pub fn add(&self, proxy: Proxy) -> Arc<Connection> {
        let connection = Arc::new(Connection {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            proxy,
            since: Instant::now(),
            types: Mutex::default(),
            served: Mutex::default(),
            changed: self.changed.clone(),
        });
        lock(&self.connections).insert(connection.number, connection.clone());
        self.changed.notify_one();
        connection
    }

    pub fn remove(&self, connection: &Connection) {
        lock(&self.connections).remove(&connection.number);
        self.changed.notify_one();
    }

    /// All, oldest first.
    pub fn all(&self) -> Vec<Arc<Connection>> {
        lock(&self.connections).values().cloned().collect()
    }

    /// The newest connection of a pod that traffic depends on. One beside it for names alone,
    /// as the process beside an Envoy has, says nothing of the Envoy.
    pub fn of(&self, namespace: &str, pod: &str) -> Option<Arc<Connection>> {
        lock(&self.connections)
            .values()
            .rev()
            .find(|connection| {
                connection.proxy.namespace == namespace
                    && connection.proxy.pod == pod
                    && connection.serves_traffic()
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
    changed: Arc<Notify>,
}

/// How current a proxy is in one type.
#[derive(Clone, Debug, Default)]
struct Sync {
    /// Generation of the World that was last compared with what the proxy has.
    compared: u64,
    /// Generation up to which the proxy has confirmed, or lacked, nothing.
    confirmed: u64,
    /// What the proxy has not answered, and since when.
    in_flight: Option<(String, Instant)>,
    rejection: Option<(Rejection, Instant)>,
}

/// A response the proxy refused.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Rejection {
    /// `CDS`, `LDS` ...
    #[serde(rename = "type")]
    pub kind: String,
    /// The proxy's words: resource, field and reason.
    pub message: String,
    /// The objects that caused it, as far as the resources it names tell.
    pub objects: Vec<ObjectKey>,
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

/// How far a proxy is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Behind {
    /// Worlds that it has not confirmed.
    pub versions: u64,
    /// Whole seconds since the oldest of what it lacks was sent to it or, if nothing was sent,
    /// since the World in force is.
    pub seconds: u64,
}

impl Sync {
    fn state(&self, generation: u64) -> SyncState {
        if self.rejection.is_some() {
            SyncState::Nack
        } else if self.compared >= generation && self.in_flight.is_none() {
            SyncState::Synced
        } else {
            SyncState::Stale
        }
    }

    fn behind(&self, generation: u64, since: Instant) -> Behind {
        let sent = self.in_flight.as_ref().map(|(_, at)| *at);
        let refused = self.rejection.as_ref().map(|(_, at)| *at);
        let since = [sent, refused].into_iter().flatten().min().unwrap_or(since);
        match self.state(generation) {
            SyncState::Synced => Behind::default(),
            _ => Behind {
                versions: generation.saturating_sub(self.confirmed),
                seconds: since.elapsed().as_secs(),
            },
        }
    }
}

/// How far a proxy is, over all types.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Up to which generation it has confirmed, or lacked, nothing; what it refused for the sake
    /// of known objects aside.
    confirmed: u64,
    pub rejections: Vec<Rejection>,
}

impl Progress {
    /// Whether an object is in force that is as it is since that generation.
    pub fn has(&self, key: &ObjectKey, since: u64) -> bool {
        let refused = self.rejections.iter();
        self.confirmed >= since && refused.flat_map(|r| &r.objects).all(|object| object != key)
    }
}

impl Connection {
    /// How far the proxy is.
    pub fn progress(&self) -> Progress {
        let types = self.types();
        let confirmed = types.values().map(|sync| match &sync.rejection {
            None if sync.in_flight.is_none() => sync.compared,
            Some((rejection, _)) if !rejection.objects.is_empty() => sync.compared,
            _ => sync.confirmed,
        });
        let rejections = types.values().filter_map(|sync| sync.rejection.as_ref());
        Progress {
            confirmed: confirmed.min().unwrap_or_default(),
            rejections: rejections.map(|(rejection, _)| rejection.clone()).collect(),
        }
    }

    /// Whether it has asked for clusters or listeners.
    pub fn serves_traffic(&self) -> bool {
        let types = self.types();
        [type_url::CLUSTER, type_url::LISTENER]
            .iter()
            .any(|wanted| types.contains_key(*wanted))
    }

    /// The proxy's resources of a World are about to be compared with what it has.
    pub fn compared(&self, type_url: &str, generation: u64) {
        let mut types = self.types();
        let sync = types.entry(type_url.to_owned()).or_default();
        if sync.in_flight.is_none() && sync.rejection.is_none() {
            sync.confirmed = sync.compared;
        }
        sync.compared = generation;
    }

    pub fn sent(&self, type_url: &str, version: &str) {
        let mut types = self.types();
        let sync = types.entry(type_url.to_owned()).or_default();
        sync.in_flight = Some((version.to_owned(), Instant::now()));
    }

    pub fn acknowledged(&self, type_url: &str, version: &str) {
        self.answered(type_url, version, None);
    }

    pub fn rejected(&self, type_url: &str, version: &str, rejection: Rejection) {
        self.answered(type_url, version, Some(rejection));
    }

    fn answered(&self, type_url: &str, version: &str, rejection: Option<Rejection>) {
        let mut types = self.types();
        let sync = types.entry(type_url.to_owned()).or_default();
        let is_answer = |(sent, _): &(String, Instant)| sent == version;
        if sync.in_flight.as_ref().is_some_and(is_answer) {
            sync.in_flight = None;
        }
        if rejection.is_none() {
            sync.confirmed = sync.compared;
        }
        // While it goes on refusing, it is behind since the first time.
        let first = sync.rejection.take().map(|(_, at)| at);
        sync.rejection = rejection.map(|rejection| (rejection, first.unwrap_or_else(Instant::now)));
        self.changed.notify_one();
    }

    /// State by short type name, as of the World `generation`.
    pub fn states(&self, generation: u64) -> BTreeMap<String, SyncState> {
        let types = self.types();
        let states = types.iter();
        states
            .map(|(type_url, sync)| (short_name(type_url), sync.state(generation)))
            .collect()
    }

    /// The types in which the proxy is behind the World `generation`, which is in force since
    /// `since`.
    pub fn behind(&self, generation: u64, since: Instant) -> BTreeMap<String, Behind> {
        let types = self.types();
        let all = types.iter();
        all.filter(|(_, sync)| sync.state(generation) != SyncState::Synced)
            .map(|(type_url, sync)| (short_name(type_url), sync.behind(generation, since)))
            .collect()
    }

    pub fn rejections(&self) -> Vec<Rejection> {
        let types = self.types();
        let rejections = types.values().filter_map(|sync| sync.rejection.as_ref());
        rejections.map(|(rejection, _)| rejection.clone()).collect()
    }

    fn types(&self) -> MutexGuard<'_, BTreeMap<String, Sync>> {
        lock(&self.types)
    }
}

fn short_name(type_url: &str) -> String {
    meltemi_xds::type_url::short_name(type_url).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(sync: &Sync, generation: u64) -> (SyncState, u64) {
        let behind = sync.behind(generation, Instant::now());
        (sync.state(generation), behind.versions)
    }

    fn connection() -> Arc<Connection> {
        let node = envoy_types::pb::envoy::config::core::v3::Node {
            id: "sidecar~10.0.0.1~web.default~default.svc.cluster.local".to_owned(),
            ..Default::default()
        };
        Proxies::default().add(Proxy::from_node(&node).unwrap())
    }

    #[test]
    fn a_proxy_is_behind_until_it_has_confirmed_the_world_in_force() {
        let connection = connection();
        let now = |generation| state(&connection.types()["CDS"], generation);
        connection.compared("CDS", 1);
        connection.sent("CDS", "a");
        assert_eq!(now(1), (SyncState::Stale, 1));
        connection.acknowledged("CDS", "a");
        assert_eq!(now(1), (SyncState::Synced, 0));
        assert_eq!(now(3), (SyncState::Stale, 2), "two Worlds later");
        connection.compared("CDS", 3);
        assert_eq!(now(3), (SyncState::Synced, 0), "nothing was different");
        connection.compared("CDS", 4);
        connection.sent("CDS", "b");
        let rejection = Rejection {
            kind: "CDS".to_owned(),
            message: "no".to_owned(),
            objects: Vec::new(),
        };
        connection.rejected("CDS", "b", rejection);
        assert_eq!(now(4), (SyncState::Nack, 1));
        connection.compared("CDS", 5);
        connection.sent("CDS", "c");
        connection.acknowledged("CDS", "c");
        assert_eq!(now(5), (SyncState::Synced, 0));
        assert!(connection.rejections().is_empty());
    }
}
