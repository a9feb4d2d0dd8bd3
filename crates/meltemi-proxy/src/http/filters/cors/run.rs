//! What a policy makes of requests and answers.

use super::CorsPolicy;
use crate::http::head::Head;
use crate::http::matching;
use crate::http::reply::Reply;
use crate::telemetry::Flags;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

/// `Ok` with the origin to mark the answer for, or the preflight's answer.
pub(crate) fn request(policy: &CorsPolicy, head: &Head) -> Result<Option<HeaderValue>, Reply> {
    let Some(origin) = head.headers.get(ORIGIN) else {
        return Ok(None);
    };
    if !matching::chance(policy.enabled) {
        return Ok(None);
    }
    let allowed = origin.to_str().is_ok_and(|text| {
        policy
            .allow_origins
            .iter()
            .any(|pattern| pattern.matches(text))
    });
    let preflight =
        head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !preflight {
        return Ok(allowed.then(|| origin.clone()));
    }
    if !allowed {
        if policy.forward_not_matching_preflights {
            return Ok(None);
        }
        return Err(Reply::new(
            StatusCode::OK,
            "",
            Flags::default(),
            "cors_response",
        ));
    }
    let mut reply = Reply::new(StatusCode::OK, "", Flags::default(), "cors_response")
        .with(&ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    let mut put = |name: &HeaderName, text: &Option<Box<str>>| {
        if let Some(value) = text.as_deref().and_then(|t| HeaderValue::from_str(t).ok()) {
            reply.headers.push((name.clone(), value));
        }
    };
    put(&ACCESS_CONTROL_ALLOW_METHODS, &policy.allow_methods);
    put(&ACCESS_CONTROL_ALLOW_HEADERS, &policy.allow_headers);
    put(&ACCESS_CONTROL_EXPOSE_HEADERS, &policy.expose_headers);
    put(&ACCESS_CONTROL_MAX_AGE, &policy.max_age);
    if policy.allow_credentials {
        let value = HeaderValue::from_static("true");
        reply
            .headers
            .push((ACCESS_CONTROL_ALLOW_CREDENTIALS, value));
    }
    Err(reply)
}

pub(crate) fn response(policy: &CorsPolicy, origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if policy.allow_credentials {
        headers.insert(
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
    }
    if let Some(value) = policy
        .expose_headers
        .as_deref()
        .and_then(|text| HeaderValue::from_str(text).ok())
    {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, value);
    }
}
