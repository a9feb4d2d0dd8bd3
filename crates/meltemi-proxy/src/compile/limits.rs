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
    max_connections_per_host: u32::MAX,
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
    let mut limits = [DEFAULT, DEFAULT];
    let mut seen = [false, false];
    for (index, threshold) in thresholds.into_iter().enumerate() {
        let slot = slot(&threshold);
        // Of several entries for one priority Envoy takes the first.
        if !std::mem::replace(&mut seen[slot], true) {
            limits[slot] = limit(threshold, cx).nth("thresholds", index)?;
        }
    }
    let mut seen = [false, false];
    for (index, threshold) in per_host_thresholds.into_iter().enumerate() {
        let slot = slot(&threshold);
        if !std::mem::replace(&mut seen[slot], true) {
            limits[slot].max_connections_per_host =
                per_host(threshold).nth("per_host_thresholds", index)?;
        }
    }
    Ok(limits)
}

/// Index of the priority's limits.
fn slot(value: &Thresholds) -> usize {
    match value.priority() {
        pb::core::RoutingPriority::Default => 0,
        pb::core::RoutingPriority::High => 1,
    }
}

/// As in Envoy, connections are what a single endpoint's limit is about.
fn per_host(value: Thresholds) -> Result<u32> {
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
    refuse!(
        max_pending_requests,
        max_requests,
        max_retries,
        retry_budget,
        max_connection_pools,
    );
    harmless!(track_remaining);
    Ok(u32_or(max_connections, u32::MAX))
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
        max_connections_per_host: DEFAULT.max_connections_per_host,
        retry_budget: budget,
    })
}
