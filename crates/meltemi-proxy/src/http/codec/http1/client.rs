//! HTTP/1 to upstreams: a connection is driven by the exchange that uses it: no task, no
//! wake-up between tasks.

use crate::http::body::RequestBody;
use crate::http::codec::client::{MAX_HEADER_BYTES, MAX_HEADERS, SendError};
use crate::http::codec::{Error, Incoming, Io};
use crate::model::ClusterConfig;
use crate::net::Stream;
use bytes::Bytes;
use http::{Request, Response};
use hyper::client::conn::http1;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

pub(crate) struct Http1Client {
    sender: http1::SendRequest<RequestBody>,
    connection: http1::Connection<Io, RequestBody>,
    done: bool,
}

impl Http1Client {
    pub async fn new(stream: Stream, config: &ClusterConfig) -> Result<Self, Error> {
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
            match ready!(response.as_mut().poll(cx)) {
                Ok(response) => Poll::Ready(Ok(response.map(Incoming::Http1))),
                Err(error) => Poll::Ready(Err(error.into())),
            }
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
