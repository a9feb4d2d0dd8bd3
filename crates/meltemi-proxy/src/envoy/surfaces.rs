//! Our servers before Envoy's admin API: readiness, metrics, and the API itself.

use crate::admin::{Answers, Incoming, Reply, Surface, expiry, with_application};
use crate::config::{OwnSecrets, seconds_left};
use crate::options::ApplicationMetrics;
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::watch;

/// Bound on an answer of Envoy's.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bound on its size: a dump of ten thousand clusters fits.
const MAX: usize = 256 * 1024 * 1024;

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub struct Front {
    /// Unix socket of Envoy's admin API.
    admin: PathBuf,
    own_secrets: Option<watch::Receiver<OwnSecrets>>,
    application_metrics: Option<ApplicationMetrics>,
    namespace: Option<OwnedFd>,
    draining: Cell<bool>,
}

impl Front {
    pub fn new(
        admin: PathBuf,
        own_secrets: Option<watch::Receiver<OwnSecrets>>,
        application_metrics: Option<ApplicationMetrics>,
        namespace: Option<OwnedFd>,
    ) -> Self {
        Self {
            admin,
            own_secrets,
            application_metrics,
            namespace,
            draining: Cell::new(false),
        }
    }

    pub fn set_draining(&self) {
        self.draining.set(true);
    }

    /// Open downstream connections, the admin API's own left out; `None` while Envoy does not
    /// answer.
    pub async fn connections(&self) -> Option<u64> {
        let path = "/stats?usedonly&filter=^listener%5C..*downstream_cx_active$";
        let text = self.ask(Method::GET, path).await.ok()?.into_body();
        let text = String::from_utf8_lossy(&text).into_owned();
        let counts = text.lines().filter_map(|line| {
            let (name, count) = line.split_once(": ")?;
            (!name.starts_with("listener.admin.") && !name.contains(".worker_"))
                .then(|| count.parse::<u64>().ok())
                .flatten()
        });
        Some(counts.sum())
    }

    /// One request to Envoy's admin API.
    pub async fn ask(&self, method: Method, path: &str) -> Result<http::Response<Bytes>, Failure> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "localhost")
            .body(Full::default())?;
        tokio::time::timeout(TIMEOUT, self.exchange(request))
            .await
            .map_err(|_| format!("no answer within {TIMEOUT:?}"))?
    }

    async fn exchange(
        &self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Bytes>, Failure> {
        let stream = UnixStream::connect(&self.admin).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, MAX).collect().await?.to_bytes();
            Ok(http::Response::from_parts(head, body))
        };
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            closed = connection => {
                closed?;
                exchange.await
            }
        }
    }

    async fn pass(&self, method: Method, path: &str) -> Reply {
        match self.ask(method, path).await {
            Ok(answer) => Reply::of(answer),
            Err(error) => Reply::text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("Envoy does not answer: {error}\n"),
            ),
        }
    }

    async fn ready(&self) -> Reply {
        if self.draining.get() {
            return Reply::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "draining: the process is ending\n",
            );
        }
        self.pass(Method::GET, "/ready").await
    }

    async fn metrics(&self) -> Reply {
        self.pass(Method::GET, "/stats/prometheus?usedonly").await
    }

    async fn agent(&self, request: &Incoming, local: bool) -> Reply {
        let method = request.method();
        match request.uri().path() {
            "/stats/prometheus" | "/metrics" if method == Method::GET => self.merged().await,
            "/healthz/ready" if method == Method::GET => self.ready().await,
            "/quitquitquit" if method == Method::POST && local => {
                self.pass(Method::POST, "/quitquitquit").await
            }
            "/quitquitquit" => Reply::text(
                StatusCode::FORBIDDEN,
                "only POST requests from localhost are allowed\n",
            ),
            _ => Reply::text(
                StatusCode::NOT_FOUND,
                "known here: /stats/prometheus, /healthz/ready, POST /quitquitquit\n",
            ),
        }
    }

    fn certificate_left(&self) -> Option<i64> {
        let own = self.own_secrets.as_ref()?.borrow();
        seconds_left(own.certificate.as_deref()?)
    }

    /// Envoy's metrics, ours and the application's.
    async fn merged(&self) -> Reply {
        let mut own = match self.ask(Method::GET, "/stats/prometheus?usedonly").await {
            Ok(answer) => String::from_utf8_lossy(&answer.into_body()).into_owned(),
            Err(error) => {
                tracing::warn!(%error, "Envoy's metrics cannot be read");
                String::new()
            }
        };
        own.push_str(&expiry(self.certificate_left()));
        let target = self.application_metrics.as_ref();
        Reply::prometheus(with_application(own, target, self.namespace.as_ref()).await)
    }
}

impl Answers for Front {
    fn namespace(&self) -> Option<&OwnedFd> {
        self.namespace.as_ref()
    }

    async fn answer(
        self: Rc<Self>,
        surface: Surface,
        peer: Option<SocketAddr>,
        request: Incoming,
    ) -> Reply {
        let local = peer.is_none_or(|peer| peer.ip().to_canonical().is_loopback());
        let known = request.uri().path();
        match surface {
            Surface::Admin if local => {
                let path = request.uri().path_and_query();
                let path = path.map_or("/", |path| path.as_str());
                self.pass(request.method().clone(), path).await
            }
            Surface::Admin => Reply::text(
                StatusCode::FORBIDDEN,
                "the admin API answers the machine itself only\n",
            ),
            Surface::Health if known == "/healthz/ready" => self.ready().await,
            Surface::Agent => self.agent(&request, local).await,
            Surface::Prometheus if known == "/stats/prometheus" => self.metrics().await,
            Surface::Health => Reply::text(StatusCode::NOT_FOUND, "known here: /healthz/ready\n"),
            Surface::Prometheus => {
                Reply::text(StatusCode::NOT_FOUND, "known here: /stats/prometheus\n")
            }
        }
    }
}
