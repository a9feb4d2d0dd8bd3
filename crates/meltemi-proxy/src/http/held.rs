//! The bytes of a connection as the body of a request that opens a tunnel: they wait until the
//! tunnel is open.

use super::codec::{Error, Incoming};
use crate::clock;
use bytes::Bytes;
use http_body::{Body, Frame};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

/// A handle: clones share the body, for one attempt after the other.
#[derive(Clone)]
pub(crate) struct Held(Rc<State>);

struct State {
    body: RefCell<Option<Incoming>>,
    waiting: Cell<Option<Waker>>,
    taken: Cell<u64>,
    activity: Cell<Instant>,
}

impl Held {
    pub fn new() -> Self {
        Self(Rc::new(State {
            body: RefCell::default(),
            waiting: Cell::default(),
            taken: Cell::new(0),
            activity: Cell::new(clock::now()),
        }))
    }

    /// The tunnel is open.
    pub fn release(&self, body: Incoming) {
        *self.0.body.borrow_mut() = Some(body);
        if let Some(waker) = self.0.waiting.take() {
            waker.wake();
        }
    }

    /// Bytes so far.
    pub fn taken(&self) -> u64 {
        self.0.taken.get()
    }

    /// When some were taken last.
    pub fn activity(&self) -> Instant {
        self.0.activity.get()
    }

    pub fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut body = self.0.body.borrow_mut();
        let Some(body) = &mut *body else {
            self.0.waiting.set(Some(cx.waker().clone()));
            return Poll::Pending;
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            self.0.taken.set(self.0.taken.get() + length);
            self.0.activity.set(clock::now());
        }
        Poll::Ready(frame)
    }

    pub fn is_end_stream(&self) -> bool {
        let body = self.0.body.borrow();
        body.as_ref().is_some_and(Body::is_end_stream)
    }
}
