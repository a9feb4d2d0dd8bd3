//! Retry policies.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::any;
use super::basic::{duration, timeout, u32_or};
use super::context::Cx;
use super::matching;
use super::presence::refuse;
use super::{At, Error, Result, pb};
use crate::model::{RetryOn, RetryPolicy};
use envoy_types::pb::envoy::extensions::retry as extensions;
use pb::route as proto;
use prost::Name;
use std::time::Duration;

/// Envoy's `base_interval`; `max_interval` is ten times the base.
const BASE_INTERVAL: Duration = Duration::from_millis(25);

pub fn policy(value: proto::RetryPolicy, cx: &mut Cx<'_>) -> Result<RetryPolicy> {
    let proto::RetryPolicy {
        retry_on,
        num_retries,
        per_try_timeout,
        per_try_idle_timeout,
        retry_priority,
        retry_host_predicate,
        retry_options_predicates,
        host_selection_retry_max_attempts,
        retriable_status_codes,
        retry_back_off,
        rate_limited_retry_back_off,
        retriable_headers,
        retriable_request_headers,
        refresh_cluster_on_retry,
    } = value;
    refuse!(
        retry_options_predicates,
        rate_limited_retry_back_off,
        refresh_cluster_on_retry
    );
    let (backoff_base, backoff_max) = backoff(retry_back_off).at("retry_back_off")?;
    Ok(RetryPolicy {
        on: conditions(&retry_on).at("retry_on")?,
        num_retries: u32_or(num_retries, 1),
        per_try_timeout: timeout(per_try_timeout, None).at("per_try_timeout")?,
        per_try_idle_timeout: timeout(per_try_idle_timeout, None).at("per_try_idle_timeout")?,
        statuses: retriable_status_codes
            .into_iter()
            .map(|status| {
                u16::try_from(status)
                    .map_err(|_| Error::new(format!("{status} is not an HTTP status")))
            })
            .collect::<Result<_>>()
            .at("retriable_status_codes")?,
        backoff_base,
        backoff_max,
        avoid_previous_hosts: host_predicates(retry_host_predicate, cx)?,
        host_selection_attempts: match host_selection_retry_max_attempts {
            0 => 1,
            attempts => u32::try_from(attempts)
                .map_err(|_| Error::new("is negative or too large"))
                .at("host_selection_retry_max_attempts")?,
        },
        retriable_headers: matching::headers(retriable_headers, "retriable_headers")?,
        retriable_request_headers: matching::headers(
            retriable_request_headers,
            "retriable_request_headers",
        )?,
        previous_priorities: retry_priority
            .map(priorities)
            .transpose()
            .at("retry_priority")?,
    })
}

fn conditions(text: &str) -> Result<RetryOn> {
    text.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .try_fold(RetryOn::default(), |on, name| {
            // Envoy reads a number as a status code only in Istio's own translation.
            let condition = RetryOn::parse(name)
                .ok_or_else(|| Error::new(format!("{name:?} is not a retry condition")))?;
            Ok(on.union(condition))
        })
}

fn backoff(value: Option<proto::retry_policy::RetryBackOff>) -> Result<(Duration, Duration)> {
    let Some(proto::retry_policy::RetryBackOff {
        base_interval,
        max_interval,
    }) = value
    else {
        return Ok((BASE_INTERVAL, BASE_INTERVAL * 10));
    };
    let base = base_interval
        .map(duration)
        .transpose()
        .at("base_interval")?
        .ok_or_else(|| Error::missing("base_interval"))?;
    let max = max_interval.map(duration).transpose().at("max_interval")?;
    let max = max.unwrap_or(base * 10);
    if max < base {
        return Err(Error::new("is shorter than base_interval")).at("max_interval");
    }
    Ok((base, max))
}

/// Whether hosts tried before are skipped.
fn host_predicates(
    values: Vec<proto::retry_policy::RetryHostPredicate>,
    cx: &mut Cx<'_>,
) -> Result<bool> {
    let mut avoid = false;
    for (index, value) in values.into_iter().enumerate() {
        let proto::retry_policy::RetryHostPredicate { name, config_type } = value;
        let kind = match config_type {
            // Without a typed configuration the well-known name decides.
            None => name,
            Some(proto::retry_policy::retry_host_predicate::ConfigType::TypedConfig(any)) => {
                any::open(Some(any))
                    .nth("retry_host_predicate", index)?
                    .type_name()
                    .to_owned()
            }
        };
        if kind == "envoy.retry_host_predicates.previous_hosts"
            || kind == extensions::host::previous_hosts::v3::PreviousHostsPredicate::full_name()
        {
            avoid = true;
        } else if kind == "envoy.retry_host_predicates.omit_canary_hosts"
            || kind
                == extensions::host::omit_canary_hosts::v3::OmitCanaryHostsPredicate::full_name()
        {
            cx.notice(
                "RetryPolicy.retry_host_predicate",
                "canary hosts are not told apart when a retry picks a host",
            );
        } else {
            return Err(Error::new(format!("{kind} is not supported")))
                .nth("retry_host_predicate", index);
        }
    }
    Ok(avoid)
}

fn priorities(value: proto::retry_policy::RetryPriority) -> Result<u32> {
    use extensions::priority::previous_priorities::v3::PreviousPrioritiesConfig;
    let proto::retry_policy::RetryPriority {
        name: _,
        config_type,
    } = value;
    let typed = any::open(config_type.map(|config| match config {
        proto::retry_policy::retry_priority::ConfigType::TypedConfig(any) => any,
    }))?;
    let PreviousPrioritiesConfig { update_frequency } = typed.decode()?;
    u32::try_from(update_frequency)
        .ok()
        .filter(|frequency| *frequency > 0)
        .ok_or_else(|| Error::new("must be above zero"))
        .at("update_frequency")
}
