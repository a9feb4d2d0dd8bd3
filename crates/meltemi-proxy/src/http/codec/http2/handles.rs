//! What the rest of the proxy holds of a stream: one handle reads, one writes.

use super::connection::Shared;
use super::reason::Reason;
use super::stream::{Failure, Key, register};
use crate::http::codec::{Error, Outgoing};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::task::AbortHandle;

/// The receiving half; dropped early, it tells the peer that nobody wants the rest.
pub(super) struct Reader {
    connection: Shared,
    key: Key,
}

impl Reader {
    /// The only one of this stream.
    pub fn new(connection: &Shared, key: Key) -> Self {
        Self {
            connection: connection.clone(),
            key,
        }
    }

    /// The answer's head.
    pub fn poll_head(&self, cx: &Context<'_>) -> Poll<Result<Response<()>, Failure>> {
        let mut connection = self.connection.borrow_mut();
        let Some(stream) = connection.streams.get(self.key) else {
            return Poll::Ready(Err(Failure::Ended("the stream is gone")));
        };
        if let Some(head) = stream.head.take() {
            return Poll::Ready(Ok(head));
        }
        if let Some(failure) = stream.failure {
            return Poll::Ready(Err(failure));
        }
        register(&mut stream.reading, cx);
        Poll::Pending
    }

    fn poll_frame(&self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let mut connection = self.connection.borrow_mut();
        let Some(stream) = connection.streams.get(self.key) else {
            return Poll::Ready(None);
        };
        if let Some(chunk) = stream.chunks.pop_front() {
            connection.release(self.key, chunk.len());
            return Poll::Ready(Some(Ok(Frame::data(chunk.into()))));
        }
        if stream.received_end {
            let trailers = stream.trailers.take();
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        if let Some(failure) = stream.failure {
            return Poll::Ready(Some(Err(failure)));
        }
        register(&mut stream.reading, cx);
        Poll::Pending
    }

    /// Whether everything was received and taken.
    fn is_at_end(&self) -> bool {
        let connection = self.connection.borrow();
        connection.streams.peek(self.key).is_none_or(|stream| {
            stream.received_end && stream.chunks.is_empty() && stream.trailers.is_none()
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut connection = self.connection.borrow_mut();
        if let Some(stream) = connection.streams.get(self.key) {
            stream.has_reader = false;
            stream.reading = None;
            stream.trailers = None;
            let discarded = stream.discard();
            connection.release_connection(discarded);
            connection.settle(self.key);
        }
    }
}

/// The body of a received message.
pub(crate) struct Incoming {
    /// `None` when the head was all.
    reader: Option<Reader>,
    /// Bytes to come, where the head told their number.
    left: Option<u64>,
    /// What remains to be sent of the request that this answers.
    rest: Option<Rest>,
}

/// The task that sends the rest of a request; it ends with the answer.
struct Rest(AbortHandle);

impl Drop for Rest {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Incoming {
    /// Of a message whose head is taken.
    pub(super) fn new(reader: Reader) -> Self {
        if reader.is_at_end() {
            return Self {
                reader: None,
                left: Some(0),
                rest: None,
            };
        }
        let connection = reader.connection.borrow();
        let stream = connection.streams.peek(reader.key);
        let left = stream.and_then(|stream| {
            let received: usize = stream.chunks.iter().map(Vec::len).sum();
            stream.left.map(|left| left + received as u64)
        });
        drop(connection);
        Self {
            reader: Some(reader),
            left,
            rest: None,
        }
    }

    /// The task is of no use without this body.
    pub(super) fn accompany(&mut self, task: AbortHandle) {
        self.rest = Some(Rest(task));
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let Some(reader) = &this.reader else {
            return Poll::Ready(None);
        };
        let frame = ready!(reader.poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            this.left = this.left.map(|left| left.saturating_sub(length));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Error::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.reader.as_ref().is_none_or(Reader::is_at_end)
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The sending half; dropped before the end, it resets the stream.
pub(super) struct Writer {
    connection: Shared,
    key: Key,
}

impl Writer {
    /// The only one of this stream.
    pub fn new(connection: &Shared, key: Key) -> Self {
        Self {
            connection: connection.clone(),
            key,
        }
    }

    /// Whether something can be sent now; wakes the task when it can, or the stream fails.
    pub fn poll_ready(&self, cx: &Context<'_>) -> Poll<Result<(), Failure>> {
        self.connection.borrow_mut().poll_ready(self.key, cx)
    }

    /// Whether the stream has failed; wakes the task when it does.
    pub fn has_failed(&self, cx: &Context<'_>) -> bool {
        self.connection.borrow_mut().has_failed(self.key, cx)
    }

    pub fn send_head(&self, status: StatusCode, headers: &HeaderMap, end: bool) {
        let mut connection = self.connection.borrow_mut();
        connection.send_response(self.key, status, headers, end);
    }

    pub fn send_data(&self, data: Bytes, end: bool) {
        self.connection.borrow_mut().send_data(self.key, data, end);
    }

    pub fn send_trailers(&self, trailers: &HeaderMap) {
        self.connection
            .borrow_mut()
            .send_trailers(self.key, trailers);
    }

    pub fn reset(&self, reason: Reason) {
        let mut connection = self.connection.borrow_mut();
        connection.reset(self.key, reason, Failure::Reset(reason));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut connection = self.connection.borrow_mut();
        let Some(stream) = connection.streams.get(self.key) else {
            return;
        };
        stream.has_writer = false;
        stream.writing = None;
        if !stream.sent_end && !stream.pending_end && stream.failure.is_none() {
            let reason = match std::thread::panicking() {
                true => Reason::INTERNAL_ERROR,
                false => Reason::CANCEL,
            };
            connection.reset(self.key, reason, Failure::Reset(reason));
        } else {
            connection.settle(self.key);
        }
    }
}

/// Sends a body, as it comes, on a stream.
pub(super) struct Pump<B> {
    writer: Writer,
    body: B,
    /// What the peer is told when the body breaks off.
    on_error: Reason,
}

impl<B: Outgoing> Pump<B> {
    pub fn new(writer: Writer, body: B, on_error: Reason) -> Self {
        Self {
            writer,
            body,
            on_error,
        }
    }

    /// Ready when the body is sent, has broken off, or the stream has failed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.writer.poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {
                    ready!(self.body.poll_stalled(cx));
                    self.writer.reset(self.on_error);
                    return Poll::Ready(());
                }
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => {
                    self.writer.send_data(Bytes::new(), true);
                    return Poll::Ready(());
                }
                Some(Err(_)) => {
                    self.writer.reset(self.on_error);
                    return Poll::Ready(());
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let end = self.body.is_end_stream();
                        if end || !data.is_empty() {
                            self.writer.send_data(data, end);
                        }
                        if end {
                            return Poll::Ready(());
                        }
                    }
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            self.writer.send_trailers(&trailers);
                            return Poll::Ready(());
                        }
                    }
                },
            }
        }
    }
}
