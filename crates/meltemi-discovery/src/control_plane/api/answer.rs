//! What a request is answered with.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Response, StatusCode, header};
use meltemi_config::ConfigError;
use serde::Serialize;
use serde_json::{Value, json};

pub(super) enum Answer {
    Json(Value),
    Text(String),
}

impl Answer {
    pub fn json(value: &impl Serialize) -> Self {
        // Our own types have string keys and no failing serialisers.
        Self::Json(serde_json::to_value(value).unwrap_or(Value::Null))
    }

    pub fn into_response(self) -> Response<Full<Bytes>> {
        match self {
            Self::Json(value) => respond(StatusCode::OK, "application/json", value.to_string()),
            Self::Text(text) => respond(StatusCode::OK, "text/plain; charset=utf-8", text),
        }
    }
}

/// A request that is not granted: what is wrong, and what to do.
pub(super) struct Refusal {
    status: StatusCode,
    error: String,
    remedy: Option<String>,
    /// Of configuration: one entry a finding.
    findings: Vec<ConfigError>,
}

impl Refusal {
    pub fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self {
            status,
            error: error.into(),
            remedy: None,
            findings: Vec::new(),
        }
    }

    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Configuration that was refused as a whole.
    pub fn configuration(findings: Vec<ConfigError>) -> Self {
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        Self {
            findings,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, lines.join("\n"))
        }
    }

    pub fn into_response(self) -> Response<Full<Bytes>> {
        let body = json!({"error": self.error, "remedy": self.remedy, "findings": self.findings});
        respond(self.status, "application/json", body.to_string())
    }
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
