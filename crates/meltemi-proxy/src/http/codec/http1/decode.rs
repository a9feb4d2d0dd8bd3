//! Bodies as they come: of a known length, chunked (RFC 9112 7.1), or until the end of the
//! connection.

use super::head::{field, without_end};
use super::{Fault, Input};
use bytes::Bytes;
use http::HeaderMap;

/// Bytes of a body's chunk lines beyond the sizes, all together; more is a flood of
/// extensions, which nobody reads.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// Bytes of a body's trailers.
const MAX_TRAILER_BYTES: usize = 16 * 1024;
/// Lines of a body's trailers.
const MAX_TRAILERS: usize = 100;
/// What follows the last data of most chunked bodies.
const USUAL_END: &[u8] = b"\r\n0\r\n\r\n";

#[derive(Clone, Debug)]
pub(super) struct Decoder(Stage);

#[derive(Clone, Debug)]
enum Stage {
    Length(u64),
    UntilClose,
    Chunked {
        at: Chunk,
        /// Bytes of extensions that may still come.
        extensions: usize,
    },
    Ended,
}

#[derive(Clone, Debug)]
enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailers(Box<Trailers>),
}

#[derive(Clone, Debug, Default)]
struct Trailers {
    fields: HeaderMap,
    size: usize,
}

pub(super) enum Decoded {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    /// More bytes are needed.
    More,
}

impl Decoder {
    pub fn length(length: u64) -> Self {
        Self(match length {
            0 => Stage::Ended,
            length => Stage::Length(length),
        })
    }

    pub fn chunked() -> Self {
        Self(Stage::Chunked {
            at: Chunk::Size,
            extensions: MAX_EXTENSIONS,
        })
    }

    pub fn until_close() -> Self {
        Self(Stage::UntilClose)
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.0, Stage::Ended)
    }

    pub fn is_chunked(&self) -> bool {
        matches!(self.0, Stage::Chunked { .. })
    }

    pub fn is_until_close(&self) -> bool {
        matches!(self.0, Stage::UntilClose)
    }

    /// Bytes that are to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self.0 {
            Stage::Length(left) => Some(left),
            Stage::Ended => Some(0),
            Stage::UntilClose | Stage::Chunked { .. } => None,
        }
    }

    /// The connection has ended.
    pub fn end_of_input(&mut self) -> Result<(), Fault> {
        match self.0 {
            Stage::UntilClose | Stage::Ended => {
                self.0 = Stage::Ended;
                Ok(())
            }
            Stage::Length(_) | Stage::Chunked { .. } => Err(Fault::Cut),
        }
    }

    /// Whether what is there can be the body's beginning. Changes nothing.
    pub fn check(&self, input: &Input) -> Result<(), Fault> {
        let (mut decoder, mut input) = (self.clone(), input.clone());
        loop {
            match decoder.decode(&mut input)? {
                Decoded::Data(_) => {}
                Decoded::Trailers(_) | Decoded::End | Decoded::More => return Ok(()),
            }
        }
    }

    pub fn decode(&mut self, input: &mut Input) -> Result<Decoded, Fault> {
        let data = match &mut self.0 {
            Stage::Ended => return Ok(Decoded::End),
            Stage::UntilClose => input.data(u64::MAX),
            Stage::Length(left) => {
                let data = input.data(*left);
                *left -= data.len() as u64;
                if *left == 0 {
                    self.0 = Stage::Ended;
                }
                data
            }
            Stage::Chunked { at, extensions } => match chunk(at, extensions, input)? {
                Some(data) => {
                    if matches!(at, Chunk::DataEnd) && input.skip(USUAL_END) {
                        self.0 = Stage::Ended;
                    }
                    data
                }
                None => {
                    // Trailers, or none: the end of them is the body's.
                    let Chunk::Trailers(trailers) = at else {
                        return Ok(Decoded::More);
                    };
                    let Some(fields) = trailers.take_in(input)? else {
                        return Ok(Decoded::More);
                    };
                    self.0 = Stage::Ended;
                    return Ok(match fields.is_empty() {
                        true => Decoded::End,
                        false => Decoded::Trailers(fields),
                    });
                }
            },
        };
        Ok(match data.is_empty() {
            true => Decoded::More,
            false => Decoded::Data(data),
        })
    }
}

/// Data of a chunk; `None` when the trailers come, or more bytes are needed.
fn chunk(
    at: &mut Chunk,
    extensions: &mut usize,
    input: &mut Input,
) -> Result<Option<Bytes>, Fault> {
    loop {
        *at = match at {
            Chunk::Size => {
                let longest = *extensions + MAX_SIZE_LINE;
                let Some(length) = input.line(longest)? else {
                    return Ok(None);
                };
                let line = without_end(&input.bytes()[..length], true)?;
                let (size, digits) = size(line)?;
                *extensions = extensions
                    .checked_sub(line.len() - digits)
                    .ok_or(Fault::TooLarge)?;
                input.consume(length);
                match size {
                    0 => Chunk::Trailers(Box::default()),
                    size => Chunk::Data(size),
                }
            }
            Chunk::Data(left) => {
                let data = input.data(*left);
                *left -= data.len() as u64;
                if *left == 0 {
                    *at = Chunk::DataEnd;
                }
                return Ok((!data.is_empty()).then_some(data));
            }
            Chunk::DataEnd => match input.line(2) {
                Ok(Some(_)) if input.skip(b"\r\n") => Chunk::Size,
                Ok(Some(_)) => {
                    return Err(Fault::Framing("line ends without a carriage return"));
                }
                Ok(None) => return Ok(None),
                Err(_) => return Err(Fault::Framing("chunk longer than its size")),
            },
            Chunk::Trailers(_) => return Ok(None),
        };
    }
}

/// Sixteen digits and the end of the line.
const MAX_SIZE_LINE: usize = 18;

/// A chunk's size, and of how many digits it is. Blanks and extensions may follow.
fn size(line: &[u8]) -> Result<(u64, usize), Fault> {
    const INVALID: Fault = Fault::Framing("invalid chunk size");
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let mut rest = line[digits..].iter();
    let next = rest.find(|byte| !matches!(byte, b' ' | b'\t'));
    if digits == 0 || digits > 16 || !matches!(next, None | Some(b';')) {
        return Err(INVALID);
    }
    let text = std::str::from_utf8(&line[..digits]).map_err(|_| INVALID)?;
    let size = u64::from_str_radix(text, 16).map_err(|_| INVALID)?;
    Ok((size, digits))
}

impl Trailers {
    fn take_in(&mut self, input: &mut Input) -> Result<Option<HeaderMap>, Fault> {
        while let Some(length) = input.line(MAX_TRAILER_BYTES - self.size)? {
            self.size += length;
            let bytes = input.bytes();
            let line = without_end(&bytes[..length], true)?;
            if line.is_empty() {
                input.consume(length);
                return Ok(Some(std::mem::take(&mut self.fields)));
            }
            let (name, value) = field(bytes, line)?;
            input.consume(length);
            if self.fields.len() >= MAX_TRAILERS || self.fields.try_append(name, value).is_err() {
                return Err(Fault::TooLarge);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
