//! Numbers that are true somewhere already and are read when somebody asks: the clusters'
//! gauges from the snapshot in force, the process's own.

use super::stats::Sample;
use crate::model::{Cluster, ClusterShared, Health, Snapshot};
use crate::worker::millis_since_start;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

type Snapshots = watch::Receiver<Arc<Snapshot>>;

static OBSERVED: Mutex<Option<Observed>> = Mutex::new(None);
static DRAINING: AtomicBool = AtomicBool::new(false);

struct Observed {
    snapshots: Snapshots,
    workers: u32,
    status: Box<dyn Fn() -> ServerStatus + Send>,
}

/// How far the process has come (`server.state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    Live = 0,
    Draining = 1,
    PreInitializing = 2,
    Initializing = 3,
}

/// What the configuration's owner knows.
#[derive(Clone, Copy, Debug)]
pub struct ServerStatus {
    pub state: ServerState,
    /// `None` without a control plane.
    pub connected: Option<bool>,
    pub warming_clusters: u64,
    pub warming_listeners: u64,
    /// Seconds since 1970, as the next one; `None` without a certificate.
    pub first_certificate_end: Option<i64>,
    /// `None` without an OCSP response.
    pub first_staple_end: Option<i64>,
}

/// Statistics speak of these snapshots and this process from now on.
pub fn observe(
    snapshots: Snapshots,
    workers: u32,
    status: impl Fn() -> ServerStatus + Send + 'static,
) {
    *OBSERVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(Observed {
        snapshots,
        workers,
        status: Box::new(status),
    });
}

/// The process is ending.
pub fn set_draining() {
    DRAINING.store(true, Ordering::Relaxed);
}

pub(super) fn samples() -> Vec<(Box<str>, Sample)> {
    let observed = OBSERVED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut out = Vec::new();
    let Some(observed) = &*observed else {
        return out;
    };
    let snapshot = observed.snapshots.borrow().clone();
    let status = (observed.status)();
    let draining = DRAINING.load(Ordering::Relaxed);
    let state = match draining {
        true => ServerState::Draining,
        false => status.state,
    };
    let mut plain = |name: &str, value: u64| out.push((name.into(), Sample::Gauge(value)));
    let clusters = || snapshot.clusters.iter().flatten();
    plain("cluster_manager.active_clusters", clusters().count() as u64);
    let listeners = snapshot.listeners.all.len() as u64;
    plain("listener_manager.total_listeners_active", listeners);
    plain("listener_manager.workers_started", 1);
    plain(
        "listener_manager.total_listeners_warming",
        status.warming_listeners,
    );
    plain("cluster_manager.warming_clusters", status.warming_clusters);
    if let Some(connected) = status.connected {
        plain("control_plane.connected_state", connected.into());
    }
    let left = |end: i64| u64::try_from(end - crate::clock::unix_seconds()).unwrap_or_default();
    // Envoy's number without a certificate.
    let days = status.first_certificate_end;
    let days = days.map_or(u32::MAX.into(), |end| left(end) / (24 * 3600));
    plain("server.days_until_first_cert_expiring", days);
    plain(
        "server.seconds_until_first_ocsp_response_expiring",
        status.first_staple_end.map_or(0, left),
    );
    plain("server.live", (!draining).into());
    plain("server.state", state as u64);
    plain("server.uptime", millis_since_start() / 1000);
    plain("server.concurrency", observed.workers.into());
    if let Some(bytes) = resident() {
        plain("server.memory_physical_size", bytes);
    }
    // Clusters may share a name in the statistics.
    let mut known = std::collections::HashMap::<String, u64>::new();
    for cluster in clusters() {
        for (rest, value) in gauges(cluster) {
            let name = super::stats::scoped("cluster", cluster.config.stat_name(), rest);
            *known.entry(name).or_default() += value;
        }
    }
    out.extend(
        known
            .into_iter()
            .map(|(name, value)| (name.into(), Sample::Gauge(value))),
    );
    out
}

fn gauges(cluster: &Cluster) -> [(&'static str, u64); 10] {
    let ClusterShared {
        connections,
        pending,
        requests,
        retries,
        ejected,
        ..
    } = &*cluster.shared;
    let read = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
    let [limits, _] = cluster.config.circuit_breakers;
    let open = |counter: &AtomicU32, limit: u32| u64::from(read(counter) >= limit);
    let endpoints = || {
        let priorities = cluster.endpoints.priorities.iter();
        priorities.flat_map(|priority| &priority.endpoints)
    };
    let now = millis_since_start();
    let count = |health: Health| {
        let of = endpoints().filter(|endpoint| {
            endpoint.health_in(&cluster.config) == health
                && endpoint.state.ejected_until.load(Ordering::Relaxed) <= now
        });
        of.count() as u64
    };
    [
        ("membership_total", endpoints().count() as u64),
        ("membership_healthy", count(Health::Healthy)),
        ("membership_degraded", count(Health::Degraded)),
        ("upstream_cx_active", read(connections).into()),
        ("upstream_rq_active", read(requests).into()),
        ("upstream_rq_pending_active", read(pending).into()),
        ("outlier_detection.ejections_active", read(ejected).into()),
        (
            "circuit_breakers.default.cx_open",
            open(connections, limits.max_connections),
        ),
        (
            "circuit_breakers.default.rq_open",
            open(requests, limits.max_requests),
        ),
        (
            "circuit_breakers.default.rq_retry_open",
            open(retries, limits.max_retries),
        ),
    ]
}

/// Bytes of memory that the process holds.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}
