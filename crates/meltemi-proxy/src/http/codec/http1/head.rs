//! Heads, line by line: each byte of a line is looked for once (`memchr`) and checked once,
//! by the type it becomes part of.
//!
//! Requests are refused for all that RFC 9112 lets a server refuse: a bare LF or CR, folded
//! lines, a space before the colon, a request line that some take and some do not. Answers
//! may end their lines with LF alone, as in Envoy.

use super::framing::Framing;
use super::spelling::Spelling;
use super::{Fault, Input};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

/// Header lines that most heads have room for, those included that are added on the way.
const USUAL: usize = 24;

/// Bounds of a head.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub bytes: usize,
    pub lines: usize,
}

/// The first line of a message.
pub(super) trait Start: Sized {
    const REQUEST: bool;

    fn parse(line: Bytes) -> Result<Self, Fault>;
}

pub(super) struct RequestLine {
    pub method: Method,
    pub target: Uri,
    pub version: Version,
}

pub(super) struct StatusLine {
    pub status: StatusCode,
    pub version: Version,
}

pub(super) struct Head<S> {
    pub start: S,
    pub headers: HeaderMap,
    pub framing: Framing,
    pub spelling: Option<Spelling>,
}

/// A head whose lines are coming in.
pub(super) struct Partial<S> {
    start: Option<S>,
    headers: HeaderMap,
    framing: Framing,
    spelling: Option<Spelling>,
    size: usize,
}

impl<S: Start> Partial<S> {
    pub fn new(keeps_spelling: bool) -> Self {
        Self {
            start: None,
            headers: HeaderMap::new(),
            framing: Framing::default(),
            spelling: keeps_spelling.then(Spelling::default),
            size: 0,
        }
    }

    pub fn has_begun(&self) -> bool {
        self.start.is_some()
    }

    /// Takes the lines in that are there. True when the head is complete, for [`Self::take`].
    pub fn take_in(&mut self, input: &mut Input, limits: Limits) -> Result<bool, Fault> {
        loop {
            let Some(length) = input.line(limits.bytes.saturating_sub(self.size))? else {
                let begins = input
                    .cut_line()
                    .filter(|_| S::REQUEST && self.start.is_none());
                if begins.is_some_and(|byte| byte != b'\r' && !is_token(byte)) {
                    return Err(Fault::Syntax("no HTTP"));
                }
                return Ok(false);
            };
            self.size += length;
            let bytes = input.bytes();
            let line = without_end(&bytes[..length], S::REQUEST)?;
            match (self.start.is_some(), line.is_empty()) {
                // An empty line may come before a request (RFC 9112 2.2).
                (false, true) => {}
                (false, false) => {
                    self.start = Some(S::parse(bytes.slice_ref(line))?);
                    self.headers = HeaderMap::with_capacity(USUAL.min(limits.lines));
                }
                (true, false) => self.header(bytes, line, limits.lines)?,
                (true, true) => {
                    input.consume(length);
                    return Ok(true);
                }
            }
            input.consume(length);
        }
    }

    /// The head, in whose place the next one begins; `None` when nothing has begun.
    pub fn take(&mut self) -> Option<Head<S>> {
        let start = self.start.take()?;
        self.size = 0;
        Some(Head {
            start,
            headers: std::mem::take(&mut self.headers),
            framing: std::mem::take(&mut self.framing),
            spelling: self.spelling.as_mut().map(std::mem::take),
        })
    }

    fn header(&mut self, bytes: &Bytes, line: &[u8], most: usize) -> Result<(), Fault> {
        if self.headers.len() >= most {
            return Err(Fault::TooLarge);
        }
        let (name, value) = field(bytes, line)?;
        self.framing.note(&name, value.as_bytes(), S::REQUEST)?;
        if let Some(spelling) = &mut self.spelling {
            spelling.note(&name, bytes.slice_ref(&line[..name.as_str().len()]));
        }
        match self.headers.try_append(name, value) {
            Ok(_) => Ok(()),
            Err(_) => Err(Fault::TooLarge),
        }
    }
}

/// A line without what ends it; `strict`: that is CR LF, and no other CR is in it.
pub(super) fn without_end(line: &[u8], strict: bool) -> Result<&[u8], Fault> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = match line.strip_suffix(b"\r") {
        Some(line) => line,
        None if strict => return Err(Fault::Framing("line ends without a carriage return")),
        None => line,
    };
    if strict && memchr::memchr(b'\r', line).is_some() {
        return Err(Fault::Framing("bare carriage return"));
    }
    Ok(line)
}

/// A header or trailer line, which is not empty. The value is a part of `bytes`, as the line is.
pub(super) fn field(bytes: &Bytes, line: &[u8]) -> Result<(HeaderName, HeaderValue), Fault> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Fault::Framing("folded line"));
    }
    let colon = memchr::memchr(b':', line).ok_or(Fault::Framing("header without a colon"))?;
    let name = &line[..colon];
    if matches!(name.last(), None | Some(b' ' | b'\t')) {
        return Err(Fault::Framing("space before the colon"));
    }
    let name = HeaderName::from_bytes(name).map_err(|_| Fault::Syntax("invalid header name"))?;
    let mut value = &line[colon + 1..];
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value))
        .map_err(|_| Fault::Syntax("invalid header value"))?;
    Ok((name, value))
}

/// A character of a token (RFC 9110 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl Start for RequestLine {
    const REQUEST: bool = true;

    /// Methods are upper case: a policy on GET does not let `get` pass unseen. A target is a
    /// path, `*`, or absolute (RFC 9112 3.2), of printable ASCII (RFC 3986 2).
    fn parse(line: Bytes) -> Result<Self, Fault> {
        // Parsers cut it off or keep it: the reason of CVE-2021-39156.
        if memchr::memchr(b'#', &line).is_some() {
            return Err(Fault::Framing("fragment in the request target"));
        }
        if !line.is_ascii() {
            return Err(Fault::Framing("byte above 127 in the request line"));
        }
        let mut spaces = memchr::memchr_iter(b' ', &line);
        let first = spaces.next().unwrap_or(line.len());
        let second = spaces.next().unwrap_or(line.len());
        let more = spaces.next().is_some();
        let method = &line[..first];
        if method.iter().any(u8::is_ascii_lowercase) {
            return Err(Fault::Framing("lower-case letter in the method"));
        }
        let target = &line[line.len().min(first + 1)..second];
        let is_path = matches!(target.first(), None | Some(b'/' | b'*'));
        if !is_path && method != b"CONNECT" && memchr::memmem::find(target, b"://").is_none() {
            return Err(Fault::Framing("target that is neither a path nor absolute"));
        }
        let version = match line.get(second + 1..) {
            Some(b"HTTP/1.1") if !more => Version::HTTP_11,
            Some(b"HTTP/1.0") if !more => Version::HTTP_10,
            _ => return Err(Fault::Syntax("no version of HTTP/1")),
        };
        // The bound of `http::Uri`.
        if target.len() >= usize::from(u16::MAX) {
            return Err(Fault::TooLarge);
        }
        Ok(Self {
            method: Method::from_bytes(method).map_err(|_| Fault::Syntax("invalid method"))?,
            target: Uri::from_maybe_shared(line.slice(first + 1..second))
                .map_err(|_| Fault::Syntax("invalid request target"))?,
            version,
        })
    }
}

impl Start for StatusLine {
    const REQUEST: bool = false;

    /// The reason phrase means nothing and is not kept (RFC 9112 4).
    fn parse(line: Bytes) -> Result<Self, Fault> {
        let version = match line.get(..9) {
            Some(b"HTTP/1.1 ") => Version::HTTP_11,
            Some(b"HTTP/1.0 ") => Version::HTTP_10,
            _ => return Err(Fault::Syntax("no version of HTTP/1")),
        };
        let reason = line.get(12..).unwrap_or_default();
        let readable = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
        let status = line
            .get(9..12)
            .filter(|_| matches!(reason.first(), None | Some(b' ')) && reason.iter().all(readable))
            .and_then(|code| StatusCode::from_bytes(code).ok())
            .ok_or(Fault::Syntax("invalid status"))?;
        Ok(Self { status, version })
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
