//! Writes of an HTTP/2 connection, gathered.
//!
//! `h2` writes a frame with a body at once, so streams that answer at the same time would
//! make a system call and a TLS record each. What it writes during one turn of the
//! connection's task is held back here and leaves together when the turn is over.

use crate::http::codec::Io;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// Bytes held back at most, give or take one write.
const LIMIT: usize = 64 * 1024;
/// Room made at the first write of a turn.
const FIRST: usize = 4 * 1024;

/// The connection's half: reads and writes as hyper asks for them.
pub(crate) struct Corked(Rc<RefCell<Inner>>);

/// The task's half: sends what the turn has gathered.
#[derive(Clone)]
pub(crate) struct Cork(Rc<RefCell<Inner>>);

struct Inner {
    io: Io,
    held: Vec<u8>,
    /// Bytes of `held` that are written.
    sent: usize,
    /// Something was held back since the last release.
    used: bool,
}

pub(crate) fn cork(io: Io) -> (Corked, Cork) {
    let inner = Rc::new(RefCell::new(Inner {
        io,
        held: Vec::new(),
        sent: 0,
        used: false,
    }));
    (Corked(inner.clone()), Cork(inner))
}

impl Cork {
    /// Sends what is held back, at the end of the task's turn. The task is woken when the
    /// stream takes more; a broken stream shows at the connection's next read or write.
    pub fn release(&self, cx: &mut Context<'_>) {
        let mut inner = self.0.borrow_mut();
        inner.used = false;
        let _ = inner.flush(cx);
    }

    fn used(&self) -> bool {
        self.0.borrow().used
    }
}

/// Runs a client connection's tasks: hyper makes one for the connection, which writes, and
/// others for the streams.
impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Cork {
    fn execute(&self, future: F) {
        let cork = self.clone();
        tokio::task::spawn_local(async move {
            let mut future = std::pin::pin!(future);
            let mut writes = false;
            std::future::poll_fn(|cx| {
                let result = future.as_mut().poll(cx);
                writes |= cork.used();
                if writes {
                    cork.release(cx);
                }
                result
            })
            .await;
        });
    }
}

impl Inner {
    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.held.len() {
            let io = Pin::new(&mut self.io);
            let written = ready!(hyper::rt::Write::poll_write(
                io,
                cx,
                &self.held[self.sent..]
            ))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        // An idle connection holds no buffer.
        self.held = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.drain(cx))?;
        hyper::rt::Write::poll_flush(Pin::new(&mut self.io), cx)
    }

    fn hold(&mut self, cx: &mut Context<'_>, data: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.held.len() - self.sent >= LIMIT {
            ready!(self.drain(cx))?;
        }
        let length: usize = data.iter().map(|part| part.len()).sum();
        if self.held.is_empty() {
            self.held.reserve(length.max(FIRST));
        }
        self.used = true;
        for part in data {
            self.held.extend_from_slice(part);
        }
        Poll::Ready(Ok(length))
    }
}

impl hyper::rt::Read for Corked {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        cursor: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_read(cx, cursor)
    }
}

impl hyper::rt::Write for Corked {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().hold(cx, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().hold(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Flushed by [`Cork::release`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.drain(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::rt::Write;
    use std::future::poll_fn;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn writes_of_a_turn_leave_together_at_its_end() {
        let (own, mut peer) = tokio::net::UnixStream::pair().unwrap();
        let (mut corked, cork) = cork(Io::new(own.into()));
        for part in [&b"one "[..], b"two"] {
            let length = poll_fn(|cx| Pin::new(&mut corked).poll_write(cx, part)).await;
            assert_eq!(length.unwrap(), part.len());
            poll_fn(|cx| Pin::new(&mut corked).poll_flush(cx))
                .await
                .unwrap();
        }
        let mut text = [0; 16];
        let early = peer.try_read(&mut text);
        assert_eq!(early.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        poll_fn(|cx| {
            cork.release(cx);
            Poll::Ready(())
        })
        .await;
        let length = peer.read(&mut text).await.unwrap();
        assert_eq!(&text[..length], b"one two");
    }

    #[tokio::test]
    async fn what_is_held_back_is_bounded_and_precedes_the_end() {
        let (own, mut peer) = tokio::net::UnixStream::pair().unwrap();
        let (mut corked, cork) = cork(Io::new(own.into()));
        let part = vec![7; LIMIT];
        let mut accepted = 0;
        let full = poll_fn(|cx| {
            Poll::Ready(loop {
                match Pin::new(&mut corked).poll_write(cx, &part) {
                    Poll::Ready(length) => accepted += length.unwrap(),
                    Poll::Pending => break corked.0.borrow().held.len(),
                }
            })
        });
        assert!(full.await <= 2 * LIMIT);
        let ending = async {
            poll_fn(|cx| Pin::new(&mut corked).poll_shutdown(cx))
                .await
                .unwrap();
            drop((corked, cork));
        };
        let mut received = Vec::new();
        let (read, ()) = tokio::join!(peer.read_to_end(&mut received), ending);
        assert_eq!(read.unwrap(), accepted);
    }
}
