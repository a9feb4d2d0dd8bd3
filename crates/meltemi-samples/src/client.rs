//! The HTTP client of the bookinfo services: HTTP/1.1, a small pool of idle connections, a
//! time limit on the whole exchange, a bound on the answer.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

use crate::reply::{MAX_BODY, SERVED_BY};

/// Idle connections kept to one service.
const IDLE_PER_SERVICE: usize = 16;
const IDLE_TIME: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct Client(Pool<HttpConnector, Empty<Bytes>>);

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The body where it is JSON.
    pub(crate) json: Option<Value>,
    /// The pods behind the answer, see [`SERVED_BY`].
    pub(crate) served_by: Option<String>,
}

impl Client {
    pub(crate) fn new() -> Client {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_PER_SERVICE)
            .build(connector);
        Client(pool)
    }

    /// GETs `url` with `headers`, within `limit` from start to last byte.
    ///
    /// # Errors
    /// No connection, no answer in time, or a body beyond 1 MiB.
    pub(crate) async fn get(
        &self,
        url: &str,
        headers: &HeaderMap,
        limit: Duration,
    ) -> Result<Answer> {
        let mut request = Request::get(url).body(Empty::new()).context("request")?;
        request
            .headers_mut()
            .extend(headers.iter().map(|(k, v)| (k.clone(), v.clone())));
        let exchange = async {
            let (head, body) = self.0.request(request).await?.into_parts();
            let body = Limited::new(body, MAX_BODY)
                .collect()
                .await
                .map_err(|e| anyhow!(e))?;
            let served_by = head.headers.get(SERVED_BY).and_then(|v| v.to_str().ok());
            anyhow::Ok(Answer {
                status: head.status,
                json: serde_json::from_slice(&body.to_bytes()).ok(),
                served_by: served_by.map(str::to_string),
            })
        };
        let timeout = tokio::time::timeout(limit, exchange);
        timeout
            .await
            .with_context(|| format!("GET {url}: no answer in {limit:?}"))?
            .with_context(|| format!("GET {url}"))
    }
}
