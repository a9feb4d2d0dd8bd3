//! What is to be written, gathered.

use crate::net::Stream;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Bytes beyond which bodies and heads wait; answers to the peer's own frames do not.
const ROOM: usize = 64 * 1024;
/// Bytes beyond which the peer asks for answers that it does not read (CVE-2019-9512).
const MOST: usize = 512 * 1024;
/// Bytes of a buffer that is made.
const FIRST: usize = 16 * 1024;
/// Buffers of the thread that nobody uses, and the largest kept.
const SPARE: usize = 16;
const SPARE_BYTES: usize = 128 * 1024;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Without bytes it holds no buffer.
#[derive(Default)]
pub(super) struct Output {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are written.
    written: usize,
    /// The stream has taken bytes that it may still hold.
    is_unflushed: bool,
}

impl Output {
    /// Where frames are put.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        if self.buffer.capacity() == 0 {
            self.buffer = BUFFERS
                .with_borrow_mut(Vec::pop)
                .unwrap_or_else(|| Vec::with_capacity(FIRST));
        }
        &mut self.buffer
    }

    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && !self.is_unflushed
    }

    pub fn has_room(&self) -> bool {
        self.buffer.len() - self.written < ROOM
    }

    pub fn is_flooded(&self) -> bool {
        self.buffer.len() - self.written > MOST
    }

    /// Writes all there is.
    pub fn poll_flush(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.buffer.len() {
            let bytes = &self.buffer[self.written..];
            let length = ready!(Pin::new(&mut *stream).poll_write(cx, bytes))?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += length;
            self.is_unflushed = true;
        }
        self.give_back();
        if self.is_unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn give_back(&mut self) {
        self.written = 0;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        BUFFERS.with_borrow_mut(|buffers| {
            if (1..=SPARE_BYTES).contains(&buffer.capacity()) && buffers.len() < SPARE {
                buffers.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn what_is_gathered_leaves_together_and_the_buffer_with_it() {
        let (own, mut peer) = tokio::net::UnixStream::pair().unwrap();
        let mut stream = Stream::from(own);
        let mut output = Output::default();
        output.bytes().extend_from_slice(b"one ");
        output.bytes().extend_from_slice(b"two");
        assert!(!output.is_empty());
        poll_fn(|cx| output.poll_flush(&mut stream, cx))
            .await
            .unwrap();
        assert!(output.is_empty() && output.buffer.capacity() == 0);
        let mut text = [0; 16];
        let length = peer.read(&mut text).await.unwrap();
        assert_eq!(&text[..length], b"one two");
    }
}
