//! Requests to a proxy's admin API over its Unix socket.

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;

/// Bound on one request.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Sends a request without a body; `Ok` for status 200.
pub(crate) async fn ask(socket: &Path, method: http::Method, path: &str) -> Result<(), String> {
    tokio::time::timeout(TIMEOUT, exchange(socket, method, path))
        .await
        .map_err(|_| format!("{path}: no answer"))?
}

async fn exchange(socket: &Path, method: http::Method, path: &str) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| format!("{path}: {error}");
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| text(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| text(&error))?;
    let connection = tokio::spawn(connection);
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(|error| text(&error))?;
    let answer = sender.send_request(request).await;
    connection.abort();
    match answer.map_err(|error| text(&error))?.status() {
        http::StatusCode::OK => Ok(()),
        status => Err(text(&status)),
    }
}
