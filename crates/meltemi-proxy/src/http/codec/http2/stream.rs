//! The streams of a connection.

use super::reason::Reason;
use crate::http::codec::Error;
use bytes::Bytes;
use http::{HeaderMap, Response};
use std::collections::VecDeque;
use std::task::{Context, Waker};

/// Chunks of a body that its reader has not taken are joined up to this size: bytes that
/// arrive in tiny frames cost no more memory than others.
const JOIN: usize = 16 * 1024;
/// Slots kept when no stream is left.
const IDLE_SLOTS: usize = 4;

/// Why a stream carries nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Ended with this code, by the peer or by us.
    Reset(Reason),
    /// The peer's message breaks a rule.
    Malformed(&'static str),
    /// The peer's head is beyond the limit.
    TooLarge,
    /// The connection ended.
    Ended(&'static str),
    /// It ended by what the peer says of our certificate.
    Verdict(&'static str),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Reset(reason) => Self::Reset(reason),
            Failure::Malformed(why) => Self::Malformed(why.into()),
            Failure::TooLarge => Self::TooLarge,
            Failure::Ended(why) => Self::Ended(why.into()),
            Failure::Verdict(verdict) => Self::Verdict(verdict),
        }
    }
}

/// Where a stream is in [`Streams`]; valid while a handle of the stream lives.
pub(super) type Key = usize;

pub(super) struct Stream {
    pub id: u32,
    /// Someone reads what is received; someone may send more.
    pub has_reader: bool,
    pub has_writer: bool,
    /// Neither side may send any more: the peer no longer counts it.
    pub is_closed: bool,
    pub failure: Option<Failure>,

    /// The answer's head, until it is taken.
    pub head: Option<Response<()>>,
    pub has_head: bool,
    /// Its answer has no body, whatever its length says.
    pub bodiless: bool,
    pub chunks: VecDeque<Vec<u8>>,
    pub trailers: Option<HeaderMap>,
    pub received_end: bool,
    /// Bytes that `content-length` says are still to come.
    pub left: Option<u64>,
    /// Bytes that the peer may send; below zero it broke the rules.
    pub receive_window: i64,
    /// Bytes taken by the reader that the peer was not told of yet.
    pub released: u32,

    pub send_window: i64,
    /// What waits for a window or for room, and whether the stream ends with it.
    pub pending: Bytes,
    pub pending_end: bool,
    pub sent_end: bool,
    /// It waits for room in the output.
    pub is_crowded: bool,

    pub reading: Option<Waker>,
    pub writing: Option<Waker>,
}

impl Stream {
    pub fn new(id: u32, receive_window: u32, send_window: u32) -> Self {
        Self {
            id,
            has_reader: true,
            has_writer: true,
            is_closed: false,
            failure: None,
            head: None,
            has_head: false,
            bodiless: false,
            chunks: VecDeque::new(),
            trailers: None,
            received_end: false,
            left: None,
            receive_window: receive_window.into(),
            released: 0,
            send_window: send_window.into(),
            pending: Bytes::new(),
            pending_end: false,
            sent_end: false,
            is_crowded: false,
            reading: None,
            writing: None,
        }
    }

    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty() || self.pending_end
    }

    pub fn keep(&mut self, data: &[u8]) {
        match self.chunks.back_mut() {
            Some(last) if last.len() + data.len() <= JOIN => last.extend_from_slice(data),
            _ => self.chunks.push_back(data.to_vec()),
        }
    }

    /// Drops what was received and not read; the number of bytes.
    pub fn discard(&mut self) -> usize {
        self.chunks.drain(..).map(|chunk| chunk.len()).sum()
    }

    pub fn wake_reader(&mut self) {
        if let Some(waker) = self.reading.take() {
            waker.wake();
        }
    }

    pub fn wake_writer(&mut self) {
        if let Some(waker) = self.writing.take() {
            waker.wake();
        }
    }
}

/// Keeps a task's waker, anew only when it has changed.
pub(super) fn register(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

#[derive(Default)]
pub(super) struct Streams {
    slots: Vec<Option<Stream>>,
    free: Vec<Key>,
    /// Streams that are not closed, by id, in ascending order.
    open: Vec<(u32, Key)>,
}

impl Streams {
    /// Streams that the peer counts.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The id is higher than all before.
    pub fn insert(&mut self, stream: Stream) -> Key {
        let id = stream.id;
        let key = match self.free.pop() {
            Some(key) => {
                self.slots[key] = Some(stream);
                key
            }
            None => {
                self.slots.push(Some(stream));
                self.slots.len() - 1
            }
        };
        self.open.push((id, key));
        key
    }

    /// An open stream.
    pub fn find(&self, id: u32) -> Option<Key> {
        let position = self.open.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.open[position].1)
    }

    pub fn get(&mut self, key: Key) -> Option<&mut Stream> {
        self.slots.get_mut(key)?.as_mut()
    }

    pub fn peek(&self, key: Key) -> Option<&Stream> {
        self.slots.get(key)?.as_ref()
    }

    /// Ids and keys of open streams.
    pub fn all(&self) -> Vec<(u32, Key)> {
        self.open.clone()
    }

    /// The peer counts the stream no longer.
    pub fn close(&mut self, id: u32) {
        if let Ok(position) = self.open.binary_search_by_key(&id, |(id, _)| *id) {
            self.open.remove(position);
        }
    }

    /// Nobody knows the stream any more.
    pub fn remove(&mut self, key: Key) {
        self.slots[key] = None;
        self.free.push(key);
        if self.free.len() == self.slots.len() && self.slots.len() > IDLE_SLOTS {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_again_and_given_back() {
        let mut streams = Streams::default();
        let keys: Vec<_> = (0..100)
            .map(|n| streams.insert(Stream::new(n * 2 + 1, 0, 0)))
            .collect();
        assert_eq!(streams.find(7), Some(3));
        streams.close(7);
        assert_eq!((streams.find(7), streams.open()), (None, 99));
        streams.remove(3);
        assert_eq!(streams.insert(Stream::new(201, 0, 0)), 3);
        for (id, _) in streams.all() {
            streams.close(id);
        }
        for key in keys {
            streams.remove(key);
        }
        assert_eq!(streams.slots.capacity(), 0);
    }

    #[test]
    fn tiny_chunks_are_joined() {
        let mut stream = Stream::new(1, 0, 0);
        for _ in 0..JOIN + 1 {
            stream.keep(b"x");
        }
        assert_eq!(stream.chunks.len(), 2);
        assert_eq!(stream.discard(), JOIN + 1);
    }
}
