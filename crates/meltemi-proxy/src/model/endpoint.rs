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

pub enum HashTable {
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
    pub requests_total: AtomicU64,
    pub requests_failed: AtomicU64,
    pub connect_failures: AtomicU64,
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
