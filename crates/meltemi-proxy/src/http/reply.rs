//! Answers of our own. The one table from what went wrong to status, body, response flags
//! and details, in Envoy's words.

use super::names;
use crate::dns::CacheError;
use crate::telemetry::Flags;
use crate::upstream::{PickError, UpstreamError};
use http::{HeaderName, HeaderValue, StatusCode};
use std::borrow::Cow;

pub(crate) struct Reply {
    pub status: StatusCode,
    pub body: Cow<'static, str>,
    /// For direct responses, whose body may be anything.
    pub bytes: Option<bytes::Bytes>,
    pub flags: Flags,
    pub details: Cow<'static, str>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Where the HTTP status does not decide it.
    pub grpc_status: Option<u32>,
    /// The connection's framing is in doubt: close it.
    pub close: bool,
}

/// Why an upstream reset the stream, or never got it (Envoy's `StreamResetReason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reset {
    Remote,
    RefusedStream,
    ConnectionTermination,
    ConnectionFailure,
    ConnectionTimeout,
    Overflow,
    ProtocolError,
}

impl Reset {
    /// (reason in the body, details, flag).
    fn row(self) -> (&'static str, &'static str, Flags) {
        match self {
            Self::Remote => (
                "remote reset",
                "upstream_reset_before_response_started{remote_reset}",
                Flags::UPSTREAM_REMOTE_RESET,
            ),
            Self::RefusedStream => (
                "remote refused stream reset",
                "upstream_reset_before_response_started{remote_refused_stream_reset}",
                Flags::UPSTREAM_REMOTE_RESET,
            ),
            Self::ConnectionTermination => (
                "connection termination",
                "upstream_reset_before_response_started{connection_termination}",
                Flags::UPSTREAM_CONNECTION_TERMINATION,
            ),
            Self::ConnectionFailure => (
                "remote connection failure",
                "upstream_reset_before_response_started{remote_connection_failure}",
                Flags::UPSTREAM_CONNECTION_FAILURE,
            ),
            Self::ConnectionTimeout => (
                "connection timeout",
                "upstream_reset_before_response_started{connection_timeout}",
                Flags::UPSTREAM_CONNECTION_FAILURE,
            ),
            Self::Overflow => (
                "overflow",
                "upstream_reset_before_response_started{overflow}",
                Flags::UPSTREAM_OVERFLOW,
            ),
            Self::ProtocolError => (
                "protocol error",
                "upstream_reset_before_response_started{protocol_error}",
                Flags::UPSTREAM_PROTOCOL_ERROR,
            ),
        }
    }
}

impl Reply {
    pub fn new(
        status: StatusCode,
        body: impl Into<Cow<'static, str>>,
        flags: Flags,
        details: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            body: body.into(),
            bytes: None,
            flags,
            details: details.into(),
            headers: Vec::new(),
            grpc_status: None,
            close: false,
        }
    }

    pub fn with(mut self, name: &HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name.clone(), value));
        self
    }

    pub fn add_headers(&mut self, headers: http::HeaderMap) {
        let mut last = None;
        for (name, value) in headers {
            last = name.or(last);
            if let Some(name) = &last {
                self.headers.push((name.clone(), value));
            }
        }
    }

    /// A request that breaks the protocol; the connection ends with it.
    pub fn bad_request(details: &'static str) -> Self {
        let flags = Flags::DOWNSTREAM_PROTOCOL_ERROR;
        Self::new(StatusCode::BAD_REQUEST, "Bad Request", flags, details).closing()
    }

    /// A well-formed request that is refused for what it asks; the connection ends with it.
    pub fn rejected(details: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "", Flags::default(), details).closing()
    }

    pub fn upgrade_required() -> Self {
        let flags = Flags::DOWNSTREAM_PROTOCOL_ERROR;
        let status = StatusCode::UPGRADE_REQUIRED;
        Self::new(status, "Upgrade Required", flags, "low_version").closing()
    }

    /// The connection ends with this answer.
    fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    pub fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "",
            Flags::NO_ROUTE_FOUND,
            "route_not_found",
        )
    }

    /// The rest of such a body is not waited for.
    pub fn payload_too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Payload Too Large",
            Flags::default(),
            "request_payload_too_large",
        )
        .closing()
    }

    /// The target is no path, and routes match paths (`OPTIONS *`).
    pub fn no_path() -> Self {
        let (status, flags) = (StatusCode::NOT_FOUND, Flags::default());
        Self::new(status, "", flags, "absolute_path_rejected")
    }

    /// The overload manager says so; `says`: the client is told (`append_local_overload`).
    pub fn overloaded(says: bool) -> Self {
        let (status, flags) = (StatusCode::SERVICE_UNAVAILABLE, Flags::default());
        let reply = Self::new(status, "envoy overloaded", flags, "overload");
        match says {
            true => reply.with(
                &names::X_ENVOY_LOCAL_OVERLOADED,
                HeaderValue::from_static("true"),
            ),
            false => reply,
        }
    }

    pub fn no_cluster(status: StatusCode) -> Self {
        Self::new(status, "", Flags::NO_CLUSTER_FOUND, "cluster_not_found")
    }

    /// What the client sends behind such a request is no HTTP that it expects to be read.
    pub fn upgrade_refused() -> Self {
        let (status, flags) = (StatusCode::FORBIDDEN, Flags::default());
        Self::new(status, "", flags, "upgrade_failed").closing()
    }

    pub fn upstream(error: &UpstreamError, retried: bool) -> Self {
        match error {
            UpstreamError::Pick(PickError::Dropped) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "drop overload",
                Flags::UPSTREAM_OVERFLOW,
                "drop_overload",
            ),
            UpstreamError::Pick(error) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no healthy upstream",
                Flags::NO_HEALTHY_UPSTREAM,
                match error {
                    PickError::Unresolved(CacheError::Pending) => {
                        "dns_cache_pending_requests_overflow".into()
                    }
                    PickError::Unresolved(reason) => unresolved_details(reason),
                    PickError::NoHost => "empty_host_header".into(),
                    _ => "no_healthy_upstream".into(),
                },
            ),
            UpstreamError::Overflow(_) | UpstreamError::Shed => {
                Self::reset(Reset::Overflow, None, retried)
                    .with(&names::X_ENVOY_OVERLOADED, names::TRUE.clone())
            }
            UpstreamError::Connect { timeout: true, .. } => {
                Self::reset(Reset::ConnectionTimeout, None, retried)
            }
            UpstreamError::Connect { .. } | UpstreamError::Tls { .. } => {
                let reason = error.transport_failure();
                Self::reset(Reset::ConnectionFailure, reason.as_deref(), retried)
            }
        }
    }

    /// The reason of a transport failure is for the log, not for the client.
    pub fn reset(reset: Reset, transport_failure: Option<&str>, retried: bool) -> Self {
        let (reason, details, flags) = reset.row();
        let details = match (transport_failure, details.strip_suffix('}')) {
            // Details are one word.
            (Some(failure), Some(open)) => format!("{open}|{}}}", failure.replace(' ', "_")).into(),
            _ => Cow::Borrowed(details),
        };
        let mut body = String::with_capacity(128);
        body.push_str("upstream connect error or disconnect/reset before headers. ");
        if retried {
            body.push_str("retried and the latest ");
        }
        body.push_str("reset reason: ");
        body.push_str(reason);
        let status = match reset {
            Reset::ProtocolError => StatusCode::BAD_GATEWAY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, body, flags, details)
    }

    /// A dynamic forward proxy has no address for the request's host. Why is for the log.
    pub fn unresolved(error: &CacheError) -> Self {
        let (body, flags) = match error {
            CacheError::Failed(_) => ("DNS resolution failure", Flags::DNS_RESOLUTION_FAILED),
            CacheError::Full => ("DNS cache overflow", Flags::default()),
            CacheError::Pending => (
                "Dynamic forward proxy pending request overflow",
                Flags::default(),
            ),
        };
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, body, flags, unresolved_details(error))
    }

    pub fn no_host() -> Self {
        let (status, flags) = (StatusCode::BAD_REQUEST, Flags::default());
        Self::new(status, "Empty host header", flags, "empty_host_header").closing()
    }

    pub fn upstream_timeout(details: &'static str) -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream request timeout",
            Flags::UPSTREAM_REQUEST_TIMEOUT,
            details,
        )
    }

    /// 504 once the request is complete (the upstream is slow), else 408 (the client is, and
    /// its rest is not waited for).
    fn slow(complete: bool, body: &'static str, flags: Flags, details: &'static str) -> Self {
        if complete {
            Self::new(StatusCode::GATEWAY_TIMEOUT, body, flags, details)
        } else {
            Self::new(StatusCode::REQUEST_TIMEOUT, body, flags, details).closing()
        }
    }

    pub fn stream_idle(complete: bool) -> Self {
        let flags = Flags::STREAM_IDLE_TIMEOUT;
        Self::slow(complete, "stream timeout", flags, "stream_idle_timeout")
    }

    pub fn max_stream_duration(complete: bool) -> Self {
        let (body, flags) = ("downstream duration timeout", Flags::DURATION_TIMEOUT);
        Self::slow(complete, body, flags, "max_duration_timeout")
    }

    pub fn request_timeout() -> Self {
        let flags = Flags::default();
        Self::slow(false, "request timeout", flags, "request_overall_timeout")
    }

    /// The client broke its request body off: nobody will read this.
    pub fn malformed_body() -> Self {
        let mut reply = Self::bad_request("request_body_malformed");
        reply.body = "the request's body is not coded as it says".into();
        reply
    }

    pub fn client_gone() -> Self {
        let flags = Flags::DOWNSTREAM_CONNECTION_TERMINATION;
        let details = "downstream_remote_disconnect";
        Self::new(StatusCode::BAD_REQUEST, "", flags, details).closing()
    }

    pub fn fault_abort(status: StatusCode, grpc: Option<u32>) -> Self {
        let mut reply = Self::new(
            status,
            "fault filter abort",
            Flags::FAULT_INJECTED,
            "fault_filter_abort",
        );
        reply.grpc_status = grpc;
        reply
    }
}

fn unresolved_details(error: &CacheError) -> Cow<'static, str> {
    match error {
        CacheError::Failed(reason) => format!("dns_resolution_failure{{{reason}}}").into(),
        CacheError::Full => "dns_cache_overflow".into(),
        CacheError::Pending => "dynamic_forward_proxy_pending_request_overflow".into(),
    }
}
