//! HTTP/2 to upstreams: a connection serves many exchanges and has a task of its own.

use super::cork::cork;
use crate::http::body::RequestBody;
use crate::http::codec::client::{MAX_HEADER_BYTES, SendError};
use crate::http::codec::{Error, Incoming, Io};
use crate::model::ClusterConfig;
use crate::net::Stream;
use http::{Request, Response};
use hyper::client::conn::http2;
use hyper_util::rt::TokioTimer;
use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::task::AbortHandle;

/// Streams at a time until the peer's settings are known (hyper's own assumption).
const INITIAL_STREAMS: u32 = 100;

/// A handle of a shared connection.
pub(crate) struct Http2Client {
    sender: http2::SendRequest<RequestBody>,
    /// As the peer's settings say, kept up to date by the connection's task.
    max_streams: Rc<Cell<u32>>,
    task: AbortHandle,
}

impl Http2Client {
    pub async fn new(stream: Stream, config: &ClusterConfig) -> Result<Self, Error> {
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
            match ready!(response.as_mut().poll(cx)) {
                Ok(response) => Poll::Ready(Ok(response.map(Incoming::Http2))),
                Err(error) => Poll::Ready(Err(error.into())),
            }
        })
        .await
    }
}
