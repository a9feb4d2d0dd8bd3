//! Active health checks: one task an endpoint, on one worker for all of them.
//!
//! What a check finds is kept in the endpoint's shared state; a change moves the cluster's
//! health epoch, and every worker rebuilds what it balances over. An endpoint that was never
//! checked counts as unhealthy, as in Envoy; a cluster is not kept back until its first
//! checks are done, panic routing serves it meanwhile. A process is not ready before those of
//! its first configuration are.

mod probe;
mod verdict;

use super::outlier::release;
use crate::model::{Cluster, ClusterConfig, Endpoint, HealthCheck, Snapshot};
use crate::net::Connector;
use crate::telemetry::stats::Counter;
use crate::worker::millis_since_start;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use verdict::{Streak, Verdict};

/// The running checks of a process. Dropping it ends them.
pub struct HealthChecker {
    connector: Connector,
    running: HashMap<Key, Running>,
}

/// The cluster's configuration and the endpoint's state, by address: both are kept alive by
/// the task.
type Key = (usize, usize);

struct Running {
    endpoint: Arc<Endpoint>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HealthChecker {
    /// Must be used inside a `LocalSet`, where the connector's connections are made.
    pub fn new(connector: Connector) -> Self {
        Self {
            connector,
            running: HashMap::new(),
        }
    }

    /// Checks what this snapshot says, and nothing else. Checks that go on keep their time.
    pub fn apply(&mut self, snapshot: &Snapshot) {
        let mut former = std::mem::take(&mut self.running);
        for cluster in snapshot.clusters.iter().flatten() {
            let Some(check) = &cluster.config.health_check else {
                continue;
            };
            let priorities = cluster.endpoints.priorities.iter();
            for endpoint in priorities.flat_map(|priority| &priority.endpoints) {
                if endpoint.check.disabled {
                    continue;
                }
                let key = (
                    Arc::as_ptr(&cluster.config).addr(),
                    Arc::as_ptr(&endpoint.state).addr(),
                );
                let running = match former.remove(&key) {
                    Some(running) if same_target(&running.endpoint, endpoint) => running,
                    _ => self.start(cluster, check, endpoint),
                };
                self.running.insert(key, running);
            }
        }
    }

    fn start(
        &self,
        cluster: &Arc<Cluster>,
        check: &Arc<HealthCheck>,
        endpoint: &Arc<Endpoint>,
    ) -> Running {
        let checked = Checked {
            connector: self.connector.clone(),
            target: probe::target(&cluster.config, check, endpoint),
            cluster: cluster.clone(),
            check: check.clone(),
            endpoint: endpoint.clone(),
            counters: Counters::of(&cluster.config),
        };
        Running {
            endpoint: endpoint.clone(),
            task: tokio::task::spawn_local(checked.run()),
        }
    }
}

fn same_target(one: &Endpoint, other: &Endpoint) -> bool {
    (&one.address, &one.check, one.transport, &one.hostname)
        == (
            &other.address,
            &other.check,
            other.transport,
            &other.hostname,
        )
}

/// One endpoint under check.
struct Checked {
    connector: Connector,
    cluster: Arc<Cluster>,
    check: Arc<HealthCheck>,
    endpoint: Arc<Endpoint>,
    /// Where and how to check it.
    target: Endpoint,
    counters: Counters,
}

impl Checked {
    async fn run(self) {
        let intervals = &self.check.intervals;
        tokio::time::sleep(intervals.initial_jitter.mul_f64(fastrand::f64())).await;
        let mut streak = Streak::default();
        let mut kept = None;
        loop {
            self.counters.attempt.inc();
            let probing = probe::probe(
                &self.connector,
                &self.cluster.config,
                &self.check,
                &self.target,
                &mut kept,
            );
            let verdict = tokio::time::timeout(self.check.timeout, probing)
                .await
                .unwrap_or_else(|_| Verdict::unreachable("no answer in time"));
            self.count(&verdict);
            let changed = streak.take(&self.check, &self.endpoint.state, &verdict);
            self.take_back();
            if changed {
                if self.endpoint.state.passes_checks() {
                    let now = millis_since_start();
                    self.endpoint
                        .state
                        .warming_since
                        .store(now, Ordering::Relaxed);
                }
                self.cluster.shared.health_changed();
                tracing::info!(cluster = %self.cluster.config.name, endpoint = ?self.endpoint.address,
                    result = %verdict, "health changed");
            }
            tokio::time::sleep(self.pause(changed)).await;
        }
    }

    /// An endpoint that passes is no outlier any more, where that is configured.
    fn take_back(&self) {
        let outlier = self.cluster.config.outlier.as_ref();
        if outlier.is_some_and(|detection| detection.uneject_on_passed_check)
            && self.endpoint.state.passes_checks()
        {
            release(&self.cluster.shared, &self.endpoint.state);
        }
    }

    fn count(&self, verdict: &Verdict) {
        match verdict {
            Verdict::Passed | Verdict::Degraded => self.counters.success.inc(),
            Verdict::Failed { network, .. } => {
                self.counters.failure.inc();
                if *network {
                    self.counters.network_failure.inc();
                }
            }
        }
    }

    fn pause(&self, changed: bool) -> Duration {
        let intervals = &self.check.intervals;
        let healthy = self.endpoint.state.passes_checks();
        let used = self.counters.connections.value() > 0;
        let base = match (used, healthy, changed) {
            (false, true, _) => intervals.no_traffic_healthy,
            (false, false, _) => intervals.no_traffic,
            (true, true, true) => intervals.healthy_edge,
            (true, true, false) => intervals.steady,
            (true, false, true) => intervals.unhealthy_edge,
            (true, false, false) => intervals.unhealthy,
        };
        let part = base.mul_f64(f64::from(intervals.jitter_percent) / 100.0);
        base + intervals.jitter.mul_f64(fastrand::f64()) + part.mul_f64(fastrand::f64())
    }
}

struct Counters {
    attempt: Counter,
    success: Counter,
    failure: Counter,
    network_failure: Counter,
    /// Of requests: tells whether the cluster is used.
    connections: Counter,
}

impl Counters {
    fn of(config: &ClusterConfig) -> Self {
        let counter = |rest: &str| Counter::scoped("cluster", config.stat_name(), rest);
        Self {
            attempt: counter("health_check.attempt"),
            success: counter("health_check.success"),
            failure: counter("health_check.failure"),
            network_failure: counter("health_check.network_failure"),
            connections: counter("upstream_cx_total"),
        }
    }
}
