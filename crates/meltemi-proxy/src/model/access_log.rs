//! Access logs: compiled formats and filters.

use super::{Feed, HeaderMatch, SpanTag};
use envoy_types::pb::opentelemetry::proto::common::v1::AnyValue;
use http::HeaderName;
use std::sync::Arc;

pub struct AccessLog {
    pub output: LogOutput,
    pub filter: Option<LogFilter>,
}

/// What is written, and where to.
pub enum LogOutput {
    Lines(LogSink, Arc<LogFormat>),
    /// Envoy's access log service.
    Service(Box<ServiceLog>),
    /// Log records of OTLP.
    Records(Box<RecordLog>),
}

/// `HttpGrpcAccessLogConfig` and `TcpGrpcAccessLogConfig`.
pub struct ServiceLog {
    pub feed: Arc<Feed>,
    /// Entries tell of connections.
    pub tcp: bool,
    /// Told beside what is always told.
    pub request_headers: Box<[HeaderName]>,
    pub response_headers: Box<[HeaderName]>,
    pub response_trailers: Box<[HeaderName]>,
    pub tags: Box<[SpanTag]>,
}

/// `OpenTelemetryAccessLogConfig`.
pub struct RecordLog {
    pub feed: Arc<Feed>,
    pub body: Option<RecordValue>,
    pub attributes: Box<[(Box<str>, RecordValue)]>,
    pub tags: Box<[SpanTag]>,
}

pub enum RecordValue {
    Format(LogFormat),
    Constant(AnyValue),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSink {
    Stdout,
    Stderr,
    File(std::path::PathBuf),
}

/// A key of a JSON log line, and what its value is made of.
pub type JsonField = (Box<str>, Box<[LogPart]>);

/// A compiled format; the telemetry module evaluates it.
#[derive(Clone, Debug)]
pub enum LogFormat {
    /// Literal text and operators in turn.
    Text(Box<[LogPart]>),
    /// Keys in order; operators that yield a number stay numbers, absent values are null.
    Json(Box<[JsonField]>, bool),
}

#[derive(Clone, Debug)]
pub enum LogPart {
    Text(Box<str>),
    Operator(LogOperator, Option<u32>),
}

/// Envoy's command operators. The optional number beside an operator cuts its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOperator {
    /// strftime format, empty for ISO 8601 with milliseconds.
    StartTime(Box<str>),
    /// Request header, alternative header.
    Req(LogHeader, Option<LogHeader>),
    Resp(LogHeader, Option<LogHeader>),
    Trailer(LogHeader, Option<LogHeader>),
    Protocol,
    ResponseCode,
    ResponseCodeDetails,
    ConnectionTerminationDetails,
    ResponseFlags,
    ResponseFlagsLong,
    UpstreamTransportFailureReason,
    BytesReceived,
    BytesSent,
    UpstreamWireBytesSent,
    UpstreamWireBytesReceived,
    DownstreamWireBytesSent,
    DownstreamWireBytesReceived,
    /// Milliseconds.
    Duration,
    RequestDuration,
    ResponseDuration,
    ResponseTxDuration,
    UpstreamHost,
    UpstreamCluster,
    UpstreamClusterRaw,
    UpstreamLocalAddress,
    UpstreamRemoteAddress,
    UpstreamRequestAttemptCount,
    DownstreamLocalAddress,
    DownstreamLocalAddressWithoutPort,
    DownstreamLocalPort,
    DownstreamRemoteAddress,
    DownstreamRemoteAddressWithoutPort,
    DownstreamDirectRemoteAddress,
    DownstreamPeerUriSan,
    DownstreamLocalUriSan,
    DownstreamPeerSubject,
    DownstreamTlsVersion,
    DownstreamTlsCipher,
    RequestedServerName,
    RouteName,
    VirtualClusterName,
    FilterChainName,
    ConnectionId,
    StreamId,
    Hostname,
    GrpcStatus,
    Environment(Box<str>),
    /// Known to Envoy, without a value here (`DYNAMIC_METADATA`, `FILTER_STATE`): `-`.
    Absent(Box<str>),
}

/// A header, or what HTTP/2 calls a pseudo-header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogHeader {
    Method,
    Scheme,
    Authority,
    Path,
    Status,
    Named(http::HeaderName),
}

/// When a line is written.
#[derive(Clone, Debug)]
pub enum LogFilter {
    All(Box<[LogFilter]>),
    Any(Box<[LogFilter]>),
    Not(Box<LogFilter>),
    /// Status code compared with a number.
    Status(Comparison, u32),
    /// Milliseconds.
    Duration(Comparison, u32),
    /// Envoy's short names; empty: any flag.
    ResponseFlags(Box<[Box<str>]>),
    Header(Box<HeaderMatch>),
    /// (numerator, denominator).
    Sample(u32, u32),
    GrpcStatus(Box<[u32]>, bool),
    /// Of requests that are traced.
    Traced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Ge,
    Le,
    Ne,
}
