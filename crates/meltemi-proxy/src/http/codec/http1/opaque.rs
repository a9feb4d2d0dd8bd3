//! A connection whose bytes are no HTTP: a body each way.

use super::encode::Encoder;
use super::sending::Sending;
use super::{Connection, Decoder};
use crate::http::codec::{Error, Incoming, Outgoing};
use crate::net::Stream;
use bytes::Bytes;
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;

pub(crate) struct Opaque(Rc<RefCell<Connection>>);

impl Opaque {
    pub fn new(stream: Stream) -> Self {
        Self(Rc::new(RefCell::new(Connection::new(stream, Bytes::new()))))
    }

    /// What the peer sends; asked for once.
    pub fn receive(&self) -> Incoming {
        let body = Connection::begin_body(&self.0, Decoder::until_close(), false);
        Incoming::Http1(body)
    }

    /// Sends a body, and the end behind it.
    ///
    /// # Errors
    /// When the connection or the body breaks.
    pub async fn send(&self, body: impl Outgoing) -> Result<(), Error> {
        let mut sending = Sending::new(body, Encoder::UntilClose);
        poll_fn(|cx| sending.poll(&self.0, cx)).await?;
        let shut = poll_fn(|cx| self.0.borrow_mut().poll_shutdown(cx)).await;
        shut.map_err(|error| super::Fault::from(error).into())
    }

    /// The peer must not take what it got for complete.
    pub fn reset_on_close(&self) {
        self.0.borrow().reset_on_close();
    }
}
