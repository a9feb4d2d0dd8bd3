//! Replies of the proxy's own servers.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// A whole answer. Bodies are made in memory: their size is that of the configuration or of
/// the statistics, which are bounded themselves.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    content_type: HeaderValue,
    allow: Option<HeaderValue>,
    body: Bytes,
}

impl Reply {
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: TEXT,
            allow: None,
            body: body.into(),
        }
    }

    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::text(StatusCode::OK, body)
    }

    pub fn json(value: &serde_json::Value) -> Self {
        // A `Value` always has a JSON form.
        let mut body = serde_json::to_vec_pretty(value).unwrap_or_default();
        body.push(b'\n');
        Self {
            content_type: JSON,
            ..Self::ok(body)
        }
    }

    pub fn prometheus(body: impl Into<Bytes>) -> Self {
        Self {
            content_type: PROMETHEUS,
            ..Self::ok(body)
        }
    }

    pub fn bad_request(why: impl Into<Bytes>) -> Self {
        Self::text(StatusCode::BAD_REQUEST, why)
    }

    /// Envoy's words for a GET of something that changes state.
    pub fn method_not_allowed(method: &Method, allowed: &'static str) -> Self {
        Self {
            allow: Some(HeaderValue::from_static(allowed)),
            ..Self::text(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("Method {method} not allowed, {allowed} required."),
            )
        }
    }

    /// Another server's answer, with its own content type.
    pub fn of(answer: Response<Bytes>) -> Self {
        let (head, body) = answer.into_parts();
        Self {
            status: head.status,
            content_type: head.headers.get(CONTENT_TYPE).cloned().unwrap_or(TEXT),
            allow: head.headers.get(ALLOW).cloned(),
            body,
        }
    }

    pub fn into_http(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type);
        headers.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("no-cache, max-age=0"),
        );
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of clusters and listeners are others' to choose, and paths anybody's.
    #[test]
    fn no_browser_takes_an_answer_for_a_page() {
        let hostile = "<script>alert(1)</script>";
        for reply in [
            Reply::ok(hostile),
            Reply::text(StatusCode::NOT_FOUND, hostile),
            Reply::bad_request(hostile),
            Reply::prometheus(hostile),
            Reply::json(&serde_json::json!({ "name": hostile })),
        ] {
            let response = reply.into_http();
            let headers = response.headers();
            let kind = headers[CONTENT_TYPE].to_str().unwrap();
            assert!(
                kind.starts_with("text/plain;") || kind == "application/json",
                "{kind}"
            );
            assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    }
}
