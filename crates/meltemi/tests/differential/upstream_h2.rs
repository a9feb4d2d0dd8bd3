//! The service that speaks HTTP/2 without TLS, as a gRPC one would: it answers with
//! trailers.

use super::upstream::{Memory, Seen};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::ext::Protocol;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub async fn serve(stream: TcpStream, memory: Arc<Memory>) -> io::Result<()> {
    let service = service_fn(move |request| answer(request, memory.clone()));
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

async fn answer(
    mut request: Request<Incoming>,
    memory: Arc<Memory>,
) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>, Infallible> {
    let tunnel = (request.method() == Method::CONNECT).then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut headers: Vec<(String, String)> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect();
    if let Some(authority) = parts.uri.authority() {
        headers.push(("host".into(), authority.to_string()));
    }
    if let Some(protocol) = parts.extensions.get::<Protocol>() {
        headers.push((":protocol".into(), protocol.as_str().to_owned()));
    }
    let once = parts
        .headers
        .get("x-do")
        .is_some_and(|orders| orders == "once");
    if once || tunnel.is_some() {
        memory.add(Seen {
            upstream: "h2",
            method: parts.method.to_string(),
            target: parts.uri.path().to_owned(),
            headers,
            body: Vec::new(),
        });
        let answer = match tunnel {
            None => FirstFrame(Some(body)).boxed(),
            Some(tunnel) => {
                tokio::spawn(echo(tunnel, once));
                http_body_util::Empty::new().boxed()
            }
        };
        let response = Response::builder().header("x-accept", "yes");
        return Ok(response.body(answer).expect("static headers are valid"));
    }
    let body = body.collect().await.map(|body| body.to_bytes().to_vec());
    memory.add(Seen {
        upstream: "h2",
        method: parts.method.to_string(),
        target: parts
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned(),
        headers,
        body: body.unwrap_or_else(|error| format!("broken off: {error}").into_bytes()),
    });
    let mut trailers = HeaderMap::new();
    let grpc_status = match parts.headers.get("x-grpc-status") {
        Some(status) => status.clone(),
        None => HeaderValue::from_static("0"),
    };
    trailers.insert("grpc-status", grpc_status);
    // `x-serving` is the status of a health check's answer, in its one field.
    let message = match parts.headers.get("x-serving").map(HeaderValue::as_bytes) {
        Some([digit]) => [0, 0, 0, 0, 2, 8, digit - b'0'],
        _ => *b"\0\0\0\0\x02hi",
    };
    let body = Full::new(Bytes::copy_from_slice(&message))
        .with_trailers(std::future::ready(Some(Ok(trailers))));
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .header("x-upstream", "h2")
        .body(body.boxed());
    Ok(response.expect("static headers are valid"))
}

/// The beginning of a request's body, sent back.
struct FirstFrame(Option<Incoming>);

impl Body for FirstFrame {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        self.0 = None;
        Poll::Ready(frame.and_then(Result::ok).map(Ok))
    }
}

/// Sends back what comes through a tunnel.
async fn echo(tunnel: OnUpgrade, once: bool) -> io::Result<()> {
    let mut tunnel = TokioIo::new(tunnel.await.map_err(io::Error::other)?);
    if once {
        let mut buffer = [0; 1024];
        let count = tunnel.read(&mut buffer).await?;
        tunnel.write_all(&buffer[..count]).await?;
        return tunnel.shutdown().await;
    }
    let (mut read, mut write) = tokio::io::split(tunnel);
    tokio::io::copy(&mut read, &mut write).await.map(drop)
}
