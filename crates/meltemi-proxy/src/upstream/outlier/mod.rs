//! Outlier detection: endpoints whose requests fail are left out for a while.
//!
//! What fails in a row is seen by the worker that reports it, which ejects at once. Rates are
//! compared once an interval by one worker ([`OutlierWatch`]). The end of an ejection is
//! noticed by whichever worker looks next: no timer runs for it. An ejection lasts
//! `base * number of ejections`; the number shrinks by one for every interval that the
//! endpoint then behaved, as in Envoy.

mod ejection;
mod rates;
mod watch;

pub(super) use ejection::{is_ejected, release};
pub use watch::OutlierWatch;

use crate::model::{Cluster, Consecutive, Endpoint, OutlierDetection};
use ejection::{Kind, detected};
use std::sync::atomic::{AtomicU32, Ordering};

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
    let report = Report {
        cluster,
        endpoint,
        detection,
    };
    match (outcome, detection.split_local_origin) {
        (Outcome::Status(status), split) => {
            if split {
                report.local(true);
            }
            report.status(status);
        }
        (Outcome::LocalSuccess, true) => report.local(true),
        (Outcome::LocalFailure, true) => report.local(false),
        (Outcome::LocalSuccess, false) => report.status(200),
        (Outcome::LocalFailure, false) => report.status(503),
    }
}

struct Report<'a> {
    cluster: &'a Cluster,
    endpoint: &'a Endpoint,
    detection: &'a OutlierDetection,
}

impl Report<'_> {
    fn status(&self, status: u16) {
        let state = &*self.endpoint.state;
        state.external.count(status < 500);
        if status < 500 {
            reset(&state.consecutive_5xx);
            reset(&state.consecutive_gateway);
            return;
        }
        if (502..=504).contains(&status) {
            self.failure(
                Kind::ConsecutiveGatewayFailure,
                &state.consecutive_gateway,
                self.detection.consecutive_gateway_failure,
            );
        } else {
            reset(&state.consecutive_gateway);
        }
        self.failure(
            Kind::Consecutive5xx,
            &state.consecutive_5xx,
            self.detection.consecutive_5xx,
        );
    }

    fn local(&self, success: bool) {
        let state = &*self.endpoint.state;
        state.local.count(success);
        if success {
            return reset(&state.consecutive_local);
        }
        self.failure(
            Kind::ConsecutiveLocalOriginFailure,
            &state.consecutive_local,
            self.detection.consecutive_local_origin_failure,
        );
    }

    fn failure(&self, kind: Kind, counter: &AtomicU32, limit: Consecutive) {
        let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
        let ejected = self.endpoint.state.ejected_until.load(Ordering::Relaxed) != 0;
        if count == limit.threshold && !ejected {
            counter.store(0, Ordering::Relaxed);
            detected(self.cluster, self.endpoint, self.detection, kind);
        }
    }
}

fn reset(counter: &AtomicU32) {
    // Read first: the common case writes nothing, so the line stays shared by the cores.
    if counter.load(Ordering::Relaxed) != 0 {
        counter.store(0, Ordering::Relaxed);
    }
}
