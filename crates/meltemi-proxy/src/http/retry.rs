//! Whether and when an attempt is repeated: Envoy's retry conditions and backoff.

use super::head::Head;
use super::{grpc, matching, names};
use crate::model::{RetryOn, RetryPolicy};
use http::{HeaderMap, HeaderName, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// Attempts that `x-envoy-retry-on` alone asks for.
const DEFAULT_RETRIES: u32 = 1;
/// Envoy's back-off.
const BASE: Duration = Duration::from_millis(25);

/// How an attempt failed before an answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection; nothing was sent.
    Connect,
    /// The connection was there, nothing of the request was sent.
    Unsent,
    Reset,
    Refused,
    PerTryTimeout,
    /// Circuit breaker or no endpoint: another attempt would meet the same.
    Local,
}

impl Failure {
    /// As spans tell of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "remote connection failure",
            Self::Unsent | Self::Reset => "connection termination",
            Self::Refused => "remote refused stream reset",
            Self::PerTryTimeout => "upstream per try timeout",
            Self::Local => "local reset",
        }
    }
}

/// The retries of one exchange.
pub(crate) struct Retries {
    pub policy: Option<Arc<RetryPolicy>>,
    on: RetryOn,
    left: u32,
    made: u32,
    /// From `x-envoy-retriable-status-codes`.
    statuses: Vec<u16>,
    /// From `x-envoy-retriable-header-names`.
    headers: Vec<HeaderName>,
}

impl Retries {
    /// Headers count for internal requests only: they were removed from others.
    pub fn new(policy: Option<&Arc<RetryPolicy>>, head: &mut Head) -> Self {
        let mut retries = Self {
            policy: policy.cloned(),
            on: RetryOn::default(),
            left: 0,
            made: 0,
            statuses: Vec::new(),
            headers: Vec::new(),
        };
        if let Some(policy) = policy {
            let wanted = policy.retriable_request_headers.is_empty()
                || policy
                    .retriable_request_headers
                    .iter()
                    .any(|matcher| matching::header(matcher, head));
            if wanted {
                retries.on = policy.on;
                retries.left = policy.num_retries;
            }
        }
        let asks = ["x-envoy-retr", "x-envoy-max-retries"];
        if !asks
            .iter()
            .any(|prefix| names::any_with(&head.headers, prefix))
        {
            return retries;
        }
        if head.internal {
            retries.honour(head);
        }
        for name in [
            &names::X_ENVOY_RETRY_ON,
            &names::X_ENVOY_RETRY_GRPC_ON,
            &names::X_ENVOY_MAX_RETRIES,
            &names::X_ENVOY_RETRIABLE_CODES,
            &names::X_ENVOY_RETRIABLE_HEADERS,
        ] {
            head.headers.remove(name);
        }
        retries
    }

    fn honour(&mut self, head: &Head) {
        let text = |name: &HeaderName| head.headers.get(name).and_then(|v| v.to_str().ok());
        for name in [&names::X_ENVOY_RETRY_ON, &names::X_ENVOY_RETRY_GRPC_ON] {
            for condition in text(name).unwrap_or("").split(',') {
                if let Some(condition) = RetryOn::parse(condition.trim()) {
                    self.on = self.on.union(condition);
                    self.left = self.left.max(DEFAULT_RETRIES);
                }
            }
        }
        if self.on != RetryOn::default()
            && let Some(limit) = text(&names::X_ENVOY_MAX_RETRIES).and_then(|t| t.parse().ok())
        {
            self.left = limit;
        }
        for code in text(&names::X_ENVOY_RETRIABLE_CODES)
            .unwrap_or("")
            .split(',')
        {
            self.statuses.extend(code.trim().parse::<u16>());
        }
        for name in text(&names::X_ENVOY_RETRIABLE_HEADERS)
            .unwrap_or("")
            .split(',')
        {
            self.headers.extend(HeaderName::try_from(name.trim()));
        }
    }

    /// Whether the body must be kept for another attempt.
    pub fn possible(&self) -> bool {
        self.left > 0
    }

    pub fn wants_after_failure(&self, failure: Failure) -> bool {
        let any = |conditions: &[RetryOn]| conditions.iter().any(|c| self.on.intersects(*c));
        match failure {
            Failure::Local => false,
            Failure::Connect => any(&[
                RetryOn::CONNECT_FAILURE,
                RetryOn::FIVE_XX,
                RetryOn::GATEWAY_ERROR,
                RetryOn::RESET,
                RetryOn::RESET_BEFORE_REQUEST,
            ]),
            Failure::Unsent => any(&[
                RetryOn::RESET_BEFORE_REQUEST,
                RetryOn::RESET,
                RetryOn::FIVE_XX,
                RetryOn::GATEWAY_ERROR,
                RetryOn::CONNECT_FAILURE,
            ]),
            Failure::Refused => any(&[
                RetryOn::REFUSED_STREAM,
                RetryOn::RESET,
                RetryOn::FIVE_XX,
                RetryOn::GATEWAY_ERROR,
            ]),
            Failure::Reset => any(&[RetryOn::RESET, RetryOn::FIVE_XX, RetryOn::GATEWAY_ERROR]),
            Failure::PerTryTimeout => {
                any(&[RetryOn::FIVE_XX, RetryOn::GATEWAY_ERROR, RetryOn::RESET])
            }
        }
    }

    pub fn wants_after_answer(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let code = status.as_u16();
        let on = |condition| self.on.intersects(condition);
        // A rate limiter's refusal is retried only when asked for by name.
        if headers.contains_key(&names::X_ENVOY_RATELIMITED) {
            return on(RetryOn::ENVOY_RATE_LIMITED);
        }
        if (on(RetryOn::FIVE_XX) && code >= 500)
            || (on(RetryOn::GATEWAY_ERROR) && (502..=504).contains(&code))
            || (on(RetryOn::RETRIABLE_4XX) && code == 409)
        {
            return true;
        }
        if on(RetryOn::RETRIABLE_STATUS_CODES) {
            let configured = self.policy.as_ref().map_or(&[][..], |p| &p.statuses);
            if configured.contains(&code) || self.statuses.contains(&code) {
                return true;
            }
        }
        if on(RetryOn::RETRIABLE_HEADERS) {
            let configured = self.policy.as_ref().is_some_and(|policy| {
                policy
                    .retriable_headers
                    .iter()
                    .any(|matcher| matching::response_header(matcher, headers))
            });
            if configured || self.headers.iter().any(|name| headers.contains_key(name)) {
                return true;
            }
        }
        match grpc::status(headers) {
            Some(1) => on(RetryOn::GRPC_CANCELLED),
            Some(4) => on(RetryOn::GRPC_DEADLINE_EXCEEDED),
            Some(8) => on(RetryOn::GRPC_RESOURCE_EXHAUSTED),
            Some(13) => on(RetryOn::GRPC_INTERNAL),
            Some(14) => on(RetryOn::GRPC_UNAVAILABLE),
            _ => false,
        }
    }

    /// Uses one retry; the pause before it, fully jittered within base * 2^n.
    pub fn take(&mut self) -> Duration {
        self.left = self.left.saturating_sub(1);
        self.made += 1;
        let (base, max) = match &self.policy {
            Some(policy) => (policy.backoff_base, policy.backoff_max),
            None => (BASE, BASE * 10),
        };
        let ceiling = base
            .saturating_mul(1u32.checked_shl(self.made - 1).unwrap_or(u32::MAX))
            .min(max);
        let millis = ceiling.as_secs_f64() * 1000.0;
        Duration::from_secs_f64(fastrand::f64() * millis / 1000.0)
    }
}
