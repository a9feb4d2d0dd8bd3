//! What is known of one HTTP exchange or one TCP connection when it ends: the material
//! of access logs and metrics. The data path fills it in as it goes.

use super::Flags;
use super::trace::Trace;
use crate::clock;
use crate::model::{
    ClusterConfig, ConnectionFacts, Direction, Endpoint, Route, VirtualHost, Workload,
};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

/// Facts of a downstream connection, shared by its exchanges.
pub struct ConnectionInfo {
    /// Unique in the process.
    pub id: u64,
    pub facts: ConnectionFacts,
    /// The socket's own local address (after redirection).
    pub local: SocketAddr,
    pub direction: Direction,
    pub filter_chain: Box<str>,
    /// `Some` once TLS is established.
    pub tls: Option<TlsInfo>,
    /// Why it was not.
    pub transport_failure: Option<Box<str>>,
    /// What its first request was in.
    codec: OnceLock<Protocol>,
    /// Why a codec ended it ([`Flags`]).
    flags: AtomicU32,
}

impl ConnectionInfo {
    /// A connection that does not speak TLS, or not yet.
    pub fn new(
        facts: ConnectionFacts,
        local: SocketAddr,
        direction: Direction,
        filter_chain: &str,
    ) -> Self {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
        Self {
            id: CONNECTIONS.fetch_add(1, Relaxed),
            facts,
            local,
            direction,
            filter_chain: filter_chain.into(),
            tls: None,
            transport_failure: None,
            codec: OnceLock::new(),
            flags: AtomicU32::new(0),
        }
    }

    /// An HTTP codec has received something that it understands.
    pub fn speaks(&self, protocol: Protocol) {
        // Once: a connection does not change it.
        let _ = self.codec.set(protocol);
    }

    /// `None` where nothing was understood, or is not HTTP.
    pub fn protocol(&self) -> Option<Protocol> {
        self.codec.get().copied()
    }

    /// A codec ends the connection for this.
    pub fn ends_for(&self, flags: Flags) {
        self.flags.fetch_or(flags.0, Relaxed);
    }

    pub fn flags(&self) -> Flags {
        Flags(self.flags.load(Relaxed))
    }
}

/// The peer as TLS showed it.
#[derive(Clone, Debug, Default)]
pub struct TlsInfo {
    /// `TLSv1.3`.
    pub version: &'static str,
    pub cipher: &'static str,
    pub alpn: Option<Box<[u8]>>,
    /// First URI SAN of the peer's certificate (its SPIFFE id).
    pub peer_uri: Option<Arc<str>>,
    pub peer_dns: Vec<Arc<str>>,
    /// RFC 2253 subject.
    pub peer_subject: Option<Arc<str>>,
    /// SHA-256 of the peer's certificate, lower-case hex.
    pub peer_hash: Option<Arc<str>>,
    /// The peer's certificates as it sent them, its own first (DER).
    pub peer_chain: Vec<Arc<[u8]>>,
    /// Our own first URI SAN.
    pub local_uri: Option<Arc<str>>,
}

impl TlsInfo {
    /// Istio's `connection_security_policy` is `mutual_tls` when the peer showed a
    /// certificate.
    pub fn mutual(&self) -> bool {
        self.peer_uri.is_some() || self.peer_subject.is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http10,
    Http11,
    Http2,
    Tcp,
}

impl Protocol {
    /// As `%PROTOCOL%`.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http10 => "HTTP/1.0",
            Protocol::Http11 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
            Protocol::Tcp => "-",
        }
    }
}

/// What a log's line is about (`%ACCESS_LOG_TYPE%`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `DownstreamEnd`
    Request,
    /// `TcpConnectionEnd`
    Connection,
    /// Of any connection, in its listener's own logs; Envoy sets no type there.
    AtListener,
}

/// One HTTP exchange or one TCP connection.
pub struct StreamInfo {
    pub connection: Arc<ConnectionInfo>,
    pub ending: Ending,
    pub protocol: Protocol,
    pub started: Instant,
    pub started_at: SystemTime,
    /// 0 until known.
    pub status: u16,
    pub flags: Flags,
    /// Envoy's response code details (`via_upstream`, `route_not_found`, ...).
    pub details: Cow<'static, str>,
    /// Why the proxy ended the connection (`%CONNECTION_TERMINATION_DETAILS%`).
    pub termination: Cow<'static, str>,
    /// Body bytes.
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub request_complete: Option<Instant>,
    pub first_upstream_byte: Option<Instant>,
    pub last_upstream_byte: Option<Instant>,
    pub cluster: Option<Arc<ClusterConfig>>,
    pub endpoint: Option<Arc<Endpoint>>,
    pub upstream_local: Option<SocketAddr>,
    /// Host shown for ORIGINAL_DST clusters, which have no configured endpoint.
    pub upstream_remote: Option<SocketAddr>,
    pub upstream_failure: Option<Arc<str>>,
    /// What the upstream showed.
    pub upstream_tls: Option<Arc<TlsInfo>>,
    /// What the upstream speaks.
    pub upstream_protocol: Option<Protocol>,
    pub attempts: u32,
    /// The exchange is traced, or would be if there were a tracer.
    pub traced: bool,
    pub trace: Option<Box<Trace>>,
    pub route: Option<Arc<Route>>,
    /// Kept where a log reads headers, or where there is no route.
    pub virtual_host: Option<Arc<VirtualHost>>,
    /// gRPC status from trailers or a trailers-only head; `Some` for gRPC only.
    pub grpc_status: Option<u32>,
    pub grpc: bool,
    /// gRPC messages, counted when the grpc_stats filter is on.
    pub request_messages: u64,
    pub response_messages: u64,
    /// The peer as its metadata header told (downstream for inbound, upstream for outbound).
    pub peer: Option<Arc<PeerInfo>>,
    /// Downstream address after `x-forwarded-for` rules.
    pub client: SocketAddr,
    /// Head as it was sent on: with the proxy's normalisation and the route's changes.
    pub request: RequestHead,
    pub response_headers: http::HeaderMap,
    /// Kept where a log reads trailers.
    pub response_trailers: Option<Box<http::HeaderMap>>,
}

impl StreamInfo {
    /// An exchange or connection that starts now.
    pub fn new(connection: Arc<ConnectionInfo>, protocol: Protocol) -> Self {
        Self {
            client: connection.facts.source,
            connection,
            ending: match protocol {
                Protocol::Tcp => Ending::Connection,
                _ => Ending::Request,
            },
            protocol,
            started: clock::now(),
            started_at: SystemTime::now(),
            status: 0,
            flags: Flags::default(),
            details: "".into(),
            termination: "".into(),
            bytes_received: 0,
            bytes_sent: 0,
            request_complete: None,
            first_upstream_byte: None,
            last_upstream_byte: None,
            cluster: None,
            endpoint: None,
            upstream_local: None,
            upstream_remote: None,
            upstream_failure: None,
            upstream_tls: None,
            upstream_protocol: None,
            attempts: 0,
            traced: false,
            trace: None,
            route: None,
            virtual_host: None,
            grpc_status: None,
            grpc: false,
            request_messages: 0,
            response_messages: 0,
            peer: None,
            request: RequestHead::default(),
            response_headers: http::HeaderMap::new(),
            response_trailers: None,
        }
    }
}

/// The parts of a request head that logs and metrics need.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    pub method: Option<http::Method>,
    /// `None` when the request was not understood.
    pub authority: Option<Box<str>>,
    /// Path with query; `None` also for CONNECT.
    pub path: Option<Box<str>>,
    pub scheme: &'static str,
    /// Empty unless a log format or filter names request headers.
    pub headers: http::HeaderMap,
}

/// Istio peer metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerInfo {
    pub workload: Option<Workload>,
    pub app: Box<str>,
    pub version: Box<str>,
    pub principal: Box<str>,
}
