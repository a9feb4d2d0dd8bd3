//! Numbers that are true somewhere already and are read when somebody asks: the clusters'
//! gauges from the snapshot in force, the process's own.

use super::stats::Sample;
use crate::model::{Cluster, ClusterShared, Health, Snapshot};
use crate::worker::millis_since_start;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

type Snapshots = watch::Receiver<Arc<Snapshot>>;

static SNAPSHOTS: Mutex<Option<Snapshots>> = Mutex::new(None);
static CONCURRENCY: AtomicU32 = AtomicU32::new(0);

/// Statistics speak of these snapshots from now on.
pub fn observe(snapshots: Snapshots, workers: u32) {
    CONCURRENCY.store(workers, Ordering::Relaxed);
    *SNAPSHOTS.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshots);
}

pub(super) fn samples() -> Vec<(Box<str>, Sample)> {
    let snapshot = SNAPSHOTS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()
        .map(|snapshots| snapshots.borrow().clone());
    let mut out = Vec::new();
    let Some(snapshot) = snapshot else {
        return out;
    };
    let mut plain = |name: &str, value: u64| out.push((name.into(), Sample::Gauge(value)));
    let clusters = || snapshot.clusters.iter().flatten();
    plain("cluster_manager.active_clusters", clusters().count() as u64);
    let listeners = snapshot.listeners.all.len() as u64;
    plain("listener_manager.total_listeners_active", listeners);
    plain("listener_manager.workers_started", 1);
    plain("server.live", 1);
    plain("server.state", 0);
    plain("server.uptime", millis_since_start() / 1000);
    plain(
        "server.concurrency",
        u64::from(CONCURRENCY.load(Ordering::Relaxed)),
    );
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
            endpoint.health == health && endpoint.state.ejected_until.load(Ordering::Relaxed) <= now
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
