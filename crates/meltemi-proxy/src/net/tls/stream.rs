//! A TLS connection as a stream of bytes.

use super::control::{Control, KEY_UPDATE_MESSAGE, Notice, Side, alert_of, close_notify};
use super::piece::{Piece, RECORDS};
use super::record::{
    ALERT, APPLICATION_DATA, FULL_RECORD, HANDSHAKE, Keys, MAX_CONTENT, MAX_RECORD, OVERHEAD,
    length,
};
use crate::net::Socket;
use rustls::{Error, ExtractedSecrets};
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An established TLS connection. An end of the socket without the peer's close_notify is an
/// error of kind `UnexpectedEof`; what the peer does wrong is one of kind `InvalidData` with
/// rustls' error in it.
pub struct TlsStream {
    socket: Socket,
    control: Control,
    opening: Keys,
    sealing: Keys,
    alpn: Option<Box<[u8]>>,
    /// Records that were received and not opened yet.
    sealed: Piece,
    /// Content that was opened and not read yet.
    opened: Piece,
    /// Records that the socket did not take yet.
    outgoing: Piece,
    end: End,
    /// Our keys change before the next data.
    new_keys_due: bool,
    close_sent: bool,
}

/// Records before the end of a key's use at which it is changed.
const MARGIN: u64 = 64;

/// How far reading has come.
enum End {
    Open,
    /// The peer sent close_notify.
    Closed,
    Broken(Error),
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

fn failed(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl TlsStream {
    /// A connection whose handshake is done. `received` are bytes that came behind it.
    ///
    /// # Errors
    /// Secrets that do not fit their suite.
    pub fn new(
        socket: Socket,
        side: Side,
        secrets: &ExtractedSecrets,
        alpn: Option<Box<[u8]>>,
        received: &[u8],
    ) -> Result<Self, Error> {
        let control = Control::new(side);
        Ok(Self {
            opening: Keys::new(control.tls13, secrets.rx.0, &secrets.rx.1)?,
            sealing: Keys::new(control.tls13, secrets.tx.0, &secrets.tx.1)?,
            socket,
            control,
            alpn,
            sealed: Piece::from_bytes(received),
            opened: Piece::default(),
            outgoing: Piece::default(),
            end: End::Open,
            new_keys_due: false,
            close_sent: false,
        })
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The protocol that was negotiated.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// True when a read has something to return, or the socket something to read.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waiting = self.sealed.bytes();
        let complete = match length(waiting) {
            Ok(length) => length.is_some_and(|length| waiting.len() >= length),
            Err(_) => true,
        };
        if complete || !self.opened.is_empty() || !matches!(self.end, End::Open) {
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_read_ready(cx)
    }

    /// Opens records into `buf` while there are complete ones and room. Content of a record that
    /// does not fit is kept for the next read.
    fn open_into(&mut self, buf: &mut ReadBuf<'_>) -> Result<(), Error> {
        let before = buf.filled().len();
        while matches!(self.end, End::Open) && self.opened.is_empty() {
            let Some(total) = length(self.sealed.bytes())? else {
                break;
            };
            let Some(record) = self.sealed.bytes_mut().get_mut(..total) else {
                break;
            };
            let needed = self.opening.opened_length(record)?;
            if needed <= buf.remaining() {
                let room = buf.initialize_unfilled_to(needed);
                let (kind, length) = self.opening.open(record, room)?;
                if kind == APPLICATION_DATA {
                    self.control.data(length)?;
                    buf.advance(length);
                } else {
                    let notice = self.control.take(kind, &room[..length], &mut self.opening);
                    self.obey(notice?);
                }
            } else if buf.filled().len() == before {
                let (kind, content) = self.opening.open_in_place(record)?;
                if kind == APPLICATION_DATA {
                    let content = &record[content];
                    self.control.data(content.len())?;
                    let (now, later) = content.split_at(content.len().min(buf.remaining()));
                    buf.put_slice(now);
                    self.opened = Piece::from_bytes(later);
                } else {
                    let notice = self.control.take(kind, &record[content], &mut self.opening);
                    self.obey(notice?);
                }
            } else {
                break;
            }
            self.sealed.consume(total);
        }
        Ok(())
    }

    fn obey(&mut self, notice: Notice) {
        match notice {
            Notice::None => {}
            Notice::End => self.end = End::Closed,
            // It suffices that they come before our next data (RFC 8446 §4.6.3).
            Notice::NewKeys => self.new_keys_due = true,
        }
    }

    /// Appends a record to the outgoing bytes.
    fn seal(&mut self, kind: u8, content: &[u8]) -> Result<(), Error> {
        let sealed = self.sealing.seal(kind, content, self.outgoing.room())?;
        self.outgoing.extend(sealed);
        Ok(())
    }

    /// Sends what the socket takes without a wait; the rest goes with the next write.
    fn try_send(&mut self) {
        if let Ok(sent) = self.socket.try_write(self.outgoing.bytes()) {
            self.outgoing.consume(sent);
        }
        self.outgoing.settle();
    }

    /// Ends reading with an error, of which the peer is told.
    fn fail(&mut self, error: Error) {
        if let Some(alert) = alert_of(&error).filter(|_| !self.close_sent)
            && self.seal(ALERT, &alert).is_ok()
        {
            self.close_sent = true;
            self.try_send();
        }
        self.end = End::Broken(error);
    }

    /// Sends all that is sealed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let sent = Pin::new(&mut self.socket).poll_write(cx, self.outgoing.bytes());
            if sent.is_pending() {
                self.outgoing.settle();
            }
            match ready!(sent)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.outgoing.consume(sent),
            }
        }
        self.outgoing.settle();
        Poll::Ready(Ok(()))
    }

    /// Seals as much of `parts` as one send may hold, and returns how much that is.
    fn seal_data(&mut self, parts: &[IoSlice<'_>]) -> Result<usize, Error> {
        // A send holds a few records only; TLS 1.2 ends the connection, as it has no new keys.
        let worn = self.sealing.sequence() >= self.control.records_per_key - MARGIN;
        if worn || self.new_keys_due {
            let next = self.control.next_sealing()?;
            self.seal(HANDSHAKE, &KEY_UPDATE_MESSAGE)?;
            self.sealing = next;
            self.new_keys_due = false;
        }
        let mut parts = parts
            .iter()
            .map(|part| &part[..])
            .filter(|part| !part.is_empty())
            .peekable();
        let (mut part, mut accepted): (&[u8], usize) = (&[], 0);
        loop {
            if part.is_empty() {
                let Some(next) = parts.next() else { break };
                part = next;
            }
            let room = self.outgoing.room();
            if room.len() < MAX_CONTENT + OVERHEAD {
                break;
            }
            let record = if part.len() >= MAX_CONTENT || parts.peek().is_none() {
                let (now, later) = part.split_at(part.len().min(MAX_CONTENT));
                part = later;
                accepted += now.len();
                self.sealing.seal(APPLICATION_DATA, now, room)?
            } else {
                // Short parts share a record.
                let start = self.sealing.content_start();
                let content = &mut room[start..start + MAX_CONTENT];
                let mut filled = 0;
                while filled < MAX_CONTENT {
                    if part.is_empty() {
                        let Some(next) = parts.next() else { break };
                        part = next;
                    }
                    let (now, later) = part.split_at(part.len().min(MAX_CONTENT - filled));
                    content[filled..filled + now.len()].copy_from_slice(now);
                    filled += now.len();
                    part = later;
                }
                accepted += filled;
                self.sealing.seal_in_place(APPLICATION_DATA, filled, room)?
            };
            self.outgoing.extend(record);
        }
        Ok(accepted)
    }

    fn poll_write_parts(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx))?;
        if self.close_sent {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let accepted = self.seal_data(parts).map_err(failed)?;
        match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What the socket did not take is sent before anything else.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(accepted)),
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.opened.is_empty() {
            let length = this.opened.bytes().len().min(buf.remaining());
            buf.put_slice(&this.opened.bytes()[..length]);
            this.opened.consume(length);
            this.opened.settle();
            return Poll::Ready(Ok(()));
        }
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        loop {
            if let Err(error) = this.open_into(buf) {
                this.fail(error);
            }
            if buf.filled().len() > before {
                this.sealed.settle();
                return Poll::Ready(Ok(()));
            }
            match &this.end {
                End::Open => {}
                End::Closed => return Poll::Ready(Ok(())),
                End::Broken(error) => return Poll::Ready(Err(failed(error.clone()))),
            }
            // As many full records as the reader has room for, so that reads of a bulk transfer
            // end where a record ends.
            let records = (buf.remaining() / MAX_CONTENT).clamp(1, RECORDS);
            let wanted = MAX_RECORD.max(records * FULL_RECORD);
            let room = wanted.saturating_sub(this.sealed.bytes().len());
            let mut read = ReadBuf::new(&mut this.sealed.room()[..room]);
            let result = Pin::new(&mut this.socket).poll_read(cx, &mut read);
            let received = read.filled().len();
            this.sealed.extend(received);
            if received == 0 {
                this.sealed.shrink();
            }
            ready!(result)?;
            if received == 0 {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "peer closed connection without sending TLS close_notify",
                )));
            }
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_parts(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_parts(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.close_sent {
            this.seal(ALERT, &close_notify()).map_err(failed)?;
            this.close_sent = true;
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}
