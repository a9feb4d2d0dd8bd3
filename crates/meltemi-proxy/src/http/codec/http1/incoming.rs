//! The body of a received message.

use super::{Connection, Decoder, Fault};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Reads from the connection when it is polled. It knows of its end as soon as the last
/// byte is there.
pub(crate) struct Incoming {
    /// The connection and the message's number on it, until the end.
    source: Option<(Rc<RefCell<Connection>>, u32)>,
    /// Of a request to switch protocols: the connection that it came on.
    switching: Option<Rc<RefCell<Connection>>>,
}

impl Incoming {
    pub(super) fn empty() -> Self {
        Self {
            source: None,
            switching: None,
        }
    }

    pub(super) fn new(connection: Rc<RefCell<Connection>>, message: u32) -> Self {
        Self {
            source: Some((connection, message)),
            switching: None,
        }
    }

    /// Nothing, unless the protocol is switched.
    pub(super) fn switching(connection: Rc<RefCell<Connection>>) -> Self {
        Self {
            source: None,
            switching: Some(connection),
        }
    }

    /// All that is still to come on the connection.
    pub fn begin_tunnel(&mut self) {
        if let Some(connection) = self.switching.take() {
            *self = Connection::begin_body(&connection, Decoder::until_close(), false);
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Some((connection, message)) = &self.source else {
            return Poll::Ready(None);
        };
        let mut connection = connection.borrow_mut();
        let polled = connection.poll_body(*message, cx);
        let ended = match &polled {
            Poll::Pending => false,
            Poll::Ready(Some(Ok(_))) => connection.body_has_ended(),
            Poll::Ready(_) => true,
        };
        drop(connection);
        if ended {
            self.source = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let left = match &self.source {
            Some((connection, _)) => connection.borrow().body_left(),
            None => Some(0),
        };
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
