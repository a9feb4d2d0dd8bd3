//! The supervisor's HTTP API on `supervisor.sock`: what runs, and the end of it.

use super::controller::Command;
use super::member::PodRow;
use crate::running::MeshInfo;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::json;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Connections at once.
const CONNECTIONS: usize = 64;

pub(super) struct Api {
    pub info: watch::Receiver<MeshInfo>,
    pub commands: mpsc::Sender<Command>,
    /// Cancelled by `POST /v1/down`.
    pub stop: CancellationToken,
}

/// Serves until the listener fails.
pub(super) async fn serve(listener: UnixListener, api: Arc<Api>) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return Ok(());
        };
        let (stream, _) = listener.accept().await?;
        let api = api.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let service = service_fn(|request| answer(api.clone(), request));
            if let Err(error) = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
            {
                tracing::debug!(%error, "supervisor.sock");
            }
        });
    }
}

async fn answer(
    api: Arc<Api>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/v1/mesh") => reply(StatusCode::OK, &*api.info.borrow()),
        (&Method::GET, "/v1/pods") => match pods(&api).await {
            Some(rows) => reply(StatusCode::OK, &rows),
            None => refuse(StatusCode::SERVICE_UNAVAILABLE, "the mesh is stopping"),
        },
        (&Method::POST, "/v1/down") => {
            api.stop.cancel();
            reply(StatusCode::ACCEPTED, &json!({"stopping": true}))
        }
        (_, path @ ("/v1/mesh" | "/v1/pods" | "/v1/down")) => refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            &format!("{path} does not take {}", request.method()),
        ),
        (_, path) => refuse(
            StatusCode::NOT_FOUND,
            &format!("no {path}; there are /v1/mesh, /v1/pods, /v1/down"),
        ),
    })
}

async fn pods(api: &Api) -> Option<Vec<PodRow>> {
    let (reply, rows) = oneshot::channel();
    api.commands.send(Command::Pods(reply)).await.ok()?;
    rows.await.ok()
}

fn refuse(status: StatusCode, error: &str) -> Response<Full<Bytes>> {
    reply(status, &json!({"error": error}))
}

fn reply(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let (status, bytes) = match serde_json::to_vec(body) {
        Ok(bytes) => (status, bytes),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            json!({"error": error.to_string()}).to_string().into_bytes(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(bytes)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}
