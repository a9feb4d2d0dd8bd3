//! The upstream side of one worker: choosing endpoints, keeping connections, limits and
//! ejection.
//!
//! Everything here belongs to one thread. What workers share (circuit-breaker counts, an
//! endpoint's load and ejection) are the atomics of `model::{ClusterShared, EndpointState}`.
//!
//! A request goes `pick` -> `acquire` -> (the codec) -> `report`. A TCP connection uses
//! [`Upstreams::connect_tcp`].

mod balance;
mod breakers;
mod connect;
mod dynamic;
mod error;
mod hashing;
mod health;
mod load;
mod outlier;
mod pool;
mod proxy_protocol;
mod state;
mod stats;
mod table;

pub use breakers::{ConnectionGuard, PendingGuard, RequestGuard, RetryGuard};
pub(crate) use connect::transport;
pub(crate) use dynamic::default_port;
pub use error::{Limit, PickError, UpstreamError};
pub use health::HealthChecker;
pub use outlier::{Outcome, OutlierWatch};
pub(crate) use pool::{ConnectionFacts, Lease, Wanted, WantedProtocol};
pub(crate) use proxy_protocol::Ends;
pub(crate) use stats::ClusterStats;

use crate::model::{Address, CheckResult, Cluster, ClusterId, ClusterShared, Discovery, Endpoint};
use crate::net::{Connector, Stream};
use crate::overload::Levels;
use crate::telemetry::TlsInfo;
use crate::worker::millis_since_start;
use state::ClusterState;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What the choice of an endpoint may depend on.
#[derive(Default)]
pub struct PickContext<'a> {
    /// For ring hash and maglev; random when absent, as Envoy.
    pub hash: Option<u64>,
    /// Where the connection was going before redirection (ORIGINAL_DST clusters).
    pub original_destination: Option<SocketAddr>,
    /// Whom the request or connection is for (dynamic forward proxy clusters).
    pub host: Option<NamedHost<'a>>,
    /// Source and destination of the downstream connection, for upstreams that are told.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// The subset of the cluster that is asked for.
    pub criteria: &'a [(Box<str>, Box<str>)],
    /// Endpoints of earlier attempts.
    pub tried: &'a [Arc<Endpoint>],
    /// How many times to choose again when the choice is in `tried`; 0 accepts it.
    pub reselect: u32,
    /// Priorities that earlier attempts used up (`previous_priorities`).
    pub skip_priorities: u32,
}

/// A host as a request or a connection names it.
#[derive(Clone, Copy, Debug)]
pub struct NamedHost<'a> {
    /// An authority, or a server name.
    pub name: &'a str,
    /// The port where `name` has none; `None`: that of the cluster's scheme.
    pub port: Option<u16>,
}

/// A chosen endpoint, with its pools at hand.
pub struct Picked {
    pub endpoint: Arc<Endpoint>,
    /// Index of the priority it came from.
    pub priority: u32,
    pub(crate) pools: Rc<pool::EndpointPools>,
}

/// A connection for a TCP relay. The guard keeps the circuit breaker's count while held.
pub struct UpstreamTcp {
    pub stream: Stream,
    pub endpoint: Arc<Endpoint>,
    pub tls: Option<Arc<TlsInfo>>,
    pub guard: ConnectionGuard,
    /// What ends the connection, where the cluster is configured so.
    pub failure: Option<EndpointFailure>,
}

/// An endpoint that may fail its health checks, or be ejected.
pub struct EndpointFailure {
    cluster: Arc<ClusterShared>,
    endpoint: Arc<Endpoint>,
}

impl EndpointFailure {
    /// `None` where the cluster lets connections to such an endpoint go on.
    fn of(cluster: &Cluster, picked: &Picked) -> Option<Self> {
        cluster.config.close_on_failure.then(|| Self {
            cluster: cluster.shared.clone(),
            endpoint: picked.endpoint.clone(),
        })
    }

    /// Resolves when it has.
    pub async fn happened(&self) {
        let state = &self.endpoint.state;
        loop {
            let change = self.cluster.health_changes.notified();
            let mut change = std::pin::pin!(change);
            // From here on no change is missed.
            change.as_mut().enable();
            let ejected = state.ejected_until.load(Ordering::Acquire) > millis_since_start();
            if ejected || state.checked() == CheckResult::Failed {
                return;
            }
            change.await;
        }
    }
}

/// All upstream state of one worker. A handle: clones share it.
#[derive(Clone)]
pub struct Upstreams {
    inner: Rc<Inner>,
}

struct Inner {
    connector: Connector,
    overload: Arc<Levels>,
    /// Indexed by [`ClusterId`].
    clusters: RefCell<Vec<Option<Rc<ClusterState>>>>,
    sweeper: pool::Sweeper,
}

impl Upstreams {
    /// Must be used on the thread that makes it, inside a `LocalSet`.
    pub fn new(connector: Connector, overload: Arc<Levels>) -> Self {
        Self {
            inner: Rc::new(Inner {
                connector,
                overload,
                clusters: RefCell::default(),
                sweeper: pool::Sweeper::default(),
            }),
        }
    }

    /// Waits until a dynamic forward proxy cluster knows where a request's host is: what comes
    /// before [`Self::pick`]. Other clusters have nothing to wait for, and of connections the
    /// filter by SNI resolves the name, as in Envoy.
    pub async fn resolve(
        &self,
        cluster: &Cluster,
        host: Option<NamedHost<'_>>,
    ) -> Result<(), PickError> {
        let Discovery::DynamicForward(cache) = &cluster.config.discovery else {
            return Ok(());
        };
        let resolved = dynamic::resolve(cluster, cache, host).await;
        resolved.inspect_err(|_| ClusterStats::of(&cluster.config).cx_none_healthy.inc())
    }

    /// Chooses an endpoint by the cluster's policy.
    pub fn pick(&self, cluster: &Cluster, context: &PickContext<'_>) -> Result<Picked, PickError> {
        self.state(cluster)
            .pick(cluster, context)
            .inspect_err(|_| ClusterStats::of(&cluster.config).cx_none_healthy.inc())
    }

    /// Chooses an endpoint and connects to it, with TLS when the cluster says so. Counts
    /// against `max_connections` and reports failures to outlier detection.
    pub async fn connect_tcp(
        &self,
        cluster: &Cluster,
        context: PickContext<'_>,
    ) -> Result<UpstreamTcp, UpstreamError> {
        let picked = self.pick(cluster, &context)?;
        let (connected, guard) = self.connect_to(cluster, &picked, context.ends).await?;
        Ok(UpstreamTcp {
            stream: connected.stream,
            failure: EndpointFailure::of(cluster, &picked),
            endpoint: picked.endpoint,
            tls: connected.tls,
            guard,
        })
    }

    /// A connection to the picked endpoint for a CONNECT that ends here.
    pub(crate) async fn acquire_tcp(
        &self,
        cluster: &Cluster,
        picked: &Picked,
        ends: Ends,
    ) -> Result<Lease, UpstreamError> {
        let (connected, guard) = self.connect_to(cluster, picked, Some(ends)).await?;
        let failure = EndpointFailure::of(cluster, picked);
        let lease = pool::TcpLease::new(connected, &cluster.config, failure, guard);
        Ok(Lease::Tcp(Box::new(lease)))
    }

    async fn connect_to(
        &self,
        cluster: &Cluster,
        picked: &Picked,
        ends: Option<Ends>,
    ) -> Result<(connect::Connected, ConnectionGuard), UpstreamError> {
        if self.inner.overload.refuses_upstream() {
            return Err(UpstreamError::Shed);
        }
        let stats = picked.pools.stats();
        let guard = ConnectionGuard::tcp(cluster, &picked.endpoint)
            .inspect_err(|_| stats.cx_overflow.inc())?;
        let result = connect::connect(
            &self.inner.connector,
            stats,
            &cluster.config,
            &picked.endpoint,
            connect::Way {
                ends,
                ..connect::Way::default()
            },
        )
        .await;
        let outcome = match &result {
            Ok(_) => Outcome::LocalSuccess,
            Err(_) => Outcome::LocalFailure,
        };
        self.report(cluster, &picked.endpoint, outcome);
        result.map(|connected| (connected, guard))
    }

    /// A connection to the picked endpoint that is ready for one request.
    pub(crate) async fn acquire(
        &self,
        cluster: &Arc<Cluster>,
        picked: &Picked,
        wanted: &Wanted,
    ) -> Result<Lease, UpstreamError> {
        let pool = picked.pools.pool(wanted);
        let Inner {
            connector,
            overload,
            ..
        } = &*self.inner;
        let ready = pool.ready();
        if cluster.config.preconnect_ratio > 1.0 {
            let coming = u32::from(ready.is_none());
            pool.connect_ahead(connector, overload, cluster, &picked.endpoint, coming);
        }
        let lease = match ready {
            Some(lease) => Ok(lease),
            // Connecting is a large future, and seldom needed.
            None => Box::pin(pool.acquire(connector, overload, cluster, &picked.endpoint)).await,
        };
        if let Err(UpstreamError::Connect { .. } | UpstreamError::Tls { .. }) = &lease {
            self.report(cluster, &picked.endpoint, Outcome::LocalFailure);
        }
        self.watch();
        lease
    }

    /// Tells outlier detection how a request or connection went.
    pub fn report(&self, cluster: &Cluster, endpoint: &Endpoint, outcome: Outcome) {
        outlier::report(cluster, endpoint, outcome);
    }

    /// Makes sure that idle connections are looked after while there are any.
    fn watch(&self) {
        if self.inner.sweeper.start() {
            let weak = Rc::downgrade(&self.inner);
            tokio::task::spawn_local(async move {
                loop {
                    let Some(wait) = weak.upgrade().and_then(|inner| inner.sweep()) else {
                        return;
                    };
                    tokio::time::sleep(wait).await;
                }
            });
        }
    }

    fn state(&self, cluster: &Cluster) -> Rc<ClusterState> {
        let ClusterId(index) = cluster.id;
        let mut clusters = self.inner.clusters.borrow_mut();
        let index = index as usize;
        if index >= clusters.len() {
            clusters.resize_with(index + 1, || None);
        }
        let slot = &mut clusters[index];
        match slot {
            Some(state) if Arc::ptr_eq(&state.config, &cluster.config) => state.clone(),
            _ => {
                let fresh = Rc::new(ClusterState::new(cluster));
                if let Some(old) = slot.replace(fresh.clone()) {
                    old.close();
                }
                fresh
            }
        }
    }

    /// Forgets clusters that the snapshot no longer holds: their idle connections close,
    /// busy ones finish.
    pub fn retain(&self, snapshot: &crate::model::Snapshot) {
        let mut clusters = self.inner.clusters.borrow_mut();
        for (index, slot) in clusters.iter_mut().enumerate() {
            if snapshot.cluster(ClusterId(index as u32)).is_none()
                && let Some(old) = slot.take()
            {
                old.close();
            }
        }
    }
}

impl Inner {
    /// Closes what is idle for too long; how long until the next look, `None` when no
    /// connection is left.
    fn sweep(&self) -> Option<std::time::Duration> {
        let next = self
            .clusters
            .borrow()
            .iter()
            .flatten()
            .filter_map(|state| state.sweep())
            .min();
        self.sweeper.next(next)
    }
}

/// The socket address of an endpoint, when it has one.
pub(crate) fn socket_address(endpoint: &Endpoint) -> Option<SocketAddr> {
    match endpoint.address {
        Address::Socket(address) => Some(address),
        Address::Pipe(_) => None,
    }
}
