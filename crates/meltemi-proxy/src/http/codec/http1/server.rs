//! HTTP/1 of clients: one request after the other, however many come at once.

use super::encode::{self, Asked};
use super::head::{Head, Limits, Partial, RequestLine};
use super::sending::Sending;
use super::{Connection, Fault, Incoming as IncomingBody};
use crate::http::body::ResponseBody;
use crate::http::codec::server::CLOSING;
use crate::http::codec::timers::{Event, HeadClock, Timers};
use crate::http::codec::{Incoming, SwitchTo};
use crate::http::downstream::Downstream;
use crate::http::head::has_token;
use crate::http::{exchange, refused};
use crate::net::Stream;
use crate::telemetry::{Flags, Protocol};
use crate::worker::DrainSignal;
use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

struct Server {
    connection: Rc<RefCell<Connection>>,
    downstream: Rc<Downstream>,
    limits: Limits,
    clock: HeadClock,
    /// The connection ends with the exchange that runs.
    closing: Cell<bool>,
}

pub(crate) async fn serve(
    stream: Stream,
    read: Bytes,
    downstream: Rc<Downstream>,
    drain: DrainSignal,
) {
    downstream.stats.cx_http1_total.inc();
    let server = Server {
        connection: Rc::new(RefCell::new(Connection::new(stream, read))),
        limits: Limits {
            bytes: downstream.manager.max_request_headers as usize,
            lines: downstream.manager.max_request_header_count as usize,
        },
        clock: HeadClock::default(),
        closing: Cell::new(false),
        downstream,
    };
    let ended = server.run_timed(&drain).await;
    let Server {
        connection,
        downstream,
        ..
    } = server;
    let refusal = match ended {
        Ok(Ended::HeadLate) => Some(refused::head_timeout(&downstream)),
        Ok(Ended::Aborted) => {
            downstream.info.ends_for(Flags::OVERLOAD_MANAGER);
            Some(refused::aborted(&downstream))
        }
        Ok(Ended::Done) => None,
        Err(fault) => {
            // Who went away, or must see that its answer is incomplete, gets no orderly end.
            let Some(status) = fault.status_line() else {
                return;
            };
            downstream.info.ends_for(Flags::DOWNSTREAM_PROTOCOL_ERROR);
            let framing = fault.framing();
            refused::codec_error(&downstream, &fault.into(), framing);
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            Some(head.into())
        }
    };
    close(&connection, refusal).await;
}

/// Says the last word and closes. A client whose bytes were not all read gets time to read
/// it: a socket that closes over unread bytes resets the connection, and with it what is on
/// its way.
async fn close(connection: &RefCell<Connection>, last: Option<Vec<u8>>) {
    let lingers = {
        let mut connection = connection.borrow_mut();
        if let Some(last) = &last
            && connection.output.has_room()
        {
            connection.output.buffer().extend_from_slice(last);
        }
        last.is_some() || !connection.body_has_ended()
    };
    let closing = async {
        let shut = poll_fn(|cx| connection.borrow_mut().poll_shutdown(cx)).await;
        if lingers && shut.is_ok() {
            poll_fn(|cx| connection.borrow_mut().poll_ignore(cx)).await;
        }
    };
    // The connection ends either way.
    let _ = tokio::time::timeout(CLOSING, closing).await;
}

/// Why no further request is served.
enum Ended {
    Done,
    HeadLate,
    /// The overload manager says so.
    Aborted,
}

impl Server {
    async fn run_timed(&self, drain: &DrainSignal) -> Result<Ended, Fault> {
        let mut timers = Timers::new(&self.downstream);
        let mut running = pin!(self.run());
        loop {
            let event = timers.next(drain, &self.clock, |cx| running.as_mut().poll(cx));
            match event.await {
                Event::Ended(result) => return result,
                Event::Drain => self.downstream.draining.set(true),
                Event::HeadBegan => {}
                Event::Timer => {
                    let waits = self.downstream.active.get() == 0;
                    if waits && timers.head_is_late(&self.clock) {
                        return Ok(Ended::HeadLate);
                    }
                    if timers.connection_is_over() {
                        self.closing.set(true);
                    }
                }
            }
        }
    }

    /// Receives, has answered and sends, until the connection shall not go on.
    async fn run(&self) -> Result<Ended, Fault> {
        let keeps_spelling = self.downstream.manager.http1.preserve_case;
        let mut partial = Partial::new(keeps_spelling);
        loop {
            poll_fn(|cx| self.poll_head(&mut partial, cx)).await?;
            let Some(head) = partial.take() else {
                return Ok(Ended::Done);
            };
            let overload = &self.downstream.worker.overload;
            if overload.closes_connection() {
                return Ok(Ended::Done);
            }
            if overload.aborts_http1() {
                return Ok(Ended::Aborted);
            }
            let (request, asked) = self.begin(head)?;
            let response = self.exchange(request).await?;
            if !self.answer(response, asked).await? {
                return Ok(Ended::Done);
            }
        }
    }

    fn poll_head(
        &self,
        partial: &mut Partial<RequestLine>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        let mut connection = self.connection.borrow_mut();
        if self.closing.get() && !partial.has_begun() && connection.input.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let polled = connection.poll_head(partial, self.limits, cx);
        let incomplete = partial.has_begun() || !connection.input.is_empty();
        self.clock.set(polled.is_pending() && incomplete);
        polled
    }

    fn begin(&self, head: Head<RequestLine>) -> Result<(Request<Incoming>, Asked), Fault> {
        let RequestLine {
            method,
            target,
            version,
        } = head.start;
        let asked = Asked {
            head: method == Method::HEAD,
            connect: method == Method::CONNECT,
            http10: version == Version::HTTP_10,
            keeps: head.framing.keeps(version),
        };
        let body = head.framing.of_request(version)?;
        if body.is_chunked() {
            // What came with the head is looked at before any of it is forwarded.
            body.check(&self.connection.borrow().input)?;
        }
        let owes_continue = head.framing.expects_continue(version);
        let ended = body.has_ended();
        let mut body = Connection::begin_body(&self.connection, body, owes_continue);
        let switches_to = match head.framing.switches(version) && !asked.connect {
            true => upgrade_token(&head.headers),
            false => None,
        };
        if ended && (asked.connect || switches_to.is_some()) {
            body = IncomingBody::switching(self.connection.clone());
        }
        let mut request = Request::new(Incoming::Http1(body));
        *request.method_mut() = method;
        *request.uri_mut() = target;
        *request.version_mut() = version;
        *request.headers_mut() = head.headers;
        if let Some(spelling) = head.spelling {
            request.extensions_mut().insert(spelling);
        }
        if let Some(token) = switches_to {
            request.extensions_mut().insert(SwitchTo(token));
        }
        Ok((request, asked))
    }

    /// Has the request answered, as long as the client is there. The exchange's future is
    /// large and in a box: it is gone while the connection is idle.
    async fn exchange(&self, request: Request<Incoming>) -> Result<Response<ResponseBody>, Fault> {
        let protocol = match request.version() {
            Version::HTTP_10 => Protocol::Http10,
            _ => Protocol::Http11,
        };
        let mut exchange = Box::pin(exchange::run(self.downstream.clone(), protocol, request));
        poll_fn(|cx| {
            if let Poll::Ready(response) = exchange.as_mut().poll(cx) {
                return Poll::Ready(Ok(response));
            }
            self.poll_gone(cx).map(Err)
        })
        .await
    }

    /// Notices that the client went away; sends what is left of a 100 (Continue).
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<Fault> {
        let mut connection = self.connection.borrow_mut();
        match connection.poll_rest(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(error.into()),
            _ => connection.poll_gone(cx),
        }
    }

    /// Sends the answer; whether the connection goes on.
    async fn answer(&self, response: Response<ResponseBody>, asked: Asked) -> Result<bool, Fault> {
        let (parts, body) = response.into_parts();
        let switches = asked.connect && parts.status.is_success()
            || parts.status == StatusCode::SWITCHING_PROTOCOLS;
        let mut keeps = asked.keeps
            && !switches
            && !self.closing.get()
            && !has_token(&parts.headers, CONNECTION, b"close");
        // The request's body may still be on its way up. If nobody wants it, its rest decides
        // whether the connection can go on.
        if keeps && Rc::strong_count(&self.connection) == 1 {
            keeps = poll_fn(|cx| Poll::Ready(self.connection.borrow_mut().discard_body(cx))).await;
        }
        poll_fn(|cx| self.connection.borrow_mut().poll_room(cx)).await?;
        let encoder = {
            let output = &mut self.connection.borrow_mut().output;
            let proper = self.downstream.manager.http1.proper_case;
            encode::response(&parts, &body, asked, keeps, proper, output.buffer())
        };
        drop(parts);
        let until_close = encoder.is_until_close();
        let mut sending = Sending::new(body, encoder);
        let sent = poll_fn(|cx| match sending.poll(&self.connection, cx) {
            // What happens to it at the end of this turn is met with the next request.
            Poll::Pending if sending.is_due(&self.connection.borrow()) => Poll::Ready(Ok(())),
            // A client that has sent all through a tunnel may still read.
            Poll::Pending if switches => Poll::Pending,
            Poll::Pending => self.poll_gone(cx).map(Err),
            sent => sent,
        })
        .await;
        if sent.is_err() && until_close {
            self.connection.borrow().reset_on_close();
        }
        sent?;
        drop(sending);
        Ok(keeps && !until_close && {
            poll_fn(|cx| Poll::Ready(self.connection.borrow_mut().discard_body(cx))).await
        })
    }
}

/// What the client wants to switch to, in lower case. HTTP/2 is not switched to from HTTP/1.1:
/// such a request goes on as it is (RFC 9113 3.1).
fn upgrade_token(headers: &HeaderMap) -> Option<HeaderValue> {
    let token = headers.get(UPGRADE)?.as_bytes().trim_ascii();
    let lower = HeaderValue::from_bytes(&token.to_ascii_lowercase()).ok()?;
    (lower != "h2c").then_some(lower)
}
