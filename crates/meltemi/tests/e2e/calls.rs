//! A server and clients of it for use inside pods: HTTP/1.1, HTTP/2 and gRPC on one port, and
//! calls without a pause that are told apart by their protocol.

use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// How long the server works on a call.
const WORK: Duration = Duration::from_millis(5);
/// Between two calls of a client, which waits for each answer.
const PAUSE: Duration = Duration::from_millis(5);
/// Bound on one call.
const PATIENCE: Duration = Duration::from_secs(20);
/// Clients at a time.
const CLIENTS: usize = 4;
/// How often progress is told.
const TELL: Duration = Duration::from_millis(50);
/// Failures that are told word for word.
const MAX_TOLD: usize = 10;
/// A message of gRPC without content.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// Answers until SIGTERM ends it, at once and whatever it is doing.
pub fn answer(port: &str) -> Result<String, String> {
    let port: u16 = port.parse().map_err(|_| "no port")?;
    runtime()?.block_on(async {
        let listener = TcpListener::bind(("0.0.0.0", port)).await;
        let listener = listener.map_err(|error| error.to_string())?;
        loop {
            let (stream, _) = listener.accept().await.map_err(|error| error.to_string())?;
            tokio::spawn(async move {
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                // A client that goes away is not this server's failure.
                let _ = server
                    .serve_connection(TokioIo::new(stream), service_fn(answer_one))
                    .await;
            });
        }
    })
}

async fn answer_one(
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    tokio::time::sleep(WORK).await;
    let kind = request.headers().get(header::CONTENT_TYPE).cloned();
    if kind.as_ref().is_none_or(|kind| kind != "application/grpc") {
        return Ok(Response::new(Full::from("answered").boxed()));
    }
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    let message = Full::from(EMPTY_MESSAGE).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(message.boxed());
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// Calls `authority` until standard input ends; says now and then how many calls there were,
/// and at the end what failed.
pub fn call(protocol: &str, authority: &str) -> Result<String, String> {
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicUsize::new(0));
    let flag = stop.clone();
    std::thread::spawn(move || {
        // An error is an end, too.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        flag.store(true, Ordering::Relaxed);
    });
    let failures = runtime()?.block_on(async {
        let client = |_| {
            let (stop, count) = (stop.clone(), count.clone());
            tokio::spawn(client(
                protocol.to_owned(),
                authority.to_owned(),
                stop,
                count,
            ))
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(TELL).await;
            println!("{}", count.load(Ordering::Relaxed));
        }
        let mut failures = Vec::new();
        for client in clients {
            failures.extend(client.await.expect("a client does not panic"));
        }
        failures
    });
    match failures.len() {
        0 => Ok("no call failed".into()),
        many => {
            let told: Vec<String> = failures.into_iter().take(MAX_TOLD).collect();
            Err(format!("{many} calls failed:\n{}", told.join("\n")))
        }
    }
}

async fn client(
    protocol: String,
    authority: String,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
) -> Vec<String> {
    let mut failures = Vec::new();
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let call = once(&mut connection, &protocol, &authority);
        let result = tokio::time::timeout(PATIENCE, call).await;
        if let Err(reason) = result.unwrap_or_else(|_| Err("no answer".into())) {
            connection = None;
            failures.push(format!("call {}: {reason}", count.load(Ordering::Relaxed)));
        }
        count.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
    failures
}

enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

async fn once(
    kept: &mut Option<Connection>,
    protocol: &str,
    authority: &str,
) -> Result<(), String> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => connect(protocol, authority).await?,
    };
    let grpc = protocol == "grpc";
    let request = match (&connection, grpc) {
        (Connection::Http1(_), _) => Request::get("/").header(header::HOST, authority),
        (Connection::Http2(_), false) => Request::get(format!("http://{authority}/")),
        (Connection::Http2(_), true) => Request::post(format!("http://{authority}/a.B/C"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers"),
    };
    let body = if grpc { EMPTY_MESSAGE } else { b"" };
    let request = request
        .body(Full::from(body))
        .map_err(|error| error.to_string())?;
    let response = match &mut connection {
        Connection::Http1(sender) => sender.send_request(request).await,
        Connection::Http2(sender) => sender.send_request(request).await,
    }
    .map_err(|error| format!("send: {error:?}"))?;
    let (head, body) = response.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|error| format!("body: {error:?}"))?;
    let status = |headers: &HeaderMap| headers.get("grpc-status").cloned();
    let grpc_status = body
        .trailers()
        .and_then(status)
        .or_else(|| status(&head.headers));
    let content = body.to_bytes();
    if head.status != 200 || grpc && grpc_status.as_ref().is_none_or(|status| status != "0") {
        return Err(format!("{head:?} {grpc_status:?} {content:?}"));
    }
    *kept = Some(connection);
    Ok(())
}

async fn connect(protocol: &str, authority: &str) -> Result<Connection, String> {
    let stream = TcpStream::connect(authority)
        .await
        .map_err(|error| format!("connect: {error}"))?;
    let io = TokioIo::new(stream);
    let failed = |error: hyper::Error| format!("handshake: {error}");
    if protocol == "http1" {
        let (sender, connection) = http1::handshake(io).await.map_err(failed)?;
        tokio::spawn(connection);
        return Ok(Connection::Http1(sender));
    }
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io)
        .await
        .map_err(failed)?;
    tokio::spawn(connection);
    Ok(Connection::Http2(sender))
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
}
