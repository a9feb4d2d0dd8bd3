//! Redirects: of routes, and to TLS where a virtual host requires it.

use super::head::{Head, split_port};
use super::reply::Reply;
use super::rewrite;
use crate::model::{PathMatch, Redirect};
use crate::telemetry::Flags;
use http::{HeaderValue, StatusCode};

pub(crate) fn to_tls(head: &Head) -> Reply {
    let (host, _) = split_port(head.authority_str());
    answer(
        StatusCode::MOVED_PERMANENTLY,
        &format!("https://{host}{}", head.path),
    )
}

/// A rewritten path stays with the head, for the log.
pub(crate) fn of_route(redirect: &Redirect, matched: &PathMatch, head: &mut Head) -> Reply {
    if redirect.full_path.is_none() {
        rewrite::path(&redirect.path, matched, head);
    }
    let scheme = match (&redirect.scheme, redirect.https) {
        (Some(scheme), _) => scheme,
        (None, true) => "https",
        (None, false) => head.scheme,
    };
    let (own_host, own_port) = split_port(head.authority_str());
    let host = redirect.host.as_deref().unwrap_or(own_host);
    // The old scheme's default port means nothing in the new one.
    let stale = match (head.scheme, scheme) {
        (old, new) if old == new => None,
        ("http", _) => Some("80"),
        _ => Some("443"),
    };
    let port = match redirect.port {
        Some(port) => Some(port.to_string()),
        None if redirect.host.is_some() => None,
        None => own_port
            .filter(|port| Some(*port) != stale)
            .map(str::to_owned),
    };
    let path = match &redirect.full_path {
        Some(path) => match head.path.query() {
            Some(query) if !redirect.strip_query && !path.contains('?') => {
                format!("{path}?{query}")
            }
            _ => path.to_string(),
        },
        None => {
            if redirect.strip_query {
                head.path.path().to_owned()
            } else {
                head.path.as_str().to_owned()
            }
        }
    };
    let port = port.map_or(String::new(), |port| format!(":{port}"));
    answer(redirect.status, &format!("{scheme}://{host}{port}{path}"))
}

/// What is said to be created, or elsewhere, without a place is where it was asked for (Envoy).
pub(crate) fn with_own_location(reply: Reply, head: &Head) -> Reply {
    if reply.status != StatusCode::CREATED && !reply.status.is_redirection() {
        return reply;
    }
    let place = format!("{}://{}{}", head.scheme, head.authority_str(), head.path);
    match HeaderValue::from_str(&place) {
        Ok(place) => reply.with(&http::header::LOCATION, place),
        Err(_) => reply,
    }
}

fn answer(status: StatusCode, location: &str) -> Reply {
    let location =
        HeaderValue::from_str(location).unwrap_or_else(|_| HeaderValue::from_static("/"));
    Reply::new(status, "", Flags::default(), "direct_response")
        .with(&http::header::LOCATION, location)
}
