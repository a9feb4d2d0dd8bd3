//! A client for the APIs of a running mesh: HTTP/1.1 over Unix sockets.

use anyhow::{Context, anyhow, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;

/// Bound on waiting for one answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bound on an answer's size, in bytes.
const MAX_ANSWER: usize = 256 << 20;

pub struct Client {
    socket: PathBuf,
}

/// An answer of the API other than success.
#[derive(Debug, Deserialize)]
struct Refusal {
    error: String,
    remedy: Option<String>,
}

impl Client {
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.json(Method::GET, path, String::new()).await
    }

    /// Sends `body` and decodes a JSON answer.
    pub async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> anyhow::Result<T> {
        let bytes = self.send(method, path, body).await?;
        serde_json::from_slice(&bytes)
            .with_context(|| format!("{path} of {} gave no valid answer", self.socket.display()))
    }

    async fn send(&self, method: Method, path: &str, body: String) -> anyhow::Result<Bytes> {
        tokio::time::timeout(TIMEOUT, self.exchange(method, path, body))
            .await
            .map_err(|_| anyhow!("no answer from {} within 30 s", self.socket.display()))?
    }

    async fn exchange(&self, method: Method, path: &str, body: String) -> anyhow::Result<Bytes> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .with_context(|| format!("cannot connect to {}", self.socket.display()))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "meltemi")
            .body(Full::new(Bytes::from(body)))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = http_body_util::Limited::new(response.into_body(), MAX_ANSWER);
        let bytes = body
            .collect()
            .await
            .map_err(|error| anyhow!("the answer broke off: {error}"))?
            .to_bytes();
        connection.abort();
        if status.is_success() {
            return Ok(bytes);
        }
        refuse(status, &bytes)
    }
}

fn refuse(status: StatusCode, body: &[u8]) -> anyhow::Result<Bytes> {
    match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal {
            error,
            remedy: Some(remedy),
        }) => bail!("{error}\n  remedy: {remedy}"),
        Ok(Refusal { error, .. }) => bail!("{error}"),
        Err(_) => bail!("{status}: {}", String::from_utf8_lossy(body).trim()),
    }
}
