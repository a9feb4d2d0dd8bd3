//! What becomes of an endpoint that was found to be an outlier.

use super::reset;
use crate::model::{Cluster, ClusterShared, Endpoint, EndpointState, OutlierDetection};
use crate::telemetry::stats::Counter;
use crate::worker::millis_since_start as now_ms;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Why an endpoint is an outlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Consecutive5xx,
    ConsecutiveGatewayFailure,
    ConsecutiveLocalOriginFailure,
    SuccessRate,
    LocalOriginSuccessRate,
    FailurePercentage,
    LocalOriginFailurePercentage,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Consecutive5xx,
        Self::ConsecutiveGatewayFailure,
        Self::ConsecutiveLocalOriginFailure,
        Self::SuccessRate,
        Self::LocalOriginSuccessRate,
        Self::FailurePercentage,
        Self::LocalOriginFailurePercentage,
    ];

    /// As Envoy's counters end.
    fn name(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "consecutive_5xx",
            Self::ConsecutiveGatewayFailure => "consecutive_gateway_failure",
            Self::ConsecutiveLocalOriginFailure => "consecutive_local_origin_failure",
            Self::SuccessRate => "success_rate",
            Self::LocalOriginSuccessRate => "local_origin_success_rate",
            Self::FailurePercentage => "failure_percentage",
            Self::LocalOriginFailurePercentage => "local_origin_failure_percentage",
        }
    }

    /// Percent of the detections that eject.
    fn enforcing(self, detection: &OutlierDetection) -> u32 {
        match self {
            Self::Consecutive5xx => detection.consecutive_5xx.enforcing,
            Self::ConsecutiveGatewayFailure => detection.consecutive_gateway_failure.enforcing,
            Self::ConsecutiveLocalOriginFailure => {
                detection.consecutive_local_origin_failure.enforcing
            }
            Self::SuccessRate => detection.success_rate.enforcing,
            Self::LocalOriginSuccessRate => detection.success_rate.enforcing_local_origin,
            Self::FailurePercentage => detection.failure_percentage.enforcing,
            Self::LocalOriginFailurePercentage => {
                detection.failure_percentage.enforcing_local_origin
            }
        }
    }
}

/// Not for the way of a request that succeeds: it looks the counter up.
fn counter(cluster: &Cluster, name: &str) -> Counter {
    let rest = format!("outlier_detection.{name}");
    Counter::scoped("cluster", cluster.config.stat_name(), &rest)
}

/// Makes the counters known before anything is counted.
pub(super) fn register(cluster: &Cluster) {
    counter(cluster, "ejections_enforced_total");
    counter(cluster, "ejections_overflow");
    for kind in Kind::ALL {
        counter(cluster, &format!("ejections_detected_{}", kind.name()));
        counter(cluster, &format!("ejections_enforced_{}", kind.name()));
    }
}

/// Counts an outlier, and ejects it as far as the configuration lets us.
pub(super) fn detected(
    cluster: &Cluster,
    endpoint: &Endpoint,
    detection: &OutlierDetection,
    kind: Kind,
) {
    counter(cluster, &format!("ejections_detected_{}", kind.name())).inc();
    let hosts = cluster.endpoints.endpoints().count().max(1) as u64;
    let ejected = cluster.shared.ejected.load(Ordering::Relaxed);
    let within =
        (u64::from(ejected) + 1) * 100 <= u64::from(detection.max_ejection_percent) * hosts;
    let allowed = within || (detection.always_eject_one_host && ejected == 0);
    if !allowed {
        counter(cluster, "ejections_overflow").inc();
        return;
    }
    if fastrand::u32(0..100) < kind.enforcing(detection) {
        eject(cluster, endpoint, detection, kind);
    }
}

fn eject(cluster: &Cluster, endpoint: &Endpoint, detection: &OutlierDetection, kind: Kind) {
    let state = &*endpoint.state;
    let now = now_ms();
    let times = forgiven(state, detection.interval, now) + 1;
    let duration = detection
        .base_ejection_time
        .saturating_mul(times)
        .min(detection.max_ejection_time)
        + detection.max_ejection_time_jitter.mul_f64(fastrand::f64());
    let until = now + (duration.as_millis() as u64).max(1);
    let first = state
        .ejected_until
        .compare_exchange(0, until, Ordering::AcqRel, Ordering::Relaxed);
    if first.is_err() {
        return;
    }
    state.times_ejected.store(times, Ordering::Relaxed);
    cluster.shared.ejected.fetch_add(1, Ordering::Relaxed);
    counter(cluster, "ejections_enforced_total").inc();
    counter(cluster, &format!("ejections_enforced_{}", kind.name())).inc();
    cluster.shared.health_changed();
    tracing::info!(cluster = %cluster.config.name, endpoint = ?endpoint.address,
        why = kind.name(), seconds = duration.as_secs_f64(), "endpoint ejected");
}

/// Number of ejections that still count against the endpoint.
fn forgiven(state: &EndpointState, interval: Duration, now: u64) -> u32 {
    let times = state.times_ejected.load(Ordering::Relaxed);
    let since = now.saturating_sub(state.released_at.load(Ordering::Relaxed));
    let intervals = since / (interval.as_millis() as u64).max(1);
    times.saturating_sub(u32::try_from(intervals).unwrap_or(u32::MAX))
}

/// Whether the endpoint is ejected now; takes it back when its time is over.
pub(in crate::upstream) fn is_ejected(
    shared: &ClusterShared,
    state: &EndpointState,
    now: u64,
) -> bool {
    let until = state.ejected_until.load(Ordering::Acquire);
    if until > now {
        return true;
    }
    if until > 0 {
        take_back(shared, state, until, until);
    }
    false
}

/// Ends an ejection, if there is one, before its time.
pub(in crate::upstream) fn release(shared: &ClusterShared, state: &EndpointState) {
    let until = state.ejected_until.load(Ordering::Acquire);
    if until > 0 {
        take_back(shared, state, until, now_ms());
    }
}

fn take_back(shared: &ClusterShared, state: &EndpointState, until: u64, at: u64) {
    let ours = state
        .ejected_until
        .compare_exchange(until, 0, Ordering::AcqRel, Ordering::Relaxed);
    if ours.is_ok() {
        state.released_at.store(at, Ordering::Relaxed);
        for counter in [
            &state.consecutive_5xx,
            &state.consecutive_gateway,
            &state.consecutive_local,
        ] {
            // The next failure is the first.
            reset(counter);
        }
        shared.ejected.fetch_sub(1, Ordering::Relaxed);
        shared.health_changed();
    }
}
