//! Downstream connections: one task a connection, which also runs its exchanges.
//!
//! Draining (RFC 9110 9.6, RFC 9113 6.8): HTTP/1 answers carry `Connection: close` from
//! then on and an idle connection closes when the drain time is over, so that a request
//! which is on its way is still served; HTTP/2 says GOAWAY at once, but to a client that has
//! asked nothing yet only with its first answer, so that it gets one.

use super::{http1, http2};
use crate::http::downstream::Downstream;
use crate::model::CodecType;
use crate::net::Stream;
use crate::overload::Timer;
use crate::telemetry::Flags;
use crate::worker::DrainSignal;
use bytes::{Bytes, BytesMut};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long a client may take to read its last answer and close (Envoy's
/// `delayed_close_timeout`).
pub(super) const CLOSING: Duration = Duration::from_secs(1);
/// The client connection preface of HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a connection until it ends.
pub(crate) async fn serve(stream: Stream, downstream: Rc<Downstream>, drain: DrainSignal) {
    if downstream.worker.overload.refuses_http() {
        downstream.stats.rq_overload_close.inc();
        downstream.info.ends_for(Flags::OVERLOAD_MANAGER);
        return turn_away(stream).await;
    }
    let alpn = stream.alpn().map(|name| name == b"h2");
    match (downstream.manager.codec, alpn) {
        (CodecType::Http1, _) => http1::serve(stream, Bytes::new(), downstream, drain).await,
        (CodecType::Http2, _) | (CodecType::Auto, Some(true)) => {
            http2::serve(stream, Bytes::new(), downstream, drain).await;
        }
        (CodecType::Auto, _) => {
            let Some((stream, read, is_http2)) = detect(stream, &downstream, &drain).await else {
                return;
            };
            if is_http2 {
                http2::serve(stream, read, downstream, drain).await;
            } else {
                http1::serve(stream, read, downstream, drain).await;
            }
        }
    }
}

/// Closes a connection over bytes that nobody read, without a reset where the client closes too.
async fn turn_away(mut stream: Stream) {
    let closing = async {
        if stream.shutdown().await.is_ok() {
            // What comes is of no interest, nor how it ends.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    };
    let _ = tokio::time::timeout(CLOSING, closing).await;
}

/// Reads until the preface is there or cannot be any more.
async fn detect(
    mut stream: Stream,
    downstream: &Downstream,
    drain: &DrainSignal,
) -> Option<(Stream, Bytes, bool)> {
    let mut read = BytesMut::with_capacity(PREFACE.len());
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
        detected = detected => detected?,
        () = idle(downstream) => return None,
        () = drain.expired() => return None,
    };
    Some((stream, read.freeze(), is_http2))
}

/// The end of the time that a connection may be silent.
async fn idle(downstream: &Downstream) {
    let overload = &downstream.worker.overload;
    let limit = downstream.manager.timeouts.connection_idle;
    let limit = limit.unwrap_or(Duration::from_secs(3600));
    loop {
        let due = downstream.opened + overload.reduced(Timer::ConnectionIdle, limit);
        if Instant::now() >= due {
            return;
        }
        tokio::time::sleep_until(overload.look_at(due).into()).await;
    }
}
