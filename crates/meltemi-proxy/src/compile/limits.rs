//! Circuit breakers and outlier detection.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::basic::{bool_or, duration_or, u32_or};
use super::context::Cx;
use super::presence::{harmless, left_out, refuse};
use super::{At, Error, Result, pb};
use crate::model::{CircuitBreakers, OutlierDetection};
use pb::cluster as proto;
use proto::circuit_breakers::{Thresholds, thresholds::RetryBudget};
use std::time::Duration;

/// Envoy's limits where none is configured.
const DEFAULT: CircuitBreakers = CircuitBreakers {
    max_connections: 1024,
    max_pending_requests: 1024,
    max_requests: 1024,
    max_retries: 3,
    retry_budget: None,
};

/// Limits of the default and of the high priority.
pub fn circuit_breakers(
    value: proto::CircuitBreakers,
    cx: &mut Cx<'_>,
) -> Result<[CircuitBreakers; 2]> {
    let proto::CircuitBreakers {
        thresholds,
        per_host_thresholds,
    } = value;
    refuse!(per_host_thresholds);
    let mut limits = [DEFAULT, DEFAULT];
    let mut seen = [false, false];
    for (index, threshold) in thresholds.into_iter().enumerate() {
        let slot = match threshold.priority() {
            pb::core::RoutingPriority::Default => 0,
            pb::core::RoutingPriority::High => 1,
        };
        // Of several entries for one priority Envoy takes the first.
        if !std::mem::replace(&mut seen[slot], true) {
            limits[slot] = limit(threshold, cx).nth("thresholds", index)?;
        }
    }
    Ok(limits)
}

fn limit(value: Thresholds, cx: &mut Cx<'_>) -> Result<CircuitBreakers> {
    let Thresholds {
        priority: _,
        max_connections,
        max_pending_requests,
        max_requests,
        max_retries,
        retry_budget,
        track_remaining,
        max_connection_pools,
    } = value;
    // A statistic; the number of Envoy's own pools.
    harmless!(track_remaining);
    left_out!(
        cx,
        "CircuitBreakers.Thresholds",
        "pools have no limit of their own, connections have",
        max_connection_pools
    );
    let budget = retry_budget.map(|value| {
        let RetryBudget {
            budget_percent,
            budget_interval,
            min_retry_concurrency,
        } = value;
        harmless!(budget_interval);
        (
            budget_percent.map_or(20.0, |percent| percent.value.clamp(0.0, 100.0)),
            u32_or(min_retry_concurrency, 3),
        )
    });
    Ok(CircuitBreakers {
        max_connections: u32_or(max_connections, DEFAULT.max_connections),
        max_pending_requests: u32_or(max_pending_requests, DEFAULT.max_pending_requests),
        max_requests: u32_or(max_requests, DEFAULT.max_requests),
        max_retries: u32_or(max_retries, DEFAULT.max_retries),
        retry_budget: budget,
    })
}

pub fn outlier(value: proto::OutlierDetection, cx: &mut Cx<'_>) -> Result<OutlierDetection> {
    let proto::OutlierDetection {
        consecutive_5xx,
        interval,
        base_ejection_time,
        max_ejection_percent,
        enforcing_consecutive_5xx,
        enforcing_success_rate,
        success_rate_minimum_hosts,
        success_rate_request_volume,
        success_rate_stdev_factor,
        consecutive_gateway_failure,
        enforcing_consecutive_gateway_failure,
        split_external_local_origin_errors,
        consecutive_local_origin_failure,
        enforcing_consecutive_local_origin_failure,
        enforcing_local_origin_success_rate,
        failure_percentage_threshold,
        enforcing_failure_percentage,
        enforcing_failure_percentage_local_origin,
        failure_percentage_minimum_hosts,
        failure_percentage_request_volume,
        max_ejection_time,
        max_ejection_time_jitter,
        successful_active_health_check_uneject_host,
        monitors,
        always_eject_one_host,
        detect_degraded_hosts,
    } = value;
    refuse!(monitors);
    if bool_or(detect_degraded_hosts, false) {
        return Err(Error::unsupported("detect_degraded_hosts"));
    }
    if u32_or(enforcing_success_rate, 100) > 0 {
        cx.notice(
            "OutlierDetection.enforcing_success_rate",
            "endpoints are ejected by consecutive failures only",
        );
    }
    if u32_or(enforcing_failure_percentage, 0) > 0
        || u32_or(enforcing_failure_percentage_local_origin, 0) > 0
    {
        return Err(Error::unsupported("enforcing_failure_percentage"));
    }
    // Parameters of the two methods above, and of health checks.
    harmless!(
        success_rate_minimum_hosts,
        success_rate_request_volume,
        success_rate_stdev_factor,
        enforcing_local_origin_success_rate,
        failure_percentage_threshold,
        failure_percentage_minimum_hosts,
        failure_percentage_request_volume,
        successful_active_health_check_uneject_host,
    );
    left_out!(
        cx,
        "OutlierDetection",
        "ejections end without jitter, and never leave a cluster without an endpoint because \
         of one",
        max_ejection_time_jitter,
        always_eject_one_host
    );
    let base = duration_or(base_ejection_time, Duration::from_secs(30)).at("base_ejection_time")?;
    Ok(OutlierDetection {
        consecutive_5xx: u32_or(consecutive_5xx, 5),
        enforcing_consecutive_5xx: u32_or(enforcing_consecutive_5xx, 100),
        consecutive_gateway_failure: u32_or(consecutive_gateway_failure, 5),
        enforcing_consecutive_gateway_failure: u32_or(enforcing_consecutive_gateway_failure, 0),
        consecutive_local_origin_failure: u32_or(consecutive_local_origin_failure, 5),
        enforcing_consecutive_local_origin_failure: u32_or(
            enforcing_consecutive_local_origin_failure,
            100,
        ),
        split_local_origin: split_external_local_origin_errors,
        interval: duration_or(interval, Duration::from_secs(10)).at("interval")?,
        base_ejection_time: base,
        max_ejection_time: duration_or(max_ejection_time, Duration::from_secs(300).max(base))
            .at("max_ejection_time")?,
        max_ejection_percent: u32_or(max_ejection_percent, 10).min(100),
    })
}
