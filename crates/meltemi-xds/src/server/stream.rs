//! One stream: requests and changes in, responses out.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use super::protocol::{Header, MAX_NAMES, TypeState};
use super::response::{Response, Selection};
use super::source::{Ack, Nack, Push};
use super::warming::Warming;
use super::{PeerInfo, ResourceSource};
use crate::wire::truncate;
use crate::{ResourceSet, Subscription, type_url as types};

/// Most types one stream may ask for. It bounds the responses a stream can have
/// in memory, since there is at most one of each type.
pub const MAX_TYPES: usize = 32;

/// A client that connects has this long to introduce itself.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

static STREAMS: AtomicU64 = AtomicU64::new(1);

/// The subscriptions of all streams: proxies that see the same ask for the same
/// names, which are kept once.
#[derive(Default)]
pub struct Subscriptions(Mutex<HashMap<u64, Weak<Subscription>>>);

impl Subscriptions {
    /// The subscription that is equal to this one and in use, or this one.
    fn shared(&self, subscription: &Arc<Subscription>) -> Arc<Subscription> {
        let mut hasher = DefaultHasher::new();
        subscription.hash(&mut hasher);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let len = known.len();
        let entry = known.entry(hasher.finish()).or_default();
        if let Some(same) = entry.upgrade().filter(|same| same == subscription) {
            return same;
        }
        *entry = Arc::downgrade(subscription);
        if len.is_power_of_two() {
            known.retain(|_, subscription| subscription.strong_count() > 0);
        }
        Arc::clone(subscription)
    }
}

/// What all streams of a server share.
pub struct Shared<S> {
    pub source: S,
    /// Bounds how many resource sets are generated at once.
    pub generations: Arc<Semaphore>,
    pub subscriptions: Subscriptions,
    pub shutdown: CancellationToken,
}

/// A response that the client has not answered.
struct InFlight {
    nonce: String,
    version: Arc<str>,
    resources: Arc<Selection>,
}

#[derive(Default)]
struct Entry<T> {
    state: T,
    in_flight: Option<InFlight>,
    last_nonce: String,
    last_accepted: Option<Arc<str>>,
    /// The source may have something new, or the subscription has changed.
    dirty: bool,
    /// Removals were kept back until listeners and routes are settled.
    held: bool,
}

impl<T> Entry<T> {
    /// The client may lack something and can be sent it.
    fn is_due(&self) -> bool {
        self.dirty && self.in_flight.is_none()
    }

    /// The client has confirmed all there is for it.
    fn is_settled(&self) -> bool {
        !self.dirty && self.in_flight.is_none()
    }
}

/// Whether resources of the type refer to clusters.
fn refers(type_url: &str) -> bool {
    matches!(
        type_url,
        types::LISTENER | types::ROUTE | types::VIRTUAL_HOST
    )
}

/// Types in push order.
type Key = (usize, Arc<str>);

/// Whether an update has to wait until clusters can be used. The first response
/// replaces nothing that works, so it need not.
fn waits<T>(key: &Key, entry: &Entry<T>) -> bool {
    refers(&key.1) && !entry.last_nonce.is_empty()
}

struct Stream<S: ResourceSource, T: TypeState> {
    shared: Arc<Shared<S>>,
    proxy: Arc<S::Proxy>,
    id: u64,
    nonces: u64,
    entries: BTreeMap<Key, Entry<T>>,
    warming: Warming,
    /// Endpoints of clusters that changed before the client asked for any.
    rewarm: BTreeSet<Arc<str>>,
    responses: mpsc::Sender<Result<Response, Status>>,
}

/// Serves one stream until the client, the server or an error ends it.
pub async fn serve<S: ResourceSource, T: TypeState>(
    shared: Arc<Shared<S>>,
    peer: PeerInfo,
    mut requests: Streaming<T::Request>,
    responses: mpsc::Sender<Result<Response, Status>>,
) {
    let shutdown = shared.shutdown.clone();
    let outcome = tokio::select! {
        outcome = run::<S, T>(shared, peer, &mut requests, responses.clone()) => outcome,
        () = responses.closed() => Ok(()),
        () = shutdown.cancelled() => Err(Status::unavailable("the server is shutting down")),
    };
    if let Err(status) = outcome {
        // There is room: at most one response of each type is under way. If the
        // client is gone, nobody is left to be told.
        let _ = responses.try_send(Err(status));
    }
}

async fn run<S: ResourceSource, T: TypeState>(
    shared: Arc<Shared<S>>,
    peer: PeerInfo,
    requests: &mut Streaming<T::Request>,
    responses: mpsc::Sender<Result<Response, Status>>,
) -> Result<(), Status> {
    let first = tokio::time::timeout(FIRST_REQUEST_TIMEOUT, requests.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no request within 10 s of opening the stream"))??;
    let Some(mut request) = first else {
        return Ok(());
    };
    let header = T::header(&mut request);
    let Some(node) = &header.node else {
        return Err(Status::invalid_argument(
            "the first request of a stream needs a node",
        ));
    };
    // Subscribed before connecting: a change in between is seen, not lost.
    let mut changes = shared.source.watch();
    changes.mark_unchanged();
    let proxy = shared.source.connect(node, &peer)?;
    let id = STREAMS.fetch_add(1, Ordering::Relaxed);
    debug!(stream = id, node = node.id, ?peer, "stream opened");
    let mut stream = Stream::<S, T> {
        shared,
        proxy: Arc::new(proxy),
        id,
        nonces: 0,
        entries: BTreeMap::new(),
        warming: Warming::default(),
        rewarm: BTreeSet::new(),
        responses,
    };
    stream.on_request(header, request)?;
    loop {
        stream.push(&mut changes).await?;
        let patience = stream.warming.deadline(Instant::now());
        tokio::select! {
            request = requests.message() => match request? {
                Some(mut request) => {
                    let header = T::header(&mut request);
                    stream.on_request(header, request)?;
                }
                None => return Ok(()),
            },
            changed = changes.changed() => {
                if changed.is_err() {
                    return Err(Status::unavailable("the source of resources is gone"));
                }
                stream.mark_all_dirty();
            }
            () = sleep_until(patience) => {}
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl<S: ResourceSource, T: TypeState> Stream<S, T> {
    // A refusal ends the stream: it is made once.
    #[allow(clippy::result_large_err)]
    fn on_request(&mut self, header: Header, request: T::Request) -> Result<(), Status> {
        if header.type_url.is_empty() {
            return Err(Status::invalid_argument(
                "a request without type_url on an aggregated stream",
            ));
        }
        let key = (
            types::push_rank(&header.type_url),
            Arc::from(header.type_url.as_str()),
        );
        let first = !self.entries.contains_key(&key);
        if first && self.entries.len() == MAX_TYPES {
            return Err(Status::resource_exhausted(format!(
                "more than {MAX_TYPES} types on one stream"
            )));
        }
        let entry = self.entries.entry(key).or_default();
        let stale = !first && !header.nonce.is_empty() && header.nonce != entry.last_nonce;
        if stale {
            debug!(stream = self.id, nonce = header.nonce, "stale nonce");
        } else if !header.nonce.is_empty()
            && let Some(answered) = entry.in_flight.take()
        {
            if header.type_url == types::ENDPOINT {
                self.warming.answered(&answered.resources);
            }
            match &header.error {
                None => {
                    entry.last_accepted = Some(Arc::clone(&answered.version));
                    self.shared.source.on_ack(
                        &self.proxy,
                        &Ack {
                            type_url: &header.type_url,
                            version: &answered.version,
                            nonce: &answered.nonce,
                        },
                    );
                }
                Some(error) => {
                    let message = truncate(&error.message);
                    warn!(
                        stream = self.id,
                        r#type = types::short_name(&header.type_url),
                        nonce = answered.nonce,
                        "rejected by the proxy: {message}"
                    );
                    self.shared.source.on_nack(
                        &self.proxy,
                        &Nack {
                            type_url: &header.type_url,
                            version: &answered.version,
                            last_accepted: entry.last_accepted.as_deref(),
                            nonce: &answered.nonce,
                            code: error.code,
                            message,
                            resource_names: &answered.resources.names(),
                        },
                    );
                }
            }
        }
        let touched = entry
            .state
            .subscribe(&header.type_url, request, first, stale)
            .map_err(Status::invalid_argument)?;
        if first && header.type_url == types::ENDPOINT && !self.rewarm.is_empty() {
            let waiting: Vec<_> = std::mem::take(&mut self.rewarm).into_iter().collect();
            entry.state.rewarm(&waiting);
        }
        if touched || first {
            entry.dirty = true;
            let subscriptions = &self.shared.subscriptions;
            entry
                .state
                .share(subscriptions.shared(entry.state.subscription()));
            self.shared.source.on_subscribe(
                &self.proxy,
                &header.type_url,
                entry.state.subscription(),
            );
        }
        Ok(())
    }

    /// Sends what the client lacks, of every type that has no response in flight.
    async fn push(&mut self, changes: &mut watch::Receiver<u64>) -> Result<(), Status> {
        loop {
            // What is generated below is at least as new as this.
            if changes.has_changed().unwrap_or(false) {
                changes.mark_unchanged();
                self.mark_all_dirty();
            }
            self.release_held();
            let clusters_ready = self.clusters_ready();
            // Marks are taken away one by one while responding: whether routes
            // are settled depends on those of types further down the order.
            let wanted: Vec<(Key, Arc<Subscription>)> = self
                .entries
                .iter()
                .filter(|(key, entry)| entry.is_due() && (clusters_ready || !waits(key, entry)))
                .map(|(key, entry)| (key.clone(), Arc::clone(entry.state.subscription())))
                .collect();
            if wanted.is_empty() {
                return Ok(());
            }
            for (key, set) in self.generate(wanted).await? {
                self.respond(&key, &set);
            }
        }
    }

    async fn generate(
        &self,
        wanted: Vec<(Key, Arc<Subscription>)>,
    ) -> Result<Vec<(Key, ResourceSet)>, Status> {
        let permit = Arc::clone(&self.shared.generations)
            .acquire_owned()
            .await
            .map_err(|_| Status::unavailable("the server is shutting down"))?;
        let shared = Arc::clone(&self.shared);
        let proxy = Arc::clone(&self.proxy);
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            wanted
                .into_iter()
                .map(|(key, subscription)| {
                    let set = shared.source.resources(&proxy, &key.1, &subscription);
                    (key, set)
                })
                .collect()
        })
        .await
        .map_err(|error| Status::internal(format!("generating resources failed: {error}")))
    }

    fn respond(&mut self, key: &Key, set: &ResourceSet) {
        let type_url = &*key.1;
        let hold = type_url == types::CLUSTER && !self.references_settled();
        self.nonces += 1;
        let nonce = format!("{:x}-{:x}", self.id, self.nonces);
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        entry.dirty = false;
        let comparison = entry.state.compare(type_url, set, &nonce, hold);
        entry.held = comparison.held;
        let Some(prepared) = comparison.prepared else {
            return;
        };
        // Before the response is out, or its ACK could overtake the record of it.
        self.shared.source.on_push(
            &self.proxy,
            &Push {
                type_url,
                version: &prepared.version,
                nonce: &nonce,
                resources: prepared.response.resources.len(),
                removed: prepared.removed,
                bytes: prepared.response.resources.bytes(),
            },
        );
        entry.last_nonce.clone_from(&nonce);
        entry.in_flight = Some(InFlight {
            nonce,
            version: prepared.version,
            resources: Arc::clone(&prepared.response.resources),
        });
        // The channel has room for one response of every type; when it is
        // closed the stream ends anyway.
        if self.responses.try_send(Ok(prepared.response)).is_err() {
            info!(stream = self.id, "the client is gone");
        }
        if type_url == types::CLUSTER {
            let endpoints = self.warming.sent(set, &prepared.changed);
            if !endpoints.is_empty() {
                self.rewarm_endpoints(&endpoints);
            }
        }
    }

    /// A client that gets a changed cluster waits for its endpoints before it
    /// uses it, even when they are the same (Envoy's cluster warming).
    fn rewarm_endpoints(&mut self, names: &[Arc<str>]) {
        let key = (
            types::push_rank(types::ENDPOINT),
            Arc::from(types::ENDPOINT),
        );
        match self.entries.get_mut(&key) {
            Some(endpoints) => {
                endpoints.state.rewarm(names);
                endpoints.dirty = true;
            }
            None => {
                self.rewarm.extend(names.iter().cloned());
                while self.rewarm.len() > MAX_NAMES {
                    self.rewarm.pop_last();
                }
            }
        }
    }

    /// Whether the client has confirmed every listener and route we have for it,
    /// so that no route can still refer to a cluster that is to be removed.
    fn references_settled(&self) -> bool {
        self.entries
            .iter()
            .filter(|(key, _)| refers(&key.1))
            .all(|(_, entry)| entry.is_settled())
    }

    /// Whether the client can use every cluster we have for it, so that a listener or
    /// a route may refer to it; asked only when one of them is to be sent.
    fn clusters_ready(&mut self) -> bool {
        let mut entries = self.entries.iter();
        if !entries.any(|(key, entry)| entry.is_due() && waits(key, entry)) {
            return true;
        }
        let quiet = self
            .entries
            .iter()
            .filter(|(key, _)| matches!(&*key.1, types::CLUSTER | types::ENDPOINT))
            .all(|(_, entry)| entry.is_settled());
        self.warming.over(quiet, Instant::now())
    }

    fn mark_all_dirty(&mut self) {
        for entry in self.entries.values_mut() {
            entry.dirty = true;
        }
    }

    fn release_held(&mut self) {
        if !self.references_settled() {
            return;
        }
        for entry in self.entries.values_mut().filter(|entry| entry.held) {
            entry.dirty = true;
            entry.held = false;
        }
    }
}

impl<S: ResourceSource, T: TypeState> Drop for Stream<S, T> {
    fn drop(&mut self) {
        debug!(stream = self.id, "stream closed");
        self.shared.source.disconnected(&self.proxy);
    }
}
