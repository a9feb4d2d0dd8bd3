//! Responses and the few things every handler does with a request.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

pub(crate) type Reply = Response<Full<Bytes>>;

/// Longest request body a sample reads.
pub(crate) const MAX_BODY: usize = 1 << 20;

/// Lists the pods that took part in an answer, nearest first: `reviews-v2-0, ratings-v1-0`.
/// Bookinfo's JSON has no place for it.
pub(crate) const SERVED_BY: &str = "x-served-by";

pub(crate) fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

pub(crate) fn plain(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    text(status, "text/plain; charset=utf-8", body)
}

pub(crate) fn json(status: StatusCode, value: &Value) -> Reply {
    text(status, "application/json", value.to_string())
}

pub(crate) fn error(status: StatusCode, message: &str) -> Reply {
    json(status, &json!({ "error": message }))
}

pub(crate) fn not_found() -> Reply {
    plain(StatusCode::NOT_FOUND, "not found\n")
}

pub(crate) fn method_not_allowed() -> Reply {
    plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n")
}

/// HEAD is GET without a body; hyper leaves the body out.
pub(crate) fn is_get(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// Adds this pod in front of the ones that `upstream` named.
pub(crate) fn served_by(mut reply: Reply, pod: &str, upstream: Option<&str>) -> Reply {
    let list = match upstream {
        Some(upstream) => format!("{pod}, {upstream}"),
        None => pod.to_string(),
    };
    if let Ok(value) = HeaderValue::from_str(&list) {
        reply.headers_mut().insert(SERVED_BY, value);
    }
    reply
}

/// The request's whole body.
///
/// # Errors
/// A ready answer: 413 beyond [`MAX_BODY`], 400 for a body that broke off.
pub(crate) async fn read_body(request: Request<Incoming>) -> Result<Bytes, Reply> {
    match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(e) if e.is::<http_body_util::LengthLimitError>() => Err(error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is longer than 1 MiB",
        )),
        Err(_) => Err(error(StatusCode::BAD_REQUEST, "the body broke off")),
    }
}
