//! The compiled configuration: what the workers read while they serve traffic.
//!
//! Everything here is immutable. `compile` builds it from xDS protobuf off the workers'
//! threads, and a worker swaps the whole [`Snapshot`] at once. Names are resolved to
//! indices, regular expressions are compiled, durations and percentages are plain
//! numbers: nothing on the request path parses configuration or hashes a configured name.
//!
//! The few shared mutable cells (circuit-breaker counters, an endpoint's load and
//! ejection) are atomics behind `Arc`s that survive an update of the same name.

mod access_log;
mod cluster;
mod dns_cache;
mod endpoint;
mod feed;
mod health;
mod http;
mod listener;
mod matching;
mod outlier;
mod rate_limit;
mod route;
mod routes;
mod standard_metrics;
mod subset;
mod tls;
mod tracing;

pub use access_log::*;
pub use cluster::*;
pub use dns_cache::*;
pub use endpoint::*;
pub use feed::*;
pub use health::*;
pub use http::*;
pub use listener::*;
pub use matching::*;
pub use outlier::*;
pub use rate_limit::*;
pub use route::*;
pub use routes::*;
pub use standard_metrics::*;
pub use subset::*;
pub use tls::*;
pub use tracing::*;

// Each filter's part of the model is with the filter.
pub use crate::http::filters::*;

use std::sync::Arc;

/// Index of a cluster's name. Stable for the life of the process: an updated or removed
/// and re-added cluster keeps its index, so routes need not be recompiled with clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub u32);

/// Index of an RDS route table's name; stable like [`ClusterId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteTableId(pub u32);

/// One consistent view of everything a worker needs.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// Increases with every publication.
    pub generation: u64,
    pub listeners: Arc<ListenerTable>,
    /// Indexed by [`RouteTableId`]; `None` until the table arrives or after its removal.
    pub routes: Arc<[Option<Arc<RouteTable>>]>,
    /// Indexed by [`ClusterId`]; `None` while the cluster is unknown.
    pub clusters: Arc<[Option<Arc<Cluster>>]>,
}

impl Snapshot {
    pub fn cluster(&self, id: ClusterId) -> Option<&Arc<Cluster>> {
        self.clusters.get(id.0 as usize)?.as_ref()
    }

    pub fn route_table(&self, id: RouteTableId) -> Option<&Arc<RouteTable>> {
        self.routes.get(id.0 as usize)?.as_ref()
    }
}
