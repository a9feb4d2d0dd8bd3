//! One connection's state, without its socket: frames come in as bytes, ours are gathered
//! in an output that leaves in one write a turn.
//!
//! It is shared by the connection's task, which moves the bytes, and the handles of its
//! streams. `receive` takes frames in, `send` puts them out; both use what is here: the
//! life of streams, and the end of the connection.

use super::budget::Budget;
use super::frame;
use super::hpack::{Decoder, Encoder};
use super::output::Output;
use super::reason::{Broken, Reason};
use super::receive::Block;
use super::settings::{DEFAULT_WINDOW, Own, Peer};
use super::stream::{Failure, Key, Streams};
use http::Request;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};

/// Streams that the peer's errors may make us reset.
const MAX_ERROR_RESETS: u32 = 1024;
/// Streams that we reset and remember: what the peer sent before it knew is no mistake.
const RECENT_RESETS: usize = 256;
/// Streams at a time until the peer's settings are known.
const INITIAL_STREAMS: u32 = 100;
/// The largest stream id.
pub(super) const MAX_ID: u32 = 0x7fff_ffff;
/// What our pings say when they ask whether a GOAWAY has arrived, and whether anybody is there.
pub(super) const GOAWAY_PING: [u8; 8] = *b"farewell";
pub(super) const KEEPALIVE_PING: [u8; 8] = *b"anybody?";

pub(super) type Shared = Rc<RefCell<Connection>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

/// Our own end, in two steps (RFC 9113 6.8): requests that are on their way are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    No,
    /// No new streams, please: those that come are served.
    Announced,
    /// The peer knows; streams above this one are not looked at.
    Final(u32),
}

/// A request whose stream has just begun.
pub(super) struct Accepted {
    pub key: Key,
    pub request: Request<()>,
}

pub(super) struct Connection {
    pub role: Role,
    pub own: Own,
    pub peer: Peer,
    pub decoder: Decoder,
    pub encoder: Encoder,
    pub streams: Streams,
    pub output: Output,
    pub budget: Budget,
    /// What is left of the preface that the peer owes us.
    pub preface: &'static [u8],
    /// The peer's first SETTINGS have come; ours are acknowledged.
    pub has_settings: bool,
    pub is_acknowledged: bool,
    /// A header block that continues.
    pub block: Option<Block>,
    /// The highest stream of the peer; the next one of ours.
    pub last_peer_id: u32,
    pub next_id: u32,
    pub receive_window: i64,
    pub released: u32,
    pub send_window: i64,
    /// Streams with something pending that only the connection's window or room holds back.
    pub queue: VecDeque<Key>,
    /// Writers that wait for room.
    pub crowded: Vec<Key>,
    /// Requests that wait until they may open a stream.
    pub openers: Vec<Waker>,
    /// Requests that nobody has looked at yet.
    pub accepted: VecDeque<Accepted>,
    /// Streams that the peer reset before that, since these were last taken.
    pub unseen_resets: u32,
    pub error_resets: u32,
    /// Streams that we reset lately.
    pub resets: VecDeque<u32>,
    pub ending: Ending,
    /// The peer takes no new streams.
    pub is_leaving: bool,
    /// Nobody will open another stream.
    pub is_unused: bool,
    pub ended: Option<Failure>,
    /// For what the peer did.
    pub is_broken: bool,
    /// The connection's task, and whether it is to be woken when there is output.
    task: Waker,
    is_asleep: bool,
}

impl Connection {
    /// With our preface in the output.
    pub fn new(role: Role, own: Own) -> Self {
        let mut output = Output::default();
        let bytes = output.bytes();
        if role == Role::Client {
            bytes.extend_from_slice(frame::PREFACE);
        }
        own.write(bytes);
        Self {
            role,
            // Until it has our settings, the peer may use the default window.
            receive_window: own.connection_window.max(DEFAULT_WINDOW).into(),
            own,
            peer: Peer::default(),
            decoder: Decoder::default(),
            encoder: Encoder::default(),
            streams: Streams::default(),
            output,
            budget: Budget::new(),
            preface: match role {
                Role::Client => &[],
                Role::Server => frame::PREFACE,
            },
            has_settings: false,
            is_acknowledged: false,
            block: None,
            last_peer_id: 0,
            next_id: 1,
            released: 0,
            send_window: DEFAULT_WINDOW.into(),
            queue: VecDeque::new(),
            crowded: Vec::new(),
            openers: Vec::new(),
            accepted: VecDeque::new(),
            unseen_resets: 0,
            error_resets: 0,
            resets: VecDeque::new(),
            ending: Ending::No,
            is_leaving: false,
            is_unused: false,
            ended: None,
            is_broken: false,
            task: Waker::noop().clone(),
            is_asleep: false,
        }
    }

    /// The window that a stream of the peer begins with.
    pub fn stream_window(&self) -> u32 {
        match self.is_acknowledged {
            true => self.own.stream_window,
            false => self.own.stream_window.max(DEFAULT_WINDOW),
        }
    }

    /// Streams that we may have open at a time.
    pub fn max_streams(&self) -> u32 {
        match self.has_settings {
            true => self.peer.max_streams.unwrap_or(u32::MAX),
            false => INITIAL_STREAMS,
        }
    }

    /// The connection takes no new request of ours.
    pub fn is_closed(&self) -> bool {
        self.ended.is_some() || self.is_leaving || self.next_id > MAX_ID
    }

    /// The task's turn begins: what is put out now leaves with it.
    pub fn begin_turn(&mut self) {
        self.is_asleep = false;
    }

    pub fn end_turn(&mut self, cx: &Context<'_>) {
        self.task.clone_from(cx.waker());
        self.is_asleep = true;
    }

    /// There is output, or a reason to look whether the connection is over.
    pub fn wake_task(&mut self) {
        if std::mem::take(&mut self.is_asleep) {
            self.task.wake_by_ref();
        }
    }

    pub fn wake_openers(&mut self) {
        for waker in self.openers.drain(..) {
            waker.wake();
        }
    }

    /// Requests whose streams were reset before they were looked at.
    pub fn take_unseen_resets(&mut self) -> u32 {
        std::mem::take(&mut self.unseen_resets)
    }

    /// Whether nothing is left to be done.
    pub fn is_over(&self) -> bool {
        let last = match self.role {
            Role::Server => matches!(self.ending, Ending::Final(_)) || self.is_leaving,
            Role::Client => self.is_unused || self.is_leaving,
        };
        self.ended.is_some()
            || last
                && self.streams.open() == 0
                && self.accepted.is_empty()
                && self.output.is_empty()
    }

    /// Begins the graceful end.
    pub fn shut_down(&mut self) {
        if self.ending == Ending::No {
            self.ending = Ending::Announced;
            frame::goaway(MAX_ID, Reason::NO_ERROR, self.output.bytes());
            frame::ping(false, GOAWAY_PING, self.output.bytes());
            self.wake_task();
        }
    }

    /// The second step of the graceful end: what the peer opens from now on is not looked at.
    pub fn accept_no_more(&mut self) {
        if self.ending == Ending::Announced {
            self.ending = Ending::Final(self.last_peer_id);
            frame::goaway(self.last_peer_id, Reason::NO_ERROR, self.output.bytes());
            self.wake_task();
        }
    }

    /// Ends the connection at once, for what the peer did.
    pub fn break_off(&mut self, broken: &Broken) {
        frame::goaway(self.last_peer_id, broken.reason, self.output.bytes());
        self.is_broken = true;
        self.end(Failure::Ended(broken.why));
    }

    /// Ends the connection at once, which is not the peer's fault: it may ask again elsewhere
    /// for what came no earlier than this.
    pub fn leave_before(&mut self, accepted: &Accepted) {
        let id = self.streams.get(accepted.key).map(|stream| stream.id);
        // The peer's streams have odd numbers.
        let before = id.unwrap_or(self.last_peer_id).saturating_sub(2);
        frame::goaway(before, Reason::NO_ERROR, self.output.bytes());
        self.end(Failure::Ended("the process is overloaded"));
    }

    /// The connection has ended: all who wait learn of it.
    pub fn end(&mut self, failure: Failure) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(failure);
        self.accepted.clear();
        for (_, key) in self.streams.all() {
            self.fail(key, failure);
        }
        self.wake_openers();
        self.wake_task();
    }

    /// The stream carries nothing more in either direction; what has come whole is still
    /// read.
    pub fn fail(&mut self, key: Key, failure: Failure) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        stream.failure.get_or_insert(failure);
        stream.pending.clear();
        stream.pending_end = false;
        let mut discarded = 0;
        if !stream.received_end {
            discarded = stream.discard();
        }
        stream.wake_reader();
        stream.wake_writer();
        self.release_connection(discarded);
        self.settle(key);
    }

    pub fn write_reset(&mut self, id: u32, reason: Reason) {
        frame::rst_stream(id, reason, self.output.bytes());
        if self.resets.len() == RECENT_RESETS {
            self.resets.pop_front();
        }
        self.resets.push_back(id);
    }

    /// Ends one stream from our side.
    pub fn reset(&mut self, key: Key, reason: Reason, failure: Failure) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        if stream.is_closed {
            return;
        }
        let id = stream.id;
        self.write_reset(id, reason);
        self.fail(key, failure);
        self.wake_task();
    }

    /// Ends a stream because of what the peer did on it.
    pub fn refuse(&mut self, id: u32, reason: Reason, failure: Failure) -> Result<(), Broken> {
        self.error_resets += 1;
        if self.error_resets > MAX_ERROR_RESETS {
            return Err(Broken::flood("too many streams with errors"));
        }
        match self.streams.find(id) {
            Some(key) => {
                self.forget_request(key);
                self.reset(key, reason, failure);
            }
            None => self.write_reset(id, reason),
        }
        Ok(())
    }

    /// Drops a request that nobody has looked at; whether there was one.
    pub fn forget_request(&mut self, key: Key) -> bool {
        let position = self.accepted.iter().position(|request| request.key == key);
        if let (Some(position), Some(stream)) = (position, self.streams.get(key)) {
            self.accepted.remove(position);
            stream.has_reader = false;
            stream.has_writer = false;
        }
        position.is_some()
    }

    /// Closes and forgets the stream as far as its state allows.
    pub fn settle(&mut self, key: Key) {
        let role = self.role;
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        if stream.failure.is_none() && !stream.received_end && !stream.has_reader {
            // Nobody wants what is still to come. A client's request is done with then; a
            // server has answered first (RFC 9113 8.1).
            if role == Role::Client {
                return self.reset(key, Reason::CANCEL, Failure::Reset(Reason::CANCEL));
            } else if stream.sent_end {
                return self.reset(key, Reason::NO_ERROR, Failure::Reset(Reason::NO_ERROR));
            }
        }
        let ended = stream.failure.is_some() || stream.received_end && stream.sent_end;
        let (id, was_closed) = (stream.id, stream.is_closed);
        stream.is_closed = ended;
        let forgotten = ended && !stream.has_reader && !stream.has_writer;
        if ended && !was_closed {
            self.streams.close(id);
            self.wake_openers();
            // It may have been the last one.
            if self.is_over() {
                self.wake_task();
            }
        }
        if forgotten {
            self.streams.remove(key);
        }
    }
}
