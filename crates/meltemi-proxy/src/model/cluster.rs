//! Clusters: how endpoints are found, chosen, connected to and protected.

use super::{ClientTls, EndpointSet, Http2Options, OutlierDetection};
use crate::dns::DnsCache;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

pub struct Cluster {
    pub id: super::ClusterId,
    pub config: Arc<ClusterConfig>,
    /// Replaced by an EDS or DNS update while `config` stays.
    pub endpoints: Arc<EndpointSet>,
    /// Survives updates of the cluster's configuration and endpoints.
    pub shared: Arc<ClusterShared>,
}

pub struct ClusterConfig {
    pub name: Box<str>,
    pub alt_stat_name: Option<Box<str>>,
    pub discovery: Discovery,
    pub balancer: Balancer,
    pub connect_timeout: Duration,
    /// As [`FilterChain::buffer_limit`](super::FilterChain), of what the upstream sent.
    pub buffer_limit: u32,
    /// `[default, high]`.
    pub circuit_breakers: [CircuitBreakers; 2],
    pub outlier: Option<OutlierDetection>,
    pub health_check: Option<Arc<super::HealthCheck>>,
    pub subsets: Option<Arc<super::SubsetConfig>>,
    pub transport: TransportChoice,
    pub protocol: UpstreamProtocol,
    pub http1: UpstreamHttp1,
    pub http2: Http2Options,
    /// `istio.alpn` may replace the ALPN list of the TLS context: the cluster's metadata
    /// `istio.alpn_override` is not `false`.
    pub alpn_override: bool,
    /// Of a pooled connection without a request (`idle_timeout`, Envoy 1 h).
    pub idle_timeout: Option<Duration>,
    pub max_connection_duration: Option<Duration>,
    pub max_requests_per_connection: Option<u32>,
    /// Streams that pools have connections for, of those that they carry: from 1 to 3
    /// (`per_upstream_preconnect_ratio`, Envoy 1).
    pub preconnect_ratio: f32,
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Local address to bind upstream sockets to (`upstream_bind_config`).
    pub bind_address: Option<IpAddr>,
    /// `metadata.filter_metadata.istio.services[0]`: for Istio's metrics.
    pub service: Option<IstioService>,
    /// `healthy_panic_threshold` in percent; 0 turns panic routing off (Envoy 50).
    pub panic_threshold: u32,
    pub locality_weighted: bool,
    pub overprovisioning_percent: u32,
    /// TCP connections to an endpoint end when it fails its health checks or is ejected
    /// (`close_connections_on_host_health_failure`).
    pub close_on_failure: bool,
    /// Istio's `istio.metadata_exchange` as an upstream filter: after TLS, when ALPN chose
    /// `istio-peer-exchange`, both sides send their metadata before the application's bytes.
    pub peer_exchange: bool,
    pub hash: u64,
}

/// HTTP/1.1 towards the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamHttp1 {
    /// `enable_trailers`: trailers pass, both ways. Without it they end here, as in Envoy.
    pub trailers: bool,
    /// Header names of requests as `Proper-Case-Words`.
    pub proper_case: bool,
    /// Header names of answers keep the upstream's spelling (`stateful preserve_case`).
    pub preserve_case: bool,
}

impl ClusterConfig {
    /// The name in statistics.
    pub fn stat_name(&self) -> &str {
        self.alt_stat_name.as_deref().unwrap_or(&self.name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IstioService {
    pub host: Box<str>,
    pub name: Box<str>,
    pub namespace: Box<str>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Discovery {
    Static,
    /// `service_name` to ask for.
    Eds(Box<str>),
    StrictDns(DnsOptions),
    LogicalDns(DnsOptions),
    /// Connect to the connection's original destination.
    OriginalDst {
        /// `use_http_header`: `x-envoy-original-dst-host` decides.
        header: Option<Box<str>>,
        port_override: Option<u16>,
    },
    /// Connect to the host that the request, or the connection's SNI, names
    /// (`envoy.clusters.dynamic_forward_proxy`).
    DynamicForward(Arc<DnsCache>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct DnsOptions {
    /// Name and port to resolve, with the template endpoint's weight.
    pub names: Vec<(Box<str>, u16)>,
    pub refresh: Duration,
    pub respect_ttl: bool,
    pub lookup: DnsFamily,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsFamily {
    Auto,
    V4Only,
    V6Only,
    V4Preferred,
    All,
}

/// How endpoints that are new, or pass their checks again, come to their full share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    pub window: Duration,
    /// 1: in proportion to the time; above 1 the share grows faster at first. Above 0.
    pub aggression: f64,
    /// The least part of its weight that an endpoint gets, 0 to 1.
    pub minimum: f64,
}

impl SlowStart {
    /// The part of its weight that an endpoint gets after this time.
    pub fn factor(&self, age: Duration) -> f64 {
        if age >= self.window {
            return 1.0;
        }
        let time = age.max(Duration::from_millis(1)).as_secs_f64() / self.window.as_secs_f64();
        time.min(1.0).powf(1.0 / self.aggression).max(self.minimum)
    }
}

/// Where endpoints stand on a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingFunction {
    XxHash,
    /// As GNU's C++ library hashes text.
    MurmurHash2,
}

/// What both kinds of consistent hashing have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashing {
    /// Hash the endpoint's host name, not its address.
    pub use_hostname: bool,
    /// Percent of the average load, by weight, that an endpoint may have; above it another
    /// one is taken. At least 100.
    pub balance_factor: Option<u32>,
}

impl Balancer {
    pub fn hashing(&self) -> Option<&Hashing> {
        match self {
            Self::RingHash { hashing, .. } | Self::Maglev { hashing, .. } => Some(hashing),
            _ => None,
        }
    }

    pub fn slow_start(&self) -> Option<&SlowStart> {
        match self {
            Self::RoundRobin { slow_start } | Self::LeastRequest { slow_start, .. } => {
                slow_start.as_ref()
            }
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Balancer {
    RoundRobin {
        slow_start: Option<SlowStart>,
    },
    LeastRequest {
        /// The best of so many (2 unless configured); `None`: of all.
        choices: Option<u32>,
        /// Where weights differ: the exponent of an endpoint's requests, which its weight is
        /// divided by (1 unless configured).
        bias: f64,
        slow_start: Option<SlowStart>,
    },
    Random,
    RingHash {
        minimum: u64,
        maximum: u64,
        function: RingFunction,
        hashing: Hashing,
    },
    /// `table_size` is prime (Envoy 65,537).
    Maglev {
        table_size: u64,
        hashing: Hashing,
    },
    /// ORIGINAL_DST and dynamic forward proxies.
    ClusterProvided,
}

/// Limits shared by all workers (Envoy: 1024, 1024, 1024, 3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CircuitBreakers {
    pub max_connections: u32,
    pub max_pending_requests: u32,
    pub max_requests: u32,
    pub max_retries: u32,
    /// To one endpoint; Envoy has none unless configured.
    pub max_connections_per_host: u32,
    /// Percent of active requests that may be retries, and their minimum concurrency.
    pub retry_budget: Option<(f64, u32)>,
}

#[derive(Clone, Debug)]
pub enum UpstreamProtocol {
    Http1,
    Http2,
    /// Whatever the downstream request speaks (`use_downstream_protocol_config`).
    Downstream,
    /// ALPN decides, HTTP/1.1 without (`auto_config`).
    Alpn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpKeepalive {
    pub probes: Option<u32>,
    pub time: Option<Duration>,
    pub interval: Option<Duration>,
}

/// The transport socket, by the endpoint's `envoy.transport_socket_match` metadata.
pub struct TransportChoice {
    /// First match wins; an empty match accepts every endpoint.
    pub matches: Vec<TransportMatch>,
    pub default: UpstreamTransport,
}

impl TransportChoice {
    /// The first transport whose criteria these are among; `None`: the default.
    pub fn index(&self, metadata: &[(Box<str>, Box<str>)]) -> Option<u16> {
        let fits = |choice: &TransportMatch| {
            choice
                .criteria
                .iter()
                .all(|wanted| metadata.contains(wanted))
        };
        let index = self.matches.iter().position(fits)?;
        u16::try_from(index).ok()
    }
}

pub struct TransportMatch {
    pub name: Box<str>,
    pub criteria: Vec<(Box<str>, Box<str>)>,
    pub transport: UpstreamTransport,
}

#[derive(Clone)]
pub enum UpstreamTransport {
    Plain,
    Tls(Arc<ClientTls>),
    /// A header of the PROXY protocol, then the transport within.
    Announced(Arc<ProxyHeader>, Box<UpstreamTransport>),
}

/// `upstream_proxy_protocol`.
pub struct ProxyHeader {
    pub version: ProxyVersion,
    /// Added to headers of version 2.
    pub tlvs: Box<[(u8, Box<[u8]>)]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    V1,
    V2,
}

impl UpstreamTransport {
    pub fn tls(&self) -> Option<&Arc<ClientTls>> {
        match self {
            Self::Plain => None,
            Self::Tls(context) => Some(context),
            Self::Announced(_, within) => within.tls(),
        }
    }

    pub fn header(&self) -> Option<&ProxyHeader> {
        match self {
            Self::Announced(header, _) => Some(header),
            Self::Plain | Self::Tls(_) => None,
        }
    }
}

/// Counters that all workers share.
#[derive(Default)]
pub struct ClusterShared {
    pub connections: AtomicU32,
    pub pending: AtomicU32,
    pub requests: AtomicU32,
    pub retries: AtomicU32,
    /// Endpoints ejected at present.
    pub ejected: AtomicU32,
    /// Increases with every ejection and its end: workers then rebuild what they balance over.
    pub health_epoch: AtomicU64,
    /// Wakes who waits for such a change.
    pub health_changes: Notify,
}

impl ClusterShared {
    /// The health of an endpoint is another now.
    pub fn health_changed(&self) {
        self.health_epoch.fetch_add(1, Ordering::Release);
        self.health_changes.notify_waiters();
    }
}
