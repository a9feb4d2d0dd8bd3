//! The bodies of gRPC-Web, as streams.

use super::super::coding::{Malformed, Step, Until};
use super::tell;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};

/// Bytes before the content of a frame: flags, and its length.
const PREFIX: usize = 5;
/// The flag of the frame that holds the trailers.
const TRAILERS: u8 = 0x80;
/// Bytes of a body that become a message.
const MAX_MESSAGE: usize = 16 * 1024;
/// Characters of base64 that stand for three bytes.
const GROUP: usize = 4;

/// What is made and not yet taken.
#[derive(Default)]
struct Made {
    bytes: Vec<u8>,
    taken: usize,
}

impl Made {
    fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// The number of bytes that there was room for.
    fn give(&mut self, output: &mut [u8]) -> usize {
        let rest = &self.bytes[self.taken..];
        let length = rest.len().min(output.len());
        output[..length].copy_from_slice(&rest[..length]);
        self.taken += length;
        if self.is_empty() {
            *self = Self::default();
        }
        length
    }
}

/// From base64, whose every group may be padded: clients send what they have.
#[derive(Default)]
pub(crate) struct Decoder {
    /// A group that is not complete.
    group: Vec<u8>,
    made: Made,
}

impl Decoder {
    pub fn step(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        until: Until,
    ) -> Result<Step, Malformed> {
        if self.made.is_empty() {
            for byte in input {
                self.group.push(*byte);
                if self.group.len() == GROUP {
                    let decoded = STANDARD.decode_vec(&self.group, &mut self.made.bytes);
                    decoded.map_err(|_| Malformed)?;
                    self.group.clear();
                }
            }
            if until == Until::Ended && !self.group.is_empty() {
                return Err(Malformed);
            }
            let written = self.made.give(output);
            return Ok(Step {
                read: input.len(),
                written,
                done: self.made.is_empty(),
            });
        }
        // What made it was read in full.
        let written = self.made.give(output);
        Ok(Step {
            read: 0,
            written,
            done: self.made.is_empty(),
        })
    }
}

/// Frames as they are, or each in base64 of its own; at the end, the trailers as a frame.
pub(crate) struct Encoder {
    text: bool,
    /// Of an answer that is no gRPC: its status, and what becomes the message.
    message: Option<(StatusCode, Vec<u8>)>,
    trailers: Option<HeaderMap>,
    prefix: Vec<u8>,
    /// Bytes of the frame that are to come.
    left: u32,
    /// Fewer than three bytes, to be encoded with those that follow.
    rest: Vec<u8>,
    ended: bool,
    made: Made,
}

impl Encoder {
    pub fn frames(text: bool) -> Box<Self> {
        Box::new(Self {
            text,
            message: None,
            trailers: None,
            prefix: Vec::new(),
            left: 0,
            rest: Vec::new(),
            ended: false,
            made: Made::default(),
        })
    }

    /// Of a body that is no gRPC.
    pub fn message(text: bool, status: StatusCode) -> Box<Self> {
        let mut encoder = Self::frames(text);
        encoder.message = Some((status, Vec::new()));
        encoder
    }

    /// They come last.
    pub fn keep(&mut self, trailers: HeaderMap) {
        self.trailers = Some(trailers);
    }

    pub fn step(&mut self, input: &[u8], output: &mut [u8], until: Until) -> Step {
        let mut read = 0;
        if self.made.is_empty() {
            self.take(input);
            read = input.len();
            if until == Until::Ended && !std::mem::replace(&mut self.ended, true) {
                self.end();
            }
        }
        let written = self.made.give(output);
        Step {
            read,
            written,
            done: self.made.is_empty(),
        }
    }

    fn take(&mut self, input: &[u8]) {
        if let Some((_, message)) = &mut self.message {
            let room = MAX_MESSAGE - message.len();
            message.extend_from_slice(&input[..input.len().min(room)]);
        } else if self.text {
            self.frame_by_frame(input);
        } else {
            self.made.bytes.extend_from_slice(input);
        }
    }

    fn frame_by_frame(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            let within_prefix = self.prefix.len() < PREFIX;
            let wanted = match within_prefix {
                true => PREFIX - self.prefix.len(),
                false => self.left as usize,
            };
            let (piece, after) = input.split_at(input.len().min(wanted));
            input = after;
            self.encode(piece);
            if within_prefix {
                self.prefix.extend_from_slice(piece);
                if let [_, length @ ..] = &*self.prefix
                    && let Ok(length) = length.try_into()
                {
                    self.left = u32::from_be_bytes(length);
                }
            } else {
                self.left -= piece.len() as u32;
            }
            if self.prefix.len() == PREFIX && self.left == 0 {
                self.prefix.clear();
                self.pad();
            }
        }
    }

    /// Whole groups of three bytes.
    fn encode(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.len() / 3 * 3;
        self.made
            .bytes
            .extend(STANDARD.encode(&self.rest[..whole]).bytes());
        self.rest.drain(..whole);
    }

    /// What is left of a frame.
    fn pad(&mut self) {
        self.made.bytes.extend(STANDARD.encode(&self.rest).bytes());
        self.rest.clear();
    }

    fn end(&mut self) {
        self.pad();
        if let Some((status, message)) = self.message.take() {
            let trailers = self.trailers.get_or_insert_default();
            tell(status, &String::from_utf8_lossy(&message), trailers);
        }
        let Some(trailers) = self.trailers.take() else {
            return;
        };
        let mut lines = Vec::new();
        for (name, value) in &trailers {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.push(b':');
            lines.extend_from_slice(value.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        let mut frame = vec![TRAILERS];
        // The bound on a header list is far below what a frame can tell.
        frame.extend_from_slice(&(lines.len() as u32).to_be_bytes());
        frame.extend_from_slice(&lines);
        match self.text {
            true => self.made.bytes.extend(STANDARD.encode(&frame).bytes()),
            false => self.made.bytes.extend_from_slice(&frame),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// Runs a body through, a few bytes at a time on both sides.
    fn run(mut step: impl FnMut(&[u8], &mut [u8], Until) -> Step, body: &[u8]) -> Vec<u8> {
        let (mut out, mut room) = (Vec::new(), [0; 5]);
        let pieces = body.chunks(3).map(|piece| (piece, Until::Flushed));
        for (mut piece, until) in pieces.chain([(&b""[..], Until::Ended)]) {
            loop {
                let done = step(piece, &mut room, until);
                piece = &piece[done.read..];
                out.extend_from_slice(&room[..done.written]);
                if done.done {
                    break;
                }
            }
        }
        out
    }

    fn trailers() -> HeaderMap {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers
    }

    const FRAMES: &[u8] = b"\0\0\0\0\x02hi\0\0\0\0\0\0\0\0\0\x04more";
    const LAST: &[u8] = b"\x80\0\0\0\x0fgrpc-status:0\r\n";

    #[test]
    fn trailers_are_the_last_frame() {
        let mut encoder = Encoder::frames(false);
        encoder.keep(trailers());
        let got = run(
            |input, output, until| encoder.step(input, output, until),
            FRAMES,
        );
        assert_eq!(got, [FRAMES, LAST].concat());
    }

    #[test]
    fn each_frame_is_base64_of_its_own() {
        let mut encoder = Encoder::frames(true);
        encoder.keep(trailers());
        let got = run(
            |input, output, until| encoder.step(input, output, until),
            FRAMES,
        );
        let frames = [&FRAMES[..7], &FRAMES[7..12], &FRAMES[12..], LAST];
        let expected: String = frames.iter().map(|frame| STANDARD.encode(frame)).collect();
        assert_eq!(String::from_utf8(got).unwrap(), expected);
        let mut decoder = Decoder::default();
        let again = run(
            |input, output, until| decoder.step(input, output, until).unwrap(),
            expected.as_bytes(),
        );
        assert_eq!(again, frames.concat());
    }

    #[test]
    fn other_bodies_become_messages() {
        let mut encoder = Encoder::message(false, StatusCode::NOT_FOUND);
        let got = run(
            |input, output, until| encoder.step(input, output, until),
            b"no such",
        );
        let lines = b"grpc-status:12\r\ngrpc-message:no such\r\n";
        let expected = [b"\x80\0\0\0", &[lines.len() as u8][..], lines].concat();
        assert_eq!(got, expected);
    }

    #[test]
    fn what_is_no_base64_is_malformed() {
        for body in [&b"AAA"[..], b"AA!A", b"A==="] {
            let mut decoder = Decoder::default();
            let mut room = [0; 9];
            assert!(decoder.step(body, &mut room, Until::Ended).is_err());
        }
    }
}
