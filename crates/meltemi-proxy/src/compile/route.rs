//! One route: its match and its action.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::basic::{bool_or, inline_data, runtime_fraction};
use super::context::Cx;
use super::forward::Inherited;
use super::per_filter;
use super::presence::{harmless, refuse};
use super::{At, Error, Result};
use super::{forward, headers, matching, pb, tracing as traces};
use crate::model::{Action, DirectResponse, PathMatch, PathRewrite, Redirect, Route, RouteMatch};
use http::StatusCode;
use pb::core::Metadata;
use pb::route as proto;

pub fn route(value: proto::Route, above: &Inherited, cx: &mut Cx<'_>) -> Result<Route> {
    let proto::Route {
        name,
        r#match,
        metadata,
        decorator,
        typed_per_filter_config,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        tracing,
        per_request_buffer_limit_bytes,
        stat_prefix,
        request_body_buffer_limit,
        route_specifiers,
        action,
    } = value;
    refuse!(
        per_request_buffer_limit_bytes,
        request_body_buffer_limit,
        route_specifiers
    );
    // The prefix of extra statistics.
    harmless!(stat_prefix);
    let filters = per_filter::overrides(typed_per_filter_config, cx)?.over(&above.filters);
    let action = match action {
        None => return Err(Error::new("has no action")),
        Some(proto::route::Action::Route(action)) => Action::Forward(Box::new(
            forward::forward(action, &filters, above, cx).at("route")?,
        )),
        Some(proto::route::Action::Redirect(action)) => {
            Action::Redirect(Box::new(redirect(action).at("redirect")?))
        }
        Some(proto::route::Action::DirectResponse(action)) => {
            Action::Direct(direct(action, above.max_body).at("direct_response")?)
        }
        Some(proto::route::Action::FilterAction(_)) => {
            return Err(Error::unsupported("filter_action"));
        }
        Some(proto::route::Action::NonForwardingAction(_)) => Action::NonForwarding,
    };
    Ok(Route {
        name: name.into(),
        matches: r#match
            .ok_or_else(|| Error::missing("match"))
            .and_then(|value| route_match(value).at("match"))?,
        action,
        request_headers: headers::operations(
            request_headers_to_add,
            request_headers_to_remove,
            "request_headers",
        )?,
        response_headers: headers::operations(
            response_headers_to_add,
            response_headers_to_remove,
            "response_headers",
        )?,
        filters,
        decorator: decorator
            .map(|decorator| traces::decorator(decorator).map(Box::new))
            .transpose()
            .at("decorator")?,
        tracing: tracing
            .map(|tracing| traces::of_route(tracing, cx).map(Box::new))
            .transpose()
            .at("tracing")?,
        origin: metadata.and_then(origin),
    })
}

/// Istio's `metadata.filter_metadata.istio.config`.
fn origin(value: Metadata) -> Option<Box<str>> {
    use pb::wkt::value::Kind;
    let istio = value.filter_metadata.get("istio")?;
    match istio.fields.get("config")?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.as_str().into()),
        _ => None,
    }
}

fn route_match(value: proto::RouteMatch) -> Result<RouteMatch> {
    use proto::route_match::PathSpecifier;
    let proto::RouteMatch {
        case_sensitive,
        runtime_fraction: fraction,
        headers,
        query_parameters,
        cookies,
        grpc,
        tls_context,
        dynamic_metadata,
        filter_state,
        path_specifier,
    } = value;
    refuse!(cookies, dynamic_metadata, filter_state);
    let case_sensitive = bool_or(case_sensitive, true);
    let path = match path_specifier.ok_or_else(|| Error::new("has no path"))? {
        PathSpecifier::Prefix(text) => PathMatch::Prefix(text.into()),
        PathSpecifier::Path(text) => PathMatch::Exact(text.into()),
        PathSpecifier::PathSeparatedPrefix(text) => {
            PathMatch::SeparatedPrefix(text.trim_end_matches('/').into())
        }
        PathSpecifier::SafeRegex(regex) => {
            PathMatch::Regex(matching::full_regex(regex).at("safe_regex")?)
        }
        PathSpecifier::ConnectMatcher(proto::route_match::ConnectMatcher {}) => PathMatch::Connect,
        PathSpecifier::PathMatchPolicy(_) => {
            return Err(Error::unsupported("path_match_policy"));
        }
    };
    let (presented, validated) = tls_context.map_or((None, None), |value| {
        let proto::route_match::TlsContextMatchOptions {
            presented,
            validated,
        } = value;
        (presented.map(|v| v.value), validated.map(|v| v.value))
    });
    Ok(RouteMatch {
        path,
        case_sensitive,
        headers: matching::headers(headers, "headers")?,
        query: matching::queries(query_parameters)?,
        grpc_only: grpc.is_some(),
        fraction: fraction
            .map(runtime_fraction)
            .transpose()
            .at("runtime_fraction")?,
        client_cert_presented: presented,
        client_cert_validated: validated,
    })
}

fn redirect(value: proto::RedirectAction) -> Result<Redirect> {
    use proto::redirect_action::{
        PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
    };
    let status = match value.response_code() {
        RedirectResponseCode::MovedPermanently => StatusCode::MOVED_PERMANENTLY,
        RedirectResponseCode::Found => StatusCode::FOUND,
        RedirectResponseCode::SeeOther => StatusCode::SEE_OTHER,
        RedirectResponseCode::TemporaryRedirect => StatusCode::TEMPORARY_REDIRECT,
        RedirectResponseCode::PermanentRedirect => StatusCode::PERMANENT_REDIRECT,
    };
    let proto::RedirectAction {
        host_redirect,
        port_redirect,
        response_code: _,
        strip_query,
        scheme_rewrite_specifier,
        path_rewrite_specifier,
    } = value;
    let (https, scheme) = match scheme_rewrite_specifier {
        None => (false, None),
        Some(SchemeRewriteSpecifier::HttpsRedirect(https)) => (https, None),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => (false, Some(scheme.into())),
    };
    let (path, full_path) = match path_rewrite_specifier {
        None => (PathRewrite::None, None),
        Some(PathRewriteSpecifier::PathRedirect(path)) => (PathRewrite::None, Some(path.into())),
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => {
            (PathRewrite::Prefix(prefix.into()), None)
        }
        Some(PathRewriteSpecifier::RegexRewrite(value)) => {
            let (regex, text) = matching::substitution(value).at("regex_rewrite")?;
            (PathRewrite::Regex(regex, text), None)
        }
        Some(PathRewriteSpecifier::PathRewrite(_)) => {
            return Err(Error::unsupported("path_rewrite"));
        }
    };
    Ok(Redirect {
        status,
        https,
        scheme,
        host: (!host_redirect.is_empty()).then(|| host_redirect.into()),
        port: match port_redirect {
            0 => None,
            port => Some(
                u16::try_from(port)
                    .map_err(|_| Error::new("is above 65535"))
                    .at("port_redirect")?,
            ),
        },
        path,
        full_path,
        strip_query,
    })
}

fn direct(value: proto::DirectResponseAction, max_body: u32) -> Result<DirectResponse> {
    let proto::DirectResponseAction {
        status,
        body,
        body_format,
    } = value;
    refuse!(body_format);
    let status = u16::try_from(status)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or_else(|| Error::new(format!("{status} is not an HTTP status")))
        .at("status")?;
    let body = body.map(inline_data).transpose().at("body")?;
    let body = body.unwrap_or_default();
    if body.len() > max_body as usize {
        return Err(Error::new(format!(
            "has {} bytes, max_direct_response_body_size_bytes is {max_body}",
            body.len()
        )))
        .at("body");
    }
    Ok(DirectResponse {
        status,
        body: body.into(),
    })
}
