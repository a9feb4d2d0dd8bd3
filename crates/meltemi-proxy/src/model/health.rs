//! Active health checks of a cluster, compiled.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};
use std::ops::RangeInclusive;
use std::time::Duration;

pub struct HealthCheck {
    pub probe: HealthProbe,
    /// Of one check.
    pub timeout: Duration,
    /// Failures in a row that make a healthy endpoint unhealthy; an answer that says so
    /// needs one.
    pub unhealthy_threshold: u32,
    /// Successes in a row that make an unhealthy endpoint healthy; the very first check
    /// needs one.
    pub healthy_threshold: u32,
    pub intervals: CheckIntervals,
    /// Checks use one connection as long as it lives; those by TCP that wait for no answer connect
    /// each time.
    pub reuse_connection: bool,
    pub alt_port: Option<u16>,
    /// Chooses among the cluster's transports instead of the endpoint's metadata.
    pub transport_criteria: Option<Vec<(Box<str>, Box<str>)>>,
}

/// Pauses between the checks of one endpoint.
pub struct CheckIntervals {
    pub steady: Duration,
    /// As long as the cluster has had no connection of a request (Envoy 60 s).
    pub no_traffic: Duration,
    pub no_traffic_healthy: Duration,
    pub unhealthy: Duration,
    /// The first pause after the endpoint became unhealthy, or healthy.
    pub unhealthy_edge: Duration,
    pub healthy_edge: Duration,
    /// At most this is waited before the first check.
    pub initial_jitter: Duration,
    /// At most this is added to every pause, and this part of it in percent.
    pub jitter: Duration,
    pub jitter_percent: u32,
}

pub enum HealthProbe {
    Http(HttpProbe),
    Tcp {
        send: Option<Bytes>,
        /// Found in what comes back, in this order; not needed: a connection suffices.
        receive: Vec<Bytes>,
    },
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        service: Box<str>,
        authority: Option<HeaderValue>,
        metadata: Vec<(HeaderName, HeaderValue)>,
    },
}

pub struct HttpProbe {
    pub method: Method,
    pub path: PathAndQuery,
    pub host: Option<HeaderValue>,
    pub add: Vec<(HeaderName, HeaderValue)>,
    pub remove: Vec<HeaderName>,
    /// 200 unless configured.
    pub expected: Vec<RangeInclusive<u16>>,
    /// Statuses that count as a failure of the network: not at once.
    pub retriable: Vec<RangeInclusive<u16>>,
    /// The request's content, for methods that have one.
    pub send: Option<Bytes>,
    /// Found in this order in the answer's content.
    pub receive: Vec<Bytes>,
    /// Bytes of the content that are looked at (Envoy 1024).
    pub looked_at: usize,
    /// HTTP/2, with or without TLS.
    pub http2: bool,
}

/// What an endpoint says about its own checks (`health_check_config`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckTarget {
    /// The endpoint is not checked and counts as healthy.
    pub disabled: bool,
    pub address: Option<std::net::IpAddr>,
    pub port: Option<u16>,
    /// Host of HTTP and gRPC checks.
    pub hostname: Box<str>,
}
