//! Reading under TLS in large pieces: rustls asks for 4 KiB at a time, which would make
//! several system calls of one full record.

use super::Socket;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of one read: several full TLS records.
const PIECE: usize = 64 * 1024;

thread_local! {
    /// Where reads of all connections of the thread arrive.
    static PIECES: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into_boxed_slice());
}

/// A socket whose reads fetch what is there. What the reader does not take at once is kept;
/// an idle connection keeps nothing.
#[derive(Debug)]
pub struct ReadAhead {
    socket: Socket,
    kept: Vec<u8>,
    /// Bytes of `kept` that were taken.
    taken: usize,
}

impl ReadAhead {
    pub fn new(socket: Socket) -> Self {
        Self {
            socket,
            kept: Vec::new(),
            taken: 0,
        }
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.taken < this.kept.len() {
            let rest = &this.kept[this.taken..];
            let length = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..length]);
            this.taken += length;
            if this.taken == this.kept.len() {
                this.kept = Vec::new();
                this.taken = 0;
            }
            return Poll::Ready(Ok(()));
        }
        if buf.remaining() >= PIECE {
            return Pin::new(&mut this.socket).poll_read(cx, buf);
        }
        PIECES.with_borrow_mut(|piece| {
            let mut read = ReadBuf::new(piece);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut read))?;
            let read = read.filled();
            let (now, later) = read.split_at(read.len().min(buf.remaining()));
            buf.put_slice(now);
            if !later.is_empty() {
                this.kept = later.to_vec();
                this.taken = 0;
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn small_reads_are_served_from_one_large_one() {
        let (own, mut peer) = tokio::net::UnixStream::pair().unwrap();
        let sent: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
        peer.write_all(&sent).await.unwrap();
        drop(peer);
        let mut reader = ReadAhead::new(Socket::Unix(own));
        let mut first = vec![0; 4096];
        reader.read_exact(&mut first).await.unwrap();
        assert_eq!(reader.kept.len(), sent.len() - first.len());
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).await.unwrap();
        assert_eq!([first, rest].concat(), sent);
        assert_eq!(reader.kept.capacity(), 0);
    }
}
