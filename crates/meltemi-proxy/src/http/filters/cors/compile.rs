//! A route's CORS policy.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::CorsPolicy;
use crate::compile::basic::{bool_or, runtime_fraction};
use crate::compile::pb::filters::http::cors::v3::CorsPolicy as Proto;
use crate::compile::{At, Result, matching, refuse};

pub fn policy(value: Proto) -> Result<CorsPolicy> {
    let Proto {
        allow_origin_string_match,
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
        allow_credentials,
        filter_enabled,
        shadow_enabled,
        allow_private_network_access,
        forward_not_matching_preflights,
    } = value;
    refuse!(shadow_enabled, allow_private_network_access);
    let text = |value: String| (!value.is_empty()).then(|| value.into());
    Ok(CorsPolicy {
        allow_origins: allow_origin_string_match
            .into_iter()
            .enumerate()
            .map(|(index, value)| matching::string(value).nth("allow_origin_string_match", index))
            .collect::<Result<_>>()?,
        allow_methods: text(allow_methods),
        allow_headers: text(allow_headers),
        expose_headers: text(expose_headers),
        max_age: text(max_age),
        allow_credentials: bool_or(allow_credentials, false),
        forward_not_matching_preflights: bool_or(forward_not_matching_preflights, true),
        enabled: filter_enabled
            .map(runtime_fraction)
            .transpose()
            .at("filter_enabled")?
            .unwrap_or((100, 100)),
    })
}
