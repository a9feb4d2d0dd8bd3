//! The bodies of both directions, as enums.

use super::codec::{Error, Incoming, Outgoing};
use super::filters::Coder;
use super::grpc::MessageCounter;
use super::held::Held;
use super::record::Guard;
use super::stage::{Failed, Stage};
use super::timeouts::{Expired, Watchdog};
use super::upgrade::Tunnel;
use super::upload::{UploadBody, UploadError};
use crate::clock;
use crate::telemetry::Flags;
use crate::upstream::{Lease, RequestGuard};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// What is sent upstream.
pub(crate) enum RequestBody {
    Empty,
    /// A copy for a mirror.
    Chunks(VecDeque<Bytes>),
    Client(UploadBody),
    /// Of a connection that goes on in a tunnel.
    Held(Held),
    /// As somebody makes it, for as long as the sender is there.
    Messages {
        from: tokio::sync::mpsc::Receiver<Bytes>,
        back: Option<Bytes>,
    },
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
            // Nothing of a tunnel is sent before the head is.
            Self::Empty | Self::Held(_) => {}
            Self::Chunks(chunks) => chunks.push_front(data),
            Self::Client(body) => body.unread(data),
            Self::Messages { back, .. } => *back = Some(data),
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
            Self::Held(body) => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|_| UploadError))),
            Self::Messages { from, back } => match back.take() {
                Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
                None => from.poll_recv(cx).map(|data| Some(Ok(Frame::data(data?)))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Chunks(chunks) => chunks.is_empty(),
            Self::Client(body) => body.is_end_stream(),
            Self::Held(body) => body.is_end_stream(),
            Self::Messages { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Chunks(chunks) => {
                SizeHint::with_exact(chunks.iter().map(|chunk| chunk.len() as u64).sum())
            }
            Self::Client(body) => body.size_hint(),
            Self::Held(_) => SizeHint::default(),
            Self::Messages { .. } => SizeHint::default(),
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
    /// What filters make of it, the innermost first.
    stages: Vec<Stage>,
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
    tunnel: Option<Tunnel>,
}

impl ResponseBody {
    fn new(content: Content, guard: Option<Guard>) -> Self {
        Self {
            content,
            stages: Vec::new(),
            guard,
        }
    }

    /// Recodes what is still to come.
    pub fn recode(&mut self, coder: Coder) {
        debug_assert!(!self.is_tunnel(), "no filter reads what is no HTTP");
        self.stages.push(Stage::new(coder));
    }

    pub fn empty(guard: Guard) -> Self {
        Self::new(Content::Empty, Some(guard))
    }

    pub fn text(text: Bytes, guard: Guard) -> Self {
        let content = if text.is_empty() {
            Content::Empty
        } else {
            Content::Text(Some(text))
        };
        Self::new(content, Some(guard))
    }

    pub fn upstream(body: UpstreamBody, guard: Guard) -> Self {
        Self::new(Content::Upstream(Box::new(body)), Some(guard))
    }

    /// The text of an answer that the proxy made; it is empty then.
    pub fn take_text(&mut self) -> Option<Bytes> {
        match &mut self.content {
            Content::Text(text) if self.stages.is_empty() => text.take(),
            _ => None,
        }
    }

    /// What follows the head is no HTTP.
    pub fn is_tunnel(&self) -> bool {
        matches!(&self.content, Content::Upstream(body) if body.tunnel.is_some())
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
        tunnel: Option<Tunnel>,
    ) -> Self {
        Self {
            left: incoming.size_hint().exact(),
            incoming,
            lease: Some(lease),
            watchdog: match tunnel {
                None => watchdog,
                Some(_) => Tunnel::limits(watchdog),
            },
            tunnel,
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
        let Some(lease) = &mut self.lease else {
            return Poll::Pending;
        };
        if let Some(client) = lease.driven() {
            client.drive(cx);
            if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) {
                return Poll::Ready(frame);
            }
        }
        if let Lease::Tcp(lease) = lease {
            ready!(lease.poll_failure(cx));
            let error = Error::Ended("the endpoint failed".into());
            return Poll::Ready(Some(Err(error)));
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
        as_it_is: bool,
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
                    if as_it_is {
                        info.bytes_sent += data.len() as u64;
                    }
                    if info.grpc && record.counts_messages.get() {
                        info.response_messages += body.messages.count(data);
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    if info.grpc {
                        info.grpc_status = super::grpc::status(trailers).or(info.grpc_status);
                    }
                    if record.downstream.keeps_trailers {
                        info.response_trailers = Some(Box::new(trailers.clone()));
                    }
                }
                drop(info);
                if body.drop_trailers && frame.is_trailers() {
                    // What follows is the end.
                    return Self::poll_upstream(body, guard, as_it_is, cx);
                }
                if body.incoming.is_end_stream() {
                    body.complete();
                    if as_it_is {
                        record.finish();
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                record.info.borrow_mut().last_upstream_byte = Some(clock::now());
                body.complete();
                if as_it_is {
                    record.finish();
                }
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
                    Self::expire(body, guard, expired);
                    Poll::Ready(Some(Err(Broken("timeout while the answer was sent"))))
                }
            },
        }
    }

    fn poll_content(
        content: &mut Content,
        guard: Option<&Guard>,
        as_it_is: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match content {
            Content::Empty => {
                if let Some(guard) = guard.filter(|_| as_it_is) {
                    guard.0.finish();
                }
                Poll::Ready(None)
            }
            Content::Text(text) => {
                let Some(text) = text.take() else {
                    return Poll::Ready(None);
                };
                if let Some(guard) = guard.filter(|_| as_it_is) {
                    guard.0.info.borrow_mut().bytes_sent += text.len() as u64;
                    guard.0.finish();
                }
                Poll::Ready(Some(Ok(Frame::data(text))))
            }
            Content::Upstream(body) => match guard {
                Some(guard) => Self::poll_upstream(body, guard, as_it_is, cx),
                None => Poll::Ready(None),
            },
        }
    }

    fn poll_stages(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        fn poll(
            stages: &mut [Stage],
            content: &mut Content,
            guard: Option<&Guard>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
            let Some((stage, before)) = stages.split_last_mut() else {
                return ResponseBody::poll_content(content, guard, false, cx);
            };
            let frame = ready!(stage.poll(cx, |cx| poll(before, content, guard, cx)));
            Poll::Ready(frame.map(|frame| match frame {
                Ok(frame) => Ok(frame),
                Err(Failed::Source(error)) => Err(error),
                Err(Failed::Malformed(error)) => {
                    tracing::debug!(%error, "an answer cannot be recoded");
                    if let Some(guard) = guard {
                        let mut info = guard.0.info.borrow_mut();
                        info.flags.insert(Flags::UPSTREAM_PROTOCOL_ERROR);
                        drop(info);
                        guard.0.finish();
                    }
                    Err(Broken("the answer is not coded as it says"))
                }
            }))
        }
        poll(&mut self.stages, &mut self.content, self.guard.as_ref(), cx)
    }

    /// A limit is exceeded: the exchange ends here.
    fn expire(body: &mut UpstreamBody, guard: &Guard, expired: Expired) {
        let (flag, details) = match expired {
            Expired::Global | Expired::PerTry | Expired::PerTryIdle => {
                (Flags::UPSTREAM_REQUEST_TIMEOUT, "response_timeout")
            }
            Expired::MaxStream => (Flags::DURATION_TIMEOUT, "max_duration_timeout"),
            Expired::StreamIdle | Expired::Request => {
                (Flags::STREAM_IDLE_TIMEOUT, "stream_idle_timeout")
            }
        };
        let mut info = guard.0.info.borrow_mut();
        info.flags.insert(flag);
        info.details = details.into();
        drop(info);
        body.lease = None;
        guard.0.finish();
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

impl Outgoing for RequestBody {}

impl Outgoing for ResponseBody {
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Content::Upstream(body), Some(guard)) = (&mut self.content, &self.guard) else {
            return Poll::Pending;
        };
        let expired = ready!(body.watchdog.poll(cx, &guard.0));
        Self::expire(body, guard, expired);
        Poll::Ready(())
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
        if this.stages.is_empty() {
            return Self::poll_content(&mut this.content, this.guard.as_ref(), true, cx);
        }
        let frame = ready!(this.poll_stages(cx));
        if let Some(guard) = &this.guard {
            if let Some(Ok(frame)) = &frame {
                let length = frame.data_ref().map_or(0, Bytes::len);
                guard.0.info.borrow_mut().bytes_sent += length as u64;
            }
            if frame.is_none() || this.is_end_stream() {
                guard.0.finish();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        if let Some(stage) = self.stages.last() {
            return stage.is_end_stream();
        }
        match &self.content {
            Content::Empty => true,
            Content::Text(text) => text.is_none(),
            Content::Upstream(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        if !self.stages.is_empty() {
            return SizeHint::default();
        }
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
        let ended = match self.stages.last() {
            Some(stage) => stage.is_end_stream(),
            None => ended,
        };
        if ended {
            self.finish();
        }
    }
}
