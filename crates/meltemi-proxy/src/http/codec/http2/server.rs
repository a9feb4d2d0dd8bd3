//! HTTP/2 of clients.

use super::{LocalExecutor, cork::cork};
use crate::http::codec::server::answer;
use crate::http::codec::timers::{Event, Timers};
use crate::http::codec::{Error, Incoming, Io};
use crate::http::downstream::Downstream;
use crate::net::Stream;
use crate::telemetry::Protocol;
use crate::worker::DrainSignal;
use bytes::Bytes;
use http::Request;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

/// Streams reset by the peer before we looked at them (CVE-2023-44487); more end the
/// connection.
const MAX_PENDING_RESETS: usize = 50;
/// Streams that the peer's own errors made us reset.
const MAX_ERROR_RESETS: usize = 1024;
/// Bound on an HTTP/2 stream's send buffer.
const SEND_BUFFER: usize = 256 * 1024;

pub(crate) async fn serve(
    stream: Stream,
    read: Bytes,
    downstream: Rc<Downstream>,
    drain: DrainSignal,
) {
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
    let service = service_fn(|request: Request<super::Incoming>| {
        let downstream = downstream.clone();
        Box::pin(answer(
            downstream,
            Protocol::Http2,
            request.map(Incoming::Http2),
        ))
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
                result.map_err(Error::from)
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
