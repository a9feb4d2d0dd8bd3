//! The HTTP server every sample shares: HTTP/1.1 and HTTP/2 without TLS on one port,
//! upgrades, a bound on connections, and a stop that finishes what was begun.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::reply::Reply;

/// Connections served at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1024;
/// How long a stop waits for requests in flight.
const DRAIN: Duration = Duration::from_secs(5);
/// A client has this long to send its next request's head. It ends idle connections too, so
/// it is longer than the hour for which proxies keep theirs: the side that opened a
/// connection shall close it, or a request may meet a connection that is just going away.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2 * 3600);

/// Turns true once, when the process shall stop.
pub(crate) type Stop = watch::Receiver<bool>;

/// A [`Stop`] that SIGTERM and SIGINT set.
///
/// # Errors
/// The signal handlers cannot be installed.
pub(crate) fn stop_on_signals() -> Result<Stop> {
    let mut term = signal(SignalKind::terminate()).context("SIGTERM handler")?;
    let mut int = signal(SignalKind::interrupt()).context("SIGINT handler")?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        stop.send_replace(true);
    });
    Ok(stopped)
}

/// Resolves when `stop` is set or its sender is gone.
pub(crate) async fn stopped(stop: &mut Stop) {
    let _gone_counts_as_set = stop.wait_for(|stop| *stop).await;
}

/// Listens on `address`, or on all IPv6 and IPv4 addresses with one dual-stack socket, or on
/// all IPv4 addresses where the kernel has no IPv6.
///
/// # Errors
/// The port is taken or may not be bound.
pub(crate) fn listen(address: Option<IpAddr>, port: u16) -> Result<TcpListener> {
    let bind = |ip: IpAddr| -> std::io::Result<TcpListener> {
        let at = SocketAddr::new(ip, port);
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
        if at.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&at.into())?;
        socket.listen(1024)?;
        TcpListener::from_std(socket.into())
    };
    match address {
        Some(ip) => bind(ip),
        None => bind(Ipv6Addr::UNSPECIFIED.into()).or_else(|_| bind(Ipv4Addr::UNSPECIFIED.into())),
    }
    .with_context(|| format!("cannot listen on port {port}"))
}

/// Serves `handler` on `listener` until `stop`, then ends keep-alive, finishes the requests
/// in flight and returns, after 5 seconds at the latest.
pub(crate) async fn serve<H, F>(listener: TcpListener, mut stop: Stop, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let slot = slots
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let stream = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(e) => {
                    // Out of descriptors or memory: accepting at once again would spin.
                    tracing::warn!("accept: {e}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let connection = connection(stream, stop.clone(), handler.clone());
        connections.spawn(async move {
            connection.await;
            drop(slot);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("stopping with requests in flight");
    }
}

async fn connection<H, F>(stream: TcpStream, mut stop: Stop, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    if let Err(e) = stream.set_nodelay(true) {
        tracing::debug!("TCP_NODELAY: {e}");
    }
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256);
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(logged(request, handler).await) }
    });
    let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!("connection: {e}");
    }
}

async fn logged<H, F>(request: Request<Incoming>, handler: H) -> Reply
where
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Reply>,
{
    let (method, path, begun) = (
        request.method().clone(),
        request.uri().clone(),
        Instant::now(),
    );
    let reply = handler(request).await;
    let (status, took) = (reply.status().as_u16(), begun.elapsed().as_micros());
    if path.path() == "/health" {
        tracing::debug!("{method} {path} {status} {took} us");
    } else {
        tracing::info!("{method} {path} {status} {took} us");
    }
    reply
}
