//! Frames from the peer (RFC 9113 6).

use super::connection::{Connection, GOAWAY_PING, MAX_ID, Role};
use super::frame::{self, HEAD, Head, MAX_PAYLOAD, flag, kind};
use super::reason::{Broken, Reason};
use super::settings::{DEFAULT_WINDOW, MAX_WINDOW};
use super::stream::Failure;

/// CONTINUATION frames of a block, beside those that the limit of a header list needs
/// (CVE-2024-27316 and its kin; nghttp2 allows 8).
const MAX_CONTINUATIONS: usize = 8;
/// Streams reset by the peer before we looked at them (CVE-2023-44487); more end the
/// connection.
const MAX_UNSEEN_RESETS: u32 = 50;
/// Frames on streams that are closed count as idle when they are shorter than this.
const SMALL: usize = 256;

/// A header block that has begun.
pub(super) struct Block {
    stream: u32,
    end_stream: bool,
    bytes: Vec<u8>,
    frames: usize,
}

impl Connection {
    /// Takes in the whole frames at the beginning of `input`; the number of bytes taken.
    pub fn receive(&mut self, input: &[u8]) -> Result<usize, Broken> {
        let mut rest = input;
        if !self.preface.is_empty() {
            let length = rest.len().min(self.preface.len());
            if rest[..length] != self.preface[..length] {
                return Err(Broken::protocol("no HTTP/2 preface"));
            }
            self.preface = &self.preface[length..];
            rest = &rest[length..];
        }
        while let Some((head, payload)) = rest.split_first_chunk::<HEAD>() {
            let head = Head::parse(head);
            if head.length > MAX_PAYLOAD {
                return Err(Broken::size("a frame that is too large"));
            }
            let Some((payload, after)) = payload.split_at_checked(head.length) else {
                break;
            };
            rest = after;
            self.frame(head, payload)?;
            if self.output.is_flooded() {
                return Err(Broken::flood("answers that are not read"));
            }
        }
        Ok(input.len() - rest.len())
    }

    fn frame(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        if let Some(block) = &self.block
            && (head.kind != kind::CONTINUATION || head.stream != block.stream)
        {
            return Err(Broken::protocol("a frame within a header block"));
        }
        if !self.has_settings && (head.kind != kind::SETTINGS || head.has(flag::ACK)) {
            return Err(Broken::protocol("SETTINGS do not come first"));
        }
        let of_connection = matches!(head.kind, kind::SETTINGS | kind::PING | kind::GOAWAY);
        let of_either = !matches!(head.kind, 0..=9) || head.kind == kind::WINDOW_UPDATE;
        if !of_either && of_connection != (head.stream == 0) {
            return Err(Broken::protocol("a frame on a wrong stream"));
        }
        match head.kind {
            kind::DATA => self.data(head, payload),
            kind::HEADERS => self.headers(head, payload),
            kind::PRIORITY => self.priority(head, payload),
            kind::RST_STREAM => self.rst_stream(head, payload),
            kind::SETTINGS => self.settings(head, payload),
            kind::PUSH_PROMISE => Err(Broken::protocol("a push that was not asked for")),
            kind::PING => self.ping(head, payload),
            kind::GOAWAY => self.goaway(payload),
            kind::WINDOW_UPDATE => self.window_update(head, payload),
            kind::CONTINUATION => self.continuation(head, payload),
            // RFC 9113 5.5.
            _ => self.budget.spend(),
        }
    }

    /// Whether a stream has never been used, so that nothing but HEADERS may come on it.
    pub fn is_idle(&self, id: u32) -> bool {
        let of_client = id % 2 == 1;
        match (self.role, of_client) {
            (Role::Server, true) => id > self.last_peer_id,
            (Role::Client, true) => id >= self.next_id,
            (_, false) => true,
        }
    }

    fn data(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        let data = frame::unpadded(head, payload)?;
        let end = head.has(flag::END_STREAM);
        self.receive_window -= payload.len() as i64;
        if self.receive_window < 0 {
            return Err(Broken::flow("more than the connection's window"));
        }
        if data.is_empty() && !end {
            self.budget.spend()?;
        } else {
            self.budget.earn();
        }
        let Some(key) = self.streams.find(head.stream) else {
            if self.is_idle(head.stream) {
                return Err(Broken::protocol("DATA on an idle stream"));
            }
            return self.late(head.stream, payload.len());
        };
        let is_client = self.role == Role::Client;
        let Some(stream) = self.streams.get(key) else {
            return Ok(());
        };
        stream.receive_window -= payload.len() as i64;
        let malformed = |why| Some((Reason::PROTOCOL_ERROR, Failure::Malformed(why)));
        let wrong = if stream.received_end {
            let reason = Reason::STREAM_CLOSED;
            Some((reason, Failure::Reset(reason)))
        } else if stream.receive_window < 0 {
            let reason = Reason::FLOW_CONTROL_ERROR;
            Some((reason, Failure::Reset(reason)))
        } else if is_client && !stream.has_head {
            malformed("a body without a head")
        } else {
            match stream.left.map(|left| left.checked_sub(data.len() as u64)) {
                Some(None) => malformed("a body longer than its content-length"),
                Some(Some(left)) if end && left > 0 => {
                    malformed("a body shorter than its content-length")
                }
                left => {
                    stream.left = left.flatten();
                    None
                }
            }
        };
        if let Some((reason, failure)) = wrong {
            self.release_connection(payload.len());
            return self.refuse(head.stream, reason, failure);
        }
        let has_reader = stream.has_reader;
        let mut unread = payload.len();
        if has_reader && !data.is_empty() {
            stream.keep(data);
            stream.wake_reader();
            unread -= data.len();
        }
        if end {
            self.end_received(key);
        }
        match has_reader {
            true => self.release(key, unread),
            false => self.release_connection(unread),
        }
        Ok(())
    }

    pub fn end_received(&mut self, key: usize) {
        if let Some(stream) = self.streams.get(key) {
            stream.received_end = true;
            stream.wake_reader();
            self.settle(key);
        }
    }

    /// A frame on a stream that is closed already: it may have been on its way.
    pub fn late(&mut self, id: u32, length: usize) -> Result<(), Broken> {
        if length < SMALL {
            self.budget.spend()?;
        }
        self.release_connection(length);
        if !self.resets.contains(&id) {
            self.write_reset(id, Reason::STREAM_CLOSED);
        }
        Ok(())
    }

    fn headers(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        let mut fragment = frame::unpadded(head, payload)?;
        if head.has(flag::PRIORITY) {
            let wrong = Broken::size("HEADERS without the priority they announce");
            let (dependency, rest) = frame::number(fragment).ok_or(wrong)?;
            self.depend(head.stream, dependency)?;
            fragment = rest.get(1..).unwrap_or_default();
        }
        if head.stream.is_multiple_of(2) {
            return Err(Broken::protocol("HEADERS on a stream of ours"));
        }
        let end_stream = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.block_received(head.stream, end_stream, fragment);
        }
        self.block = Some(Block {
            stream: head.stream,
            end_stream,
            bytes: fragment.to_vec(),
            frames: 0,
        });
        Ok(())
    }

    fn continuation(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        let limit = self.own.max_header_list as usize;
        let Some(block) = &mut self.block else {
            return Err(Broken::protocol("CONTINUATION without HEADERS"));
        };
        block.bytes.extend_from_slice(payload);
        block.frames += 1;
        if block.frames > MAX_CONTINUATIONS + limit / MAX_PAYLOAD
            || block.bytes.len() > limit + MAX_PAYLOAD
        {
            return Err(Broken::flood("a header block without end"));
        }
        if head.has(flag::END_HEADERS)
            && let Some(block) = self.block.take()
        {
            return self.block_received(block.stream, block.end_stream, &block.bytes);
        }
        Ok(())
    }

    /// Priorities are not used (RFC 9113 5.3.2), but must make sense.
    fn priority(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        let (dependency, rest) =
            frame::number(payload).ok_or(Broken::size("PRIORITY of a wrong length"))?;
        if rest.len() != 1 {
            return Err(Broken::size("PRIORITY of a wrong length"));
        }
        self.depend(head.stream, dependency)?;
        self.budget.spend()
    }

    fn depend(&self, stream: u32, dependency: u32) -> Result<(), Broken> {
        if dependency & MAX_ID == stream {
            return Err(Broken::protocol("a stream that depends on itself"));
        }
        Ok(())
    }

    fn rst_stream(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        let Some((code, [])) = frame::number(payload) else {
            return Err(Broken::size("RST_STREAM of a wrong length"));
        };
        if self.is_idle(head.stream) {
            return Err(Broken::protocol("RST_STREAM on an idle stream"));
        }
        let Some(key) = self.streams.find(head.stream) else {
            return self.budget.spend();
        };
        if self.forget_request(key) {
            self.unseen_resets += 1;
            if self.unseen_resets > MAX_UNSEEN_RESETS {
                return Err(Broken::flood("streams opened to be reset"));
            }
        }
        self.fail(key, Failure::Reset(Reason(code)));
        Ok(())
    }

    fn settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        self.budget.spend()?;
        if head.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(Broken::size("an acknowledgement with settings"));
            }
            if !std::mem::replace(&mut self.is_acknowledged, true) {
                let more = self.own.stream_window.max(DEFAULT_WINDOW) - self.own.stream_window;
                for (_, key) in self.streams.all() {
                    if let Some(stream) = self.streams.get(key) {
                        stream.receive_window -= i64::from(more);
                    }
                }
            }
            return Ok(());
        }
        let window = self.peer.initial_window;
        let from_server = self.role == Role::Client;
        self.peer.apply(payload, from_server)?;
        self.has_settings = true;
        self.encoder.set_max_size(self.peer.header_table);
        frame::settings_ack(self.output.bytes());
        let change = i64::from(self.peer.initial_window) - i64::from(window);
        if change != 0 {
            for (_, key) in self.streams.all() {
                self.widen(key, change)?;
            }
        }
        self.wake_openers();
        Ok(())
    }

    /// A stream's send window changes.
    fn widen(&mut self, key: usize, change: i64) -> Result<(), Broken> {
        let Some(stream) = self.streams.get(key) else {
            return Ok(());
        };
        let was_shut = stream.send_window <= 0;
        stream.send_window += change;
        if stream.send_window > MAX_WINDOW.into() {
            return Err(Broken::flow("a window larger than any may be"));
        }
        if was_shut && stream.send_window > 0 && stream.is_pending() {
            self.queue.push_back(key);
        }
        Ok(())
    }

    fn window_update(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        let Some((increment, [])) = frame::number(payload) else {
            return Err(Broken::size("WINDOW_UPDATE of a wrong length"));
        };
        self.budget.spend()?;
        let increment = i64::from(increment & MAX_ID);
        if head.stream == 0 {
            self.send_window += increment;
            if increment == 0 {
                return Err(Broken::protocol("WINDOW_UPDATE by nothing"));
            }
            if self.send_window > MAX_WINDOW.into() {
                return Err(Broken::flow("a window larger than any may be"));
            }
            return Ok(());
        }
        let Some(key) = self.streams.find(head.stream) else {
            return match self.is_idle(head.stream) {
                true => Err(Broken::protocol("WINDOW_UPDATE on an idle stream")),
                false => Ok(()),
            };
        };
        let reason = if increment == 0 {
            Reason::PROTOCOL_ERROR
        } else if self.widen(key, increment).is_err() {
            Reason::FLOW_CONTROL_ERROR
        } else {
            return Ok(());
        };
        self.refuse(head.stream, reason, Failure::Reset(reason))
    }

    fn ping(&mut self, head: Head, payload: &[u8]) -> Result<(), Broken> {
        let payload: [u8; 8] = payload
            .try_into()
            .map_err(|_| Broken::size("PING of a wrong length"))?;
        self.budget.spend()?;
        if !head.has(flag::ACK) {
            frame::ping(true, payload, self.output.bytes());
        } else if payload == GOAWAY_PING {
            self.accept_no_more();
        }
        Ok(())
    }

    fn goaway(&mut self, payload: &[u8]) -> Result<(), Broken> {
        let wrong = Broken::size("GOAWAY of a wrong length");
        let Some((last, rest)) = frame::number(payload) else {
            return Err(wrong);
        };
        let Some((code, _)) = frame::number(rest) else {
            return Err(wrong);
        };
        self.budget.spend()?;
        if code != 0 {
            tracing::debug!(reason = %Reason(code), "the peer ends the connection");
        }
        self.is_leaving = true;
        self.wake_openers();
        if self.role == Role::Client {
            // The peer has not looked at these, nor will it (RFC 9113 6.8).
            let unseen = Failure::Reset(Reason::REFUSED_STREAM);
            for (id, key) in self.streams.all() {
                if id > last & MAX_ID {
                    self.fail(key, unseen);
                }
            }
        }
        Ok(())
    }
}
