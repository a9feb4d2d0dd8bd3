//! Readiness.

use super::Admin;
use super::reply::Reply;
use super::server::Incoming;
use http::{Method, StatusCode};

/// 15021: `/healthz/ready` as Istio's agent answers it, with an empty body when ready.
pub(super) fn health(admin: &Admin, request: &Incoming) -> Reply {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Reply::method_not_allowed(request.method(), "GET");
    }
    match request.uri().path() {
        "/healthz/ready" => ready(admin),
        _ => Reply::text(StatusCode::NOT_FOUND, "the path here is /healthz/ready\n"),
    }
}

pub(super) fn ready(admin: &Admin) -> Reply {
    match admin.not_ready() {
        None => Reply::ok(""),
        Some(why) => Reply::text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {why}\n"),
        ),
    }
}
