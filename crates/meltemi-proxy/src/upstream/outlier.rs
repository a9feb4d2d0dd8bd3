//! Outlier detection: endpoints that fail in a row are left out for a while.
//!
//! Ejection happens at the failure that reaches the threshold, its end is noticed by
//! whichever worker looks next (`release_due`): no task runs for it. An ejection lasts
//! `base * number of ejections`; the number shrinks by one for every interval that the
//! endpoint then behaved, as in Envoy.

use crate::model::{Cluster, ClusterShared, Endpoint, EndpointState, OutlierDetection};
use crate::telemetry::stats::Counter;
use crate::worker::millis_since_start as now_ms;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How an attempt on an endpoint ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered with this status.
    Status(u16),
    /// A TCP connection was made.
    LocalSuccess,
    /// Connect failure, reset or timeout, seen by us.
    LocalFailure,
}

pub(super) fn report(cluster: &Cluster, endpoint: &Endpoint, outcome: Outcome) {
    let state = &*endpoint.state;
    if outcome == Outcome::LocalFailure {
        state.requests_failed.fetch_add(1, Ordering::Relaxed);
        state.connect_failures.fetch_add(1, Ordering::Relaxed);
    } else if matches!(outcome, Outcome::Status(status) if status >= 500) {
        state.requests_failed.fetch_add(1, Ordering::Relaxed);
    }
    let Some(detection) = &cluster.config.outlier else {
        return;
    };
    match outcome {
        Outcome::Status(status) if status >= 500 => {
            if detection.split_local_origin {
                reset(&state.consecutive_local);
            }
            failure(cluster, endpoint, detection, (502..=504).contains(&status));
        }
        Outcome::Status(_) | Outcome::LocalSuccess => {
            if outcome != Outcome::LocalSuccess || !detection.split_local_origin {
                reset(&state.consecutive_5xx);
                reset(&state.consecutive_gateway);
            }
            reset(&state.consecutive_local);
        }
        Outcome::LocalFailure if detection.split_local_origin => count(
            cluster,
            endpoint,
            detection,
            &state.consecutive_local,
            detection.consecutive_local_origin_failure,
            detection.enforcing_consecutive_local_origin_failure,
        ),
        // Unsplit, a local failure counts as a 503 of the endpoint.
        Outcome::LocalFailure => failure(cluster, endpoint, detection, true),
    }
}

fn reset(counter: &AtomicU32) {
    // Read first: the common case writes nothing, so the line stays shared by the cores.
    if counter.load(Ordering::Relaxed) != 0 {
        counter.store(0, Ordering::Relaxed);
    }
}

fn failure(cluster: &Cluster, endpoint: &Endpoint, detection: &OutlierDetection, gateway: bool) {
    let state = &*endpoint.state;
    if gateway {
        count(
            cluster,
            endpoint,
            detection,
            &state.consecutive_gateway,
            detection.consecutive_gateway_failure,
            detection.enforcing_consecutive_gateway_failure,
        );
    } else {
        reset(&state.consecutive_gateway);
    }
    count(
        cluster,
        endpoint,
        detection,
        &state.consecutive_5xx,
        detection.consecutive_5xx,
        detection.enforcing_consecutive_5xx,
    );
}

fn count(
    cluster: &Cluster,
    endpoint: &Endpoint,
    detection: &OutlierDetection,
    counter: &AtomicU32,
    threshold: u32,
    enforcing: u32,
) {
    if threshold == 0 || counter.fetch_add(1, Ordering::Relaxed) + 1 < threshold {
        return;
    }
    counter.store(0, Ordering::Relaxed);
    if fastrand::u32(0..100) < enforcing {
        eject(cluster, endpoint, detection);
    }
}

fn eject(cluster: &Cluster, endpoint: &Endpoint, detection: &OutlierDetection) {
    let total: usize = cluster
        .endpoints
        .priorities
        .iter()
        .map(|priority| priority.endpoints.len())
        .sum();
    let ejected = cluster.shared.ejected.load(Ordering::Relaxed);
    // The first ejection always passes unless the percentage is 0.
    if u64::from(ejected) * 100 >= u64::from(detection.max_ejection_percent) * total.max(1) as u64 {
        return;
    }
    let state = &*endpoint.state;
    if state.ejected_until.load(Ordering::Relaxed) != 0 {
        return;
    }
    let now = now_ms();
    let times = forgiven(state, detection.interval, now) + 1;
    let longest = detection
        .max_ejection_time
        .max(detection.base_ejection_time);
    let duration = detection
        .base_ejection_time
        .saturating_mul(times)
        .min(longest);
    let until = now + (duration.as_millis() as u64).max(1);
    if state
        .ejected_until
        .compare_exchange(0, until, Ordering::AcqRel, Ordering::Relaxed)
        .is_ok()
    {
        state.times_ejected.store(times, Ordering::Relaxed);
        cluster.shared.ejected.fetch_add(1, Ordering::Relaxed);
        let name = cluster.config.stat_name();
        Counter::scoped(
            "cluster",
            name,
            "outlier_detection.ejections_enforced_total",
        )
        .inc();
        cluster.shared.health_epoch.fetch_add(1, Ordering::Release);
        tracing::info!(cluster = %cluster.config.name, endpoint = ?endpoint.address,
            seconds = duration.as_secs_f64(), "endpoint ejected");
    }
}

/// Number of ejections that still count against the endpoint.
fn forgiven(state: &EndpointState, interval: Duration, now: u64) -> u32 {
    let times = state.times_ejected.load(Ordering::Relaxed);
    let since = now.saturating_sub(state.released_at.load(Ordering::Relaxed));
    let intervals = since / (interval.as_millis() as u64).max(1);
    times.saturating_sub(u32::try_from(intervals).unwrap_or(u32::MAX))
}

/// Whether the endpoint is ejected now; takes it back when its time is over.
pub(super) fn is_ejected(shared: &ClusterShared, state: &EndpointState, now: u64) -> bool {
    let until = state.ejected_until.load(Ordering::Acquire);
    if until == 0 {
        return false;
    }
    if until > now {
        return true;
    }
    if state
        .ejected_until
        .compare_exchange(until, 0, Ordering::AcqRel, Ordering::Relaxed)
        .is_ok()
    {
        state.released_at.store(until, Ordering::Relaxed);
        shared.ejected.fetch_sub(1, Ordering::Relaxed);
        shared.health_epoch.fetch_add(1, Ordering::Release);
    }
    false
}
