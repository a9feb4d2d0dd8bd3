//! Circuit breakers, and connections that are made ahead.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::basic::u32_or;
use super::context::Cx;
use super::presence::{harmless, left_out, refuse};
use super::{At, Error, Result, pb};
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

/// The ratio of a preconnect policy.
///
/// # Errors
/// It is not from 1 to 3.
pub fn preconnect(value: proto::cluster::PreconnectPolicy, cx: &mut Cx<'_>) -> Result<f32> {
    let proto::cluster::PreconnectPolicy {
        per_upstream_preconnect_ratio,
        predictive_preconnect_ratio,
        preconnect_enabled_metadata,
    } = value;
    let everywhere = preconnect_enabled_metadata.is_none();
    left_out!(
        cx,
        "PreconnectPolicy",
        "connections are made ahead to endpoints in use only",
        predictive_preconnect_ratio
    );
    left_out!(
        cx,
        "PreconnectPolicy",
        "with it no connections are made ahead",
        preconnect_enabled_metadata
    );
    match per_upstream_preconnect_ratio.map_or(1.0, |ratio| ratio.value) {
        ratio if !(1.0..=3.0).contains(&ratio) => Err(Error::new("must be from 1 to 3")),
        ratio if everywhere => Ok(ratio as f32),
        _ => Ok(1.0),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Names;

    #[test]
    fn ratios_are_from_1_to_3() {
        let mut names = Names::default();
        let mut cx = Cx::new(&mut names);
        let policy = |value| proto::cluster::PreconnectPolicy {
            per_upstream_preconnect_ratio: Some(pb::wkt::DoubleValue { value }),
            ..Default::default()
        };
        assert_eq!(preconnect(Default::default(), &mut cx).unwrap(), 1.0);
        assert_eq!(preconnect(policy(1.5), &mut cx).unwrap(), 1.5);
        for wrong in [0.9, 3.1, f64::NAN] {
            let error = preconnect(policy(wrong), &mut cx).unwrap_err();
            assert_eq!(error.reason(), "must be from 1 to 3");
        }
        let matched = proto::cluster::PreconnectPolicy {
            preconnect_enabled_metadata: Some(Default::default()),
            ..policy(2.0)
        };
        assert_eq!(preconnect(matched, &mut cx).unwrap(), 1.0);
        assert_eq!(cx.finish().1.len(), 1);
    }
}
