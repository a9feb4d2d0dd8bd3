//! Answers of our own. The one table from what went wrong to status, body, response flags
//! and details, in Envoy's words.

use super::names;
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
    pub details: &'static str,
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
        details: &'static str,
    ) -> Self {
        Self {
            status,
            body: body.into(),
            bytes: None,
            flags,
            details,
            headers: Vec::new(),
            grpc_status: None,
            close: false,
        }
    }

    pub fn with(mut self, name: &HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name.clone(), value));
        self
    }

    /// A request that breaks the protocol; the connection ends with it.
    pub fn bad_request(details: &'static str) -> Self {
        let mut reply = Self::new(
            StatusCode::BAD_REQUEST,
            "Bad Request",
            Flags::DOWNSTREAM_PROTOCOL_ERROR,
            details,
        );
        reply.close = true;
        reply
    }

    pub fn upgrade_required() -> Self {
        let mut reply = Self::new(
            StatusCode::UPGRADE_REQUIRED,
            "",
            Flags::default(),
            "low_version",
        );
        reply.close = true;
        reply
    }

    pub fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "",
            Flags::NO_ROUTE_FOUND,
            "route_not_found",
        )
    }

    pub fn no_cluster(status: StatusCode) -> Self {
        Self::new(status, "", Flags::NO_CLUSTER_FOUND, "cluster_not_found")
    }

    pub fn upgrade_refused() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "",
            Flags::default(),
            "upgrade_failed",
        )
    }

    /// Upgrades travel over HTTP/1.1 only.
    pub fn upgrade_needs_http1() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "the upstream cluster speaks HTTP/2 only, which carries no protocol upgrade",
            Flags::default(),
            "upgrade_failed",
        )
    }

    pub fn upstream(error: &UpstreamError, retried: bool) -> Self {
        match error {
            UpstreamError::Pick(PickError::Dropped) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "drop overload",
                Flags::UPSTREAM_OVERFLOW,
                "drop_overload",
            ),
            UpstreamError::Pick(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no healthy upstream",
                Flags::NO_HEALTHY_UPSTREAM,
                "no_healthy_upstream",
            ),
            UpstreamError::Overflow(_) => Self::reset(Reset::Overflow, None, retried)
                .with(&names::X_ENVOY_OVERLOADED, names::TRUE.clone()),
            UpstreamError::Connect { timeout: true, .. } => {
                Self::reset(Reset::ConnectionTimeout, None, retried)
            }
            UpstreamError::Connect { message, .. } | UpstreamError::Tls { message } => {
                Self::reset(Reset::ConnectionFailure, Some(message), retried)
            }
        }
    }

    pub fn reset(reset: Reset, transport_failure: Option<&str>, retried: bool) -> Self {
        let (reason, details, flags) = reset.row();
        let mut body = String::with_capacity(160);
        body.push_str("upstream connect error or disconnect/reset before headers. ");
        if retried {
            body.push_str("retried and the latest ");
        }
        body.push_str("reset reason: ");
        body.push_str(reason);
        if let Some(failure) = transport_failure {
            body.push_str(", transport failure reason: ");
            body.push_str(failure);
        }
        let status = match reset {
            Reset::ProtocolError => StatusCode::BAD_GATEWAY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, body, flags, details)
    }

    pub fn upstream_timeout(details: &'static str) -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream request timeout",
            Flags::UPSTREAM_REQUEST_TIMEOUT,
            details,
        )
    }

    /// 504 once the request is complete (the upstream is slow), else 408 (the client is).
    fn slow(complete: bool) -> StatusCode {
        if complete {
            StatusCode::GATEWAY_TIMEOUT
        } else {
            StatusCode::REQUEST_TIMEOUT
        }
    }

    pub fn stream_idle(complete: bool) -> Self {
        Self::new(
            Self::slow(complete),
            "stream timeout",
            Flags::STREAM_IDLE_TIMEOUT,
            "stream_idle_timeout",
        )
    }

    pub fn max_stream_duration(complete: bool) -> Self {
        Self::new(
            Self::slow(complete),
            "downstream duration timeout",
            Flags::DURATION_TIMEOUT,
            "max_duration_timeout",
        )
    }

    pub fn request_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request timeout",
            Flags::default(),
            "request_overall_timeout",
        )
    }

    /// The client broke its request body off: nobody will read this.
    pub fn client_gone() -> Self {
        let mut reply = Self::new(
            StatusCode::BAD_REQUEST,
            "",
            Flags::DOWNSTREAM_CONNECTION_TERMINATION,
            "downstream_remote_disconnect",
        );
        reply.close = true;
        reply
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
