//! Telemetry that goes to a collector in batches.

use super::ClusterId;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue};
use std::time::Duration;

/// Entries of one kind, on their way to one collector.
#[derive(Debug, PartialEq)]
pub struct Feed {
    pub collector: Collector,
    pub content: Content,
    /// A batch is sent once it has as many entries, or bytes.
    pub batch_entries: u32,
    pub batch_bytes: u32,
    /// How long an entry waits for others.
    pub interval: Duration,
    /// Entries that wait while a batch is under way; more are dropped.
    pub max_entries: u32,
}

/// What entries are, and what is said of all of them.
#[derive(Debug, PartialEq)]
pub enum Content {
    /// OTLP: encoded fields of the resource and of the scope, which go before the entries.
    Otlp {
        signal: Signal,
        resource: Bytes,
        scope: Bytes,
    },
    /// Spans of Zipkin, as JSON.
    Zipkin,
    /// Entries of Envoy's access log service, of requests or of connections, by one stream.
    AccessLog { name: Box<str>, tcp: bool },
}

/// What OTLP tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Spans,
    Logs,
}

/// A service that takes telemetry.
#[derive(Clone, Debug, PartialEq)]
pub struct Collector {
    pub cluster: ClusterId,
    pub cluster_name: Box<str>,
    /// Of gRPC: the whole of it by one protocol of two.
    pub grpc: bool,
    pub authority: HeaderValue,
    pub path: PathAndQuery,
    /// Added to requests.
    pub headers: HeaderMap,
    /// `None`: for ever.
    pub timeout: Option<Duration>,
}
