//! The service that speaks HTTP/2 without TLS, as a gRPC one would: it answers with
//! trailers.

use super::upstream::{Memory, Seen};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;

pub async fn serve(stream: TcpStream, memory: Arc<Memory>) -> io::Result<()> {
    let service = service_fn(move |request| answer(request, memory.clone()));
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

async fn answer(
    request: Request<Incoming>,
    memory: Arc<Memory>,
) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>, Infallible> {
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
