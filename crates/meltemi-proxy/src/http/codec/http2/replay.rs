//! A client's frames without a socket: the requests in them, for fuzzing to compare.

use super::connection::{Connection, Role, Shared};
use super::frame;
use super::handles::{Incoming, Reader, Writer};
use super::settings::Own;
use http::{HeaderMap, Request};
use http_body::Body;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A request that came whole.
#[derive(Debug, PartialEq)]
pub struct Whole {
    pub stream: u32,
    pub method: http::Method,
    pub uri: http::Uri,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

struct Open {
    stream: u32,
    request: Request<Incoming>,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    ended: bool,
    _writer: Writer,
}

/// What `frames`, sent behind a preface and empty SETTINGS, ask for; or why they break the
/// connection.
///
/// # Errors
/// What the peer did wrong; that a header block has no end is among it.
pub fn requests(frames: &[u8], own: Own) -> Result<Vec<Whole>, &'static str> {
    let shared: Shared = Rc::new(RefCell::new(Connection::new(Role::Server, own)));
    let mut input = frame::PREFACE.to_vec();
    input.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    input.extend(frames);
    let mut open = Vec::new();
    let result = shared
        .borrow_mut()
        .receive(&input)
        .map_err(|broken| broken.why);
    let accepted = std::mem::take(&mut shared.borrow_mut().accepted);
    for accepted in accepted {
        let stream = shared
            .borrow()
            .streams
            .peek(accepted.key)
            .map_or(0, |s| s.id);
        let body = Incoming::new(Reader::new(&shared, accepted.key));
        open.push(Open {
            stream,
            request: accepted.request.map(|()| body),
            body: Vec::new(),
            trailers: None,
            ended: false,
            _writer: Writer::new(&shared, accepted.key),
        });
    }
    result?;
    if shared.borrow().block.is_some() {
        return Err("a header block without its end");
    }
    for open in &mut open {
        open.read();
    }
    let whole = open.iter_mut().filter(|open| open.ended);
    Ok(whole.map(Open::take).collect())
}

impl Open {
    fn read(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let body = self.request.body_mut();
        loop {
            match Pin::new(&mut *body).poll_frame(&mut cx) {
                Poll::Ready(None) => {
                    self.ended = true;
                    return;
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.body.extend_from_slice(&data),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Poll::Ready(Some(Err(_))) | Poll::Pending => return,
            }
        }
    }

    fn take(&mut self) -> Whole {
        Whole {
            stream: self.stream,
            method: self.request.method().clone(),
            uri: self.request.uri().clone(),
            headers: std::mem::take(self.request.headers_mut()),
            body: std::mem::take(&mut self.body),
            trailers: self.trailers.take(),
        }
    }
}
