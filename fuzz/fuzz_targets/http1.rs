//! HTTP/1 messages, by the proxy's codec and by hyper's: what ours takes, hyper takes for the
//! same messages. What only ours refuses is where it is stricter on purpose: bare LF and CR,
//! `#` and bytes above 127 in a target, methods in lower case, a second Host, a length that is
//! said twice or next to a transfer coding, transfer codings other than chunked.
//!
//! The first byte of an input chooses: whose messages they are, and in which pieces they come.
#![no_main]

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::rt::ReadBufCursor;
use libfuzzer_sys::fuzz_target;
use meltemi_proxy::http::transcript::{Message, Rest, requests, response};
use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Bounds of a head, in both.
const BYTES: usize = 64 * 1024;
const LINES: usize = 100;

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    let size = match choice & 0x3f {
        0 => usize::MAX,
        size => usize::from(size),
    };
    let pieces: Vec<&[u8]> = bytes.chunks(size.min(bytes.len().max(1))).collect();
    match choice >> 6 {
        0 | 1 => compare_requests(bytes, &pieces),
        2 => compare_response(bytes, &pieces, Method::GET),
        _ => compare_response(bytes, &pieces, Method::HEAD),
    }
});

fn compare_requests(bytes: &[u8], pieces: &[&[u8]]) {
    let (ours, rest) = requests(&[bytes], BYTES, LINES);
    let (cut, cut_rest) = requests(pieces, BYTES, LINES);
    assert_eq!(ours, cut, "pieces make a difference");
    assert_eq!(kind(&rest), kind(&cut_rest), "pieces make a difference");
    let theirs = hyper_requests(pieces);
    for (index, message) in ours.iter().enumerate() {
        assert_eq!(Some(message), theirs.get(index), "request {index}");
        if ends_connection(message) {
            return;
        }
    }
    if !matches!(rest, Rest::Refused(..)) {
        assert_eq!(ours.len(), theirs.len(), "hyper sees more requests");
    }
}

fn kind(rest: &Rest) -> u8 {
    match rest {
        Rest::Nothing => 0,
        Rest::Incomplete => 1,
        Rest::Refused(..) => 2,
    }
}

/// After such a request hyper reads no other.
fn ends_connection(message: &Message) -> bool {
    message.version == Version::HTTP_10
        || message.start.starts_with("CONNECT ")
        || message.headers.contains_key(CONNECTION)
        || message.headers.contains_key(UPGRADE)
}

fn compare_response(bytes: &[u8], pieces: &[&[u8]], method: Method) {
    let ours = response(&[bytes], &method);
    let cut = response(pieces, &method);
    match (&ours, &cut) {
        (Err(one), Err(other)) => assert_eq!(kind(one), kind(other), "pieces make a difference"),
        (one, other) => assert_eq!(one, other, "pieces make a difference"),
    }
    let theirs = hyper_response(pieces, method);
    match ours {
        // hyper skips interim answers, which a connection does here, too.
        Ok(Some(message)) if message.start.starts_with('1') => {}
        Ok(message) => assert_eq!(message, theirs),
        Err(Rest::Refused(..)) => {}
        Err(_) => assert_eq!(
            None, theirs,
            "hyper takes an incomplete answer for complete"
        ),
    }
}

/// A peer that sends pieces, then ends; what is written goes nowhere.
struct Peer {
    pieces: std::collections::VecDeque<Vec<u8>>,
    /// It has to be asked first.
    waits: bool,
    /// It closes behind the last piece.
    ends: bool,
}

impl Peer {
    /// A client that stays until it is answered, or an upstream that answers and closes.
    fn new(pieces: &[&[u8]], upstream: bool) -> Self {
        Self {
            waits: upstream,
            ends: upstream,
            pieces: pieces.iter().map(|piece| piece.to_vec()).collect(),
        }
    }
}

impl hyper::rt::Read for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.waits {
            return Poll::Pending;
        }
        if let Some(mut piece) = self.pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push_front(rest);
            }
        } else if !self.ends {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.waits = false;
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Nothing ever waits for anything outside: polls bring a future to its end, if it has one.
fn finish<F: Future>(future: F, pieces: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..pieces + 100 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
    }
    None
}

fn hyper_requests(pieces: &[&[u8]]) -> Vec<Message> {
    let messages = Rc::new(RefCell::new(Vec::new()));
    let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| {
        let messages = messages.clone();
        async move {
            let (parts, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                messages.borrow_mut().push(Message {
                    start: format!("{} {}", parts.method, parts.uri),
                    version: parts.version,
                    headers: parts.headers,
                    trailers: body.trailers().cloned().unwrap_or_default(),
                    body: body.to_bytes().to_vec(),
                });
            }
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .max_headers(LINES)
        .max_header_size(BYTES)
        .serve_connection(Peer::new(pieces, false), service);
    finish(connection, pieces.len());
    messages.take()
}

fn hyper_response(pieces: &[&[u8]], method: Method) -> Option<Message> {
    let handshake = hyper::client::conn::http1::Builder::new()
        .max_headers(128)
        .max_header_size(80 * 1024)
        .handshake(Peer::new(pieces, true));
    let (mut sender, mut connection) = finish(handshake, 0)?.ok()?;
    let request = Request::builder().method(method).uri("/");
    let sending = sender.send_request(request.body(Empty::<Bytes>::new()).ok()?);
    let exchange = async {
        let (parts, body) = sending.await.ok()?.into_parts();
        let body = body.collect().await.ok()?;
        Some(Message {
            start: parts.status.as_str().to_owned(),
            version: parts.version,
            headers: parts.headers,
            trailers: body.trailers().cloned().unwrap_or_default(),
            body: body.to_bytes().to_vec(),
        })
    };
    let mut exchange = pin!(exchange);
    let mut done = false;
    let both = std::future::poll_fn(|cx| {
        done = done || Pin::new(&mut connection).poll(cx).is_ready();
        exchange.as_mut().poll(cx)
    });
    finish(both, pieces.len())?
}
