//! A request's body on its way up: read once from the client, kept (within a bound) while
//! it may have to be sent again or mirrored.

use super::grpc::MessageCounter;
use super::record::Record;
use super::reply::Reply;
use super::source::RequestSource;
use bytes::Bytes;
use http_body::Frame;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use tokio::sync::oneshot;

/// Bytes kept for retries and mirrors (Envoy's per-request buffer limit is the listener's
/// 1 MiB; its replay bound for retries on streams is 64 KiB).
pub(crate) const KEEP_LIMIT: usize = 64 * 1024;

pub(crate) struct Upload {
    state: RefCell<State>,
    record: Rc<Record>,
    length: Option<u64>,
    /// The client's trailers end here.
    drop_trailers: bool,
    keeping: Cell<bool>,
    /// The client waits for the upstream's 100 (Continue): the body is held back until the
    /// upstream asks for it.
    held: Cell<bool>,
    /// Who was held back.
    waiting: Cell<Option<Waker>>,
    /// Mirrors wait for the whole body.
    mirror: RefCell<Option<oneshot::Sender<Vec<Bytes>>>>,
}

struct State {
    source: RequestSource,
    kept: Vec<Kept>,
    kept_bytes: usize,
    /// What was read is no longer there in full.
    lost: bool,
    ended: bool,
    failed: bool,
    /// It failed because a filter could make nothing of it.
    malformed: bool,
    messages: MessageCounter,
}

#[derive(Clone)]
enum Kept {
    Data(Bytes),
    Trailers(http::HeaderMap),
}

/// The client's side of the body broke.
#[derive(Debug, thiserror::Error)]
#[error("the client's request body ended early")]
pub(crate) struct UploadError;

impl Upload {
    pub fn new(source: RequestSource, record: Rc<Record>, keep: bool, held: bool) -> Rc<Self> {
        Rc::new(Self {
            length: source.length(),
            drop_trailers: record.drops_trailers(),
            state: RefCell::new(State {
                source,
                kept: Vec::new(),
                kept_bytes: 0,
                lost: false,
                ended: false,
                failed: false,
                malformed: false,
                messages: MessageCounter::default(),
            }),
            record,
            keeping: Cell::new(keep),
            held: Cell::new(held),
            waiting: Cell::default(),
            mirror: RefCell::default(),
        })
    }

    /// Whether an attempt can send the whole body (again).
    pub fn is_replayable(&self) -> bool {
        let state = self.state.borrow();
        !state.lost && !state.failed
    }

    /// What is answered when the request broke off.
    pub fn failure(&self) -> Option<Reply> {
        let state = self.state.borrow();
        match (state.failed, state.malformed) {
            (false, _) => None,
            (true, true) => Some(Reply::malformed_body()),
            (true, false) => Some(Reply::client_gone()),
        }
    }

    /// The upstream asks for the body.
    pub fn proceed(&self) {
        self.held.set(false);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Resolves with the whole body once the client has sent it; fails when it was too long
    /// to be kept or broke off.
    pub fn for_mirror(&self) -> oneshot::Receiver<Vec<Bytes>> {
        let (sender, receiver) = oneshot::channel();
        *self.mirror.borrow_mut() = Some(sender);
        receiver
    }

    /// No further attempt will be made: what follows is not kept.
    pub fn stop_keeping(&self) {
        if self.mirror.borrow().is_some() {
            return;
        }
        self.keeping.set(false);
        let mut state = self.state.borrow_mut();
        state.lost = true;
        state.kept = Vec::new();
    }

    fn ended(&self, state: &mut State) {
        state.ended = true;
        self.record.request_ended();
        if let Some(mirror) = self.mirror.take()
            && !state.lost
        {
            let body = state.kept.iter().filter_map(|kept| match kept {
                Kept::Data(data) => Some(data.clone()),
                Kept::Trailers(_) => None,
            });
            // The mirror may have given up.
            let _ = mirror.send(body.collect());
        }
    }

    fn poll(
        &self,
        position: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if let Some(kept) = state.kept.get(*position) {
            *position += 1;
            return Poll::Ready(Some(Ok(match kept.clone() {
                Kept::Data(data) => Frame::data(data),
                Kept::Trailers(trailers) => Frame::trailers(trailers),
            })));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        if state.failed {
            return Poll::Ready(Some(Err(UploadError)));
        }
        if self.held.get() {
            self.waiting.set(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        let frame = match ready!(state.source.poll_frame(&self.record, cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                tracing::debug!(%error, "request body broke off");
                state.failed = true;
                state.malformed =
                    matches!(state.source, RequestSource::Recoded(..)) && error.is_malformed();
                return Poll::Ready(Some(Err(UploadError)));
            }
            None => {
                self.ended(state);
                return Poll::Ready(None);
            }
        };
        if self.drop_trailers && frame.is_trailers() {
            self.ended(state);
            return Poll::Ready(None);
        }
        if let Some(data) = frame.data_ref() {
            let mut info = self.record.info.borrow_mut();
            if info.grpc && self.record.counts_messages.get() {
                info.request_messages += state.messages.count(data);
            }
        }
        if self.keeping.get() && !state.lost {
            state.kept_bytes += frame.data_ref().map_or(0, Bytes::len);
            if state.kept_bytes > KEEP_LIMIT {
                state.lost = true;
                state.kept = Vec::new();
            } else {
                state.kept.push(match frame.data_ref() {
                    Some(data) => Kept::Data(data.clone()),
                    None => Kept::Trailers(frame.trailers_ref().cloned().unwrap_or_default()),
                });
                *position = state.kept.len();
            }
        } else {
            state.lost = true;
        }
        if state.source.is_end_stream() {
            self.ended(state);
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

/// One attempt's reading of an [`Upload`].
pub(crate) struct UploadBody {
    upload: Rc<Upload>,
    position: usize,
    /// Whether this upstream gets trailers.
    trailers: bool,
    /// Data that was read and not sent.
    unread: Option<Bytes>,
}

impl UploadBody {
    pub fn new(upload: Rc<Upload>, trailers: bool) -> Self {
        Self {
            upload,
            position: 0,
            trailers,
            unread: None,
        }
    }

    pub fn proceed(&self) {
        self.upload.proceed();
    }

    /// Takes data back, which comes next again.
    pub fn unread(&mut self, data: Bytes) {
        self.unread = Some(data);
    }

    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if let Some(data) = self.unread.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.upload.poll(&mut self.position, cx) {
            Poll::Ready(Some(Ok(frame))) if !self.trailers && frame.is_trailers() => {
                Poll::Ready(None)
            }
            polled => polled,
        }
    }

    pub fn is_end_stream(&self) -> bool {
        let state = self.upload.state.borrow();
        state.ended && self.position >= state.kept.len() && self.unread.is_none()
    }

    pub fn size_hint(&self) -> http_body::SizeHint {
        match self.upload.length {
            Some(length) if self.position == 0 => http_body::SizeHint::with_exact(length),
            _ => http_body::SizeHint::default(),
        }
    }
}
