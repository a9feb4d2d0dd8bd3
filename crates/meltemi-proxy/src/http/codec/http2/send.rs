//! Frames to the peer, and the windows of both directions (RFC 9113 5.2).

use super::connection::Connection;
use super::frame::{self, MAX_PAYLOAD};
use super::message;
use super::settings::DEFAULT_WINDOW;
use super::stream::{Failure, Key, Stream, register};
use bytes::{Buf, Bytes};
use http::{HeaderMap, Method, Request, StatusCode};
use std::task::{Context, Poll, ready};

impl Connection {
    /// Whether a request may open a stream now.
    pub fn poll_open(&mut self, cx: &Context<'_>) -> Poll<Result<(), Failure>> {
        if let Some(failure) = self.ended {
            return Poll::Ready(Err(failure));
        }
        if self.is_closed() {
            return Poll::Ready(Err(Failure::Ended("the peer takes no more requests")));
        }
        if self.output.has_room() && self.streams.open() < self.max_streams() as usize {
            return Poll::Ready(Ok(()));
        }
        if !self.openers.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.openers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// As [`Self::poll_open`] for extended CONNECT, which the peer must have offered (RFC 8441
    /// 3).
    pub fn poll_open_extended(&mut self, cx: &Context<'_>) -> Poll<Result<(), Failure>> {
        ready!(self.poll_open(cx))?;
        match (self.has_settings, self.peer.extended_connect) {
            (true, true) => Poll::Ready(Ok(())),
            (true, false) => Poll::Ready(Err(Failure::Malformed(
                "the peer does not offer extended CONNECT",
            ))),
            (false, _) => {
                self.openers.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Opens a stream with its HEADERS.
    pub fn open<B>(&mut self, request: &Request<B>, end: bool) -> Key {
        let id = self.next_id;
        self.next_id += 2;
        let mut stream = Stream::new(id, self.stream_window(), self.peer.initial_window);
        stream.bodiless = *request.method() == Method::HEAD;
        stream.sent_end = end;
        let key = self.streams.insert(stream);
        let (encoder, out) = (&mut self.encoder, self.output.bytes());
        frame::headers(id, end, MAX_PAYLOAD, out, |out| {
            message::encode_request(encoder, request, out);
        });
        self.wake_task();
        key
    }

    /// Whether the stream takes something to send now. The task is woken when that changes,
    /// and when the stream fails.
    pub fn poll_ready(&mut self, key: Key, cx: &Context<'_>) -> Poll<Result<(), Failure>> {
        let has_room = self.output.has_room();
        let Some(stream) = self.streams.get(key) else {
            return Poll::Ready(Err(Failure::Ended("the stream is gone")));
        };
        if let Some(failure) = stream.failure {
            return Poll::Ready(Err(failure));
        }
        register(&mut stream.writing, cx);
        if stream.is_pending() {
            return Poll::Pending;
        }
        if !has_room {
            if !std::mem::replace(&mut stream.is_crowded, true) {
                self.crowded.push(key);
            }
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the stream has failed. The task is woken when it does.
    pub fn has_failed(&mut self, key: Key, cx: &Context<'_>) -> bool {
        let Some(stream) = self.streams.get(key) else {
            return true;
        };
        register(&mut stream.writing, cx);
        stream.failure.is_some()
    }

    pub fn send_response(&mut self, key: Key, status: StatusCode, headers: &HeaderMap, end: bool) {
        let Some(stream) = self.streams.get(key).filter(|s| s.failure.is_none()) else {
            return;
        };
        stream.sent_end = end;
        let (id, encoder, out) = (stream.id, &mut self.encoder, self.output.bytes());
        frame::headers(id, end, MAX_PAYLOAD, out, |out| {
            message::encode_response(encoder, status, headers, out);
        });
        self.sent(key);
    }

    pub fn send_trailers(&mut self, key: Key, trailers: &HeaderMap) {
        let Some(stream) = self.streams.get(key).filter(|s| s.failure.is_none()) else {
            return;
        };
        stream.sent_end = true;
        let (id, encoder, out) = (stream.id, &mut self.encoder, self.output.bytes());
        frame::headers(id, true, MAX_PAYLOAD, out, |out| {
            message::encode_trailers(encoder, trailers, out);
        });
        self.sent(key);
    }

    /// Sends as much as the windows allow; the rest waits. The stream was ready before.
    pub fn send_data(&mut self, key: Key, data: Bytes, end: bool) {
        let Some(stream) = self.streams.get(key).filter(|s| s.failure.is_none()) else {
            return;
        };
        stream.pending = data;
        stream.pending_end = end;
        while self.queue.is_empty() && self.output.has_room() {
            if !self.transmit(key) {
                break;
            }
        }
        if let Some(stream) = self.streams.peek(key)
            && stream.is_pending()
            && (stream.send_window > 0 || stream.pending.is_empty())
        {
            self.queue.push_back(key);
        }
        self.wake_task();
    }

    fn sent(&mut self, key: Key) {
        self.settle(key);
        self.wake_task();
    }

    /// Puts one DATA frame out; whether there may be another.
    fn transmit(&mut self, key: Key) -> bool {
        let Some(stream) = self.streams.get(key) else {
            return false;
        };
        if !stream.is_pending() {
            return false;
        }
        let window = stream.send_window.min(self.send_window).max(0) as usize;
        let length = stream.pending.len().min(window).min(MAX_PAYLOAD);
        if length == 0 && !stream.pending.is_empty() {
            return false;
        }
        let end = stream.pending_end && length == stream.pending.len();
        let piece = &stream.pending[..length];
        frame::data(stream.id, piece, end, self.output.bytes());
        stream.pending.advance(length);
        stream.send_window -= length as i64;
        self.send_window -= length as i64;
        self.budget.earn();
        if stream.pending.is_empty() {
            // What was sent is not held on to.
            stream.pending = Bytes::new();
            stream.pending_end = false;
            if end {
                stream.sent_end = true;
                self.settle(key);
            } else {
                stream.wake_writer();
            }
            return false;
        }
        true
    }

    /// Takes turns among the streams that wait, frame by frame, as far as room and the
    /// connection's window go.
    pub fn transmit_queued(&mut self) {
        while self.output.has_room()
            && let Some(key) = self.queue.pop_front()
        {
            let is_shut = self.send_window <= 0;
            let more = self.transmit(key);
            let Some(stream) = self.streams.peek(key).filter(|s| s.is_pending()) else {
                continue;
            };
            if is_shut && !stream.pending.is_empty() {
                self.queue.push_front(key);
                return;
            }
            // One whose own window is shut comes back with its WINDOW_UPDATE.
            if stream.send_window > 0 && (more || self.send_window <= 0) {
                self.queue.push_back(key);
            }
        }
    }

    /// The output is empty again: whoever waited for room goes on.
    pub fn make_room(&mut self) {
        for key in std::mem::take(&mut self.crowded) {
            if let Some(stream) = self.streams.get(key) {
                stream.is_crowded = false;
                stream.wake_writer();
            }
        }
        self.wake_openers();
    }

    /// The reader has taken bytes, or they were none for it.
    pub fn release(&mut self, key: Key, length: usize) {
        let window = self.own.stream_window;
        if let Some(stream) = self.streams.get(key)
            && !stream.received_end
            && stream.failure.is_none()
        {
            stream.released += length as u32;
            if stream.released > window / 2 {
                stream.receive_window += i64::from(stream.released);
                let increment = std::mem::take(&mut stream.released);
                frame::window_update(stream.id, increment, self.output.bytes());
                self.wake_task();
            }
        }
        self.release_connection(length);
    }

    pub fn release_connection(&mut self, length: usize) {
        self.released += length as u32;
        if self.released > self.own.connection_window.max(DEFAULT_WINDOW) / 2 {
            self.receive_window += i64::from(self.released);
            let increment = std::mem::take(&mut self.released);
            frame::window_update(0, increment, self.output.bytes());
            self.wake_task();
        }
    }
}
