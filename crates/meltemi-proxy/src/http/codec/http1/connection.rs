//! The connection that who runs it shares with the body being received.
//!
//! Everything happens on one thread and in the polls of whoever waits: there is no task, no
//! channel and no second waker. Reads arrive in a buffer of the thread and are kept in
//! allocations of their own size, so that an idle connection holds none.

use super::due;
use super::head::{Limits, Partial, Start};
use super::output::Output;
use super::{Decoded, Decoder, Fault, Incoming, Input};
use crate::net::Stream;
use bytes::{Bytes, BytesMut};
use http_body::Frame;
use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Bytes of one read.
const PIECE: usize = 64 * 1024;
/// Reads of at least this much are followed by ones into memory that is kept as it is.
const BULK: usize = PIECE / 2;
/// Bytes of a body that are read in order to use a connection again although nobody wants
/// them.
const MAX_DISCARDED: u64 = 64 * 1024;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

thread_local! {
    static ARRIVALS: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into_boxed_slice());
}

pub(super) struct Connection {
    stream: Stream,
    pub input: Input,
    pub output: Output,
    /// What is left of the message that is being received.
    body: Decoder,
    /// Counts received messages: a body reads of its own only.
    message: u32,
    /// The client waits for 100 (Continue) before it sends the body.
    owes_continue: bool,
    /// Reading failed, or must not go on.
    failed: bool,
    /// The last read was a large one.
    bulk: bool,
    /// The output is written at the end of this turn.
    due: bool,
    /// Why that failed, for who runs the connection.
    lost: Option<io::Error>,
}

impl Connection {
    pub fn new(stream: Stream, read: Bytes) -> Self {
        Self {
            stream,
            input: Input::new(read),
            output: Output::default(),
            body: Decoder::length(0),
            message: 0,
            owes_continue: false,
            failed: false,
            bulk: false,
            due: false,
            lost: None,
        }
    }

    /// The body of the message whose head was received.
    pub fn begin_body(this: &Rc<RefCell<Self>>, body: Decoder, owes_continue: bool) -> Incoming {
        let mut connection = this.borrow_mut();
        connection.message = connection.message.wrapping_add(1);
        connection.body = body;
        connection.owes_continue = owes_continue;
        match connection.body.has_ended() {
            true => Incoming::empty(),
            false => Incoming::new(this.clone(), connection.message),
        }
    }

    /// Whether the message is received in full.
    pub fn body_has_ended(&self) -> bool {
        self.body.has_ended()
    }

    /// Bytes of body to come, where that is known.
    pub fn body_left(&self) -> Option<u64> {
        self.body.left()
    }

    /// Nothing more can be received: a body that is not complete is cut.
    pub fn fail(&mut self) {
        self.failed = true;
    }

    /// Reads what is there; 0 at the end of the stream. What was read before is used up.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let bytes = match self.bulk {
            true => ready!(self.poll_read_bulk(cx))?,
            false => ready!(self.poll_read(cx))?,
        };
        let length = bytes.len();
        self.bulk = length >= BULK;
        self.input.put(bytes);
        Poll::Ready(Ok(length))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        ARRIVALS.with_borrow_mut(|piece| {
            let mut piece = ReadBuf::new(piece);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
            Poll::Ready(Ok(Bytes::copy_from_slice(piece.filled())))
        })
    }

    fn poll_read_bulk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        ready!(self.stream.poll_read_ready(cx))?;
        let mut piece = BytesMut::with_capacity(PIECE);
        ready!(pin!(self.stream.read_buf(&mut piece)).poll(cx))?;
        Poll::Ready(Ok(match piece.len() {
            length if length < BULK => Bytes::copy_from_slice(&piece),
            _ => piece.freeze(),
        }))
    }

    /// Lines of a head, until it is complete in `partial`; where the stream ends before it begins,
    /// nothing is.
    pub fn poll_head<S: Start>(
        &mut self,
        partial: &mut Partial<S>,
        limits: Limits,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        if let Poll::Ready(Err(error)) = self.poll_rest(cx) {
            return Poll::Ready(Err(error.into()));
        }
        loop {
            if partial.take_in(&mut self.input, limits)? {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(match partial.has_begun() || !self.input.is_empty() {
                    true => Err(Fault::Cut),
                    false => Ok(()),
                });
            }
        }
    }

    /// A frame of the body of message number `message`.
    pub fn poll_body(
        &mut self,
        message: u32,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if self.failed || message != self.message {
            return Poll::Ready(Some(Err(Fault::Body("the exchange is over"))));
        }
        if std::mem::take(&mut self.owes_continue) && self.output.has_room() {
            self.output.buffer().extend_from_slice(CONTINUE);
            // Who runs the connection flushes what is left, and meets the error.
            let _ = self.poll_flush(cx);
        }
        let frame = ready!(self.poll_frame(cx));
        self.failed = frame.is_err();
        Poll::Ready(frame.transpose())
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Fault>> {
        loop {
            match self.body.decode(&mut self.input)? {
                Decoded::Data(data) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                Decoded::Trailers(fields) => {
                    return Poll::Ready(Ok(Some(Frame::trailers(fields))));
                }
                Decoded::End => return Poll::Ready(Ok(None)),
                Decoded::More => {}
            }
            if ready!(self.poll_fill(cx))? == 0 {
                self.body.end_of_input()?;
            }
        }
    }

    /// Reads what nobody wants of a body, if it is there and short. Whether the message is
    /// received in full then.
    pub fn discard_body(&mut self, cx: &mut Context<'_>) -> bool {
        let mut left = MAX_DISCARDED;
        // The client waits for a word that is not said any more, or does not send: either
        // way it cannot be known whether a body comes.
        if std::mem::take(&mut self.owes_continue) {
            left = 0;
        }
        while !self.body.has_ended() && !self.failed && left > 0 {
            match self.poll_frame(cx) {
                Poll::Ready(Ok(Some(frame))) => {
                    left = left.saturating_sub(frame.data_ref().map_or(0, |d| d.len() as u64));
                }
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(_)) => self.failed = true,
                Poll::Pending => break,
            }
        }
        self.body.has_ended()
    }

    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.lost.take() {
            return Poll::Ready(Err(error));
        }
        self.output.poll_flush(&mut self.stream, cx)
    }

    /// Leaves the output to the end of this turn, if it is small. Whether it is left: then the
    /// task of `cx` is woken only if it cannot be written at once, and meets that in
    /// [`Self::poll_flush`].
    pub fn defer(this: &Rc<RefCell<Self>>, cx: &Context<'_>) -> bool {
        let mut connection = this.borrow_mut();
        let output = &connection.output;
        if !connection.due && connection.lost.is_none() && output.has_room() && !output.is_empty() {
            connection.due = true;
            drop(connection);
            due::add(this, cx.waker());
            connection = this.borrow_mut();
        }
        connection.due
    }

    pub fn is_due(&self) -> bool {
        self.due
    }

    /// Ready when another head may be put out behind what is there.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.output.has_room() {
            true => Poll::Ready(Ok(())),
            false => self.poll_flush(cx),
        }
    }

    /// Writes what the end of a turn left over.
    pub fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.due {
            true => Poll::Pending,
            false => self.poll_flush(cx),
        }
    }

    /// Writes what was left to the end of a turn by the task of `waker`.
    pub fn flush_due(&mut self, waker: &Waker) {
        self.due = false;
        if let Poll::Ready(Err(error)) = self.poll_flush(&mut Context::from_waker(waker)) {
            self.lost = Some(error);
            waker.wake_by_ref();
        }
    }

    /// While the peer is expected to say nothing: notices that it goes away. What it says
    /// all the same is kept for later, and only once.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        if !self.body.has_ended() || !self.input.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.poll_fill(cx)) {
            Ok(0) => Poll::Ready(Fault::Cut),
            Ok(_) => Poll::Pending,
            Err(error) => Poll::Ready(error.into()),
        }
    }

    /// Whether nothing is on its way in either direction, what nobody asked for included.
    pub fn is_quiet(&self) -> bool {
        !self.failed && self.body.has_ended() && self.output.is_empty() && self.input.is_empty()
    }

    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Reads and drops everything until the peer closes.
    pub fn poll_ignore(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.input = Input::default();
            if !matches!(ready!(self.poll_fill(cx)), Ok(1..)) {
                return Poll::Ready(());
            }
        }
    }

    /// The peer must not take what it got for complete.
    pub fn reset_on_close(&self) {
        self.stream.reset_on_close();
    }
}
