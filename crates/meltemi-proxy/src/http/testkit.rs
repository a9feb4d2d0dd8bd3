//! A worker on loopback for tests: hand-made model objects, small upstreams, a client.

use crate::model::*;
use crate::net::{Connector, Stream};
use crate::telemetry::ConnectionInfo;
use crate::upstream::Upstreams;
use crate::worker::{DrainSignal, Worker};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

pub type Reply = Response<BoxBody<Bytes, Infallible>>;

/// Runs a test on one thread, as a worker runs; fails it when it hangs.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(20), test)
            .await
            .expect("the test hangs");
    });
}

pub fn text(status: u16, text: impl Into<Bytes>) -> Reply {
    Response::builder()
        .status(status)
        .body(Full::new(text.into()).boxed())
        .unwrap()
}

/// Waits until a condition holds.
pub async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A small HTTP server and what it saw.
pub struct Upstream {
    pub address: SocketAddr,
    pub connections: Rc<Cell<u32>>,
    pub requests: Rc<RefCell<Vec<http::request::Parts>>>,
}

impl Upstream {
    pub async fn http1<F: Future<Output = Reply> + 'static>(
        handler: impl Fn(Request<Incoming>) -> F + 'static,
    ) -> Self {
        Self::start(false, handler).await
    }

    pub async fn http2<F: Future<Output = Reply> + 'static>(
        handler: impl Fn(Request<Incoming>) -> F + 'static,
    ) -> Self {
        Self::start(true, handler).await
    }

    async fn start<F: Future<Output = Reply> + 'static>(
        http2: bool,
        handler: impl Fn(Request<Incoming>) -> F + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            address: listener.local_addr().unwrap(),
            connections: Rc::default(),
            requests: Rc::default(),
        };
        let (connections, requests) = (this.connections.clone(), this.requests.clone());
        let handler = Rc::new(handler);
        tokio::task::spawn_local(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                stream.set_nodelay(true).unwrap();
                connections.set(connections.get() + 1);
                let (requests, handler) = (requests.clone(), handler.clone());
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let (parts, body) = request.into_parts();
                    let mut seen = Request::new(()).into_parts().0;
                    seen.method = parts.method.clone();
                    seen.uri = parts.uri.clone();
                    seen.headers = parts.headers.clone();
                    seen.version = parts.version;
                    requests.borrow_mut().push(seen);
                    let answer = handler(Request::from_parts(parts, body));
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                tokio::task::spawn_local(async move {
                    let io = TokioIo::new(stream);
                    if http2 {
                        let _ =
                            hyper::server::conn::http2::Builder::new(super::codec::LocalExecutor)
                                .serve_connection(io, service)
                                .await;
                    } else {
                        let _ = hyper::server::conn::http1::Builder::new()
                            .serve_connection(io, service)
                            .await;
                    }
                });
            }
        });
        this
    }

    /// Answers with its name.
    pub async fn named(name: &'static str) -> Self {
        Self::http1(move |_| async move { text(200, name) }).await
    }

    pub fn seen(&self) -> usize {
        self.requests.borrow().len()
    }

    pub fn last(&self, header: &str) -> Option<String> {
        let requests = self.requests.borrow();
        let value = requests.last()?.headers.get(header)?;
        Some(value.to_str().unwrap().to_owned())
    }

    pub fn last_path(&self) -> String {
        self.requests.borrow().last().unwrap().uri.to_string()
    }
}

pub fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        address: Address::Socket(address),
        hostname: "endpoint.example".into(),
        weight: 1,
        health: Health::Healthy,
        transport_match: Vec::new(),
        transport: None,
        workload: None,
        state: Arc::default(),
    }
}

pub fn endpoints(all: Vec<Endpoint>) -> EndpointSet {
    EndpointSet {
        priorities: vec![Priority {
            localities: Vec::new(),
            endpoints: all.into_iter().map(Arc::new).collect(),
            hash_table: None,
        }],
        overprovisioning: 140,
        drop_per_million: 0,
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
        retry_budget: None,
    };
    ClusterConfig {
        name: name.into(),
        alt_stat_name: None,
        discovery: Discovery::Static,
        balancer: Balancer::RoundRobin,
        connect_timeout: Duration::from_secs(2),
        buffer_limit: 1 << 20,
        circuit_breakers: [breakers, breakers],
        outlier: None,
        transport: TransportChoice {
            matches: Vec::new(),
            default: UpstreamTransport::Plain,
        },
        protocol: UpstreamProtocol::Http1,
        http2: http2_options(),
        idle_timeout: Some(Duration::from_secs(60)),
        max_connection_duration: None,
        max_requests_per_connection: None,
        tcp_keepalive: None,
        bind_address: None,
        service: None,
        peer_exchange: false,
        panic_threshold: 50,
        locality_weighted: false,
        overprovisioning_percent: 140,
        close_on_host_removal: false,
        hash: 0,
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
        upgrades: Box::new([]),
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
        fault: None,
        cors: None,
        origin: None,
    }
}

pub fn any(action: Action) -> Route {
    route(PathMatch::Prefix("/".into()), action)
}

pub fn virtual_host(name: &str, routes: Vec<Route>) -> VirtualHost {
    VirtualHost {
        name: name.into(),
        routes: routes.into_iter().map(Arc::new).collect(),
        require_tls: RequireTls::No,
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
        attempt_count_in_request: false,
        attempt_count_in_response: false,
    }
}

pub fn table(hosts: Vec<VirtualHost>) -> RouteTable {
    RouteTable {
        name: "routes".into(),
        any: Some(0),
        hosts,
        exact: HashMap::new(),
        suffix: Vec::new(),
        prefix: Vec::new(),
        ignore_port: false,
        request_headers: HeaderOps::default(),
        response_headers: HeaderOps::default(),
        max_direct_response_body: 4096,
        hash: 0,
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
        filters: Box::new([]),
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
        via: None,
        proxy_100_continue: false,
        stream_error_on_invalid_message: false,
        istio_stats: false,
        peer_metadata: PeerMetadata::default(),
    }
}

/// A running worker with one listener.
pub struct Proxy {
    pub address: SocketAddr,
    pub drain: DrainSignal,
    pub worker: Rc<Worker>,
    pub open: Rc<Cell<u32>>,
}

impl Proxy {
    /// Clusters get their index as their id.
    pub async fn start(manager: HttpManager, clusters: Vec<Arc<Cluster>>) -> Self {
        let clusters: Vec<_> = clusters
            .into_iter()
            .enumerate()
            .map(|(index, cluster)| {
                Some(Arc::new(Cluster {
                    id: ClusterId(index as u32),
                    config: cluster.config.clone(),
                    endpoints: cluster.endpoints.clone(),
                    shared: cluster.shared.clone(),
                }))
            })
            .collect();
        let snapshot = Snapshot {
            clusters: clusters.into(),
            ..Snapshot::default()
        };
        let connector = Connector::own();
        let upstreams = Upstreams::new(connector.clone());
        let worker = Rc::new(Worker::new(0, snapshot, upstreams, connector));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let drain = DrainSignal::new();
        let open = Rc::new(Cell::new(0));
        let manager = Arc::new(manager);
        {
            let (worker, drain, open) = (worker.clone(), drain.clone(), open.clone());
            tokio::task::spawn_local(async move {
                static ID: AtomicU64 = AtomicU64::new(1);
                loop {
                    let Ok((stream, source)) = listener.accept().await else {
                        return;
                    };
                    stream.set_nodelay(true).unwrap();
                    let info = Arc::new(ConnectionInfo {
                        id: ID.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
                        facts: ConnectionFacts {
                            destination: address,
                            source,
                            server_name: None,
                            transport: Transport::RawBuffer,
                            application_protocols: Vec::new(),
                        },
                        local: address,
                        direction: Direction::Inbound,
                        filter_chain: "".into(),
                        tls: None,
                    });
                    open.set(open.get() + 1);
                    let (manager, worker) = (manager.clone(), worker.clone());
                    let (drain, open) = (drain.clone(), open.clone());
                    tokio::task::spawn_local(async move {
                        crate::http::serve(Stream::from(stream), manager, info, worker, drain)
                            .await;
                        open.set(open.get() - 1);
                    });
                }
            });
        }
        Self {
            address,
            drain,
            worker,
            open,
        }
    }

    /// A proxy for one cluster of these upstreams, everything routed to it.
    pub async fn simple(upstreams: &[&Upstream]) -> Self {
        let cluster = cluster(cluster_config("backend"), upstreams);
        Self::start(manager(routes(vec![any(to(0))])), vec![cluster]).await
    }

    pub async fn connect(&self) -> Client {
        Client::http1(self.address).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.connect().await.get(path).await
    }

    /// Sends bytes as they are and reads until the proxy closes or says no more.
    pub async fn raw(&self, request: &[u8]) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer))
            .await
            .unwrap_or_else(|_| {
                let shown = String::from_utf8_lossy(request);
                panic!("not closed after {shown:?}: {answer:?}")
            })
            .ok();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: String,
    pub trailers: Option<http::HeaderMap>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub async fn read(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            trailers: body.trailers().cloned(),
            body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        }
    }
}

pub type ClientBody = BoxBody<Bytes, Infallible>;

/// One client connection.
pub enum Client {
    Http1(hyper::client::conn::http1::SendRequest<ClientBody>),
    Http2(hyper::client::conn::http2::SendRequest<ClientBody>),
}

pub fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "service.example")
}

pub fn full(text: impl Into<Bytes>) -> ClientBody {
    Full::new(text.into()).boxed()
}

impl Client {
    pub async fn http1(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::task::spawn_local(async move {
            let _ = connection.with_upgrades().await;
        });
        Self::Http1(sender)
    }

    pub async fn http2(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http2::handshake(
            super::codec::LocalExecutor,
            TokioIo::new(stream),
        )
        .await
        .unwrap();
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        Self::Http2(sender)
    }

    pub async fn try_send(
        &mut self,
        request: Request<ClientBody>,
    ) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                let (mut parts, body) = request.into_parts();
                parts.headers.remove("host");
                if parts.uri.authority().is_none() {
                    parts.uri = format!("http://service.example{}", parts.uri)
                        .parse()
                        .unwrap();
                }
                sender.send_request(Request::from_parts(parts, body)).await
            }
        }
    }

    pub async fn send(&mut self, request: Request<ClientBody>) -> Answer {
        Answer::read(self.try_send(request).await.unwrap()).await
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(request("GET", path).body(full("")).unwrap())
            .await
    }
}
