//! Retry policies.

use super::super::report::Report;
use crate::FieldPath;
use crate::networking::HttpRetry;

/// Conditions of Envoy's router, HTTP and gRPC.
const CONDITIONS: [&str; 18] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
    "not-found",
    "aborted",
];

pub(crate) fn retries(retries: &HttpRetry, at: &FieldPath, report: &mut Report) {
    report.not_negative(&at.field("attempts"), retries.attempts);
    let other_settings = HttpRetry {
        attempts: 0,
        ..retries.clone()
    } != HttpRetry::default();
    if retries.attempts == 0 && other_settings {
        report.error(
            at,
            "a retry policy is set, but attempts is 0, which disables retries",
            "set attempts, or remove the other fields",
        );
    }
    report.duration(&at.field("perTryTimeout"), retries.per_try_timeout);
    report.duration(&at.field("backoff"), retries.backoff);
    let conditions = retries.retry_on.split(',').map(str::trim);
    for condition in conditions.filter(|c| !c.is_empty()) {
        let status = condition
            .parse::<u16>()
            .is_ok_and(|code| (100..=599).contains(&code));
        if !status && !CONDITIONS.contains(&condition) {
            report.error(
                &at.field("retryOn"),
                format!("{condition:?} is not a retry condition"),
                crate::did_you_mean(condition, CONDITIONS),
            );
        }
    }
}
