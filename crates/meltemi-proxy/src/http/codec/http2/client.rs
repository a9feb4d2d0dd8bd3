//! HTTP/2 to upstreams: a connection serves many exchanges and has a task of its own.

use super::connection::{Connection, Role, Shared};
use super::frame;
use super::handles::{Incoming as Body, Pump, Reader, Writer};
use super::keepalive::Keepalive;
use super::message;
use super::reason::Reason;
use super::settings::Own;
use super::stream::Failure;
use super::transport::Transport;
use crate::http::body::RequestBody;
use crate::http::codec::client::{MAX_HEADER_BYTES, SendError};
use crate::http::codec::{Incoming, SwitchTo};
use crate::model::ClusterConfig;
use crate::net::Stream;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::task::AbortHandle;

/// A shared connection; when it is dropped, the connection ends with its last stream.
pub(crate) struct Http2Client {
    connection: Shared,
    task: AbortHandle,
}

impl Http2Client {
    pub fn new(stream: Stream, config: &ClusterConfig) -> Self {
        let options = &config.http2;
        let own = Own {
            max_streams: None,
            stream_window: options.initial_stream_window,
            connection_window: options.initial_connection_window,
            max_header_list: MAX_HEADER_BYTES as u32,
            extended_connect: false,
        };
        let connection = Rc::new(RefCell::new(Connection::new(Role::Client, own)));
        let keepalive = Keepalive::new(options.keepalive_interval, options.keepalive_timeout);
        let transport = Transport::new(stream, &Bytes::new(), keepalive);
        let task = tokio::task::spawn_local(run(connection.clone(), transport));
        Self {
            connection,
            task: task.abort_handle(),
        }
    }

    pub fn is_closed(&self) -> bool {
        self.connection.borrow().is_closed()
    }

    /// Streams that the peer allows at a time.
    pub fn max_streams(&self) -> u32 {
        self.connection.borrow().max_streams()
    }

    /// Ends the connection and all its streams.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Sends a request and receives the answer's head.
    #[expect(
        clippy::manual_async_fn,
        reason = "its future would hold the request twice"
    )]
    pub fn send(
        &self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> {
        async move {
            let switches = request.extensions().get::<SwitchTo>().is_some();
            let opened = poll_fn(|cx| {
                let mut connection = self.connection.borrow_mut();
                match switches {
                    true => connection.poll_open_extended(cx),
                    false => connection.poll_open(cx),
                }
            });
            let opened = opened.await;
            if let Err(failure) = opened {
                // Another connection to a peer that offers no extended CONNECT helps nobody.
                let elsewhere = !matches!(failure, Failure::Malformed(_));
                return Err(SendError {
                    error: failure.into(),
                    unsent: elsewhere.then(|| Box::new(request)),
                });
            }
            let mut sent = self.open(request);
            let head = poll_fn(|cx| sent.poll_head(cx)).await;
            let mut head = head.map_err(|failure| SendError {
                error: failure.into(),
                unsent: None,
            })?;
            if switches && head.status() == StatusCode::OK {
                *head.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            }
            Ok(head.map(|()| Incoming::Http2(sent.into_body())))
        }
    }

    fn open(&self, mut request: Request<RequestBody>) -> Sent {
        let end = request.body().is_end_stream();
        let length = request.body().size_hint().exact();
        if length != Some(0) || has_meaningful_body(request.method()) {
            message::tell_length(request.headers_mut(), length);
        }
        let key = self.connection.borrow_mut().open(&request, end);
        let reader = Reader::new(&self.connection, key);
        let writer = Writer::new(&self.connection, key);
        let pump = (!end).then(|| Pump::new(writer, request.into_body(), Reason::CANCEL));
        Sent { reader, pump }
    }
}

/// A request that is under way.
struct Sent {
    reader: Reader,
    /// What remains of it.
    pump: Option<Pump<RequestBody>>,
}

impl Sent {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, Failure>> {
        if let Some(sending) = &mut self.pump
            && sending.poll(cx).is_ready()
        {
            self.pump = None;
        }
        self.reader.poll_head(cx)
    }

    /// The answer's body, when its head is there.
    fn into_body(self) -> Body {
        let mut body = Body::new(self.reader);
        if let Some(mut pump) = self.pump {
            // The answer came first; the rest of the request goes on beside it, as long as
            // somebody reads the answer.
            let rest = tokio::task::spawn_local(async move { poll_fn(|cx| pump.poll(cx)).await });
            body.accompany(rest.abort_handle());
        }
        body
    }
}

/// Whether servers expect a body of the method: that it is empty is said then (RFC 9110
/// 8.6).
fn has_meaningful_body(method: &Method) -> bool {
    !matches!(
        *method,
        Method::GET | Method::HEAD | Method::DELETE | Method::CONNECT
    )
}

impl Drop for Http2Client {
    fn drop(&mut self) {
        let mut connection = self.connection.borrow_mut();
        connection.is_unused = true;
        connection.wake_task();
    }
}

/// Tells those who wait, however the task ends.
struct Ends(Shared);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0
            .borrow_mut()
            .end(Failure::Ended("the connection was closed"));
    }
}

async fn run(connection: Shared, mut transport: Transport) {
    let ends = Ends(connection);
    let connection = &ends.0;
    poll_fn(|cx| {
        connection.borrow_mut().begin_turn();
        transport.read(cx, connection);
        transport.ask(cx, connection);
        while transport.write(cx, connection) {}
        let mut connection = connection.borrow_mut();
        if connection.is_over() {
            return Poll::Ready(());
        }
        connection.end_turn(cx);
        Poll::Pending
    })
    .await;
    {
        let mut connection = connection.borrow_mut();
        if connection.ended.is_none() {
            frame::goaway(0, Reason::NO_ERROR, connection.output.bytes());
        }
    }
    transport.close(connection).await;
}
