//! The socket under a connection: bytes into frames, and the output onto the wire.

use super::connection::{Connection, KEEPALIVE_PING};
use super::frame::{self, HEAD, MAX_PAYLOAD};
use super::keepalive::{Due, Keepalive};
use super::stream::Failure;
use crate::net::Stream;
use bytes::Bytes;
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

/// Bytes of one read, behind what the last one left of a frame.
const PIECE: usize = 64 * 1024;
/// Reads of one turn, so that others get theirs.
const READS: u32 = 4;
/// How long the last frames of a connection may take to leave.
const FAREWELL: Duration = Duration::from_secs(1);

thread_local! {
    /// Where reads of all connections of the thread arrive.
    static PIECES: RefCell<Box<[u8]>> =
        RefCell::new(vec![0; PIECE + HEAD + MAX_PAYLOAD].into_boxed_slice());
}

pub(super) struct Transport {
    stream: Stream,
    /// The beginning of a frame whose end has not come; an idle connection keeps nothing.
    kept: Vec<u8>,
    keepalive: Option<Keepalive>,
}

impl Transport {
    /// `read`: bytes that were read before.
    pub fn new(stream: Stream, read: &Bytes, keepalive: Option<Keepalive>) -> Self {
        Self {
            stream,
            kept: read.to_vec(),
            keepalive,
        }
    }

    /// Reads what is there. When the peer has closed or broken the connection, it has ended.
    pub fn read(&mut self, cx: &mut Context<'_>, connection: &RefCell<Connection>) {
        for _ in 0..READS {
            let ended = PIECES.with_borrow_mut(|piece| self.read_once(cx, piece, connection));
            match ended {
                Poll::Pending => return,
                Poll::Ready(None) => {}
                Poll::Ready(Some(failure)) => return connection.borrow_mut().end(failure),
            }
            if connection.borrow().ended.is_some() {
                return;
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Ready with the reason when nothing more will come.
    fn read_once(
        &mut self,
        cx: &mut Context<'_>,
        piece: &mut [u8],
        connection: &RefCell<Connection>,
    ) -> Poll<Option<Failure>> {
        let kept = self.kept.len();
        piece[..kept].copy_from_slice(&self.kept);
        let mut read = ReadBuf::new(piece);
        read.advance(kept);
        match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "HTTP/2 connection broke");
                return Poll::Ready(Some(match crate::tls::verdict(&error) {
                    Some(verdict) => Failure::Verdict(verdict),
                    None => Failure::Ended("the connection broke"),
                }));
            }
            Poll::Ready(Ok(())) => {}
        }
        let read = read.filled();
        if read.len() == kept {
            return Poll::Ready(Some(Failure::Ended("the peer closed the connection")));
        }
        if let Some(keepalive) = &mut self.keepalive {
            keepalive.heard();
        }
        let mut connection = connection.borrow_mut();
        match connection.receive(read) {
            Ok(taken) if taken == read.len() => self.kept = Vec::new(),
            Ok(taken) => self.kept = read[taken..].to_vec(),
            Err(broken) => {
                tracing::debug!(reason = %broken.reason, why = broken.why, "HTTP/2 peer broke the rules");
                connection.break_off(&broken);
            }
        }
        Poll::Ready(None)
    }

    /// Whether a head has begun to come that is not complete.
    pub fn is_within_head(&self, connection: &Connection) -> bool {
        const KIND: usize = 3;
        connection.block.is_some() || self.kept.get(KIND) == Some(&frame::kind::HEADERS)
    }

    /// Writes what is there; true when it is written, and there may be more.
    pub fn write(&mut self, cx: &mut Context<'_>, connection: &RefCell<Connection>) -> bool {
        let mut connection = connection.borrow_mut();
        connection.transmit_queued();
        if connection.output.is_empty() {
            return false;
        }
        match connection.output.poll_flush(&mut self.stream, cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => {
                connection.make_room();
                true
            }
            Poll::Ready(Err(_)) => {
                connection.end(Failure::Ended("the connection broke"));
                false
            }
        }
    }

    pub fn ask(&mut self, cx: &mut Context<'_>, connection: &RefCell<Connection>) {
        let Some(keepalive) = &mut self.keepalive else {
            return;
        };
        while let Poll::Ready(due) = keepalive.poll(cx) {
            let mut connection = connection.borrow_mut();
            match due {
                Due::Ping => frame::ping(false, KEEPALIVE_PING, connection.output.bytes()),
                Due::End => return connection.end(Failure::Ended("the peer is silent")),
            }
        }
    }

    /// Sends what is left and closes, if the peer lets it.
    pub async fn close(mut self, connection: &RefCell<Connection>) {
        let farewell = async {
            let flushed = poll_fn(|cx| {
                let output = &mut connection.borrow_mut().output;
                output.poll_flush(&mut self.stream, cx)
            });
            if flushed.await.is_ok() {
                // It is closed in any case.
                let _ = self.stream.shutdown().await;
            }
        };
        // A peer that does not read does not hold the connection.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}
