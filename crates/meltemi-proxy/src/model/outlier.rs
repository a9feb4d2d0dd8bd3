//! Outlier detection of a cluster, compiled.

use std::time::Duration;

/// When endpoints are left out by how their requests ended, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierDetection {
    pub consecutive_5xx: Consecutive,
    pub consecutive_gateway_failure: Consecutive,
    pub consecutive_local_origin_failure: Consecutive,
    /// Failures that the proxy saw itself (no connection, a reset) are counted apart from
    /// what endpoints answer; else they count as a 503.
    pub split_local_origin: bool,
    pub success_rate: SuccessRate,
    pub failure_percentage: FailurePercentage,
    /// Rates are looked at once an interval; one without an ejection forgives one.
    pub interval: Duration,
    /// Times the number of ejections that are not forgiven.
    pub base_ejection_time: Duration,
    pub max_ejection_time: Duration,
    /// At most this is added to each ejection.
    pub max_ejection_time_jitter: Duration,
    pub max_ejection_percent: u32,
    /// The first ejection passes whatever the percentage.
    pub always_eject_one_host: bool,
    /// A passed active health check ends an ejection.
    pub uneject_on_passed_check: bool,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consecutive {
    /// 0: never.
    pub threshold: u32,
    /// Percent of the detections that eject.
    pub enforcing: u32,
}

/// Endpoints whose success rate is below the cluster's mean by more than
/// `stdev_factor` standard deviations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SuccessRate {
    pub volume: Volume,
    pub stdev_factor: f64,
    pub enforcing: u32,
    pub enforcing_local_origin: u32,
}

/// Endpoints of whose requests this many percent or more failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailurePercentage {
    pub volume: Volume,
    pub threshold: u32,
    pub enforcing: u32,
    pub enforcing_local_origin: u32,
}

/// What a rate needs to mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Endpoints with enough requests.
    pub hosts: u32,
    /// Requests within an interval.
    pub requests: u32,
}
