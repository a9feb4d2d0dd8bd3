//! Endpoints by priority and locality, with balancing tables built ahead of requests.

use super::{CheckTarget, ClusterConfig};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

#[derive(Default)]
pub struct EndpointSet {
    /// Index 0 is preferred.
    pub priorities: Vec<Priority>,
    /// Percent as Envoy's `overprovisioning_factor` (140).
    pub overprovisioning: u32,
    /// Share of requests dropped by `drop_overloads`, in parts of a million.
    pub drop_per_million: u32,
    /// When the cluster divides its endpoints by metadata.
    pub subsets: Option<Box<super::Subsets>>,
}

#[derive(Default)]
pub struct Priority {
    pub localities: Vec<Locality>,
    /// All endpoints of the priority that discovery does not call unhealthy.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Built when the cluster balances by hash.
    pub hash_table: Option<HashTable>,
}

pub struct Locality {
    pub region: Box<str>,
    pub zone: Box<str>,
    pub sub_zone: Box<str>,
    /// 0: not weighted.
    pub weight: u32,
    pub endpoints: Vec<Arc<Endpoint>>,
}

pub struct HashTable {
    pub places: HashPlaces,
    /// Of all traffic, by index into `Priority::endpoints`; they add up to 1.
    pub shares: Box<[f64]>,
}

pub enum HashPlaces {
    /// Sorted (hash, index into `Priority::endpoints`).
    Ring(Arc<[(u64, u32)]>),
    /// `table[hash % len]` is an index into `Priority::endpoints`.
    Maglev(Arc<[u32]>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Socket(SocketAddr),
    Pipe(PathBuf),
}

pub struct Endpoint {
    pub address: Address,
    pub hostname: Box<str>,
    /// At least 1.
    pub weight: u32,
    pub health: Health,
    /// `metadata.filter_metadata["envoy.transport_socket_match"]`.
    pub transport_match: Vec<(Box<str>, Box<str>)>,
    /// Index into `TransportChoice::matches`, or `None` for the default.
    pub transport: Option<u16>,
    /// `metadata.filter_metadata["envoy.lb"]`, in the order of names.
    pub lb_metadata: Vec<(Box<str>, Box<str>)>,
    pub check: CheckTarget,
    /// Istio's `metadata.filter_metadata.istio.workload`, split.
    pub workload: Option<Workload>,
    /// Survives updates that keep the address.
    pub state: Arc<EndpointState>,
}

impl EndpointSet {
    /// Of all priorities and localities, whatever their health.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        let localities = self.priorities.iter().flat_map(|level| &level.localities);
        localities.flat_map(|locality| &locality.endpoints)
    }
}

impl Endpoint {
    /// What discovery and, where the cluster is checked, its checks say: the worse counts.
    pub fn health_in(&self, config: &ClusterConfig) -> Health {
        if config.health_check.is_none() || self.check.disabled {
            return self.health;
        }
        match (self.state.checked(), self.health) {
            (CheckResult::Passed, health) => health,
            (CheckResult::Degraded, Health::Healthy) => Health::Degraded,
            (CheckResult::Degraded, health) => health,
            (CheckResult::Pending | CheckResult::Failed, _) => Health::Unhealthy,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Healthy,
    Degraded,
    Draining,
    Unhealthy,
}

/// `name;namespace;canonical-name;canonical-revision;cluster`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub name: Box<str>,
    pub namespace: Box<str>,
    pub canonical_name: Box<str>,
    pub canonical_revision: Box<str>,
    pub cluster: Box<str>,
}

/// What all workers know of an endpoint.
#[derive(Default)]
pub struct EndpointState {
    pub active_requests: AtomicU32,
    /// Milliseconds since process start at which the endpoint came, or passed its checks
    /// after it had not: what slow start counts from.
    pub warming_since: AtomicU64,
    pub connections: AtomicU32,
    /// Milliseconds since process start until which the endpoint is ejected; 0: not.
    pub ejected_until: AtomicU64,
    pub times_ejected: AtomicU32,
    /// Milliseconds since process start at which the last ejection ended.
    pub released_at: AtomicU64,
    /// A [`CheckResult`].
    checked: AtomicU8,
    pub consecutive_5xx: AtomicU32,
    pub consecutive_gateway: AtomicU32,
    pub consecutive_local: AtomicU32,
    /// How requests ended, for outlier detection: by what the endpoint answered, and by what
    /// the proxy saw itself where that is counted apart.
    pub external: Tally,
    pub local: Tally,
    pub requests_total: AtomicU64,
    pub requests_failed: AtomicU64,
    pub connect_failures: AtomicU64,
}

/// Requests of an interval.
#[derive(Default)]
pub struct Tally {
    total: AtomicU32,
    successes: AtomicU32,
}

impl Tally {
    pub fn count(&self, success: bool) {
        self.total.fetch_add(1, Ordering::Relaxed);
        if success {
            self.successes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// (all, those that succeeded); begins anew.
    pub fn take(&self) -> (u32, u32) {
        // Successes first: what is counted in between is not a failure of this interval.
        let successes = self.successes.swap(0, Ordering::Relaxed);
        let total = self.total.swap(0, Ordering::Relaxed);
        (total.max(successes), successes)
    }
}

/// What active health checks found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    Pending,
    Passed,
    Degraded,
    Failed,
}

impl EndpointState {
    pub fn checked(&self) -> CheckResult {
        match self.checked.load(Ordering::Acquire) {
            1 => CheckResult::Passed,
            2 => CheckResult::Degraded,
            3 => CheckResult::Failed,
            _ => CheckResult::Pending,
        }
    }

    pub fn set_checked(&self, result: CheckResult) {
        let number = match result {
            CheckResult::Pending => 0,
            CheckResult::Passed => 1,
            CheckResult::Degraded => 2,
            CheckResult::Failed => 3,
        };
        self.checked.store(number, Ordering::Release);
    }

    pub fn passes_checks(&self) -> bool {
        matches!(self.checked(), CheckResult::Passed | CheckResult::Degraded)
    }
}
