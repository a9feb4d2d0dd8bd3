//! Snapshots made by hand.

use meltemi_proxy::model::*;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub fn cluster(id: u32, endpoint: Option<SocketAddr>) -> Arc<Cluster> {
    let endpoints: Vec<_> = endpoint
        .into_iter()
        .map(|address| {
            Arc::new(Endpoint {
                address: Address::Socket(address),
                hostname: "".into(),
                weight: 1,
                health: Health::Healthy,
                transport_match: Vec::new(),
                transport: None,
                lb_metadata: Vec::new(),
                check: CheckTarget::default(),
                workload: None,
                state: Arc::default(),
            })
        })
        .collect();
    Arc::new(Cluster {
        id: ClusterId(id),
        config: Arc::new(ClusterConfig {
            name: format!("cluster-{id}").into(),
            alt_stat_name: None,
            discovery: Discovery::Static,
            balancer: Balancer::RoundRobin { slow_start: None },
            connect_timeout: Duration::from_secs(5),
            buffer_limit: 1 << 20,
            circuit_breakers: [CircuitBreakers {
                max_connections: 1024,
                max_pending_requests: 1024,
                max_requests: 1024,
                max_retries: 3,
                max_connections_per_host: u32::MAX,
                retry_budget: None,
            }; 2],
            outlier: None,
            health_check: None,
            subsets: None,
            transport: TransportChoice {
                matches: Vec::new(),
                default: UpstreamTransport::Plain,
            },
            protocol: UpstreamProtocol::Http1,
            http1: UpstreamHttp1::default(),
            alpn_override: true,
            http2: Http2Options {
                max_concurrent_streams: 100,
                initial_stream_window: 1 << 16,
                initial_connection_window: 1 << 16,
                allow_connect: false,
                keepalive_interval: None,
                keepalive_timeout: None,
            },
            idle_timeout: None,
            max_connection_duration: None,
            max_requests_per_connection: None,
            preconnect_ratio: 1.0,
            tcp_keepalive: None,
            bind_address: None,
            service: None,
            panic_threshold: 50,
            locality_weighted: false,
            overprovisioning_percent: 140,
            close_on_failure: false,
            peer_exchange: false,
            hash: 0,
        }),
        endpoints: Arc::new(EndpointSet {
            priorities: vec![Priority {
                localities: vec![Locality {
                    region: "".into(),
                    zone: "".into(),
                    sub_zone: "".into(),
                    weight: 0,
                    endpoints: endpoints.clone(),
                }],
                endpoints,
                hash_table: None,
            }],
            overprovisioning: 140,
            drop_per_million: 0,
            subsets: None,
        }),
        shared: Arc::default(),
    })
}

pub fn chain(cluster: u32) -> Arc<FilterChain> {
    Arc::new(FilterChain {
        name: format!("to-{cluster}").into(),
        tls: None,
        handshake_timeout: None,
        peer_exchange: false,
        buffer_limit: 1 << 20,
        istio_stats: None,
        filters: Box::default(),
        terminal: Terminal::Tcp(Arc::new(TcpProxy {
            stat_prefix: "test".into(),
            clusters: [(ClusterId(cluster), 1)].into(),
            total_weight: 1,
            idle_timeout: None,
            max_connect_attempts: 1,
            max_connection_duration: None,
            hash_policy: [].into(),
            sni_forward: None,
            tunneling: None,
            access_logs: [].into(),
        })),
        hash: u64::from(cluster),
    })
}

pub fn listener(name: &str, address: SocketAddr, chains: ChainTable) -> Arc<Listener> {
    Arc::new(Listener {
        name: name.into(),
        addresses: vec![address],
        bind: true,
        transparent: false,
        direction: Direction::Unspecified,
        hand_off: false,
        original_dst: false,
        proxy_protocol: None,
        tls_inspector: None,
        http_inspector: None,
        inspect_timeout: None,
        continue_on_inspect_timeout: true,
        chains,
        access_logs: [].into(),
        hash: 0,
    })
}

pub fn always(cluster: u32) -> ChainTable {
    ChainTable {
        chains: Vec::new(),
        default: Some(chain(cluster)),
    }
}

pub fn snapshot(
    generation: u64,
    listeners: Vec<Arc<Listener>>,
    clusters: Vec<Arc<Cluster>>,
) -> Arc<Snapshot> {
    let by_address = listeners
        .iter()
        .flat_map(|listener| {
            listener
                .addresses
                .iter()
                .map(|address| (*address, listener.clone()))
        })
        .collect();
    Arc::new(Snapshot {
        generation,
        listeners: Arc::new(ListenerTable {
            all: listeners,
            by_address,
        }),
        routes: [].into(),
        clusters: clusters.into_iter().map(Some).collect(),
    })
}
