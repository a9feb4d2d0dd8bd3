//! `rate_limits` of routes, virtual hosts and local rate limit filters.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::basic::{bool_or, u32_or};
use super::matching;
use super::pb::route::rate_limit::{Action, action};
use super::pb::{route, wkt};
use super::presence::refuse;
use super::{At, Error, Result};
use crate::model::{RateLimit, RateLimitAction, RateLimitValue};

pub fn all(values: Vec<route::RateLimit>) -> Result<Box<[RateLimit]>> {
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| one(value).nth("rate_limits", index))
        .filter_map(Result::transpose)
        .collect()
}

/// `None`: it has a key by which a runtime might disable it; local rate limits pass it over, as
/// in Envoy.
fn one(value: route::RateLimit) -> Result<Option<RateLimit>> {
    let route::RateLimit {
        stage,
        disable_key,
        actions,
        limit,
        hits_addend,
        apply_on_stream_done,
        x_ratelimit_option,
    } = value;
    refuse!(limit, hits_addend, apply_on_stream_done, x_ratelimit_option);
    let actions: Box<[RateLimitAction]> = actions
        .into_iter()
        .enumerate()
        .map(|(index, value)| action(value).nth("actions", index))
        .collect::<Result<_>>()?;
    if actions.is_empty() {
        return Err(Error::missing("actions"));
    }
    Ok(disable_key.is_empty().then(|| RateLimit {
        stage: u32_or(stage, 0),
        actions,
    }))
}

fn action(value: Action) -> Result<RateLimitAction> {
    use action::ActionSpecifier as Specifier;
    let Action { action_specifier } = value;
    let named = |key: &str, value| RateLimitAction {
        key: key.into(),
        value,
    };
    Ok(match action_specifier {
        None => return Err(Error::new("is empty")),
        Some(Specifier::DestinationCluster(_)) => {
            named("destination_cluster", RateLimitValue::DestinationCluster)
        }
        Some(Specifier::RemoteAddress(_)) => named("remote_address", RateLimitValue::RemoteAddress),
        Some(Specifier::MaskedRemoteAddress(action::MaskedRemoteAddress {
            v4_prefix_mask_len,
            v6_prefix_mask_len,
        })) => {
            let v4 = length(v4_prefix_mask_len, 32).at("v4_prefix_mask_len")?;
            let v6 = length(v6_prefix_mask_len, 128).at("v6_prefix_mask_len")?;
            let value = RateLimitValue::MaskedRemoteAddress(v4, v6);
            named("masked_remote_address", value)
        }
        Some(Specifier::GenericKey(action::GenericKey {
            descriptor_value,
            descriptor_key,
            default_value,
        })) => {
            refuse!(default_value);
            let text = text(descriptor_value).at("generic_key.descriptor_value")?;
            let value = RateLimitValue::Text(text);
            named(or(&descriptor_key, "generic_key"), value)
        }
        Some(Specifier::RequestHeaders(action::RequestHeaders {
            header_name,
            descriptor_key,
            skip_if_absent,
        })) => {
            let name = matching::header_name(&header_name).at("request_headers.header_name")?;
            let value = RateLimitValue::Header {
                name,
                skip: skip_if_absent,
            };
            named(&descriptor_key, value)
        }
        Some(Specifier::QueryParameters(action::QueryParameters {
            query_parameter_name,
            descriptor_key,
            skip_if_absent,
        })) => {
            let value = RateLimitValue::QueryParameter {
                name: query_parameter_name.into(),
                skip: skip_if_absent,
            };
            named(&descriptor_key, value)
        }
        Some(Specifier::HeaderValueMatch(action::HeaderValueMatch {
            descriptor_value,
            descriptor_key,
            expect_match,
            headers,
            default_value,
        })) => {
            refuse!(default_value);
            let value = RateLimitValue::IfHeaders {
                text: text(descriptor_value).at("header_value_match.descriptor_value")?,
                headers: matching::headers(headers, "header_value_match.headers")?,
                matching: bool_or(expect_match, true),
            };
            named(or(&descriptor_key, "header_match"), value)
        }
        Some(Specifier::QueryParameterValueMatch(action::QueryParameterValueMatch {
            descriptor_value,
            descriptor_key,
            expect_match,
            query_parameters,
            default_value,
        })) => {
            refuse!(default_value);
            let value = RateLimitValue::IfQuery {
                text: text(descriptor_value).at("query_parameter_value_match.descriptor_value")?,
                query: matching::queries(query_parameters)?,
                matching: bool_or(expect_match, true),
            };
            named(or(&descriptor_key, "query_match"), value)
        }
        Some(_) => return Err(Error::new("this kind of action is not supported")),
    })
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

fn text(value: String) -> Result<Box<str>> {
    match &*value {
        "" => Err(Error::new("is required")),
        text if text.contains('%') => {
            Err(Error::new("may not have operators: they are not supported"))
        }
        _ => Ok(value.into()),
    }
}

fn length(value: Option<wkt::UInt32Value>, longest: u8) -> Result<u8> {
    let length = u32_or(value, longest.into());
    match u8::try_from(length) {
        Ok(length) if length <= longest => Ok(length),
        _ => Err(Error::new(format!("is above {longest}"))),
    }
}
