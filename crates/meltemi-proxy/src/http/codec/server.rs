//! Downstream connections, on hyper: one task a connection, which also runs the exchanges
//! of HTTP/1; HTTP/2 streams are local tasks.
//!
//! Draining (RFC 9110 9.6, RFC 9113 6.8): HTTP/1 answers carry `Connection: close` from
//! then on and an idle connection closes when the drain time is over, so that a request
//! which is on its way is still served; HTTP/2 says GOAWAY at once, but to a client that has
//! asked nothing yet only with its first answer, so that it gets one.

use super::cork::cork;
use super::framing::Watch;
use super::{Incoming, Io, LocalExecutor};
use crate::http::body::ResponseBody;
use crate::http::downstream::Downstream;
use crate::http::{exchange, refused, upgrade};
use crate::model::CodecType;
use crate::net::Stream;
use crate::telemetry::Protocol;
use crate::worker::DrainSignal;
use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The client connection preface of HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Streams reset by the peer before we looked at them (CVE-2023-44487); more end the
/// connection.
const MAX_PENDING_RESETS: usize = 50;
/// Streams that the peer's own errors made us reset.
const MAX_ERROR_RESETS: usize = 1024;
/// Bound on an HTTP/2 stream's send buffer.
const SEND_BUFFER: usize = 256 * 1024;
/// A head must be complete within this time when `request_headers_timeout` is not set.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Looks at the timers are no closer together than this.
const MIN_PAUSE: Duration = Duration::from_millis(5);

/// What the connection's task must do next.
enum Event {
    Ended(hyper::Result<()>),
    Drain,
    Timer,
    HeadBegan,
}

/// Serves a connection until it ends.
pub(crate) async fn serve(stream: Stream, downstream: Rc<Downstream>, drain: DrainSignal) {
    let alpn = stream.alpn().map(|name| name == b"h2");
    match (downstream.manager.codec, alpn) {
        (CodecType::Http1, _) => http1(stream, Bytes::new(), downstream, drain).await,
        (CodecType::Http2, _) | (CodecType::Auto, Some(true)) => {
            http2(stream, Bytes::new(), downstream, drain).await;
        }
        (CodecType::Auto, _) => {
            let Some((stream, read, is_http2)) = detect(stream, &downstream, &drain).await else {
                return;
            };
            if is_http2 {
                http2(stream, read, downstream, drain).await;
            } else {
                http1(stream, read, downstream, drain).await;
            }
        }
    }
}

/// Reads until the preface is there or cannot be any more.
async fn detect(
    mut stream: Stream,
    downstream: &Downstream,
    drain: &DrainSignal,
) -> Option<(Stream, Bytes, bool)> {
    let mut read = BytesMut::with_capacity(PREFACE.len());
    let wait = downstream
        .manager
        .timeouts
        .connection_idle
        .unwrap_or(Duration::from_secs(3600));
    let detected = async {
        loop {
            let length = (&mut stream)
                .take((PREFACE.len() - read.len()) as u64)
                .read_buf(&mut read)
                .await
                .ok()?;
            if read.as_ref() == PREFACE {
                return Some(true);
            }
            if !PREFACE.starts_with(&read) {
                return Some(false);
            }
            if length == 0 {
                return if read.is_empty() { None } else { Some(false) };
            }
        }
    };
    let is_http2 = tokio::select! {
        detected = tokio::time::timeout(wait, detected) => detected.ok().flatten()?,
        () = drain.expired() => return None,
    };
    Some((stream, read.freeze(), is_http2))
}

async fn http1(stream: Stream, read: Bytes, downstream: Rc<Downstream>, drain: DrainSignal) {
    let manager = downstream.manager.clone();
    downstream.stats.cx_http1_total.inc();
    let watch = Rc::new(Watch::default());
    let mut builder = http1::Builder::new();
    builder
        .keep_alive(true)
        .max_headers(manager.max_request_header_count as usize)
        .max_header_size(manager.max_request_headers as usize)
        .max_buf_size((manager.max_request_headers as usize).max(8192) + 64 * 1024)
        .title_case_headers(manager.http1.proper_case)
        .preserve_header_case(manager.http1.preserve_case);
    let service = service_fn(|request: Request<Incoming>| {
        let downstream = downstream.clone();
        let protocol = match request.version() {
            http::Version::HTTP_10 => Protocol::Http10,
            _ => Protocol::Http11,
        };
        Box::pin(answer(downstream, protocol, request))
    });
    let io = Io::with_prefix(stream, read).watched(watch.clone());
    let mut connection = builder.serve_connection(io, service);
    let mut timers = Timers::new(&downstream);
    let result = loop {
        let event = timers
            .next(&drain, Some(&watch), |cx| {
                Pin::new(&mut connection).poll(cx)
            })
            .await;
        match event {
            Event::Ended(result) => break result,
            Event::Drain => downstream.draining.set(true),
            Event::HeadBegan => {}
            Event::Timer => {
                if timers.head_is_late(&watch) {
                    let (mut stream, _) = connection.into_parts().io.into_parts();
                    let answer = refused::head_timeout(&downstream);
                    // The connection ends either way.
                    let _ = stream.write_all(&answer).await;
                    let _ = stream.shutdown().await;
                    return;
                }
                if timers.connection_is_over() {
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        }
    };
    if let Some(upgraded) = downstream.upgrade.take() {
        let parts = connection.into_parts();
        let (stream, _) = parts.io.into_parts();
        upgrade::relay(stream, parts.read_buf, upgraded, &downstream, &drain).await;
        return;
    }
    if let Err(error) = result
        && (error.is_parse() || error.is_parse_too_large())
    {
        refused::codec_error(&downstream, &error, watch.refused());
    }
}

async fn http2(stream: Stream, read: Bytes, downstream: Rc<Downstream>, drain: DrainSignal) {
    let manager = downstream.manager.clone();
    downstream.stats.cx_http2_total.inc();
    let options = &manager.http2;
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_concurrent_streams)
        .initial_stream_window_size(options.initial_stream_window)
        .initial_connection_window_size(options.initial_connection_window)
        .max_header_list_size(manager.max_request_headers)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .max_send_buf_size(SEND_BUFFER);
    if let Some(interval) = options.keepalive_interval {
        builder.keep_alive_interval(interval);
        if let Some(timeout) = options.keepalive_timeout {
            builder.keep_alive_timeout(timeout);
        }
    }
    let service = service_fn(|request: Request<Incoming>| {
        let downstream = downstream.clone();
        Box::pin(answer(downstream, Protocol::Http2, request))
    });
    let (io, cork) = cork(Io::with_prefix(stream, read));
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut timers = Timers::new(&downstream);
    let mut goaway_owed = false;
    loop {
        let event = timers
            .next(&drain, None, |cx| {
                if downstream.is_abused() {
                    tracing::info!(
                        id = downstream.info.id,
                        "too many streams were reset by the client: connection closed"
                    );
                    downstream.stats.rq_too_many_resets.inc();
                    return Poll::Ready(Ok(()));
                }
                let mut result = connection.as_mut().poll(cx);
                if goaway_owed && downstream.served.get() > 0 && result.is_pending() {
                    goaway_owed = false;
                    connection.as_mut().graceful_shutdown();
                    result = connection.as_mut().poll(cx);
                }
                cork.release(cx);
                result
            })
            .await;
        match event {
            Event::Ended(result) => {
                if let Err(error) = result {
                    tracing::debug!(%error, id = downstream.info.id, "HTTP/2 connection ended");
                }
                return;
            }
            Event::Drain => {
                downstream.draining.set(true);
                goaway_owed = downstream.served.get() == 0;
                if !goaway_owed {
                    connection.as_mut().graceful_shutdown();
                }
            }
            Event::HeadBegan => {}
            Event::Timer => {
                if timers.connection_is_over() {
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Its future holds all of an exchange and is large: it is boxed, because hyper and the
/// runtime move a request's future several times.
async fn answer(
    downstream: Rc<Downstream>,
    protocol: Protocol,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    Ok(exchange::run(downstream, protocol, request).await)
}

/// The timers of one connection, behind a single entry in the runtime's wheel.
struct Timers {
    downstream: Rc<Downstream>,
    sleep: Pin<Box<tokio::time::Sleep>>,
    drain_ends: Option<Instant>,
    draining: bool,
    closing: bool,
    head_armed: bool,
}

impl Timers {
    fn new(downstream: &Rc<Downstream>) -> Self {
        let mut timers = Self {
            downstream: downstream.clone(),
            sleep: Box::pin(tokio::time::sleep(Duration::from_secs(3600))),
            drain_ends: None,
            draining: false,
            closing: false,
            head_armed: false,
        };
        timers.arm(None);
        timers
    }

    /// Runs the connection until something happens.
    async fn next(
        &mut self,
        drain: &DrainSignal,
        watch: Option<&Watch>,
        mut connection: impl FnMut(&mut Context<'_>) -> Poll<hyper::Result<()>>,
    ) -> Event {
        if self.head_armed || watch.is_none_or(|watch| watch.head_since().is_none()) {
            self.head_armed = watch.is_some_and(|watch| watch.head_since().is_some());
        } else {
            self.head_armed = true;
            self.arm(watch);
        }
        let mut drained = pin!(drain.drained());
        let draining = self.draining;
        let armed = self.head_armed;
        let sleep = &mut self.sleep;
        let event = std::future::poll_fn(|cx| {
            if let Poll::Ready(result) = connection(cx) {
                return Poll::Ready(Event::Ended(result));
            }
            if !draining && drained.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Drain);
            }
            if !armed && watch.is_some_and(|watch| watch.head_since().is_some()) {
                return Poll::Ready(Event::HeadBegan);
            }
            if sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Timer);
            }
            Poll::Pending
        })
        .await;
        match event {
            Event::Drain => {
                self.draining = true;
                self.drain_ends = Some(Instant::now() + self.downstream.manager.timeouts.drain);
                self.arm(watch);
            }
            Event::Timer => self.arm(watch),
            _ => {}
        }
        event
    }

    /// Sets the timer for the earliest thing that may be due.
    fn arm(&mut self, watch: Option<&Watch>) {
        let now = Instant::now();
        let timeouts = &self.downstream.manager.timeouts;
        let mut next = now + Duration::from_secs(3600);
        if let Some(idle) = timeouts.connection_idle.filter(|_| !self.closing) {
            let since = match self.downstream.active.get() {
                0 => self.downstream.idle_since.get(),
                _ => now,
            };
            next = next.min(since + idle);
        }
        if let Some(limit) = timeouts.max_connection_duration.filter(|_| !self.closing) {
            next = next.min(self.downstream.opened + limit);
        }
        if let Some(ends) = self.drain_ends {
            next = next.min(ends);
        }
        if let Some(since) = watch.and_then(Watch::head_since) {
            next = next.min(since + timeouts.request_headers.unwrap_or(HEAD_TIMEOUT));
        }
        self.sleep.as_mut().reset(next.max(now + MIN_PAUSE).into());
    }

    fn head_is_late(&self, watch: &Watch) -> bool {
        let limit = self
            .downstream
            .manager
            .timeouts
            .request_headers
            .unwrap_or(HEAD_TIMEOUT);
        self.downstream.active.get() == 0
            && watch
                .head_since()
                .is_some_and(|since| since.elapsed() >= limit)
    }

    /// Whether the connection should finish what runs and close. True once.
    fn connection_is_over(&mut self) -> bool {
        let timeouts = &self.downstream.manager.timeouts;
        let idle = self.downstream.active.get() == 0
            && timeouts
                .connection_idle
                .is_some_and(|limit| self.downstream.idle_since.get().elapsed() >= limit);
        let old = timeouts
            .max_connection_duration
            .is_some_and(|limit| self.downstream.opened.elapsed() >= limit);
        let drained = self.drain_ends.is_some_and(|ends| Instant::now() >= ends);
        if drained {
            self.drain_ends = None;
        }
        if old {
            self.downstream.draining.set(true);
        }
        let closes = (idle || old || drained) && !std::mem::replace(&mut self.closing, true);
        if closes && old {
            self.downstream.stats.cx_max_duration_reached.inc();
        } else if closes && idle {
            self.downstream.stats.cx_idle_timeout.inc();
        }
        closes
    }
}
