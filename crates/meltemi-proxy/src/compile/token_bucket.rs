//! Token buckets of rate limits.

use super::basic::{duration, u32_or};
use super::pb::types;
use super::{At, Error, Result};
use crate::token_bucket::TokenRate;
use std::time::Duration;

/// Envoy's least interval of a rate limit.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

pub fn rate(value: types::TokenBucket) -> Result<TokenRate> {
    let types::TokenBucket {
        max_tokens,
        tokens_per_fill,
        fill_interval,
    } = value;
    let above_zero = |value: u32, field| match value {
        0 => Err(Error::new("must not be 0").at_field(field)),
        value => Ok(value),
    };
    let fill_interval = fill_interval
        .ok_or_else(|| Error::new("is required"))
        .and_then(duration)
        .at("fill_interval")?;
    if fill_interval < MIN_INTERVAL {
        return Err(Error::new("must be at least 50 ms").at_field("fill_interval"));
    }
    Ok(TokenRate {
        max_tokens: above_zero(max_tokens, "max_tokens")?,
        tokens_per_fill: above_zero(u32_or(tokens_per_fill, 1), "tokens_per_fill")?,
        fill_interval,
    })
}
