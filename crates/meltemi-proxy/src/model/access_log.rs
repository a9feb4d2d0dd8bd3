//! Access logs: compiled formats and filters.

use super::{Feed, HeaderMatch, SpanTag};
use crate::telemetry::Ending;
use envoy_types::pb::opentelemetry::proto::common::v1::AnyValue;
use http::HeaderName;
use meltemi_cel::Program;
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

/// A key of a JSON object, and its value.
pub type JsonField = (Box<str>, JsonValue);

/// What a value of a JSON log line is made of.
#[derive(Clone, Debug)]
pub enum JsonValue {
    /// A text; a single operator that yields a number stays one.
    Format(Box<[LogPart]>),
    /// JSON as it is written.
    Constant(Box<str>),
    Object(Box<[JsonField]>),
    List(Box<[JsonValue]>),
}

/// A compiled format; the telemetry module evaluates it.
#[derive(Clone, Debug)]
pub enum LogFormat {
    /// Literal text and operators in turn.
    Text(Box<[LogPart]>),
    /// Keys in order; absent values are null, or left out.
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
    /// The same of the moment at which the line is made.
    EmitTime(Box<str>),
    /// Request header, alternative header.
    Req(LogHeader, Option<LogHeader>),
    Resp(LogHeader, Option<LogHeader>),
    Trailer(LogHeader, Option<LogHeader>),
    /// A parameter of the query, or all of it.
    Query(Option<Box<str>>),
    /// The path that is sent on or the one that came, with its query or without.
    Path(PathForm),
    /// Bytes of names and values.
    RequestHeadersBytes,
    ResponseHeadersBytes,
    TraceId,
    SpanId,
    /// Another one each time.
    UniqueId,
    LogType,
    Protocol,
    ResponseCode,
    ResponseCodeDetails {
        /// As they are; else white space becomes `_`, as Envoy has it.
        spaced: bool,
    },
    ConnectionTerminationDetails,
    ResponseFlags,
    ResponseFlagsLong,
    /// Why the handshake with the client, or that with the upstream, failed.
    TransportFailureReason(Side),
    /// Of QUIC: never.
    Retransmitted,
    BytesReceived,
    BytesSent,
    /// Milliseconds.
    Duration,
    RequestDuration,
    ResponseDuration,
    ResponseTxDuration,
    /// Between two moments, in parts of a second.
    Between(Moment, Moment, u64),
    UpstreamHost,
    UpstreamCluster,
    UpstreamClusterRaw,
    UpstreamHostName,
    UpstreamHostNameWithoutPort,
    UpstreamProtocol,
    UpstreamRequestAttemptCount,
    Address(End, AddressPart),
    /// Of the connection with the client, or else of that with the upstream.
    Tls(Side, TlsPart),
    RequestedServerName,
    RouteName,
    FilterChainName,
    ConnectionId,
    Hostname,
    GrpcStatus(StatusForm),
    Environment(Box<str>),
    /// Known to Envoy, without a value here (`DYNAMIC_METADATA`, `FILTER_STATE`): `-`.
    Absent(Box<str>),
}

/// Whose address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    UpstreamRemote,
    UpstreamLocal,
    /// The client, as headers and the PROXY protocol tell of it.
    Remote,
    DirectRemote,
    Local,
    DirectLocal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPart {
    Whole,
    Ip,
    /// The first bits of the address, and how many they are.
    Network(u8),
    Port,
}

/// One of the two connections of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Downstream,
    Upstream,
}

/// What is told of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsPart {
    Version,
    Cipher,
    LocalUriSan,
    PeerUriSan,
    PeerDnsSan,
    PeerIpSan,
    PeerEmailSan,
    PeerSubject,
    PeerIssuer,
    PeerSerial,
    /// SHA-256.
    PeerFingerprint,
    /// SHA-1.
    PeerFingerprint1,
    /// PEM, URL-encoded.
    PeerCertificate,
    /// From when on the certificate is valid: strftime format, empty for ISO 8601.
    PeerStart(Box<str>),
    PeerEnd(Box<str>),
}

/// How a gRPC status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusForm {
    /// `NotFound`.
    Camel,
    /// `NOT_FOUND`.
    Snake,
    Number,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathForm {
    pub query: bool,
    pub of: PathOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathOf {
    /// As it came, or as it is sent on where that is the same.
    OriginalOrSent,
    Original,
    Sent,
}

/// Moments of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    RequestBegan,
    RequestEnded,
    UpstreamBegan,
    UpstreamEnded,
    /// The line is made.
    Ended,
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
    Sample {
        numerator: u32,
        denominator: u32,
        /// By the request's id where it has one, so that all proxies on its way decide alike.
        by_id: bool,
    },
    GrpcStatus(Box<[u32]>, bool),
    /// Of requests that are traced.
    Traced,
    /// CEL.
    Expression(Box<Program>),
    /// Lines about one of these.
    Ending(Box<[Ending]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Ge,
    Le,
    Ne,
}
