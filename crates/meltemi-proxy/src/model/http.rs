//! The HTTP connection manager and its filters, compiled.

use super::{AccessLog, HttpFilters, RouteTable, RouteTableId, Tracing};
use std::sync::Arc;
use std::time::Duration;

pub struct HttpManager {
    pub stat_prefix: Box<str>,
    pub codec: CodecType,
    pub routes: RouteSource,
    /// Those before the router.
    pub filters: HttpFilters,
    pub http1: Http1Options,
    pub http2: Http2Options,
    /// `server_name` of the `server` response header.
    pub server_name: Box<str>,
    pub server_header: ServerHeader,
    pub addresses: ClientAddress,
    pub client_cert: ForwardClientCert,
    pub path: PathNormalization,
    pub underscores: UnderscoreAction,
    pub host: HostNormalization,
    pub request_id: RequestIdPolicy,
    pub timeouts: HttpTimeouts,
    /// Bound on a request's header block in bytes (Envoy: 60 KiB).
    pub max_request_headers: u32,
    /// Bound on the number of request headers (Envoy: 100).
    pub max_request_header_count: u32,
    /// Requests served on one downstream connection; `None` has no bound.
    pub max_requests_per_connection: Option<u32>,
    /// Lower-case upgrade tokens accepted (`websocket`, `connect`).
    pub upgrades: Box<[Box<str>]>,
    pub access_logs: Box<[AccessLog]>,
    /// Answers that the overload manager makes say so (`x-envoy-local-overloaded`).
    pub append_local_overload: bool,
    pub tracing: Option<Box<Tracing>>,
    /// Value of the `via` header to append.
    pub via: Option<Box<str>>,
    /// `proxy_100_continue`: pass Expect: 100-continue on instead of answering it.
    pub proxy_100_continue: bool,
    /// An HTTP/1.1 connection goes on after a request that is well framed but invalid. On
    /// HTTP/2 an invalid request always costs its own stream only.
    pub stream_error_on_invalid_message: bool,
    /// Report Istio's request metrics (`istio.stats` HTTP filter).
    pub istio_stats: Option<std::sync::Arc<super::StandardMetrics>>,
    /// Exchange peer metadata headers (Istio's `io.istio.http.peer_metadata.Config`).
    pub peer_metadata: PeerMetadata,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerMetadata {
    /// Read the peer's metadata from the request (inbound) or the response (outbound).
    pub downstream_discovery: bool,
    pub upstream_discovery: bool,
    pub downstream_propagation: bool,
    pub upstream_propagation: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecType {
    /// ALPN, else the connection preface decides.
    Auto,
    Http1,
    Http2,
}

pub enum RouteSource {
    Inline(Arc<RouteTable>),
    Rds(RouteTableId, Box<str>),
}

#[derive(Clone, Debug)]
pub struct Http1Options {
    pub accept_http_10: bool,
    pub default_host_for_http_10: Option<Box<str>>,
    pub allow_absolute_url: bool,
    /// Trailers pass, both ways. Without it they end here, as in Envoy.
    pub enable_trailers: bool,
    /// Header names of requests keep the client's spelling on HTTP/1.1 upstream
    /// (`stateful preserve_case`).
    pub preserve_case: bool,
    /// Header names of answers as `Proper-Case-Words`.
    pub proper_case: bool,
}

#[derive(Clone, Debug)]
pub struct Http2Options {
    /// Envoy's default 1024 (downstream) unless configured.
    pub max_concurrent_streams: u32,
    /// Bytes; Envoy's default is 16 MiB a stream and 24 MiB a connection.
    pub initial_stream_window: u32,
    pub initial_connection_window: u32,
    /// Downstream: clients may use extended CONNECT (RFC 8441).
    pub allow_connect: bool,
    pub keepalive_interval: Option<Duration>,
    pub keepalive_timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerHeader {
    Overwrite,
    AppendIfAbsent,
    PassThrough,
}

/// How the client's address is determined (`use_remote_address`, `xff_num_trusted_hops`).
#[derive(Clone, Debug)]
pub struct ClientAddress {
    pub use_remote_address: bool,
    pub trusted_hops: u32,
    pub skip_xff_append: bool,
    /// `internal_address_config.cidr_ranges`; an address is internal only when listed.
    pub internal: Vec<super::IpPrefix>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardCertMode {
    Sanitize,
    ForwardOnly,
    AppendForward,
    SanitizeSet,
    AlwaysForwardOnly,
}

#[derive(Clone, Copy, Debug)]
pub struct ForwardClientCert {
    pub mode: ForwardCertMode,
    pub subject: bool,
    pub cert: bool,
    pub chain: bool,
    pub dns: bool,
    pub uri: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscapedSlashes {
    Keep,
    Reject,
    UnescapeAndRedirect,
    UnescapeAndForward,
}

#[derive(Clone, Copy, Debug)]
pub struct PathNormalization {
    /// RFC 3986 dot segments, percent-encoding normal form (`normalize_path`).
    pub normalize: bool,
    pub merge_slashes: bool,
    pub escaped_slashes: EscapedSlashes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnderscoreAction {
    Allow,
    RejectRequest,
    DropHeader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StripPort {
    No,
    Matching,
    Any,
}

#[derive(Clone, Copy, Debug)]
pub struct HostNormalization {
    pub strip_port: StripPort,
    pub strip_trailing_dot: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct RequestIdPolicy {
    pub generate: bool,
    pub preserve_external: bool,
    pub always_set_in_response: bool,
    /// Its 15th digit says whether the request is traced (`pack_trace_reason`).
    pub marks_traces: bool,
    /// Sampled by the id, so that all proxies on the way agree
    /// (`use_request_id_for_trace_sampling`).
    pub samples: bool,
}

/// All `None` mean no bound (Envoy: 0 or unset, as documented for each).
#[derive(Clone, Debug)]
pub struct HttpTimeouts {
    /// Whole request from the client (`request_timeout`).
    pub request: Option<Duration>,
    /// Until a request's headers are complete (`request_headers_timeout`).
    pub request_headers: Option<Duration>,
    /// Without activity on a stream (`stream_idle_timeout`, Envoy 5 min).
    pub stream_idle: Option<Duration>,
    /// Without a stream on the connection (`idle_timeout`, Envoy 1 h).
    pub connection_idle: Option<Duration>,
    pub max_connection_duration: Option<Duration>,
    pub max_stream_duration: Option<Duration>,
    /// From GOAWAY / `Connection: close` to closing (`drain_timeout`, Envoy 5 s).
    pub drain: Duration,
}
