//! Messages out of bytes, without a connection: what tests and fuzzing compare.

use super::head::{Limits, Partial, RequestLine, Start, StatusLine};
use super::{Decoded, Decoder, Fault, Input};
use bytes::Bytes;
use http::{HeaderMap, Method, Version};

/// A message as it was understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Method and target, or the status.
    pub start: String,
    pub version: Version,
    pub headers: HeaderMap,
    /// Empty as long as it is not complete.
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

/// What comes after the complete messages.
#[derive(Debug, PartialEq, Eq)]
pub enum Rest {
    Nothing,
    Incomplete,
    /// And whether it is for its framing.
    Refused(String, bool),
}

/// The requests of a client that sends these pieces and ends.
pub fn requests(pieces: &[&[u8]], bytes: usize, lines: usize) -> (Vec<Message>, Rest) {
    let limits = Limits { bytes, lines };
    let mut reader = Reader::new(pieces);
    let mut messages = Vec::new();
    loop {
        let read = reader.message::<RequestLine>(limits, |line, framing| {
            let start = format!("{} {}", line.method, line.target);
            Ok((start, line.version, framing.of_request(line.version)?))
        });
        match read {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, Rest::Nothing),
            Err(fault) => return (messages, Rest::of(&fault)),
        }
    }
}

/// The answer to a request with `method`, from an upstream that sends these pieces and ends.
pub fn response(pieces: &[&[u8]], method: &Method) -> Result<Option<Message>, Rest> {
    let limits = Limits {
        bytes: crate::http::codec::client::MAX_HEADER_BYTES,
        lines: crate::http::codec::client::MAX_HEADERS,
    };
    let read = Reader::new(pieces).message::<StatusLine>(limits, |line, framing| {
        let body = framing.of_response(method, line.status, line.version)?;
        Ok((line.status.as_str().to_owned(), line.version, body))
    });
    read.map_err(|fault| Rest::of(&fault))
}

impl Rest {
    fn of(fault: &Fault) -> Self {
        match fault {
            Fault::Cut => Self::Incomplete,
            fault => Self::Refused(fault.to_string(), fault.framing().is_some()),
        }
    }
}

struct Reader<'a> {
    input: Input,
    pieces: std::slice::Iter<'a, &'a [u8]>,
}

type Started = (String, Version, Decoder);

impl<'a> Reader<'a> {
    fn new(pieces: &'a [&'a [u8]]) -> Self {
        Self {
            input: Input::default(),
            pieces: pieces.iter(),
        }
    }

    fn fill(&mut self) -> bool {
        let next = self.pieces.find(|piece| !piece.is_empty());
        next.map(|piece| self.input.put(Bytes::copy_from_slice(piece)))
            .is_some()
    }

    fn message<S: Start>(
        &mut self,
        limits: Limits,
        start: impl Fn(&S, &super::framing::Framing) -> Result<Started, Fault>,
    ) -> Result<Option<Message>, Fault> {
        let mut partial = Partial::<S>::new(false);
        let head = loop {
            if partial.take_in(&mut self.input, limits)?
                && let Some(head) = partial.take()
            {
                break head;
            }
            if !self.fill() {
                return match partial.has_begun() || !self.input.is_empty() {
                    true => Err(Fault::Cut),
                    false => Ok(None),
                };
            }
        };
        let (start, version, mut decoder) = start(&head.start, &head.framing)?;
        decoder.check(&self.input)?;
        let mut message = Message {
            start,
            version,
            headers: head.headers,
            body: Vec::new(),
            trailers: HeaderMap::new(),
        };
        while !decoder.has_ended() {
            match decoder.decode(&mut self.input)? {
                Decoded::Data(data) => message.body.extend_from_slice(&data),
                Decoded::Trailers(trailers) => message.trailers = trailers,
                Decoded::End => {}
                Decoded::More if self.fill() => {}
                Decoded::More => decoder.end_of_input()?,
            }
        }
        Ok(Some(message))
    }
}
