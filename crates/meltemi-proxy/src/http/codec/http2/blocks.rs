//! Header blocks from the peer: requests, answers, trailers.

use super::connection::{Accepted, Connection, Ending, Role};
use super::frame;
use super::message::{self, Fields, Malformed};
use super::reason::{Broken, Reason};
use super::stream::{Failure, Key, Stream};
use http::{Request, StatusCode};

impl Connection {
    /// A block is complete. Whatever becomes of the message, the block is decoded: those
    /// that follow depend on it.
    pub fn block_received(&mut self, id: u32, end: bool, block: &[u8]) -> Result<(), Broken> {
        let known = self.streams.find(id);
        let is_request = self.role == Role::Server && known.is_none() && self.is_idle(id);
        let has_head = known
            .and_then(|key| self.streams.peek(key))
            .is_some_and(|stream| self.role == Role::Server || stream.has_head);
        let mut fields = Fields::new(self.own.max_header_list as usize, has_head);
        self.decoder
            .decode(block, |field| fields.add(field))
            .map_err(|_| Broken {
                reason: Reason::COMPRESSION_ERROR,
                why: "a header block that cannot be decoded",
            })?;
        match known {
            Some(key) if has_head => self.trailers(id, key, end, fields),
            Some(key) => self.answer(id, key, end, fields),
            None if is_request => self.request(id, end, fields),
            None if self.is_idle(id) => Err(Broken::protocol("HEADERS on an idle stream")),
            None => self.late_block(id, end),
        }
    }

    /// A block on a stream that is closed already.
    fn late_block(&mut self, id: u32, end: bool) -> Result<(), Broken> {
        if !end {
            // Wherever it came, it would be malformed: what follows a head ends the stream.
            let failure = Failure::Malformed("trailers that do not end the stream");
            return self.refuse(id, Reason::PROTOCOL_ERROR, failure);
        }
        if self.role == Role::Server && !self.resets.contains(&id) {
            return Err(if id < self.last_peer_id {
                Broken::protocol("a stream lower than the last one")
            } else {
                Broken {
                    reason: Reason::STREAM_CLOSED,
                    why: "HEADERS on a closed stream",
                }
            });
        }
        self.late(id, 0)
    }

    fn request(&mut self, id: u32, end: bool, fields: Fields) -> Result<(), Broken> {
        if matches!(self.ending, Ending::Final(last) if id > last) {
            return Ok(());
        }
        self.last_peer_id = id;
        let limit = self.own.max_streams.unwrap_or(u32::MAX) as usize;
        if self.streams.open() >= limit {
            self.budget.spend()?;
            self.write_reset(id, Reason::REFUSED_STREAM);
            return Ok(());
        }
        if fields.is_too_large() {
            return self.too_large(id, end);
        }
        match request(fields, end, self.own.extended_connect) {
            Ok((request, length)) => {
                self.budget.earn();
                let window = self.stream_window();
                let mut stream = Stream::new(id, window, self.peer.initial_window);
                stream.received_end = end;
                stream.left = length;
                let key = self.streams.insert(stream);
                self.accepted.push_back(Accepted { key, request });
                Ok(())
            }
            Err(Malformed(why)) => {
                tracing::debug!(why, stream = id, "malformed request");
                self.refuse(id, Reason::PROTOCOL_ERROR, Failure::Malformed(why))
            }
        }
    }

    /// Answers in place of everything that comes after the codec.
    fn too_large(&mut self, id: u32, end: bool) -> Result<(), Broken> {
        self.budget.spend()?;
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let (encoder, out) = (&mut self.encoder, self.output.bytes());
        frame::headers(id, true, frame::MAX_PAYLOAD, out, |out| {
            message::encode_response(encoder, status, &http::HeaderMap::new(), out);
        });
        if !end {
            self.write_reset(id, Reason::NO_ERROR);
        }
        Ok(())
    }

    fn answer(&mut self, id: u32, key: Key, end: bool, fields: Fields) -> Result<(), Broken> {
        let fail = |why| (Reason::PROTOCOL_ERROR, Failure::Malformed(why));
        let Some(stream) = self.streams.get(key) else {
            return Ok(());
        };
        let taken = if fields.is_too_large() {
            Err((Reason::CANCEL, Failure::TooLarge))
        } else {
            fields
                .into_response()
                .and_then(|response| {
                    let length = message::content_length(response.headers())?;
                    Ok((response, length))
                })
                .map_err(|Malformed(why)| fail(why))
        };
        let (reason, failure) = match taken {
            Ok((response, _)) if response.status().is_informational() => {
                // Ours need none of them; there is no switching of protocols (RFC 9113 8.6).
                if !end && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    return self.budget.spend();
                }
                fail("an informational answer that cannot be")
            }
            Ok((response, length)) => {
                let bodiless = stream.bodiless
                    || matches!(
                        response.status(),
                        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
                    );
                if bodiless || !end || length.unwrap_or(0) == 0 {
                    self.budget.earn();
                    stream.left = length.filter(|_| !bodiless);
                    stream.has_head = true;
                    stream.head = Some(response);
                    stream.wake_reader();
                    if end {
                        self.end_received(key);
                    }
                    return Ok(());
                }
                fail("a body shorter than its content-length")
            }
            Err(wrong) => wrong,
        };
        self.refuse(id, reason, failure)
    }

    fn trailers(&mut self, id: u32, key: Key, end: bool, fields: Fields) -> Result<(), Broken> {
        let fail = |why| (Reason::PROTOCOL_ERROR, Failure::Malformed(why));
        let Some(stream) = self.streams.get(key) else {
            return Ok(());
        };
        let (reason, failure) = if stream.received_end {
            let reason = Reason::STREAM_CLOSED;
            (reason, Failure::Reset(reason))
        } else if !end {
            fail("trailers that do not end the stream")
        } else if fields.is_too_large() {
            (Reason::CANCEL, Failure::TooLarge)
        } else if stream.left.is_some_and(|left| left > 0) {
            fail("a body shorter than its content-length")
        } else {
            match fields.into_trailers() {
                Ok(trailers) => {
                    if stream.has_reader && !trailers.is_empty() {
                        stream.trailers = Some(trailers);
                    }
                    self.end_received(key);
                    return Ok(());
                }
                Err(Malformed(why)) => fail(why),
            }
        };
        self.refuse(id, reason, failure)
    }
}

fn request(
    fields: Fields,
    end: bool,
    extended: bool,
) -> Result<(Request<()>, Option<u64>), Malformed> {
    let request = fields.into_request(extended)?;
    let length = message::content_length(request.headers())?;
    if end && length.is_some_and(|length| length > 0) {
        return Err(Malformed("a body shorter than its content-length"));
    }
    Ok((request, length))
}
