//! Reading under TLS in large pieces: rustls asks for 4 KiB at a time, which would make
//! several system calls of one full record.

use super::Socket;
use bytes::{Buf, BytesMut};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Bytes of one read: several full TLS records.
const PIECE: usize = 64 * 1024;
/// Reads of at least this much are followed by ones into memory that is kept as it is.
const BULK: usize = PIECE / 4;

thread_local! {
    /// Where reads of all connections of the thread arrive.
    static PIECES: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into_boxed_slice());
}

/// A socket whose reads fetch what is there. What the reader does not take at once is kept;
/// an idle connection keeps nothing.
#[derive(Debug)]
pub struct ReadAhead {
    socket: Socket,
    kept: BytesMut,
    /// The last read was a large one.
    bulk: bool,
}

impl ReadAhead {
    pub fn new(socket: Socket) -> Self {
        Self {
            socket,
            kept: BytesMut::new(),
            bulk: false,
        }
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Reads a piece to keep, where the last one was.
    fn poll_bulk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.kept.clear();
        self.kept.reserve(PIECE);
        let read = pin!(self.socket.read_buf(&mut self.kept)).poll(cx);
        if !matches!(read, Poll::Ready(Ok(1..))) {
            self.kept = BytesMut::new();
        }
        self.bulk = self.kept.len() >= BULK;
        read.map_ok(|_| ())
    }

    fn take(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.kept.len().min(buf.remaining());
        buf.put_slice(&self.kept[..length]);
        self.kept.advance(length);
        if self.kept.is_empty() && !self.bulk {
            self.kept = BytesMut::new();
        }
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.kept.is_empty() && buf.remaining() >= PIECE {
            return Pin::new(&mut this.socket).poll_read(cx, buf);
        }
        if this.kept.is_empty() && this.bulk {
            ready!(this.poll_bulk(cx))?;
        }
        if !this.kept.is_empty() {
            this.take(buf);
            return Poll::Ready(Ok(()));
        }
        PIECES.with_borrow_mut(|piece| {
            let mut read = ReadBuf::new(piece);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut read))?;
            let read = read.filled();
            this.bulk = read.len() >= BULK;
            let (now, later) = read.split_at(read.len().min(buf.remaining()));
            buf.put_slice(now);
            this.kept.extend_from_slice(later);
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

    /// Large reads and small ones in turn lose nothing, and what waits keeps no memory.
    #[tokio::test]
    async fn bulk_is_read_in_order_and_nothing_is_held_afterwards() {
        let (own, mut peer) = tokio::net::UnixStream::pair().unwrap();
        let sent: Vec<u8> = (0..1_000_000u32).map(|n| (n / 7) as u8).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            for (piece, size) in sent
                .chunks(200_000)
                .zip([1usize, 50_000, 3, 200_000, 9_000])
            {
                for part in piece.chunks(size.max(500)) {
                    peer.write_all(part).await.unwrap();
                }
            }
            peer
        });
        let mut reader = ReadAhead::new(Socket::Unix(own));
        let mut received = Vec::new();
        let mut buffer = vec![0; 4096];
        while received.len() < expected.len() {
            let length = reader.read(&mut buffer).await.unwrap();
            received.extend_from_slice(&buffer[..length]);
        }
        assert!(received == expected);
        let _peer = writing.await.unwrap();
        let mut nothing = pin!(reader.read(&mut buffer));
        let waits = std::future::poll_fn(|cx| Poll::Ready(nothing.as_mut().poll(cx).is_pending()));
        assert!(waits.await);
        assert_eq!(reader.kept.capacity(), 0);
    }
}
