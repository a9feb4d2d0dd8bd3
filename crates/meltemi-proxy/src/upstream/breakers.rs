//! Circuit breakers: counts shared by all workers, held by guards.
//!
//! A count is taken with one relaxed increment and given back on drop. Workers may pass a
//! limit by a few at the same instant, as Envoy's do.

use super::{Limit, Picked, UpstreamError};
use crate::model::{Cluster, ClusterShared, Endpoint, EndpointState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn take(counter: &AtomicU32, limit: u32) -> bool {
    if counter.fetch_add(1, Ordering::Relaxed) >= limit {
        counter.fetch_sub(1, Ordering::Relaxed);
        return false;
    }
    true
}

fn limits(cluster: &Cluster, high: bool) -> &crate::model::CircuitBreakers {
    &cluster.config.circuit_breakers[usize::from(high)]
}

/// One open upstream connection.
pub struct ConnectionGuard {
    shared: Arc<ClusterShared>,
    endpoint: Arc<EndpointState>,
}

impl ConnectionGuard {
    pub(super) fn tcp(cluster: &Cluster, endpoint: &Endpoint) -> Result<Self, UpstreamError> {
        Self::new(cluster, endpoint, false).ok_or(UpstreamError::Overflow(Limit::Connections))
    }

    /// `always`: a pool without a connection may open one beyond the limit, otherwise its
    /// requests would wait for ever (Envoy does the same).
    pub(super) fn new(cluster: &Cluster, endpoint: &Endpoint, always: bool) -> Option<Self> {
        let limits = limits(cluster, false);
        let limit = |limit| if always { u32::MAX } else { limit };
        if !take(
            &endpoint.state.connections,
            limit(limits.max_connections_per_host),
        ) {
            return None;
        }
        if !take(&cluster.shared.connections, limit(limits.max_connections)) {
            endpoint.state.connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self {
            shared: cluster.shared.clone(),
            endpoint: endpoint.state.clone(),
        })
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.endpoint.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request in flight, in the cluster's and the endpoint's count.
pub struct RequestGuard {
    shared: Arc<ClusterShared>,
    endpoint: Arc<EndpointState>,
}

impl RequestGuard {
    pub fn new(cluster: &Cluster, picked: &Picked, high: bool) -> Result<Self, UpstreamError> {
        let stats = picked.pools.stats();
        if !take(&cluster.shared.requests, limits(cluster, high).max_requests) {
            stats.rq_pending_overflow.inc();
            return Err(UpstreamError::Overflow(Limit::Requests));
        }
        stats.rq_total.inc();
        let state = &picked.endpoint.state;
        state.active_requests.fetch_add(1, Ordering::Relaxed);
        state.requests_total.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            shared: cluster.shared.clone(),
            endpoint: state.clone(),
        })
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.shared.requests.fetch_sub(1, Ordering::Relaxed);
        self.endpoint
            .active_requests
            .fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request that waits for a connection.
pub struct PendingGuard {
    shared: Arc<ClusterShared>,
}

impl PendingGuard {
    pub fn new(cluster: &Cluster) -> Result<Self, UpstreamError> {
        let limit = limits(cluster, false).max_pending_requests;
        if !take(&cluster.shared.pending, limit) {
            return Err(UpstreamError::Overflow(Limit::Pending));
        }
        Ok(Self {
            shared: cluster.shared.clone(),
        })
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        self.shared.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One retry, from its decision until its attempt ends.
pub struct RetryGuard {
    shared: Arc<ClusterShared>,
}

impl RetryGuard {
    /// `None` when `max_retries` or the retry budget is used up.
    pub fn new(cluster: &Cluster, high: bool) -> Option<Self> {
        let limits = limits(cluster, high);
        let limit = match limits.retry_budget {
            None => limits.max_retries,
            Some((percent, minimum)) => {
                let active = cluster.shared.requests.load(Ordering::Relaxed)
                    + cluster.shared.pending.load(Ordering::Relaxed);
                ((f64::from(active) * percent / 100.0) as u32).max(minimum)
            }
        };
        take(&cluster.shared.retries, limit).then(|| Self {
            shared: cluster.shared.clone(),
        })
    }
}

impl Drop for RetryGuard {
    fn drop(&mut self) {
        self.shared.retries.fetch_sub(1, Ordering::Relaxed);
    }
}
