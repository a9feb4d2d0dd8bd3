//! HTTP/1 of clients.

use super::Watch;
use crate::http::codec::server::answer;
use crate::http::codec::timers::{Event, Timers};
use crate::http::codec::{Error, Incoming, Io};
use crate::http::downstream::Downstream;
use crate::http::{refused, upgrade};
use crate::net::Stream;
use crate::telemetry::Protocol;
use crate::worker::DrainSignal;
use bytes::Bytes;
use http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use std::pin::Pin;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;

pub(crate) async fn serve(
    stream: Stream,
    read: Bytes,
    downstream: Rc<Downstream>,
    drain: DrainSignal,
) {
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
    let service = service_fn(|request: Request<super::Incoming>| {
        let downstream = downstream.clone();
        let protocol = match request.version() {
            http::Version::HTTP_10 => Protocol::Http10,
            _ => Protocol::Http11,
        };
        Box::pin(answer(downstream, protocol, request.map(Incoming::Http1)))
    });
    let io = Io::with_prefix(stream, read).watched(watch.clone());
    let mut connection = builder.serve_connection(io, service);
    let mut timers = Timers::new(&downstream);
    let result = loop {
        let event = timers
            .next(&drain, Some(&watch), |cx| {
                Pin::new(&mut connection).poll(cx).map_err(Error::from)
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
        && error.is_malformed()
    {
        refused::codec_error(&downstream, &error, watch.refused());
    }
}
