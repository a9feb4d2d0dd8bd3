//! The bodies of both directions, as enums.

use super::codec::{Error, Incoming};
use super::grpc::MessageCounter;
use super::record::Guard;
use super::timeouts::{Expired, Watchdog};
use super::upload::{UploadBody, UploadError};
use crate::telemetry::Flags;
use crate::upstream::{Lease, RequestGuard};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

/// What is sent upstream.
pub(crate) enum RequestBody {
    Empty,
    /// A copy for a mirror.
    Chunks(VecDeque<Bytes>),
    Client(UploadBody),
}

impl RequestBody {
    /// The upstream asks for a body that waits for that.
    pub fn proceed(&self) {
        if let Self::Client(body) = self {
            body.proceed();
        }
    }

    /// Takes data back that was polled and not sent: it comes next again.
    pub fn unread(&mut self, data: Bytes) {
        match self {
            Self::Empty => {}
            Self::Chunks(chunks) => chunks.push_front(data),
            Self::Client(body) => body.unread(data),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Chunks(chunks) => Poll::Ready(chunks.pop_front().map(|c| Ok(Frame::data(c)))),
            Self::Client(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Chunks(chunks) => chunks.is_empty(),
            Self::Client(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Chunks(chunks) => {
                SizeHint::with_exact(chunks.iter().map(|chunk| chunk.len() as u64).sum())
            }
            Self::Client(body) => body.size_hint(),
        }
    }
}

/// The answer broke off after its head was sent: the client must see that it is incomplete.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Broken(&'static str);

/// What is sent to the client. Reports the exchange when it ends.
pub(crate) struct ResponseBody {
    content: Content,
    /// `None` after a switch of protocols: the tunnel reports.
    guard: Option<Guard>,
}

enum Content {
    Empty,
    Text(Option<Bytes>),
    Upstream(Box<UpstreamBody>),
}

/// The body of an upstream's answer, with all that must live until it ends.
pub(crate) struct UpstreamBody {
    incoming: Incoming,
    /// Bytes that are still to come, where the answer told its length.
    left: Option<u64>,
    lease: Option<Lease>,
    watchdog: Watchdog,
    messages: MessageCounter,
    /// The upstream's trailers end here.
    drop_trailers: bool,
    _request: RequestGuard,
}

impl ResponseBody {
    pub fn empty(guard: Guard) -> Self {
        Self {
            content: Content::Empty,
            guard: Some(guard),
        }
    }

    pub fn text(text: Bytes, guard: Guard) -> Self {
        let content = if text.is_empty() {
            Content::Empty
        } else {
            Content::Text(Some(text))
        };
        Self {
            content,
            guard: Some(guard),
        }
    }

    pub fn upstream(body: UpstreamBody, guard: Guard) -> Self {
        Self {
            content: Content::Upstream(Box::new(body)),
            guard: Some(guard),
        }
    }

    /// Of a 101: what follows is no HTTP.
    pub fn switched() -> Self {
        Self {
            content: Content::Empty,
            guard: None,
        }
    }

    fn finish(&self) {
        if let Some(guard) = &self.guard {
            guard.0.finish();
        }
    }
}

impl UpstreamBody {
    pub fn new(
        incoming: Incoming,
        lease: Lease,
        watchdog: Watchdog,
        request: RequestGuard,
        drop_trailers: bool,
    ) -> Self {
        Self {
            left: incoming.size_hint().exact(),
            incoming,
            lease: Some(lease),
            watchdog,
            messages: MessageCounter::default(),
            drop_trailers,
            _request: request,
        }
    }

    /// Reads a frame; moves the connection's bytes when there is none yet.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if let Some(Lease::Http1(lease)) = &mut self.lease {
            lease.client().drive(cx);
            return Pin::new(&mut self.incoming).poll_frame(cx);
        }
        Poll::Pending
    }

    /// All of the answer is here: the connection may serve others.
    fn complete(&mut self) {
        if let Some(Lease::Http1(lease)) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl ResponseBody {
    fn poll_upstream(
        body: &mut UpstreamBody,
        guard: &Guard,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let record = &guard.0;
        match body.poll(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                record.touch();
                let mut info = record.info.borrow_mut();
                info.last_upstream_byte = Some(record.activity.get());
                if let Some(data) = frame.data_ref() {
                    body.left = body.left.map(|left| left.saturating_sub(data.len() as u64));
                    info.bytes_sent += data.len() as u64;
                    if info.grpc && record.counts_messages.get() {
                        info.response_messages += body.messages.count(data);
                    }
                } else if let Some(trailers) = frame.trailers_ref()
                    && info.grpc
                {
                    info.grpc_status = super::grpc::status(trailers).or(info.grpc_status);
                }
                drop(info);
                if body.drop_trailers && frame.is_trailers() {
                    // What follows is the end.
                    return Self::poll_upstream(body, guard, cx);
                }
                if body.incoming.is_end_stream() {
                    body.complete();
                    record.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                record.info.borrow_mut().last_upstream_byte = Some(Instant::now());
                body.complete();
                record.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                let mut info = record.info.borrow_mut();
                let (flag, details) = if error.reason().is_some() {
                    (
                        Flags::UPSTREAM_REMOTE_RESET,
                        "upstream_reset_after_response_started{remote_reset}",
                    )
                } else if error.is_malformed() || matches!(error, Error::Incomplete(_)) {
                    (
                        Flags::UPSTREAM_PROTOCOL_ERROR,
                        "upstream_reset_after_response_started{protocol_error}",
                    )
                } else {
                    (
                        Flags::UPSTREAM_CONNECTION_TERMINATION,
                        "upstream_reset_after_response_started{connection_termination}",
                    )
                };
                info.flags.insert(flag);
                info.details = details.into();
                drop(info);
                Self::broken(body, guard, "the upstream's answer broke off")
            }
            Poll::Pending => match body.watchdog.poll(cx, record) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(expired) => {
                    let mut info = record.info.borrow_mut();
                    let (flag, details) = match expired {
                        Expired::Global | Expired::PerTry | Expired::PerTryIdle => {
                            (Flags::UPSTREAM_REQUEST_TIMEOUT, "response_timeout")
                        }
                        Expired::MaxStream => (Flags::DURATION_TIMEOUT, "max_duration_timeout"),
                        Expired::StreamIdle | Expired::Request => {
                            (Flags::STREAM_IDLE_TIMEOUT, "stream_idle_timeout")
                        }
                    };
                    info.flags.insert(flag);
                    info.details = details.into();
                    drop(info);
                    Self::broken(body, guard, "timeout while the answer was sent")
                }
            },
        }
    }

    fn broken(
        body: &mut UpstreamBody,
        guard: &Guard,
        why: &'static str,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        body.lease = None;
        guard.0.finish();
        Poll::Ready(Some(Err(Broken(why))))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        match &mut this.content {
            Content::Empty => {
                this.finish();
                Poll::Ready(None)
            }
            Content::Text(text) => {
                let Some(text) = text.take() else {
                    return Poll::Ready(None);
                };
                if let Some(guard) = &this.guard {
                    guard.0.info.borrow_mut().bytes_sent += text.len() as u64;
                }
                this.finish();
                Poll::Ready(Some(Ok(Frame::data(text))))
            }
            Content::Upstream(body) => match &this.guard {
                Some(guard) => Self::poll_upstream(body, guard, cx),
                None => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Text(text) => text.is_none(),
            Content::Upstream(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Text(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Content::Upstream(body) => body.incoming.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // A body that says it has ended is not polled again, nor one whose length is reached,
        // nor any for HEAD.
        let ended = match &mut self.content {
            Content::Empty => true,
            Content::Text(text) => text.is_none(),
            Content::Upstream(body) => {
                let ended = body.incoming.is_end_stream() || body.left == Some(0);
                if body.incoming.is_end_stream() {
                    body.complete();
                }
                ended
            }
        };
        if ended {
            self.finish();
        }
    }
}
