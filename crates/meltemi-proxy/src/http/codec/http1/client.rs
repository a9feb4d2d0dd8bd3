//! HTTP/1 to upstreams: a connection is run by the exchange that uses it: no task, no
//! wake-up between tasks.

use super::encode::{self, Encoder};
use super::head::{Head, Limits, Partial, StatusLine};
use super::sending::Sending;
use super::{Connection, Decoder, Fault};
use crate::http::body::RequestBody;
use crate::http::codec::client::{MAX_HEADER_BYTES, MAX_HEADERS, SendError};
use crate::http::codec::{Error, Incoming, SwitchTo};
use crate::http::head::has_token;
use crate::model::ClusterConfig;
use crate::net::Stream;
use bytes::Bytes;
use http::header::CONNECTION;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// Bounds of an answer's head.
const LIMITS: Limits = Limits {
    bytes: MAX_HEADER_BYTES,
    lines: MAX_HEADERS,
};
/// Interim answers (1xx) before the final one.
const MAX_INTERIM: u32 = 32;

pub(crate) struct Http1Client {
    connection: Rc<RefCell<Connection>>,
    /// What remains of the request.
    sending: Option<Sending<RequestBody>>,
    /// What broke while it was sent.
    broken: Option<Fault>,
    /// The connection can carry a request after this one.
    keeps: bool,
    /// What is sent and received is no HTTP any more.
    tunnel: bool,
    proper_case: bool,
    preserve_case: bool,
}

/// A request that is under way, until the answer's head is there.
struct Asked {
    method: Method,
    /// It wants to speak another protocol.
    switches: bool,
    /// Kept until a byte of the request is written.
    unsent: Option<Parts>,
    partial: Partial<StatusLine>,
    interim: u32,
}

fn closed() -> SendError {
    SendError {
        error: Error::Ended("the connection was closed".into()),
        unsent: None,
    }
}

impl Http1Client {
    pub fn new(stream: Stream, config: &ClusterConfig) -> Self {
        Self {
            connection: Rc::new(RefCell::new(Connection::new(stream, Bytes::new()))),
            sending: None,
            broken: None,
            keeps: true,
            tunnel: false,
            proper_case: config.http1.proper_case,
            preserve_case: config.http1.preserve_case,
        }
    }

    /// Sends a body as it is, and receives one: the peer of this new connection speaks no
    /// HTTP.
    pub fn begin_tunnel(&mut self, request: RequestBody) -> Incoming {
        self.keeps = false;
        self.tunnel = true;
        self.sending = Some(Sending::new(request, Encoder::UntilClose));
        let body = Connection::begin_body(&self.connection, Decoder::until_close(), false);
        Incoming::Http1(body)
    }

    /// Moves what remains of the request.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        let Some(sending) = self.sending.as_mut().filter(|_| self.broken.is_none()) else {
            return;
        };
        match sending.poll(&self.connection, cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) if self.tunnel => {
                // The peer meets the end of what it is sent; errors show when it is read from.
                if self.connection.borrow_mut().poll_shutdown(cx).is_ready() {
                    self.sending = None;
                }
            }
            Poll::Ready(Ok(())) => self.sending = None,
            Poll::Ready(Err(fault)) => {
                self.keeps = false;
                // The upstream may have said why it reads no more; a request that we break
                // off has no answer.
                if !matches!(fault, Fault::Io(_)) {
                    self.connection.borrow_mut().fail();
                }
                self.broken = Some(fault);
            }
        }
    }

    /// Whether it can carry a request: notices that the peer closed it meanwhile.
    pub fn is_ready(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.is_idle()
            && self.connection.borrow_mut().poll_gone(&mut cx).is_pending()
            && self.is_idle()
    }

    /// Whether it can carry a request, as far as is known without a look at the socket.
    pub fn is_idle(&self) -> bool {
        self.keeps && self.sending.is_none() && self.connection.borrow().is_quiet()
    }

    /// Sends a request and receives the answer's head. Not an `async fn`, whose future holds
    /// its arguments twice.
    pub fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> {
        let mut asked = self.start(request);
        poll_fn(move |cx| match &mut asked {
            Ok(asked) => self.poll_response(asked, cx),
            Err(refused) => Poll::Ready(Err(refused.take().unwrap_or_else(closed))),
        })
    }

    fn start(&mut self, request: Request<RequestBody>) -> Result<Asked, Option<SendError>> {
        if !self.is_idle() {
            return Err(Some(SendError {
                unsent: Some(Box::new(request)),
                ..closed()
            }));
        }
        let (parts, body) = request.into_parts();
        let encoder = {
            let output = &mut self.connection.borrow_mut().output;
            output.wrote = false;
            encode::request(&parts, &body, self.proper_case, output.buffer())
        };
        self.keeps = !has_token(&parts.headers, CONNECTION, b"close");
        self.sending = Some(Sending::new(body, encoder));
        Ok(Asked {
            method: parts.method.clone(),
            switches: parts.method == Method::CONNECT
                || parts.extensions.get::<SwitchTo>().is_some(),
            unsent: Some(parts),
            partial: Partial::new(self.preserve_case),
            interim: 0,
        })
    }

    fn poll_response(
        &mut self,
        asked: &mut Asked,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<Incoming>, SendError>> {
        let head = self.poll_answer(&mut asked.partial, &mut asked.interim, cx);
        if self.connection.borrow().output.wrote {
            asked.unsent = None;
        }
        let response =
            ready!(head).and_then(|head| self.begin(&asked.method, asked.switches, head));
        Poll::Ready(response.map_err(|fault| {
            self.keeps = false;
            let body = self.sending.take().and_then(Sending::into_unsent);
            let unsent = asked.unsent.take().zip(body);
            SendError {
                error: fault.into(),
                unsent: unsent.map(|(parts, (mut body, first))| {
                    if let Some(first) = first {
                        body.unread(first);
                    }
                    Box::new(Request::from_parts(parts, body))
                }),
            }
        }))
    }

    /// The head of the final answer, or of the first after which the protocol is another.
    fn poll_answer(
        &mut self,
        partial: &mut Partial<StatusLine>,
        interim: &mut u32,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Head<StatusLine>, Fault>> {
        loop {
            self.drive(cx);
            let mut connection = self.connection.borrow_mut();
            match self.broken.take() {
                Some(Fault::Io(error)) if connection.output.wrote => {
                    self.broken = Some(Fault::Io(error));
                }
                Some(fault) => return Poll::Ready(Err(fault)),
                None => {}
            }
            ready!(connection.poll_head(partial, LIMITS, cx))?;
            let head = partial.take().ok_or(Fault::Cut)?;
            let status = head.start.status;
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Ok(head));
            }
            *interim += 1;
            if *interim > MAX_INTERIM {
                return Poll::Ready(Err(Fault::Syntax("too many interim answers")));
            }
            if status == StatusCode::CONTINUE
                && let Some(sending) = &mut self.sending
            {
                sending.body().proceed();
            }
        }
    }

    fn begin(
        &mut self,
        method: &Method,
        asked: bool,
        head: Head<StatusLine>,
    ) -> Result<Response<Incoming>, Fault> {
        let StatusLine { status, version } = head.start;
        let mut body = head.framing.of_response(method, status, version)?;
        // What follows a switch of protocols is no HTTP.
        let switches = status == StatusCode::SWITCHING_PROTOCOLS
            || *method == Method::CONNECT && status.is_success();
        if asked && switches {
            body = Decoder::until_close();
            self.tunnel = true;
        } else if asked {
            // What the client has for another protocol stays with it.
            self.sending = None;
        }
        self.keeps &= !switches && !body.is_until_close() && head.framing.keeps(version);
        let body = Connection::begin_body(&self.connection, body, false);
        let mut response = Response::new(Incoming::Http1(body));
        *response.status_mut() = status;
        *response.version_mut() = version;
        *response.headers_mut() = head.headers;
        if let Some(spelling) = head.spelling {
            response.extensions_mut().insert(spelling);
        }
        Ok(response)
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
