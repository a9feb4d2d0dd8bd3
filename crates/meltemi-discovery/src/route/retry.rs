//! Retries.

use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use meltemi_api::networking::HttpRetry;

use crate::pb::{self, route};
use route::retry_policy::{
    RetryBackOff, RetryHostPredicate, RetryPriority, retry_host_predicate, retry_priority,
};

/// Istio's default: what certainly was not processed. Status codes stand here only for the
/// header by which an application may add them.
const DEFAULT_ON: &str =
    "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
const DEFAULT_ATTEMPTS: u32 = 2;
/// How often another host than the failed ones is looked for before any is taken.
const HOST_SELECTION_ATTEMPTS: i64 = 5;

/// The policy of a route; `None` where retries are switched off (`attempts: 0`).
pub fn translate(own: Option<&HttpRetry>, mesh: Option<&HttpRetry>) -> Option<route::RetryPolicy> {
    let mut policy = default_policy();
    let Some(given) = own.or(mesh) else {
        return Some(policy);
    };
    let attempts = u32::try_from(given.attempts).unwrap_or(0);
    if attempts == 0 {
        return None;
    }
    policy.num_retries = pb::u32v(attempts);
    if !given.retry_on.is_empty() {
        let (on, codes) = conditions(&given.retry_on);
        policy.retry_on = on;
        policy.retriable_status_codes = codes;
    }
    policy.per_try_timeout = given
        .per_try_timeout
        .map(|timeout| pb::duration(timeout.get()));
    if let Some(backoff) = given.backoff {
        policy.retry_back_off = Some(RetryBackOff {
            base_interval: Some(pb::duration(backoff.get())),
            ..Default::default()
        });
    }
    if given.retry_ignore_previous_hosts == Some(false) {
        policy.retry_host_predicate.clear();
        policy.host_selection_retry_max_attempts = 0;
    }
    if given.retry_remote_localities == Some(true) {
        policy.retry_priority = Some(RetryPriority {
            name: "envoy.retry_priorities.previous_priorities".to_owned(),
            config_type: Some(retry_priority::ConfigType::TypedConfig(pb::any(
                &PreviousPrioritiesConfig {
                    // Every second retry looks at the priorities again.
                    update_frequency: 2,
                },
            ))),
        });
    }
    Some(policy)
}

fn default_policy() -> route::RetryPolicy {
    route::RetryPolicy {
        retry_on: DEFAULT_ON.to_owned(),
        num_retries: pb::u32v(DEFAULT_ATTEMPTS),
        retry_host_predicate: vec![RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
            config_type: Some(retry_host_predicate::ConfigType::TypedConfig(pb::any(
                &PreviousHostsPredicate {},
            ))),
        }],
        host_selection_retry_max_attempts: HOST_SELECTION_ATTEMPTS,
        ..Default::default()
    }
}

/// Splits status codes from the named conditions, as Envoy wants them apart.
fn conditions(text: &str) -> (String, Vec<u32>) {
    let mut named: Vec<&str> = Vec::new();
    let mut codes = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        match part.parse::<u32>() {
            Ok(code) => codes.push(code),
            Err(_) => named.push(part),
        }
    }
    if !codes.is_empty() && !named.contains(&"retriable-status-codes") {
        named.push("retriable-status-codes");
    }
    (named.join(","), codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_are_told_apart_from_conditions() {
        let (on, codes) = conditions("5xx, reset,429");
        assert_eq!(on, "5xx,reset,retriable-status-codes");
        assert_eq!(codes, [429]);
    }

    #[test]
    fn zero_attempts_switch_retries_off() {
        let off = HttpRetry::default();
        assert!(translate(Some(&off), None).is_none());
        let default = translate(None, None).unwrap();
        assert_eq!(default.num_retries, pb::u32v(2));
    }
}
