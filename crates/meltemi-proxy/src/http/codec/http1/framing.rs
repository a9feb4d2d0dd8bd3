//! A second opinion on HTTP/1 framing, before the parser's.
//!
//! A parser that is lenient where another on the way is strict is what request smuggling
//! lives on. This watcher follows a client's messages line by line and refuses what RFC
//! 9112 lets servers refuse: a bare LF or CR in a head or a chunk line, folded lines, a
//! space before the colon, `Content-Length` next to `Transfer-Encoding`, repeated or
//! list-valued `Content-Length`, a transfer coding other than `chunked`, a second `Host`,
//! a request line with a method or target that some take and some do not.
//! It also tells when a head has begun and is not complete (slow clients).
//!
//! It looks at each head byte once (`memchr`) and skips bodies by their length.

use std::cell::{Cell, RefCell};
use std::time::Instant;

/// A line longer than any head may be; the parser's own bound is lower.
const MAX_LINE: usize = 128 * 1024;

#[derive(Default)]
pub(crate) struct Watch {
    state: RefCell<State>,
    refused: Cell<Option<&'static str>>,
    head_since: Cell<Option<Instant>>,
}

#[derive(Default)]
struct State {
    stage: Stage,
    /// A line that reads so far have cut.
    partial: Vec<u8>,
    length: Option<u64>,
    chunked: bool,
    host: bool,
    tunnel: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    RequestLine,
    Header,
    /// Bytes of body left.
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailer,
    /// After a request that may end HTTP (upgrade, CONNECT): nothing is checked.
    Opaque,
}

impl Watch {
    /// Follows bytes as they are read; false when the connection must not go on.
    pub fn scan(&self, mut bytes: &[u8]) -> bool {
        if self.refused.get().is_some() {
            return false;
        }
        let mut state = self.state.borrow_mut();
        while !bytes.is_empty() {
            match state.step(bytes) {
                Ok(rest) => bytes = rest,
                Err(reason) => {
                    self.refused.set(Some(reason));
                    return false;
                }
            }
        }
        let in_head = state.stage == Stage::Header
            || (state.stage == Stage::RequestLine && !state.partial.is_empty());
        match (in_head, self.head_since.get()) {
            (true, None) => self.head_since.set(Some(Instant::now())),
            (false, Some(_)) => self.head_since.set(None),
            _ => {}
        }
        true
    }

    /// Why the client's bytes were refused.
    pub fn refused(&self) -> Option<&'static str> {
        self.refused.get()
    }

    /// When the head began that is not complete yet.
    pub fn head_since(&self) -> Option<Instant> {
        self.head_since.get()
    }
}

impl State {
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], &'static str> {
        match self.stage {
            Stage::Opaque => Ok(&[]),
            Stage::Body(left) => {
                let used = left.min(bytes.len() as u64);
                self.stage = match left - used {
                    0 => Stage::RequestLine,
                    left => Stage::Body(left),
                };
                Ok(&bytes[used as usize..])
            }
            Stage::ChunkData(left) => {
                let used = left.min(bytes.len() as u64);
                self.stage = match left - used {
                    0 => Stage::ChunkEnd,
                    left => Stage::ChunkData(left),
                };
                Ok(&bytes[used as usize..])
            }
            _ => {
                let Some(end) = memchr::memchr(b'\n', bytes) else {
                    if self.partial.len() + bytes.len() > MAX_LINE {
                        return Err("line too long");
                    }
                    self.partial.extend_from_slice(bytes);
                    return Ok(&[]);
                };
                let (line, rest) = bytes.split_at(end + 1);
                if self.partial.is_empty() {
                    self.line(line)?;
                } else {
                    let mut whole = std::mem::take(&mut self.partial);
                    whole.extend_from_slice(line);
                    self.line(&whole)?;
                }
                Ok(rest)
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let line = line
            .strip_suffix(b"\r\n")
            .ok_or("line ends without a carriage return")?;
        if memchr::memchr(b'\r', line).is_some() {
            return Err("bare carriage return");
        }
        match self.stage {
            Stage::RequestLine => {
                // A client may send an empty line before a request.
                if !line.is_empty() {
                    // Parsers cut it off or keep it: the reason of CVE-2021-39156.
                    if memchr::memchr(b'#', line).is_some() {
                        return Err("fragment in the request target");
                    }
                    request_line(line)?;
                    self.stage = Stage::Header;
                    self.tunnel = line.starts_with(b"CONNECT ");
                }
            }
            Stage::Header if line.is_empty() => self.end_of_head()?,
            Stage::Header => self.header(line)?,
            Stage::ChunkSize => {
                let digits = line
                    .split(|byte| matches!(byte, b';' | b' ' | b'\t'))
                    .next()
                    .unwrap_or_default();
                let text = std::str::from_utf8(digits).map_err(|_| "invalid chunk size")?;
                if text.is_empty() || text.len() > 16 || text.starts_with('+') {
                    return Err("invalid chunk size");
                }
                self.stage = match u64::from_str_radix(text, 16) {
                    Ok(0) => Stage::Trailer,
                    Ok(size) => Stage::ChunkData(size),
                    Err(_) => return Err("invalid chunk size"),
                };
            }
            Stage::ChunkEnd if line.is_empty() => self.stage = Stage::ChunkSize,
            Stage::ChunkEnd => return Err("chunk longer than its size"),
            Stage::Trailer if line.is_empty() => *self = Self::default(),
            Stage::Trailer if line.starts_with(b" ") || line.starts_with(b"\t") => {
                return Err("folded line");
            }
            Stage::Trailer | Stage::Body(_) | Stage::ChunkData(_) | Stage::Opaque => {}
        }
        Ok(())
    }

    fn header(&mut self, line: &[u8]) -> Result<(), &'static str> {
        if matches!(line[0], b' ' | b'\t') {
            return Err("folded line");
        }
        let colon = memchr::memchr(b':', line).ok_or("header without a colon")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if matches!(name.last(), None | Some(b' ' | b'\t')) {
            return Err("space before the colon");
        }
        // Only four names matter, and their lengths tell most others apart.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => match self.host {
                true => return Err("more than one host"),
                false => self.host = true,
            },
            // h2c is never accepted, so HTTP/1.1 goes on after a request that offers it.
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.tunnel |= !value.eq_ignore_ascii_case(b"h2c");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err("more than one content-length");
                }
                if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                    return Err("invalid content-length");
                }
                let text = std::str::from_utf8(value).map_err(|_| "invalid content-length")?;
                self.length = Some(text.parse().map_err(|_| "invalid content-length")?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err("unsupported transfer-encoding");
                }
                self.chunked = true;
            }
            _ => {}
        }
        if self.chunked && self.length.is_some() {
            return Err("content-length next to transfer-encoding");
        }
        Ok(())
    }

    fn end_of_head(&mut self) -> Result<(), &'static str> {
        let stage = if self.chunked {
            Stage::ChunkSize
        } else {
            match self.length {
                Some(length) if length > 0 => Stage::Body(length),
                _ if self.tunnel => Stage::Opaque,
                _ => Stage::RequestLine,
            }
        };
        *self = Self {
            stage,
            partial: std::mem::take(&mut self.partial),
            ..Self::default()
        };
        Ok(())
    }
}

/// Methods are upper case: a policy on GET does not let `get` pass unseen. A target is a
/// path, `*`, or absolute (RFC 9112 3.2), of printable ASCII (RFC 3986 2).
fn request_line(line: &[u8]) -> Result<(), &'static str> {
    if !line.is_ascii() {
        return Err("byte above 127 in the request line");
    }
    let mut parts = line.split(|byte| *byte == b' ');
    let method = parts.next().unwrap_or_default();
    if method.iter().any(u8::is_ascii_lowercase) {
        return Err("lower-case letter in the method");
    }
    let target = parts.next().unwrap_or_default();
    let is_path = matches!(target.first(), None | Some(b'/' | b'*'));
    if !is_path && method != b"CONNECT" && memchr::memmem::find(target, b"://").is_none() {
        return Err("target that is neither a path nor absolute");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Option<&'static str> {
        let whole = Watch::default();
        whole.scan(text.as_bytes());
        let bytewise = Watch::default();
        for byte in text.as_bytes() {
            bytewise.scan(&[*byte]);
        }
        assert_eq!(whole.refused(), bytewise.refused(), "{text:?}");
        whole.refused()
    }

    #[test]
    fn ordinary_messages_pass_also_pipelined_and_in_pieces() {
        assert_eq!(
            scan(
                "GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nPOST /b HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\n\n\r\n\n\
                 xPOST /c HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nabcde\r\n0\r\nT: 1\r\n\r\n\
                 GET /d HTTP/1.1\r\nHost: d\r\n\r\n"
            ),
            None
        );
    }

    #[test]
    fn smuggling_is_refused() {
        for (message, reason) in [
            (
                "GET / HTTP/1.1\nHost: a\r\n\r\n",
                "line ends without a carriage return",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\n\r\n",
                "line ends without a carriage return",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
                "bare carriage return",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
                "folded line",
            ),
            (
                "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
                "space before the colon",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
                "more than one host",
            ),
            ("get / HTTP/1.1\r\n", "lower-case letter in the method"),
            (
                "GET x HTTP/1.1\r\n",
                "target that is neither a path nor absolute",
            ),
            (
                "GET /\u{e4} HTTP/1.1\r\n",
                "byte above 127 in the request line",
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
                "content-length next to transfer-encoding",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
                "content-length next to transfer-encoding",
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
                "more than one content-length",
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\n",
                "invalid content-length",
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n",
                "invalid content-length",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
                "unsupported transfer-encoding",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                "unsupported transfer-encoding",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                "unsupported transfer-encoding",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\n",
                "invalid chunk size",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\nabcde\r\n",
                "line ends without a carriage return",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
                "chunk longer than its size",
            ),
        ] {
            assert_eq!(scan(message), Some(reason), "{message:?}");
        }
    }

    #[test]
    fn an_incomplete_head_is_known() {
        let watch = Watch::default();
        assert!(watch.scan(b"GET / HT"));
        assert!(watch.head_since().is_some());
        assert!(watch.scan(b"TP/1.1\r\nHost: a\r\n\r\n"));
        assert!(watch.head_since().is_none());
    }

    #[test]
    fn bytes_after_an_upgrade_request_are_not_http() {
        assert_eq!(
            scan("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n\x01\n\n\x02"),
            None
        );
    }
}
