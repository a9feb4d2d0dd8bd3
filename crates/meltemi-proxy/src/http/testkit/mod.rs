//! A worker on loopback for tests: hand-made model objects, small upstreams, a client.

mod model;

pub use model::*;

use crate::model::*;
use crate::net::{Connector, Stream};
use crate::overload::Levels;
use crate::telemetry::ConnectionInfo;
use crate::worker::{DrainSignal, Worker};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Runs hyper's tasks on the thread of the test.
#[derive(Clone, Copy)]
pub struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

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
                        let _ = hyper::server::conn::http2::Builder::new(LocalExecutor)
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
        Self::with_tls(manager, clusters, None).await
    }

    pub async fn with_tls(
        manager: HttpManager,
        clusters: Vec<Arc<Cluster>>,
        tls: Option<ServerTls>,
    ) -> Self {
        Self::under(manager, clusters, tls, Arc::default()).await
    }

    /// As an overload manager says.
    pub async fn under(
        manager: HttpManager,
        clusters: Vec<Arc<Cluster>>,
        tls: Option<ServerTls>,
        overload: Arc<Levels>,
    ) -> Self {
        let tls = tls.map(Arc::new);
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
        let worker = Rc::new(Worker::new(0, snapshot, connector, overload));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let drain = DrainSignal::new();
        let open = Rc::new(Cell::new(0));
        let manager = Arc::new(manager);
        {
            let (worker, drain, open) = (worker.clone(), drain.clone(), open.clone());
            tokio::task::spawn_local(async move {
                loop {
                    let Ok((stream, source)) = listener.accept().await else {
                        return;
                    };
                    stream.set_nodelay(true).unwrap();
                    let mut info = ConnectionInfo::new(
                        ConnectionFacts {
                            destination: address,
                            source,
                            peer: source,
                            server_name: None,
                            transport: Transport::RawBuffer,
                            application_protocols: Vec::new(),
                        },
                        address,
                        Direction::Inbound,
                        "",
                    );
                    open.set(open.get() + 1);
                    let (manager, worker) = (manager.clone(), worker.clone());
                    let (drain, open, tls) = (drain.clone(), open.clone(), tls.clone());
                    tokio::task::spawn_local(async move {
                        let stream = match &tls {
                            None => Stream::from(stream),
                            Some(tls) => {
                                let socket = crate::net::Socket::Tcp(stream);
                                let accepted = crate::tls::accept(
                                    socket,
                                    tls,
                                    crate::tls::HANDSHAKE,
                                    &mut None,
                                )
                                .await;
                                let Ok((stream, shown)) = accepted else {
                                    open.set(open.get() - 1);
                                    return;
                                };
                                info.tls = Some(shown);
                                stream
                            }
                        };
                        let info = Arc::new(info);
                        crate::http::serve(stream, manager, info, worker, drain).await;
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
        let (sender, connection) =
            hyper::client::conn::http2::handshake(LocalExecutor, TokioIo::new(stream))
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
