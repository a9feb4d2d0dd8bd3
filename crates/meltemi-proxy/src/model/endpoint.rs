//! Endpoints by priority and locality, with balancing tables built ahead of requests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

#[derive(Default)]
pub struct EndpointSet {
    /// Index 0 is preferred.
    pub priorities: Vec<Priority>,
    /// Percent as Envoy's `overprovisioning_factor` (140).
    pub overprovisioning: u32,
    /// Share of requests dropped by `drop_overloads`, in parts of a million.
    pub drop_per_million: u32,
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
    /// Istio's `metadata.filter_metadata.istio.workload`, split.
    pub workload: Option<Workload>,
    /// Survives updates that keep the address.
    pub state: Arc<EndpointState>,
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
    pub consecutive_5xx: AtomicU32,
    pub consecutive_gateway: AtomicU32,
    pub consecutive_local: AtomicU32,
    pub requests_total: AtomicU64,
    pub requests_failed: AtomicU64,
    pub connect_failures: AtomicU64,
}
