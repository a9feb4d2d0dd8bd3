//! Limits of a chain and of routes.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::descriptors::VirtualHostLimits;
use super::limiter::{Entries, Limited, Limiter};
use super::{Limits, Stats};
use crate::compile::basic::{bool_or, runtime_fraction};
use crate::compile::pb::filters::http::local_ratelimit::v3::LocalRateLimit as Proto;
use crate::compile::{At, Error, Result, harmless, headers, rate_limit, refuse, token_bucket};
use crate::token_bucket::TokenBucket;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3 as shared;
use http::StatusCode;

/// Envoy's `x-ratelimit-*` headers, as the draft's third version names them.
const DRAFT_VERSION_03: i32 = shared::XRateLimitHeadersRfcVersion::DraftVersion03 as i32;

pub fn limits(value: Proto, of_route: bool) -> Result<Limits> {
    let vh_rate_limits = value.vh_rate_limits();
    let Proto {
        stat_prefix,
        status,
        token_bucket,
        filter_enabled,
        filter_enforced,
        request_headers_to_add_when_not_enforced,
        response_headers_to_add,
        descriptors,
        stage,
        local_rate_limit_per_downstream_connection,
        local_cluster_rate_limit,
        enable_x_ratelimit_headers,
        vh_rate_limits: _,
        always_consume_default_token_bucket,
        rate_limited_as_resource_exhausted,
        rate_limits,
        max_dynamic_descriptors,
        enable_retry_after_header,
    } = value;
    refuse!(
        local_rate_limit_per_downstream_connection,
        local_cluster_rate_limit
    );
    // Bounds what descriptors without values make, and those are refused.
    harmless!(max_dynamic_descriptors);
    if stat_prefix.is_empty() {
        return Err(Error::missing("stat_prefix"));
    }
    if of_route && token_bucket.is_none() {
        return Err(Error::missing("token_bucket"));
    }
    let default = token_bucket.map(token_bucket::rate).transpose();
    let default = default.at("token_bucket")?.map(TokenBucket::new);
    let own_rate_limits = match rate_limits.is_empty() {
        true => None,
        false => Some(own(rate_limits)?),
    };
    Ok(Limits {
        stats: Stats::new(&stat_prefix),
        status: status.map_or(StatusCode::TOO_MANY_REQUESTS, |status| {
            let code = u16::try_from(status.code).unwrap_or_default();
            let error = StatusCode::from_u16(code).ok().filter(|_| code >= 400);
            error.unwrap_or(StatusCode::TOO_MANY_REQUESTS)
        }),
        limiter: Limiter::new(
            default,
            self::descriptors(descriptors)?,
            bool_or(always_consume_default_token_bucket, true),
        ),
        enabled: filter_enabled
            .map(runtime_fraction)
            .transpose()
            .at("filter_enabled")?
            .unwrap_or((0, 100)),
        enforced: filter_enforced
            .map(runtime_fraction)
            .transpose()
            .at("filter_enforced")?
            .unwrap_or((0, 100)),
        request_headers: headers::operations(
            request_headers_to_add_when_not_enforced,
            Vec::new(),
            "request_headers",
        )?,
        response_headers: headers::operations(
            response_headers_to_add,
            Vec::new(),
            "response_headers",
        )?,
        stage,
        host_limits: match vh_rate_limits {
            shared::VhRateLimitsOptions::Override => VirtualHostLimits::Override,
            shared::VhRateLimitsOptions::Include => VirtualHostLimits::Include,
            shared::VhRateLimitsOptions::Ignore => VirtualHostLimits::Ignore,
        },
        tells: enable_x_ratelimit_headers == DRAFT_VERSION_03,
        tells_when: enable_retry_after_header,
        resource_exhausted: rate_limited_as_resource_exhausted,
        rate_limits: own_rate_limits,
    })
}

/// Limits of the filter itself have neither stages nor runtime keys, as in Envoy.
fn own(
    values: Vec<crate::compile::pb::route::RateLimit>,
) -> Result<Box<[crate::model::RateLimit]>> {
    for (index, value) in values.iter().enumerate() {
        if value.stage.is_some() || !value.disable_key.is_empty() {
            let error = Error::new("takes neither stage nor disable_key here");
            return Err(error).nth("rate_limits", index);
        }
    }
    rate_limit::all(values)
}

fn descriptors(values: Vec<shared::LocalRateLimitDescriptor>) -> Result<Vec<Limited>> {
    let mut known: Vec<Entries> = Vec::new();
    let mut compiled = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let (entries, bucket) = descriptor(value).nth("descriptors", index)?;
        if known.contains(&entries) {
            return Err(Error::new("is there twice")).nth("descriptors", index);
        }
        known.push(entries.clone());
        compiled.push(Limited::new(entries, bucket));
    }
    Ok(compiled)
}

fn descriptor(value: shared::LocalRateLimitDescriptor) -> Result<(Entries, TokenBucket)> {
    let shared::LocalRateLimitDescriptor {
        entries,
        token_bucket,
        shadow_mode,
    } = value;
    refuse!(shadow_mode);
    let entry = |entry: shared::rate_limit_descriptor::Entry| {
        let shared::rate_limit_descriptor::Entry { key, value } = entry;
        match (&*key, &*value) {
            ("", _) => Err(Error::missing("key")),
            (_, "") => Err(
                Error::new("a limit for each value is not supported: name the value")
                    .at_field("value"),
            ),
            _ => Ok((key.into(), value.into())),
        }
    };
    let entries: Entries = entries
        .into_iter()
        .enumerate()
        .map(|(index, value)| entry(value).nth("entries", index))
        .collect::<Result<_>>()?;
    if entries.is_empty() {
        return Err(Error::missing("entries"));
    }
    let rate = token_bucket
        .ok_or_else(|| Error::new("is required"))
        .and_then(token_bucket::rate)
        .at("token_bucket")?;
    Ok((entries, TokenBucket::new(rate)))
}
