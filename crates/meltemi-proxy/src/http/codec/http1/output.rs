//! Bytes that are to be written.

use crate::net::Stream;
use bytes::{Buf, Bytes};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Data of less is copied behind what is written with it; more goes to the socket as it is.
const SMALL: usize = 4 * 1024;
/// Bytes gathered for one write.
const GATHERED: usize = 16 * 1024;
/// Room made at first: most heads.
const FIRST: usize = 1024;
/// Buffers that a thread keeps for reuse, none of more than twice [`GATHERED`] (1 MiB in all).
const KEPT: usize = 32;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

fn take() -> Vec<u8> {
    SPARE
        .with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| Vec::with_capacity(FIRST))
}

fn give(mut buffer: Vec<u8>) {
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < KEPT && (FIRST..=2 * GATHERED).contains(&buffer.capacity()) {
            buffer.clear();
            spare.push(buffer);
        }
    });
}

/// A head and small parts in one buffer, and at most one large part behind it. Nothing is
/// held when all is written.
#[derive(Default)]
pub(super) struct Output {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are written.
    sent: usize,
    data: Bytes,
    /// What ends the data's chunk.
    tail: &'static [u8],
    /// The stream may hold something back.
    flushes: bool,
    /// Something was written since this was cleared last.
    pub wrote: bool,
}

impl Output {
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.data.is_empty() && self.tail.is_empty()
    }

    /// Whether more may be put in before this is written.
    pub fn has_room(&self) -> bool {
        self.data.is_empty() && self.tail.is_empty() && self.buffer.len() < GATHERED
    }

    /// To write a head or the like to.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.has_room(), "parts would change places");
        if self.buffer.capacity() == 0 {
            self.buffer = take();
        }
        &mut self.buffer
    }

    /// Data, and what follows it. There is room.
    pub fn data(&mut self, data: Bytes, tail: &'static [u8]) {
        if data.len() < SMALL {
            let buffer = self.buffer();
            buffer.extend_from_slice(&data);
            buffer.extend_from_slice(tail);
        } else {
            self.data = data;
            self.tail = tail;
        }
    }

    /// Writes everything.
    pub fn poll_flush(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let head = &self.buffer[self.sent..];
            let stream = Pin::new(&mut *stream);
            let written = if self.data.is_empty() && self.tail.is_empty() {
                ready!(stream.poll_write(cx, head))?
            } else {
                let parts = [
                    IoSlice::new(head),
                    IoSlice::new(&self.data),
                    IoSlice::new(self.tail),
                ];
                ready!(stream.poll_write_vectored(cx, &parts))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written(written);
        }
        if self.flushes {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.flushes = false;
        }
        Poll::Ready(Ok(()))
    }

    fn written(&mut self, length: usize) {
        self.wrote = true;
        self.flushes = true;
        let of_buffer = length.min(self.buffer.len() - self.sent);
        self.sent += of_buffer;
        if self.sent == self.buffer.len() {
            give(std::mem::take(&mut self.buffer));
            self.sent = 0;
        }
        let length = length - of_buffer;
        let of_data = length.min(self.data.len());
        self.data.advance(of_data);
        if self.data.is_empty() {
            self.data = Bytes::new();
        }
        self.tail = &self.tail[length - of_data..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn parts_leave_in_order_whatever_the_stream_takes_at_once() {
        let (own, mut peer) = tokio::net::UnixStream::pair().unwrap();
        let mut stream = Stream::from(own);
        let large = Bytes::from(vec![b'x'; 1 << 20]);
        let mut output = Output::default();
        output.buffer().extend_from_slice(b"head ");
        output.data(Bytes::from_static(b"small"), b" end ");
        assert!(output.has_room());
        output.data(large.clone(), b" tail");
        assert!(!output.has_room() && !output.wrote);
        let mut received = Vec::new();
        let writing = async {
            poll_fn(|cx| output.poll_flush(&mut stream, cx))
                .await
                .unwrap();
            assert!(output.is_empty() && output.wrote);
            assert_eq!(output.buffer.capacity(), 0);
            drop(stream);
        };
        let (_, read) = tokio::join!(writing, peer.read_to_end(&mut received));
        read.unwrap();
        let expected = [b"head small end ", &large[..], b" tail"].concat();
        assert!(received == expected);
    }
}
