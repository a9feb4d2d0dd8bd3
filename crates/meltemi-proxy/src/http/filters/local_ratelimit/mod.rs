//! Limits of this process (`envoy.filters.http.local_ratelimit`): token buckets that its workers
//! share, for all requests and for those that descriptors tell apart.

mod compile;
mod descriptors;
mod limiter;
#[cfg(test)]
mod tests;

use super::{Answer, Call, Filter};
use crate::compile::any::Typed;
use crate::compile::{Cx, Result as Compiled};
use crate::http::reply::Reply;
use crate::http::{header_ops, matching, names};
use crate::model::{HeaderOps, RateLimit};
use crate::telemetry::Flags;
use crate::telemetry::stats::Counter;
use crate::token_bucket::TokenBucket;
use descriptors::VirtualHostLimits;
use http::{HeaderMap, HeaderValue, StatusCode};
use limiter::Limiter;

/// `LocalRateLimit` of a chain, or of a route in its place.
pub struct Limits {
    stats: Stats,
    limiter: Limiter,
    /// Share of the requests that are looked at, and of those beyond a limit that are refused:
    /// (numerator, denominator).
    enabled: (u32, u32),
    enforced: (u32, u32),
    status: StatusCode,
    /// For requests beyond a limit that are not refused.
    request_headers: HeaderOps,
    /// For refusals.
    response_headers: HeaderOps,
    stage: u32,
    host_limits: VirtualHostLimits,
    /// Answers tell of the bucket: `x-ratelimit-limit`, `-remaining`, `-reset`.
    tells: bool,
    /// Refusals by 429 tell when to come again: `retry-after`.
    tells_when: bool,
    /// Refusals of gRPC calls are RESOURCE_EXHAUSTED, in place of UNAVAILABLE.
    resource_exhausted: bool,
    /// In place of those of routes and virtual hosts.
    rate_limits: Option<Box<[RateLimit]>>,
}

/// Envoy's counters, `PREFIX.http_local_rate_limit.*`.
struct Stats {
    enabled: Counter,
    ok: Counter,
    rate_limited: Counter,
    enforced: Counter,
}

impl Stats {
    fn new(prefix: &str) -> Self {
        let counter = |name: &str| Counter::new(&format!("{prefix}.http_local_rate_limit.{name}"));
        Self {
            enabled: counter("enabled"),
            ok: counter("ok"),
            rate_limited: counter("rate_limited"),
            enforced: counter("enforced"),
        }
    }
}

/// What an answer tells of a bucket.
pub(crate) struct Told {
    limit: u32,
    remaining: u32,
    /// Seconds until there is a token.
    reset: u64,
}

impl Told {
    fn of(bucket: &TokenBucket) -> Self {
        Self {
            limit: bucket.rate.max_tokens,
            remaining: bucket.remaining(),
            reset: bucket.next_token().as_secs_f64().ceil() as u64,
        }
    }

    fn put(&self, headers: &mut HeaderMap) {
        headers.append(&names::X_RATELIMIT_LIMIT, self.limit.into());
        headers.append(&names::X_RATELIMIT_REMAINING, self.remaining.into());
        headers.append(&names::X_RATELIMIT_RESET, self.reset.into());
    }
}

impl Limits {
    fn decide(&self, call: &Call<'_>) -> (bool, Option<Told>) {
        let descriptors = match &self.rate_limits {
            _ if !self.limiter.has_descriptors() => descriptors::Descriptors::new(),
            Some(own) => {
                let mut all = descriptors::Descriptors::new();
                descriptors::add(&mut all, own, 0, call);
                all
            }
            None => descriptors::of_route(call, self.stage, self.host_limits),
        };
        let decision = self.limiter.decide(&descriptors);
        let told = self.tells || self.tells_when && !decision.allowed;
        let told = decision.bucket.filter(|_| told).map(Told::of);
        (decision.allowed, told)
    }

    fn refusal(&self, call: &Call<'_>, told: Option<&Told>) -> Reply {
        let text = "local_rate_limited";
        let mut reply = Reply::new(self.status, text, Flags::RATE_LIMITED, text);
        reply.grpc_status = self.resource_exhausted.then_some(8);
        let mut headers = HeaderMap::new();
        let info = &call.exchange.record.info;
        if header_ops::has_formats(&self.response_headers) {
            call.exchange.note_head(call.head, true);
        }
        header_ops::response(&self.response_headers, &mut headers, info);
        if let Some(told) = told {
            if self.tells_when && self.status == StatusCode::TOO_MANY_REQUESTS {
                headers.append(http::header::RETRY_AFTER, HeaderValue::from(told.reset));
            }
            if self.tells {
                told.put(&mut headers);
            }
        }
        reply.add_headers(headers);
        reply
    }
}

impl Filter for Limits {
    const CONFIG: &'static str = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
    const ROUTE_CONFIG: &'static str = Self::CONFIG;
    const ANSWERS: bool = true;
    type Route = Self;
    type State = Option<Told>;

    fn compile(typed: Typed, _stat_prefix: &str, _cx: &mut Cx<'_>) -> Compiled<Self> {
        compile::limits(typed.decode()?, false)
    }

    fn compile_route(typed: Typed, _cx: &mut Cx<'_>) -> Compiled<Self> {
        compile::limits(typed.decode()?, true)
    }

    fn acts(&self) -> bool {
        self.enabled.0 > 0
    }

    async fn request(
        &self,
        route: Option<&Self>,
        call: &mut Call<'_>,
    ) -> Result<Option<Told>, Reply> {
        let limits = route.unwrap_or(self);
        if !matching::chance(limits.enabled) {
            return Ok(None);
        }
        limits.stats.enabled.inc();
        let (allowed, told) = limits.decide(call);
        if allowed {
            limits.stats.ok.inc();
            return Ok(told);
        }
        limits.stats.rate_limited.inc();
        if !matching::chance(limits.enforced) {
            let info = &call.exchange.record.info;
            header_ops::request(&limits.request_headers, call.head, info);
            return Ok(told.filter(|_| limits.tells));
        }
        limits.stats.enforced.inc();
        Err(limits.refusal(call, told.as_ref()))
    }

    fn response(
        &self,
        _route: Option<&Self>,
        state: Option<Option<Told>>,
        answer: &mut Answer<'_>,
    ) {
        if let Some(Some(told)) = state {
            told.put(answer.response.headers_mut());
        }
    }
}
