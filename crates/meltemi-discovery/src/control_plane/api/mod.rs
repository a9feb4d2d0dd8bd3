//! The control plane's API: HTTP/1.1 with JSON over a Unix socket, for the command line.

mod answer;
mod ca;
mod metrics;
mod objects;
mod proxy;
mod status;
mod tokens;

use super::state::State;
use answer::{Answer, Refusal};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use meltemi_config::{DirectorySource, Editor};
use meltemi_identity::{Authority, JoinTokens};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Bound on a request's body, in bytes.
const MAX_BODY: usize = 32 << 20;
/// Bound on connections at once.
const MAX_CONNECTIONS: usize = 64;
/// Bound on the time a client takes for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What requests work with.
pub(super) struct Context<'a> {
    pub state: Arc<State>,
    pub editor: Arc<Editor>,
    pub config: &'a DirectorySource,
    pub authority: Arc<Authority>,
    /// `None` where nobody can join.
    pub join_tokens: Option<JoinTokens>,
}

impl Context<'_> {
    /// Reads the directories again and waits until what they hold is in force.
    async fn settle(&self) {
        let published = self.config.refresh().await;
        let mut generations = self.state.watch();
        while self.state.current().published.objects.version() < published.objects.version() {
            // A World that cannot be built never comes: what was applied is on disk then, and
            // the log says why.
            let moved = tokio::time::timeout(Duration::from_secs(5), generations.changed()).await;
            if !matches!(moved, Ok(Ok(()))) {
                break;
            }
        }
    }
}

/// Serves until `shutdown` is cancelled.
pub(super) async fn serve(
    listener: UnixListener,
    context: Context<'_>,
    shutdown: CancellationToken,
) {
    let permits = Semaphore::new(MAX_CONNECTIONS);
    let mut connections = futures_util::stream::FuturesUnordered::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(()) = futures_util::StreamExt::next(&mut connections), if !connections.is_empty() => {}
            accepted = listener.accept(), if permits.available_permits() > connections.len() => match accepted {
                Ok((stream, _)) => connections.push(connection(stream, &context)),
                Err(error) => {
                    tracing::warn!(%error, "the API cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

async fn connection(stream: tokio::net::UnixStream, context: &Context<'_>) {
    let service = service_fn(|request| async {
        let response = match handle(request, context).await {
            Ok(answer) => answer.into_response(),
            Err(refusal) => refusal.into_response(),
        };
        Ok::<Response<Full<Bytes>>, Infallible>(response)
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "API connection");
    }
}

async fn handle(request: Request<Incoming>, context: &Context<'_>) -> Result<Answer, Refusal> {
    let (head, body) = request.into_parts();
    let query = Query::parse(head.uri.query().unwrap_or(""));
    let segments: Vec<String> = head
        .uri
        .path()
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| {
            percent_encoding::percent_decode_str(segment)
                .decode_utf8_lossy()
                .into_owned()
        })
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (&head.method, segments.as_slice()) {
        (&Method::GET, ["healthz", "ready"]) => Ok(Answer::Text("ready\n".to_owned())),
        (&Method::GET, ["metrics"]) => Ok(Answer::Text(metrics::text(context))),
        (&Method::GET, ["v1", "version"]) => Ok(Answer::Json(
            serde_json::json!({"version": env!("CARGO_PKG_VERSION")}),
        )),
        (&Method::GET, ["v1", "status"]) => Ok(Answer::json(&status::status(context).await)),
        (&Method::GET, ["v1", "objects"]) => objects::list(&context.state, &query).await,
        (&Method::POST, ["v1", "apply"]) => {
            objects::apply(context, &text(body).await?, query.seconds("wait")?).await
        }
        (&Method::POST, ["v1", "diff"]) => objects::diff(context, text(body).await?).await,
        (&Method::DELETE, ["v1", "objects", kind, namespace, name]) => {
            objects::delete(context, kind, namespace, name).await
        }
        (&Method::GET, ["v1", "ca"]) => Ok(ca::state(context)),
        (&Method::POST, ["v1", "ca", "rotate"]) => ca::rotate(context),
        (&Method::GET, ["v1", "tokens"]) => tokens::list(context),
        (&Method::POST, ["v1", "tokens"]) => tokens::create(context, &text(body).await?),
        (&Method::DELETE, ["v1", "tokens", id]) => tokens::delete(context, id),
        (&Method::GET, ["v1", "proxies", namespace, pod, "config"]) => {
            proxy::config(&context.state, namespace, pod)
        }
        _ => Err(Refusal::not_found(format!(
            "the control plane's API has no {} {}",
            head.method,
            head.uri.path()
        ))),
    }
}

async fn text(body: Incoming) -> Result<String, Refusal> {
    let bytes = Limited::new(body, MAX_BODY)
        .collect()
        .await
        .map_err(|error| Refusal::bad(format!("the request's body: {error}")))?
        .to_bytes();
    String::from_utf8(bytes.into()).map_err(|_| Refusal::bad("the request's body is not UTF-8"))
}

struct Query(HashMap<String, String>);

impl Query {
    fn parse(text: &str) -> Self {
        let decode = |text: &str| {
            percent_encoding::percent_decode_str(&text.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    fn seconds(&self, key: &str) -> Result<Option<Duration>, Refusal> {
        let Some(text) = self.get(key) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(seconds @ 0..=600) => Ok(Some(Duration::from_secs(seconds))),
            _ => Err(Refusal::bad(format!(
                "{key}={text}: give seconds from 0 to 600"
            ))),
        }
    }
}
