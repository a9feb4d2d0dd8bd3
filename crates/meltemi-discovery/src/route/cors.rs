//! Cross-origin requests.

use envoy_types::pb::envoy::extensions::filters::http::cors::v3 as cors;
use meltemi_api::networking::{CorsPolicy, UnmatchedPreflights};

use super::matching;
use crate::pb::{self, core, etype};

/// The CORS filter's configuration for a route.
pub fn translate(policy: &CorsPolicy) -> cors::CorsPolicy {
    let origins = policy
        .allow_origins
        .iter()
        .filter_map(matching::pattern)
        .map(pb::string_matcher);
    // The older list of exact origins, where `*` is any.
    let exact = policy.allow_origin.iter().map(|origin| {
        if origin == "*" {
            pb::string_matcher(pb::matcher::string_matcher::MatchPattern::SafeRegex(
                pb::regex(".*"),
            ))
        } else {
            pb::exact(origin)
        }
    });
    cors::CorsPolicy {
        allow_origin_string_match: origins.chain(exact).collect(),
        allow_methods: policy.allow_methods.join(","),
        allow_headers: policy.allow_headers.join(","),
        expose_headers: policy.expose_headers.join(","),
        max_age: policy
            .max_age
            .map(|age| age.get().as_secs().to_string())
            .unwrap_or_default(),
        allow_credentials: policy.allow_credentials.and_then(pb::boolv),
        filter_enabled: Some(core::RuntimeFractionalPercent {
            default_value: Some(etype::FractionalPercent {
                numerator: 100,
                ..Default::default()
            }),
            ..Default::default()
        }),
        forward_not_matching_preflights: pb::boolv(
            policy.unmatched_preflights != UnmatchedPreflights::Ignore,
        ),
        ..Default::default()
    }
}
