//! A body on its way out, of a request or of an answer.

use super::encode::Encoder;
use super::{Connection, Fault};
use crate::http::codec::Outgoing;
use bytes::Bytes;
use http_body::Frame;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

pub(super) struct Sending<B> {
    body: B,
    encoder: Encoder,
    ended: bool,
    /// The body's first data, as long as no byte of the message is written.
    first: Option<Bytes>,
    begun: bool,
}

/// What is there of the body when a poll has put in what it could.
enum Filled {
    All,
    /// There is no room, or there shall be no more before something is written.
    ForNow,
    /// The body waits for its source.
    Pending,
}

impl<B: Outgoing> Sending<B> {
    /// The message's head is in the connection's output.
    pub fn new(body: B, encoder: Encoder) -> Self {
        Self {
            body,
            ended: encoder.is_done(),
            encoder,
            first: None,
            begun: false,
        }
    }

    /// Sends what there is. Ready when the whole message is written; where it is small, that is
    /// at the end of this turn, without a wake-up.
    pub fn poll(
        &mut self,
        connection: &Rc<RefCell<Connection>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        loop {
            let filled = self.fill(connection, cx)?;
            // A message without a length ends with what follows its last bytes.
            if matches!(filled, Filled::All)
                && !self.encoder.is_until_close()
                && Connection::defer(connection, cx)
            {
                return Poll::Pending;
            }
            let mut connection = connection.borrow_mut();
            let flushed = connection.poll_flush(cx)?;
            if connection.output.wrote {
                self.first = None;
            }
            match filled {
                _ if flushed.is_pending() => {
                    ready!(self.body.poll_stalled(cx));
                    return Poll::Ready(Err(Fault::Body("the peer takes nothing of the body")));
                }
                Filled::All => return Poll::Ready(Ok(())),
                Filled::Pending => return Poll::Pending,
                Filled::ForNow => {}
            }
        }
    }

    /// Whether nothing but the end of this turn is waited for.
    pub fn is_due(&self, connection: &Connection) -> bool {
        self.ended && connection.is_due()
    }

    pub fn body(&mut self) -> &mut B {
        &mut self.body
    }

    /// The body and its first data, if no more of it than that was asked for.
    pub fn into_unsent(self) -> Option<(B, Option<Bytes>)> {
        (!self.begun || self.first.is_some()).then_some((self.body, self.first))
    }

    /// The connection is not borrowed while the body is polled, which may look at others.
    fn fill(
        &mut self,
        connection: &RefCell<Connection>,
        cx: &mut Context<'_>,
    ) -> Result<Filled, Fault> {
        while !self.ended {
            if !connection.borrow().output.has_room() {
                return Ok(Filled::ForNow);
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(Filled::Pending),
                Poll::Ready(Some(Err(_))) => return Err(Fault::Body("the body broke off")),
                Poll::Ready(frame) => frame.and_then(Result::ok),
            };
            self.begun = true;
            let output = &mut connection.borrow_mut().output;
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => {
                    if !output.wrote && !self.encoder.is_done() {
                        self.first = Some(data.clone());
                    }
                    let ends = self.body.is_end_stream();
                    self.encoder.data(data, ends, output)?;
                    if ends || self.encoder.is_done() {
                        self.encoder.end(None, output)?;
                        self.ended = true;
                    } else if !output.wrote {
                        return Ok(Filled::ForNow);
                    }
                }
                Some(Err(frame)) => {
                    self.encoder.end(frame.trailers_ref(), output)?;
                    self.ended = true;
                }
                None => {
                    self.encoder.end(None, output)?;
                    self.ended = true;
                }
            }
        }
        Ok(Filled::All)
    }
}
