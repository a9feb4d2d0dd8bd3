//! Connections to upstreams, on hyper.
//!
//! An HTTP/1 connection is driven by the exchange that uses it: no task, no wake-up
//! between tasks. An HTTP/2 connection serves many exchanges and has a task of its own.

use super::cork::cork;
use super::{Incoming, Io};
use crate::http::body::RequestBody;
use crate::model::ClusterConfig;
use crate::net::Stream;
use bytes::Bytes;
use http::{Request, Response};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioTimer;
use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::task::AbortHandle;

/// Header lines of a response (Envoy: 100).
const MAX_HEADERS: usize = 128;
/// Bytes of a response's header block (as Envoy 1.40).
const MAX_HEADER_BYTES: usize = 80 * 1024;

/// Streams at a time until the peer's settings are known (hyper's own assumption).
const INITIAL_STREAMS: u32 = 100;

/// Why no response came.
pub(crate) struct SendError {
    pub error: hyper::Error,
    /// No byte of the request was written: sending it again elsewhere is safe. The request
    /// comes back for that.
    pub unsent: Option<Box<Request<RequestBody>>>,
}

impl SendError {
    /// The peer refused the stream before doing anything with it.
    pub fn refused(&self) -> bool {
        self.reason() == Some(h2::Reason::REFUSED_STREAM)
    }

    pub fn reason(&self) -> Option<h2::Reason> {
        h2_reason(&self.error)
    }

    /// The connection ended, as opposed to a reset of this stream alone.
    pub fn connection_ended(&self) -> bool {
        self.reason().is_none() && !self.error.is_parse()
    }
}

/// The HTTP/2 error code in an error's chain.
pub(crate) fn h2_reason(error: &hyper::Error) -> Option<h2::Reason> {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(h2) = inner.downcast_ref::<h2::Error>() {
            return h2.reason();
        }
        source = inner.source();
    }
    None
}

/// An HTTP/1 answer's body that ended before its length, or whose framing is wrong.
pub(crate) fn breaks_protocol(error: &hyper::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    let kind = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .map(std::io::Error::kind);
    matches!(kind, Some(UnexpectedEof | InvalidData | InvalidInput))
        || error.is_parse()
        || error.is_incomplete_message()
}

pub(crate) struct Http1Client {
    sender: http1::SendRequest<RequestBody>,
    connection: http1::Connection<Io, RequestBody>,
    done: bool,
}

impl Http1Client {
    pub async fn new(stream: Stream, config: &ClusterConfig) -> hyper::Result<Self> {
        let buffer = (config.buffer_limit as usize).max(MAX_HEADER_BYTES + 4096);
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEADER_BYTES)
            .max_buf_size(buffer)
            .title_case_headers(config.http1.proper_case)
            .preserve_header_case(config.http1.preserve_case)
            .handshake(Io::new(stream))
            .await?;
        let mut client = Self {
            sender,
            connection,
            done: false,
        };
        // The first poll makes the connection ask for a request.
        client.drive(&mut Context::from_waker(Waker::noop()));
        Ok(client)
    }

    /// Moves bytes of the running exchange, both ways.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.done {
            self.done = Pin::new(&mut self.connection).poll(cx).is_ready();
        }
    }

    /// Whether it can carry a request: notices that the peer closed it meanwhile.
    pub fn is_ready(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.done && self.sender.is_ready()
    }

    pub async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, SendError> {
        let mut response = pin!(self.sender.try_send_request(request));
        let (connection, done) = (&mut self.connection, &mut self.done);
        std::future::poll_fn(|cx| {
            if !*done {
                *done = Pin::new(&mut *connection).poll(cx).is_ready();
            }
            response.as_mut().poll(cx).map_err(|mut error| SendError {
                unsent: error.take_message().map(Box::new),
                error: error.into_error(),
            })
        })
        .await
    }

    /// After a 101: the stream, and what the peer sent already.
    pub fn into_upgraded(self) -> (Stream, Bytes) {
        let parts = self.connection.into_parts();
        let (stream, _) = parts.io.into_parts();
        (stream, parts.read_buf)
    }
}

/// A handle of a shared connection.
pub(crate) struct Http2Client {
    sender: http2::SendRequest<RequestBody>,
    /// As the peer's settings say, kept up to date by the connection's task.
    max_streams: Rc<Cell<u32>>,
    task: AbortHandle,
}

impl Http2Client {
    pub async fn new(stream: Stream, config: &ClusterConfig) -> hyper::Result<Self> {
        let options = &config.http2;
        let (io, cork) = cork(Io::new(stream));
        let mut builder = http2::Builder::new(cork);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(options.initial_stream_window)
            .initial_connection_window_size(options.initial_connection_window)
            .max_header_list_size(MAX_HEADER_BYTES as u32)
            .max_send_buf_size(config.buffer_limit as usize)
            .max_local_error_reset_streams(1024);
        if let Some(interval) = options.keepalive_interval {
            builder.keep_alive_interval(interval);
            builder.keep_alive_while_idle(true);
            if let Some(timeout) = options.keepalive_timeout {
                builder.keep_alive_timeout(timeout);
            }
        }
        let (sender, mut connection) = builder.handshake(io).await?;
        let max_streams = Rc::new(Cell::new(INITIAL_STREAMS));
        let known = max_streams.clone();
        let task = tokio::task::spawn_local(async move {
            let result = std::future::poll_fn(|cx| {
                let result = Pin::new(&mut connection).poll(cx);
                let streams = connection.current_max_send_streams();
                known.set(u32::try_from(streams).unwrap_or(u32::MAX));
                result
            })
            .await;
            if let Err(error) = result {
                tracing::debug!(%error, "upstream HTTP/2 connection ended");
            }
        });
        Ok(Self {
            sender,
            max_streams,
            task: task.abort_handle(),
        })
    }

    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Streams that the peer allows at a time.
    pub fn max_streams(&self) -> u32 {
        self.max_streams.get()
    }

    /// Ends the connection and all its streams.
    pub fn abort(&self) {
        self.task.abort();
    }

    pub async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, SendError> {
        let mut sender = self.sender.clone();
        let mut response = pin!(sender.try_send_request(request));
        std::future::poll_fn(|cx: &mut Context<'_>| -> Poll<_> {
            response.as_mut().poll(cx).map_err(|mut error| SendError {
                unsent: error.take_message().map(Box::new),
                error: error.into_error(),
            })
        })
        .await
    }
}
