//! Model objects made by hand, with Envoy's defaults where a test does not care.

use super::Upstream;
use crate::model::*;
use http::StatusCode;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        address: Address::Socket(address),
        hostname: "endpoint.example".into(),
        weight: 1,
        health: Health::Healthy,
        transport_match: Vec::new(),
        transport: None,
        lb_metadata: Vec::new(),
        check: CheckTarget::default(),
        workload: None,
        state: Arc::default(),
    }
}

pub fn endpoints(all: Vec<Endpoint>) -> EndpointSet {
    let all: Vec<Arc<Endpoint>> = all.into_iter().map(Arc::new).collect();
    EndpointSet {
        priorities: vec![Priority {
            localities: vec![Locality {
                region: "".into(),
                zone: "".into(),
                sub_zone: "".into(),
                weight: 0,
                endpoints: all.clone(),
            }],
            endpoints: all,
            hash_table: None,
        }],
        overprovisioning: 140,
        drop_per_million: 0,
        subsets: None,
    }
}

pub fn http2_options() -> Http2Options {
    Http2Options {
        max_concurrent_streams: 1024,
        initial_stream_window: 1 << 20,
        initial_connection_window: 1 << 21,
        allow_connect: false,
        keepalive_interval: None,
        keepalive_timeout: None,
    }
}

pub fn cluster_config(name: &str) -> ClusterConfig {
    let breakers = CircuitBreakers {
        max_connections: 1024,
        max_pending_requests: 1024,
        max_requests: 1024,
        max_retries: 3,
        max_connections_per_host: u32::MAX,
        retry_budget: None,
    };
    ClusterConfig {
        name: name.into(),
        alt_stat_name: None,
        discovery: Discovery::Static,
        balancer: Balancer::RoundRobin { slow_start: None },
        connect_timeout: Duration::from_secs(2),
        buffer_limit: 1 << 20,
        circuit_breakers: [breakers, breakers],
        outlier: None,
        health_check: None,
        subsets: None,
        transport: TransportChoice {
            matches: Vec::new(),
            default: UpstreamTransport::Plain,
        },
        protocol: UpstreamProtocol::Http1,
        http1: UpstreamHttp1 {
            trailers: true,
            ..UpstreamHttp1::default()
        },
        http2: http2_options(),
        alpn_override: true,
        idle_timeout: Some(Duration::from_secs(60)),
        max_connection_duration: None,
        max_requests_per_connection: None,
        preconnect_ratio: 1.0,
        tcp_keepalive: None,
        bind_address: None,
        service: None,
        peer_exchange: false,
        panic_threshold: 50,
        locality_weighted: false,
        overprovisioning_percent: 140,
        close_on_failure: false,
        hash: 0,
    }
}

/// Detection that finds nothing.
pub const fn no_outliers() -> OutlierDetection {
    let never = Consecutive {
        threshold: 0,
        enforcing: 0,
    };
    let volume = Volume {
        hosts: u32::MAX,
        requests: u32::MAX,
    };
    OutlierDetection {
        consecutive_5xx: never,
        consecutive_gateway_failure: never,
        consecutive_local_origin_failure: never,
        split_local_origin: false,
        success_rate: SuccessRate {
            volume,
            stdev_factor: 1.9,
            enforcing: 0,
            enforcing_local_origin: 0,
        },
        failure_percentage: FailurePercentage {
            volume,
            threshold: 85,
            enforcing: 0,
            enforcing_local_origin: 0,
        },
        interval: Duration::from_secs(10),
        base_ejection_time: Duration::from_secs(30),
        max_ejection_time: Duration::from_secs(300),
        max_ejection_time_jitter: Duration::ZERO,
        max_ejection_percent: 100,
        always_eject_one_host: false,
        uneject_on_passed_check: true,
    }
}

pub fn cluster(config: ClusterConfig, upstreams: &[&Upstream]) -> Arc<Cluster> {
    let all = upstreams.iter().map(|u| endpoint(u.address)).collect();
    Arc::new(Cluster {
        id: ClusterId(0),
        config: Arc::new(config),
        endpoints: Arc::new(endpoints(all)),
        shared: Arc::default(),
    })
}

pub fn forward() -> Forward {
    Forward {
        criteria: Vec::new(),
        cluster: ClusterChoice::One(ClusterId(0)),
        cluster_not_found: StatusCode::SERVICE_UNAVAILABLE,
        timeout: None,
        idle_timeout: None,
        max_grpc_timeout: None,
        max_stream_duration: None,
        retry: None,
        host_rewrite: HostRewrite::None,
        append_x_forwarded_host: false,
        path_rewrite: PathRewrite::None,
        mirrors: Box::new([]),
        hash_policy: Box::new([]),
        rate_limits: Box::new([]),
        include_host_rate_limits: false,
        upgrades: Box::new([]),
        ends_connect: false,
        high_priority: false,
    }
}

pub fn to(cluster: u32) -> Action {
    Action::Forward(Box::new(Forward {
        cluster: ClusterChoice::One(ClusterId(cluster)),
        ..forward()
    }))
}

pub fn retry(on: RetryOn) -> RetryPolicy {
    RetryPolicy {
        on,
        num_retries: 2,
        per_try_timeout: None,
        per_try_idle_timeout: None,
        statuses: Box::new([]),
        backoff_base: Duration::from_millis(1),
        backoff_max: Duration::from_millis(5),
        avoid_previous_hosts: true,
        host_selection_attempts: 5,
        retriable_headers: Box::new([]),
        retriable_request_headers: Box::new([]),
        previous_priorities: None,
    }
}

pub fn route(path: PathMatch, action: Action) -> Route {
    Route {
        name: "".into(),
        matches: RouteMatch {
            path,
            case_sensitive: true,
            headers: Box::new([]),
            query: Box::new([]),
            grpc_only: false,
            fraction: None,
            client_cert_presented: None,
            client_cert_validated: None,
        },
        action,
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
        filters: Overrides::default(),
        decorator: None,
        tracing: None,
        origin: None,
    }
}

/// A chain of one filter, and what a route says to it.
pub fn one_filter(filter: HttpFilter, route: RouteFilter) -> (HttpFilters, Overrides) {
    let id = FilterId(0);
    let own = Override::Config(Arc::new(route));
    let chain = HttpFilters::new([(id, filter, false)]);
    (chain, Overrides::new([(id, own)]))
}

pub fn any(action: Action) -> Route {
    route(PathMatch::Prefix("/".into()), action)
}

pub fn virtual_host(name: &str, routes: Vec<Route>) -> VirtualHost {
    VirtualHost {
        name: name.into(),
        domains: Box::default(),
        routes: routes.into_iter().map(Arc::new).collect(),
        require_tls: RequireTls::No,
        rate_limits: Box::new([]),
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
        attempt_count_in_request: false,
        attempt_count_in_response: false,
    }
}

pub fn table(hosts: Vec<VirtualHost>) -> RouteTable {
    RouteTable {
        name: "routes".into(),
        domains: Arc::new(Domains {
            any: Some(0),
            ..Domains::default()
        }),
        hosts: hosts.into_iter().map(Arc::new).collect(),
        ignore_port: false,
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
    }
}

/// One host for every name.
pub fn routes(routes: Vec<Route>) -> RouteTable {
    table(vec![virtual_host("all", routes)])
}

pub fn manager(table: RouteTable) -> HttpManager {
    HttpManager {
        stat_prefix: "test".into(),
        codec: CodecType::Auto,
        routes: RouteSource::Inline(Arc::new(table)),
        filters: HttpFilters::default(),
        http1: Http1Options {
            accept_http_10: false,
            default_host_for_http_10: None,
            allow_absolute_url: true,
            enable_trailers: true,
            preserve_case: false,
            proper_case: false,
        },
        http2: http2_options(),
        server_name: "istio-envoy".into(),
        server_header: ServerHeader::Overwrite,
        addresses: ClientAddress {
            use_remote_address: false,
            trusted_hops: 0,
            skip_xff_append: false,
            internal: Vec::new(),
        },
        client_cert: ForwardClientCert {
            mode: ForwardCertMode::Sanitize,
            subject: false,
            cert: false,
            chain: false,
            dns: false,
            uri: false,
        },
        path: PathNormalization {
            normalize: true,
            merge_slashes: true,
            escaped_slashes: EscapedSlashes::Keep,
        },
        underscores: UnderscoreAction::Allow,
        host: HostNormalization {
            strip_port: StripPort::No,
            strip_trailing_dot: false,
        },
        request_id: RequestIdPolicy {
            generate: true,
            preserve_external: false,
            always_set_in_response: false,
            marks_traces: true,
            samples: true,
        },
        timeouts: HttpTimeouts {
            request: None,
            request_headers: None,
            stream_idle: None,
            connection_idle: None,
            max_connection_duration: None,
            max_stream_duration: None,
            drain: Duration::from_millis(100),
        },
        max_request_headers: 60 * 1024,
        max_request_header_count: 100,
        max_requests_per_connection: None,
        upgrades: Box::new(["websocket".into()]),
        access_logs: Box::new([]),
        append_local_overload: false,
        tracing: None,
        via: None,
        proxy_100_continue: false,
        stream_error_on_invalid_message: false,
        istio_stats: None,
        peer_metadata: PeerMetadata::default(),
    }
}
