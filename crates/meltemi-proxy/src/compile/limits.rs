//! Circuit breakers.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::basic::u32_or;
use super::context::Cx;
use super::presence::{harmless, left_out, refuse};
use super::{At, Result, pb};
use crate::model::CircuitBreakers;
use pb::cluster as proto;
use proto::circuit_breakers::{Thresholds, thresholds::RetryBudget};

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
