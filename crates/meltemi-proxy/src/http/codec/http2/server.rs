//! HTTP/2 of clients: exchanges run within the connection's task, so that their answers
//! leave with its turn.

use super::connection::{Accepted, Connection, Role, Shared};
use super::handles::{Incoming as Body, Pump, Reader, Writer};
use super::keepalive::Keepalive;
use super::message;
use super::reason::{Broken, Reason};
use super::settings::Own;
use super::transport::Transport;
use crate::http::codec::timers::{Event, HeadClock, Timers};
use crate::http::codec::{Error, Incoming, date};
use crate::http::downstream::Downstream;
use crate::http::exchange;
use crate::http::stats::HttpStats;
use crate::net::Stream;
use crate::telemetry::{Flags, Protocol};
use crate::worker::DrainSignal;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, Stream as _};
use http::header::DATE;
use http::{HeaderValue, StatusCode};
use http_body::Body as _;
use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

pub(crate) async fn serve(
    stream: Stream,
    read: Bytes,
    downstream: Rc<Downstream>,
    drain: DrainSignal,
) {
    downstream.stats.cx_http2_total.inc();
    let options = &downstream.manager.http2;
    let own = Own {
        max_streams: Some(options.max_concurrent_streams),
        stream_window: options.initial_stream_window,
        connection_window: options.initial_connection_window,
        max_header_list: downstream.manager.max_request_headers,
        extended_connect: options.allow_connect,
    };
    let connection = Rc::new(RefCell::new(Connection::new(Role::Server, own)));
    let keepalive = Keepalive::new(options.keepalive_interval, options.keepalive_timeout);
    let mut transport = Transport::new(stream, &read, keepalive);
    let mut exchanges = FuturesUnordered::new();
    let mut timers = Timers::new(&downstream);
    let clock = HeadClock::default();
    let mut goaway_owed = false;
    loop {
        let event = timers
            .next(&drain, &clock, |cx| {
                connection.borrow_mut().begin_turn();
                transport.read(cx, &connection);
                transport.ask(cx, &connection);
                loop {
                    downstream.abandoned_unseen(connection.borrow_mut().take_unseen_resets());
                    while let Some(accepted) = next_request(&connection) {
                        if downstream.worker.overload.closes_connection() {
                            downstream.info.ends_for(Flags::OVERLOAD_MANAGER);
                            connection.borrow_mut().leave_before(&accepted);
                            break;
                        }
                        exchanges.push(serve_request(&connection, accepted, &downstream));
                        goaway_owed |= downstream.is_ended_by_overload();
                    }
                    while let Poll::Ready(Some(())) = Pin::new(&mut exchanges).poll_next(cx) {}
                    if goaway_owed && downstream.served.get() > 0 {
                        goaway_owed = false;
                        connection.borrow_mut().shut_down();
                    }
                    if !transport.write(cx, &connection) {
                        break;
                    }
                }
                if downstream.is_abused() {
                    tracing::info!(
                        id = downstream.info.id,
                        "too many streams were reset by the client: connection closed"
                    );
                    downstream.stats.rq_too_many_resets.inc();
                    let broken = Broken::flood("too many streams were reset");
                    connection.borrow_mut().break_off(&broken);
                }
                let mut connection = connection.borrow_mut();
                if connection.is_over() {
                    return Poll::Ready(match connection.ended {
                        Some(failure) => Err(Error::from(failure)),
                        None => Ok(()),
                    });
                }
                clock.set(transport.is_within_head(&connection));
                connection.end_turn(cx);
                Poll::Pending
            })
            .await;
        match event {
            Event::Ended(result) => {
                if let Err(error) = result {
                    tracing::debug!(%error, id = downstream.info.id, "HTTP/2 connection ended");
                }
                break;
            }
            Event::Drain => {
                downstream.draining.set(true);
                goaway_owed = downstream.served.get() == 0;
                if !goaway_owed {
                    connection.borrow_mut().shut_down();
                }
            }
            Event::HeadBegan => {}
            Event::Timer => {
                // Until it is complete nothing else can come on the connection.
                if timers.head_is_late(&clock) {
                    let broken = Broken::flood("a header block that does not end in time");
                    connection.borrow_mut().break_off(&broken);
                }
                if timers.connection_is_over() {
                    connection.borrow_mut().shut_down();
                }
                if timers.farewell_is_over() {
                    connection.borrow_mut().accept_no_more();
                }
            }
        }
    }
    let (is_broken, has_begun) = {
        let connection = connection.borrow();
        (connection.is_broken, connection.preface.is_empty())
    };
    if is_broken {
        let flags = Flags::DOWNSTREAM_PROTOCOL_ERROR;
        downstream.info.ends_for(flags);
    } else if has_begun {
        downstream.info.speaks(Protocol::Http2);
    }
    drop(exchanges);
    transport.close(&connection).await;
}

fn next_request(connection: &Shared) -> Option<Accepted> {
    connection.borrow_mut().accepted.pop_front()
}

/// One request, from its head to the end of its answer. When the client resets the stream,
/// everything that is under way for it is dropped.
fn serve_request(
    connection: &Shared,
    accepted: Accepted,
    downstream: &Rc<Downstream>,
) -> impl Future<Output = ()> + use<> {
    let writer = Writer::new(connection, accepted.key);
    let body = Body::new(Reader::new(connection, accepted.key));
    let request = accepted.request.map(|()| Incoming::Http2(body));
    let downstream = downstream.clone();
    let stats = downstream.stats.clone();
    let exchange = async move {
        let mut answering = pin!(exchange::run(downstream, Protocol::Http2, request));
        let answered = poll_fn(|cx| match writer.has_failed(cx) {
            true => Poll::Ready(None),
            false => answering.as_mut().poll(cx).map(Some),
        });
        let Some(response) = answered.await else {
            return;
        };
        if poll_fn(|cx| writer.poll_ready(cx)).await.is_err() {
            return;
        }
        let (mut head, body) = response.into_parts();
        let end = body.is_end_stream();
        if !end {
            message::tell_length(&mut head.headers, body.size_hint().exact());
        }
        head.headers
            .entry(DATE)
            .or_insert_with(|| date::with(HeaderValue::clone));
        // HTTP/2 switches protocols with an ordinary answer (RFC 8441 5).
        let status = match head.status {
            StatusCode::SWITCHING_PROTOCOLS => StatusCode::OK,
            status => status,
        };
        writer.send_head(status, &head.headers, end);
        drop(head);
        if !end {
            let mut pump = Pump::new(writer, body, Reason::INTERNAL_ERROR);
            poll_fn(|cx| pump.poll(cx)).await;
        }
    };
    contained(exchange, stats)
}

/// A panic in an exchange ends its stream, and no other of the connection: what it held is
/// dropped, which resets the stream. The hook has logged where it was. Not an `async fn`, whose
/// future holds its arguments twice.
fn contained(exchange: impl Future<Output = ()>, stats: Rc<HttpStats>) -> impl Future<Output = ()> {
    let ended = AssertUnwindSafe(exchange).catch_unwind();
    ended.map(move |ended| {
        if ended.is_err() {
            stats.rq_panic.inc();
            tracing::error!("an exchange panicked: its stream is reset");
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::frame;
    use super::*;

    #[tokio::test]
    async fn a_panic_resets_its_stream_alone() {
        let own = Own {
            max_streams: Some(4),
            stream_window: 1000,
            connection_window: 100_000,
            max_header_list: 4096,
            extended_connect: false,
        };
        let mut connection = Connection::new(Role::Server, own);
        let mut input = frame::PREFACE.to_vec();
        input.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
        for stream in [1, 3] {
            let get = [0x82, 0x84, 0x86, 0x41, 0x01, b'a'];
            frame::headers(stream, true, 100, &mut input, |out| out.extend(get));
        }
        connection.receive(&input).unwrap();
        connection.output.bytes().clear();
        let connection = Rc::new(RefCell::new(connection));
        let (panics, other) = (next_request(&connection), next_request(&connection));
        let (panics, other) = (panics.unwrap().key, other.unwrap().key);
        let other = Writer::new(&connection, other);
        let writer = Writer::new(&connection, panics);
        let stats = HttpStats::of("panics");
        let exchange = async move {
            let _held = writer;
            panic!("as exchanges never should");
        };
        contained(exchange, stats.clone()).await;
        assert_eq!(stats.rq_panic.value(), 1);
        let mut expected = Vec::new();
        frame::rst_stream(1, Reason::INTERNAL_ERROR, &mut expected);
        assert_eq!(*connection.borrow_mut().output.bytes(), expected);
        assert!(poll_fn(|cx| other.poll_ready(cx)).await.is_ok());
    }
}
