//! A limit on new connections (`envoy.filters.network.local_ratelimit`).

use super::{Admitted, Closed, Filter};
use crate::compile::any::Typed;
use crate::compile::basic::runtime_flag;
use crate::compile::pb::filters::network::local_ratelimit::v3::LocalRateLimit as Proto;
use crate::compile::{At, Cx, Error, Result as Compiled, token_bucket};
use crate::telemetry::ConnectionInfo;
use crate::telemetry::stats::Counter;
use crate::token_bucket::TokenBucket;
use std::sync::Arc;
use std::time::Duration;

pub struct LocalRateLimit {
    bucket: Arc<TokenBucket>,
    enabled: bool,
    rate_limited: Counter,
}

impl Filter for LocalRateLimit {
    const CONFIG: &'static str =
        "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit";

    fn compile(typed: Typed, cx: &mut Cx<'_>) -> Compiled<Self> {
        let Proto {
            stat_prefix,
            token_bucket,
            runtime_enabled,
            share_key,
        } = typed.decode()?;
        if stat_prefix.is_empty() {
            return Err(Error::missing("stat_prefix"));
        }
        let rate = token_bucket
            .ok_or_else(|| Error::new("is required"))
            .and_then(token_bucket::rate)
            .at("token_bucket")?;
        let bucket = match share_key.is_empty() {
            true => Arc::new(TokenBucket::new(rate)),
            false => cx.names.token_bucket(&share_key, rate),
        };
        Ok(Self {
            bucket,
            enabled: runtime_flag(runtime_enabled),
            rate_limited: Counter::scoped("local_rate_limit", &stat_prefix, "rate_limited"),
        })
    }

    fn admit(&self, _connection: &ConnectionInfo) -> Result<Admitted, Closed> {
        if !self.enabled || self.bucket.take() {
            return Ok(None);
        }
        self.rate_limited.inc();
        Err(Closed {
            details: "".into(),
            delay: Duration::ZERO,
            counted: None,
        })
    }
}
