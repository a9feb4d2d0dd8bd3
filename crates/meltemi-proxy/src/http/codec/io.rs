//! A stream as hyper reads and writes it.

#![allow(unsafe_code, reason = "hyper's buffers")]

use crate::net::Stream;
use bytes::{Buf, Bytes};
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) struct Io {
    stream: Stream,
    /// Bytes read before the protocol was known.
    prefix: Bytes,
}

impl Io {
    pub fn new(stream: Stream) -> Self {
        Self::with_prefix(stream, Bytes::new())
    }

    pub fn with_prefix(stream: Stream, prefix: Bytes) -> Self {
        Self { stream, prefix }
    }
}

impl hyper::rt::Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        // SAFETY: `ReadBuf` never de-initialises what it is given.
        let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
        if self.prefix.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        } else {
            let length = self.prefix.len().min(buffer.remaining());
            buffer.put_slice(&self.prefix[..length]);
            self.prefix.advance(length);
        }
        let length = buffer.filled().len();
        // SAFETY: `buffer` wraps the cursor's memory and has filled `length` bytes of it.
        unsafe { cursor.advance(length) };
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
